"""Files of records: noticed in the journal, filed one by one, listed for whoever may see the mail that they are from (I17).

What somebody removed keeps its row, so that it stays gone whatever the rules or the journal say again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, true, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Conflict, Stale, TooLarge, Unknown
from mailrelay.ids import AttachmentId, Digest, EventSeq, MessageId, OrgId
from mailrelay.model.attachment import Attachments, AttachmentState, Place, RecordAttachment, Storage
from mailrelay.model.event import EventType
from mailrelay.model.record import RecordRef
from mailrelay.model.settings import OrganisationSettings
from mailrelay.store import contents, events, followers, organisations
from mailrelay.store.base import Tx, for_both
from mailrelay.store.contents import Content
from mailrelay.store.tables import ATTACHMENTS_LEFT_OUT, ATTACHMENTS_WAITING, link, record_attachment
from mailrelay.store.visibility import Viewer, readable, standing, told

FOLLOWER = "attachments"
REMOVED = "removed"
_NO_ROOM = "storage is full"
_a = record_attachment.c
_ADD = for_both(lambda insert: insert(record_attachment).on_conflict_do_nothing().returning(_a.id))
_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """What the journal says that has not been looked at: mail that was put on records. `upto` is where that ends."""

    after: EventSeq
    upto: int
    linked: tuple[tuple[MessageId, RecordRef], ...]
    settings: OrganisationSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A file to be filed: from which mail, and where its bytes are to be put, unless they are there."""

    attachment: RecordAttachment
    content: Content
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What was claimed; how many more were left out for want of room, and whose storage has become full just now."""

    jobs: tuple[Job, ...]
    left_out: int
    full: tuple[OrgId, ...]


def unread(tx: Tx, org: OrgId) -> Unread | None:
    """The next piece of the journal; None when all is read."""
    after = followers.position(tx, FOLLOWER, org)
    settings = organisations.settings(tx, org)
    if settings.attachments is Attachments.OFF:
        newest = events.newest(tx, org)
        return Unread(after=after, upto=newest, linked=(), settings=settings) if newest > after else None
    found = events.after(tx, org, after, limit=_BATCH)
    if not found:
        return None
    linked = []
    for one in found:
        module, slash, record = dict(one.data).get("record", "").partition("/")
        if one.type is EventType.MESSAGE_LINKED and slash:
            linked.append((MessageId(one.message), RecordRef(module, record)))
    return Unread(after=after, upto=found[-1].seq, linked=tuple(dict.fromkeys(linked)), settings=settings)


def notice(tx: Tx, org: OrgId, read: Unread, new: Sequence[RecordAttachment]) -> int:
    """The files of a piece of the journal wait to be filed; how many of them are new. 0 where somebody else was first."""
    if followers.claim(tx, FOLLOWER, org) != read.after:
        return 0
    number = sum(tx.execute(_ADD[tx.dialect], _row(one)).first() is not None for one in new)
    followers.advance(tx, FOLLOWER, org, read.upto)
    return number


def claim(tx: Tx, *, now: datetime, lease: timedelta, limit: int) -> Claimed:
    """The files that are due, held by whoever asks for as long as the lease is; those without room are left out, and said so once."""
    due = (
        select(record_attachment)
        .where(ATTACHMENTS_WAITING, _a.due_at <= to_micros(now))
        .order_by(_a.due_at, _a.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = sorted(tx.execute(due), key=lambda row: (row.org, row.id))
    jobs: list[Job] = []
    left_out = 0
    now_full: list[OrgId] = []
    for org in dict.fromkeys(OrgId(row.org) for row in found):
        was_full = contents.lock(tx, org).full_since
        limited = organisations.settings(tx, org).storage_limit
        for row in (row for row in found if row.org == org):
            digest = Digest(row.digest)
            held = (
                contents.find(tx, org, digest)
                if row.counted
                else contents.hold(tx, org, digest, row.size, Place(row.place), limit=limited)
            )
            if held is None:
                _set(tx, row.id, state=str(AttachmentState.FULL), reason=_NO_ROOM)
                left_out += 1
                if was_full is None:
                    was_full = now
                    now_full.append(org)
                    contents.note_full(tx, org, now)
                    data = {"limit": str(limited), "used": str(contents.taken(tx, org).used)}
                    events.append(tx, org=org, at=now, type=EventType.STORAGE_FULL, data=data)
                continue
            _set(
                tx,
                row.id,
                counted=True,
                due_at=to_micros(now + lease),
                attempts=row.attempts + 1,
                place=str(held.place),
            )
            jobs.append(Job(attachment=_attachment(row), content=held, attempts=row.attempts + 1))
    return Claimed(jobs=tuple(jobs), left_out=left_out, full=tuple(now_full))


def filed(tx: Tx, job: Job, *, at: datetime) -> bool:
    """The bytes of a job are where they should be. False when it was removed, or is another's, meanwhile."""
    one = job.attachment
    contents.lock(tx, one.org)
    if not contents.keep(tx, one.org, one.sha256, job.content.name):
        contents.leave(tx, job.content.place, job.content.name, at=at)
        return False
    waits = and_(_a.id == one.id, _a.state == str(AttachmentState.WAITING))
    if not tx.execute(
        update(record_attachment).where(waits).values(state=str(AttachmentState.FILED), reason="")
    ).rowcount:
        return False
    _tell(tx, one, EventType.ATTACHMENT_FILED, by=one.by, at=at)
    return True


