"""Postfix's smtp-sink, a peer that fails where it is told to.

with smtp_sink("-r", "RCPT") as sink:              # 450 at RCPT
    deliver to 127.0.0.1:sink.port
with smtp_sink("-W", ".:700", keep=folder) as sink:
    sink.messages()                                # what it took, as files

-f 5xx, -r 4xx, -s ignored, -q disconnects, -Q 421 at the named commands (CONNECT EHLO MAIL RCPT DATA . QUIT); -A n aborts within
DATA; -H late reading; -T n tiny window; -W command:delay:odds; -m most connections at a time; -N no pipelining's DSN; see its manual.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.peers import need
from tests.support.postfix import free_port


@dataclass(frozen=True, slots=True)
class SmtpSink:
    """A running smtp-sink."""

    port: int
    pid: int
    keep: Path | None

    def messages(self) -> list[bytes]:
        """The messages that it kept, each with its envelope in X- fields before it, by the order of their names."""
        assert self.keep is not None, "smtp_sink(keep=…)"
        return [path.read_bytes() for path in sorted(self.keep.iterdir())]


@contextlib.contextmanager
def smtp_sink(
    *flags: str, keep: Path | None = None, host: str = "127.0.0.1", wrapper: tuple[str, ...] = ()
) -> Iterator[SmtpSink]:
    """Run one with these flags, behind a `wrapper` such as `Namespace.wrapper`; ended with the block."""
    program = need("smtp-sink")
    kept: list[str] = []
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        # A file for each message; as root it would give its rights away and could not write.
        kept = ["-D", f"{keep}/%H%M%S."]
    port = free_port()
    user = ["-u", "root"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [*wrapper, program, *user, *flags, *kept, f"{host}:{port}", "128"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _wait_for(port, process)
        yield SmtpSink(port, process.pid, keep)
    finally:
        process.terminate()
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """It listens: no probe connects, since `-q CONNECT` and `-M 1` count."""
    wanted = f":{port:04X} "
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            assert process.stderr is not None
            raise RuntimeError(f"smtp-sink ended at once: {process.stderr.read().decode(errors='replace')}")
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]
            if any(line.split()[1].endswith(wanted.strip()) and line.split()[3] == "0A" for line in lines):
                return
        time.sleep(0.01)
    raise RuntimeError("smtp-sink does not listen")
