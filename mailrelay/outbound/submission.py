"""A request to send, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailrelay.ids import DeliveryId, MessageId, OrgId, QueueId, UserId
from mailrelay.model.address import Address, ReversePath
from mailrelay.model.envelope import Channel, EnvelopeRecipient, MailParams
from mailrelay.model.record import RecordRef
from mailrelay.model.schedule import Schedule, Wish
from mailrelay.model.tracking import Mode


@dataclass(frozen=True, slots=True)
class Addressed:
    """A recipient that was named by a record."""

    record: RecordRef
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request of `user` to send `raw` (RFC 5322 bytes, Bcc and other gaps allowed) to `recipients`."""

    org: OrgId
    user: UserId
    channel: Channel
    """SUBMISSION or API."""
    mail_from: ReversePath
    recipients: tuple[EnvelopeRecipient, ...]
    raw: bytes = field(repr=False)
    params: MailParams = field(default_factory=MailParams)
    idempotency_key: str | None = None
    """O19: the same key and the same request is the same message; the same key and another request is refused."""
    by: str = ""
    """Who hands it in, and so whose key that is, where it is not its user: a token."""
    job: str = ""
    """What the author calls the mass of mail that it is part of: its rates are watched together (O18)."""
    list: str = ""
    """The mailing list that this mass of mail is sent to: who left it gets none of it (O15)."""
    tracking: Mode | None = None
    """What may be recorded of its opens and clicks, at most; None: what the organisation has (O9)."""
    documents: int = 0
    """Links to documents of cloud stores among the attachments (O4)."""
    schedule: Wish | None = None
    """When it is to go; None: at once (O5)."""
    revises: Schedule | None = None
    """The scheduled mail that it is the new content of."""
    addressed: tuple[Addressed, ...] = ()
    """Those of the recipients that its author named by a record: it is filed on these (O3)."""
    records: tuple[RecordRef, ...] = ()
    """Further records that its author files it on (O3)."""

    @property
    def owner(self) -> str:
        """Whose idempotency key it has."""
        return self.by or self.user


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What became of a submission: a delivery for each recipient that it is sent to, in their order.

    Dropboxes and other addresses of the organisation with us are not among them. `repeated`: it was there already (O19).
    """

    queue_id: QueueId
    message: MessageId
    deliveries: tuple[DeliveryId, ...]
    sent_to: tuple[Address, ...]
    """The address of each delivery."""
    repeated: bool = False
    schedule: Schedule | None = None
    """When it goes, if not at once."""
