"""What people do to filed and unfiled mail: link, unlink, move, file, dismiss, release. Rules never override it (I7, I9, I23).

Every function is one transaction, to be run by `store.write`; `by` is a user's id, or who else a person acted as.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from mailrelay.errors import Conflict, Invalid, Unknown
from mailrelay.filing import apply
from mailrelay.ids import Digest, IdFactory, MessageId, OrgId, UnresolvedId, UserId
from mailrelay.mail.automatic import is_machine
from mailrelay.model.address import Address
from mailrelay.model.decision import BY_RULE, HoldReason, Link, ProposedLink
from mailrelay.model.envelope import Arrival, ArrivalState
from mailrelay.model.event import EventType
from mailrelay.model.message import Direction, Message, Participant, ParticipantRole
from mailrelay.model.record import RecordLink, RecordRef
from mailrelay.rules import domains
from mailrelay.rules.registry import Stage
from mailrelay.store import (
    absences,
    arrivals,
    events,
    links,
    matches,
    messages,
    organisations,
    people,
    records,
    unresolved,
)
from mailrelay.store.base import Tx
from mailrelay.store.messages import Source
from mailrelay.store.unresolved import Resolution, Unresolved

UNREADABLE = "(could not be read)"
"""Subject of the message that stands for an arrival whose bytes could not be read."""

_LIKELY = (
    ParticipantRole.FORWARDED_FROM,
    ParticipantRole.FROM,
    ParticipantRole.TO,
    ParticipantRole.CC,
    ParticipantRole.REPLY_TO,
)


def link(tx: Tx, org: OrgId, message: MessageId, record: RecordRef, *, by: str, at: datetime) -> bool:
    """Put a message on a record; False when a person had already. Raises Unknown for either.

    What rules had derived from the record, and `unlink` took away with it, comes back.
    """
    messages.get(tx, org, message)
    records.get(tx, org, record)
    if not links.add_by_hand(tx, org, message, record, by=by, because=f"linked by {by}", at=at):
        return False
    _tell(tx, org, message, record, EventType.MESSAGE_LINKED, by=by, at=at)
    for derived in _derived(tx, org, message, record):
        if derived.removed_at is not None and derived.removed_by == BY_RULE:
            again = ProposedLink(
                record=derived.record, rule=derived.rule, evidence=derived.evidence, guess=derived.guess
            )
            links.add(tx, org, message, again, at=at)
            _tell(tx, org, message, derived.record, EventType.MESSAGE_LINKED, by=BY_RULE, at=at)
    return True


def unlink(tx: Tx, org: OrgId, message: MessageId, record: RecordRef, *, by: str, at: datetime) -> None:
    """Take a message off a record; no rule puts it there again. Raises Unknown when it is not on it.

    With it go the links that rules derived from that record alone: a contact's account and deal (I7).
    """
    links.remove_by_hand(tx, org, message, record, by=by, at=at)
    _tell(tx, org, message, record, EventType.MESSAGE_UNLINKED, by=by, at=at)
    standing = {str(one.record) for one in links.of_message(tx, org, message) if one.removed_at is None}
    for derived in _derived(tx, org, message, record):
        alone = not any(evidence.value in standing for evidence in derived.evidence)
        if alone and links.remove_by_rule(tx, org, message, derived.record, at=at):
            _tell(tx, org, message, derived.record, EventType.MESSAGE_UNLINKED, by=BY_RULE, at=at)


def move(tx: Tx, org: OrgId, message: MessageId, *, from_: RecordRef, to: RecordRef, by: str, at: datetime) -> None:
    """Take a message off one record and put it on another. Raises Unknown, or Invalid when they are the same."""
    if from_ == to:
        raise Invalid("to", f"the message is on {to} already")
    unlink(tx, org, message, from_, by=by, at=at)
    link(tx, org, message, to, by=by, at=at)


def file_unresolved(
    tx: Tx,
    org: OrgId,
    entry: UnresolvedId,
    *,
    to: Sequence[RecordRef],
    by: str,
    ids: IdFactory,
    at: datetime,
) -> MessageId:
    """File an entry's message on these records, and take the entry off the list.

    Raises Unknown for the entry or a record, Conflict when somebody was first, Invalid without any record.
    """
    if not to:
        raise Invalid("records", "name at least one record to file it on")
    held = unresolved.resolve(tx, org, entry, by=by, resolution=Resolution.FILED, at=at)
    message = _message(tx, held, ids=ids, at=at)
    for record in to:
        link(tx, org, message, record, by=by, at=at)
    _settle(tx, held, message, resolution=Resolution.FILED, at=at)
    events.append(
        tx, org=org, at=at, type=EventType.MESSAGE_FILED, queue_id=held.arrival, message=message, data={"by": by}
    )
    return message


def create_and_file(
    tx: Tx,
    org: OrgId,
    entry: UnresolvedId,
    *,
    module: str,
    address: Address,
    name: str,
    owner: UserId | None,
    by: str,
    ids: IdFactory,
    at: datetime,
) -> RecordRef:
    """Make a record of `address` and file an entry's message there.

    Where somebody was proposed in the place of who is gone, the new record gets the account of the old one (I25).
    Raises as `file_unresolved` does, Unknown or Invalid for the module, Stale when the address has just got a record.
    """
    held = unresolved.get(tx, org, entry)
    arrival = _arrival(tx, held)
    new = apply.new_record(
        tx, org, module=module, address=address, name=name, owner=owner, source=arrival.channel, ids=ids, at=at
    )
    new = replace(new, links=_inherited(tx, held, module))
    # A person has decided: other records with the address, if there are any, do not stand against it.
    known = [hit.ref for hit in matches.by_addresses(tx, org, [address.key])]
    records.create_for_address(tx, new, address=address, known=known, now=at, queue_id=held.arrival)
    file_unresolved(tx, org, entry, to=[new.ref], by=by, ids=ids, at=at)
    return new.ref


def dismiss(tx: Tx, org: OrgId, entry: UnresolvedId, *, by: str, ids: IdFactory, at: datetime) -> None:
    """Decide that an entry's message is not to be filed; it is kept, on no record. Raises Unknown, Conflict.

    A proposed successor is declined: their mail stays where it is (I25).
    """
    held = unresolved.resolve(tx, org, entry, by=by, resolution=Resolution.DISMISSED, at=at)
    if held.reason == HoldReason.GONE:
        return  # nothing waited for it
    message = _message(tx, held, ids=ids, at=at)
    _settle(tx, held, message, resolution=Resolution.DISMISSED, at=at)
    events.append(
        tx, org=org, at=at, type=EventType.MESSAGE_DROPPED, queue_id=held.arrival, message=message, data={"by": by}
    )


def release(tx: Tx, org: OrgId, entry: UnresolvedId, *, by: str, at: datetime) -> None:
    """Give an entry's arrival back to the rules, its sender permitted this once; it is filed, or held for another reason.

    Raises Unknown, or Conflict when somebody was first, or when its arrival has been filed meanwhile.
    """
    again(tx, org, entry, by=by, resolution=Resolution.RELEASED, at=at)


def again(tx: Tx, org: OrgId, entry: UnresolvedId, *, by: str, resolution: Resolution, at: datetime) -> None:
    """Give an entry's arrival back to the workers, and take all its entries off the list. Raises as `release` does."""
    held = unresolved.resolve(tx, org, entry, by=by, resolution=resolution, at=at)
    if held.reason == HoldReason.GONE:
        raise Conflict(f"{entry} holds no mail: it proposes a successor, to be filed or dismissed")
    if _arrival(tx, held).state is not ArrivalState.UNRESOLVED:
        raise Conflict(f"{held.arrival} waits no longer")
    for other in unresolved.of_arrival(tx, org, held.arrival):
        if other.resolved_at is None:
            unresolved.resolve(tx, org, other.id, by=by, resolution=resolution, at=at)
    arrivals.reopen(tx, held.arrival, at=at)


