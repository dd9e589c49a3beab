"""What a submission reads and writes, each in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mailrelay.errors import Conflict, Invalid, StoreBusy, Suppressed, Unknown
from mailrelay.filing import correct
from mailrelay.filing.bodies import KeptBody
from mailrelay.ids import DropboxId, MessageId, OrganisationAddressId, QueueId
from mailrelay.model.address import Address
from mailrelay.model.delivery import Delivery
from mailrelay.model.envelope import Arrival, ArrivalState, ArrivalTarget, Envelope
from mailrelay.model.event import EventType
from mailrelay.model.message import BlobRef, Message, ParticipantRole
from mailrelay.model.organisation import Organisation
from mailrelay.model.quota import Quota
from mailrelay.model.schedule import Schedule
from mailrelay.outbound import allowance, own_places
from mailrelay.outbound.own_places import House
from mailrelay.outbound.policy import sender
from mailrelay.outbound.submission import Submission, Submitted
from mailrelay.store import (
    arrivals,
    deliveries,
    dropboxes,
    idempotency,
    mailing_lists,
    messages,
    organisation_addresses,
    organisations,
    people,
    queue,
    schedules,
    suppressions,
    uses,
)
from mailrelay.store.base import Tx
from mailrelay.store.messages import Source


@dataclass(frozen=True, slots=True)
class Standing:
    """What the store knows that a submission is judged by."""

    known: idempotency.Known | None
    organisation: Organisation
    sender: sender.SenderFacts
    house: House
    """What is of this installation among the recipients."""
    users: int
    """How many of the organisation's are active and confirmed (O6)."""


