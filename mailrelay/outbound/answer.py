"""Automatic answers: mailrelay's own side of RFC 3834. Nothing here decides to answer; it is asked to, and may say no (B05–B07).

An answer leaves by the one door out, from the null reverse-path, to the envelope sender of what it answers, marked so that no
other responder answers it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.errors import MailrelayError, QuotaSpent, Suppressed
from mailrelay.filing.bodies import Bodies
from mailrelay.ids import MessageId, OrgId, QueueId
from mailrelay.mail.compose import Draft, Person, compose, is_message_id
from mailrelay.mail.message import parse
from mailrelay.model.address import Address
from mailrelay.model.envelope import Channel, EnvelopeRecipient, MailParams, Notify
from mailrelay.model.message import Direction, Message, ParticipantRole
from mailrelay.model.organisation import User
from mailrelay.outbound.policy import answer as policy
from mailrelay.outbound.policy.answer import Asked, Known, NoAnswer, Withheld
from mailrelay.outbound.policy.sender import lookup_keys
from mailrelay.outbound.submission import Submission
from mailrelay.outbound.submit import Submitter
from mailrelay.store import answers, arrivals, messages, organisations, people, suppressions
from mailrelay.store.base import Store, Tx

_HOUR = timedelta(hours=1)
_MOST_REFERENCES = 20
_MARKS = (
    # RFC 3834 §5: no responder answers this; X-Auto-Response-Suppress says the same to Exchange.
    ("Auto-Submitted", "auto-replied"),
    ("X-Auto-Response-Suppress", "All"),
)
_logger = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRequest:
    """What to answer, in whose name, and with what. `from_` None: as the address of the user that the mail names."""

    org: OrgId
    message: MessageId
    user: User
    from_: Address | None
    subject: str | None
    text: str | None = field(repr=False)
    html: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """The answer is queued; durable."""

    queue_id: QueueId
    message: MessageId


class _Refused(MailrelayError):
    """Carries why out of the transaction in which an answer would have been queued."""

    def __init__(self, why: Withheld) -> None:
        super().__init__(why.because)
        self.why = why


class Answerer:
    """Answers received messages, where RFC 3834 lets it."""

    def __init__(
        self, store: Store, bodies: Bodies, clock: Clock, submitter: Submitter, *, own_domains: Collection[str]
    ) -> None:
        """`own_domains` are those of dropboxes and return paths, and the installation's own."""
        self._store = store
        self._bodies = bodies
        self._clock = clock
        self._submitter = submitter
        self._own_domains = frozenset(own_domains)

    async def answer(self, request: AnswerRequest) -> Sent | Withheld:
        """Queue an answer, or say why there is none; whoever asks at once, one answer is sent.

        Raises Unknown without such a message, Invalid or NotPermitted for an answer that cannot be sent as it is asked for,
        Unavailable when it may be tried again.
        """
        came = await self._store.read(_received, request.org, request.message)
        raw = await self._bodies.read(came.message.raw)
        asked = await asyncio.to_thread(_asked, raw, came)
        from_ = request.from_ or _named_of(came.message, request.user) or request.user.primary
        why = await self._store.read(self._judged, request, asked, from_)
        if why is None and asked.reverse_path is not None:
            sent = await self._sent(request, came.message, asked, from_, asked.reverse_path)
            if isinstance(sent, Sent):
                metrics.answers.labels("queued").inc()
                return sent
            why = sent
        assert why is not None  # noqa: S101 (a null reverse-path is one of the reasons)
        metrics.answers.labels(str(why.reason)).inc()
        _logger.info(
            "answer.withheld", org=request.org, message=request.message, reason=str(why.reason), because=why.because
        )
        return why

    async def _sent(
        self, request: AnswerRequest, original: Message, asked: Asked, from_: Address, to: Address
    ) -> Sent | Withheld:
        now = self._clock.now()

        def provided(tx: Tx) -> None:
            """Judge once more, where nobody can come between, and note that it is answered."""
            why = self._judged(tx, request, asked, from_)
            days = organisations.get(tx, request.org).settings.answer_days
            taken = why is None and answers.take(
                tx,
                request.org,
                answerer=from_.key,
                key=to.key,
                message=request.message,
                now=now,
                since=now - timedelta(days=days),
            )
            if not taken:
                raise _Refused(why or Withheld(NoAnswer.ALREADY, f"{to} was answered a moment ago"))

        submission = Submission(
            org=request.org,
            user=request.user.id,
            channel=Channel.NOTICE,
            mail_from=None,
            # RFC 3834 §4: what becomes of an answer is nobody's to be told.
            recipients=(EnvelopeRecipient(address=to, notify=frozenset({Notify.NEVER})),),
            raw=compose(_draft(request, original, from_, to)),
            params=MailParams(smtputf8=not str(to).isascii()),
        )
        try:
            submitted = await self._submitter.submit(submission, provided=provided)
        except _Refused as refused:
            return refused.why
        except Suppressed as refused:  # while it was being written
            return Withheld(NoAnswer.SUPPRESSED, str(refused))
        except QuotaSpent as refused:  # O7 counts autoresponders
            return Withheld(NoAnswer.TOO_MANY, str(refused))
        return Sent(submitted.queue_id, submitted.message)

    def _judged(self, tx: Tx, request: AnswerRequest, asked: Asked, from_: Address) -> Withheld | None:
        now = self._clock.now()
        known = _known(tx, request.org, asked.reverse_path, from_, own_domains=self._own_domains, now=now)
        return policy.decide(asked, known, answerer=(from_, *request.user.addresses), now=now)


