"""One recipient of an outgoing message, and what became of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import DeliveryId, MessageId, OrgId, QueueId, UserId
from mailrelay.model.address import Address, ReversePath
from mailrelay.model.envelope import Channel, EnvelopeRecipient, Lease, MailParams
from mailrelay.model.feedback import Category, Fault
from mailrelay.model.message import BlobRef
from mailrelay.model.reply import Reply
from mailrelay.model.tracking import Mode, Tracked


class DeliveryState(StrEnum):
    """Where a delivery is. *Deferred* is no state but a status: a queued delivery that was tried (`DeliveryStatus`)."""

    SCHEDULED = "scheduled"
    HELD = "held"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    FAILED = "failed"  # we could not even offer it: no such domain, conversion impossible, our own refusal
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


IN_FLIGHT_DELIVERIES = frozenset(
    {DeliveryState.SCHEDULED, DeliveryState.HELD, DeliveryState.QUEUED, DeliveryState.SENDING}
)


HELD_BY_HAND = "hand"
"""`Delivery.held_by` of what somebody holds (R3)."""
POISON = "poison"
"""… of what our own code failed on again and again: it is set aside (Q03)."""
UNCONFIRMED = "unconfirmed"
"""… of mass mail that was cut off between the final dot and the reply: it may have been taken, so it is not sent again by itself
(D11, M09)."""


class DeliveryStatus(StrEnum):
    """What people are told of a delivery (K1): its state, but *deferred* when it is queued and was tried, and once it has arrived what
    a person did with it, whichever goes furthest: *replied*, *clicked* or *opened*.
    """

    SCHEDULED = "scheduled"
    HELD = "held"
    QUEUED = "queued"
    DEFERRED = "deferred"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


class MessageStatus(StrEnum):
    """What people are told of a message that we send (K1): the status of its deliveries, or that only some arrived."""

    SCHEDULED = "scheduled"
    HELD = "held"
    QUEUED = "queued"
    DEFERRED = "deferred"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    PARTIALLY_SENT = "partially_sent"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


_UNFINISHED = (
    DeliveryStatus.DEFERRED,
    DeliveryStatus.HELD,
    DeliveryStatus.SENDING,
    DeliveryStatus.QUEUED,
    DeliveryStatus.SCHEDULED,
)
"""What says most of a message while one of its deliveries is in flight, first."""
REACTIONS = (DeliveryStatus.REPLIED, DeliveryStatus.CLICKED, DeliveryStatus.OPENED)
"""What persons do with what has arrived, the furthest first."""
_ARRIVED = (*REACTIONS, DeliveryStatus.SENT, DeliveryStatus.DELIVERED)
_NEVER = (
    DeliveryStatus.BOUNCED,
    DeliveryStatus.EXPIRED,
    DeliveryStatus.FAILED,
    DeliveryStatus.SUPPRESSED,
    DeliveryStatus.CANCELLED,
)


def message_status(deliveries: Collection[DeliveryStatus]) -> MessageStatus | None:
    """The status of a message by those of its deliveries; None without any: it came in, or goes to nobody.

    While anything is in flight it is that, what hangs first. At the end it is replied to, clicked or opened by somebody, sent or delivered
    to all, sent to some (`partially_sent`), or what befell its deliveries, what the other side said first.
    """
    for status in _UNFINISHED:
        if status in deliveries:
            return MessageStatus(status)
    if any(one in _ARRIVED for one in deliveries) and any(one in _NEVER for one in deliveries):
        return MessageStatus.PARTIALLY_SENT
    return next((MessageStatus(status) for status in (*_ARRIVED, *_NEVER) if status in deliveries), None)


class Stage(StrEnum):
    """How far an attempt had come in the SMTP dialogue."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # body not yet complete: certainly not delivered
    DOT = "dot"  # final dot sent, no reply: may be delivered


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The next hop took it. `tells`: it knows DSN, so that it tells what its author asked to hear of it (RFC 3461 §5.2.1)."""

    reply: Reply
    tells: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """Not now; to be tried again."""

    reply: Reply
    stage: Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The next hop (or DNS, or we for it) said no for good; `by_us` when no remote said so."""

    reply: Reply
    stage: Stage
    by_us: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """The dialogue broke off. At stage DOT the message may have been taken."""

    stage: Stage
    detail: str


