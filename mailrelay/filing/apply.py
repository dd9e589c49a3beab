"""A decision → rows: message, links, records, holds, events and the arrival's end, in one transaction.

What the decision stood on is checked again here: whether the mail is known already, who has a new correspondent's address, and
where its thread is. Another worker who was first makes it `Stale`, and the caller gathers and decides again; so a hundred copies
at once make one message and one record (I6, I8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailrelay.errors import Invalid, Stale
from mailrelay.filing import gather, thread
from mailrelay.filing.bodies import KeptBody
from mailrelay.ids import DeliveryId, IdFactory, MessageId, OrgId, QueueId, UserId
from mailrelay.model.address import Address
from mailrelay.model.decision import (
    BY_RULE,
    Decision,
    Disposition,
    DropReason,
    HoldReason,
    ProposedCreation,
    ProposedLink,
)
from mailrelay.model.envelope import OUTGOING_CHANNELS, Arrival, ArrivalState
from mailrelay.model.event import EventType
from mailrelay.model.record import AddressKind, Record, RecordAddress, RecordRef
from mailrelay.rules.facts import Facts
from mailrelay.store import (
    arrivals,
    deliveries,
    events,
    filings,
    links,
    messages,
    modules,
    organisations,
    records,
    unresolved,
    uses,
)
from mailrelay.store.base import Tx
from mailrelay.store.messages import Source
from mailrelay.store.unresolved import Resolution, Unresolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One message of an arrival with what was decided of it; `body` are bytes of its own that are still to be written."""

    facts: Facts
    decision: Decision
    body: KeptBody | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of an arrival."""

    state: ArrivalState
    reason: str
    messages: tuple[MessageId, ...]
    """The mail itself first, then those attached to it."""
    known: tuple[bool, ...]
    """Of each of them: whether it is one more copy of a mail that was filed, or waited for a person, before."""
    created: tuple[RecordRef, ...]
    linked: tuple[RecordRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """What one message's decision changed."""

    known: bool
    """Filed, or waiting for a person, before: this arrival is one more copy."""
    held: bool
    created: tuple[RecordRef, ...] = ()
    linked: tuple[RecordRef, ...] = ()


def decision(tx: Tx, arrival: Arrival, judged: Sequence[Judged], *, ids: IdFactory, at: datetime) -> Applied:
    """Write down what was decided of an arrival's messages, and end it.

    Raises Stale, and keeps nothing, when the arrival was taken over by another worker or a decision stands on what is no longer
    so. The first of `judged` is the mail itself.
    """
    for one in judged:  # before any of them is written: mails attached side by side may be one thread
        _still_so(tx, one.facts)
    made: dict[str, RecordRef] = {}
    written = [_one(tx, arrival, one, made, ids=ids, at=at) for one in judged]
    first = judged[0]
    carrier = first.facts.message.id
    reason = first.decision.reason
    if arrival.channel in OUTGOING_CHANNELS:
        state, reason = ArrivalState.RELAYED, ""
    elif any(one.held for one in written):
        state = ArrivalState.UNRESOLVED
        reason = next(one.decision.reason for one, wrote in zip(judged, written, strict=True) if wrote.held)
    elif all(one.known for one in written):
        state = ArrivalState.DUPLICATE
    elif any(one.decision.disposition is Disposition.FILE for one in judged):
        state, reason = ArrivalState.FILED, ""
    else:
        state = ArrivalState.DROPPED
    if state is ArrivalState.UNRESOLVED:
        arrivals.hold(tx, arrival, reason=reason, message=carrier)
    else:
        arrivals.end(tx, arrival, state=state, at=at, reason=reason, message=carrier)
    return Applied(
        state=state,
        reason=reason,
        messages=tuple(one.facts.message.id for one in judged),
        known=tuple(one.known for one in written),
        created=tuple(ref for one in written for ref in one.created),
        linked=tuple(dict.fromkeys(ref for one in written for ref in one.linked)),
    )


def unreadable(
    tx: Tx,
    arrival: Arrival,
    *,
    reason: HoldReason,
    explanation: str,
    failure: str,
    ids: IdFactory,
    at: datetime,
) -> None:
    """Put an arrival of which no message could be made on the unresolved list. Raises Stale when the lease was lost.

    Where it could be any of several organisations', that is the reason, and only the installation's operator sees it.
    """
    if is_nobodys(tx, arrival):
        reason = HoldReason.UNATTRIBUTED
    arrivals.hold(tx, arrival, reason=reason, message=None, failure=failure)
    message = None if arrival.message is None else MessageId(arrival.message)
    _hold(tx, arrival, message, reason=reason, explanation=explanation, ids=ids, at=at)


def is_nobodys(tx: Tx, arrival: Arrival) -> bool:
    """Whether an arrival could be any of several organisations': one that saw it might read what is another's."""
    return arrival.names_nobody and len(organisations.list_organisations(tx)) > 1