@dataclass(frozen=True, slots=True)
class _Received:
    """A stored message and the envelope sender that it came with, None where that is null or not known."""

    message: Message
    reverse_path: Address | None


def _received(tx: Tx, org: OrgId, id_: MessageId) -> _Received:
    message = messages.get(tx, org, id_)
    arrival = arrivals.get(tx, message.queue_id)
    # What was attached to another mail (I22) did not come from that mail's sender.
    envelope = None if arrival is None or message.part else arrival.envelope
    return _Received(message, None if envelope is None else envelope.mail_from)


def _asked(raw: bytes, came: _Received) -> Asked:
    outgoing = came.message.direction is Direction.OUT
    return policy.read(parse(raw), outgoing=outgoing, reverse_path=came.reverse_path, auth=came.message.auth)


def _known(
    tx: Tx,
    org: OrgId,
    to: Address | None,
    from_: Address,
    *,
    own_domains: Collection[str],
    now: datetime,
) -> Known:
    settings = organisations.get(tx, org).settings
    if to is None:
        return Known(ours=False, suppressed="", answered_at=None, this_hour=0, settings=settings)
    standing = next(iter(suppressions.holding(tx, org, [to.key])), None)
    return Known(
        ours=to.domain in own_domains or bool(people.keys_in_use(tx, org, sorted(lookup_keys([to])))),
        suppressed="" if standing is None else str(Suppressed(str(to), standing.reason, standing.since)),
        answered_at=answers.last(tx, org, answerer=from_.key, key=to.key),
        this_hour=answers.count(tx, org, since=now - _HOUR),
        settings=settings,
    )


def _named_of(message: Message, user: User) -> Address | None:
    """The address of the user that a mail names as a recipient."""
    own = {one.key: one for one in user.addresses}
    named = (one.address for one in message.participants if one.role in (ParticipantRole.TO, ParticipantRole.CC))
    return next((own[key] for address in named for key in sorted(lookup_keys([address])) if key in own), None)


def _draft(request: AnswerRequest, original: Message, from_: Address, to: Address) -> Draft:
    own = {one.key for one in request.user.addresses}
    thread = (*reversed(original.parents[:_MOST_REFERENCES]), original.message_id or "")
    named = tuple(one for one in thread if is_message_id(one))
    return Draft(
        from_=Person(request.user.name if from_.key in own else "", from_),
        to=(Person("", to),),
        # RFC 3834 §3.1.5
        subject=f"Auto: {original.subject}" if request.subject is None else request.subject,
        text=request.text,
        html=request.html,
        headers=_MARKS,
        in_reply_to=named[-1] if named and named[-1] == original.message_id else None,
        references=named,
        date=None,
        message_id=None,
    )
