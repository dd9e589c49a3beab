"""Who asks, by address: the connection's, or what a proxy of ours says (W13); and how often strangers may be wrong (T03)."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NOBODY: Final = ""


class Clients:
    """Reads X-Forwarded-For of the proxies that are trusted, and of nobody else."""

    def __init__(self, trusted: Sequence[str]) -> None:
        """`trusted` are networks in CIDR form."""
        self._trusted = tuple(ipaddress.ip_network(one) for one in trusted)

    def of(self, scope: Scope) -> str:
        """The address of whoever asks: the last in X-Forwarded-For that no trusted proxy has, else the connection's."""
        client = scope.get("client")
        if not client:
            return _NOBODY
        last: str = client[0]
        if not self._trusted or not self._trusts(_address(last)):
            return last
        said = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for")
        for one in reversed(said.split(",")):
            address = _address(one)
            if address is None:
                break  # from here on anybody may have written it
            last = str(address)
            if not self._trusts(address):
                break
        return last

    def _trusts(self, address: _Address | None) -> bool:
        return address is not None and any(
            address.version == network.version and address in network for network in self._trusted
        )


def _address(text: str) -> _Address | None:
    """An address as proxies write it, with a port or in brackets too; None for what is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@dataclass(slots=True)
class _Tries:
    since: float
    number: int


class Strangers:
    """How many requests that name nothing of ours have come from where, of late; what it remembers is bounded."""

    def __init__(
        self, clock: Callable[[], float], *, allowed: int = 60, seconds: float = 60.0, most: int = 10_000
    ) -> None:
        """`allowed` in so many seconds by an IPv4 address or an IPv6 network of 64 bits."""
        self._clock = clock
        self._allowed = allowed
        self._seconds = seconds
        self._most = most
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def wrong(self, ip: str) -> bool:
        """Count one more; False once there are too many."""
        whose, now = _whose(ip), self._clock()
        tries = self._tries.get(whose)
        if tries is None or now - tries.since >= self._seconds:
            tries = self._tries[whose] = _Tries(now, 0)
            self._tries.move_to_end(whose)
            if len(self._tries) > self._most:
                self._tries.popitem(last=False)
        tries.number += 1
        return tries.number <= self._allowed


def _whose(ip: str) -> str:
    address = _address(ip)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return ip