Outcome = Accepted | Deferred | Refused | Interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsProof:
    """What we saw of the peer's TLS: protocol and cipher, "" in clear; `verified` by name and chain, or by DANE.

    `detail` is why it is not verified, or what else than its name proves it.
    """

    protocol: str
    cipher: str
    verified: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a delivery at one host, written before dialling; `outcome` None until it is known."""

    delivery: DeliveryId
    number: int
    began_at: datetime
    ended_at: datetime | None
    host: str
    tls: TlsProof | None
    outcome: Outcome | None
    source: str = ""
    """The egress source that it was made from; "" for the system's own address."""
    dotted: bool = False
    """Of mass mail: the final dot was about to be sent, so that the mail may have been taken (D11)."""


class Notice(StrEnum):
    """What an author is told of a delivery by a DSN (RFC 3461 §4.1, RFC 3464 §2.3.3)."""

    NONE = ""
    DELAYED = "delayed"
    FAILED = "failed"
    RELAYED = "relayed"  # it was given to a host that will not say what becomes of it
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One recipient of one outgoing message."""

    id: DeliveryId
    org: OrgId
    message: MessageId
    queue_id: QueueId
    channel: Channel
    mail_from: ReversePath
    """The author's envelope sender, to whom a DSN goes; the wire shows our signed return path instead."""
    params: MailParams
    recipient: EnvelopeRecipient
    state: DeliveryState
    raw: BlobRef
    created_at: datetime
    due_at: datetime
    expires_at: datetime
    attempts: int
    last_reply: str
    lease: Lease | None
    job: str = ""
    """What its author calls the mass of mail that it is part of; "" for single mail (O18)."""
    held_by: str = ""
    """Why it is held: `scope:name` of a suspension, or one of HELD_BY_HAND, POISON and UNCONFIRMED."""
    ended_at: datetime | None = None
    """When it came to an end; of what was sent, until it bounces, when the next hop took it."""
    category: Category | None = None
    """What its last bad answer means, in the dialogue or by a report; `hard` and `fault` with it (I10)."""
    hard: bool = False
    fault: Fault | None = None
    replied_at: datetime | None = None
    complained_at: datetime | None = None
    delivered_at: datetime | None = None
    """When a success notice came that says it arrived."""
    notice: Notice = Notice.NONE
    """What its author is still owed; `noticed` is the last that was queued for them (O11)."""
    noticed: Notice = Notice.NONE
    author: UserId | None = None
    """Who submitted it, and may change it while it is scheduled; None for a notice of our own."""
    scheduled_for: datetime | None = None
    """When it goes, or was to go first, if not at once (O5): as its author wants, or once its recipient is back (I25)."""
    faults: int = 0
    """Attempts that our own code failed in, or that the process died in (Q03)."""
    trace: str = ""
    """What our code said when it failed last."""
    tracking: Mode | None = None
    """What its author asked to be recorded of it (O9); None: what the organisation has."""
    tracked: Tracked = Tracked.NOT_SENT
    opened_at: datetime | None = None
    """When a person opened it first, and followed one of its links (K1)."""
    clicked_at: datetime | None = None
    list: str = ""
    """The mailing list that its job is sent to; "" for none (O15)."""

    @property
    def waits_since(self) -> datetime:
        """When it was to go first."""
        return self.scheduled_for or self.created_at

    @property
    def sender_domain(self) -> str:
        """The domain that it is sent for, which brakes and suspensions are about; "" for a notice of our own."""
        return "" if self.mail_from is None else self.mail_from.domain

    @property
    def address(self) -> Address:
        """The recipient's address."""
        return self.recipient.address

    @property
    def status(self) -> DeliveryStatus:
        """Its state, or deferred: it was tried, and waits to be tried again; or what a person did with it."""
        return self.status_when(None)

    def status_when(self, silent_since: datetime | None) -> DeliveryStatus:
        """`status` at a time when what was sent by `silent_since` counts as delivered, unless a bounce came back (K1)."""
        return delivery_status(
            self.state,
            self.attempts,
            replied=self.replied_at is not None,
            clicked=self.clicked_at is not None,
            opened=self.opened_at is not None,
            silent=silent_since is not None and self.ended_at is not None and self.ended_at <= silent_since,
        )


def delivery_status(
    state: DeliveryState,
    attempts: int,
    *,
    replied: bool,
    clicked: bool = False,
    opened: bool = False,
    silent: bool = False,
) -> DeliveryStatus:
    """What a delivery in this state, tried so often, is called, and answered, clicked or opened by a person or not.

    `silent`: it was sent so long ago that a bounce would have come back by now.
    """
    if state in (DeliveryState.SENT, DeliveryState.DELIVERED):
        for did, reaction in zip((replied, clicked, opened), REACTIONS, strict=True):
            if did:
                return reaction
    if state is DeliveryState.QUEUED and attempts:
        return DeliveryStatus.DEFERRED
    if state is DeliveryState.SENT and silent:
        return DeliveryStatus.DELIVERED
    return DeliveryStatus(state)
