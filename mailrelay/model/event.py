"""What happened: the append-only journal that everything else reads (K8, K9)."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import EventSeq, OrgId


class EventType(StrEnum):
    """Names are noun.past-participle, as in the log."""

    ARRIVAL_ACCEPTED = "arrival.accepted"
    ARRIVAL_ENDED = "arrival.ended"
    ARRIVAL_RETRIED = "arrival.retried"
    MESSAGE_FILED = "message.filed"
    MESSAGE_HELD = "message.held"
    MESSAGE_DROPPED = "message.dropped"
    MESSAGE_LINKED = "message.linked"
    MESSAGE_UNLINKED = "message.unlinked"
    MESSAGE_REPLIED = "message.replied"
    MESSAGE_RECEIVED = "message.received"  # somebody outside wrote: for each user whom it concerns (I19)
    RECORD_CREATED = "record.created"
    DELIVERY_QUEUED = "delivery.queued"
    DELIVERY_DEFERRED = "delivery.deferred"
    DELIVERY_SENT = "delivery.sent"
    DELIVERY_BOUNCED = "delivery.bounced"
    DELIVERY_EXPIRED = "delivery.expired"
    DELIVERY_FAILED = "delivery.failed"
    DELIVERY_SUPPRESSED = "delivery.suppressed"
    DELIVERY_CANCELLED = "delivery.cancelled"
    DELIVERY_DELIVERED = "delivery.delivered"  # a success notice says that it arrived
    DELIVERY_RETURNED = "delivery.returned"  # something came back about it, judged
    DELIVERY_COMPLAINED = "delivery.complained"
    AUTHOR_NOTIFIED = "author.notified"  # a DSN of ours was queued for its author
    NOTICE_WITHHELD = (
        "notice.withheld"  # it was owed to its author, and could not be queued for them: why is in the data
    )
    SENDER_BLAMED = "sender.blamed"  # an answer blames the sender, not the recipient (O17)
    SENDING_WARNED = "sending.warned"  # a job or domain comes near its brake (O18)
    SENDING_SUSPENDED = "sending.suspended"
    SENDING_RESUMED = "sending.resumed"
    DELIVERY_SCHEDULED = (
        "delivery.scheduled"  # to go at a time; also when its author moves it, or somebody's absence does (O5, I25)
    )
    DELIVERY_EDITED = "delivery.edited"  # its author changed what will be sent
    DELIVERY_HELD = "delivery.held"  # by a person, as poison, or unconfirmed; why is in the data (R3, Q03, D11)
    DELIVERY_RELEASED = "delivery.released"
    DELIVERY_HASTENED = "delivery.hastened"  # due at once because somebody asked
    QUEUE_CHANGED = "queue.changed"  # somebody's operation on many deliveries is done: what, which, how many (R3)
    NEXT_HOP_PAUSED = "next_hop.paused"  # a smart host refuses us, or lacks the TLS that we demand: nothing goes to it for a while (N11)
    ADDRESS_SUPPRESSED = "address.suppressed"
    SUPPRESSION_LIFTED = "suppression.lifted"
    ADDRESS_AWAY = "address.away"  # an automatic reply says that its owner is away, and mostly until when (I25)
    ADDRESS_GONE = "address.gone"  # … or has left for good
    DELIVERY_OPENED = "delivery.opened"  # its pixel was loaded; by whom (person, machine, unknown) is in the data (K1)
    DELIVERY_CLICKED = "delivery.clicked"  # … one of its links was followed; which is in the data
    DELIVERY_JUDGED = "delivery.judged"  # its opens and clicks were judged again, and what they are called changed
    ADDRESS_UNSUBSCRIBED = "address.unsubscribed"  # from all, or from the list in the data (O15)
    ADDRESS_RESUBSCRIBED = "address.resubscribed"
    MAILING_LIST_CHANGED = "mailing_list.changed"  # made, changed or removed
    PERSON_ERASED = "person.erased"  # what was recorded of somebody is gone; a hash stands for the address (T13)
    CONSENT_CHANGED = "consent.changed"  # somebody agrees to individual tracking, or no longer (O9)
    RECORD_CHANGED = "record.changed"
    RECORD_REMOVED = "record.removed"
    MODULE_CHANGED = "module.changed"
    USER_CREATED = "user.created"
    USER_CHANGED = "user.changed"
    ORGANISATION_CREATED = "organisation.created"
    ORGANISATION_CHANGED = "organisation.changed"
    DROPBOX_CREATED = "dropbox.created"
    DROPBOX_REVOKED = "dropbox.revoked"
    ORGANISATION_ADDRESS_CREATED = "organisation_address.created"  # I13
    ORGANISATION_ADDRESS_CHANGED = "organisation_address.changed"
    ORGANISATION_ADDRESS_REMOVED = "organisation_address.removed"
    RECORD_ADDRESS_CREATED = "record_address.created"  # I21
    RECORD_ADDRESS_REVOKED = "record_address.revoked"
    DOMAIN_CHANGED = "domain.changed"
    EXCLUSION_ADDED = "exclusion.added"
    EXCLUSION_REMOVED = "exclusion.removed"
    SMART_HOST_ADDED = "smart_host.added"
    SMART_HOST_REMOVED = "smart_host.removed"
    TOKEN_CREATED = "token.created"  # noqa: S105 (no secret)
    TOKEN_REVOKED = "token.revoked"  # noqa: S105
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_DISABLED = "webhook.disabled"  # by itself, after lasting failure, or by somebody; why is in the data (R6)
    WEBHOOK_ENABLED = "webhook.enabled"
    WEBHOOK_REPLAYED = "webhook.replayed"  # all after an event is sent again
    WEBHOOK_RESENT = "webhook.resent"  # one event is sent again, or all dead letters
    WEBHOOK_REMOVED = "webhook.removed"
    ATTACHMENT_FILED = "attachment.filed"  # to a record, or to the outside store (I17)
    ATTACHMENT_REMOVED = "attachment.removed"  # somebody took it off its record
    STORAGE_FULL = "storage.full"  # attachments are over the organisation's limit, and no longer filed
    NOTE_ADDED = "note.added"  # a user's note on a mail, from a notice (I19)
    TASK_REQUESTED = "task.requested"  # a follow-up that a user asks the CRM for
    MOVE_REQUESTED = "move.requested"  # a user wants a mail in another folder of their mailbox (I19)
    SHARING_CHANGED = "sharing.changed"  # of a user's mail (I16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. `queue_id`, `message`, `delivery` are "" where they do not apply; `data` is by type.

    `seq` counts an organisation's events from 1, without a gap. `user` is whose notice it is, "" nobody's (I19); `record` what it
    is about, such as `contact/17`.
    """

    seq: EventSeq
    org: OrgId
    at: datetime
    type: EventType
    queue_id: str
    message: str
    delivery: str
    data: tuple[tuple[str, str], ...]
    user: str = ""
    record: str = ""


def differing(old: object, new: object) -> str:
    """The names of the fields in which two frozen values of one kind differ, those of their settings one by one, for an event's data."""
    found: list[str] = []
    for one in fields(old):  # type: ignore[arg-type]  # dataclasses both
        before, after = getattr(old, one.name), getattr(new, one.name)
        if before == after:
            continue
        if one.name == "settings" and is_dataclass(before):
            found += [f"settings.{name}" for name in differing(before, after).split(" ")]
        else:
            found.append(one.name)
    return " ".join(found)
