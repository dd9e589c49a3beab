"""What people do about a mail: a note on it, a follow-up that the CRM is asked for, a place in their mailbox (I19)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import AwareDatetime, Field, StringConstraints

from mailrelay.errors import NotPermitted
from mailrelay.ids import MessageId
from mailrelay.model.note import FolderWish, Note, Task
from mailrelay.store import notes
from mailrelay.web.application import App
from mailrelay.web.identity import USER_HEADER, Reader, Sender
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Given, Limit, Page, Paged, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["notices"])
Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]


class GivenNote(Given):
    """A note."""

    text: Text


class ShownNote(Shown):
    """A note on a mail."""

    id: str
    message: str
    by: Annotated[str, Field(description="A user's id, a token's, or operator.")]
    text: str
    at: datetime


class GivenTask(Given):
    """A follow-up."""

    text: Text
    due_at: AwareDatetime | None = None


class ShownTask(Shown):
    """A follow-up that the CRM was asked for, by the event task.requested."""

    id: str
    message: str
    by: str
    text: str
    due_at: datetime | None
    at: datetime


class GivenFolder(Given):
    """A folder of the user's mailbox."""

    folder: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


class ShownWish(Shown):
    """Where the user wants the mail. `moved` is false: mailrelay does not follow users' mailboxes yet, so that nothing has moved; the wish
    is kept, and told by the event move.requested.
    """

    message: str
    user: str
    folder: str
    moved: bool = False


@router.post("/messages/{id}/notes", response_model=ShownNote, status_code=201)
async def add_note(
    app: App,
    caller: Sender,
    id: str,  # noqa: A002
    given: GivenNote,
    once: Annotated[Once, making("/messages/{message}/notes", etag=False)],
) -> Note:
    """Write a note on a mail."""
    new = Note(
        id=app.ids.note(),
        org=caller.org,
        message=MessageId(id),
        by=caller.by,
        text=given.text,
        at=app.clock.now(),
    )
    return await once.write(app.store, notes.add_note, caller.viewer, new)


@router.get("/messages/{id}/notes", response_model=Page[ShownNote])
async def list_notes(app: App, caller: Reader, id: str, after: After = "", limit: Limit = 100) -> Paged[Note]:  # noqa: A002
    """The notes on a mail, oldest first."""
    found = await app.store.read(notes.notes, caller.viewer, MessageId(id), after=after, limit=limit)
    return paged(found, limit=limit, cursor=lambda one: one.id)


@router.post("/messages/{id}/tasks", response_model=ShownTask, status_code=201)
async def add_task(
    app: App,
    caller: Sender,
    id: str,  # noqa: A002
    given: GivenTask,
    once: Annotated[Once, making("/messages/{message}/tasks", etag=False)],
) -> Task:
    """Ask the CRM for a follow-up to a mail: it hears of it by the event task.requested."""
    new = Task(
        id=app.ids.task(),
        org=caller.org,
        message=MessageId(id),
        by=caller.by,
        text=given.text,
        due_at=given.due_at,
        at=app.clock.now(),
    )
    return await once.write(app.store, notes.add_task, caller.viewer, new)


@router.get("/messages/{id}/tasks", response_model=Page[ShownTask])
async def list_tasks(app: App, caller: Reader, id: str, after: After = "", limit: Limit = 100) -> Paged[Task]:  # noqa: A002
    """The follow-ups to a mail, oldest first."""
    found = await app.store.read(notes.tasks, caller.viewer, MessageId(id), after=after, limit=limit)
    return paged(found, limit=limit, cursor=lambda one: one.id)


@router.post("/messages/{id}/folder", response_model=ShownWish, status_code=202)
async def move(
    app: App,
    caller: Sender,
    id: str,  # noqa: A002
    given: GivenFolder,
    once: Annotated[Once, making("/messages/{message}", etag=False)],
) -> FolderWish:
    """Say in which folder of the user's mailbox a mail should lie; 202: the wish is kept, nothing is moved yet."""
    if caller.user is None:
        raise NotPermitted(f"A mailbox is a user's: use a token of theirs, or name them with {USER_HEADER}")
    wish = FolderWish(
        org=caller.org,
        message=MessageId(id),
        user=caller.user,
        folder=given.folder,
        by=caller.by,
        at=app.clock.now(),
    )
    return await once.write(app.store, notes.wish_folder, caller.viewer, wish)
