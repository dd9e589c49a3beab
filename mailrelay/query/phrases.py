"""Phrases of time: `within 3 days`, `last month`, `before 2026-11-01`."""

from __future__ import annotations

import re
from datetime import date, datetime

from mailrelay.query.tokens import BadQuery, Reader
from mailrelay.query.tree import Before, Moment, Near, Period, Range, Side, Unit, When, Within

_LARGEST_NUMBER = 100_000
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_UNITS = {str(unit): unit for unit in Unit} | {f"{unit}s": unit for unit in Unit}
_NEAR = {"today": Near(0), "yesterday": Near(-1), "tomorrow": Near(1)}
_SIDES = {str(side): side for side in Side}
WHEN = (
    *("today", "yesterday", "tomorrow", "this", "last", "next", "within", "in", "since", "before"),
    *("after", "until", "on", "between", "more", "less"),
)
"""Words that a phrase begins with."""


class TimeReader(Reader):
    """Reads phrases of time."""

    def _when(self) -> When | None:
        word = self._next.lower
        if word in _NEAR:
            self._take()
            return _NEAR[word]
        if word in _SIDES:
            return self._period()
        if word in ("within", "in"):
            return self._within()
        if word in ("more", "less"):
            return self._ago()
        if word not in ("since", "before", "after", "until", "on", "between"):
            return None
        self._take()
        moment = self._moment()
        match word:
            case "since":
                return Range(start=moment)
            case "after":
                return Range(start=moment, since_its_end=True)
            case "before":
                return Range(end=moment)
            case "until":
                return Range(end=moment, inclusive=True)
            case "on":
                return Range(start=moment, end=moment, inclusive=True)
        self._need("and", "'and' and the end of the time")
        return Range(start=moment, end=self._moment(), inclusive=True)

    def _period(self) -> When:
        column = self._next.column
        side = _SIDES[self._take().lower]
        if side is not Side.HERE and _NUMBER.fullmatch(self._next.value):
            return Within(side, *self._span(), column=column)
        if self._next.lower.endswith("s") and self._next.lower in _UNITS:
            raise self._expected(f"one {_UNITS[self._next.lower]}, or a number before it")
        return Period(side, self._unit())

    def _within(self) -> Within:
        token = self._take()
        if token.lower == "in":
            self._need("the", "'(' and values, or 'the last 3 days'")
        else:
            self._word("the")
        side = Side.HERE
        if self._next.lower in ("last", "next"):
            side = _SIDES[self._take().lower]
        elif token.lower == "in":
            raise self._expected("'last' or 'next'", ["last", "next"])
        if self._next.lower in _UNITS and side is not Side.HERE:
            return Within(side, 1, self._unit(), column=token.column)
        return Within(side, *self._span(), column=token.column)

    def _ago(self) -> When:
        more = self._take().lower == "more"
        self._need("than")
        ago = Before(*self._span())
        self._need("ago")
        return Range(end=ago) if more else Range(start=ago, end=Before(0, ago.unit), inclusive=True)

    def _moment(self) -> Moment:
        token = self._next
        if token.lower in _NEAR:
            self._take()
            return _NEAR[token.lower]
        if _NUMBER.fullmatch(token.value) and token.kind == "word":
            ago = Before(*self._span())
            self._need("ago")
            return ago
        if token.kind != "end":
            try:
                if _DAY.fullmatch(token.value):
                    moment: Moment = date.fromisoformat(token.value)
                    self._take()
                    return moment
                if _INSTANT.fullmatch(token.value.upper()):
                    moment = datetime.fromisoformat(token.value.upper())
                    self._take()
                    return moment
            except ValueError:
                raise BadQuery(token.column, f"there is no day or time {token.value}") from None
        raise self._expected("a day or time, such as 2026-11-01, 2026-11-01T08:00, yesterday or 3 days ago", _NEAR)

    def _span(self) -> tuple[int, Unit]:
        return self._number(), self._unit()

    def _number(self) -> int:
        token = self._next
        if token.kind != "word" or not _NUMBER.fullmatch(token.value):
            raise self._expected("a number")
        if int(token.value) > _LARGEST_NUMBER:
            raise BadQuery(token.column, f"a number here is {_LARGEST_NUMBER} at most")
        return int(self._take().value)

    def _unit(self) -> Unit:
        if self._next.lower not in _UNITS:
            raise self._expected("a unit of time: minutes, hours, days, weeks, months, quarters, years", _UNITS)
        return _UNITS[self._take().lower]
