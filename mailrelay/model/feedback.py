"""What the other side tells us of a delivery, in a bounce, a complaint or an answer in the dialogue: the words for it (I10, I11)."""

from __future__ import annotations

from enum import StrEnum


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
