"""How much room the disk has, and the floor below which no mail is taken, so that what was taken can still go on (D05)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_SHARE = 0.05
_MESSAGES = 3
_LOG = 32_000_000
"""Bytes that the store's write-ahead log and a checkpoint of it may need: filing and settling write too."""


@dataclass(frozen=True, slots=True)
class Space:
    """Room on a disk, in bytes and in the share of inodes that is free."""

    free: int
    total: int
    inodes: float = 1.0

    def floor(self, largest: int) -> int:
        """Bytes to keep free where mails are up to `largest` bytes."""
        return int(max(self.total * _SHARE, _MESSAGES * largest, _LOG))

    def takes(self, size: int, *, largest: int) -> bool:
        """Whether a mail of `size` bytes, 0 for one of unknown size, leaves the floor free."""
        return self.free - size >= self.floor(largest) and self.inodes >= _SHARE


def space_of(folder: Path) -> Space:
    """The room that is left where `folder` is."""
    disk = os.statvfs(folder)
    inodes = disk.f_favail / disk.f_files if disk.f_files else 1.0  # some file systems have no fixed number
    return Space(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize, inodes)
