"""What the other side tells us of a delivery, in a bounce, a complaint or an answer in the dialogue: the words for it (I10, I11)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import DeliveryId, MessageId, OrgId, QueueId
from mailrelay.model.message import Kind


class Action(StrEnum):
    """What happened to a recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


class Category(StrEnum):
    """Why, in the terms a sender acts on."""

    USER_UNKNOWN = "user_unknown"
    HOST_UNKNOWN = "host_unknown"
    NO_MAIL_HOST = "no_mail_host"
    INACTIVE = "inactive"
    MAILBOX_FULL = "mailbox_full"
    TOO_LARGE = "too_large"
    FILTERED = "filtered"
    POLICY = "policy"
    CONTENT = "content"
    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    SYSTEM = "system"
    UNKNOWN = "unknown"
    AUTO_REPLY = "auto_reply"
    DELIVERED = "delivered"
    FEEDBACK = "feedback"
    BY_HAND = "by_hand"  # no answer: somebody of those who run the mail returned it (R3)


class Fault(StrEnum):
    """Whose doing it is: only the recipient's may ever cost the recipient anything (I11)."""

    RECIPIENT = "recipient"
    SENDER = "sender"
    NEITHER = "neither"


class Tie(StrEnum):
    """What makes a mail that came back one about a delivery of ours, surest first (I10)."""

    RETURN_PATH = "return_path"  # it was sent to the signed return path
    TOKEN = "token"  # noqa: S105 (our signature, inside the mail that came back)
    SOURCE = "source"  # a provider that is trusted to complain names our Message-ID and the recipient
    MESSAGE_ID = "message_id"  # it names our Message-ID and the recipient, which every recipient could
    NONE = "none"


REPORTS = frozenset((Kind.BOUNCE, Kind.DELAY, Kind.DELIVERED))
"""What speaks of how a delivery went; the other kinds that come back say other things of it."""

BELIEVED = frozenset({Tie.RETURN_PATH, Tie.TOKEN, Tie.SOURCE})
"""The ties that nobody can guess: only what hangs by one of them changes anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a mail that came back says of one recipient, judged."""

    org: OrgId
    message: MessageId
    """The mail that came back."""
    position: int
    arrival: QueueId
    delivery: DeliveryId | None
    """The delivery that it is about, as far as `tie` says."""
    kind: Kind
    recipient: str
    """Whom it names, as written; "" for nobody."""
    key: str
    """The recipient's `Address.key`; "" where it names nobody or no address."""
    status: str
    code: int | None
    diagnostic: str
    """One line, what would act on a screen spelled out, at most 500 characters."""
    action: Action
    category: Category
    hard: bool
    fault: Fault
    tie: Tie
    believed: bool
    """Whether it was acted on: tied by what cannot be guessed, and about the delivery's own recipient."""
    at: datetime
