"""The bytes of attachments, wherever they are kept: in the data folder, or in the outside store (I17)."""

from __future__ import annotations

import hashlib

from mailrelay.blob.base import Objects, ObjectsAway
from mailrelay.errors import MailrelayError
from mailrelay.ids import Digest
from mailrelay.model.attachment import Place


class ContentMissing(MailrelayError):
    """A content is not where it was kept, or is not what it was (D08)."""


class Contents:
    """Keeps and reads contents by their place and name (`store.contents`)."""

    def __init__(self, folder: Objects, outside: Objects | None = None) -> None:
        """`outside` is None where no outside store is configured."""
        self._objects = {Place.FOLDER: folder, Place.STORE: outside}

    @property
    def has_outside(self) -> bool:
        """Whether there is an outside store."""
        return self._objects[Place.STORE] is not None

    async def put(self, place: Place, name: str, data: bytes) -> None:
        """Keep bytes; durable on return. Raises ObjectsAway."""
        await self._at(place).put(name, data)

    async def get(self, place: Place, name: str, sha256: Digest) -> bytes:
        """The bytes. Raises ObjectsAway, or ContentMissing also when they are not what was kept."""
        data = await self._at(place).get(name)
        if data is None or hashlib.sha256(data).hexdigest() != sha256:
            raise ContentMissing(f"the content {name} is {'missing' if data is None else 'damaged'}")
        return data

    async def remove(self, place: Place, name: str) -> None:
        """Take bytes away. Raises ObjectsAway."""
        await self._at(place).remove(name)

    async def close(self) -> None:
        """Let go of what is held."""
        for one in self._objects.values():
            if one is not None:
                await one.close()

    def _at(self, place: Place) -> Objects:
        found = self._objects[place]
        if found is None:
            raise ObjectsAway("No outside store is configured any more: attachments.folder or attachments.s3")
        return found
