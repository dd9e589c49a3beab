"""Objects: bytes under names that we make ourselves, for the contents of attachments (I17). A folder or a bucket keeps them."""

from __future__ import annotations

import re
from typing import Protocol

from mailrelay.errors import Unavailable

_NAME = re.compile(r"[A-Z0-9]{1,40}/[0-9a-f]{2}/[0-9a-f]{64}\.\d{1,9}")


class ObjectsAway(Unavailable):
    """The store of objects cannot be reached, is full, or refuses us; the same may work later."""


class Objects(Protocol):
    """A store of objects. Each method raises ObjectsAway when it cannot be done now."""

    async def put(self, name: str, data: bytes) -> None:
        """Keep bytes; durable on return. The same name is only ever given to the same bytes."""
        ...

    async def get(self, name: str) -> bytes | None:
        """The bytes, None where there are none."""
        ...

    async def remove(self, name: str) -> None:
        """Take bytes away, if they are there."""
        ...

    async def close(self) -> None:
        """Let go of what is held."""
        ...


def checked(name: str) -> str:
    """A name as we make them: organisation, two digits, digest and generation. Whatever else comes here is a fault of ours (P04)."""
    if _NAME.fullmatch(name) is None:
        raise ValueError("an object has a name that we do not make")
    return name