def hold_again(tx: Tx, arrival: Arrival, message: MessageId, said: Decision, *, ids: IdFactory, at: datetime) -> None:
    """Put a message that was filed or dropped, and that today's rules hold, on the unresolved list; its arrival has ended."""
    _hold(tx, arrival, message, reason=HoldReason(said.reason), explanation=said.explanation, ids=ids, at=at)


def links_and_records(
    tx: Tx, arrival: Arrival, one: Judged, made: dict[str, RecordRef], *, ids: IdFactory, at: datetime
) -> tuple[tuple[RecordRef, ...], tuple[RecordRef, ...]]:
    """Make what a decision to file asks for; the records created, and the records newly linked. Raises Stale.

    `made` are the records that this transaction has created, by address key; it is added to.
    """
    facts = one.facts
    org, message = facts.message.org, facts.message.id
    created: list[RecordRef] = []
    proposals = [(each, _key_of(facts, each)) for each in one.decision.links]
    # In order of the key, so that two transactions that create the same two records meet at the first.
    for proposed in sorted(one.decision.creations, key=lambda each: each.creation.address.key):
        ref = made.get(proposed.creation.address.key)
        if ref is None:
            ref = _create(tx, arrival, facts, proposed, ids=ids, at=at)
            made[proposed.creation.address.key] = ref
            created.append(ref)
        proposal = ProposedLink(
            record=ref, rule=proposed.rule, evidence=proposed.evidence, guess=False, secret=proposed.secret
        )
        proposals.append((proposal, proposed.creation.address.key))
    linked = []
    for proposal, key in proposals:
        if links.add(tx, org, message, proposal, at=at, key=key):
            linked.append(proposal.record)
            events.append(
                tx,
                org=org,
                at=at,
                type=EventType.MESSAGE_LINKED,
                queue_id=arrival.id,
                message=message,
                record=str(proposal.record),
                data={"record": str(proposal.record), "rule": proposal.rule, "by": BY_RULE},
            )
    return tuple(created), tuple(linked)


def resolve_entries(
    tx: Tx, org: OrgId, message: MessageId, *, user: str | None, by: str, resolution: Resolution, at: datetime
) -> tuple[Unresolved, ...]:
    """Take a message's open entries, for this user's copies of it, off the list, and end the arrivals that waited for them."""
    resolved = []
    for entry in unresolved.of_message(tx, org, message):
        if entry.resolved_at is None and entry.user == user:
            unresolved.resolve(tx, org, entry.id, by=by, resolution=resolution, at=at)
            end_if_settled(tx, org, entry.arrival, message, resolution=resolution, at=at)
            resolved.append(entry)
    return tuple(resolved)


def end_if_settled(
    tx: Tx, org: OrgId, arrival: QueueId, message: MessageId, *, resolution: Resolution, at: datetime
) -> None:
    """End an arrival that waited for a person, once the last of its entries is off the list."""
    waiting = [entry for entry in unresolved.of_arrival(tx, org, arrival) if entry.resolved_at is None]
    held = arrivals.get(tx, arrival)
    if waiting or held is None or held.state is not ArrivalState.UNRESOLVED:
        return
    state = ArrivalState.FILED if resolution is Resolution.FILED else ArrivalState.DROPPED
    arrivals.resolve(tx, arrival, state=state, at=at, reason=resolution, message=held.message or message)


def _one(
    tx: Tx, arrival: Arrival, one: Judged, made: dict[str, RecordRef], *, ids: IdFactory, at: datetime
) -> _Written:
    facts, said = one.facts, one.decision
    message, org = facts.message, facts.message.org
    known = _keep(tx, arrival, one)
    was_filed = known and filings.is_filed(tx, org, message.id)
    user = gather.user_of(arrival)
    entries = unresolved.of_message(tx, org, message.id) if known else ()
    before = [entry for entry in entries if entry.user == user]
    whose = user or _returned_to(tx, arrival)
    if arrival.target is not None and arrival.target.shared is not None:
        whose = None  # also what one of us sent as a shared address: it is the organisation's (I13)
    source = Source(message=message.id, arrival=arrival.id, channel=arrival.channel, user=whose, at=at)
    if messages.add_source(tx, org, source) and not message.part:
        _note_use(tx, arrival, facts)
    filings.put(tx, org, message.id, arrival.id, said, at=at)
    if said.disposition is Disposition.HOLD and arrival.channel not in OUTGOING_CHANNELS:
        # One entry is enough for a user's copies of a mail, and what a person made of it stands.
        if any(_stands(entry) for entry in before):
            return _Written(known=True, held=False)
        reason, explanation = HoldReason(said.reason), said.explanation
        _hold(tx, arrival, message.id, reason=reason, explanation=explanation, ids=ids, at=at)
        return _Written(known=False, held=True)
    if said.disposition is Disposition.DROP:
        if not known:
            _tell(tx, arrival, message.id, EventType.MESSAGE_DROPPED, at=at, reason=DropReason(said.reason))
        return _Written(known=known, held=False)
    created, linked = links_and_records(tx, arrival, one, made, ids=ids, at=at)
    if not was_filed:
        _tell(tx, arrival, message.id, EventType.MESSAGE_FILED, at=at, reason="")
    if before:
        resolve_entries(tx, org, message.id, user=user, by=BY_RULE, resolution=Resolution.FILED, at=at)
    return _Written(known=was_filed, held=False, created=created, linked=linked)