def as_arrival(submission: Submission, queue_id: QueueId, raw: BlobRef, now: datetime) -> Arrival:
    """The submission as what the filing workers take, so that it is filed on its records like any other mail."""
    return Arrival(
        id=queue_id,
        org=submission.org,
        channel=submission.channel,
        state=ArrivalState.ACCEPTED,
        envelope=Envelope(mail_from=submission.mail_from, rcpt_to=submission.recipients, params=submission.params),
        target=None,
        peer=None,
        raw=raw,
        received_at=now,
        attempts=0,
        lease=None,
        message=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A submission to be judged at `now`: whom its From and Sender name. For the rest see `own_places.look`."""

    submission: Submission
    header: tuple[Address, ...]
    domains: Collection[str]
    secrets: Sequence[bytes]
    now: datetime
    request_sha256: str
    """Of a submission with an idempotency key."""


def standing(tx: Tx, asked: Asked) -> Standing:
    """What is known of a submission. Raises Unknown without such a user."""
    submission, header = asked.submission, asked.header
    key = submission.idempotency_key
    organisation = organisations.get(tx, submission.org)
    user = people.get(tx, submission.org, submission.user)
    named = header if submission.mail_from is None else (*header, submission.mail_from)
    keys = sender.lookup_keys(named)
    others = people.keys_in_use(tx, submission.org, sorted(keys), apart_from=user.id)
    to = tuple(dict.fromkeys(one.address for one in submission.recipients))
    shared = organisation_addresses.find(
        tx, {*keys, *(key for one in to for key in organisation_addresses.keys_of(one))}
    )
    own = tuple(one for one in shared if one.org == submission.org)
    return Standing(
        known=None
        if key is None
        else idempotency.find(tx, submission.org, submission.owner, key, asked.request_sha256),
        organisation=organisation,
        sender=sender.SenderFacts(user=user, domains=organisation.domains, others=others, shared=own),
        house=own_places.look(
            tx,
            to,
            org=submission.org,
            shared=shared,
            domains=asked.domains,
            secrets=asked.secrets,
            now=asked.now,
        ),
        users=people.count_confirmed(tx, submission.org),
    )


def standings(tx: Tx, asked: Sequence[Asked]) -> list[Standing]:
    """`standing` for each of several submissions."""
    return [standing(tx, one) for one in asked]


def repeated(tx: Tx, known: idempotency.Known, request_sha256: str) -> Submitted:
    """What the same request made before. Raises Conflict when it was another one (O19)."""
    if known.request_sha256 != request_sha256:
        raise Conflict(
            f"This idempotency key was used for another submission ({known.queue_id}); take a new key for a new mail"
        )
    made = deliveries.of_queue_id(tx, known.queue_id)
    arrival = arrivals.get(tx, known.queue_id)
    if arrival is None or arrival.message is None:
        raise Conflict(
            "This idempotency key was used for a mail that is not kept any more; take a new key for a new mail"
        )
    planned = schedules.of_queue_id(tx, known.queue_id) if any(one.scheduled_for for one in made) else None
    return _submitted(known.queue_id, MessageId(arrival.message), made, planned, repeated=True)


def _submitted(
    queue_id: QueueId, message: MessageId, made: Sequence[Delivery], planned: Schedule | None, *, repeated: bool
) -> Submitted:
    return Submitted(
        queue_id=queue_id,
        message=message,
        deliveries=tuple(one.id for one in made),
        sent_to=tuple(one.address for one in made),
        repeated=repeated,
        schedule=planned,
    )


def admit(
    tx: Tx,
    submission: Submission,
    message: Message,
    kept: KeptBody,
    new: tuple[Delivery, ...],
    copies: Sequence[Arrival],
    used: Collection[DropboxId],
    *,
    sent_as: OrganisationAddressId | None = None,
    request_sha256: str,
    now: datetime,
    abandoned: threading.Event,
    allowed: Quota | None = None,
    planned: Schedule | None = None,
    provided: Callable[[Tx], None] | None = None,
) -> Submitted:
    """Key, body, message, arrivals, deliveries, quota and schedule: all of it or nothing. Raises Suppressed, Conflict, QuotaSpent.

    `allowed` is the quota that it takes from, a unit for each delivery; None where nothing is counted.

    `copies` are the mail as it came to places of the organisation, such as colleagues' dropboxes; the sender's own needs no arrival
    beside that of the mail itself. `used` are all dropboxes among them. What is `sent_as` a shared address is not its author's alone.
    Once `abandoned` is set nobody waits for it any more, and it raises StoreBusy. `provided` comes before all else, and what it
    raises is raised.
    """
    if abandoned.is_set():
        raise StoreBusy("The author was told that this mail was not taken")
    if provided is not None:
        provided(tx)
    if submission.idempotency_key is not None:
        request = idempotency.Known(request_sha256=request_sha256, queue_id=message.queue_id)
        known = idempotency.take(tx, submission.org, submission.owner, submission.idempotency_key, request, now=now)
        if known is not None:
            return repeated(tx, known, request_sha256)
    if submission.list and submission.list not in mailing_lists.named(tx, submission.org, [submission.list]):
        raise Invalid("list", f"there is no mailing list {submission.list}")
    keys = {one.address.key: one.address for one in new}
    for found in suppressions.holding(tx, submission.org, sorted(keys), lists={submission.list}):
        record = next((str(one.record) for one in submission.addressed if one.address.key == found.key), "")
        raise Suppressed(str(keys[found.key]), found.reason, found.since, whose=record, list_=found.list)
    kept.put(tx)
    stored = message.id
    if not messages.insert(tx, message):
        # The same mail is here already: sent before, or come back by a dropbox. It is one message (I8).
        stored = messages.find(tx, message.org, message.message_id, message.digest) or message.id
    author = next(one.address for one in message.participants if one.role is ParticipantRole.FROM)
    arrivals.add(
        tx,
        replace(
            as_arrival(submission, message.queue_id, message.raw, now),
            target=ArrivalTarget(
                address=submission.mail_from or author,
                user=submission.user,
                shared=sent_as,
                records=tuple(dict.fromkeys(one.record for one in submission.addressed)),
            ),
            message=stored,
        ),
    )
    # Its author sees it at once, and not only when it is filed (I16).
    whose = submission.user if sent_as is None else None
    sent = Source(message=stored, arrival=message.queue_id, channel=submission.channel, user=whose, at=now)
    messages.add_source(tx, submission.org, sent)
    for copy in copies:
        arrivals.add(tx, copy)
    _note_uses(tx, submission, copies, used, by=submission.mail_from or author, now=now)
    _file(tx, submission, stored, now=now)
    # Last, since others who send for the organisation wait for this row until we are done.
    if allowed is not None:
        allowance.spend(tx, submission.org, allowed, len(new), now=now)
    new = tuple(replace(one, message=stored) for one in new)
    queue.enqueue(tx, new)
    if planned is not None:
        _schedule(tx, planned, new, revises=submission.revises, now=now)
    return _submitted(message.queue_id, stored, new, planned, repeated=False)


def _note_uses(
    tx: Tx,
    submission: Submission,
    copies: Sequence[Arrival],
    used: Collection[DropboxId],
    *,
    by: Address,
    now: datetime,
) -> None:
    copied = {copy.target.dropbox for copy in copies if copy.target is not None}
    for one in used:
        dropboxes.touch(tx, one, now=now)
        if one not in copied:  # of the others it is noted when they are filed
            uses.note(tx, submission.org, uses.of_dropbox(one), by, now=now)


def _file(tx: Tx, submission: Submission, message: MessageId, *, now: datetime) -> None:
    """Put it on the records that its author named for that. Raises Invalid without one of them."""
    for record in submission.records:
        try:
            correct.link(tx, submission.org, message, record, by=submission.user, at=now)
        except Unknown:
            raise Invalid("records", f"there is no record {record}") from None


def _schedule(tx: Tx, planned: Schedule, new: Sequence[Delivery], *, revises: Schedule | None, now: datetime) -> None:
    schedules.put(tx, planned)
    data = {"due_at": planned.due_at.isoformat(), "zone": planned.zone, "by": planned.author}
    schedules.tell(tx, new, EventType.DELIVERY_SCHEDULED, at=now, data=data)
    if revises is not None:
        data = {"by": planned.author, "replaces": revises.queue_id}
        schedules.tell(tx, new, EventType.DELIVERY_EDITED, at=now, data=data)
