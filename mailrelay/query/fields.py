"""What a condition on a field means, by the type of the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import TypeVar

from mailrelay.model.record import Field as Declared
from mailrelay.model.record import FieldType, Module
from mailrelay.query import value
from mailrelay.query.meaning import ANY, NAME, Any, Field, Match, Meaning, Opposite, Place
from mailrelay.query.names import OWN, Known, words_of
from mailrelay.query.tokens import BadQuery, meant
from mailrelay.query.tree import SYNONYMS, Comparison, Range, Side, Test, Text, When, Within, Word
from mailrelay.query.when import Here, Span, day_after, days, instant_after, span

_T = TypeVar("_T")
_ORDERED = {
    Comparison.MORE: Match.MORE,
    Comparison.AT_LEAST: Match.AT_LEAST,
    Comparison.LESS: Match.LESS,
    Comparison.AT_MOST: Match.AT_MOST,
}
_OF_TEXT = {Comparison.CONTAINS: Match.CONTAINS, Comparison.STARTS: Match.STARTS}
_ME = "me"


class Fields:
    """The fields of a module, as a query of somebody's may compare them."""

    def __init__(self, module: Module, known: Known) -> None:
        self._module = module
        self._known = known

    def of(self, test: Test) -> Meaning:
        """What the condition means. Raises BadQuery."""
        filled, compared = self._named(test.field)
        match test.comparison:
            case Comparison.FILLED:
                return filled
            case Comparison.EMPTY:
                return Opposite(filled)
        return compared(test, filled)

    def _named(self, field: Text) -> tuple[Field, Callable[[Test, Field], Meaning]]:
        """The field, as one that has a value, and how it is compared with another."""
        name = value.fold(field.value).replace(" ", "_")
        if name in OWN:
            return self._own(name, OWN[name])
        if any(name == one.name for one in self._module.address_fields):
            return _filled(Place.ADDRESS, name), self._of_text
        for one in self._module.fields:
            if name == one.name or name in one.aliases:
                return self._declared(one)
        names = [alias for one in words_of(self._module) for alias in (one.name, *one.aliases)]
        hint = meant(name, [*names, *Word, *SYNONYMS])
        if not hint:
            hint = f"; fields are {', '.join(names[:20])}"
        raise BadQuery(field.column, f"{self._module.name} has no field {field.value!r}{hint}")

    def _own(self, name: str, place: Place) -> tuple[Field, Callable[[Test, Field], Meaning]]:
        match place:
            case Place.CREATED | Place.UPDATED:
                return _filled(place, name), self._of_time
            case Place.OWNER:
                return _filled(place, name), self._of_owner
            case Place.ADDRESS:
                return _filled(place, ANY), self._of_text
            case _:
                return _filled(place, NAME if place is Place.TEXT else name), self._of_text

    def _declared(self, field: Declared) -> tuple[Field, Callable[[Test, Field], Meaning]]:
        match field.type:
            case FieldType.NUMBER:
                return _filled(Place.NUMBER, field.name), self._of_number
            case FieldType.BOOLEAN:
                return _filled(Place.NUMBER, field.name), self._of_boolean
            case FieldType.DATE:
                return _filled(Place.TIME, field.name), self._of_day
            case FieldType.TIME:
                return _filled(Place.TIME, field.name), self._of_time
            case FieldType.TEXT:
                return _filled(Place.TEXT, field.name), self._of_text

    def _of_text(self, test: Test, filled: Field) -> Meaning:
        keep = (lambda text: text) if filled.place in (Place.ID, Place.SOURCE) else value.fold
        texts = tuple(keep(one.value) for one in test.values)
        match test.comparison:
            case Comparison.EQUAL | Comparison.IN:
                return replace(filled, match=Match.ONE_OF, texts=texts)
            case Comparison.UNEQUAL:
                return Opposite(replace(filled, match=Match.ONE_OF, texts=texts))
            case Comparison.CONTAINS | Comparison.STARTS:
                if not texts[0]:
                    raise BadQuery(test.values[0].column, "expected some text")
                return replace(filled, match=_OF_TEXT[test.comparison], texts=texts)
            case _:
                raise self._unfit(test, "text", "=, !=, in (…), contains, starts with, is empty")

    def _of_owner(self, test: Test, filled: Field) -> Meaning:
        match test.comparison:
            case Comparison.EQUAL | Comparison.IN | Comparison.UNEQUAL:
                found = replace(filled, match=Match.ONE_OF, texts=tuple(self._user(one) for one in test.values))
                return Opposite(found) if test.comparison is Comparison.UNEQUAL else found
            case _:
                raise self._unfit(test, "a user", "=, !=, in (…), is empty")

    def _user(self, said: Text) -> str:
        if said.value.lower() == _ME and not said.quoted:
            if not self._known.me:
                raise BadQuery(
                    said.column, "'me' is a user, and nobody in particular asks here; name an address instead"
                )
            return self._known.me
        found = self._known.user(said.value)
        if found is None:
            raise BadQuery(said.column, f"no user has the address or id {said.value!r}")
        return found

    def _of_number(self, test: Test, filled: Field) -> Meaning:
        match test.comparison:
            case Comparison.WHEN | Comparison.TRUE | Comparison.CONTAINS | Comparison.STARTS:
                raise self._unfit(test, "a number", "=, !=, <, <=, >, >=, in (…), is empty")
        numbers = tuple(self._read(one, value.number) for one in test.values)
        if test.comparison in _ORDERED:
            return replace(filled, match=_ORDERED[test.comparison], numbers=numbers)
        found = replace(filled, match=Match.ONE_OF, numbers=numbers)
        return Opposite(found) if test.comparison is Comparison.UNEQUAL else found

    def _of_boolean(self, test: Test, filled: Field) -> Meaning:
        match test.comparison:
            case Comparison.TRUE:
                return replace(filled, match=Match.ONE_OF, numbers=(1.0,))
            case Comparison.EQUAL | Comparison.UNEQUAL:
                found = replace(filled, match=Match.ONE_OF, numbers=(float(self._read(test.values[0], value.boolean)),))
                return Opposite(found) if test.comparison is Comparison.UNEQUAL else found
            case _:
                raise self._unfit(test, "yes or no", "= true, = false, is empty")

    def _of_day(self, test: Test, filled: Field) -> Meaning:
        return self._when(test, filled, day=True)

    def _of_time(self, test: Test, filled: Field) -> Meaning:
        return self._when(test, filled, day=False)

    def _when(self, test: Test, filled: Field, *, day: bool) -> Meaning:
        match test.comparison:
            case Comparison.WHEN if test.when is not None:
                found = self._days(test.when, test.field) if day else self._field_span(test.when, test.field)
                return replace(filled, match=Match.WITHIN, span=found)
            case Comparison.IN:
                parts = tuple(
                    replace(filled, match=Match.WITHIN, span=self._exactly(one, day=day)) for one in test.values
                )
                return parts[0] if len(parts) == 1 else Any(parts)
            case Comparison.CONTAINS | Comparison.STARTS | Comparison.TRUE:
                raise self._unfit(
                    test, "a day" if day else "a time", "=, <, >, this month, before 2026-12-01, is empty"
                )
        one = self._exactly(test.values[0], day=day)
        spans = {
            Comparison.MORE: Span(one.end, None),
            Comparison.AT_LEAST: Span(one.start, None),
            Comparison.LESS: Span(None, one.start),
            Comparison.AT_MOST: Span(None, one.end),
        }
        within = replace(filled, match=Match.WITHIN, span=spans.get(test.comparison, one))
        return Opposite(within) if test.comparison is Comparison.UNEQUAL else within

    def _exactly(self, said: Text, *, day: bool) -> Span:
        """The day, or instant, that a value names."""
        if day:
            first = self._read(said, value.day)
            return _as_span(first, day_after(first))
        if len(said.value) == len("2026-12-01"):
            first = self._read(said, value.day)
            return instants(Range(start=first, end=first, inclusive=True), self._known.here, said.column)
        at = self._read(said, lambda text: value.instant(text, self._known.here.zone))
        return Span(at, instant_after(at))

    def _days(self, when: When, field: Text) -> Span:
        self._must_say_which(when)
        try:
            found = days(when, self._known.here)
            return _as_span(found.start, found.end)
        except (OverflowError, ValueError):
            raise BadQuery(field.column, "no calendar goes so far") from None

    def _field_span(self, when: When, field: Text) -> Span:
        self._must_say_which(when)
        return instants(when, self._known.here, field.column)

    def _must_say_which(self, when: When) -> None:
        if isinstance(when, Within) and when.side is Side.HERE:
            said = f"{when.number} {when.unit}{'s' if when.number != 1 else ''}"
            because = f"a field may lie on either side: say 'within the last {said}' or 'within the next {said}'"
            raise BadQuery(when.column, because)

    def _read(self, said: Text, read: Callable[[str], _T]) -> _T:
        try:
            return read(said.value)
        except (ValueError, OverflowError) as error:
            raise BadQuery(said.column, f"{said.value[:40]!r} {error}") from None

    def _unfit(self, test: Test, what: str, fits: str) -> BadQuery:
        said = {Comparison.TRUE: "alone", Comparison.WHEN: "with a time"}.get(
            test.comparison, f"with '{test.comparison}'"
        )
        return BadQuery(
            test.field.column, f"{test.field.value} is {what} and does not stand {said}; it goes with {fits}"
        )


def _filled(place: Place, name: str) -> Field:
    return Field(place=place, name=name, match=Match.FILLED)


def instants(when: When, here: Here, column: int) -> Span:
    """The instants of a phrase that stands there. Raises BadQuery."""
    try:
        return span(when, here)
    except (OverflowError, ValueError):
        raise BadQuery(column, "no calendar goes so far") from None


def _as_span(start: date | None, end: date | None) -> Span:
    """Days are kept as their midnights in UTC, wherever the organisation is."""

    def midnight(day: date | None) -> datetime | None:
        return None if day is None else datetime.combine(day, time(), UTC)

    return Span(midnight(start), midnight(end))