def suggestion(tx: Tx, org: OrgId, entry: UnresolvedId) -> Participant | None:
    """Whom a record could be made of: who is proposed (I25), else the first participant who is no colleague and no machine.

    None when there is nobody. Raises Unknown.
    """
    held = unresolved.get(tx, org, entry)
    if (proposed := absences.proposed(tx, org, entry)) is not None:
        _, instead = proposed
        return Participant(ParticipantRole.TO, instead.address, instead.name)
    if held.message is None:
        return None
    people_in = messages.get(tx, org, held.message).participants
    own = organisations.get(tx, org).domains
    users = {
        address.key
        for user in people.by_addresses(tx, org, [person.address.key for person in people_in])
        for address in user.addresses
    }
    arrival = _arrival(tx, held)
    ours = (*own, *(() if arrival.target is None else (arrival.target.address.domain,)))
    for role in _LIKELY:
        for person in people_in:
            stranger = person.address.key not in users and not domains.covering(person.address.domain, ours)
            if person.role is role and stranger and not is_machine(person.address.local):
                return person
    return None


def _inherited(tx: Tx, held: Unresolved, module: str) -> tuple[RecordLink, ...]:
    """The links to accounts that a successor takes over from the records, of the same module, of who is gone."""
    proposed = absences.proposed(tx, held.org, held.id)
    if proposed is None:
        return ()
    gone, _ = proposed
    old = [hit.ref for hit in matches.by_addresses(tx, held.org, [gone]) if hit.ref.module == module]
    found = (link for record in records.get_many(tx, held.org, old) for link in record.links)
    return tuple(dict.fromkeys(link for link in found if link.to.module == "account"))


