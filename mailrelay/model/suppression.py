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
