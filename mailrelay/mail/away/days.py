"""Days in a sentence: `24 November`, `24.11.`, `11/24/2026`, `12月3日`, `next Monday`, and which day of the calendar each is (I25)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from itertools import islice

from mailrelay.mail.away.words import Phrases, Words, pattern

MAX_DAYS = 12
"""Of one sentence; who writes more than that does not say when he is back."""
MAX_AHEAD = timedelta(days=366)
_FORGOTTEN = timedelta(days=330)
"""A day without a year that comes this late has just been: the reply was not switched off."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day as it stands in a text, from `start` to `end`. What is not said is 0 or None."""

    start: int
    end: int
    year: int = 0
    month: int = 0
    day: int = 0
    either: bool = False
    """Whether day and month may be the other way round."""
    weekday: int | None = None
    ahead: int | None = None
    last_of_month: bool = False


def find(text: str, words: Words) -> tuple[Day, ...]:
    """The days that `text` names in the language of `words`, in order, at most `MAX_DAYS`."""
    found = islice(_pattern(words).finditer(text), 4 * MAX_DAYS)
    days = (day for match in found if (day := _day(match, words)) is not None)
    return tuple(islice(days, MAX_DAYS))


def resolve(day: Day, *, first: date, today: date) -> date | None:
    """The day of the calendar: the next from `first` on, at most a year after `today`; None when there is none."""
    if day.ahead is not None:
        return today + timedelta(days=day.ahead)
    if day.weekday is not None:
        # "Back on Monday" is never the day on which it is said.
        return today + timedelta(days=(day.weekday - today.weekday() - 1) % 7 + 1)
    if day.month == 0:
        wanted = [
            _date(first.year + (first.month + k - 1) // 12, (first.month + k - 1) % 12 + 1, day.day) for k in (0, 1, 2)
        ]
        return min((one for one in wanted if one is not None and one >= first), default=None)
    orders = [(day.month, day.day), (day.day, day.month)] if day.either else [(day.month, day.day)]
    years = (day.year,) if day.year else (first.year, first.year + 1)
    latest = today + (MAX_AHEAD if day.year else _FORGOTTEN)
    found = []
    for year in years:
        for month, number in orders:
            one = _last(year, month) if day.last_of_month else _date(year, month, number)
            if one is not None and first <= one <= latest:
                found.append(one)
    # Of two readings of 5/12 the nearer one: people are away for weeks, not for months.
    return min(found, default=None)


def before(day: Day, end: date) -> date | None:
    """The last such day up to `end`: where the range begins that ends there."""
    if day.weekday is not None or day.ahead is not None:
        return None
    month = day.month or end.month
    orders = [(month, day.day), (day.day, month)] if day.either else [(month, day.day)]
    years = (day.year,) if day.year else (end.year, end.year - 1)
    known = [one for year in years for order in orders if (one := _date(year, *order)) is not None and one <= end]
    return max(known, default=None)


def of_month(day: Day, number: int, *, start: int, end: int) -> Day:
    """The day of that number in the month (and year) of `day`: the other end of `20 to 28 November`."""
    return replace(day, start=start, end=end, day=number, either=False)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _last(year: int, month: int) -> date | None:
    following = _date(year + month // 12, month % 12 + 1, 1)
    return following - timedelta(days=1) if following else None


_FREE = r"(?<!\d)(?<!\d[.,:/])(?<!\+)"
"""Before a number that is not a part of a longer one."""
# 24/7 is a promise and no day; 20-28 is a range, but 20-11-2026 is a day.
_NUMERIC = (
    rf"{_FREE}(?<![€$£])(?:"
    r"(?P<iso_y>20\d\d)(?P<iso_s>[-/.])(?P<iso_m>\d{1,2})(?P=iso_s)(?P<iso_d>\d{1,2})"
    r"|(?:(?P<cjk_y>20\d\d)年\s?)?(?P<cjk_m>\d{1,2})月\s?(?P<cjk_d>\d{1,2})[日号號]?"
    r"|(?!24/7(?!\d))(?P<num_a>\d{1,2})(?P<num_s>[/.]|-(?=DASHED))\s?(?P<num_b>\d{1,2})(?:(?P=num_s)\s?(?P<num_y>20\d\d|\d\d(?!\d)))?"
    r")\.?(?![\d€$£%]|[.,/:]\d)"
)
_DASHED_WITH_YEAR = r"\d{1,2}-(?:20)?\d\d(?!\d)"


@lru_cache(maxsize=64)
def _pattern(words: Words) -> re.Pattern[str]:
    """Every way in which a language writes days."""
    dashed = _DASHED_WITH_YEAR
    weekdays = pattern(tuple(name for names in words.weekdays for name in names), spaced=words.spaced)
    either: list[str] = []
    if words.months:
        months = pattern(tuple(name for names in words.months for name in names), spaced=True)
        ordinal = rf"(?:{words.ordinal})?" if words.ordinal else ""
        between = rf"(?:(?:{words.before_month})\s{{0,2}})?" if words.before_month else ""
        year = rf"(?:,?\s{{1,2}}{between}(?P<YEAR>20\d\d)(?!\d))?"
        if words.dashed:
            dashed += rf"|(?:0?[1-9]|1[0-2])(?![\d-]|\s?{months})"
        either += [
            rf"{_FREE}(?P<dm_d>\d{{1,2}}){ordinal}\.?\s{{0,2}}{between}(?P<dm_m>{months})\.?{year.replace('YEAR', 'dm_y')}",
            rf"(?P<md_m>{months})\.?\s{{1,2}}(?:the )?(?P<md_d>\d{{1,2}}){ordinal}(?![\d:.]\d|\d){year.replace('YEAR', 'md_y')}",
            rf"(?P<m_m>{months})\.?{year.replace('YEAR', 'm_y')}",
        ]
    if words.ordinal == "st|nd|rd|th":
        either.append(rf"{_FREE}(?P<d_d>\d{{1,2}})(?:st|nd|rd|th)(?!\w)")
    either.insert(0, _NUMERIC.replace("DASHED", dashed))
    if words.ahead:
        either.append(rf"(?P<ahead>{pattern(tuple(words.ahead), spaced=words.spaced)})")
    # A weekday in front of a day is a part of it, so that the words before it are next to it.
    lead = rf"{weekdays}\.?[,(]?\s{{0,2}}(?:(?:the|den|dem|der|le|el|il|op|dia)\s)?\s?"
    alone = pattern(tuple(names[0] for names in words.weekdays), spaced=words.spaced)
    number = rf"{lead}(?P<w_d>\d{{1,2}})(?![\d:/%€$-]|[.,]\d|\s?(?:am|pm|uhr|h)\b)"
    return re.compile(rf"(?:{lead})?(?:{'|'.join(either)})|{number}|(?P<weekday>{alone})", re.IGNORECASE)


def _day(match: re.Match[str], words: Words) -> Day | None:
    start, end = match.span()
    said = match.groupdict()
    if said["weekday"]:
        return Day(start, end, weekday=_place(said["weekday"], words.weekdays, words))
    if said.get("ahead"):
        ahead = words.ahead or {}
        return Day(start, end, ahead=next(n for name, n in ahead.items() if _is(said["ahead"], (name,), words)))
    for prefix in ("iso", "cjk"):
        if number := said[f"{prefix}_m"]:
            return _valid(Day(start, end, int(said[f"{prefix}_y"] or 0), int(number), int(said[f"{prefix}_d"])))
    if said["num_a"]:
        return _numeric(said, words, start, end)
    if number := said["w_d"] or said.get("d_d"):
        return _valid(Day(start, end, day=int(number)))
    for prefix in ("dm", "md"):
        if name := said[f"{prefix}_m"]:
            month = _place(name, words.months, words) + 1
            return _valid(Day(start, end, int(said[f"{prefix}_y"] or 0), month, int(said[f"{prefix}_d"])))
    if not (words.bare_months or said["m_y"]) and said["m_m"].lower() in ("may", "mar", "march"):
        return None
    last = words.patterns.month_ends.search(match.string, max(0, start - 20), start)
    return Day(
        last.start() if last else start,
        end,
        int(said["m_y"] or 0),
        _place(said["m_m"], words.months, words) + 1,
        1,
        last_of_month=last is not None,
    )


def _numeric(said: dict[str, str], words: Words, start: int, end: int) -> Day | None:
    """Two or three numbers: day and month in the language's order, or in the only one that is possible."""
    a, b, mark = int(said["num_a"]), int(said["num_b"]), said["num_s"]
    year = int(said["num_y"] or 0)
    year += 2000 if 0 < year < 100 else 0
    first_is_month = words.month_first is True and mark != "."
    month, day = (a, b) if first_is_month else (b, a)
    if month > 12:
        month, day = day, month
    either = words.month_first is None and mark == "/" and month <= 12 and day <= 12
    return _valid(Day(start, end, year, month, day, either=either))


def _valid(day: Day) -> Day | None:
    return day if day.month <= 12 and 1 <= day.day <= 31 and (day.month or day.weekday is None) else None


def _place(name: str, tables: tuple[Phrases, ...], words: Words) -> int:
    return next(at for at, names in enumerate(tables) if _is(name, names, words))


def _is(name: str, phrases: Phrases, words: Words) -> bool:
    return _one_of(phrases, words.spaced).fullmatch(name) is not None


@lru_cache(maxsize=512)
def _one_of(phrases: Phrases, spaced: bool) -> re.Pattern[str]:
    return re.compile(pattern(phrases, spaced=spaced), re.IGNORECASE)
