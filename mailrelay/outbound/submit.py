"""The one door out: a submission is checked, then made durable with its deliveries in one transaction (O1, O2, O4, O10, O19)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.config.schema import Route
from mailrelay.errors import Conflict, Invalid, Suppressed, TooMany
from mailrelay.filing import reading
from mailrelay.filing.bodies import Bodies, KeptBody
from mailrelay.ids import DeliveryId, Digest, IdFactory, MessageId, OrgId, QueueId, UserId
from mailrelay.mail import addresses
from mailrelay.mail.headers import HeaderBlock
from mailrelay.mail.submission import complete, validate_submission
from mailrelay.mail.trace import without_forged
from mailrelay.model.address import Address, ReversePath
from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.envelope import (
    Arrival,
    ArrivalState,
    ArrivalTarget,
    Channel,
    Envelope,
    EnvelopeRecipient,
    MailParams,
)
from mailrelay.model.message import BlobRef, Direction, Message, ParticipantRole
from mailrelay.model.organisation import Organisation
from mailrelay.outbound.policy import limits, sender
from mailrelay.store import (
    arrivals,
    deliveries,
    idempotency,
    messages,
    organisations,
    people,
    queue,
    suppressions,
)
from mailrelay.store.base import Store, Tx

P = ParamSpec("P")
R = TypeVar("R")

_MANY_BYTES = 65_536
_log = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request of `user` to send `raw` (RFC 5322 bytes, Bcc and other gaps allowed) to `recipients`."""

    org: OrgId
    user: UserId
    channel: Channel
    """SUBMISSION or API."""
    mail_from: ReversePath
    recipients: tuple[EnvelopeRecipient, ...]
    raw: bytes = field(repr=False)
    params: MailParams = field(default_factory=MailParams)
    idempotency_key: str | None = None
    """O19: the same key and the same request is the same message; the same key and another request is refused."""
    documents: int = 0
    """Links to documents of cloud stores among the attachments (O4)."""

    @property
    def sha256(self) -> str:
        """What the request was, for `idempotency`."""
        digest = hashlib.sha256(self.raw)
        envelope = [str(self.user), str(self.mail_from), *sorted(str(one.address) for one in self.recipients)]
        digest.update("\0".join(envelope).encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What became of a submission: one delivery for each recipient, in their order. `repeated`: it was there already (O19)."""

    queue_id: QueueId
    message: MessageId
    deliveries: tuple[DeliveryId, ...]
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the store knows that a submission is judged by."""

    known: idempotency.Known | None
    organisation: Organisation
    sender: sender.SenderFacts


class Submitter:
    """Takes submissions."""

    def __init__(
        self,
        store: Store,
        bodies: Bodies,
        ids: IdFactory,
        clock: Clock,
        settings: DeliverySettings,
        *,
        hostname: str,
        max_recipients: int,
    ) -> None:
        """`hostname` stands in a Message-ID that we make."""
        self._store = store
        self._bodies = bodies
        self._ids = ids
        self._clock = clock
        self._lifetime = timedelta(seconds=settings.lifetime)
        self._relayed = settings.route is Route.SMART_HOST
        self._hostname = hostname
        self._max_recipients = max_recipients

    async def submit(self, submission: Submission) -> Submitted:
        """Queue a submission; durable on return.

        Raises Invalid, NotPermitted, TooLarge, TooMany, Suppressed or Conflict, each with the sentence for its author, and
        nothing is queued then; Unavailable when it may be tried again.
        """
        began = self._clock.monotonic()
        self._check_recipients(submission)
        header = await _off_loop(submission.raw, _authors, submission.raw)
        standing = await self._store.read(_standing, submission, header)
        if standing.known is not None:
            return await self._store.read(_repeated, submission, standing.known)
        sender.check(standing.sender, header=header, mail_from=submission.mail_from)
        now = self._clock.now()
        queue_id = self._ids.queue()
        raw, message = await _off_loop(submission.raw, self._read, submission, queue_id, now)
        limits.check(
            limits.limits(standing.organisation.settings.plan, relayed=self._relayed),
            attachments=sum(one.size for one in message.attachments),
            total=len(raw),
            documents=submission.documents,
        )
        kept = await self._bodies.keep(raw)
        message = replace(message, raw=kept.ref)
        submitted = await self._store.write(
            _enqueue, submission, message, kept, self._deliveries(submission, message, now), now=now
        )
        channel = str(submission.channel)
        metrics.accepted.labels(channel).inc()
        metrics.accepted_bytes.labels(channel).observe(len(raw))
        metrics.accept_seconds.labels(channel).observe(self._clock.monotonic() - began)
        _log.info(
            "message.submitted",
            org=submission.org,
            user=submission.user,
            queue_id=submitted.queue_id,
            message=submitted.message,
            recipients=len(submitted.deliveries),
            size=len(raw),
            repeated=submitted.repeated,
        )
        return submitted

    def _check_recipients(self, submission: Submission) -> None:
        count = len(submission.recipients)
        if not count:
            raise Invalid("to", "names no recipient")
        if count > self._max_recipients:
            raise TooMany(
                f"{count} recipients, more than the {self._max_recipients} possible in one mail; send it in parts",
                limit=self._max_recipients,
                count=count,
            )

    def _read(self, submission: Submission, queue_id: QueueId, now: datetime) -> tuple[bytes, Message]:
        """The bytes to store, complete and without what only we may say, and the message they are. Heavy for large mail."""
        block = HeaderBlock.parse(submission.raw)
        raw = without_forged(block, authserv_id=self._hostname).join(submission.raw)
        # The queue id is as unique as a Message-ID must be, and tells where to look.
        raw = complete(raw, now=now, message_id=f"{queue_id}@{self._hostname}")
        unknown = BlobRef(digest=Digest(""), size=len(raw))  # replaced once the bytes are kept
        case = reading.read(raw, _arrival(submission, queue_id, unknown, now), new_id=self._ids.message).case
        return raw, replace(case.message, direction=Direction.OUT)

    def _deliveries(self, submission: Submission, message: Message, now: datetime) -> tuple[Delivery, ...]:
        # Sorted, so that their order by id is that of the recipients.
        ids = sorted(self._ids.delivery() for _ in submission.recipients)
        return tuple(
            Delivery(
                id=id_,
                org=submission.org,
                message=message.id,
                queue_id=message.queue_id,
                channel=submission.channel,
                mail_from=submission.mail_from,
                params=submission.params,
                recipient=recipient,
                state=DeliveryState.QUEUED,
                raw=message.raw,
                created_at=now,
                due_at=now,
                expires_at=now + self._lifetime,
                attempts=0,
                last_reply="",
                lease=None,
            )
            for id_, recipient in zip(ids, submission.recipients, strict=True)
        )


def _authors(raw: bytes) -> tuple[Address, ...]:
    """The addresses of From and Sender. Raises Invalid for a mail that must not leave."""
    validate_submission(raw)
    block = HeaderBlock.parse(raw)
    found = [addresses.read(value) for name in ("From", "Sender") for value in block.all(name)]
    if any(entry.address is None for one in found for entry in one.mailboxes):
        raise Invalid("Sender", "names no readable address")
    return tuple(address for one in found for address in one.addresses)


def _arrival(submission: Submission, queue_id: QueueId, raw: BlobRef, now: datetime) -> Arrival:
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


def _standing(tx: Tx, submission: Submission, header: tuple[Address, ...]) -> _Standing:
    key = submission.idempotency_key
    organisation = organisations.get(tx, submission.org)
    user = people.get(tx, submission.org, submission.user)
    named = header if submission.mail_from is None else (*header, submission.mail_from)
    keys = sender.lookup_keys(named)
    owners = people.by_addresses(tx, submission.org, sorted(keys))
    others = {address.key for owner in owners if owner.id != user.id for address in owner.addresses} & keys
    return _Standing(
        known=None if key is None else idempotency.find(tx, submission.org, key),
        organisation=organisation,
        sender=sender.SenderFacts(user=user, domains=organisation.domains, others=others),
    )


def _repeated(tx: Tx, submission: Submission, known: idempotency.Known) -> Submitted:
    """What the same request made before. Raises Conflict when it was another one (O19)."""
    if known.request_sha256 != submission.sha256:
        raise Conflict(
            f"The idempotency key {submission.idempotency_key} was used for another submission ({known.queue_id}); "
            "take a new key for a new mail"
        )
    made = deliveries.of_queue_id(tx, known.queue_id)
    return Submitted(
        queue_id=known.queue_id,
        message=made[0].message,
        deliveries=tuple(one.id for one in made),
        repeated=True,
    )


def _enqueue(
    tx: Tx,
    submission: Submission,
    message: Message,
    kept: KeptBody,
    new: tuple[Delivery, ...],
    *,
    now: datetime,
) -> Submitted:
    """All of it or nothing. Raises Suppressed, Conflict."""
    if submission.idempotency_key is not None:
        request = idempotency.Known(request_sha256=submission.sha256, queue_id=message.queue_id)
        known = idempotency.take(tx, submission.org, submission.idempotency_key, request, now=now)
        if known is not None:
            return _repeated(tx, submission, known)
    keys = {one.address.key: one.address for one in submission.recipients}
    for found in suppressions.holding(tx, submission.org, sorted(keys)):
        raise Suppressed(str(keys[found.key]), found.reason, found.since)
    kept.put(tx)
    stored = message.id
    if not messages.insert(tx, message):
        # The same mail is here already: sent before, or come back by a dropbox. It is one message (I8).
        stored = messages.find(tx, message.org, message.message_id, message.digest) or message.id
    author = next(one.address for one in message.participants if one.role is ParticipantRole.FROM)
    arrivals.add(
        tx,
        replace(
            _arrival(submission, message.queue_id, message.raw, now),
            target=ArrivalTarget(address=submission.mail_from or author, user=submission.user),
            message=stored,
        ),
    )
    queue.enqueue(tx, [replace(one, message=stored) for one in new])
    return Submitted(queue_id=message.queue_id, message=stored, deliveries=tuple(one.id for one in new))


async def _off_loop(raw: bytes, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run what takes long for many bytes beside the event loop."""
    if len(raw) > _MANY_BYTES:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)
