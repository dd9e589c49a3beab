"""A stored message and its parts, as the rest of mailrelay speaks of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import Digest, MessageId, OrgId, QueueId
from mailrelay.model.address import Address


class Direction(StrEnum):
    """Whether a message came to us or leaves through us."""

    IN = "in"
    OUT = "out"


class Kind(StrEnum):
    """What a mail is, by its structure and its fields (I10)."""

    BOUNCE = "bounce"
    DELAY = "delay"
    DELIVERED = "delivered"
    FEEDBACK = "feedback"
    AUTO_REPLY = "auto_reply"
    AUTO_GENERATED = "auto_generated"
    CHALLENGE = "challenge"
    LIST = "list"
    NORMAL = "normal"


class ParticipantRole(StrEnum):
    """Where in a message a participant stands."""

    FROM = "from"
    SENDER = "sender"
    REPLY_TO = "reply_to"
    TO = "to"
    CC = "cc"
    BCC = "bcc"
    FORWARDED_FROM = "forwarded_from"  # original sender inside a forwarded mail (I22)
    FORWARDED_TO = "forwarded_to"


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody named in a message; `name` is the decoded display name, or empty."""

    role: ParticipantRole
    address: Address
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRef:
    """Where bytes are: content-addressed, so identical content is stored once (I17)."""

    digest: Digest
    size: int


class Verdict(StrEnum):
    """The result of one authentication method, in the words of RFC 8601 §2.7."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 (an RFC 8601 result, not a password)
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class DkimResult:
    """One DKIM-Signature's verdict; `domain` is its d=, `reason` a sentence when it did not pass."""

    verdict: Verdict
    domain: str
    selector: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthVerdicts:
    """What SPF, DKIM and DMARC said of an arrival, by our own check only (RFC 8601 §5)."""

    spf: Verdict
    spf_domain: str
    spf_reason: str
    dkim: tuple[DkimResult, ...]
    dmarc: Verdict
    dmarc_policy: str  # "none", "quarantine", "reject" or ""
    aligned: bool
    """Whether SPF or a DKIM signature passed with a domain aligned (relaxed) to the header sender's: what I2 asks."""


@dataclass(frozen=True, slots=True)
class AttachmentInfo:
    """One attachment: `name` is data from a stranger and never a path."""

    name: str
    type: str
    size: int
    sha256: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One e-mail, stored once however many ways it reached us (I8)."""

    id: MessageId
    org: OrgId
    direction: Direction
    queue_id: QueueId
    message_id: str | None
    """The Message-ID header field without angle brackets, or None."""
    digest: Digest
    """The content digest of I8 (`mail.identity.content_digest`)."""
    raw: BlobRef
    subject: str
    sent_at: datetime | None
    received_at: datetime
    participants: tuple[Participant, ...]
    parents: tuple[str, ...]
    """Message-IDs out of In-Reply-To and References, nearest first, without brackets."""
    auth: AuthVerdicts | None
    part: int
    """0 for a mail itself; k for the k-th mail that was attached to a forward (I22) and filed as its own message."""
    automatic: str
    """Why this is automatic mail ("" when a person wrote it): `mail.automatic.reason` (I6)."""
    attachments: tuple[AttachmentInfo, ...]
    kind: Kind = Kind.NORMAL
    reply: str = ""
    """Of a reply-mail: what it says, without quotes and signature (I12)."""
