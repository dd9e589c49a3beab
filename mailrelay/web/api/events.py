"""The journal from a cursor, so that a CRM can prove that it missed nothing (K9)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from mailrelay.errors import Invalid
from mailrelay.model.event import Event, EventType
from mailrelay.store import events, people
from mailrelay.store.base import Tx
from mailrelay.store.events import Stretch, Wanted
from mailrelay.store.visibility import Viewer
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Caller, Reader, once_more
from mailrelay.web.shape import Limit, Shown, in_field
from mailrelay.web.stream import watching
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["events"])
_LONGEST_WAIT = 60
_HIGHEST = 2**62


class ShownEvent(Shown):
    """One thing that happened; ids are "" where they do not apply, `data` is by type."""

    seq: int
    at: datetime
    type: EventType
    queue_id: str
    message: str
    delivery: str
    record: Annotated[str, Field(description="The record that it is about, such as contact/17.")]
    user: Annotated[str, Field(description="The user whose notice it is.")]
    data: dict[str, str]

    @classmethod
    def of(cls, event: Event) -> ShownEvent:
        """The event as it is answered."""
        return cls(
            seq=event.seq,
            at=event.at,
            type=event.type,
            queue_id=event.queue_id,
            message=event.message,
            delivery=event.delivery,
            record=event.record,
            user=event.user,
            data=dict(event.data),
        )


class Journal(Shown):
    """A stretch of the journal. Ask again with `after` = `next`: nothing is missed, whatever is filtered or not shown."""

    items: tuple[ShownEvent, ...]
    next: Annotated[int, Field(description="`after` of the following stretch; all before it have been looked at.")]
    newest: Annotated[int, Field(description="`seq` of the newest event; from 1 to it there is no gap.")]

    @classmethod
    def of(cls, found: Stretch) -> Journal:
        """A stretch as it is answered."""
        return cls(items=tuple(ShownEvent.of(one) for one in found.events), next=found.upto, newest=found.newest)


After = Annotated[int, Query(ge=0, le=_HIGHEST, description="`seq` of the last event that you have.")]
Types = Annotated[Sequence[EventType] | None, Query(alias="type", max_length=50, description="Only of these types.")]


@router.get("/events")
async def after(
    app: App,
    caller: Reader,
    request: Request,
    after: After = 0,
    limit: Limit = 100,
    wait: Annotated[
        int,
        Query(ge=0, le=_LONGEST_WAIT, description="So many seconds, while there is none yet; ends with the first."),
    ] = 0,
    types: Types = None,
    message: Annotated[str, Query(max_length=64, description="Only about this message.")] = "",
    record: Annotated[str, Query(max_length=300, description="Only about this record, such as contact/17.")] = "",
    user: Annotated[str, Query(max_length=320, description="Only notices of this user, by id or address.")] = "",
    last: Annotated[int, Query(ge=1, le=1000, description="So many of the newest, in place of what is behind `after`.")]
    | None = None,
    before: Annotated[int, Query(ge=1, le=_HIGHEST, description="With `last`: only what is before this `seq`.")]
    | None = None,
) -> Journal:
    """Events behind `after`, or the last ones, oldest first; with `wait`, as soon as there is one."""
    if after and (last or before):
        raise Invalid("after", "reads on from an event, last and before look back: give one of them")
    if wait and (last or before):
        raise Invalid("wait", "is for what is behind `after`; last and before look back")
    if before and not last:
        raise Invalid("last", "say how many of those before")
    wanted = Wanted(types=frozenset(types or ()), message=message, record=record, user=user)
    if last:
        return Journal.of(await app.store.read(_latest, caller, last, before, wanted))
    found = await _reading(app, caller, after, limit, wanted)
    if not wait or found.events:
        return Journal.of(found)
    ends_at = asyncio.get_running_loop().time() + wait
    with app.waits.place(request, "poll", caller.by):
        async with watching(app.store, app.stopping, request, caller.org) as watch:
            while True:
                # Once more before the first pause: what came since the look before was not heard.
                found = await _reading(app, caller, found.upto, limit, wanted)
                left = ends_at - asyncio.get_running_loop().time()
                if found.events or left <= 0 or not await watch.pause(min(left, app.waits.look)):
                    return Journal.of(found)
                caller = await once_more(request)  # a token that was revoked meanwhile hears of nothing


async def _reading(app: Application, caller: Caller, seq: int, limit: int, wanted: Wanted) -> Stretch:
    """The next stretch with something in it, else the end of the journal."""
    while True:
        found = await app.store.read(_stretch, caller, seq, limit, wanted)
        if found.events or found.upto >= found.newest:
            return found
        seq = found.upto


def _stretch(tx: Tx, caller: Caller, seq: int, limit: int, wanted: Wanted) -> Stretch:
    return events.stretch(tx, caller.viewer, seq, limit=limit, wanted=_named(tx, caller.viewer, wanted))


def _latest(tx: Tx, caller: Caller, number: int, before: int | None, wanted: Wanted) -> Stretch:
    return events.latest(tx, caller.viewer, number, before=before, wanted=_named(tx, caller.viewer, wanted))


def _named(tx: Tx, viewer: Viewer, wanted: Wanted) -> Wanted:
    """With the id of the user who may be named by an address. Raises Invalid."""
    if not wanted.user or wanted.user == viewer.user:
        return wanted
    with in_field("user"):
        return replace(wanted, user=people.find(tx, viewer.org, wanted.user).id)
