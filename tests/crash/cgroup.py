"""A memory cgroup of a test's own, of version 1 or 2."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.peers import lacking

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A limit that whoever is started behind `wrapper` lives in."""

    folder: Path

    @property
    def wrapper(self) -> tuple[str, ...]:
        """To be put before a command."""
        return ("/bin/sh", "-c", f'echo $$ >{self.folder}/cgroup.procs && exec "$@"', "sh")

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed for want of memory."""
        for name in ("memory.events", "memory.oom_control"):
            if (file := self.folder / name).exists():
                return next(
                    (int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("oom_kill ")), 0
                )
        return 0


@contextlib.contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup]:
    """A group with so many bytes; skips the test, named and counted, where none may be made."""
    version_1 = _ROOT / "memory"
    folder = (version_1 if version_1.is_dir() else _ROOT) / f"mailrelay-test-{os.getpid()}"
    try:
        folder.mkdir()
        if version_1.is_dir():
            (folder / "memory.limit_in_bytes").write_text(str(limit))
        else:
            (folder / "memory.max").write_text(str(limit))
            with contextlib.suppress(OSError):
                (folder / "memory.swap.max").write_text("0")
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        lacking("memory-cgroup", f"{error.strerror}: {folder}")
    try:
        yield MemoryGroup(folder)
    finally:
        for _ in range(100):
            try:
                folder.rmdir()
                break
            except OSError:  # its last process is still ending
                time.sleep(0.05)
