"""The way that a delivery takes now: what shares connections and limits with it (O11)."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_SOURCE = ""
"""The source that has no name: the system's own address and our EHLO name."""


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """Where a delivery goes and from where.

    `site` is the MX site, that is the registrable domain of the destination's best MX host, so that all domains that one provider
    takes mail for share its limits; or the name of the smart host. `source` is the egress source, by name. `smart_host` is the
    id of an organisation's own smart host, "" for the route of the installation.
    """

    site: str
    source: str = DEFAULT_SOURCE
    smart_host: str = ""
    relay: bool = False
    """Whether it takes mail for all destinations, so that those of several may share a batch."""

    def __str__(self) -> str:
        """`google.com` or `google.com from source-2`, for logs and people."""
        return f"{self.site} from {self.source}" if self.source else self.site


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressSource:
    """An address of ours that mail leaves by, and what it is called. Without `address6`, no IPv6 host is reached from it."""

    name: str
    address: str
    """Local IPv4 address to bind; "" lets the system choose."""
    address6: str
    """Local IPv6 address to bind; "" for none."""
    helo: str
    """Its name in EHLO."""

    def address_for(self, ip: str) -> str:
        """The local address to reach `ip` from; "" for none of its own."""
        return self.address6 if ":" in ip else self.address
