"""How much memory there is, whether it runs short, and who may take a large piece of it (D07; standards §4: at 75 %, 421).

What counts is the working set: what the process, or everything in its memory cgroup, cannot give back. The page cache can be
given back, and is not counted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_SHARE = 0.75
_ALMOST_ALL = 0.93
_PATIENCE = 5.0
_FRESH_SECONDS = 0.05
_UNLIMITED = 1 << 60
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Use:
    """Bytes that there are, and bytes that are in use for good."""

    limit: int
    used: int


class Memory:
    """The process's memory, for any thread. Beyond three quarters of it nothing new is begun."""

    def __init__(self, look: Callable[[], Use] | None = None) -> None:
        """`look` says what there is; the system, unless a test says otherwise."""
        self._look = look or _system()
        self._seen = self._look()
        self._at = time.monotonic()
        self._allowance = max(0, int(self._seen.limit * _SHARE) - self._seen.used) // 2
        self._taken = 0
        self._lock = threading.Lock()

    def short(self) -> bool:
        """Whether load is to be shed."""
        now = time.monotonic()
        if now - self._at > _FRESH_SECONDS:
            self._seen, self._at = self._look(), now
        return self._seen.used >= self._seen.limit * _SHARE

    def take(self, size: int, *, mine: int = 0, waited: float = 0.0) -> bool:
        """Take room for so many bytes, beside the `mine` that were taken for the same; to be given back. False when others have it.

        Who is alone gets more than the allowance, or a large mail would wait for ever: as soon as it fits below the limit, or
        when it has `waited` so long that nothing is left that could make room.
        """
        with self._lock:
            if self._taken > mine:
                if self.short() or self._taken + size > self._allowance:
                    return False
            elif waited < _PATIENCE and (
                (not mine and self.short()) or self._seen.used + size > self._seen.limit * _ALMOST_ALL
            ):
                return False
            self._taken += size
            return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._taken -= size

    def fits(self, size: int) -> bool:
        """Whether so many bytes could be taken now."""
        found = self.take(size)
        if found:
            self.give_back(size)
        return found

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[None]:
        """Hold room for so many bytes as long as the block runs; waits for it."""
        began = time.monotonic()
        while not self.take(size, waited=time.monotonic() - began):  # noqa: ASYNC110 (it is nobody's event)
            await asyncio.sleep(_FRESH_SECONDS)
        try:
            yield
        finally:
            self.give_back(size)


def _system(root: Path = Path("/")) -> Callable[[], Use]:
    """Looks at the tightest memory cgroup that this process is in, or else at what the machine has and this process uses."""
    folders = _cgroup_folders(root)
    limit, tightest = min(((_limit(one), one) for one in folders), default=(_UNLIMITED, None))
    total = _field(root / "proc/meminfo", "MemTotal:") * 1024
    if tightest is not None and limit < total:
        return lambda: Use(limit, _working_set(tightest))
    statm = root / "proc/self/statm"
    return lambda: Use(total, int(statm.read_text().split()[1]) * _PAGE)


def _cgroup_folders(root: Path) -> list[Path]:
    """Of version 1 or 2, from this process's own up. A container may not see the path that it is told; then it is the root's."""
    found: list[Path] = []
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        here = top / path.lstrip("/")
        here = here if here.is_dir() else top
        found += [one for one in (here, *here.parents) if one.is_relative_to(top)]
    return found


def _limit(folder: Path) -> int:
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            return min(int((folder / name).read_text()), _UNLIMITED)
        except (OSError, ValueError):  # not this version's, or "max"
            continue
    return _UNLIMITED


def _working_set(folder: Path) -> int:
    current = folder / "memory.current"
    version_2 = current.exists()
    used = int((current if version_2 else folder / "memory.usage_in_bytes").read_text())
    stat = folder / "memory.stat"
    names = ("inactive_file", "active_file") if version_2 else ("total_inactive_file", "total_active_file")
    return max(0, used - sum(_field(stat, name) for name in names))


def _field(file: Path, name: str) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ") or line.split()[0] == name), 0)