def put_off(tx: Tx, job: Job, *, to: datetime, reason: str) -> None:
    """File it later, and say why not now."""
    waits = and_(_a.id == job.attachment.id, _a.state == str(AttachmentState.WAITING))
    tx.execute(update(record_attachment).where(waits).values(due_at=to_micros(to), reason=reason[:500]))


def go_on(tx: Tx, org: OrgId, *, now: datetime) -> int:
    """Let those files wait again that there is room for by now, oldest first; how many."""
    now_taken = contents.lock(tx, org)
    limited = organisations.settings(tx, org).storage_limit
    used, number = now_taken.used, 0
    left_out = select(record_attachment).where(ATTACHMENTS_LEFT_OUT, _a.org == org).order_by(_a.id).limit(_BATCH)
    if limited:  # those that are too large do not stand in the way of what is behind them
        fitting = left_out.where(or_(_a.size <= limited - used, contents.is_held(_a.org, _a.digest)))
    for row in tx.execute(fitting if limited else left_out).all():
        held = contents.find(tx, org, Digest(row.digest)) is not None
        if limited and used + row.size > limited and not held:
            continue
        used += 0 if held else row.size
        number += 1
        _set(tx, row.id, state=str(AttachmentState.WAITING), due_at=to_micros(now), reason="")
    if tx.execute(left_out.limit(1)).first() is None:
        contents.note_full(tx, org, None)
    return number


def add(tx: Tx, new: RecordAttachment, put: Content, *, limit: int) -> RecordAttachment:
    """A file that was put there, whose bytes `put` are where they say. Raises TooLarge when there is no room, Stale to begin again."""
    contents.lock(tx, new.org)
    held = contents.hold(tx, new.org, new.sha256, new.size, new.place, limit=limit)
    if held is None:
        used = contents.taken(tx, new.org).used
        sentence = f"The organisation's storage is full: {used} of {limit} bytes are used, and the file has {new.size}"
        raise TooLarge(sentence, limit=limit, size=used + new.size)
    same = (held.place, held.name) == (put.place, put.name)
    if not held.kept and not same:
        raise Stale("The same content came or went at this moment; send the file again")
    if not same:
        contents.leave(tx, put.place, put.name, at=new.at)
    contents.keep(tx, new.org, new.sha256, held.name)
    tx.execute(record_attachment.insert().values(**{**_row(new), "counted": True}))
    _tell(tx, new, EventType.ATTACHMENT_FILED, by=new.by, at=new.at)
    return new


def get(tx: Tx, viewer: Viewer, record: RecordRef, id: AttachmentId) -> RecordAttachment:  # noqa: A002
    """A file of a record. Raises Unknown also for one that the viewer may not see."""
    row = tx.execute(_of(viewer, record).where(_a.id == id)).first()
    if row is None:
        raise Unknown(f"{record} has no attachment {id}")
    return _attachment(row)


def of_record(
    tx: Tx, viewer: Viewer, record: RecordRef, *, before: str = "", limit: int = 100
) -> tuple[RecordAttachment, ...]:
    """A page of a record's files that the viewer may see, newest first; `before` is the last id of the page before."""
    page = _of(viewer, record)
    if before:
        page = page.where(_a.id < before)
    return tuple(_attachment(row) for row in tx.execute(page.order_by(_a.id.desc()).limit(limit)))


