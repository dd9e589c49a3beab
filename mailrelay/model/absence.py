"""Who is not there: away until a day, or gone for good, and whom to write to instead (I25)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mailrelay.ids import MessageId, OrgId
from mailrelay.model.address import Address


@dataclass(frozen=True, slots=True)
class Instead:
    """Somebody to write to instead; `name` is "" when none was given."""

    name: str
    address: Address

    def __str__(self) -> str:
        """`Ann New <ann@customer.example>`, for people."""
        return f"{self.name} <{self.address}>" if self.name else str(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """What the newest automatic reply of an address says of its owner."""

    org: OrgId
    key: str
    """The address as it is compared."""
    until: datetime | None
    """The beginning of the first day back, in the organisation's time zone; None when the reply names none, or for who is gone."""
    since: datetime | None
    """The beginning of the first day away, where the reply names it."""
    gone: bool
    """Whether the owner has left for good."""
    noted_at: datetime
    message: MessageId
    """The reply that says so."""
    instead: tuple[Instead, ...]
