"""Tells authors what became of their mail: finds the notices that are owed, writes one DSN for each mail, and queues it (O11, RFC 3461 §6).

A notice is a message of ours with a delivery, and no more: it is not filed on records, and nothing is ever told of it (B03).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.errors import Fatal, Suppressed, Unavailable
from mailrelay.filing import reading
from mailrelay.filing.bodies import Bodies, BodyMissing, KeptBody
from mailrelay.ids import IdFactory, QueueId
from mailrelay.mail import dsn, dsn_write
from mailrelay.mail.compose import Person
from mailrelay.model.address import Address
from mailrelay.model.delivery import Delivery, DeliveryState, Notice
from mailrelay.model.envelope import (
    Arrival,
    ArrivalState,
    Channel,
    Envelope,
    EnvelopeRecipient,
    MailParams,
    Notify,
    Ret,
)
from mailrelay.model.event import EventType
from mailrelay.model.message import Direction, Message
from mailrelay.outbound.policy import notice_words
from mailrelay.outbound.policy import notices as policy
from mailrelay.service import Stopping
from mailrelay.store import events, messages, notices, queue
from mailrelay.store.base import Store, Tx
from mailrelay.store.messages import Source

_LATER = 60.0
"""Seconds until a notice whose making raised is tried again."""
_logger = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    """A notice ready to be queued."""

    message: Message
    delivery: Delivery
    body: KeptBody = field(repr=False)


class Notifier:
    """The service that writes to authors."""

    name = "notify"

    def __init__(
        self,
        store: Store,
        bodies: Bodies,
        ids: IdFactory,
        clock: Clock,
        settings: DeliverySettings,
        *,
        hostname: str,
        domain: str,
        own_domains: Collection[str],
        stopping: Stopping,
        poll: float = 1.0,
    ) -> None:
        """`domain` is the installation's own, which notices come from; at `own_domains` nobody reads mail: dropboxes, return paths."""
        self._store = store
        self._bodies = bodies
        self._ids = ids
        self._clock = clock
        self._wait = settings.notice_wait
        self._delay_after = timedelta(seconds=settings.delay_notice)
        self._lifetime = timedelta(seconds=settings.lifetime)
        self._hostname = hostname
        self._from = Person("Mail Delivery System", Address("MAILER-DAEMON", domain))
        self._own_domains = frozenset(own_domains)
        self._stopping = stopping
        self._poll = poll
        self._seen: dict[QueueId, float] = {}
        """When a submission was first seen to owe a notice: others of its recipients may fail in the same seconds."""
        self._failed: dict[QueueId, float] = {}
        self._looked_at: Delivery | None = None
        """The last of the held deliveries that were looked at; the next look begins behind it."""

    async def run(self) -> None:
        """Work until stopping is set. Raises Fatal."""
        while not self._stopping.is_set():
            await self.look()
            await self._stopping.wait(self._poll)

    async def look(self) -> None:
        """Queue the notices that are owed and have waited for others. Raises Fatal."""
        now = self._clock.monotonic()
        self._failed = {id_: again for id_, again in self._failed.items() if again > now}
        try:
            await self._look_at_held()
            owing = await self._store.read(notices.waiting, skip=self._failed.keys())
            self._seen = {id_: self._seen.get(id_, now) for id_ in owing}
            for id_ in owing:
                if now - self._seen[id_] >= self._wait:
                    await self._tell(id_)
        except Unavailable as error:
            _logger.warning("claim.failed", reason=str(error))

    async def _look_at_held(self) -> None:
        """Owe their authors a notice of those that a suspension has held for long: no attempt of theirs ends, which would."""
        if not self._delay_after:
            return
        now = self._clock.now()
        held = await self._store.read(notices.held_untold, before=now - self._delay_after, after=self._looked_at)
        # Those of which nothing is ever told stay where they are, and must not hide the others.
        self._looked_at = held[-1] if held else None
        owed = [
            one.id
            for one in held
            if policy.owed(one, one.state, now=now, delay_after=self._delay_after) is Notice.DELAYED
        ]
        if owed:
            await self._store.write(notices.owe_delayed, owed)

    async def _tell(self, queue_id: QueueId) -> None:
        try:
            owed = await self._store.read(notices.owed, queue_id)
            if owed is not None:
                await self._settle(owed)
        except (Fatal, Unavailable):
            raise
        except Exception:
            # Still owed; the others must not wait for it.
            metrics.notice_errors.inc()
            _logger.exception("notice.failed", queue_id=queue_id)
            self._failed[queue_id] = self._clock.monotonic() + _LATER

    async def _settle(self, owed: notices.Owed) -> None:
        true = [one for one in owed.deliveries if policy.still_true(one)]
        if len(true) < len(owed.deliveries):
            overtaken = [one for one in owed.deliveries if one not in true]
            await self._store.write(_forget, overtaken)
        if not true:
            return
        if not owed.organisation.settings.notify_authors:
            if await self._store.write(notices.take, true, noticed=True):
                _count(true, "withheld")
            return
        author = owed.author
        why = self._withheld(owed, author)
        if why or author is None:
            if await self._store.write(_withhold, true, why=why, at=self._clock.now()):
                _count(true, "withheld")
                _logger.warning("notice.withheld", org=true[0].org, queue_id=true[0].queue_id, reason=why)
            return
        letter = await self._letter(owed, true, author)
        if await self._store.write(_enqueue, true, letter, at=self._clock.now()):
            _count(true, "queued")
            _logger.info(
                "author.notified",
                org=true[0].org,
                queue_id=true[0].queue_id,
                author=str(author),
                notice=letter.delivery.queue_id,
                recipients=[str(one.address) for one in true],
            )

    def _withheld(self, owed: notices.Owed, author: Address | None) -> str:
        """Why nobody can be written to, or ""."""
        if author is None:
            return "The mail has no envelope sender"
        if author.domain in self._own_domains:
            return f"{author} is an address of this installation, where nobody reads mail"
        if owed.suppressed is not None:
            return str(Suppressed(str(author), owed.suppressed.reason, owed.suppressed.since))
        return ""

    # --- making it ---

    async def _letter(self, owed: notices.Owed, told: Sequence[Delivery], author: Address) -> _Letter:
        first = told[0]
        try:
            raw: bytes | None = await self._bodies.read(first.raw)
        except BodyMissing:
            raw = None
        now = self._clock.now()
        queue_id = self._ids.queue()
        content = await asyncio.to_thread(
            dsn_write.write,
            [notice_words.told(_facts(owed, one)) for one in told],
            _original(owed.message, first, raw),
            to=author,
            from_=self._from,
            hostname=self._hostname,
            message_id=f"{queue_id}@{self._hostname}",
            at=now,
        )
        body = await self._bodies.keep(content)
        # RFC 3461 §6.2: nothing is ever to be reported of a report.
        recipient = EnvelopeRecipient(address=author, notify=frozenset({Notify.NEVER}))
        envelope = Envelope(mail_from=None, rcpt_to=(recipient,), params=MailParams())
        arrival = Arrival(
            id=queue_id,
            org=first.org,
            channel=Channel.NOTICE,
            state=ArrivalState.RELAYED,
            envelope=envelope,
            target=None,
            peer=None,
            raw=body.ref,
            received_at=now,
            attempts=0,
            lease=None,
            message=None,
        )
        message = reading.read(content, arrival, new_id=self._ids.message).case.message
        return _Letter(
            message=replace(message, direction=Direction.OUT),
            delivery=self._delivery(first, message, envelope, now),
            body=body,
        )

    def _delivery(self, about: Delivery, message: Message, envelope: Envelope, now: datetime) -> Delivery:
        return Delivery(
            id=self._ids.delivery(),
            org=about.org,
            message=message.id,
            queue_id=message.queue_id,
            channel=Channel.NOTICE,
            mail_from=envelope.mail_from,
            params=envelope.params,
            recipient=envelope.rcpt_to[0],
            state=DeliveryState.QUEUED,
            raw=message.raw,
            created_at=now,
            due_at=now,
            expires_at=now + self._lifetime,
            attempts=0,
            last_reply="",
            lease=None,
        )


