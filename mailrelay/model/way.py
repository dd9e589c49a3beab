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

    def __str__(self) -> str:
        """`google.com` or `google.com from source-2`, for logs and people."""
        return f"{self.site} from {self.source}" if self.source else self.site
