"""Tree → meaning: names and types against the modules of the organisation, phrases of time against its clock.

Words of mail that are joined by `and` speak of one mail; what stands in parentheses or behind `or` speaks for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import TypeVar

from mailrelay.model.record import Field as Declared
from mailrelay.model.record import FieldType, Module
from mailrelay.query import meaning, value
from mailrelay.query.grammar import BadQuery, meant
from mailrelay.query.meaning import ANY, NAME, All, Any, Fact, Mail, Match, Meaning, Opposite, Place, Question
from mailrelay.query.tree import (
    SYNONYMS,
    Both,
    Comparison,
    Either,
    Group,
    Never,
    Node,
    Not,
    Query,
    Range,
    Said,
    Side,
    Test,
    Text,
    When,
    Within,
    Word,
)
from mailrelay.query.when import Here, Span, day_after, days, instant_after, span

_T = TypeVar("_T")
_OWN = {
    "name": Place.TEXT,
    "id": Place.ID,
    "owner": Place.OWNER,
    "source": Place.SOURCE,
    "created": Place.CREATED,
    "updated": Place.UPDATED,
    "address": Place.ADDRESS,
}
"""Fields that every record has."""
OWN_FIELDS = tuple(_OWN)
_ORDERED = {
    Comparison.MORE: Match.MORE,
    Comparison.AT_LEAST: Match.AT_LEAST,
    Comparison.LESS: Match.LESS,
    Comparison.AT_MOST: Match.AT_MOST,
}
_OF_TEXT = {Comparison.CONTAINS: Match.CONTAINS, Comparison.STARTS: Match.STARTS}
_SENT_OURSELVES = frozenset(Word) - {Word.RECEIVED}
_ME = "me"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a query may speak of: the organisation's modules, its clock, who asks ("" for nobody in particular), and its users."""

    modules: tuple[Module, ...]
    here: Here
    me: str
    user: Callable[[str], str | None]
    """The id of a user by id or address; None for nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A field as it may be said: its name, what it holds, and other words for it."""

    name: str
    type: str
    aliases: tuple[str, ...] = ()


def check(query: Query, known: Known) -> Question:
    """What the query means. Raises BadQuery."""
    module = _module(query.module, known.modules)
    return Question(
        module=module.name, where=None if query.where is None else _Checker(module, known).node(query.where)
    )


def words_of(module: Module) -> Iterator[Named]:
    """Every field of a module that a query may name."""
    yield from (Named(name=name, type=_shown_type(place)) for name, place in _OWN.items())
    yield from (Named(name=one.name, type="address") for one in module.address_fields if one.name not in _OWN)
    for one in module.fields:
        if one.name not in _OWN:
            yield Named(name=one.name, type=one.type, aliases=one.aliases)


def names_of(module: Module) -> tuple[str, ...]:
    """How a module may be called: its name, its label, and the plural or singular of both."""
    said = {_called(module.name), _called(module.label)}
    return tuple(sorted(said | {_plural(one) for one in said} | {_singular(one) for one in said}))


def _module(said: Text, modules: Sequence[Module]) -> Module:
    wanted = _called(said.value)
    for name in (lambda one: {_called(one.name)}, lambda one: {_called(one.label)}, names_of):
        for one in modules:
            if wanted in name(one):
                return one
    there = [_plural(_called(one.name)) for one in modules]
    hint = meant(wanted, there) or f"; there are {', '.join(there[:12])}"
    raise BadQuery(said.column, f"there is no module {said.value!r}{hint}")


def _called(text: str) -> str:
    return value.fold(text.replace("_", " "))


def _plural(word: str) -> str:
    if word.endswith("s"):
        return word
    return word[:-1] + "ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else word + "s"


def _singular(word: str) -> str:
    return word[:-3] + "y" if word.endswith("ies") else word.removesuffix("s")


def _shown_type(place: Place) -> str:
    match place:
        case Place.CREATED | Place.UPDATED:
            return FieldType.TIME
        case Place.ADDRESS | Place.OWNER:
            return str(place)
        case _:
            return FieldType.TEXT


