"""Mail that goes out: deliveries and their attempts, when it goes, who works on it, and what people do to the queue."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, PrimaryKeyConstraint, Table, Text, text

from mailrelay.store.tables.base import Json, metadata, partial

# Queries use these very words: SQLite takes a partial index only for the condition that it was made with.
HELD_UNTOLD = text("state = 'held' AND job = '' AND notice = '' AND noticed = ''")
DELIVERIES_IN_FLIGHT = text("state IN ('scheduled', 'held', 'queued', 'sending')")
DELIVERIES_DEFERRED = text("state = 'queued' AND attempts > 0")
DELIVERIES_NOT_JUST_SENT = text("state IN ('delivered', 'bounced', 'expired', 'failed', 'suppressed', 'cancelled')")
DELIVERIES_WAITING = text("state IN ('queued', 'scheduled')")

delivery = Table(
    "delivery",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("queue_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("mail_from", Text),  # the author's envelope sender, `local@domain`; None is <>
    Column("params", Json, nullable=False),
    Column("recipient", Json, nullable=False),
    Column("recipient_key", Text, nullable=False),
    Column("destination", Text, nullable=False),  # recipient's domain
    Column("state", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_reply", Text, nullable=False, server_default=""),
    Column("lease_node", Text),
    Column("lease_until", BigInteger),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("ended_at", BigInteger),
    Column("job", Text, nullable=False, server_default=""),  # what its author calls the mass of mail that it is part of
    Column("sender_domain", Text, nullable=False, server_default=""),  # of `mail_from`; "" for <>
    Column("held_by", Text, nullable=False, server_default=""),  # why it is held: a suspension, `scope:name`
    Column("held_at", BigInteger),  # since when it was last held by a suspension
    Column("category", Text, nullable=False, server_default=""),  # what its last bad answer means (I10)
    Column("hard", Boolean, nullable=False, server_default=text("false")),
    Column("fault", Text, nullable=False, server_default=""),
    Column("replied_at", BigInteger),
    Column("complained_at", BigInteger),
    Column("reported", Boolean, nullable=False, server_default=text("false")),  # it bounced by a report
    Column("notice", Text, nullable=False, server_default=""),  # the DSN that its author is still owed
    Column("noticed", Text, nullable=False, server_default=""),  # the last one that was queued for them
    Column("author", Text, nullable=False, server_default=""),  # the user who submitted it; "" for a notice of our own
    Column("scheduled_for", BigInteger),  # when its author wanted it to go (O5)
    Column("faults", Integer, nullable=False, server_default="0"),  # attempts that our own code failed or died in (Q03)
    Column("trace", Text, nullable=False, server_default=""),  # what it said when it failed last
    Column("opened_at", BigInteger),  # when a person opened it first (K1)
    Column("clicked_at", BigInteger),
    Column(
        "tracking", Text, nullable=False, server_default=""
    ),  # what its author asked for; "" as the organisation has it
    Column("tracked", Text, nullable=False, server_default=""),  # what became of its copy (O9): model.tracking.Tracked
    Column("list", Text, nullable=False, server_default=""),  # the mailing list that its job is sent to (O15)
    Column("delivered_at", BigInteger),  # when a notice said so: `ended_at` is when the next hop took it (K1)
    Index("ix_delivery_message", "message"),
    Index("ix_delivery_recipient", "org", "recipient_key", "id"),
    partial("ix_delivery_blamed", "org", "ended_at", where="fault = 'sender'"),
    partial("ix_delivery_job", "org", "job", "state", "id", where="job <> ''"),
    partial("ix_delivery_held", "org", "held_by", "id", where="state = 'held'"),
    # R3: each of these is a way into the queue by which a page of it is found at once, however much waits.
    partial("ix_delivery_by_state", "org", "state", "id", where=DELIVERIES_IN_FLIGHT.text),
    partial("ix_delivery_deferred", "org", "id", where=DELIVERIES_DEFERRED.text),
    # Most end as sent, and have no entry here.
    partial("ix_delivery_ended", "org", "state", "id", where=DELIVERIES_NOT_JUST_SENT.text),
    partial("ix_delivery_by_destination", "org", "destination", "id", where=DELIVERIES_IN_FLIGHT.text),
    partial("ix_delivery_by_sender", "org", "mail_from", "id", where=DELIVERIES_IN_FLIGHT.text),
    partial("ix_delivery_by_sender_domain", "org", "sender_domain", "id", where=DELIVERIES_IN_FLIGHT.text),
    partial("ix_delivery_held_untold", "created_at", "id", where=HELD_UNTOLD.text),
    partial("ix_delivery_lost", "org", "recipient_key", "ended_at", where="state IN ('bounced', 'expired')"),
    partial("ix_delivery_notice", "queue_id", where="notice <> ''"),
    Index("ix_delivery_queue_id", "queue_id"),
    Index("ix_delivery_org", "org", "id"),
    partial("ix_delivery_waiting", "destination", "due_at", where=DELIVERIES_WAITING.text),
    partial("ix_delivery_scheduled", "org", "due_at", "queue_id", where="state = 'scheduled'"),
    partial("ix_delivery_sending", "lease_node", where="state = 'sending'"),
    partial("ix_delivery_in_flight", "channel", "state", "attempts", "due_at", where=DELIVERIES_IN_FLIGHT.text),
)

destination = Table(  # recipient domains that have something waiting (O11)
    "destination",
    metadata,
    Column("name", Text, primary_key=True),
    Column("site", Text, nullable=False, server_default=""),  # the MX site or smart host, as last seen
    Column("wake_at", BigInteger, nullable=False),  # when it is looked at next
    Column("parked_until", BigInteger, nullable=False, server_default="0"),  # its way takes nothing before that
    Column("because", Text, nullable=False, server_default=""),  # why it is parked
    Column("parked_by", Text, nullable=False, server_default=""),  # the process that knows why
    Index("ix_destination_wake_at", "wake_at"),
    partial("ix_destination_parked", "parked_by", "name", where="parked_by <> ''"),
)

node = Table(  # processes that take work under a lease; `beat` grows while one lives
    "node",
    metadata,
    Column("name", Text, primary_key=True),
    Column("beat", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),  # when it last gave a sign of life, by its own clock; for people
)

attempt = Table(
    "attempt",
    metadata,
    Column("delivery", Text, ForeignKey("delivery.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("host", Text, nullable=False),
    Column("tls", Json),
    Column("outcome", Json),  # None: written before dialling, the end not yet known
    Column("source", Text, nullable=False, server_default=""),  # the egress source, "" for the system's own address
    Column("dotted", Boolean, nullable=False, server_default=text("false")),  # the final dot may have been sent (D11)
    PrimaryKeyConstraint("delivery", "number"),
)

schedule = Table(  # a mail that goes at a time: what its author wanted, through all its edits (O5)
    "schedule",
    metadata,
    Column("id", Text, primary_key=True),  # the queue id of its first content
    Column("org", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("queue_id", Text, nullable=False),  # of its content now
    Column("due_at", BigInteger, nullable=False),
    Column("zone", Text, nullable=False),  # IANA name: where its author said the time
    Column("preset", Text, nullable=False),
    Column("day", Integer, nullable=False),  # of the quota that it counts in
    Column("version", Integer, nullable=False),
    Column("hastened", Boolean, nullable=False),  # its author sent it now, whoever is away
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("counted", Boolean, nullable=False),  # its recipients are counted on that day
    Index("uq_schedule_queue_id", "queue_id", unique=True),
)

parking = Table(  # scheduled mail that waits for somebody who is away, once for each absence (I25)
    "parking",
    metadata,
    Column("delivery", Text, primary_key=True),
    Column("until_at", BigInteger, nullable=False),
    Column("parked_at", BigInteger, nullable=False),
)

operation = Table(  # somebody's control action on many deliveries, carried out piece by piece (R3)
    "operation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("control", Text, nullable=False),
    Column("selection", Json, nullable=False),
    Column("reason", Text, nullable=False),
    Column("again", Boolean, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("until", Text, nullable=False),  # the last delivery that there was: later mail is not touched
    Column("cursor", Text, nullable=False, server_default=""),
    Column("changed", BigInteger, nullable=False, server_default="0"),
    Column("left", Json, nullable=False),  # how many were left as they are, by what they were
    Column("under_way", Json, nullable=False),  # those in the middle of an attempt, looked at again when it has ended
    Column("ended_at", BigInteger),
    Column("stopped_by", Text, nullable=False, server_default=""),
    Index("ix_operation_org", "org", "id"),
    partial("ix_operation_standing", "id", where="ended_at IS NULL"),
)

relay_id = Table(  # what a relay called a mail in its 250, since some put it in the place of the Message-ID (I12)
    "relay_id",
    metadata,
    Column("org", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("delivery", Text, nullable=False),
    PrimaryKeyConstraint("org", "name", "delivery"),
    Index("ix_relay_id_delivery", "delivery"),
)

ledger = Table(  # K8: counted in the transaction that accepts or ends
    "ledger",
    metadata,
    Column("channel", Text, nullable=False),
    Column("thing", Text, nullable=False),  # "arrival" or "delivery"
    Column("accepted", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False),
    PrimaryKeyConstraint("channel", "thing"),
)

idempotency = Table(  # O19
    "idempotency",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request_sha256", Text, nullable=False),
    Column("queue_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column(
        "by", Text, nullable=False, server_default=""
    ),  # whose key it is; "" of an earlier release, which kept no more
    PrimaryKeyConstraint("org", "by", "key"),
)

given_answer = Table(  # to requests with an Idempotency-Key that made something
    "given_answer",
    metadata,
    Column("org", Text, nullable=False),
    Column("by", Text, nullable=False),  # whose key it is
    Column("key", Text, nullable=False),
    Column("request_sha256", Text, nullable=False),
    Column("status", Integer, nullable=False, server_default="0"),
    Column("body", Text, nullable=False, server_default=""),
    Column("location", Text, nullable=False, server_default=""),
    Column("etag", Text, nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "by", "key"),
    Index("ix_given_answer_created_at", "created_at"),
)
