"""Messages: stored once however they came (I8), with everyone in them and every way by which they reached us."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, bindparam, exists, or_, select, tuple_

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Unknown
from mailrelay.ids import Digest, MessageId, OrgId, QueueId, UserId
from mailrelay.mail.secret_address import secret_of
from mailrelay.model.address import Address
from mailrelay.model.envelope import Channel
from mailrelay.model.message import (
    AttachmentInfo,
    AuthVerdicts,
    BlobRef,
    Direction,
    Kind,
    Message,
    Participant,
    ParticipantRole,
)
from mailrelay.store import dropboxes, rows, visibility
from mailrelay.store.base import Tx, for_both
from mailrelay.store.tables import message, message_source, participant
from mailrelay.store.visibility import Viewer, readable, readable_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One way by which a message reached us, or left."""

    message: MessageId
    arrival: QueueId
    channel: Channel
    user: UserId | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of messages ended: newest first, by when they were received and then by id."""

    received_at: datetime
    id: MessageId


_INSERT = for_both(
    lambda insert: (
        insert(message).on_conflict_do_nothing(index_elements=["org", "message_id", "digest"]).returning(message.c.id)
    )
)
_ADD_SOURCE = for_both(
    lambda insert: (
        insert(message_source)
        .values(received_at=select(message.c.received_at).where(message.c.id == bindparam("of")).scalar_subquery())
        .on_conflict_do_nothing()
    )
)


def insert(tx: Tx, new: Message) -> bool:
    """Keep a message and its participants; False, and nothing is changed, when the same mail is there already (I8).

    The same is: Message-ID and content digest. A copy that is being written at this moment is waited for.
    """
    row = {
        "id": new.id,
        "org": new.org,
        "direction": new.direction,
        "queue_id": new.queue_id,
        "message_id": new.message_id or "",
        "digest": new.digest,
        "raw_digest": new.raw.digest,
        "raw_size": new.raw.size,
        "subject": new.subject,
        "sent_at": None if new.sent_at is None else to_micros(new.sent_at),
        "received_at": to_micros(new.received_at),
        "parents": list(new.parents),
        "auth": None if new.auth is None else rows.encode(new.auth),
        "part": new.part,
        "automatic": new.automatic,
        "attachments": rows.encode(new.attachments),
        "kind": new.kind,
        "reply": new.reply,
    }
    written = tx.execute(_INSERT[tx.dialect], row).first()
    if written is None:
        return False
    people = [
        {
            "message": new.id,
            "position": position,
            "org": new.org,
            "role": person.role,
            "key": person.address.key,
            "local": person.address.local,
            "domain": person.address.domain,
            "name": person.name,
        }
        for position, person in enumerate(new.participants)
    ]
    if people:
        tx.execute(participant.insert(), people)
    return True


def find(tx: Tx, org: OrgId, message_id: str | None, digest: Digest) -> MessageId | None:
    """The id of the stored message that is the same mail, or None (I8)."""
    found = tx.execute(
        select(message.c.id).where(
            message.c.org == org, message.c.message_id == (message_id or ""), message.c.digest == digest
        )
    ).scalar()
    return None if found is None else MessageId(found)


def find_many(
    tx: Tx, org: OrgId, mails: Sequence[tuple[str | None, Digest]]
) -> dict[tuple[str | None, Digest], MessageId]:
    """`find` for several mails at once: those that are stored, by Message-ID and content digest."""
    wanted = select(message.c.message_id, message.c.digest, message.c.id).where(
        message.c.org == org,
        message.c.message_id.in_(sorted({message_id or "" for message_id, _ in mails})),
        message.c.digest.in_(sorted({digest for _, digest in mails})),
    )
    return {(row.message_id or None, Digest(row.digest)): MessageId(row.id) for row in tx.execute(wanted)}


def get(tx: Tx, org: OrgId, id: MessageId) -> Message:  # noqa: A002
    """The message. Raises Unknown."""
    found = get_many(tx, org, [id])
    if not found:
        raise Unknown(f"There is no message {id}")
    return found[0]


def get_many(tx: Tx, org: OrgId, ids: Collection[MessageId]) -> tuple[Message, ...]:
    """Those of these messages that are there, in the order of `ids`."""
    found = {
        one.id: one for one in _read(tx, select(message).where(message.c.org == org, message.c.id.in_(sorted(ids))))
    }
    return tuple(found[one] for one in dict.fromkeys(ids) if one in found)


def as_seen(tx: Tx, viewer: Viewer, found: Sequence[Message]) -> tuple[Message, ...]:
    """Messages that the viewer may see, without the people in them whom they may not (I16).

    Those are the Bcc of a copy that is another's and not shared, and users' secret addresses, but their own.
    """
    if viewer.all:
        return tuple(found)
    hidden = [one.id for one in found if any(person.role is ParticipantRole.BCC for person in one.participants)]
    whole = visibility.of_first_copies(tx, viewer, hidden)
    locals_ = {person.address.local for one in found for person in one.participants}
    kept = {"", *(dropboxes.tokens(tx, viewer.org, viewer.user) if any(map(secret_of, locals_)) else ())}

    def shows(one: Message, person: Participant) -> bool:
        whose = person.role is not ParticipantRole.BCC or one.id in whole
        return whose and secret_of(person.address.local) in kept

    return tuple(
        replace(one, participants=tuple(person for person in one.participants if shows(one, person))) for one in found
    )


def list_messages(
    tx: Tx, org: OrgId, *, before: Place | None = None, since: datetime | None = None, limit: int = 100
) -> tuple[Message, ...]:
    """A page of all messages, newest first; `before` is where the page before ended, `since` the oldest that is wanted.

    What one viewer may see of them: `newest.seen_by`.
    """
    page = select(message).where(message.c.org == org)
    if before is not None:
        page = page.where(
            tuple_(message.c.received_at, message.c.id) < tuple_(to_micros(before.received_at), before.id)
        )
    if since is not None:
        page = page.where(message.c.received_at >= to_micros(since))
    return _read(tx, page.order_by(message.c.received_at.desc(), message.c.id.desc()).limit(limit))


def oldest_first(
    tx: Tx, org: OrgId, *, since: datetime, after: Place | None = None, limit: int = 100
) -> tuple[Message, ...]:
    """A page of messages received at or after `since`, oldest first: the order in which threads grew (for `rules rerun`)."""
    page = select(message).where(message.c.org == org, message.c.received_at >= to_micros(since))
    if after is not None:
        page = page.where(tuple_(message.c.received_at, message.c.id) > tuple_(to_micros(after.received_at), after.id))
    return _read(tx, page.order_by(message.c.received_at, message.c.id).limit(limit))


def of_address(
    tx: Tx, viewer: Viewer, key: str, *, before: MessageId | None = None, limit: int = 100
) -> tuple[Message, ...]:
    """A page of the messages in which an address (by key) stands and that the viewer may see, newest id first."""
    org = viewer.org
    stands = and_(participant.c.org == org, participant.c.key == key)
    if not viewer.all:
        source = message_source.alias()
        mail = message.alias()
        first = and_(source.c.message == mail.c.id, source.c.arrival == mail.c.queue_id)
        whole = exists().where(mail.c.id == participant.c.message, first, readable_source(viewer, source))
        stands = and_(stands, or_(participant.c.role != ParticipantRole.BCC, whole))
    ids = select(participant.c.message).where(stands).distinct()
    page = select(message).where(message.c.org == org, message.c.id.in_(ids.scalar_subquery()), readable(viewer))
    if before is not None:
        page = page.where(message.c.id < before)
    return as_seen(tx, viewer, _read(tx, page.order_by(message.c.id.desc()).limit(limit)))


def by_message_ids(tx: Tx, org: OrgId, message_ids: Sequence[str]) -> dict[str, tuple[MessageId, ...]]:
    """Stored messages by their Message-ID; a re-used one has several (I8)."""
    if not message_ids:
        return {}
    found: defaultdict[str, list[MessageId]] = defaultdict(list)
    for row in tx.execute(
        select(message.c.message_id, message.c.id)
        .where(message.c.org == org, message.c.message_id.in_(message_ids))
        .order_by(message.c.id)
    ):
        found[row.message_id].append(MessageId(row.id))
    return {name: tuple(ids) for name, ids in found.items()}


def add_source(tx: Tx, org: OrgId, source: Source) -> bool:
    """Note a way by which a message reached us; False for the same one again."""
    row = {
        "message": source.message,
        "arrival": source.arrival,
        "org": org,
        "channel": source.channel,
        "user": source.user,
        "at": to_micros(source.at),
        "of": source.message,
    }
    return tx.execute(_ADD_SOURCE[tx.dialect], row).rowcount > 0


def sources(
    tx: Tx,
    org: OrgId,
    id: MessageId,  # noqa: A002
    *,
    viewer: Viewer | None = None,
) -> tuple[Source, ...]:
    """Every way by which a message reached us, first to last; those by which a viewer may see it, or all."""
    found = select(message_source).where(message_source.c.message == id, message_source.c.org == org)
    if viewer is not None:
        found = found.where(readable_source(viewer))
    found = found.order_by(message_source.c.at, message_source.c.arrival)
    return tuple(_source(row) for row in tx.execute(found))


def of_arrival(tx: Tx, org: OrgId, arrival: QueueId) -> tuple[MessageId, ...]:
    """The messages that came of an arrival, by part: the mail itself (`Arrival.message`) and those attached to it (I22)."""
    found = (
        select(message_source.c.message)
        .join(message, message.c.id == message_source.c.message)
        .where(message_source.c.arrival == arrival, message_source.c.org == org)
        .order_by(message.c.part, message.c.id)
    )
    return tuple(MessageId(row.message) for row in tx.execute(found))


def _source(row: Row[Any]) -> Source:
    return Source(
        message=MessageId(row.message),
        arrival=QueueId(row.arrival),
        channel=Channel(row.channel),
        user=None if row.user is None else UserId(row.user),
        at=from_micros(row.at),
    )


def _read(tx: Tx, wanted: Select[Any]) -> tuple[Message, ...]:
    """Messages of rows of `message`, with their participants read in one statement."""
    found = tx.execute(wanted).all()
    people: defaultdict[str, list[Participant]] = defaultdict(list)
    for row in tx.execute(
        select(participant)
        .where(participant.c.message.in_([row.id for row in found]))
        .order_by(participant.c.message, participant.c.position)
    ):
        people[row.message].append(Participant(ParticipantRole(row.role), Address(row.local, row.domain), row.name))
    return tuple(
        Message(
            id=MessageId(row.id),
            org=OrgId(row.org),
            direction=Direction(row.direction),
            queue_id=QueueId(row.queue_id),
            message_id=row.message_id or None,
            digest=Digest(row.digest),
            raw=BlobRef(digest=Digest(row.raw_digest), size=row.raw_size),
            subject=row.subject,
            sent_at=None if row.sent_at is None else from_micros(row.sent_at),
            received_at=from_micros(row.received_at),
            participants=tuple(people[row.id]),
            parents=tuple(row.parents),
            auth=None if row.auth is None else rows.decode(AuthVerdicts, row.auth),
            part=row.part,
            automatic=row.automatic,
            attachments=rows.decode(tuple[AttachmentInfo, ...], row.attachments),
            kind=Kind(row.kind),
            reply=row.reply,
        )
        for row in found
    )
