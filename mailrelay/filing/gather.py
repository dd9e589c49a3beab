"""A case → `Facts`: everything that the rules may look at, in one read (architecture: gather, decide, apply)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from mailrelay.errors import Unknown
from mailrelay.filing.reading import Case
from mailrelay.ids import DeliveryId, MessageId, OrgId, UserId
from mailrelay.model.envelope import Arrival, Channel
from mailrelay.model.message import Message
from mailrelay.model.organisation import User
from mailrelay.model.record import Record, RecordRef
from mailrelay.rules import domains
from mailrelay.rules.facts import EarlierLink, Facts, RecordHit, RelatedRecord, StandingLink
from mailrelay.store import deliveries, links, matches, messages, organisations, people, records, unresolved
from mailrelay.store.base import Tx

WouldBe = Mapping[MessageId, Collection[RecordRef]]
"""Links that a dry run has decided on and not made: they stand in for the stored ones."""

_CLOSED = frozenset(("won", "lost", "closed", "abandoned", "cancelled", "canceled", "deleted", "inactive"))


def facts(tx: Tx, case: Case, *, service_domains: frozenset[str], would_be: WouldBe | None = None) -> Facts:
    """What is known around a case. Raises Unknown when its organisation is gone."""
    org, message, arrival = case.message.org, case.message, case.arrival
    known = messages.find(tx, org, message.message_id, message.digest)
    if known is not None:
        message = replace(message, id=known)
    named = {person.address.key: person.address for person in message.participants}
    named.update({person.address.key: person.address for one in case.originals for person in one.people})
    hits = tuple(_hit(found) for found in matches.by_addresses(tx, org, sorted(named)))
    thread = earlier(tx, message, would_be=would_be or {})
    returned = _returned(tx, org, arrival)
    colleagues = people.by_addresses(tx, org, sorted(named))
    return Facts(
        message=message,
        channel=arrival.channel,
        organisation=organisations.get(tx, org),
        user=_user(tx, org, user_of(arrival)),
        sender=case.sender,
        auth=message.auth,
        # Only what was held before can have been released; and what is attached to it.
        released_by=unresolved.released_by(tx, arrival.id) if known is not None or message.part else "",
        defects=case.defects,
        originals=case.originals,
        service_domains=service_domains,
        user_keys=frozenset(address.key for user in colleagues for address in user.addresses) & named.keys(),
        exclusions=organisations.excluded(
            tx,
            org,
            keys=sorted(named),
            domains=sorted({one for address in named.values() for one in domains.upwards(address.domain)}),
        ),
        hits=hits,
        domain_hits=_accounts(tx, org, {address.domain for address in named.values()}),
        thread=thread,
        returned=returned,
        standing=tuple(
            StandingLink(record=link.record, by=link.removed_by or link.by, removed=link.removed_at is not None)
            for link in (links.of_message(tx, org, message.id) if known is not None else ())
        ),
        related=_related(tx, org, {*(hit.record for hit in hits), *(one.record for one in (*thread, *returned))}),
    )


def user_of(arrival: Arrival) -> UserId | None:
    """Whose mail it is: the dropbox's user, or who sent it through us."""
    if arrival.target is not None and arrival.target.user is not None:
        return arrival.target.user
    return None if arrival.peer is None else arrival.peer.user


def earlier(tx: Tx, message: Message, *, would_be: WouldBe) -> tuple[EarlierLink, ...]:
    """The links of the stored messages that this one answers, nearest first; guesses are not followed (I4)."""
    stored = messages.by_message_ids(tx, message.org, message.parents)
    if not stored:
        return ()
    ids = [id_ for found in stored.values() for id_ in found if id_ != message.id]
    standing: dict[MessageId, list[RecordRef]] = {}
    for link in links.of_messages(tx, message.org, ids):
        if not link.guess and link.message not in would_be:
            standing.setdefault(link.message, []).append(link.record)
    followed: list[EarlierLink] = []
    distance = 0
    for parent in message.parents:
        found = {
            record
            for id_ in stored.get(parent, ())
            if id_ != message.id
            for record in (would_be[id_] if id_ in would_be else standing.get(id_, ()))
        }
        followed += [EarlierLink(record=record, via=parent, distance=distance) for record in sorted(found)]
        distance += 1 if found else 0
    return tuple(followed)


def _user(tx: Tx, org: OrgId, who: UserId | None) -> User | None:
    if who is None:
        return None
    try:
        return people.get(tx, org, who)
    except Unknown:
        return None


def _returned(tx: Tx, org: OrgId, arrival: Arrival) -> tuple[EarlierLink, ...]:
    """The links of the message whose delivery came back."""
    if arrival.channel is not Channel.BOUNCE or arrival.target is None or arrival.target.delivery is None:
        return ()
    delivery = deliveries.by_id(tx, DeliveryId(arrival.target.delivery))
    if delivery is None or delivery.org != org:
        return ()
    found = links.of_messages(tx, org, [delivery.message])
    return tuple(EarlierLink(record=link.record, via=delivery.id, distance=0) for link in found if not link.guess)


def _accounts(tx: Tx, org: OrgId, named: Collection[str]) -> tuple[RecordHit, ...]:
    asked = sorted(domain for domain in named if not domains.is_public(domain))
    if not asked:
        return ()
    return tuple(
        replace(_hit(found), key=found.key.rpartition("@")[2])
        for found in matches.by_domains(tx, org, "account", asked)
    )


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


def _related(tx: Tx, org: OrgId, refs: Collection[RecordRef]) -> tuple[RelatedRecord, ...]:
    """Accounts that contacts link to, and deals that link to contacts (I7)."""
    contacts = [ref for ref in refs if ref.module == "contact"]
    if not contacts:
        return ()
    tied = [
        relation
        for relation in matches.related(tx, org, contacts)
        if (relation.outgoing and relation.ref.module == "account")
        or (not relation.outgoing and relation.ref.module == "deal")
    ]
    deals = {relation.ref for relation in tied if relation.ref.module == "deal"}
    closed = {deal.ref for deal in records.get_many(tx, org, deals) if _is_closed(deal)}
    return tuple(
        RelatedRecord(
            of=relation.of,
            record=relation.ref,
            role=relation.role,
            name=relation.name,
            open=relation.ref not in closed,
        )
        for relation in tied
    )


def _is_closed(deal: Record) -> bool:
    """Whether a deal's `stage` or `status` says that it is over (`Closed Won`, `lost`), or its `closed` is true."""
    fields = {name.casefold(): value.casefold().strip() for name, value in deal.fields}
    words = f"{fields.get('stage', '')} {fields.get('status', '')}".replace("-", " ").replace("_", " ").split()
    return bool(_CLOSED.intersection(words)) or fields.get("closed", "") in ("true", "yes", "1")