def _facts(owed: notices.Owed, one: Delivery) -> notice_words.Facts:
    report = owed.came_back.get(one.id)
    return notice_words.Facts(
        delivery=one,
        attempt=owed.attempts.get(one.id),
        came_back=None
        if report is None
        else notice_words.CameBack(status=dsn.status_in(report.status), diagnostic=report.diagnostic),
    )


def _original(message: Message | None, first: Delivery, raw: bytes | None) -> dsn_write.Original:
    return dsn_write.Original(
        subject="" if message is None else message.subject,
        message_id=None if message is None else message.message_id,
        parents=() if message is None else message.parents,
        arrived=first.created_at,
        queue_id=first.queue_id,
        envid=first.params.envid,
        full=first.params.ret is Ret.FULL,
        raw=raw,
    )


def _count(told: Sequence[Delivery], outcome: str) -> None:
    for one in told:
        metrics.notices.labels(one.notice, outcome).inc()


# --- transactions ---


def _forget(tx: Tx, deliveries: Sequence[Delivery]) -> bool:
    return notices.take(tx, deliveries, noticed=False)


def _withhold(tx: Tx, told: Sequence[Delivery], *, why: str, at: datetime) -> bool:
    if not notices.take(tx, told, noticed=True):
        return False
    for one in told:
        _event(tx, one, EventType.NOTICE_WITHHELD, at, {"reason": why})
    return True


def _enqueue(tx: Tx, told: Sequence[Delivery], letter: _Letter, *, at: datetime) -> bool:
    """Queue a notice and note that it was told, or neither: whoever comes second finds nothing owed."""
    if not notices.take(tx, told, noticed=True):
        return False
    letter.body.put(tx)
    messages.insert(tx, letter.message)
    # It quotes what its author sent, and is seen by those who see that author's mail (I16).
    notice = letter.delivery
    whose = Source(
        message=letter.message.id, arrival=notice.queue_id, channel=notice.channel, user=told[0].author, at=at
    )
    messages.add_source(tx, notice.org, whose)
    queue.enqueue(tx, [letter.delivery])
    told_by = {"notice_message": letter.message.id, "notice_delivery": letter.delivery.id}
    for one in told:
        _event(tx, one, EventType.AUTHOR_NOTIFIED, at, {"author": str(letter.delivery.address), **told_by})
    return True


def _event(tx: Tx, one: Delivery, type: EventType, at: datetime, data: dict[str, str]) -> None:  # noqa: A002
    events.append(
        tx,
        org=one.org,
        at=at,
        type=type,
        queue_id=one.queue_id,
        message=one.message,
        delivery=one.id,
        data={"notice": one.notice, "recipient": str(one.address), **data},
    )
