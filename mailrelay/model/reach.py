"""What may be reached of the URLs and hosts that users name: nothing inside, unless the operator allows it (W02, W03).

Names are only half of it: what one stands for is judged at each connection, address by address (`dns.outgoing`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mailrelay.model.network import is_public

LONGEST_URL: Final = 2000
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][A-Za-z0-9\-._~:/?@!$&'()*+,;=%\[\]]*)?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_INSIDE = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "onion")
"""Names that mean the machine or network of whoever asks."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FIRST_OPEN_PORT = 1024
# What listens there speaks something else than HTTP, and may take what is sent to it for its own.
_SERVICE_PORTS = frozenset({
    1433, 1521, 1719, 1720, 1723, 2049, 2375, 2376, 2379, 2465, 2525, 2587, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432,
    5672, 5900, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 9042, 9092, 9200, 9300, 10080, 11211, 27017,
})  # fmt: skip

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BadUrl(ValueError):
    """It may not be reached; the sentence goes on where the name of the field ends."""


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that was looked at."""

    text: str
    scheme: str
    host: str
    """In lower case; of an IPv6 address without its brackets."""
    port: int

    @property
    def is_address(self) -> bool:
        """Whether no name has to be looked up."""
        return ":" in self.host or self.host.replace(".", "").isdigit()

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Reach:
    """How far requests of users may go: the world, and the operator's networks; `everywhere` is for tests and closed networks."""

    networks: tuple[Network, ...] = ()
    http: bool = False
    everywhere: bool = False

    @classmethod
    def of(cls, networks: Sequence[str] = (), *, http: bool = False, everywhere: bool = False) -> Reach:
        """With networks as the configuration has them. Raises ValueError."""
        return cls(tuple(ipaddress.ip_network(one) for one in networks), http, everywhere)

    def allows(self, ip: str) -> bool:
        """Whether a connection may be made to this address; False for no address."""
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return self.everywhere or is_public(ip) or any((mapped or address) in network for network in self.networks)

    def url(self, text: str) -> Url:
        """The URL, taken apart. Raises BadUrl for one that is none, or that leads inside as far as can be seen from it."""
        if len(text) > LONGEST_URL:
            raise BadUrl(f"must have at most {LONGEST_URL} characters")
        parts = _URL.fullmatch(text)
        if parts is None:
            raise BadUrl(_why_none(text))
        scheme, host = parts["scheme"].lower(), parts["host"].lower()
        if scheme == "http" and not (self.http or self.everywhere):
            raise BadUrl("must be an https URL")
        port = _DEFAULT_PORTS[scheme] if parts["port"] is None else int(parts["port"])
        if not self._takes(port):
            raise BadUrl(
                f"is at port {port}, which is not allowed: 443, or one from {_FIRST_OPEN_PORT} that is no other service's"
            )
        if host.startswith("["):
            host = host[1:-1]
            self._check_address(host, version=6)
        else:
            self._check_host(host)
        return Url(text, scheme, host, port)

    def _takes(self, port: int) -> bool:
        if self.everywhere:
            return 0 < port < 65536
        web = port == 443 or (port == 80 and self.http)
        return web or (_FIRST_OPEN_PORT <= port < 65536 and port not in _SERVICE_PORTS)

    def _check_host(self, host: str) -> None:
        labels = host.split(".")
        if _NUMBER.fullmatch(labels[-1]):
            self._check_address(host, version=4)
            return
        if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
            raise BadUrl(f"has a host that is no host name: {host}")
        if self.everywhere:
            return
        if len(labels) == 1 or any(host == name or host.endswith(f".{name}") for name in _INSIDE):
            raise BadUrl(f"is at {host}, a name of a network of its own, which is not allowed here")

    def _check_address(self, host: str, *, version: int) -> None:
        """Only addresses as they are usually written: 0x7f.1, 017700000001 and 2130706433 are 127.0.0.1 to some, and names to others."""
        try:
            address = ipaddress.IPv4Address(host) if version == 4 else ipaddress.IPv6Address(host)
        except ValueError:
            raise BadUrl(f"has a host that is neither a name nor an address in its usual form: {host}") from None
        if not self.allows(host):
            raise BadUrl(f"is at the private address {address}, which is not allowed here")


def _why_none(text: str) -> str:
    if not text.isascii():
        return "must be ASCII: a host of other letters in its xn-- form, and everything else percent-encoded"
    if "@" in text.partition("://")[2].partition("/")[0]:
        return "must not have a user name or password in it"
    if "#" in text:
        return "must not have a fragment"
    return "must be a URL such as https://crm.example/hooks"
