"""A wall time and a zone → the moment that a mail is to go (O5, Q02).

Times are kept in UTC, so that nothing that a zone does later moves them. Where clocks are put forward, a time that they skip is the
first moment after the gap; where they are put back, one that they show twice is the first of the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from mailrelay.errors import Invalid
from mailrelay.model.schedule import Plan, Preset, Wish

PAST = timedelta(minutes=1)
"""A time so long ago is still now: it was in the future when somebody chose it."""
_TIMES = {
    Preset.THIS_EVENING: (0, time(18)),
    Preset.TOMORROW_MORNING: (1, time(8)),
    Preset.TOMORROW_EVENING: (1, time(20)),
}
_MONDAY = time(8)
_SECOND = timedelta(seconds=1)
_LEAP = re.compile(r"(?<=:\d\d):60", re.ASCII)
_AT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A preset as it is now: when it would be, and whether that is over for today."""

    preset: Preset
    at: datetime
    passed: bool


def read_at(text: str) -> datetime:
    """`2026-12-01T08:00`, with an offset (aware) or without (naive). Raises ValueError, whose text is a sentence.

    RFC 3339 §5.6; a leap second is the second after it.
    """
    said = _LEAP.sub(":59", text, count=1)
    try:
        if not _AT.fullmatch(text):
            raise ValueError(text)
        at = datetime.fromisoformat(said.upper())
        return at + _SECOND if said != text else at
    except (ValueError, OverflowError):
        raise ValueError("must be a time such as 2026-12-01T08:00, or 2026-12-01T08:00:00+01:00") from None


def moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """When clocks in `zone` first show `wall` (naive), in UTC; when they skip it, the moment that they do. Raises OverflowError."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _shown(first, zone) == wall:
        return first
    # In a gap. The offset from before it leads behind it, the one from after it before it: between the two the clocks jump,
    # at a full second.
    wall = wall.replace(microsecond=0)
    early, late = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    while late - early > _SECOND:
        middle = early + _SECOND * ((late - early) // _SECOND // 2)
        early, late = (early, middle) if _shown(middle, zone) > wall else (middle, late)
    return late


def resolve(wish: Wish, *, zone: ZoneInfo, now: datetime, ahead: timedelta) -> Plan:
    """The moment of a wish whose author is in `zone`, at most `ahead` from now.

    Raises Invalid for one that is over, too far ahead, or in no calendar.
    """
    zone = wish.zone or zone
    said_at = wish.said_at or now
    if wish.preset is not None:
        due_at = _of_preset(wish.preset, zone, now)
        if due_at <= now:
            raise Invalid(
                "schedule.preset",
                f"{_spoken(wish.preset)} was at {_clock(due_at, zone)}; take another preset, or a time",
            )
    elif wish.hold is not None:
        due_at = said_at + wish.hold
    elif wish.at is None:
        raise Invalid("schedule", "needs a time, at, or a preset")
    else:
        due_at = _instant(wish.at, zone)
    if due_at < said_at - PAST:
        raise Invalid("schedule.at", f"{_clock(due_at, zone)} is over; it is {_clock(now, zone)} now")
    if due_at > now + ahead:
        raise Invalid(
            "schedule.at",
            f"{_clock(due_at, zone)} is too far ahead: mail can be scheduled until {_clock(now + ahead, zone)}",
        )
    return Plan(due_at=max(due_at, now), zone=zone, preset=wish.preset)


def offers(zone: ZoneInfo, now: datetime) -> tuple[Offer, ...]:
    """Every preset as it is now for somebody in `zone`."""
    found = [(preset, _of_preset(preset, zone, now)) for preset in Preset]
    return tuple(Offer(preset=preset, at=at.astimezone(zone), passed=at <= now) for preset, at in found)


def _instant(at: datetime, zone: ZoneInfo) -> datetime:
    try:
        return moment(at, zone) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise Invalid("schedule.at", f"{at} is in no calendar") from None


def _of_preset(preset: Preset, zone: ZoneInfo, now: datetime) -> datetime:
    today = now.astimezone(zone).date()
    if preset is Preset.MONDAY_MORNING:
        # On a Monday it is the next one: who means today says a time.
        return moment(datetime.combine(today + timedelta(days=7 - today.weekday()), _MONDAY), zone)
    days, at = _TIMES[preset]
    return moment(datetime.combine(today + timedelta(days=days), at), zone)


def _shown(at: datetime, zone: ZoneInfo) -> datetime:
    """What the clocks show, without saying which of two times of the same name it is."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def _spoken(preset: Preset) -> str:
    return preset.replace("_", " ").capitalize()


def _clock(at: datetime, zone: ZoneInfo) -> str:
    try:
        return f"{at.astimezone(zone):%Y-%m-%d %H:%M} {zone.key}"
    except OverflowError:
        return f"{at:%Y-%m-%d %H:%M} UTC"
