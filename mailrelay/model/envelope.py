"""What an SMTP transaction said, and what arrived with it (RFC 5321 §2.3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import DropboxId, NodeId, OrganisationAddressId, OrgId, QueueId, UserId
from mailrelay.model.address import Address, ReversePath
from mailrelay.model.message import BlobRef
from mailrelay.model.record import RecordRef


class Channel(StrEnum):
    """The way a message came or goes."""

    DROPBOX = "dropbox"
    MAILBOX = "mailbox"
    ORGANISATION = "organisation"
    RECORD = "record"  # to the signed address of a record (I21)
    BOUNCE = "bounce"
    SUBMISSION = "submission"
    API = "api"
    MASS = "mass"
    AUTORESPONDER = "autoresponder"
    NOTICE = "notice"  # DSNs of our own to authors, and automatic answers: from the null reverse-path


OUTGOING_CHANNELS = frozenset({Channel.SUBMISSION, Channel.API, Channel.MASS, Channel.AUTORESPONDER, Channel.NOTICE})
"""What we send ourselves: stored by its submission, filed like any mail, never held."""


OPEN_CHANNELS = frozenset({Channel.ORGANISATION, Channel.RECORD})
"""Where anybody may write, and nothing is asked of who does: what such a mail claims of its author is only a claim."""


class BodyType(StrEnum):
    """BODY= of MAIL (RFC 6152)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"


class Ret(StrEnum):
    """RET= of MAIL: what a DSN returns (RFC 3461 §4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Notify(StrEnum):
    """NOTIFY= of RCPT (RFC 3461 §4.1); NEVER stands alone."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailParams:
    """The parameters of MAIL FROM; None or False where the client said nothing."""

    size: int | None = None
    body: BodyType | None = None
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None
    auth: str | None = None
    """The decoded xtext of AUTH= (RFC 4954 §5), `<>` included; recorded, never trusted."""
    requiretls: bool = False
    tls_optional: bool = False
    """The message says `TLS-Required: No`: no policy of the recipients' keeps it from going (RFC 8689 §5)."""
    hold_for: int | None = None
    """HOLDFOR= in seconds (RFC 4865); this and `hold_until` exclude each other. Not kept: a delivery says when it is due."""
    hold_until: datetime | None = None
    """HOLDUNTIL=, aware."""

    @property
    def held(self) -> bool:
        """Whether the client asks to have the mail sent later."""
        return self.hold_for is not None or self.hold_until is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeRecipient:
    """One RCPT TO: `notify` empty when not said; `orcpt` is `addr-type;decoded-address` as given, case kept."""

    address: Address
    notify: frozenset[Notify] = frozenset()
    orcpt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """MAIL FROM and the accepted RCPT TOs of one transaction."""

    mail_from: ReversePath
    rcpt_to: tuple[EnvelopeRecipient, ...]
    params: MailParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The client at the other end of the socket; `helo` is its own claim, `tls` the protocol in use or ""."""

    ip: str
    port: int
    helo: str
    esmtp: bool
    tls: str
    user: UserId | None = None
    """Who authenticated, on submission."""


class ArrivalState(StrEnum):
    """Where an arrival is. The first three are in flight, the rest are ends (K8)."""

    ACCEPTED = "accepted"  # durable, waits for a worker
    WORKING = "working"  # a worker has it under a lease
    UNRESOLVED = "unresolved"  # waits for a person (I23)
    FILED = "filed"
    DROPPED = "dropped"  # decided: not to be filed (I5); kept, with its reason
    DUPLICATE = "duplicate"  # the message was there already; this way of it is noted (I8)
    RELAYED = "relayed"  # one of ours going out; its deliveries have their own ledger


IN_FLIGHT_ARRIVALS = frozenset({ArrivalState.ACCEPTED, ArrivalState.WORKING, ArrivalState.UNRESOLVED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalTarget:
    """What one accepted recipient address stood for.

    A dropbox (`dropbox` and `user` are set), a return path (`delivery` names the delivery that it was signed for), a shared
    address (`shared`; without it mail to an organisation is postmaster's), or the address of a record (`filing` is its number). Of
    what we send ourselves `user` is its author, `shared` the shared address that it is sent as, and `records` are those that it was
    addressed to.
    """

    address: Address
    dropbox: DropboxId | None = None
    user: UserId | None = None
    delivery: str | None = None
    shared: OrganisationAddressId | None = None
    filing: int | None = None
    records: tuple[RecordRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Temporary ownership of a row. `fence` grows with each claim, so that a late settle of a lost lease is refused (Q05)."""

    node: NodeId
    until: datetime
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One reception, before filing: one per organisation, channel and user of a transaction."""

    id: QueueId
    org: OrgId
    channel: Channel
    state: ArrivalState
    envelope: Envelope | None
    target: ArrivalTarget | None
    peer: Peer | None
    raw: BlobRef
    received_at: datetime
    attempts: int
    """Times a worker claimed it, this one included; counted before anything is read (Q03)."""
    lease: Lease | None
    message: str | None
    """Id of the message it became or belongs to; set at birth for what we send ourselves (channels API, submission)."""

    @property
    def names_nobody(self) -> bool:
        """Whether it came to the address for all complaints, and says of no delivery of ours that it is about it."""
        return self.channel is Channel.BOUNCE and (self.target is None or self.target.delivery is None)