def _key_of(facts: Facts, proposal: ProposedLink) -> str:
    """The record's address in the mail, by key, whatever rule found the record; "" where it has none (I16)."""
    own = (hit.key for hit in facts.hits if hit.record == proposal.record)
    return next(own, "")


def _returned_to(tx: Tx, arrival: Arrival) -> UserId | None:
    """Whose mail it is that came back: it is seen by those who see what was sent (I16)."""
    if arrival.target is None or arrival.target.delivery is None:
        return None
    about = deliveries.by_id(tx, DeliveryId(arrival.target.delivery))
    return None if about is None or about.org != arrival.org else about.author


def _note_use(tx: Tx, arrival: Arrival, facts: Facts) -> None:
    """Write down who still uses a secret address (I21)."""
    target, by = arrival.target, facts.sender
    if by is None and arrival.envelope is not None:
        by = arrival.envelope.mail_from
    if target is None or by is None:
        return
    if target.dropbox is not None:
        uses.note(tx, arrival.org, uses.of_dropbox(target.dropbox), by, now=arrival.received_at)
    elif target.filing is not None:
        uses.note(tx, arrival.org, uses.of_record_address(target.filing), by, now=arrival.received_at)


def _stands(entry: Unresolved) -> bool:
    """Whether an entry waits, or what became of it holds for other copies: neither released nor dropped by a rerun."""
    if entry.resolution == Resolution.DISMISSED:
        return entry.resolved_by != BY_RULE
    return entry.resolution not in (Resolution.RELEASED, Resolution.RETRIED)


def _keep(tx: Tx, arrival: Arrival, one: Judged) -> bool:
    """Store the message unless it is there; whether it was. Raises Stale when it came by another way meanwhile."""
    message = one.facts.message
    if arrival.channel in OUTGOING_CHANNELS:  # stored by its submission
        return True
    if messages.insert(tx, message):
        if one.body is not None:
            one.body.put(tx)
        return False
    if messages.find(tx, message.org, message.message_id, message.digest) != message.id:
        raise Stale(f"The mail {message.message_id or message.digest} came by another way meanwhile")
    return True


def _still_so(tx: Tx, facts: Facts) -> None:
    if not facts.message.parents:
        return
    found = thread.earlier(tx, facts.message, would_be={})
    if {*found} != {*facts.thread, *facts.thread_guesses, *facts.thread_removed}:
        raise Stale("The thread was filed elsewhere meanwhile")


def _create(
    tx: Tx, arrival: Arrival, facts: Facts, proposed: ProposedCreation, *, ids: IdFactory, at: datetime
) -> RecordRef:
    creation = proposed.creation
    new = new_record(
        tx,
        facts.message.org,
        module=creation.module,
        address=creation.address,
        name=creation.name,
        owner=creation.owner,
        source=arrival.channel,
        ids=ids,
        at=at,
    )
    seen = [hit.record for hit in facts.hits if hit.key == creation.address.key]
    records.create_for_address(tx, new, address=creation.address, known=seen, now=at, queue_id=arrival.id)
    return new.ref


def new_record(
    tx: Tx,
    org: OrgId,
    *,
    module: str,
    address: Address,
    name: str,
    owner: str | None,
    source: str,
    ids: IdFactory,
    at: datetime,
) -> Record:
    """A record with `address` in the module's first primary field, not stored yet. Raises Unknown or Invalid for the module."""
    fields = modules.get(tx, org, module).address_fields
    field = next((one for one in fields if one.kind is AddressKind.PRIMARY), None) or next(iter(fields), None)
    if field is None:
        raise Invalid("module", f"{module} has no field for an address")
    return Record(
        org=org,
        ref=RecordRef(module, ids.record()),
        name=name,
        owner=None if owner is None else UserId(owner),
        addresses=(RecordAddress(address=address, kind=field.kind, field=field.name),),
        links=(),
        fields=(),
        source=source,
        created_at=at,
        updated_at=at,
    )


def _hold(
    tx: Tx,
    arrival: Arrival,
    message: MessageId | None,
    *,
    reason: HoldReason,
    explanation: str,
    ids: IdFactory,
    at: datetime,
) -> None:
    unresolved.add(
        tx,
        Unresolved(
            id=ids.unresolved(),
            org=arrival.org,
            arrival=arrival.id,
            message=message,
            user=gather.user_of(arrival),
            reason=reason,
            explanation=explanation,
            since=at,
        ),
    )
    _tell(tx, arrival, message or "", EventType.MESSAGE_HELD, at=at, reason=reason)


def _tell(tx: Tx, arrival: Arrival, message: str, type_: EventType, *, at: datetime, reason: str) -> None:
    events.append(
        tx,
        org=arrival.org,
        at=at,
        type=type_,
        queue_id=arrival.id,
        message=message,
        data={"reason": reason} if reason else {},
    )
