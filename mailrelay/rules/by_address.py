"""Which record an address stands for: the user's modules in their order, then the kind of the address (I3, I4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mailrelay.model.decision import Finding
from mailrelay.model.record import AddressKind, RecordRef
from mailrelay.model.settings import UserSettings
from mailrelay.rules import people, say
from mailrelay.rules.facts import Facts, RecordHit
from mailrelay.rules.registry import Progress

_KINDS = tuple(AddressKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an address leads to: one hit, or several records that nothing tells apart (`tied`)."""

    kind: AddressKind
    hit: RecordHit
    why: str
    """What broke a tie, or ""."""
    tied: tuple[RecordRef, ...]


def settings(facts: Facts) -> UserSettings:
    """The user's settings, or a shared address's; the defaults where the mail is of nobody in particular."""
    if facts.shared is not None:
        return UserSettings(modules=facts.shared.settings.modules, unknown=facts.shared.settings.unknown)
    return UserSettings() if facts.user is None else facts.user.settings


def choice(facts: Facts, so_far: Progress, key: str) -> Choice | None:
    """The choice among the records that have this address, or None when no searched module has one.

    The first of the user's modules with a hit wins; in it primary goes before secondary before custom. Several records
    alike: the one that the thread is on already, else the one that the user owns, else it is a tie.
    """
    hits = facts.hits_by_key.get(key, ())
    if not hits:
        return None
    for module in settings(facts).modules:
        for kind in _KINDS:
            alike = [hit for hit in hits if hit.record.module == module and hit.kind is kind]
            if alike:
                return _one(facts, so_far, alike)
    return None


def account(facts: Facts, so_far: Progress, domain: str) -> Choice | None:
    """The choice among the accounts with an address in this domain, or None."""
    hits = [hit for hit in facts.domain_hits if hit.key == domain]
    return _one(facts, so_far, hits) if hits else None


def links(facts: Facts, so_far: Progress, kind: AddressKind) -> Iterator[Finding]:
    """A link for each external whose address stands for one record, and does so as this kind of address."""
    for person in people.externals(facts, so_far):
        found = choice(facts, so_far, person.address.key)
        if found is not None and found.kind is kind and not found.tied:
            why = f", and of several {found.why}" if found.why else ""
            yield say.link(
                found.hit.record,
                f"{person.address} is {found.hit.field} of {found.hit.record}{why}",
                header=say.header(person),
                value=str(person.address),
            )


def _one(facts: Facts, so_far: Progress, alike: list[RecordHit]) -> Choice:
    alike = sorted({hit.record: hit for hit in alike}.values(), key=lambda hit: hit.record)
    kind = alike[0].kind
    if len(alike) == 1:
        return Choice(kind=kind, hit=alike[0], why="", tied=())
    linked = set(so_far.records)
    mine = None if facts.user is None else facts.user.id
    on_thread = [hit for hit in alike if hit.record in linked]
    if len(on_thread) == 1:
        return Choice(kind=kind, hit=on_thread[0], why="the thread is on it already", tied=())
    owned = [hit for hit in on_thread or alike if mine is not None and hit.owner == mine]
    if len(owned) == 1:
        return Choice(kind=kind, hit=owned[0], why="the user owns it", tied=())
    return Choice(kind=kind, hit=alike[0], why="", tied=tuple(hit.record for hit in alike))
