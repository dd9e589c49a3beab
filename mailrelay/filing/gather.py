"""Cases → `Facts`: everything that the rules may look at, in one read (architecture: gather, decide, apply)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TypeVar

from mailrelay.filing import thread
from mailrelay.filing.reading import Case
from mailrelay.filing.thread import WouldBe
from mailrelay.ids import DeliveryId, OrgId, UserId
from mailrelay.model.address import Address
from mailrelay.model.envelope import Arrival, Channel
from mailrelay.model.organisation import OrganisationAddress, User
from mailrelay.model.record import FilingAddress, Record, RecordRef
from mailrelay.rules import documents, domains
from mailrelay.rules.facts import EarlierLink, Facts, RecordHit, RelatedRecord, StandingLink
from mailrelay.store import (
    deliveries,
    feedback,
    filing_addresses,
    links,
    matches,
    messages,
    organisation_addresses,
    organisations,
    people,
    records,
    unresolved,
)
from mailrelay.store.base import Tx

T = TypeVar("T")
K = TypeVar("K", str, RecordRef)

_MOST_HITS = 1_000
_MOST_ACCOUNTS = 100
_NUMBERS = ("number", "deal_number")
_CLOSING = ("closing_date", "close_date", "expected_close_date")
_CLOSED = frozenset(("won", "lost", "closed", "abandoned", "cancelled", "canceled", "deleted", "inactive"))


def facts(tx: Tx, case: Case, *, service_domains: frozenset[str], would_be: WouldBe | None = None) -> Facts:
    """What is known around a case. Raises Unknown when its organisation is gone."""
    return facts_of(tx, [case], service_domains=service_domains, would_be=would_be)[0]


def facts_of(
    tx: Tx, cases: Sequence[Case], *, service_domains: frozenset[str], would_be: WouldBe | None = None
) -> tuple[Facts, ...]:
    """What is known around each of several cases, asked for all those of an organisation at once. Raises as `facts` does."""
    found: dict[int, Facts] = {}
    for org in dict.fromkeys(case.message.org for case in cases):
        places = [place for place, case in enumerate(cases) if case.message.org == org]
        office = _Office(tx, org, [cases[place] for place in places])
        every = office.facts(service_domains=service_domains, would_be=would_be or {})
        found.update(zip(places, every, strict=True))
    return tuple(found[place] for place in range(len(cases)))


class _Office:
    """Cases of one organisation, and what is asked for all of them at once."""

    def __init__(self, tx: Tx, org: OrgId, cases: Sequence[Case]) -> None:
        self._tx = tx
        self._org = org
        known = messages.find_many(tx, org, [(case.message.message_id, case.message.digest) for case in cases])
        self._known = [known.get((case.message.message_id, case.message.digest)) for case in cases]
        self._cases = [
            case if stored is None else replace(case, message=replace(case.message, id=stored))
            for case, stored in zip(cases, self._known, strict=True)
        ]
        self._named = [_named(case) for case in cases]

    def facts(self, *, service_domains: frozenset[str], would_be: WouldBe) -> list[Facts]:
        """Of each case."""
        tx, org, cases = self._tx, self._org, self._cases
        organisation = organisations.get(tx, org)
        users: Mapping[UserId | None, User] = {user.id: user for user in people.get_many(tx, org, self._users())}
        keys = sorted({key for named in self._named for key in named})
        colleagues = people.keys_in_use(tx, org, keys)
        over = [{one for address in named.values() for one in domains.upwards(address.domain)} for named in self._named]
        exclusions = organisations.excluded(tx, org, keys=keys, domains=sorted({one for each in over for one in each}))
        hits = self._hits()
        accounts = self._accounts()
        threads = [thread.earlier(tx, case.message, would_be=would_be) for case in cases]
        returned = [self._returned(place) for place in range(len(cases))]
        shared, filing = self._shared(), self._filing()
        named = [self._addressed(place, filing[place]) for place in range(len(cases))]
        standing = {record.ref for record in records.get_many(tx, org, {ref for refs in named for ref in refs})}
        around = [
            {
                *(hit.record for hit in hits[place]),
                *(one.record for one in (*threads[place], *returned[place]) if not one.guess and not one.removed_by),
                *named[place],
            }
            for place in range(len(cases))
        ]
        related = self._related(around)
        return [
            Facts(
                message=case.message,
                channel=case.arrival.channel,
                organisation=organisation,
                user=users.get(user_of(case.arrival)),
                sender=case.sender,
                auth=case.message.auth,
                released_by=self._released_by(place),
                defects=case.defects,
                originals=case.originals,
                service_domains=service_domains,
                user_keys=colleagues & self._named[place].keys(),
                exclusions=tuple(
                    one for one in exclusions if one.value in self._named[place] or one.value in over[place]
                ),
                hits=hits[place],
                domain_hits=accounts[place],
                thread=tuple(one for one in threads[place] if not one.guess and not one.removed_by),
                thread_guesses=tuple(one for one in threads[place] if one.guess),
                thread_removed=tuple(one for one in threads[place] if one.removed_by),
                returned=tuple(one for one in returned[place] if not one.removed_by),
                returned_removed=tuple(one for one in returned[place] if one.removed_by),
                untied=case.arrival.names_nobody,
                standing=self._standing(place),
                related=related[place],
                shared=shared[place],
                filing=filing[place],
                filing_record=next((ref for ref in _filed_on(filing[place]) if ref in standing), None),
                addressed=tuple(ref for ref in self._target_records(place) if ref in standing),
                arrival=case.arrival.id,
            )
            for place, case in enumerate(cases)
        ]

    def _users(self) -> list[UserId]:
        return sorted({user for case in self._cases if (user := user_of(case.arrival)) is not None})

    def _hits(self) -> list[tuple[RecordHit, ...]]:
        def ask(keys: Sequence[str]) -> Sequence[matches.Match]:
            return matches.by_addresses(self._tx, self._org, keys, limit=_MOST_HITS)

        found = _each(ask, self._named, of=lambda match: match.key, most=_MOST_HITS)
        return [tuple(_hit(match) for match in one) for one in found]

    def _accounts(self) -> list[tuple[RecordHit, ...]]:
        def ask(named: Sequence[str]) -> Sequence[matches.Match]:
            return matches.by_domains(self._tx, self._org, "account", named, limit=_MOST_ACCOUNTS)

        wanted = [
            {address.domain for address in named.values() if not domains.is_public(address.domain)}
            for named in self._named
        ]
        found = _each(ask, wanted, of=lambda match: _domain(match.key), most=_MOST_ACCOUNTS)
        return [tuple(replace(_hit(match), key=_domain(match.key)) for match in one) for one in found]

    def _related(self, around: Sequence[Collection[RecordRef]]) -> list[tuple[RelatedRecord, ...]]:
        """Accounts that contacts link to, and deals that link to contacts; of documents whom they are made out to, first (I7)."""

        def ask(contacts: Sequence[RecordRef]) -> Sequence[matches.Relation]:
            return matches.related(self._tx, self._org, contacts, limit=_MOST_HITS)

        papers = [{ref for ref in refs if ref.module in documents.PARTIES} for refs in around]
        parties = [
            [one for one in found if one.outgoing and one.ref.module in documents.PARTIES[one.of.module]]
            for found in _each(ask, papers, of=lambda relation: relation.of, most=_MOST_HITS)
        ]
        wanted = [
            {ref for ref in (*refs, *(one.ref for one in made_out)) if ref.module == "contact"}
            for refs, made_out in zip(around, parties, strict=True)
        ]
        tied = [
            [*made_out, *(relation for relation in found if _is_followed(relation))]
            for made_out, found in zip(
                parties, _each(ask, wanted, of=lambda relation: relation.of, most=_MOST_HITS), strict=True
            )
        ]
        refs = {relation.ref for each in tied for relation in each if relation.ref.module == "deal"}
        deals = {deal.ref: deal for deal in records.get_many(self._tx, self._org, refs)}
        return [tuple(_related(relation, deals.get(relation.ref)) for relation in each) for each in tied]

    def _shared(self) -> list[OrganisationAddress | None]:
        """The shared address that each came to, removed ones too: its settings hold for what it has taken."""
        ids = [None if (target := case.arrival.target) is None else target.shared for case in self._cases]
        wanted = {one for one in ids if one is not None}
        found = {one.id: one for one in organisation_addresses.get_many(self._tx, self._org, wanted)} if wanted else {}
        # What is sent as a shared address is its author's doing.
        came = [case.arrival.channel is Channel.ORGANISATION for case in self._cases]
        return [found.get(one) if one and came_in else None for one, came_in in zip(ids, came, strict=True)]

    def _filing(self) -> list[FilingAddress | None]:
        """The address of a record that each came to."""
        numbers = [None if (target := case.arrival.target) is None else target.filing for case in self._cases]
        wanted = {one for one in numbers if one is not None}
        found = {one.number: one for one in filing_addresses.get_many(self._tx, self._org, wanted)} if wanted else {}
        return [None if one is None else found.get(one) for one in numbers]

    def _target_records(self, place: int) -> tuple[RecordRef, ...]:
        target = self._cases[place].arrival.target
        return () if target is None else target.records

    def _addressed(self, place: int, filing: FilingAddress | None) -> set[RecordRef]:
        return {*self._target_records(place), *_filed_on(filing)}

    def _returned(self, place: int) -> tuple[EarlierLink, ...]:
        """The links of the messages whose delivery it is about: by its return path, our token in it, or what was found before.

        What a person took such a message off is among them.
        """
        case, tx, org = self._cases[place], self._tx, self._org
        about = dict.fromkeys(case.tied)
        target = case.arrival.target
        if case.arrival.channel is Channel.BOUNCE and target is not None and target.delivery is not None:
            about[DeliveryId(target.delivery)] = None
        if self._known[place] is not None:
            # The rules may run again where nobody has the keys to our signatures.
            came = messages.of_arrival(tx, org, case.arrival.id)
            about.update(dict.fromkeys(feedback.believed_of(tx, org, came)))
        found: list[EarlierLink] = []
        for id_ in about:
            delivery = deliveries.by_id(tx, id_)
            if delivery is not None and delivery.org == org:
                for one in links.of_thread(tx, org, [delivery.message]):
                    if one.removed_at is not None:
                        found.append(thread.as_removed(one, via=id_, distance=0))
                    elif not one.guess:
                        found.append(EarlierLink(record=one.record, via=id_, distance=0, secret=one.secret))
        return tuple(found)

    def _released_by(self, place: int) -> str:
        # Only what was held before can have been released; and what is attached to it.
        case = self._cases[place]
        if self._known[place] is None and not case.message.part:
            return ""
        return unresolved.released_by(self._tx, case.arrival.id)

    def _standing(self, place: int) -> tuple[StandingLink, ...]:
        if self._known[place] is None:
            return ()
        return tuple(
            StandingLink(record=link.record, by=link.removed_by or link.by, removed=link.removed_at is not None)
            for link in links.of_message(self._tx, self._org, self._cases[place].message.id)
        )


def _each(
    ask: Callable[[Sequence[K]], Sequence[T]], wanted: Sequence[Collection[K]], *, of: Callable[[T], K], most: int
) -> list[tuple[T, ...]]:
    """What `ask` finds for each of `wanted`, asked once for all; singly where it found as many as it says at `most`."""
    every = {one for each in wanted for one in each}
    found = ask(sorted(every)) if every else ()
    if len(wanted) > 1 and len(found) >= most:
        return [_each(ask, [each], of=of, most=most)[0] for each in wanted]
    return [tuple(hit for hit in found if of(hit) in each) for each in wanted]


def _named(case: Case) -> dict[str, Address]:
    """Everyone in a case, by key."""
    named = {person.address.key: person.address for person in case.message.participants}
    named.update({person.address.key: person.address for one in case.originals for person in one.people})
    return named


def _domain(key: str) -> str:
    return key.rpartition("@")[2]


def user_of(arrival: Arrival) -> UserId | None:
    """Whose mail it is: the dropbox's user, or who sent it through us."""
    if arrival.target is not None and arrival.target.user is not None:
        return arrival.target.user
    return None if arrival.peer is None else arrival.peer.user


