"""Objects as files of a folder: there whole or not at all, durable when `put` returns (D01)."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from pathlib import Path

from mailrelay.blob.base import ObjectsAway, checked
from mailrelay.blob.durable import sync_folder
from mailrelay.errors import StoreDamaged

_NOT_THERE = "The folder of attachments is not there"


class FolderObjects:
    """Files by organisation and the first two digits of their digest."""

    def __init__(self, folder: Path, *, ours: bool = True) -> None:
        """Our own folder is made when the first object comes. One that is not ours is away as long as it is not there: a share that is
        not mounted must not be taken for an empty one, nor filled beneath its mount point.
        """
        self._folder = folder
        self._ours = ours

    async def put(self, name: str, data: bytes) -> None:
        """See `Objects`."""
        await asyncio.to_thread(self._put, self._path(name), data)

    async def get(self, name: str) -> bytes | None:
        """See `Objects`."""
        return await asyncio.to_thread(self._get, self._path(name))

    async def remove(self, name: str) -> None:
        """See `Objects`."""
        await asyncio.to_thread(self._remove, self._path(name))

    async def close(self) -> None:
        """See `Objects`."""

    def _path(self, name: str) -> Path:
        return self._folder / checked(name)

    def _put(self, path: Path, data: bytes) -> None:
        beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
        self._check()
        try:
            self._make(path.parent)
            with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            beside.unlink(missing_ok=True) if beside.parent.is_dir() else None
            raise _translated(error) from error

    def _get(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            if not self._folder.is_dir():
                raise ObjectsAway(_NOT_THERE) from None
            return None
        except OSError as error:
            raise _translated(error) from error

    def _remove(self, path: Path) -> None:
        self._check()
        try:
            if path.parent.is_dir():
                path.unlink(missing_ok=True)
                sync_folder(path.parent)
        except OSError as error:
            raise _translated(error) from error

    def _check(self) -> None:
        if not self._ours and not self._folder.is_dir():
            raise ObjectsAway(_NOT_THERE)

    def _make(self, folder: Path) -> None:
        """Make a folder, and those above it, so that a power cut does not take them back."""
        missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
        for one in reversed(missing):
            one.mkdir(mode=0o700, exist_ok=True)
            sync_folder(one.parent)


def _translated(error: OSError) -> Exception:
    if error.errno == errno.EIO:
        # D04: a failed fsync is never retried; what the page cache says may not be believed any more.
        return StoreDamaged(f"The disk failed: {error}")
    return ObjectsAway(f"The folder of attachments cannot be used now: {error.strerror}")