class _Checker:
    def __init__(self, module: Module, known: Known) -> None:
        self._module = module
        self._known = known

    def node(self, node: Node) -> Meaning:
        """What a condition means."""
        match node:
            case Either(parts):
                return Any(tuple(self.node(part) for part in parts))
            case Both(parts):
                return self._both(parts)
            case Group(part):
                return self.node(part)
            case Never(said):
                return Opposite(Mail(all=(self._fact(said),)))
            case Test():
                return self._test(node)
            case Said() | Not():
                return self._both((node,))

    def _both(self, parts: Sequence[Node]) -> Meaning:
        said: list[Said] = []
        unsaid: list[Said] = []
        others: list[Meaning] = []
        for part in parts:
            opposite = False
            while isinstance(part, Not):
                opposite, part = not opposite, part.part
            if isinstance(part, Said):
                (unsaid if opposite else said).append(part)
            else:
                others.append(Opposite(self.node(part)) if opposite else self.node(part))
        mail = [self._mail(said, unsaid)] if said or unsaid else []
        found = (*mail, *others)
        return found[0] if len(found) == 1 else All(found)

    def _mail(self, said: Sequence[Said], unsaid: Sequence[Said]) -> Mail:
        """One mail that is what is said, and is not the rest."""
        received = next((one for one in said if one.word is Word.RECEIVED), None)
        other = next((one for one in said if one.word in _SENT_OURSELVES), None)
        if received is not None and other is not None:
            later = max(received, other, key=lambda one: one.column)
            raise BadQuery(
                later.column,
                f"one mail is not both received and {other.word}: to speak of two mails put '{later.word} …' in parentheses",
            )
        facts = tuple(self._fact(one) for one in said)
        if not facts:
            for one in unsaid:
                if one.word in (Word.SENT, Word.RECEIVED):
                    raise BadQuery(
                        one.column, f"'not {one.word}' says nothing of a mail by itself; say 'never {one.word}'"
                    )
            facts = (Fact(word=Word.SENT),)
        return Mail(all=facts, none=tuple(self._fact(one) for one in unsaid))

    def _fact(self, said: Said) -> Fact:
        fact = Fact(word=said.word, hard=said.hard, link=value.fold(said.link))
        if said.count is not None:
            fact = replace(fact, least=said.count.least, most=said.count.most)
        when = said.when
        if when is None:
            return fact
        if isinstance(when, Within) and when.side is Side.HERE and said.word is Word.SCHEDULED:
            when = replace(when, side=Side.NEXT)
        found = self._span(when, said.column)
        if said.word is not Word.SCHEDULED and found.end is not None and found.end > self._known.here.now:
            found = Span(found.start, None)  # nothing has happened later
        return replace(fact, span=found)

    # --- fields ---

    def _test(self, test: Test) -> Meaning:
        name = value.fold(test.field.value).replace(" ", "_")
        if name in _OWN:
            return self._own(test, name, _OWN[name])
        if any(name == one.name for one in self._module.address_fields):
            return self._of_text(test, Place.ADDRESS, name)
        for one in self._module.fields:
            if name == one.name or name in one.aliases:
                return self._declared(test, one)
        names = [alias for one in words_of(self._module) for alias in (one.name, *one.aliases)]
        hint = meant(name, [*names, *Word, *SYNONYMS])
        if not hint:
            hint = f"; fields are {', '.join(names[:20])}"
        raise BadQuery(test.field.column, f"{self._module.name} has no field {test.field.value!r}{hint}")

    def _own(self, test: Test, name: str, place: Place) -> Meaning:
        match place:
            case Place.CREATED | Place.UPDATED:
                return self._of_time(test, place, name, FieldType.TIME)
            case Place.OWNER:
                return self._of_owner(test)
            case Place.ADDRESS:
                return self._of_text(test, place, ANY)
            case _:
                return self._of_text(test, place, NAME if place is Place.TEXT else name)

    def _declared(self, test: Test, field: Declared) -> Meaning:
        match field.type:
            case FieldType.NUMBER:
                return self._of_number(test, field)
            case FieldType.BOOLEAN:
                return self._of_boolean(test, field)
            case FieldType.DATE | FieldType.TIME:
                return self._of_time(test, Place.TIME, field.name, field.type)
            case FieldType.TEXT:
                return self._of_text(test, Place.TEXT, field.name)

    def _of_text(self, test: Test, place: Place, name: str) -> Meaning:
        filled = meaning.Field(place=place, name=name, match=Match.FILLED)
        keep = (lambda text: text) if place in (Place.ID, Place.SOURCE) else value.fold
        texts = tuple(keep(one.value) for one in test.values)
        match test.comparison:
            case Comparison.FILLED:
                return filled
            case Comparison.EMPTY:
                return Opposite(filled)
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

    def _of_owner(self, test: Test) -> Meaning:
        filled = meaning.Field(place=Place.OWNER, name="owner", match=Match.FILLED)
        match test.comparison:
            case Comparison.FILLED:
                return filled
            case Comparison.EMPTY:
                return Opposite(filled)
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

    def _of_number(self, test: Test, field: Declared) -> Meaning:
        filled = meaning.Field(place=Place.NUMBER, name=field.name, match=Match.FILLED)
        match test.comparison:
            case Comparison.FILLED:
                return filled
            case Comparison.EMPTY:
                return Opposite(filled)
            case Comparison.WHEN | Comparison.TRUE | Comparison.CONTAINS | Comparison.STARTS:
                raise self._unfit(test, "a number", "=, !=, <, <=, >, >=, in (…), is empty")
        numbers = tuple(self._read(one, value.number) for one in test.values)
        if test.comparison in _ORDERED:
            return replace(filled, match=_ORDERED[test.comparison], numbers=numbers)
        found = replace(filled, match=Match.ONE_OF, numbers=numbers)
        return Opposite(found) if test.comparison is Comparison.UNEQUAL else found

    def _of_boolean(self, test: Test, field: Declared) -> Meaning:
        filled = meaning.Field(place=Place.NUMBER, name=field.name, match=Match.FILLED)
        match test.comparison:
            case Comparison.FILLED:
                return filled
            case Comparison.EMPTY:
                return Opposite(filled)
            case Comparison.TRUE:
                return replace(filled, match=Match.ONE_OF, numbers=(1.0,))
            case Comparison.EQUAL | Comparison.UNEQUAL:
                found = replace(filled, match=Match.ONE_OF, numbers=(float(self._read(test.values[0], value.boolean)),))
                return Opposite(found) if test.comparison is Comparison.UNEQUAL else found
            case _:
                raise self._unfit(test, "yes or no", "= true, = false, is empty")

    def _of_time(self, test: Test, place: Place, name: str, type_: FieldType) -> Meaning:
        filled = meaning.Field(place=place, name=name, match=Match.FILLED)
        day = type_ is FieldType.DATE
        match test.comparison:
            case Comparison.FILLED:
                return filled
            case Comparison.EMPTY:
                return Opposite(filled)
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
            return self._span(Range(start=first, end=first, inclusive=True), said.column)
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
        return self._span(when, field.column)

    def _must_say_which(self, when: When) -> None:
        if isinstance(when, Within) and when.side is Side.HERE:
            said = f"{when.number} {when.unit}{'s' if when.number != 1 else ''}"
            because = f"a field may lie on either side: say 'within the last {said}' or 'within the next {said}'"
            raise BadQuery(when.column, because)

    def _span(self, when: When, column: int) -> Span:
        try:
            return span(when, self._known.here)
        except (OverflowError, ValueError):
            raise BadQuery(column, "no calendar goes so far") from None

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


def _as_span(start: date | None, end: date | None) -> Span:
    """Days are kept as their midnights in UTC, wherever the organisation is."""

    def midnight(day: date | None) -> datetime | None:
        return None if day is None else datetime.combine(day, time(), UTC)

    return Span(midnight(start), midnight(end))
