"""The Date field (RFC 5322 §3.3 and §4.3), read tolerantly and written strictly."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DATE = re.compile(
    r"(?:[a-z]{3,9}\.?,?\s+)?(\d{1,2})[\s-]+([a-z]{3,9})[\s,-]+(\d{2,4})[\s,]+(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?(?:\.\d+)?"
    r"\s*([+-]\s?\d{4}|[a-z]{1,5})?",
    re.IGNORECASE,
)
_ASCTIME = re.compile(
    r"(?:[a-z]{3},?\s+)?([a-z]{3})\s+(\d{1,2})\s+(\d{1,2}):(\d{2})(?::(\d{2}))?\s+([a-z]{1,5}\s+)?(\d{4})",
    re.IGNORECASE,
)
# RFC 5322 §4.3: the names that have a meaning; all others count as -0000.
_ZONES = {"edt": -240, "est": -300, "cdt": -300, "cst": -360, "mdt": -360, "mst": -420, "pdt": -420, "pst": -480}


def read(value: str) -> datetime | None:
    """The moment in UTC that a Date value means, or None when it means none; never raises."""
    value = value.strip()[:200]
    if match := _DATE.match(value):
        day, month, year, hour, minute, second, zone = match.groups()
    elif match := _ASCTIME.match(value):
        month, day, hour, minute, second, zone, year = match.groups()
    else:
        return None
    if month[:3].lower() not in _MONTHS:
        return None
    number = int(year)
    # RFC 5322 §4.3: 00–49 are 20xx; other two-digit years and all three-digit ones count from 1900.
    number += 2000 if len(year) == 2 and number < 50 else 1900 if len(year) < 4 else 0
    try:
        naive = datetime(
            number,
            _MONTHS.index(month[:3].lower()) + 1,
            int(day),
            int(hour),
            int(minute),
            min(int(second or 0), 59),
            tzinfo=UTC,
        )
        return naive - timedelta(minutes=_offset(zone or ""))
    except (ValueError, OverflowError):
        return None


def _offset(zone: str) -> int:
    zone = zone.replace(" ", "").strip().lower()
    if zone[:1] in ("+", "-"):
        minutes = int(zone[1:3]) * 60 + int(zone[3:5])
        return -minutes if zone[0] == "-" else minutes
    return _ZONES.get(zone, 0)


def write(at: datetime) -> str:
    """`Mon, 02 Jan 2006 15:04:05 +0000`, whatever the locale. `at` is aware."""
    offset = at.utcoffset() or timedelta(0)
    local = at.astimezone(timezone(offset))
    minutes = int(offset.total_seconds() // 60)
    sign = "-" if minutes < 0 else "+"
    zone = f"{sign}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
    month = _MONTHS[local.month - 1].title()
    return f"{_DAYS[local.weekday()]}, {local.day:02d} {month} {local.year:04d} {local:%H:%M:%S} {zone}"
