"""What a query means, once `check` has found it right: names resolved, times as spans, values as their types."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mailrelay.query.tree import Word
from mailrelay.query.when import EVER, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that became of a mail, at a time within the span."""

    word: Word
    span: Span = EVER
    hard: bool | None = None
    """Of a bounce: only hard ones, or only soft ones."""
    link: str = ""
    """Of a click: part of the link's address, folded."""
    least: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """There is one mail of the record that is all of these and none of those."""

    all: tuple[Fact, ...]
    none: tuple[Fact, ...] = ()


class Place(StrEnum):
    """Where a field's value is kept."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"
    """An instant, or a day as its midnight in UTC."""
    ADDRESS = "address"
    ID = "id"
    OWNER = "owner"
    SOURCE = "source"
    CREATED = "created_at"
    UPDATED = "updated_at"


NAME = ":name"
"""The field of a record's own name, where fields are kept: the CRM can have none that is called so."""
ANY = ""
"""As the field of an address: any of the module's."""


class Match(StrEnum):
    """How a value is looked for."""

    ONE_OF = "one of"
    MORE = ">"
    AT_LEAST = ">="
    LESS = "<"
    AT_MOST = "<="
    CONTAINS = "contains"
    STARTS = "starts"
    WITHIN = "within"
    FILLED = "filled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of the record has such a value; one without a value never has."""

    place: Place
    name: str
    match: Match
    texts: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    span: Span = EVER


@dataclass(frozen=True, slots=True)
class Opposite:
    """The record is not so."""

    part: Meaning


@dataclass(frozen=True, slots=True)
class All:
    """The record is all of this."""

    parts: tuple[Meaning, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """The record is one of these at least."""

    parts: tuple[Meaning, ...]


Meaning = All | Any | Opposite | Mail | Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Records of a module, by name, of which this holds; None: all."""

    module: str
    where: Meaning | None
