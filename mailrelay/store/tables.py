"""The schema, as SQLAlchemy tables.

Times are integer microseconds since 1970 (`clock.to_micros`); ids are text; JSON columns hold what `store.rows` makes of our
dataclasses. Every row belongs to an organisation. Rows are not deleted: they reach an end that says why (K8).
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json = JSON().with_variant(JSONB(), "postgresql")
Serial = BigInteger().with_variant(Integer(), "sqlite")  # only INTEGER is SQLite's own row id


# Queries use these very words: SQLite takes a partial index only for the condition that it was made with.
ARRIVALS_IN_FLIGHT = text("state IN ('accepted', 'working', 'unresolved')")
HELD_UNTOLD = text("state = 'held' AND job = '' AND notice = '' AND noticed = ''")
DELIVERIES_IN_FLIGHT = text("state IN ('scheduled', 'held', 'queued', 'sending')")
DELIVERIES_DEFERRED = text("state = 'queued' AND attempts > 0")
DELIVERIES_NOT_JUST_SENT = text("state IN ('delivered', 'bounced', 'expired', 'failed', 'suppressed', 'cancelled')")
DELIVERIES_WAITING = text("state IN ('queued', 'scheduled')")
CALLS_WAITING = text("state = 'waiting'")
CALLS_UNDER_WAY = text("state = 'calling'")
CALLS_LEFT = text("state IN ('behind', 'waiting', 'calling')")
ATTACHMENTS_WAITING = text("state = 'waiting'")
ATTACHMENTS_LEFT_OUT = text("state = 'full'")
WEBHOOKS_AWAKE = text("active AND removed_at IS NULL")
EVENTS_OF_USERS = text("\"user\" <> ''")
EVENTS_OF_RECORDS = text("record <> ''")


def _partial(name: str, *columns: str | Column[object], where: str, unique: bool = False) -> Index:
    """An index over the few rows that are in flight, so that its size does not grow with history."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


