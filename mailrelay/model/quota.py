"""What an organisation may send in a day, and how much of it is used (O6, O7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class QuotaKind(StrEnum):
    """Single mail and mass mail are counted apart."""

    SINGLE = "single"
    MASS = "mass"  # what is of a job, scheduled, or an automatic answer (O7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One kind on one day. A unit is one recipient of one mail; dropboxes of the organisation are none."""

    kind: QuotaKind
    day: date
    """Where the organisation is."""
    limit: int
    used: int
    resets_at: datetime
    """When the next day begins there, aware, in its zone."""

    @property
    def left(self) -> int:
        """What may still be sent; 0 also when the limit was lowered below what is used."""
        return max(0, self.limit - self.used)
