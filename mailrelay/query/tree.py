"""What a query says, as it was parsed: words with their columns, not yet known to be right (`check` finds that out)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class Word(StrEnum):
    """What may have become of one mail."""

    SENT = "sent"
    RECEIVED = "received"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    DEFERRED = "deferred"
    FAILED = "failed"
    SCHEDULED = "scheduled"


SYNONYMS = {"answered": Word.REPLIED}


class Unit(StrEnum):
    """A unit of time."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


class Side(StrEnum):
    """Where a time lies from now; HERE is this week, or a `within` that does not say."""

    LAST = "last"
    HERE = "this"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Text:
    """A word or quoted text, and where it begins, counted from 1."""

    value: str
    column: int
    quoted: bool = False


# --- time ---


@dataclass(frozen=True, slots=True)
class Near:
    """Today, yesterday (-1) or tomorrow (1)."""

    days: int


@dataclass(frozen=True, slots=True)
class Before:
    """So long ago."""

    number: int
    unit: Unit


Moment = date | datetime | Near | Before
"""A day or an instant; a datetime without an offset is where the organisation is."""


@dataclass(frozen=True, slots=True)
class Period:
    """Last, this or next week."""

    side: Side
    unit: Unit


@dataclass(frozen=True, slots=True)
class Within:
    """Within 3 days."""

    side: Side
    number: int
    unit: Unit
    column: int


@dataclass(frozen=True, slots=True)
class Range:
    """From a moment, to a moment, or between two. `inclusive`: the whole of the last day or instant belongs to it.

    `since_its_end`: it begins when its first day is over.
    """

    start: Moment | None = None
    end: Moment | None = None
    inclusive: bool = False
    since_its_end: bool = False


When = Near | Period | Within | Range


# --- conditions ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How often: at least, and at most."""

    least: int
    most: int | None
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A word of a mail: `clicked "pricing" at least 2 times since 2026-11-01`."""

    word: Word
    column: int
    hard: bool | None = None
    link: str = ""
    count: Count | None = None
    when: When | None = None


@dataclass(frozen=True, slots=True)
class Never:
    """What no mail of the record is."""

    said: Said


class Comparison(StrEnum):
    """How a field is compared."""

    EQUAL = "="
    UNEQUAL = "!="
    MORE = ">"
    AT_LEAST = ">="
    LESS = "<"
    AT_MOST = "<="
    IN = "in"
    CONTAINS = "contains"
    STARTS = "starts with"
    EMPTY = "is empty"
    FILLED = "is not empty"
    WHEN = "when"
    TRUE = "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A field and what its value is to be."""

    field: Text
    comparison: Comparison
    values: tuple[Text, ...] = ()
    when: When | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    part: Node


@dataclass(frozen=True, slots=True)
class Group:
    """What stands in parentheses, and speaks for itself."""

    part: Node


@dataclass(frozen=True, slots=True)
class Both:
    """All of these."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of these at least."""

    parts: tuple[Node, ...]


Node = Both | Either | Not | Group | Never | Said | Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Records of a module, of which something is true; `where` None asks for all of them."""

    module: Text
    where: Node | None
