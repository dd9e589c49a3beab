"""The one door out: a submission is checked, then made durable with its deliveries in one transaction (O1, O2, O4, O10, O19)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar
from zoneinfo import ZoneInfo

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.config.schema import Route
from mailrelay.errors import DiskFull, Invalid, NoSuchDropbox, QuotaSpent, TooMany
from mailrelay.filing import reading
from mailrelay.filing.bodies import Bodies
from mailrelay.ids import Digest, IdFactory, QueueId
from mailrelay.mail import addresses
from mailrelay.mail.headers import HeaderBlock
from mailrelay.mail.submission import complete, puts_delivery_first, validate_submission
from mailrelay.mail.trace import without_forged
from mailrelay.model.address import Address
from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.message import BlobRef, Direction, Message
from mailrelay.model.quota import Quota
from mailrelay.model.schedule import Plan, Schedule
from mailrelay.outbound import admit, allowance, own_places
from mailrelay.outbound.policy import limits, quota, schedule, sender
from mailrelay.outbound.scheduled import Terms
from mailrelay.outbound.submission import Submission, Submitted
from mailrelay.store.base import Store, Tx
from mailrelay.store.together import Together

__all__ = ["Submission", "Submitted", "Submitter"]

P = ParamSpec("P")
R = TypeVar("R")

_MANY_BYTES = 65_536
_SENDERS = ("From", "Sender", "Resent-From", "Resent-Sender")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)  # one left open goes to the end, so that it is linear (P07)
_logger = log.get()


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
        domains: Collection[str] = (),
        secrets: Sequence[bytes] = (),
        has_room: Callable[[int], bool] = lambda size: True,
        ahead: timedelta = timedelta(days=365),
        quotas: bool = True,
    ) -> None:
        """`hostname` stands in a Message-ID that we make, `domains` are those of the dropboxes, `secrets` sign the addresses of records.

        `has_room` says whether the disk may take so many bytes, `ahead` how far ahead mail may be scheduled, `quotas` whether
        organisations are held to theirs.
        """
        self._store = store
        self._standings = Together(store, admit.standings)
        self._bodies = bodies
        self._ids = ids
        self._clock = clock
        self.terms = Terms(lifetime=timedelta(seconds=settings.lifetime), ahead=ahead, quotas=quotas)
        """What holds for scheduled mail."""
        self._relayed = settings.route is Route.SMART_HOST
        self._hostname = hostname
        self._max_recipients = max_recipients
        self._domains = frozenset(domains)
        self._secrets = tuple(secrets)
        self._has_room = has_room

    async def submit(self, submission: Submission, *, provided: Callable[[Tx], None] | None = None) -> Submitted:
        """Queue a submission; durable on return.

        What is to dropboxes, shared addresses or addresses of records of the organisation is filed there at once, and does not leave
        (I1, I13, I21). `provided` is called
        first in the transaction that queues it; what it raises keeps all of it from being queued.

        Raises Invalid, NotPermitted, TooLarge, TooMany, QuotaSpent, Suppressed, NoSuchDropbox or Conflict, each with the sentence for
        its author, and nothing is queued then; Unavailable when it may be tried again.
        """
        began = self._clock.monotonic()
        if not self._has_room(len(submission.raw)):
            # D05: what is queued already needs the rest, to be sent and to end.
            raise DiskFull("The disk is full; try again later")
        self._check_recipients(submission)
        if submission.list and not submission.job:
            raise Invalid("list", "belongs to mass mail; say its job too")
        request = await _off_loop(submission.raw, _sha256, submission) if submission.idempotency_key else ""
        header = await _off_loop(submission.raw, _authors, submission.raw)
        now = self._clock.now()
        standing = await self._standings.ask(
            admit.Asked(
                submission=submission,
                header=header,
                domains=self._domains,
                secrets=self._secrets,
                now=now,
                request_sha256=request,
            )
        )
        if standing.known is not None:
            return await self._store.read(admit.repeated, standing.known, request)
        sender.check(standing.sender, header=header, mail_from=submission.mail_from)
        if standing.house.refusal:
            raise NoSuchDropbox(standing.house.refusal)
        places = standing.house.places
        shared = sender.sent_as(standing.sender, header)
        sent_as = None if shared is None else shared.id
        queue_id = self._ids.queue()
        plan = self._planned(submission, standing, now)
        raw, message = await _off_loop(submission.raw, self._read, submission, queue_id, now)
        limits.check(
            limits.limits(standing.organisation.settings.plan, relayed=self._relayed),
            attachments=sum(one.size for one in message.attachments),
            total=len(raw),
            documents=submission.documents,
        )
        kept = await self._bodies.keep(raw)
        message = replace(message, raw=kept.ref)
        copies = own_places.arrivals(submission, message.raw, places, sent_as=sent_as, now=now, new_id=self._ids.queue)
        new = self._deliveries(submission, message, now, plan, apart_from=places)
        allowed = self._allowed(submission, standing, now, plan)
        abandoned = threading.Event()
        try:
            submitted = await self._store.write(
                admit.admit,
                submission,
                message,
                kept,
                new,
                copies,
                {place.target.dropbox for place in places.values() if place.target.dropbox is not None},
                sent_as=sent_as,
                request_sha256=request,
                now=now,
                abandoned=abandoned,
                allowed=allowed,
                planned=self._scheduled(submission, standing, queue_id, plan, now)
                if plan is not None and new
                else None,
                provided=provided,
            )
        except QuotaSpent as spent:
            metrics.quota_refusals.labels(spent.kind).inc()
            raise
        except asyncio.CancelledError:
            abandoned.set()  # D10: the client hears that it was not taken, and comes again
            raise
        channel = str(submission.channel)
        metrics.accepted.labels(channel).inc()
        metrics.accepted_bytes.labels(channel).observe(len(raw))
        metrics.accept_seconds.labels(channel).observe(self._clock.monotonic() - began)
        _logger.info(
            "message.submitted",
            org=submission.org,
            user=submission.user,
            queue_id=submitted.queue_id,
            message=submitted.message,
            recipients=len(submitted.deliveries),
            size=len(raw),
            repeated=submitted.repeated,
            **({} if submitted.schedule is None else {"due_at": submitted.schedule.due_at.isoformat()}),
        )
        if not submitted.repeated:
            if allowed is not None:
                metrics.quota_units.labels(allowed.kind).inc(len(new))
            for copy in copies:
                metrics.accepted.labels(copy.channel).inc()
                metrics.accepted_bytes.labels(copy.channel).observe(len(raw))
                _logger.info(
                    "arrival.accepted", queue_id=copy.id, org=copy.org, channel=copy.channel.value, size=len(raw)
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

    def _planned(self, submission: Submission, standing: admit.Standing, now: datetime) -> Plan | None:
        """When it is to go, None for at once. Raises Invalid."""
        if submission.schedule is None:
            return None
        zone = standing.sender.user.settings.time_zone or standing.organisation.time_zone
        return schedule.resolve(submission.schedule, zone=ZoneInfo(zone), now=now, ahead=self.terms.ahead)

    def _allowed(
        self, submission: Submission, standing: admit.Standing, now: datetime, plan: Plan | None
    ) -> Quota | None:
        """The quota that it takes from; None where nobody counts."""
        if not self.terms.quotas:
            return None
        kind = quota.kind(submission.channel, job=submission.job, scheduled=plan is not None)
        at = now if plan is None else plan.due_at
        return allowance.allowed(standing.organisation, kind, standing.users, at=at)

    def _read(self, submission: Submission, queue_id: QueueId, now: datetime) -> tuple[bytes, Message]:
        """The bytes to store, complete and without what only we may say, and the message they are. Heavy for large mail."""
        block = HeaderBlock.parse(submission.raw)
        raw = without_forged(block, authserv_id=self._hostname).join(submission.raw)
        # The queue id is as unique as a Message-ID must be, and tells where to look.
        date = now if submission.schedule is None else None
        raw = complete(raw, now=date, message_id=f"{queue_id}@{self._hostname}")
        unknown = BlobRef(digest=Digest(""), size=len(raw))  # replaced once the bytes are kept
        case = reading.read(raw, admit.as_arrival(submission, queue_id, unknown, now), new_id=self._ids.message).case
        return raw, replace(case.message, direction=Direction.OUT)

    def _deliveries(
        self,
        submission: Submission,
        message: Message,
        now: datetime,
        plan: Plan | None,
        *,
        apart_from: Collection[Address],
    ) -> tuple[Delivery, ...]:
        recipients = [one for one in submission.recipients if one.address not in apart_from]
        # Sorted, so that their order by id is that of the recipients.
        ids = sorted(self._ids.delivery() for _ in recipients)
        due_at = now if plan is None else plan.due_at
        optional = puts_delivery_first(HeaderBlock.parse(submission.raw))
        params = replace(submission.params, tls_optional=optional)
        return tuple(
            Delivery(
                id=id_,
                org=submission.org,
                message=message.id,
                queue_id=message.queue_id,
                channel=submission.channel,
                mail_from=submission.mail_from,
                params=params,
                recipient=recipient,
                state=DeliveryState.QUEUED if plan is None else DeliveryState.SCHEDULED,
                raw=message.raw,
                created_at=now,
                due_at=due_at,
                expires_at=due_at + self.terms.lifetime,
                attempts=0,
                last_reply="",
                lease=None,
                job=submission.job,
                tracking=submission.tracking,
                list=submission.list,
                author=submission.user,
                scheduled_for=None if plan is None else due_at,
            )
            for id_, recipient in zip(ids, recipients, strict=True)
        )

    def _scheduled(
        self, submission: Submission, standing: admit.Standing, queue_id: QueueId, plan: Plan, now: datetime
    ) -> Schedule:
        old = submission.revises
        return Schedule(
            id=queue_id if old is None else old.id,
            org=submission.org,
            author=submission.user,
            queue_id=queue_id,
            due_at=plan.due_at,
            zone=plan.zone.key,
            preset=plan.preset,
            day=quota.day_of(plan.due_at, ZoneInfo(standing.organisation.time_zone)),
            counted=self.terms.quotas,
            version=1 if old is None else old.version + 1,
            hastened=False,
            created_at=now if old is None else old.created_at,
            changed_at=now,
        )


def _sha256(submission: Submission) -> str:
    """What tells the same request from another one (O19)."""
    digest = hashlib.sha256(submission.raw)
    envelope = [submission.user, str(submission.mail_from), *sorted(str(one.address) for one in submission.recipients)]
    if submission.job:
        envelope.append(f"job {submission.job}")
    if submission.list:
        envelope.append(f"list {submission.list}")
    envelope += [f"to {one.record}" for one in submission.addressed]
    envelope += [f"on {record}" for record in submission.records]
    if submission.tracking is not None:
        envelope.append(f"tracking {submission.tracking}")
    if submission.schedule is not None:
        envelope.append(f"schedule {submission.schedule}")
    digest.update("\0".join(envelope).encode())
    return digest.hexdigest()


def _authors(raw: bytes) -> tuple[Address, ...]:
    """The addresses of everybody whom the header names as its sender. Raises Invalid for a mail that must not leave."""
    validate_submission(raw)
    block = HeaderBlock.parse(raw)
    found: list[Address] = []
    for name in _SENDERS:
        for value in block.all(name):
            named = addresses.read(value)
            # A09: as many addresses as there are `@`, all of them read; otherwise another reader sees another sender.
            if named.defects or len(named.addresses) != _QUOTED.sub("", value).count("@"):
                raise Invalid(name, "must hold whole addresses only; put a name that has an @ in quotes")
            found += named.addresses
    return tuple(found)


async def _off_loop(raw: bytes, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run what takes long for many bytes beside the event loop."""
    if len(raw) > _MANY_BYTES:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)
