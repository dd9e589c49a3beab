"""Notes on mail, follow-ups, and wishes where a mail should lie (I19): each is an event, so that the CRM hears of it."""

from __future__ import annotations

from sqlalchemy import Row, bindparam, select

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import MessageId, NoteId, OrgId, TaskId
from mailrelay.model.event import EventType
from mailrelay.model.note import FolderWish, Note, Task
from mailrelay.store import events, visibility
from mailrelay.store.base import Tx, for_both
from mailrelay.store.tables import folder_wish, note, task
from mailrelay.store.visibility import Viewer

_WISH = for_both(
    lambda insert: (
        new := insert(folder_wish).values(
            {name: bindparam(f"n_{name}") for name in ("org", "message", "user", "folder", "by", "at")}
        )
    ).on_conflict_do_update(
        index_elements=["message", "user"],
        set_={name: new.excluded[name] for name in ("folder", "by", "at")},
    )
)


def add_note(tx: Tx, viewer: Viewer, new: Note) -> Note:
    """Keep a note. Raises Unknown for a message that the viewer may not see."""
    visibility.check(tx, viewer, new.message)
    tx.execute(
        note.insert().values(
            id=new.id, org=new.org, message=new.message, by=new.by, text=new.text, at=to_micros(new.at)
        )
    )
    data = {"note": new.id, "text": new.text, "by": new.by}
    events.append(tx, org=new.org, at=new.at, type=EventType.NOTE_ADDED, message=new.message, data=data)
    return new


def notes(tx: Tx, viewer: Viewer, message: MessageId, *, after: str = "", limit: int) -> tuple[Note, ...]:
    """A page of a message's notes, oldest first. Raises Unknown."""
    visibility.check(tx, viewer, message)
    page = select(note).where(note.c.message == message, note.c.org == viewer.org, note.c.id > after)
    return tuple(_note(row) for row in tx.execute(page.order_by(note.c.id).limit(limit)))


def add_task(tx: Tx, viewer: Viewer, new: Task) -> Task:
    """Keep a follow-up that the CRM is asked for. Raises Unknown for a message that the viewer may not see."""
    visibility.check(tx, viewer, new.message)
    due = None if new.due_at is None else to_micros(new.due_at)
    tx.execute(
        task.insert().values(
            id=new.id, org=new.org, message=new.message, by=new.by, text=new.text, due_at=due, at=to_micros(new.at)
        )
    )
    data = {
        "task": new.id,
        "text": new.text,
        "by": new.by,
        **({"due_at": new.due_at.isoformat()} if new.due_at else {}),
    }
    events.append(tx, org=new.org, at=new.at, type=EventType.TASK_REQUESTED, message=new.message, data=data)
    return new


def tasks(tx: Tx, viewer: Viewer, message: MessageId, *, after: str = "", limit: int) -> tuple[Task, ...]:
    """A page of the follow-ups to a message, oldest first. Raises Unknown."""
    visibility.check(tx, viewer, message)
    page = select(task).where(task.c.message == message, task.c.org == viewer.org, task.c.id > after)
    return tuple(_task(row) for row in tx.execute(page.order_by(task.c.id).limit(limit)))


def wish_folder(tx: Tx, viewer: Viewer, wish: FolderWish) -> FolderWish:
    """Keep where a user wants a mail; a newer wish takes the place of the one before. Raises Unknown."""
    visibility.check(tx, viewer, wish.message)
    row = {"org": wish.org, "message": wish.message, "user": wish.user, "folder": wish.folder, "by": wish.by}
    tx.execute(_WISH[tx.dialect], {f"n_{name}": value for name, value in {**row, "at": to_micros(wish.at)}.items()})
    data = {"folder": wish.folder, "for": wish.user, "by": wish.by}
    events.append(tx, org=wish.org, at=wish.at, type=EventType.MOVE_REQUESTED, message=wish.message, data=data)
    return wish


def _note(row: Row[tuple[object, ...]]) -> Note:
    return Note(
        id=NoteId(row.id),
        org=OrgId(row.org),
        message=MessageId(row.message),
        by=row.by,
        text=row.text,
        at=from_micros(row.at),
    )


def _task(row: Row[tuple[object, ...]]) -> Task:
    return Task(
        id=TaskId(row.id),
        org=OrgId(row.org),
        message=MessageId(row.message),
        by=row.by,
        text=row.text,
        due_at=None if row.due_at is None else from_micros(row.due_at),
        at=from_micros(row.at),
    )