organisation = Table(
    "organisation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("settings", Json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

organisation_domain = Table(
    "organisation_domain",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("org", Text, ForeignKey("organisation.id"), nullable=False, index=True),
    Column("proved_at", BigInteger),  # DKIM, SPF and DMARC seen in DNS (O2); None until then
    Column("proof", Text, nullable=False, server_default=""),  # what was last seen, in words
)

exclusion = Table(
    "exclusion",
    metadata,
    Column("org", Text, ForeignKey("organisation.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("org", "kind", "value"),
)

user = Table(
    "mail_user",  # USER is a reserved word in SQL
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, ForeignKey("organisation.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("settings", Json, nullable=False),
    Column("password", Text),  # salted scrypt of the submission password; None: may not submit over SMTP
    Column("created_at", BigInteger, nullable=False),
    Column(
        "confirmed", Boolean, nullable=False, server_default=text("true")
    ),  # counts for the quota of single mail (O6)
    Column("sharing", Text, nullable=False, server_default=""),  # I16; "" is as the organisation has it
)

user_address = Table(
    "user_address",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("address", Text, nullable=False),  # as written, `local@domain`
    Column("domain", Text, nullable=False),
    Column("user", Text, ForeignKey("mail_user.id"), nullable=False, index=True),
    Column("is_primary", Boolean, nullable=False),
    Column("position", Integer, nullable=False),
    PrimaryKeyConstraint("org", "key"),
    Index("ix_user_address_key", "key"),
)

dropbox = Table(
    "dropbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, ForeignKey("organisation.id"), nullable=False),
    Column("user", Text, ForeignKey("mail_user.id"), nullable=False, index=True),
    Column("token", Text, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("valid_until", BigInteger),
    Column("last_used_at", BigInteger),
)

shared_record = Table(  # records whose mail a user shares, where the user's sharing is custom (I16)
    "shared_record",
    metadata,
    Column("org", Text, nullable=False),
    Column("user", Text, ForeignKey("mail_user.id"), nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    PrimaryKeyConstraint("org", "user", "module", "record"),
)

unshared_domain = Table(  # domains whose mail is not shared (I16)
    "unshared_domain",
    metadata,
    Column("org", Text, ForeignKey("organisation.id"), nullable=False),
    Column("user", Text, nullable=False),  # of whose mail; "" is everybody's
    Column("domain", Text, nullable=False),
    PrimaryKeyConstraint("org", "user", "domain"),
)

api_token = Table(
    "api_token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, ForeignKey("organisation.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False, unique=True),
    Column("rights", Json, nullable=False),
    Column("user", Text, ForeignKey("mail_user.id")),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("used_at", BigInteger),  # to the hour or so: not each request writes
)

module = Table(
    "module",
    metadata,
    Column("org", Text, ForeignKey("organisation.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("custom", Boolean, nullable=False),
    Column("address_fields", Json, nullable=False),
    Column("fields", Json, nullable=False, server_default="[]"),  # those that records are found by, with their types
    PrimaryKeyConstraint("org", "name"),
)

record = Table(
    "record",
    metadata,
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("owner", Text),
    Column("fields", Json, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "module", "id"),
    Index("ix_record_owner", "org", "module", "owner", "id"),
)

record_field = Table(  # values of the fields that records are found by, written with their record (K2)
    "record_field",
    metadata,
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("field", Text, nullable=False),  # `:name` is the record's own name
    Column("text", Text),  # folded; its beginning is what the index has
    Column("start", Text),
    Column("number", Double),  # of a boolean: 1 or 0
    Column("time", BigInteger),  # of a date: its midnight in UTC
    PrimaryKeyConstraint("org", "module", "record", "field"),
    _partial("ix_record_field_start", "org", "module", "field", "start", "record", where="start IS NOT NULL"),
    _partial("ix_record_field_value", "org", "module", "field", "record", "start", where="start IS NOT NULL"),
    _partial("ix_record_field_number", "org", "module", "field", "number", "record", where="number IS NOT NULL"),
    _partial("ix_record_field_time", "org", "module", "field", "time", "record", where="time IS NOT NULL"),
)

record_address = Table(
    "record_address",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("field", Text, nullable=False),
    Column("kind", Text, nullable=False),  # … and `matched`: as the module's field says
    Column("matched", Boolean, nullable=False),
    Column("address", Text, nullable=False),
    Column("domain", Text, nullable=False),
    PrimaryKeyConstraint("org", "key", "module", "record", "field"),
    Index("ix_record_address_record", "org", "module", "record"),
    Index("ix_record_address_domain", "org", "module", "domain"),
)

record_link = Table(
    "record_link",
    metadata,
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("to_module", Text, nullable=False),
    Column("to_record", Text, nullable=False),
    PrimaryKeyConstraint("org", "module", "record", "role", "to_module", "to_record"),
    Index("ix_record_link_to", "org", "to_module", "to_record"),
)

created_address = Table(  # I6: one record for one new address, whoever is first
    "created_address",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "key"),
)

body = Table(  # small bodies, by digest; larger ones are files of the blob store
    "body",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

arrival = Table(
    "arrival",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("envelope", Json),
    Column("target", Json),
    Column("peer", Json),
    Column("digest", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lease_node", Text),
    Column("lease_until", BigInteger),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("message", Text),
    Column("reason", Text, nullable=False, server_default=""),
    Column("failure", Text, nullable=False, server_default=""),  # traceback of our last failure on it
    Column("ended_at", BigInteger),
    Index("ix_arrival_org", "org", "id"),
    Index("ix_arrival_message", "message"),
    _partial("ix_arrival_waiting", "due_at", where="state = 'accepted'"),
    _partial("ix_arrival_working", "lease_until", where="state = 'working'"),
    _partial("ix_arrival_in_flight", "channel", where=ARRIVALS_IN_FLIGHT.text),
)

message = Table(
    "message",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("queue_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),  # "" where the mail had none
    Column("digest", Text, nullable=False),  # of the content (I8), not of the bytes
    Column("raw_digest", Text, nullable=False),
    Column("raw_size", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("sent_at", BigInteger),
    Column("received_at", BigInteger, nullable=False),
    Column("parents", Json, nullable=False),
    Column("auth", Json),
    Column("part", Integer, nullable=False),
    Column("automatic", Text, nullable=False),
    Column("attachments", Json, nullable=False),
    Column("kind", Text, nullable=False, server_default="normal"),
    Column("reply", Text, nullable=False, server_default=""),  # I12: the new text of a reply-mail
    UniqueConstraint("org", "message_id", "digest"),
    Index("ix_message_org_received", "org", "received_at", "id"),
    Index("ix_message_raw", "raw_digest"),
)

participant = Table(
    "participant",
    metadata,
    Column("message", Text, ForeignKey("message.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("org", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("local", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("name", Text, nullable=False),
    PrimaryKeyConstraint("message", "position"),
    Index("ix_participant_key", "org", "key"),
)

message_source = Table(  # every way by which a message reached us (I8)
    "message_source",
    metadata,
    Column("message", Text, ForeignKey("message.id"), nullable=False),
    Column("arrival", Text, nullable=False),
    Column("org", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("user", Text),
    Column("at", BigInteger, nullable=False),
    # The message's own, so that the newest mail of a few users is found without looking at that of all others (I16).
    Column("received_at", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("message", "arrival"),
    Index("ix_message_source_arrival", "arrival"),
    Index("ix_message_source_user", "org", "user", "received_at", "message"),
)

filing = Table(  # what the rules said, hits and misses, for each arrival of a message (I9)
    "filing",
    metadata,
    Column("message", Text, ForeignKey("message.id"), nullable=False),
    Column("arrival", Text, nullable=False),
    Column("org", Text, nullable=False),
    Column("decided_at", BigInteger, nullable=False),
    Column("disposition", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("explanation", Text, nullable=False),
    Column("findings", Json, nullable=False),
    PrimaryKeyConstraint("message", "arrival"),
)

link = Table(
    "link",
    metadata,
    Column("message", Text, ForeignKey("message.id"), nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("org", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("by", Text, nullable=False),  # "rule" or the user who did it
    Column("guess", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
    Column("removed_by", Text),
    Column(
        "key", Text, nullable=False, server_default=""
    ),  # of the record's address that made it, "" where none did (I16)
    Column(
        "secret", Text, nullable=False, server_default=""
    ),  # the arrival whose Bcc alone tells of it, "" is none (I16)
    PrimaryKeyConstraint("message", "module", "record"),
    Index("ix_link_record", "org", "module", "record", "message"),
)

unresolved = Table(
    "unresolved",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("arrival", Text, nullable=False),
    Column("message", Text),
    Column("user", Text),
    Column("reason", Text, nullable=False),
    Column("explanation", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("resolved_at", BigInteger),
    Column("resolved_by", Text),
    Column("resolution", Text, nullable=False, server_default=""),
    Index("ix_unresolved_arrival", "arrival"),
    _partial("ix_unresolved_open", "org", "id", where="resolved_at IS NULL"),
)

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
    _partial("ix_delivery_blamed", "org", "ended_at", where="fault = 'sender'"),
    _partial("ix_delivery_job", "org", "job", "state", "id", where="job <> ''"),
    _partial("ix_delivery_held", "org", "held_by", "id", where="state = 'held'"),
    # R3: each of these is a way into the queue by which a page of it is found at once, however much waits.
    _partial("ix_delivery_by_state", "org", "state", "id", where=DELIVERIES_IN_FLIGHT.text),
    _partial("ix_delivery_deferred", "org", "id", where=DELIVERIES_DEFERRED.text),
    # Most end as sent, and have no entry here.
    _partial("ix_delivery_ended", "org", "state", "id", where=DELIVERIES_NOT_JUST_SENT.text),
    _partial("ix_delivery_by_destination", "org", "destination", "id", where=DELIVERIES_IN_FLIGHT.text),
    _partial("ix_delivery_by_sender", "org", "mail_from", "id", where=DELIVERIES_IN_FLIGHT.text),
    _partial("ix_delivery_by_sender_domain", "org", "sender_domain", "id", where=DELIVERIES_IN_FLIGHT.text),
    _partial("ix_delivery_held_untold", "created_at", "id", where=HELD_UNTOLD.text),
    _partial("ix_delivery_lost", "org", "recipient_key", "ended_at", where="state IN ('bounced', 'expired')"),
    _partial("ix_delivery_notice", "queue_id", where="notice <> ''"),
    Index("ix_delivery_queue_id", "queue_id"),
    Index("ix_delivery_org", "org", "id"),
    _partial("ix_delivery_waiting", "destination", "due_at", where=DELIVERIES_WAITING.text),
    _partial("ix_delivery_scheduled", "org", "due_at", "queue_id", where="state = 'scheduled'"),
    _partial("ix_delivery_sending", "lease_node", where="state = 'sending'"),
    _partial("ix_delivery_in_flight", "channel", "state", "attempts", "due_at", where=DELIVERIES_IN_FLIGHT.text),
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
    _partial("ix_destination_parked", "parked_by", "name", where="parked_by <> ''"),
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

event = (
    Table(  # the journal: numbered for each organisation, without a gap, in the order in which transactions end (K9)
        "event",
        metadata,
        Column("org", Text, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("type", Text, nullable=False),
        Column("queue_id", Text, nullable=False, server_default=""),
        Column("message", Text, nullable=False, server_default=""),
        Column("delivery", Text, nullable=False, server_default=""),
        Column("data", Json, nullable=False),
        Column("user", Text, nullable=False, server_default=""),  # whose notice it is, "" nobody's (I19)
        Column("record", Text, nullable=False, server_default=""),  # such as contact/17, where it is about one
        PrimaryKeyConstraint("org", "seq"),
        Index("ix_event_message", "message", "seq"),
        Index("ix_event_queue_id", "queue_id", "seq"),
        _partial("ix_event_user", "org", "user", "seq", where=EVENTS_OF_USERS.text),
        _partial("ix_event_record", "org", "record", "seq", where=EVENTS_OF_RECORDS.text),
    )
)

event_counter = Table(  # the number of an organisation's newest event
    "event_counter",
    metadata,
    Column("org", Text, primary_key=True),
    Column("last", BigInteger, nullable=False),
)

follower = Table(  # how far a reader of the journal has come: webhooks, the projection of mail facts
    "follower",
    metadata,
    Column("name", Text, nullable=False),
    Column("org", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", "org"),
)

notice_read = Table(  # of a user's notices, one by one; those up to a number are in `follower` (I19)
    "notice_read",
    metadata,
    Column("org", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "user", "seq"),
)

note = Table(  # what a user writes down about a mail (I19)
    "note",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_note_message", "message", "id"),
)

task = Table(  # a follow-up that a user asks the CRM for (I19)
    "task",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("due_at", BigInteger),
    Column("at", BigInteger, nullable=False),
    Index("ix_task_message", "message", "id"),
)

folder_wish = Table(  # where a user wants a mail in their own mailbox (I19)
    "folder_wish",
    metadata,
    Column("org", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("message", "user"),
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

former_address = Table(  # addresses that records have had, so that one that comes back is not taken for a new one (I11)
    "former_address",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("until", BigInteger, nullable=False),  # when the record lost it last
    PrimaryKeyConstraint("org", "key", "module", "record"),
    Index("ix_former_address_record", "org", "module", "record"),
)

unsubscription = Table(  # who was counted as leaving what, so that nobody is counted twice (O18)
    "unsubscription",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "key", "scope", "name"),
)

suppression = Table(
    "suppression",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("by", Text, nullable=False, server_default=""),  # the user who did it, or what did: a delivery, a report
    Column("lifted_at", BigInteger),
    Column("lifted_by", Text),
    Column("note", Text, nullable=False, server_default=""),  # why it was lifted
    Column("list", Text, nullable=False, server_default=""),  # "": all mail; else mass mail of this list only (O15)
    PrimaryKeyConstraint("org", "key", "since"),
    _partial("ix_suppression_holding", "org", "key", where="lifted_at IS NULL"),
    _partial("uq_suppression_standing", "org", "key", "reason", "list", where="lifted_at IS NULL", unique=True),
    _partial("ix_suppression_list", "org", "list", "key", "since", where="list <> ''"),
)

mailing_list = Table(  # O15: what people can unsubscribe from one by one
    "mailing_list",
    metadata,
    Column("org", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "name"),
)

consent = Table(  # O9: what persons said to individual tracking; the newest holds, all are kept as proof
    "consent",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),  # of the address
    Column("at", BigInteger, nullable=False),
    Column("given", Boolean, nullable=False),
    Column("by", Text, nullable=False),  # who recorded it
    Column("evidence", Text, nullable=False),  # which text, where and how
    PrimaryKeyConstraint("org", "key", "at"),
)

erased = Table(  # T13: persons who were erased, by the hash of their address
    "erased",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # nothing that is done with mail of before is recorded
    Column("by", Text, nullable=False),
    PrimaryKeyConstraint("org", "key"),
)

absence = Table(  # I25: what an address's newest automatic reply says
    "absence",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("until_at", BigInteger),  # the beginning of the first day back, where the organisation is
    Column("since_at", BigInteger),
    Column("gone", Boolean, nullable=False),
    Column("noted_at", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    Column("instead", Json, nullable=False),
    PrimaryKeyConstraint("org", "key"),
)

successor = Table(  # I25: who was proposed for whom, once, and by which entry of the unresolved list
    "successor",
    metadata,
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("instead", Text, nullable=False),  # the successor's address, by key
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("entry", Text, nullable=False),
    PrimaryKeyConstraint("org", "key", "instead"),
    Index("ix_successor_entry", "entry"),
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

dkim_key = Table(
    "dkim_key",
    metadata,
    Column("domain", Text, nullable=False),
    Column("selector", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("private_pem", Text, nullable=False),
    Column("public_b64", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("active_from", BigInteger, nullable=False),
    Column("retired_at", BigInteger),  # no longer signs; its DNS line stays until mail in flight is verified
    PrimaryKeyConstraint("domain", "selector"),
)

feedback = Table(  # what a mail that came back says of each recipient (I10)
    "feedback",
    metadata,
    Column("message", Text, ForeignKey("message.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("org", Text, nullable=False),
    Column("arrival", Text, nullable=False),
    Column("delivery", Text),
    Column("kind", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("recipient_key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("code", Integer),
    Column("diagnostic", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("hard", Boolean, nullable=False),
    Column("fault", Text, nullable=False),
    Column("tie", Text, nullable=False),
    Column("believed", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("message", "position"),
    Index("ix_feedback_delivery", "delivery"),
    Index("ix_feedback_recipient", "org", "recipient_key", "at"),
    Index("ix_feedback_org", "org", "at"),
)

suspension = Table(  # a job or a sending domain whose mail is held until somebody resumes it (O17, O18)
    "suspension",
    metadata,
    Column("org", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("resumed_at", BigInteger),
    Column("resumed_by", Text),
    Column("before", Json),  # what its tally said of the day of its resumption until then, which no brake counts again
    PrimaryKeyConstraint("org", "scope", "name", "since"),
    _partial("ix_suspension_standing", "org", "scope", "name", where="resumed_at IS NULL"),
)

tally = Table(  # what became of the mail of a job or a sending domain, by day (O18)
    "tally",
    metadata,
    Column("org", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("domain", Text, nullable=False),  # of a job: the domain that counts the same once more, or ""
    Column("day", Integer, nullable=False),  # days since 1970, UTC
    Column("since", BigInteger, nullable=False),  # when it was begun: what was sent before is not in it
    Column("sent", BigInteger, nullable=False, server_default="0"),
    Column("refused", BigInteger, nullable=False, server_default="0"),  # of the bounces, those that were never sent
    Column("hard", BigInteger, nullable=False, server_default="0"),
    Column("soft", BigInteger, nullable=False, server_default="0"),
    Column("complaints", BigInteger, nullable=False, server_default="0"),
    Column("unsubscribed", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("org", "scope", "name", "domain", "day"),
)

tally_before = Table(  # what a job's tally with a domain said of the day of the domain's last resumption until then
    "tally_before",
    metadata,
    Column("org", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("day", Integer, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("hard", BigInteger, nullable=False),
    Column("soft", BigInteger, nullable=False),
    Column("complaints", BigInteger, nullable=False),
    Column("unsubscribed", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "domain", "job", "day"),
)

warning = Table(  # brakes that were said to be near, so that it is said once a day (O18)
    "warning",
    metadata,
    Column("org", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("measure", Text, nullable=False),
    Column("day", Integer, nullable=False),
    PrimaryKeyConstraint("org", "scope", "name", "measure", "day"),
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

answer = Table(  # automatic answers that were sent, so that nobody gets two within the window (RFC 3834 §2)
    "answer",
    metadata,
    Column("org", Text, nullable=False),
    Column("answerer", Text, nullable=False),  # key of the address that answers
    Column("key", Text, nullable=False),  # of the address that is answered
    Column("at", BigInteger, nullable=False),
    Column("message", Text, nullable=False),  # that was answered
    PrimaryKeyConstraint("org", "answerer", "key"),
    Index("ix_answer_at", "org", "at"),
)

tls_count = (
    Table(  # sessions of a day that ended alike, so that destinations can be told how TLS with them went (RFC 8460)
        "tls_count",
        metadata,
        Column("day", Integer, nullable=False),  # days since 1970, UTC
        Column("destination", Text, nullable=False),
        Column("key", Text, nullable=False),  # digest of the result
        Column("result", Json, nullable=False),
        Column("sessions", BigInteger, nullable=False),
        PrimaryKeyConstraint("day", "destination", "key"),
    )
)

tls_report = Table(  # the reports of a day: one row, one try
    "tls_report",
    metadata,
    Column("day", Integer, nullable=False),
    Column("destination", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Column("sent_to", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("day", "destination"),
)

quota = Table(  # recipients that an organisation sent to on a day, where it is (O6, O7)
    "quota",
    metadata,
    Column("org", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("day", Integer, nullable=False),  # days since 1970, in the organisation's time zone
    Column("used", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "kind", "day"),
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
    _partial("ix_operation_standing", "id", where="ended_at IS NULL"),
)

tls_memory = Table(  # what a host's TLS was like the last time, and why it was no better
    "tls_memory",
    metadata,
    Column("host", Text, nullable=False),
    Column("ip", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("level", Text, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("look_at", BigInteger),
    PrimaryKeyConstraint("host", "ip", "port"),
    Index("ix_tls_memory_seen_at", "seen_at"),
)

sts_policy = Table(  # MTA-STS policies that were fetched (RFC 8461 §3.3)
    "sts_policy",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("policy_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("max_age", BigInteger, nullable=False),
    Column("mx", Json, nullable=False),
    Column("fetched_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_sts_policy_expires_at", "expires_at"),
)

smart_host = Table(  # organisations' own next hops, for all mail of a user or of a sender domain (O11)
    "smart_host",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("scope", Text, nullable=False),  # user or domain
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("tls", Text, nullable=False),
    Column("auth", Text, nullable=False),
    Column("username", Text, nullable=False),
    Column("token_url", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("token_scope", Text, nullable=False),
    Column("secret", Text, nullable=False),  # sealed; "" once it is removed
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("trouble", Text, nullable=False, server_default=""),  # what it said when it refused us (N11)
    Column("trouble_since", BigInteger),
    Column("removed_at", BigInteger),
    Index("ix_smart_host_org", "org", "id"),
    _partial("uq_smart_host_standing", "org", "scope", "name", where="removed_at IS NULL", unique=True),
)

hit = (
    Table(  # every load of a pixel and every link that was followed, as it came, and what it was judged to be (O9, K1)
        "hit",
        metadata,
        Column("id", Text, primary_key=True),  # made when it came, so that one that is read twice is kept once
        Column("org", Text, nullable=False),
        Column("delivery", Text, nullable=False),
        Column("message", Text, nullable=False),
        Column("kind", Text, nullable=False),  # open, click or decoy
        Column("link", Integer, nullable=False),  # which link of the mail; 0 of an open
        Column("url", Text, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("ip", Text, nullable=False),
        Column("agent", Text, nullable=False),
        Column("method", Text, nullable=False),
        Column("headers", Json, nullable=False),  # the few that tell people from machines
        Column("by", Text, nullable=False),  # person, machine or unknown
        Column("reasons", Json, nullable=False),
        Column("rules", Integer, nullable=False),  # the version of the rules that said so
        Index("ix_hit_delivery", "delivery", "at", "id"),
        Index("ix_hit_message", "message", "at", "id"),
    )
)

hit_batch = Table(  # batches of hits that were taken and may come again: the process may die before it hears of it
    "hit_batch",
    metadata,
    Column("id", Text, primary_key=True),
)

engagement = Table(  # what the hits of a delivery come to; made of them again whenever one is judged otherwise (K1)
    "engagement",
    metadata,
    Column("delivery", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("opens", Integer, nullable=False, server_default="0"),  # by persons, as the times
    Column("first_opened_at", BigInteger),
    Column("last_opened_at", BigInteger),
    Column("clicks", Integer, nullable=False, server_default="0"),
    Column("first_clicked_at", BigInteger),
    Column("last_clicked_at", BigInteger),
    Column("machine_opens", Integer, nullable=False, server_default="0"),
    Column("machine_clicks", Integer, nullable=False, server_default="0"),
    Column("unknown_opens", Integer, nullable=False, server_default="0"),
    Column("unknown_clicks", Integer, nullable=False, server_default="0"),
    Column("last_hit_at", BigInteger, nullable=False),
    Index("ix_engagement_message", "message"),
    Index("ix_engagement_org", "org", "delivery"),
)

link_hit = Table(  # persons' clicks by link
    "link_hit",
    metadata,
    Column("delivery", Text, nullable=False),
    Column("link", Integer, nullable=False),
    Column("org", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("clicks", Integer, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("delivery", "link"),
    Index("ix_link_hit_message", "message"),
)

aggregate_hit = Table(  # mode aggregate: how often, and nothing that tells of anybody (O9)
    "aggregate_hit",
    metadata,
    Column("message", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("link", Integer, nullable=False),
    Column("by", Text, nullable=False),
    Column("day", Integer, nullable=False),  # days since 1970, UTC
    Column("org", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("hits", BigInteger, nullable=False),
    PrimaryKeyConstraint("message", "kind", "link", "by", "day"),
)

_FACT_TIMES = (
    "sent received delivered bounced deferred failed scheduled last_opened last_clicked replied complained unsubscribed".split()  # noqa: SIM905
)


def _fact_index(name: str) -> Index:
    """The mail of a module by when that happened to it; the rest so that most questions are answered by the index alone."""
    columns = ("org", "module", f"{name}_at", "record", "flags", "author")
    return _partial(f"ix_mail_fact_{name}", *columns, where=f"{name}_at IS NOT NULL")


mail_fact = Table(  # what became of each mail, by the records that it is on; made of the journal, and can be made again (K2)
    "mail_fact",
    metadata,
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("delivery", Text, nullable=False),  # "" of what came in, and of what somebody sent by other means
    Column("at", BigInteger, nullable=False),  # the mail's own time
    Column("key", Text, nullable=False),  # the link's: it shows while the record has this address
    Column("flags", Integer, nullable=False),  # what is true of it at all, see `store.mail_facts`
    Column("scheduled_at", BigInteger),
    Column("sent_at", BigInteger),
    Column("received_at", BigInteger),
    Column("delivered_at", BigInteger),  # a success notice said so
    Column("bounced_at", BigInteger),
    Column("deferred_at", BigInteger),
    Column("failed_at", BigInteger),
    Column("opens", Integer, nullable=False),
    Column("first_opened_at", BigInteger),
    Column("last_opened_at", BigInteger),
    Column("clicks", Integer, nullable=False),
    Column("first_clicked_at", BigInteger),
    Column("last_clicked_at", BigInteger),
    Column("replied_at", BigInteger),
    Column("complained_at", BigInteger),
    Column("unsubscribed_at", BigInteger),
    # Whose it is to see: the delivery's author, or a user whom the mail came to (a row for each); "": as the mail is.
    Column("author", Text, nullable=False),
    PrimaryKeyConstraint("org", "module", "record", "message", "delivery", "author"),
    Index("ix_mail_fact_message", "message", "delivery"),
    Index("ix_mail_fact_record", "org", "module", "record", "at", "flags", "author"),
    Index("ix_mail_fact_author", "org", "module", "author", "record", "flags"),  # one person's mail, by record
    *(_fact_index(name) for name in _FACT_TIMES),
)

mail_fact_again = Table(  # records whose addresses are others now, so that the facts of their mail are made anew (K2)
    "mail_fact_again",
    metadata,
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # when they changed
    Column("after", Text, nullable=False, server_default=""),  # the last message that has been
    PrimaryKeyConstraint("org", "module", "record"),
)

organisation_address = Table(  # shared addresses that receive and send: support@ (I13)
    "organisation_address",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("settings", Json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("removed_at", BigInteger),
    Column("removed_by", Text, nullable=False, server_default=""),
    Index("ix_organisation_address_org", "org", "id"),
    _partial("ix_organisation_address_domain", "domain", where="removed_at IS NULL"),
    _partial("uq_organisation_address_standing", "key", where="removed_at IS NULL", unique=True),
)

filing_address = Table(  # signed addresses for one record each, which people call record addresses (I21)
    "filing_address",
    metadata,
    Column("org", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("until", BigInteger),  # the end that is signed into it
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("valid_until", BigInteger),  # once it was regenerated or revoked
    Column("ended_by", Text, nullable=False, server_default=""),
    Column("ended_at", BigInteger),  # when somebody said so: what doors have not heard of yet
    PrimaryKeyConstraint("org", "number"),
    Index("ix_filing_address_record", "org", "module", "record", "number"),
    _partial("ix_filing_address_ended", "ended_at", where="ended_at IS NOT NULL"),
)

address_use = Table(  # who writes to a secret address: a dropbox or a record address (I21)
    "address_use",
    metadata,
    Column("org", Text, nullable=False),
    Column("place", Text, nullable=False),  # a dropbox's id, or `r` and the number of a record address
    Column("key", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("org", "place", "key"),
)

webhook = Table(  # where an organisation's events are sent, and how far in the journal that is (R6)
    "webhook",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("user", Text, nullable=False),  # whose notices it gets alone; "" every event
    Column("url", Text, nullable=False),
    Column("types", Json, nullable=False),  # of events; none is all
    Column("description", Text, nullable=False),
    Column("secrets", Text, nullable=False),  # sealed; "" once it is removed
    Column("before_until", BigInteger),  # until when the secret before signs as well
    Column("active", Boolean, nullable=False),
    Column("because", Text, nullable=False),  # why it is not active
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
    Column("seq", BigInteger, nullable=False),  # the last event that was looked at for it
    Column("waiting", Integer, nullable=False),  # its calls that have not ended
    Column("wake_at", BigInteger),  # when its next call is due; none is never
    Column("paused_until", BigInteger, nullable=False),  # its receiver asked for it, or took nothing for a while
    Column("failures", Integer, nullable=False),  # in a row
    Column("failing_since", BigInteger),
    Column("succeeded_at", BigInteger),
    Column("failed_at", BigInteger),
    Column("failure", Text, nullable=False),  # what went wrong the last time
    Column("token", Text, nullable=False),  # that answers for it: while it is valid; "" where the operator does
    Index("ix_webhook_org", "org", "id"),
    _partial("ix_webhook_token", "token", where="token <> '' AND removed_at IS NULL"),
    _partial("ix_webhook_awake", "wake_at", "org", where=WEBHOOKS_AWAKE.text),
)

webhook_call = Table(  # one event on its way to one webhook
    "webhook_call",
    metadata,
    Column("webhook", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("org", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("chain", Text, nullable=False),  # those of a chain go one after the other
    Column("state", Text, nullable=False),  # behind (another of its chain), waiting, calling; taken or dead
    Column("queued_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("status", Integer, nullable=False),  # of the last answer; 0 where there was none
    Column("failure", Text, nullable=False),
    Column("said", Text, nullable=False),  # the beginning of the last answer that was no success
    Column("lease_node", Text),
    Column("lease_until", BigInteger),
    Column("fence", Integer, nullable=False),
    Column("ended_at", BigInteger),
    Column("again", Boolean, nullable=False),  # while calling: to be called once more when that has ended
    PrimaryKeyConstraint("webhook", "seq"),
    _partial("ix_webhook_call_due", "webhook", "due_at", where=CALLS_WAITING.text),
    _partial("ix_webhook_call_chain", "webhook", "chain", "seq", where=CALLS_LEFT.text),
    _partial("ix_webhook_call_oldest", "queued_at", where=CALLS_LEFT.text),
    _partial("ix_webhook_call_lease", "lease_until", "lease_node", where=CALLS_UNDER_WAY.text),
    Index("ix_webhook_call_state", "webhook", "state", "seq"),
    Index("ix_webhook_call_ended_at", "ended_at"),
)

record_attachment = Table(  # files of records: of the mail on them, or put there (I17)
    "record_attachment",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("message", Text, nullable=False),  # "" for one that was put there
    Column("part", Text, nullable=False),  # of the mail; of one that was put there its own id
    Column("name", Text, nullable=False),  # data, never a path (P04)
    Column("type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("place", Text, nullable=False),  # where its bytes are, or will be: folder or store
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("state", Text, nullable=False),  # waiting, filed, full; removed
    Column("counted", Boolean, nullable=False),  # it holds its content, which cannot go meanwhile
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text, nullable=False),  # why it waits
    Column("removed_at", BigInteger),
    Column("removed_by", Text),
    # One row for a file of a mail on a record for ever: what somebody removed does not come back.
    UniqueConstraint("org", "module", "record", "message", "part"),
    Index("ix_record_attachment_record", "org", "module", "record", "id"),
    _partial("ix_record_attachment_due", "due_at", "id", where=ATTACHMENTS_WAITING.text),
    _partial("ix_record_attachment_waiting", "org", "at", where=ATTACHMENTS_WAITING.text),
    _partial("ix_record_attachment_full", "org", "id", where=ATTACHMENTS_LEFT_OUT.text),
)

content = Table(  # the bytes of attachments, each once for an organisation, and how many hold them (I17)
    "content",
    metadata,
    Column("org", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("place", Text, nullable=False),
    Column("generation", Integer, nullable=False),  # part of its name, so that what is removed is never what came again
    Column("holders", Integer, nullable=False),
    Column("kept", Boolean, nullable=False),  # it is there
    PrimaryKeyConstraint("org", "digest"),
)

content_removal = Table(  # contents that nobody holds, to be taken away from where they are
    "content_removal",
    metadata,
    Column("place", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    PrimaryKeyConstraint("place", "name"),
    Index("ix_content_removal_due_at", "due_at"),
)

storage = Table(  # what an organisation's contents take, together
    "storage",
    metadata,
    Column("org", Text, primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("contents", BigInteger, nullable=False),
    Column("full_at", BigInteger),  # since when something is not filed for want of room
)
