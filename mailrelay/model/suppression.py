"""Addresses that must not be sent to, and why (O10, I11)."""

from __future__ import annotations

import re
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


PERSON = "person"
"""Who did it, where the person did it by a link or mail of their own."""
BOUNCED = frozenset({SuppressionReason.HARD_BOUNCE, SuppressionReason.SOFT_BOUNCES})
"""What an address starts clean from when its record changes (I11): nobody's wish, only what its server said."""

HASH = "sha256:"
_HASHED = re.compile(HASH + r"[0-9a-f]{64}")


def is_hash(key: str) -> bool:
    """Whether what stands for an address is a hash, its person having been erased (T13); no key of an address is like it."""
    return _HASHED.fullmatch(key) is not None


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
    list: str = ""
    """The mailing list whose mass mail it is about; "": all mail (O15)."""
    erased: bool = False
    """Its person was erased: a hash of the address is all that is kept of them (T13). `key` is that hash, or the address asked for."""

    @property
    def is_own_word(self) -> bool:
        """Whether the person said so to us, by a link or mail of theirs: then nobody else takes it back (O15)."""
        return self.reason is SuppressionReason.UNSUBSCRIBED and self.by == PERSON