def _derived(tx: Tx, org: OrgId, message: MessageId, record: RecordRef) -> list[Link]:
    """The links that rules made because the message was on `record`, removed ones included."""
    return [
        one
        for one in links.of_message(tx, org, message)
        if one.by == BY_RULE
        and one.rule.startswith(f"{Stage.RELATE}.")
        and any(evidence.value == str(record) for evidence in one.evidence)
    ]


def _arrival(tx: Tx, held: Unresolved) -> Arrival:
    found = arrivals.get(tx, held.arrival)
    if found is None:
        raise Unknown(f"There is no arrival {held.arrival}")
    return found


def _settle(tx: Tx, held: Unresolved, message: MessageId, *, resolution: Resolution, at: datetime) -> None:
    apply.end_if_settled(tx, held.org, held.arrival, message, resolution=resolution, at=at)


def _message(tx: Tx, held: Unresolved, *, ids: IdFactory, at: datetime) -> MessageId:
    """The entry's message; one that stands for the unread bytes where there is none, so that an end has something to show."""
    if held.message is not None:
        return held.message
    arrival = _arrival(tx, held)
    stand_in = Message(
        id=ids.message(),
        org=held.org,
        direction=Direction.IN,
        queue_id=held.arrival,
        message_id=f"{held.arrival}@unreadable.invalid",
        digest=Digest(arrival.raw.digest),
        raw=arrival.raw,
        subject=UNREADABLE,
        sent_at=None,
        received_at=arrival.received_at,
        participants=(),
        parents=(),
        auth=None,
        part=0,
        automatic="",
        attachments=(),
    )
    if not messages.insert(tx, stand_in):
        return messages.find(tx, held.org, stand_in.message_id, stand_in.digest) or stand_in.id
    source = Source(message=stand_in.id, arrival=arrival.id, channel=arrival.channel, user=held.user, at=at)
    messages.add_source(tx, held.org, source)
    return stand_in.id


def _tell(
    tx: Tx, org: OrgId, message: MessageId, record: RecordRef, type_: EventType, *, by: str, at: datetime
) -> None:
    data = {"record": str(record), "by": by}
    events.append(tx, org=org, at=at, type=type_, message=message, record=str(record), data=data)
