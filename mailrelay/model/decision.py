"""What rules say of a message: findings, and the decision made of them (I9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import MessageId, UserId
from mailrelay.model.address import Address
from mailrelay.model.record import RecordRef


class FindingKind(StrEnum):
    """What one finding of a rule asks for; MISS is a rule that looked and found nothing to say."""

    EXCLUDE = "exclude"  # this participant is none of our business (I5)
    HOLD = "hold"  # a person must look (I2, I23)
    DROP = "drop"  # not to be filed (I5)
    LINK = "link"
    CREATE = "create"
    MISS = "miss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Why: the address or id looked at, the header it stands in, and a sentence."""

    because: str
    header: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A record to be created for a new correspondent (I6)."""

    module: str
    address: Address
    name: str
    owner: UserId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that one rule says. `rule` is `stage.name` and filled in by the registry."""

    rule: str
    kind: FindingKind
    evidence: tuple[Evidence, ...]
    record: RecordRef | None = None
    creation: Creation | None = None
    excluded: Address | None = None
    reason: str = ""  # HoldReason or DropReason value
    guess: bool = False
    secret: str = ""
    """The arrival whose Bcc alone it is known by: for those only to whom the mail is shown as it came by that (I16)."""


class HoldReason(StrEnum):
    """Why a message waits in the unresolved list (I23)."""

    UNPERMITTED_SENDER = "unpermitted_sender"  # I2: not an address of the dropbox's user
    UNAUTHENTICATED = "unauthenticated"  # I2: neither SPF nor DKIM vouch for the sender
    POSTMASTER = "postmaster"  # sent to an address that has no secret
    ADDRESS_ENDED = (
        "address_ended"  # came to the address of a record that is no longer valid, or whose record is gone (I21)
    )
    NO_MATCH = "no_match"  # nobody in it is known and nothing may be created
    TIE = "tie"  # the rules leave several records and no way to choose
    AUTOMATIC = "automatic"  # an unknown sender wrote it by machine, so that nothing is created (I6)
    UNPARSED = "unparsed"  # could not be read
    UNATTRIBUTED = "unattributed"  # what came to the address for all complaints and may be any organisation's (I10)
    FAILED = "failed"  # our own code failed on it several times: set aside
    GONE = "gone"  # I25: no mail is held; somebody has left, and a successor is proposed


class DropReason(StrEnum):
    """Why a message is deliberately not filed."""

    INTERNAL = "internal"  # I5: mail among colleagues
    EXCLUDED = "excluded"  # I5: everyone in it is on the exclude list
    UNSUBSCRIBED = "unsubscribed"  # O15: it only says that somebody wants no more mail


class Disposition(StrEnum):
    """What becomes of a message as a whole."""

    FILE = "file"
    HOLD = "hold"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedLink:
    """A link a decision asks for."""

    record: RecordRef
    rule: str
    evidence: tuple[Evidence, ...]
    guess: bool
    secret: str = ""
    """As of a finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedCreation:
    """A record a decision asks for, with the rule behind it."""

    creation: Creation
    rule: str
    evidence: tuple[Evidence, ...]
    secret: str = ""
    """As of a finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """All that the rules say of one message: hits and misses, in the order in which the rules ran."""

    disposition: Disposition
    reason: str  # HoldReason or DropReason value when not FILE
    explanation: str  # a sentence for people when not FILE
    links: tuple[ProposedLink, ...]
    creations: tuple[ProposedCreation, ...]
    findings: tuple[Finding, ...]


BY_RULE = "rule"
"""`Link.by` of what rules made; a person's link carries their user id instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A stored link message ↔ record. What a person linked or unlinked is never overridden by rules (I7, I9)."""

    message: MessageId
    record: RecordRef
    rule: str
    evidence: tuple[Evidence, ...]
    by: str
    guess: bool
    created_at: datetime
    removed_at: datetime | None
    removed_by: str | None = None
    """BY_RULE (a rerun) or the user who took it away."""
    secret: str = ""
    """As of a finding."""