def _hit(found: matches.Match) -> RecordHit:
    return RecordHit(
        key=found.key,
        record=found.ref,
        kind=found.kind,
        field=found.field,
        matched=found.matched,
        name=found.name,
        owner=found.owner,
        updated_at=found.updated_at,
    )


def _filed_on(filing: FilingAddress | None) -> tuple[RecordRef, ...]:
    return () if filing is None else (filing.record,)


def _related(relation: matches.Relation, deal: Record | None) -> RelatedRecord:
    fields = {} if deal is None else {name.casefold(): value.strip() for name, value in deal.fields}
    return RelatedRecord(
        of=relation.of,
        record=relation.ref,
        role=relation.role,
        name=relation.name,
        open=deal is None or not _is_closed(deal),
        number=next((fields[name] for name in _NUMBERS if fields.get(name)), ""),
        closes=next((day for name in _CLOSING if (day := _day(fields.get(name, "")))), None),
        updated_at=relation.updated_at,
    )


def _day(text: str) -> date | None:
    """The day of `2026-12-31`, or of a time on it."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _is_followed(relation: matches.Relation) -> bool:
    """Whether it ties a contact to its account, or a deal to its contact."""
    return relation.ref.module == ("account" if relation.outgoing else "deal")


def _is_closed(deal: Record) -> bool:
    """Whether a deal's `stage` or `status` says that it is over (`Closed Won`, `lost`), or its `closed` is true."""
    fields = {name.casefold(): value.casefold().strip() for name, value in deal.fields}
    words = f"{fields.get('stage', '')} {fields.get('status', '')}".replace("-", " ").replace("_", " ").split()
    return bool(_CLOSED.intersection(words)) or fields.get("closed", "") in ("true", "yes", "1")
