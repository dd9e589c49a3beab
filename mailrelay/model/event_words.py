"""What each event tells, for people: what happened, and the names in its data. docs/events.md is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mailrelay.model.event import EventType

_BY = "by"
_ATTEMPT = ("reply", "host", "attempt", "due_at", "category", "class", "fault", "held_by", "tracked")
_SENDING = ("scope", "name")
_WEBHOOK = ("webhook", "description")
_E = EventType

TELLS: Mapping[EventType, tuple[str, ...]] = MappingProxyType(
    {
        _E.ARRIVAL_ACCEPTED: ("a mail was taken, and is durable", "channel", "size"),
        _E.ARRIVAL_ENDED: ("what was taken has come to its end", "state", "reason", "channel"),
        _E.ARRIVAL_RETRIED: ("our own code failed on it, and it is tried again", "attempt", "failure"),
        _E.MESSAGE_FILED: ("a mail was filed", _BY),
        _E.MESSAGE_HELD: ("a mail waits for a person, on the unresolved list", "reason"),
        _E.MESSAGE_DROPPED: ("a mail was not filed, by rule or by hand", "reason", _BY),
        _E.MESSAGE_LINKED: ("a mail was put on a record", "record", "rule", _BY),
        _E.MESSAGE_UNLINKED: ("a mail was taken off a record", "record", _BY),
        _E.MESSAGE_REPLIED: ("a person answered a mail of ours", "reply", "arrival", "text"),
        _E.MESSAGE_RECEIVED: ("somebody outside wrote; one for each user whom it concerns", "for", "why", "from"),
        _E.RECORD_CREATED: ("a record was made, by the CRM or for a new correspondent", "record", "address", "source"),
        _E.RECORD_CHANGED: ("a record changed; what of it is in the data", "record", "changed"),
        _E.RECORD_REMOVED: ("a record was removed", "record", _BY),
        _E.DELIVERY_QUEUED: ("a mail is on its way to a recipient", "channel", "recipient"),
        _E.DELIVERY_DEFERRED: ("an attempt failed for now", *_ATTEMPT),
        _E.DELIVERY_SENT: ("the next hop took it", *_ATTEMPT),
        _E.DELIVERY_BOUNCED: ("it was refused for good, or came back", *_ATTEMPT, "action", "said", "source", _BY),
        _E.DELIVERY_EXPIRED: ("it could not be delivered in time", *_ATTEMPT),
        _E.DELIVERY_FAILED: ("it could not even be offered", *_ATTEMPT),
        _E.DELIVERY_SUPPRESSED: ("its address must not be sent to", *_ATTEMPT),
        _E.DELIVERY_CANCELLED: ("somebody took it back before it went", "reason", _BY),
        _E.DELIVERY_DELIVERED: ("a notice says that it arrived", "action", "said", "source", _BY),
        _E.DELIVERY_RETURNED: (
            "something came back about it, judged",
            *("returned", "kind", "tie", "believed", "recipient", "action", "category", "class", "fault"),
            *("status", "code", "diagnostic"),
        ),
        _E.DELIVERY_COMPLAINED: ("its recipient complained", "type", "evidence", _BY),
        _E.AUTHOR_NOTIFIED: ("its author is told by mail", "notice", "recipient", "author"),
        _E.NOTICE_WITHHELD: ("its author was owed a mail that could not be sent", "notice", "recipient", "reason"),
        _E.SENDER_BLAMED: ("an answer blames the sender", "reply", "source", _BY),
        _E.SENDING_WARNED: ("a job or domain comes near its brake", *_SENDING, "measure", "evidence"),
        _E.SENDING_SUSPENDED: ("a job or domain was stopped", *_SENDING, "reason", "evidence", _BY, "held"),
        _E.SENDING_RESUMED: ("a job or domain goes on", *_SENDING, _BY, "released"),
        _E.DELIVERY_SCHEDULED: ("it goes at a time, or at another than before", "due_at", "zone", "because", _BY),
        _E.DELIVERY_EDITED: ("its author changed what will be sent", "replaces", _BY),
        _E.DELIVERY_HELD: ("it is held; why is in the data", "held_by", "why", "trace", "reason", _BY),
        _E.DELIVERY_RELEASED: ("it is held no longer", "held_by", "reason", _BY),
        _E.DELIVERY_HASTENED: ("somebody wants it sent at once", "reason", _BY),
        _E.QUEUE_CHANGED: ("an operation on many deliveries is done", "operation", "control", _BY, "reason"),
        _E.NEXT_HOP_PAUSED: ("a smart host refuses us; nothing goes to it for a while", "host", "because"),
        _E.ADDRESS_SUPPRESSED: (
            "an address must not be sent to from now on, or no more mail of a list",
            *("address", "reason", "list", "evidence", _BY),
        ),
        _E.SUPPRESSION_LIFTED: ("an address may be sent to again", "address", "reason", "list", _BY, "note"),
        _E.ADDRESS_AWAY: ("an automatic reply says that somebody is away", "address", "since", "until", "instead"),
        _E.ADDRESS_GONE: ("… or has left for good", "address", "instead"),
        _E.DELIVERY_OPENED: ("its pixel was loaded", _BY, "first"),
        _E.DELIVERY_CLICKED: ("one of its links was followed", _BY, "first", "link", "url"),
        _E.DELIVERY_JUDGED: (
            "its opens and clicks were judged again",
            *("hits", "opens", "clicks", "machine_opens", "machine_clicks", "opens_before", "clicks_before"),
        ),
        _E.ADDRESS_UNSUBSCRIBED: (
            "somebody wants no more mail, of a list or at all",
            "address",
            "list",
            "way",
            "evidence",
        ),
        _E.ADDRESS_RESUBSCRIBED: ("… and does again", "address", "list", "evidence"),
        _E.MAILING_LIST_CHANGED: ("a mailing list was made, changed or removed", "list", "change", _BY),
        _E.CONSENT_CHANGED: (
            "somebody agrees to individual tracking, or no longer",
            "address",
            "given",
            _BY,
            "evidence",
        ),
        _E.PERSON_ERASED: ("what was recorded of somebody is gone; a hash stands for the address", "address", _BY),
        _E.MODULE_CHANGED: ("a module was made, changed or removed", "module", "change", _BY),
        _E.USER_CREATED: ("a user was added", "user", "name", "address", "role", _BY),
        _E.USER_CHANGED: ("a user was changed", "user", "changed", _BY),
        _E.ORGANISATION_CREATED: ("the organisation was made", "name", _BY),
        _E.ORGANISATION_CHANGED: ("its name, time zone or settings changed", "changed", _BY),
        _E.DROPBOX_CREATED: ("a user has a new dropbox", "dropbox", "user", _BY),
        _E.DROPBOX_REVOKED: ("a user's dropboxes take no more mail", "user", _BY),
        _E.ORGANISATION_ADDRESS_CREATED: ("there is a new shared address", "id", "address", _BY),
        _E.ORGANISATION_ADDRESS_CHANGED: ("a shared address was changed", "id", "address", _BY),
        _E.ORGANISATION_ADDRESS_REMOVED: ("a shared address was removed", "id", "address", _BY),
        _E.RECORD_ADDRESS_CREATED: ("a record has an address of its own", "record", "number", "until", _BY),
        _E.RECORD_ADDRESS_REVOKED: ("a record's address takes no more mail", "record", "number", "valid_until", _BY),
        _E.DOMAIN_CHANGED: (
            "a domain or its keys changed",
            "domain",
            "change",
            "selector",
            "selectors",
            "because",
            _BY,
        ),
        _E.EXCLUSION_ADDED: ("an address or domain is never matched from now on", "kind", "value", _BY),
        _E.EXCLUSION_REMOVED: ("… and is again", "kind", "value", _BY),
        _E.SMART_HOST_ADDED: (
            "a user or domain sends by a server of its own",
            "smart_host",
            "scope",
            "name",
            "host",
            _BY,
        ),
        _E.SMART_HOST_REMOVED: ("… and no longer", "smart_host", "scope", "name", "host", _BY),
        _E.TOKEN_CREATED: ("there is a new token", "token", "name", "rights", "user", _BY),
        _E.TOKEN_REVOKED: ("a token is worth nothing any more", "token", _BY),
        _E.WEBHOOK_CREATED: ("events are sent to a URL", *_WEBHOOK, _BY),
        _E.WEBHOOK_CHANGED: ("what is sent to a URL, or how, changed", *_WEBHOOK, "changed", _BY),
        _E.WEBHOOK_DISABLED: ("nothing is sent to a URL: it failed for long, or by hand", *_WEBHOOK, "because", _BY),
        _E.WEBHOOK_ENABLED: ("events are sent to a URL again, with what waited", *_WEBHOOK, _BY),
        _E.WEBHOOK_REPLAYED: ("what happened after an event is sent to a URL again", *_WEBHOOK, "after", "events", _BY),
        _E.WEBHOOK_RESENT: ("an event, or all dead letters, are sent to a URL again", *_WEBHOOK, "seq", "events", _BY),
        _E.WEBHOOK_REMOVED: ("nothing is sent to a URL any more", *_WEBHOOK, _BY),
        _E.ATTACHMENT_FILED: ("an attachment was filed to a record", "attachment", "record", "name", "size", _BY),
        _E.ATTACHMENT_REMOVED: ("somebody took an attachment off its record", "attachment", "record", "name", _BY),
        _E.STORAGE_FULL: ("attachments are over the limit, and no longer filed", "limit", "used"),
        _E.NOTE_ADDED: ("somebody wrote a note on a mail", "note", "text", _BY),
        _E.TASK_REQUESTED: ("somebody asks the CRM for a follow-up", "task", "text", "due_at", _BY),
        _E.MOVE_REQUESTED: ("a user wants a mail in a folder of their mailbox", "folder", "for", _BY),
        _E.SHARING_CHANGED: ("who sees whose mail changed", "sharing", "domains", "of", _BY),
    }
)
"""Type → what happened, and the names that its data may have; "" and what does not apply is left out."""