def where(tx: Tx, viewer: Viewer, record: RecordRef, id: AttachmentId) -> tuple[RecordAttachment, Content]:  # noqa: A002
    """A file and its content. Raises Unknown, or Conflict when it is not filed yet."""
    one = get(tx, viewer, record, id)
    known = contents.find(tx, one.org, one.sha256)
    if one.state is not AttachmentState.FILED or known is None or not known.kept:
        because = f": {one.reason}" if one.reason else ""
        raise Conflict(f"{one.id} is not filed yet{because}; the mail {one.message} has it")
    return one, known


def remove(tx: Tx, viewer: Viewer, record: RecordRef, id: AttachmentId, *, by: str, at: datetime) -> None:  # noqa: A002
    """Take a file off its record, for good. Raises Unknown."""
    contents.lock(tx, viewer.org)
    one = get(tx, viewer, record, id)
    row = tx.execute(select(_a.counted).where(_a.id == one.id).with_for_update()).one()
    _set(tx, one.id, state=REMOVED, counted=False, removed_at=to_micros(at), removed_by=by)
    if row.counted:
        contents.let_go(tx, one.org, one.sha256, at=at)
    _tell(tx, one, EventType.ATTACHMENT_REMOVED, by=by, at=at)


def storage(tx: Tx, org: OrgId) -> Storage:
    """What an organisation's attachments take, and what waits."""
    used = contents.taken(tx, org)
    counts = [
        tx.execute(select(func.count()).select_from(record_attachment).where(state, _a.org == org)).scalar_one()
        for state in (ATTACHMENTS_WAITING, ATTACHMENTS_LEFT_OUT)
    ]
    return Storage(
        used=used.used,
        limit=organisations.settings(tx, org).storage_limit,
        contents=used.contents,
        waiting=counts[0],
        full=counts[1],
        full_since=used.full_since,
    )


def waiting(tx: Tx) -> tuple[int, datetime | None]:
    """How many files wait to be filed, of all organisations, and since when the oldest does."""
    row = tx.execute(
        select(func.count(), func.min(_a.at)).select_from(record_attachment).where(ATTACHMENTS_WAITING)
    ).one()
    return row[0], None if row[1] is None else from_micros(row[1])


def _of(viewer: Viewer, record: RecordRef) -> Any:
    return select(record_attachment).where(
        _a.org == viewer.org,
        _a.module == record.module,
        _a.record == record.id,
        _a.removed_at.is_(None),
        _shows(viewer),
    )


def _shows(viewer: Viewer) -> ColumnElement[bool]:
    """That a file is nobody's mail's, or of a mail that the viewer may see and that is on the record yet (I16)."""
    same = and_(link.c.message == _a.message, link.c.module == _a.module, link.c.record == _a.record)
    on_it = select(link.c.message).where(same, link.c.org == viewer.org, standing(), told(viewer)).exists()
    seen = true() if viewer.all else readable(viewer, _a.message)
    return or_(_a.message == "", and_(on_it, seen))


def _set(tx: Tx, id: str, **values: object) -> None:  # noqa: A002
    tx.execute(update(record_attachment).where(_a.id == id).values(**values))


def _tell(tx: Tx, one: RecordAttachment, type: EventType, *, by: str, at: datetime) -> None:  # noqa: A002
    data = {"attachment": one.id, "record": str(one.record), "name": one.name, "by": by}
    if type is EventType.ATTACHMENT_FILED:
        data["size"] = str(one.size)
    events.append(tx, org=one.org, at=at, type=type, message=one.message, record=str(one.record), data=data)


def _row(one: RecordAttachment) -> dict[str, Any]:
    return {
        "id": one.id,
        "org": one.org,
        "module": one.record.module,
        "record": one.record.id,
        "message": one.message,
        "part": one.part,
        "name": one.name,
        "type": one.type,
        "size": one.size,
        "digest": one.sha256,
        "place": str(one.place),
        "at": to_micros(one.at),
        "by": one.by,
        "state": str(one.state),
        "counted": False,
        "due_at": to_micros(one.at),
        "attempts": 0,
        "reason": one.reason,
    }


def _attachment(row: Row[Any]) -> RecordAttachment:
    return RecordAttachment(
        id=AttachmentId(row.id),
        org=OrgId(row.org),
        record=RecordRef(row.module, row.record),
        message=row.message,
        part=row.part,
        name=row.name,
        type=row.type,
        size=row.size,
        sha256=Digest(row.digest),
        at=from_micros(row.at),
        by=row.by,
        place=Place(row.place),
        state=AttachmentState(row.state),
        reason=row.reason,
    )
