"""The journal from a cursor, so that a CRM can prove that it missed nothing (K9)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from mailrelay.errors import Invalid
from mailrelay.model.event import Event, EventType
from mailrelay.store import events
from mailrelay.web.application import App
from mailrelay.web.identity import Reader
from mailrelay.web.shape import Limit, Shown
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["events"])


class ShownEvent(Shown):
    """One thing that happened; ids are "" where they do not apply, `data` is by type."""

    seq: int
    at: datetime
    type: EventType
    queue_id: str
    message: str
    delivery: str
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
            data=dict(event.data),
        )


@router.get("/events")
async def after(
    app: App,
    caller: Reader,
    after: Annotated[int, Query(ge=0, le=2**62, description="`seq` of the last event that you have.")] = 0,
    limit: Limit = 100,
    last: Annotated[int, Query(ge=1, le=1000, description="So many of the newest, in place of what is behind `after`.")]
    | None = None,
    before: Annotated[int, Query(ge=1, le=2**62, description="With `last`: only what is before this `seq`.")]
    | None = None,
) -> Sequence[ShownEvent]:
    """Events behind `after`, or the last ones, oldest first; empty when there are no more yet."""
    if after and (last or before):
        raise Invalid("after", "reads on from an event, last and before look back: give one of them")
    if before and not last:
        raise Invalid("last", "say how many of those before")
    if last:
        found = await app.store.read(events.last, caller.org, last, before=before)
    else:
        found = await app.store.read(events.after, caller.org, after, limit=limit)
    return [ShownEvent.of(event) for event in found]
