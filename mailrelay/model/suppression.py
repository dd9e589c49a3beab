"""Addresses that must not be sent to, and why (O10, I11)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import OrgId


class SuppressionReason(StrEnum):
    """Why an address is suppressed."""

    HARD_BOUNCE = "hard_bounce"
    SOFT_BOUNCES = "soft_bounces"
    COMPLAINT = "complaint"
    UNSUBSCRIBED = "unsubscribed"
    OPTED_OUT = "opted_out"
    LOCKED = "locked"
    BY_HAND = "by_hand"


BOUNCED = frozenset({SuppressionReason.HARD_BOUNCE, SuppressionReason.SOFT_BOUNCES})
"""What an address starts clean from when its record changes (I11): nobody's wish, only what its server said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One suppressed address; `lifted_at` None while it holds. `key` is `Address.key`."""

    org: OrgId
    key: str
    reason: SuppressionReason
    since: datetime
    evidence: str
    by: str
    """The user who did it, or the id of the delivery or arrival that did."""
    lifted_at: datetime | None
    lifted_by: str | None = None
    """The user who lifted it, or a word for what did."""
    note: str = ""
    """Why it was lifted."""
