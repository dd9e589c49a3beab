"""Messages and their journey: how each came, what every rule said of it, where it is, and what happened since (I9, K1)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from mailrelay.errors import Invalid, Unknown
from mailrelay.filing import gather
from mailrelay.ids import MessageId, QueueId
from mailrelay.mail import secret_address
from mailrelay.model.decision import Disposition, Finding, FindingKind, Link
from mailrelay.model.delivery import MessageStatus, message_status
from mailrelay.model.envelope import Arrival, ArrivalState, Channel
from mailrelay.model.message import Direction, Kind, Message, ParticipantRole, Verdict
from mailrelay.model.organisation import Right
from mailrelay.smtp.address import BadAddress, parse_address
from mailrelay.store import arrivals, deliveries, dropboxes, filings, links, messages, newest, unresolved, visibility
from mailrelay.store.base import Tx
from mailrelay.store.filings import Journey
from mailrelay.store.messages import Place
from mailrelay.store.visibility import Viewer
from mailrelay.web.api.events import ShownEvent
from mailrelay.web.api.hits import ShownAggregate
from mailrelay.web.api.queue import DeliveryHistory, ShownFeedback
from mailrelay.web.application import App
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Limit, MailAddress, Page, Ref, Shown, moment, paged
from mailrelay.web.strict import StrictRoute

_MOST_HIDDEN = 100
"""Arrivals that a caller must not see which are passed over on the way to the newest; anybody can send more."""
router = APIRouter(route_class=StrictRoute, tags=["messages"])


class ShownParticipant(Shown):
    """Somebody in a message, and where they stand in it."""

    role: ParticipantRole
    address: MailAddress
    name: str


class ShownFile(Shown):
    """An attachment."""

    name: str
    type: str
    size: int
    sha256: str


class ShownSignature(Shown):
    """What became of one DKIM signature."""

    verdict: Verdict
    domain: str
    selector: str
    reason: str


class ShownVerdicts(Shown):
    """What SPF, DKIM and DMARC said by our own check."""

    spf: Verdict
    spf_domain: str
    spf_reason: str
    dkim: tuple[ShownSignature, ...]
    dmarc: Verdict
    dmarc_policy: str
    aligned: bool


class ShownMessage(Shown):
    """A message, stored once however many ways it came. `message_id` is its Message-ID field without brackets.

    `status` is how far it came on its way out, over all its recipients (K1); null for a mail that we do not send.
    """

    id: str
    direction: Direction
    status: MessageStatus | None
    queue_id: str
    message_id: str | None
    subject: str
    size: int
    sent_at: datetime | None
    received_at: datetime
    participants: tuple[ShownParticipant, ...]
    attachments: tuple[ShownFile, ...]
    auth: ShownVerdicts | None
    kind: Kind
    automatic: str
    part: int

    @classmethod
    def of(cls, one: Message, status: MessageStatus | None) -> ShownMessage:
        """The message as it is answered."""
        return cls(
            id=one.id,
            direction=one.direction,
            status=status,
            queue_id=one.queue_id,
            message_id=one.message_id,
            subject=one.subject,
            size=one.raw.size,
            sent_at=one.sent_at,
            received_at=one.received_at,
            participants=tuple(ShownParticipant.model_validate(person) for person in one.participants),
            attachments=tuple(ShownFile.model_validate(file) for file in one.attachments),
            auth=None if one.auth is None else ShownVerdicts.model_validate(one.auth),
            kind=one.kind,
            automatic=one.automatic,
            part=one.part,
        )


class ListedMessage(ShownMessage):
    """A message of a list, with the records it is on."""

    records: tuple[Ref, ...]


class ShownEvidence(Shown):
    """Why: a sentence, and the header and value that were looked at."""

    because: str
    header: str
    value: str


class ShownLink(Shown):
    """A link to a record. `by` is "rule" or who made it by hand; `removed_at` when it was taken away, by `removed_by`."""

    record: Ref
    rule: str
    evidence: tuple[ShownEvidence, ...]
    by: str
    guess: bool
    created_at: datetime
    removed_at: datetime | None
    removed_by: str | None


class ShownFinding(Shown):
    """What one rule said; kind "miss" when it looked and found nothing."""

    rule: str
    kind: FindingKind
    evidence: tuple[ShownEvidence, ...]
    record: Ref | None
    creates: str
    reason: str
    guess: bool

    @classmethod
    def of(cls, one: Finding) -> ShownFinding:
        """The finding as it is answered."""
        made = one.creation
        return cls(
            rule=one.rule,
            kind=one.kind,
            evidence=tuple(ShownEvidence.model_validate(evidence) for evidence in one.evidence),
            record=one.record,
            creates="" if made is None else f"{made.module} {made.name} <{made.address}>",
            reason=one.reason,
            guess=one.guess,
        )


class ShownFiling(Shown):
    """A decision: every rule that ran, in order, hits and misses."""

    arrival: str
    decided_at: datetime
    disposition: Disposition
    reason: str
    explanation: str
    findings: tuple[ShownFinding, ...]


class ShownSource(Shown):
    """One way by which a message came, or left."""

    arrival: str
    channel: Channel
    user: str | None
    at: datetime


class ShownArrival(Shown):
    """One reception: where it is, and why."""

    id: str
    channel: Channel
    state: ArrivalState
    reason: str
    failure: str
    """The traceback of our last failure on it; for administrators, "" for others."""
    received_at: datetime
    size: int
    attempts: int
    messages: tuple[str, ...]
    unresolved: tuple[str, ...]


class ShownJourney(ShownMessage):
    """A message with its whole journey.

    `reply` is the new text of a reply-mail, without quotes and signature; `feedback` what a mail that came back says; `aggregate`
    how often it was opened and clicked, where no person is recorded and it went to five or more.
    """

    reply: str
    feedback: tuple[ShownFeedback, ...]
    links: tuple[ShownLink, ...]
    filings: tuple[ShownFiling, ...]
    sources: tuple[ShownSource, ...]
    attached: tuple[str, ...]
    deliveries: tuple[DeliveryHistory, ...]
    aggregate: tuple[ShownAggregate, ...]
    events: tuple[ShownEvent, ...]

    @classmethod
    def told(cls, one: Journey, silent_since: datetime) -> ShownJourney:
        """The journey as it is answered; what was sent by `silent_since` and did not bounce counts as delivered (K1)."""
        return cls(
            **ShownMessage.of(
                one.message, message_status([delivery.status_when(silent_since) for delivery, _ in one.deliveries])
            ).model_dump(),
            links=tuple(ShownLink.model_validate(link) for link in one.links),
            filings=tuple(
                ShownFiling(
                    arrival=filing.arrival,
                    decided_at=filing.decided_at,
                    disposition=filing.disposition,
                    reason=filing.reason,
                    explanation=filing.explanation,
                    findings=tuple(ShownFinding.of(finding) for finding in filing.findings),
                )
                for filing in one.filings
            ),
            sources=tuple(ShownSource.model_validate(source) for source in one.sources),
            attached=one.attached,
            reply=one.message.reply,
            feedback=tuple(ShownFeedback.model_validate(each) for each in one.feedback),
            deliveries=tuple(
                DeliveryHistory.told(
                    delivery, attempts, one.returned, one.engagements.get(delivery.id), silent_since=silent_since
                )
                for delivery, attempts in one.deliveries
            ),
            aggregate=tuple(ShownAggregate.of(count) for count in one.counted),
            events=tuple(ShownEvent.of(event) for event in one.events),
        )


@router.get("/messages", response_model=Page[ListedMessage])
async def list_all(
    app: App,
    caller: Reader,
    address: Annotated[str, Query(max_length=320, description="Only mail with this address in it.")] = "",
    after: After = "",
    limit: Limit = 100,
) -> object:
    """Messages, newest first."""
    found, on, statuses = await app.store.read(_list, caller.viewer, address, after, limit, app.clock.now())
    items = [
        ListedMessage(
            **ShownMessage.of(one, statuses.get(one.id)).model_dump(),
            records=tuple(link.record for link in on if link.message == one.id),
        )
        for one in found
    ]
    return paged(items, limit=limit, cursor=lambda one: f"{one.received_at.isoformat()} {one.id}")


@router.get("/messages/{id}")
async def show(app: App, caller: Reader, id: str) -> ShownJourney:  # noqa: A002
    """A message with its journey, by its id or by a queue id of it."""
    silent = await app.store.read(deliveries.silent_since, caller.org, now=app.clock.now())
    return ShownJourney.told(await app.store.read(_journey, caller, id), silent)


@router.get("/messages/{id}/raw", response_class=Response, responses={200: {"content": {"message/rfc822": {}}}})
async def raw(app: App, caller: Reader, id: str) -> Response:  # noqa: A002
    """The message as it came or as it was submitted, byte for byte.

    But where that is the copy of a colleague who does not share it, its Bcc is left out; and secret addresses of others are blank.
    """
    message, shows = await app.store.read(readable_message, caller, MessageId(id))
    return _attached(shows.of(await app.bodies.read(message.raw)), id)


@router.get("/arrivals/latest")
async def show_newest_arrival(app: App, caller: Reader) -> ShownArrival:
    """The reception that was answered last."""
    return await app.store.read(_newest_arrival, caller)


@router.get("/arrivals/{id}")
async def show_arrival(app: App, caller: Reader, id: str) -> ShownArrival:  # noqa: A002
    """One reception, by the queue id of the 250 reply."""
    return await app.store.read(_arrival, caller, QueueId(id))


@router.get("/arrivals/{id}/raw", response_class=Response, responses={200: {"content": {"message/rfc822": {}}}})
async def raw_arrival(app: App, caller: Administrator, id: str) -> Response:  # noqa: A002
    """What was received, byte for byte but for secret addresses of others: also of a mail that could not be read."""
    arrival, shows = await app.store.read(_own_bytes, caller, QueueId(id))
    return _attached(shows.of(await app.bodies.read(arrival.raw)), id)


def _attached(data: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.eml"', "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type="message/rfc822", headers=headers)


def _list(
    tx: Tx, viewer: Viewer, address: str, after: str, limit: int, now: datetime
) -> tuple[tuple[Message, ...], tuple[Link, ...], dict[MessageId, MessageStatus]]:
    place = _place(after)
    if address:
        try:
            key = parse_address(address).key
        except BadAddress as error:
            raise Invalid("address", str(error)) from None
        found = messages.of_address(tx, viewer, key, before=place.id if place else None, limit=limit)
    else:
        found = newest.seen_by(tx, viewer, before=place, limit=limit)
    ids = [one.id for one in found]
    statuses = deliveries.of_messages(tx, viewer, ids, now=now)
    return found, links.shown(tx, viewer, ids), statuses


def _place(after: str) -> Place | None:
    if not after:
        return None
    at, _, last = after.partition(" ")
    return Place(moment(at), MessageId(last))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shows:
    """What of a mail's bytes is its viewer's to see (I16): all, or without the Bcc and the secrets that are not to `keep`."""

    all: bool
    bcc: bool
    keep: frozenset[str]

    def of(self, raw: bytes) -> bytes:
        """The bytes as they are shown."""
        return raw if self.all else secret_address.without(raw, keep=self.keep, bcc=not self.bcc)


def _shows(tx: Tx, viewer: Viewer, *, bcc: bool) -> Shows:
    return Shows(all=viewer.all, bcc=bcc, keep=dropboxes.tokens(tx, viewer.org, viewer.user))


def readable_message(tx: Tx, caller: Caller, name: MessageId) -> tuple[Message, Shows]:
    """The message and what of it is shown, where its bytes are the caller's to see. Raises Unknown.

    What stands for a mail of nobody's shows none.
    """
    visibility.check(tx, caller.viewer, name)
    message = messages.get(tx, caller.org, name)
    arrival = None if caller.installation or message.participants else arrivals.get(tx, message.queue_id)
    if arrival is not None and unresolved.is_nobodys(tx, arrival):
        raise Unknown("There is no such message")
    return message, _shows(tx, caller.viewer, bcc=bool(visibility.of_first_copies(tx, caller.viewer, [name])))


def _journey(tx: Tx, caller: Caller, name: str) -> Journey:
    if not name.startswith("Q"):
        visibility.check(tx, caller.viewer, MessageId(name))
        return filings.journey(tx, caller.viewer, MessageId(name))
    arrival = _own(tx, caller, QueueId(name))
    known = _of_arrival(tx, caller, arrival)
    if not known:
        raise Unknown(f"{name} is {arrival.state} and no message yet")
    return filings.journey(tx, caller.viewer, known[0])


def _of_arrival(tx: Tx, caller: Caller, arrival: Arrival) -> tuple[MessageId, ...]:
    """What came of an arrival, the mail itself first, as far as the caller may see it."""
    came = messages.of_arrival(tx, caller.org, arrival.id)
    came = came or ((MessageId(arrival.message),) if arrival.message else ())
    seen = visibility.of_these(tx, caller.viewer, came)
    return tuple(one for one in came if one in seen)


def _own(tx: Tx, caller: Caller, name: QueueId) -> Arrival:
    """Raises Unknown also for what came to others, and for mail that nobody can say whose it is."""
    arrival = arrivals.get(tx, name)
    hidden = arrival is None or (not caller.installation and unresolved.is_nobodys(tx, arrival))
    if arrival is None or arrival.org != caller.org or hidden or not _came_to(tx, caller, arrival):
        raise Unknown("There is no such arrival")
    return arrival


def _own_bytes(tx: Tx, caller: Caller, name: QueueId) -> tuple[Arrival, Shows]:
    return _own(tx, caller, name), _shows(tx, caller.viewer, bcc=True)


def _came_to(tx: Tx, caller: Caller, arrival: Arrival) -> bool:
    """Whether an arrival is the caller's to see: the user's own, or with a message that they may see as it came by it."""
    viewer = caller.viewer
    if viewer.all or (viewer.user is not None and gather.user_of(arrival) == viewer.user):
        return True
    return bool(visibility.known(tx, viewer, [arrival.id]))


def _newest_arrival(tx: Tx, caller: Caller) -> ShownArrival:
    latest = arrivals.newest(tx, caller.org)
    for _ in range(_MOST_HIDDEN):
        if latest is None:
            break
        # The operator sees what may be any organisation's; for the others the newest is behind it.
        with suppress(Unknown):
            return _arrival(tx, caller, latest)
        latest = arrivals.newest(tx, caller.org, before=latest)
    raise Unknown("There is no arrival yet")


def _arrival(tx: Tx, caller: Caller, name: QueueId) -> ShownArrival:
    one = _own(tx, caller, name)
    reason, failure = arrivals.why(tx, name)
    entries = unresolved.of_arrival(tx, caller.org, name, viewer=caller.viewer)
    return ShownArrival(
        id=one.id,
        channel=one.channel,
        state=one.state,
        reason=reason,
        failure=failure if caller.may(Right.ADMIN) else "",
        received_at=one.received_at,
        size=one.raw.size,
        attempts=one.attempts,
        messages=_of_arrival(tx, caller, one),
        unresolved=tuple(entry.id for entry in entries),
    )
