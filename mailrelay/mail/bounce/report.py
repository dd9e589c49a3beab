"""What a mail that came back says: the words that dialects, the DSN reader and the table of categories share (I10)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mailrelay.mail.automatic import Kind
from mailrelay.model.reply import EnhancedStatus


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


class Fault(StrEnum):
    """Whose doing it is: only the recipient's may ever cost the recipient anything (I11)."""

    RECIPIENT = "recipient"
    SENDER = "sender"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a report says of one recipient, before it is judged. `recipient` is "" when it names none."""

    recipient: str
    status: EnhancedStatus | None
    code: int | None
    diagnostic: str
    action: Action


@dataclass(frozen=True, slots=True)
class BouncedRecipient:
    """One recipient of a report, judged. `hard`: the address is dead; `action` says whether the mail is."""

    recipient: str
    status: EnhancedStatus | None
    code: int | None
    diagnostic: str
    action: Action
    category: Category
    hard: bool
    fault: Fault


@dataclass(frozen=True, slots=True)
class BounceReport:
    """What a mail that came back reports of whom; `kind` is the mail's, as `mail inspect` shows it."""

    kind: Kind
    recipients: tuple[BouncedRecipient, ...]
