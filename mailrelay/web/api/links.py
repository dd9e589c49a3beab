"""What people do to filed mail: put it on a record, take it off, move it. Rules never override it (I7)."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from mailrelay.filing import correct
from mailrelay.ids import MessageId
from mailrelay.model.decision import Link
from mailrelay.model.record import RecordRef
from mailrelay.store import links
from mailrelay.web.api.messages import ShownLink
from mailrelay.web.api.records import ModuleName, RecordId
from mailrelay.web.application import App
from mailrelay.web.identity import Administrator
from mailrelay.web.shape import Given, Ref
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["links"])


class GivenMove(Given):
    """From which record to which."""

    record: Ref
    to: Ref


@router.put("/messages/{id}/links/{module}/{record}", response_model=tuple[ShownLink, ...])
async def add(app: App, caller: Administrator, id: str, module: ModuleName, record: RecordId) -> Sequence[Link]:  # noqa: A002
    """Put a message on a record by hand; answers all its links."""
    message = MessageId(id)
    ref = RecordRef(module, record)
    await app.store.write(correct.link, caller.org, message, ref, by=caller.by, at=app.clock.now())
    return await app.store.read(links.of_message, caller.org, message)


@router.delete("/messages/{id}/links/{module}/{record}", response_model=tuple[ShownLink, ...])
async def remove(app: App, caller: Administrator, id: str, module: ModuleName, record: RecordId) -> Sequence[Link]:  # noqa: A002
    """Take a message off a record by hand; no rule puts it there again. Answers all its links."""
    message = MessageId(id)
    ref = RecordRef(module, record)
    await app.store.write(correct.unlink, caller.org, message, ref, by=caller.by, at=app.clock.now())
    return await app.store.read(links.of_message, caller.org, message)


@router.post("/messages/{id}/links/move", response_model=tuple[ShownLink, ...])
async def move(app: App, caller: Administrator, id: str, given: GivenMove) -> Sequence[Link]:  # noqa: A002
    """Move a message from one record to another by hand; answers all its links."""
    message = MessageId(id)
    await app.store.write(
        correct.move, caller.org, message, from_=given.record, to=given.to, by=caller.by, at=app.clock.now()
    )
    return await app.store.read(links.of_message, caller.org, message)
