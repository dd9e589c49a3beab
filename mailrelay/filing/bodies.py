"""A mail's bytes, wherever they are: small ones in the store with their row, large ones as blobs (architecture: decision 4)."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from mailrelay.blob.folder import BlobDamaged, BlobWriter, FolderBlobs
from mailrelay.errors import MailrelayError
from mailrelay.ids import Digest
from mailrelay.model.message import BlobRef
from mailrelay.store import bodies
from mailrelay.store.base import Store, Tx
from mailrelay.store.together import Together


class BodyMissing(MailrelayError):
    """A row names bytes that are neither in the store nor, as they were written, among the blobs (D08)."""


@dataclass(frozen=True, slots=True)
class KeptBody:
    """Bytes on their way into a row. `small` are the bytes that `put` still has to write in the row's own transaction."""

    ref: BlobRef
    small: bytes | None

    def put(self, tx: Tx) -> None:
        """To be called in the transaction that writes the row which names `ref`."""
        if self.small is not None:
            bodies.put(tx, self.ref.digest, self.small)


class Bodies:
    """Keeps and reads bodies."""

    def __init__(self, store: Store, blobs: FolderBlobs, *, small_body: int) -> None:
        self._blobs = blobs
        self._small_body = small_body
        self._small = Together(store, bodies.get_many)

    def spool(self) -> BodySpool:
        """A body that arrives in pieces: in memory while it is small, then a file."""
        return BodySpool(self._blobs, self._small_body)

    async def keep(self, data: bytes) -> KeptBody:
        """Make bytes ready for a row; when they are large they are durable on return. May raise DiskFull."""
        if len(data) > self._small_body:
            return KeptBody(await asyncio.to_thread(self._blobs.put, data), None)
        return KeptBody(BlobRef(digest=Digest(hashlib.sha256(data).hexdigest()), size=len(data)), data)

    async def read(self, ref: BlobRef) -> bytes:
        """The bytes. Raises BodyMissing, also when they are not what was written."""
        places = [self._from_store, self._from_blobs]
        if ref.size > self._small_body:
            places.reverse()  # the likelier first; both, since the setting may have changed since
        for place in places:
            data = await place(ref.digest)
            if data is not None:
                return data
        raise BodyMissing(f"the bytes {ref.digest} are missing")

    async def _from_store(self, digest: Digest) -> bytes | None:
        return await self._small.ask(digest)

    async def _from_blobs(self, digest: Digest) -> bytes | None:
        try:
            return await asyncio.to_thread(self._blobs.get, digest)
        except BlobDamaged as damaged:
            raise BodyMissing(str(damaged)) from damaged


class BodySpool:
    """A body arriving in pieces; ended by `keep` or `discard`."""

    def __init__(self, blobs: FolderBlobs, small_body: int) -> None:
        self._blobs = blobs
        self._small_body = small_body
        self._pieces: list[bytes] = []
        self._size = 0
        self._file: BlobWriter | None = None

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        return self._size

    def write(self, piece: bytes | memoryview) -> None:
        """Take more bytes; what is over the small size goes to a file. May raise DiskFull."""
        self._size += len(piece)
        if self._file is not None:
            self._file.write(piece)
            return
        self._pieces.append(bytes(piece))
        if self._size > self._small_body:
            self._file = self._blobs.writer()
            self._file.write(b"".join(self._pieces))
            self._pieces.clear()

    async def keep(self) -> KeptBody:
        """End it. A large body is durable on return. May raise DiskFull."""
        if self._file is not None:
            file, self._file = self._file, None
            return KeptBody(await asyncio.to_thread(file.commit), None)
        data = b"".join(self._pieces)
        return KeptBody(BlobRef(digest=Digest(hashlib.sha256(data).hexdigest()), size=len(data)), data)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._pieces.clear()
        if self._file is not None:
            self._file.discard()
            self._file = None
