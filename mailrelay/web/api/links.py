"""What people do to filed mail: put it on a record, take it off, move it. Rules never override it (I7)."""

from __future__ import annotations

from fastapi import APIRouter

from mailrelay.errors import Invalid, Unknown
from mailrelay.filing import correct
from mailrelay.ids import MessageId
from mailrelay.model.decision import Link
from mailrelay.model.record import RecordRef
from mailrelay.store import links, visibility
from mailrelay.store.base import Tx
from mailrelay.web.api.records import ModuleName, RecordId
from mailrelay.web.api.shown_message import ShownLink
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Given, Limit, Page, Paged, Ref, in_field, page_of
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["links"])


class GivenMove(Given):
    """From which record to which."""

    record: Ref
    to: Ref


@router.get("/messages/{id}/links", response_model=Page[ShownLink])
async def list_all(
    app: App,
    caller: Reader,
    id: str,  # noqa: A002
    after: After = "",
    limit: Limit = 100,
) -> Paged[Link]:
    """The records that a message is on, with the rule or person that put it there."""
    return await app.store.read(_list, caller, MessageId(id), after, limit)


@router.put("/messages/{id}/links/{module}/{record}", response_model=Page[ShownLink])
async def add(
    app: App,
    caller: Administrator,
    id: str,  # noqa: A002
    module: ModuleName,
    record: RecordId,
    seen: IfMatch,
) -> Paged[Link]:
    """Put a message on a record by hand; answers its links.

    The ETag that If-Match names is that of its links.
    """
    return await app.store.write(_change, app, caller, MessageId(id), seen, None, RecordRef(module, record))


@router.delete("/messages/{id}/links/{module}/{record}", response_model=Page[ShownLink])
async def remove(
    app: App,
    caller: Administrator,
    id: str,  # noqa: A002
    module: ModuleName,
    record: RecordId,
    seen: IfMatch,
) -> Paged[Link]:
    """Take a message off a record by hand; no rule puts it there again. Answers its links."""
    return await app.store.write(_change, app, caller, MessageId(id), seen, RecordRef(module, record), None)


@router.post("/messages/{id}/links/move", response_model=Page[ShownLink])
async def move(
    app: App,
    caller: Administrator,
    id: str,  # noqa: A002
    given: GivenMove,
    seen: IfMatch,
) -> Paged[Link]:
    """Move a message from one record to another by hand; answers its links."""
    return await app.store.write(_change, app, caller, MessageId(id), seen, given.record, given.to)


def _list(tx: Tx, caller: Caller, message: MessageId, after: str = "", limit: int = 100) -> Paged[Link]:
    visibility.check(tx, caller.viewer, message)
    found = links.visible(tx, caller.viewer, message)
    return page_of(found, after=after, limit=limit, cursor=lambda one: str(one.record))


def _change(
    tx: Tx,
    app: Application,
    caller: Caller,
    message: MessageId,
    seen: Seen,
    from_: RecordRef | None,
    to: RecordRef | None,
) -> Paged[Link]:
    seen.check(tx, lambda: Page[ShownLink].model_validate(_list(tx, caller, message)))
    visibility.check(tx, caller.viewer, message)
    at = app.clock.now()
    if from_ is not None and all(one.record != from_ for one in links.visible(tx, caller.viewer, message)):
        if to is None:
            raise Unknown(f"Message {message} is not on {from_}")
        raise Invalid("record", f"message {message} is not on {from_}")
    if from_ is not None and to is not None:
        with in_field("to"):
            correct.move(tx, caller.org, message, from_=from_, to=to, by=caller.by, at=at)
    elif to is not None:
        correct.link(tx, caller.org, message, to, by=caller.by, at=at)
    elif from_ is not None:
        correct.unlink(tx, caller.org, message, from_, by=caller.by, at=at)
    return _list(tx, caller, message)
