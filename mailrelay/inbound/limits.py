"""How much one client, one address and all of them together may ask of us: counts only, no socket, no clock (S18, A08)."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterable

from mailrelay.inbound.commands import USELESS
from mailrelay.model.reply import Reply
from mailrelay.smtp import codes

_MINUTE = 60.0
_MOST_ENTRIES = 20_000
_CROWDED = 0.8


class Patience:
    """Errors and useless commands of one session. A mail that is taken makes all well again."""

    def __init__(self, *, max_errors: int, max_useless: int, delay: float) -> None:
        self._max_errors = max_errors
        self._max_useless = max_useless
        self._delay = delay
        self._errors = 0
        self._useless = 0

    def note(self, verb: str, answer: Reply) -> float:
        """Count an answer; returns by how many seconds to be late with it."""
        if verb == "DATA" and answer.is_positive:
            self._errors = self._useless = 0
        self._useless += verb in USELESS
        # A 4xx is our trouble, or the hundred-and-first recipient (S07): no fault of the client.
        self._errors += answer.is_permanent
        annoyed = answer.is_permanent and self._errors >= self._max_errors / 2
        bored = verb in USELESS and self._useless > self._max_useless * 9 / 10
        return self._delay if annoyed or bored else 0.0

    @property
    def is_over(self) -> bool:
        """Whether the session ends now with 421."""
        return self._errors >= self._max_errors or self._useless >= self._max_useless


class Connections:
    """Connections in all, by address, and by address and minute; trusted networks are only counted in all."""

    def __init__(self, *, total: int, per_ip: int, per_minute: int, trusted: Iterable[str]) -> None:
        self._total = total
        self._per_ip = per_ip
        self._per_minute = per_minute
        self._trusted = tuple(ipaddress.ip_network(network) for network in trusted)
        self._open = 0
        self._by_client: dict[str, int] = {}
        self._begun: dict[str, deque[float]] = {}
        """When the connections of the last minute began; who was looked at last stands last."""

    def admit(self, ip: str, *, now: float) -> Reply | None:
        """Count a new connection and return None, or the 421 it gets instead; `now` is monotonic."""
        if self._open >= self._total:
            return codes.OVERLOADED
        client = client_key(ip)
        if not self._is_trusted(ip):
            self._forget(now)
            begun = self._begun.pop(client, deque())
            while begun and begun[0] <= now - _MINUTE:
                begun.popleft()
            refused = self._by_client.get(client, 0) >= self._per_ip or len(begun) >= self._per_minute
            if not refused:
                begun.append(now)
            if begun:
                self._begun[client] = begun
            if refused:
                return codes.TOO_MANY_CONNECTIONS
        self._open += 1
        self._by_client[client] = self._by_client.get(client, 0) + 1
        return None

    def release(self, ip: str) -> None:
        """A connection that was admitted has ended."""
        client = client_key(ip)
        self._open -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    @property
    def crowded(self) -> bool:
        """Whether idle clients should make room."""
        return self._open > self._total * _CROWDED

    @property
    def kept(self) -> int:
        """Clients of whom anything is remembered."""
        return len(self._begun.keys() | self._by_client.keys())

    def _is_trusted(self, ip: str) -> bool:
        address = _address(ip)
        return any(address.version == network.version and address in network for network in self._trusted)

    def _forget(self, now: float) -> None:
        """Forget the clients that began nothing for a minute, as far as they stand first: what was kept of strangers goes."""
        while self._begun:
            client = next(iter(self._begun))
            if self._begun[client][-1] > now - _MINUTE:
                return
            del self._begun[client]


class Failures:
    """Wrong passwords by key (an address, a user), each half forgotten after a while (A08)."""

    def __init__(self, *, half_life: float = 300.0) -> None:
        self._half_life = half_life
        self._noted: dict[str, tuple[float, float]] = {}

    def count(self, key: str, *, now: float) -> float:
        """How many there are by now."""
        number, at = self._noted.get(key, (0.0, now))
        faded: float = number * 0.5 ** ((now - at) / self._half_life)
        return faded

    def note(self, key: str, *, now: float) -> None:
        """One more."""
        number = self.count(key, now=now) + 1
        # The oldest stand first, since each note moves its key to the end.
        self._noted.pop(key, None)
        self._noted[key] = (number, now)
        if len(self._noted) > _MOST_ENTRIES:
            del self._noted[next(iter(self._noted))]


def client_key(ip: str) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 /64, of which anybody has as many addresses as they like."""
    address = _address(ip)
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def _address(ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
