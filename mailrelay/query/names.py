"""What a query may name: the modules, by what they are called, and their fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mailrelay.model.record import FieldType, Module
from mailrelay.query import value
from mailrelay.query.meaning import Place
from mailrelay.query.tokens import BadQuery, meant
from mailrelay.query.tree import Text
from mailrelay.query.when import Here

OWN = {
    "name": Place.TEXT,
    "id": Place.ID,
    "owner": Place.OWNER,
    "source": Place.SOURCE,
    "created": Place.CREATED,
    "updated": Place.UPDATED,
    "address": Place.ADDRESS,
}
"""Fields that every record has."""
OWN_FIELDS = tuple(OWN)


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


def words_of(module: Module) -> Iterator[Named]:
    """Every field of a module that a query may name."""
    yield from (Named(name=name, type=_shown_type(place)) for name, place in OWN.items())
    yield from (Named(name=one.name, type="address") for one in module.address_fields if one.name not in OWN)
    for one in module.fields:
        if one.name not in OWN:
            yield Named(name=one.name, type=one.type, aliases=one.aliases)


def names_of(module: Module) -> tuple[str, ...]:
    """How a module may be called: its name, its label, and the plural or singular of both."""
    said = {_called(module.name), _called(module.label)}
    return tuple(sorted(said | {_plural(one) for one in said} | {_singular(one) for one in said}))


def module_called(said: Text, modules: Sequence[Module]) -> Module:
    """The module of this name, label, or their plural or singular. Raises BadQuery."""
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
