"""Host names for an HTTP client, by our resolver: only addresses that may be reached, and no second look-up (W02)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult

from mailrelay.dns.resolver import Resolver
from mailrelay.model.lookup import LookupStatus, Question, RecordType

_MAX_ADDRESSES = 8


class PinnedResolver(AbstractResolver):
    """For `aiohttp.TCPConnector(resolver=…)`: the connection goes to the very addresses that were judged.

    aiohttp asks no resolver for a host that is an address: refuse such URLs before.
    """

    def __init__(self, resolver: Resolver, allows: Callable[[str], bool]) -> None:
        """`allows` says whether an address may be connected to."""
        self._resolver = resolver
        self._allows = allows

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Its addresses. Raises OSError when it has none, or none that may be reached."""
        kinds = {
            socket.AF_INET: (RecordType.A,),
            socket.AF_INET6: (RecordType.AAAA,),
        }.get(family, (RecordType.AAAA, RecordType.A))
        answers = await asyncio.gather(*(self._resolver.resolve(Question(kind, host)) for kind in kinds))
        found = [text for answer in answers for text in answer.texts]
        if not found:
            if any(answer.status is LookupStatus.TEMPORARY for answer in answers):
                raise OSError(f"DNS gave no answer for {host}")
            raise OSError(f"{host} has no address")
        allowed = [text for text in found if self._allows(text)]
        if not allowed:
            raise OSError(f"{host} is at a private address, which is not allowed here")
        return [
            ResolveResult(
                hostname=host,
                host=text,
                port=port,
                family=socket.AF_INET6 if ":" in text else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for text in allowed[:_MAX_ADDRESSES]
        ]

    async def close(self) -> None:
        """Nothing is open."""
