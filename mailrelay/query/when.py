"""Time phrases → spans, in the organisation's time zone: a day is the calendar's, of 23 or 25 hours where clocks change.

Weeks begin on Monday (ISO 8601).
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from mailrelay.query.tree import Before, Moment, Near, Period, Range, Side, Unit, When, Within

_MONTHS = {Unit.MONTH: 1, Unit.QUARTER: 3, Unit.YEAR: 12}
_EXACT = {Unit.MINUTE: timedelta(minutes=1), Unit.HOUR: timedelta(hours=1)}
_INSTANT = timedelta(microseconds=1)
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` on, and before `end`; None is without bound. Instants are in UTC."""

    start: datetime | None = None
    end: datetime | None = None


EVER = Span()


@dataclass(frozen=True, slots=True)
class Days:
    """From the day `start` on, and before the day `end`; None is without bound."""

    start: date | None = None
    end: date | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """Now, and where."""

    now: datetime
    zone: ZoneInfo

    @property
    def today(self) -> date:
        """The day it is there."""
        return self.now.astimezone(self.zone).date()


def span(when: When, here: Here) -> Span:
    """The instants of a phrase. Raises OverflowError or ValueError for what no calendar has."""
    match when:
        case Near() | Period():
            return _midnights(days(when, here), here)
        case Within(Side.NEXT, number, unit):
            return Span(here.now, _moved(here, number, unit))
        case Within(_, number, unit):
            return Span(_moved(here, -number, unit), here.now + _INSTANT)
        case Range():
            start, end = when.start, when.end
            return Span(
                None if start is None else _instant(start, here, end=when.since_its_end),
                None if end is None else _end(end, here) if when.inclusive else _instant(end, here, end=False),
            )


def days(when: When, here: Here) -> Days:
    """The days of a phrase, for fields that have no time of day. Raises OverflowError or ValueError as `span` does."""
    today = here.today
    match when:
        case Near(number):
            day = today + timedelta(days=number)
            return Days(day, day + timedelta(days=1))
        case Period(side, unit):
            return _period(today, side, unit)
        case Within(Side.NEXT, number, unit):
            return Days(today, _day_moved(here, number, unit) + timedelta(days=1))
        case Within(_, number, unit):
            return Days(_day_moved(here, -number, unit), today + timedelta(days=1))
        case Range():
            start, end = when.start, when.end
            return Days(
                None if start is None else _day(start, here) + timedelta(days=when.since_its_end),
                None if end is None else day_after(_day(end, here)) if when.inclusive else _day(end, here),
            )


def day_after(day: date) -> date | None:
    """The next day; None behind the last that there is: what goes to its end has none."""
    return None if day == date.max else day + timedelta(days=1)


def instant_after(at: datetime) -> datetime | None:
    """The next instant; None behind the last that there is."""
    return None if at == _LAST else at + _INSTANT


def day_of(moment: date | datetime, here: Here) -> date:
    """The day of a moment, where the organisation is."""
    return _day(moment, here)


def _period(today: date, side: Side, unit: Unit) -> Days:
    step = {Side.LAST: -1, Side.HERE: 0, Side.NEXT: 1}[side]
    if unit in _MONTHS:
        length = _MONTHS[unit]
        first = today.replace(day=1, month=(today.month - 1) // length * length + 1)
        return Days(_months(first, step * length), _months(first, (step + 1) * length))
    if unit is Unit.WEEK:
        first = today - timedelta(days=today.weekday()) + timedelta(weeks=step)
        return Days(first, first + timedelta(weeks=1))
    first = today + timedelta(days=step)
    return Days(first, first + timedelta(days=1))


def _months(day: date, number: int) -> date:
    """So many months later; the last day of a shorter month."""
    months = day.year * 12 + day.month - 1 + number
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError("no such year")
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _day_moved(here: Here, number: int, unit: Unit) -> date:
    if unit in _EXACT:
        return (here.now + number * _EXACT[unit]).astimezone(here.zone).date()
    if unit in _MONTHS:
        return _months(here.today, number * _MONTHS[unit])
    return here.today + timedelta(days=number * (7 if unit is Unit.WEEK else 1))


def _moved(here: Here, number: int, unit: Unit) -> datetime:
    """So much later: of days and more to the same time of day."""
    if unit in _EXACT:
        return here.now + number * _EXACT[unit]
    there = here.now.astimezone(here.zone)
    return datetime.combine(_day_moved(here, number, unit), there.time(), here.zone).astimezone(UTC)


def _midnights(found: Days, here: Here) -> Span:
    return Span(
        None if found.start is None else _midnight(found.start, here),
        None if found.end is None else _midnight(found.end, here),
    )


def _midnight(day: date, here: Here) -> datetime:
    return datetime.combine(day, time(), here.zone).astimezone(UTC)


def _instant(moment: Moment, here: Here, *, end: bool) -> datetime:
    """When the moment begins, or with `end` when it is over."""
    if isinstance(moment, Before):
        return _moved(here, -moment.number, moment.unit) + (_INSTANT if end else timedelta())
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=here.zone)
        return aware.astimezone(UTC) + (_INSTANT if end else timedelta())
    return _midnight(_day(moment, here) + timedelta(days=end), here)


def _end(moment: Moment, here: Here) -> datetime | None:
    """When the moment is over; None for one that ends with the calendar."""
    if isinstance(moment, Before):
        return _instant(moment, here, end=True)
    if isinstance(moment, datetime):
        return instant_after(_instant(moment, here, end=False))
    return None if _day(moment, here) == date.max else _instant(moment, here, end=True)


def _day(moment: Moment, here: Here) -> date:
    match moment:
        case Near(number):
            return here.today + timedelta(days=number)
        case Before(number, unit):
            return _day_moved(here, -number, unit)
        case datetime():
            return moment.date() if moment.tzinfo is None else moment.astimezone(here.zone).date()
        case _:
            return moment
