"""System calls of a daemon's threads, watched, failed, delayed, or answered with a kill."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.crash.relay import Relay
from tests.support.peers import need


@contextmanager
def traced(one: Relay, thread: str, calls: str, inject: str = "") -> Iterator[Path]:
    """strace of one thread; yields the file of its calls. `inject` is what strace does: `error=EIO:when=2`, `signal=SIGKILL:when=7`."""
    found = one.folder / "trace"
    injected = ["-e", f"inject={calls}:{inject}"] if inject else []
    process = subprocess.Popen(
        [need("strace"), "-p", str(one.running["threads"][thread]), "-e", f"trace={calls}", *injected, "-o", found],
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        attached = process.stderr.readline()
        assert b"attached" in attached, attached
        yield found
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()
