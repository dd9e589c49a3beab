"""Mail that goes at a time (O5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from mailrelay.ids import OrgId, QueueId, UserId


class Preset(StrEnum):
    """Times that have a name; where their author is."""

    THIS_EVENING = "this_evening"
    TOMORROW_MORNING = "tomorrow_morning"
    TOMORROW_EVENING = "tomorrow_evening"
    MONDAY_MORNING = "monday_morning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """When somebody wants a mail to go: at a time, by a preset, or so long after it was said; one of them.

    `at` with an offset is that moment; without one it is what the clocks show in `zone`, by default where the author is.
    """

    at: datetime | None = None
    preset: Preset | None = None
    hold: timedelta | None = None
    zone: ZoneInfo | None = None
    said_at: datetime | None = None
    """When it was said, if that is not now: what was to come then is not over (RFC 4865: at MAIL, the content comes later)."""

    def __str__(self) -> str:
        """The wish as it was said, which the same request says again (O19)."""
        return f"{self.preset or self.at or self.hold} {self.zone.key if self.zone else ''}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a wish comes to: a moment in UTC, and where its author said it."""

    due_at: datetime
    zone: ZoneInfo
    preset: Preset | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A scheduled mail, through all its edits: an edit replaces its content, which has another queue id then."""

    id: QueueId
    """The queue id of its first content."""
    org: OrgId
    author: UserId
    queue_id: QueueId
    due_at: datetime
    zone: str
    """IANA name: where its author said the time."""
    preset: Preset | None
    day: date
    """Of the quota that it counts in."""
    counted: bool
    """Whether it does: quotas may be off."""
    version: int
    """Grows with every change."""
    hastened: bool
    """Whether its author sent it now."""
    created_at: datetime
    changed_at: datetime
