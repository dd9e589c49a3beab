"""One recipient of an outgoing message, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import DeliveryId, MessageId, OrgId, QueueId
from mailrelay.model.address import Address, ReversePath
from mailrelay.model.envelope import Channel, EnvelopeRecipient, Lease, MailParams
from mailrelay.model.message import BlobRef
from mailrelay.model.reply import Reply


class DeliveryState(StrEnum):
    """Where a delivery is. *Deferred* is no state but an event on a queued delivery."""

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
    """The next hop took it."""

    reply: Reply


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
    """What we saw of the peer's TLS: protocol and cipher, "" in clear; `verified` by name and chain; why not if not."""

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

    @property
    def address(self) -> Address:
        """The recipient's address."""
        return self.recipient.address
