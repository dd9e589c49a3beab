"""Blobs as files: written beside, fsynced, renamed, and the folder fsynced, so that a name always means whole bytes (D01, D03)."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from pathlib import Path
from typing import BinaryIO

from mailrelay.blob.durable import sync_folder
from mailrelay.errors import DiskFull, MailrelayError, StoreDamaged
from mailrelay.ids import Digest
from mailrelay.model.message import BlobRef

_MOST_UNSYNCED = 16_000_000
"""Bytes of all blobs under way, together, that the disk may not have yet."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class BlobDamaged(MailrelayError):
    """A blob does not have the content that it was written with: one mail's trouble, not the store's (D08)."""


class FolderBlobs:
    """Files named by the SHA-256 of their content, in 256 folders by its first two digits.

    All methods block; call them off the event loop. Without space they raise DiskFull and leave nothing behind.
    """

    def __init__(self, folder: Path, *, clean: bool = True) -> None:
        """`clean` takes away what a process left that died while writing; not beside a daemon that runs."""
        self._folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for left_over in self._incoming.iterdir() if clean else ():
            left_over.unlink()  # nothing names it
        sync_folder(folder.parent)
        self._durable: set[Path] = set()
        self._open: set[BlobWriter] = set()

    def writer(self) -> BlobWriter:
        """A new blob, to be written in pieces."""
        return BlobWriter(self._folder, self._incoming / secrets.token_hex(16), self._durable, self._open)

    def put(self, data: bytes) -> BlobRef:
        """Keep bytes; durable on return."""
        writer = self.writer()
        try:
            writer.write(data)
            return writer.commit()
        except BaseException:
            writer.discard()
            raise

    def get(self, digest: Digest) -> bytes | None:
        """The bytes, or None when there is no such blob. Raises BlobDamaged when they are not what was written (D08)."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).hexdigest() != digest:
            raise BlobDamaged(f"blob {digest} does not have the content that it was written with")
        return data

    def path(self, digest: Digest) -> Path:
        """Where a blob is, or would be."""
        return self._folder / digest[:2] / digest


class BlobWriter:
    """One blob under way. After `commit` or `discard` it is done with."""

    def __init__(self, folder: Path, temporary: Path, durable: set[Path], others: set[BlobWriter]) -> None:
        """`durable` are the folders known to be there after a power cut, `others` the writers under way; both are kept up to date."""
        self._folder = folder
        self._temporary = temporary
        self._durable = durable
        self._hash = hashlib.sha256()
        self._size = 0
        self._synced = 0
        self._others = others
        try:
            self._file: BinaryIO = temporary.open("xb", buffering=0)
        except OSError as error:
            raise _translated(error) from error
        others.add(self)

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes."""
        self._hash.update(piece)
        self._size += len(piece)
        try:
            view = memoryview(piece)
            while view:
                view = view[self._file.write(view) :]
            if (self._size - self._synced) * len(self._others) > _MOST_UNSYNCED:
                # D07: what is not on the disk yet cannot be dropped from memory, and counts in a memory cgroup.
                os.fdatasync(self._file.fileno())
                self._synced = self._size
        except OSError as error:
            raise _translated(error) from error

    def commit(self) -> BlobRef:
        """Make it durable under its digest."""
        digest = Digest(self._hash.hexdigest())
        target = self._folder / digest[:2] / digest
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._others.discard(self)
            if target.parent not in self._durable:
                # D01: that it exists is not enough; another thread, or a process that died, may have made it and not synced it.
                target.parent.mkdir(exist_ok=True)
                sync_folder(self._folder)
                self._durable.add(target.parent)
            self._temporary.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            self.discard()
            raise _translated(error) from error
        return BlobRef(digest=digest, size=self._size)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._others.discard(self)
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _translated(error: OSError) -> Exception:
    if error.errno in _NO_SPACE:
        return DiskFull("The disk is full; try again later")
    if error.errno == errno.EIO:
        # D04: a failed fsync is never retried; what the page cache says may not be believed any more.
        return StoreDamaged(f"The disk failed: {error}")
    return error
