"""Receptions: where what came is, by the queue id of the reply to its sender, and why (I9)."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from fastapi import APIRouter
from starlette.responses import Response

from mailrelay.errors import Unknown
from mailrelay.filing import gather
from mailrelay.ids import MessageId, QueueId
from mailrelay.model.envelope import Arrival, ArrivalState, Channel
from mailrelay.model.organisation import Right
from mailrelay.store import arrivals, messages, unresolved, visibility
from mailrelay.store.base import Tx
from mailrelay.web.api.raw_mail import Shows, attached, shows
from mailrelay.web.application import App
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import Shown
from mailrelay.web.strict import StrictRoute

_MOST_HIDDEN = 100
"""Arrivals that a caller must not see which are passed over on the way to the newest; anybody can send more."""
router = APIRouter(route_class=StrictRoute, tags=["messages"])


class ShownArrival(Shown):
    """One reception: where it is, and why."""

    id: str
    channel: Channel
    state: ArrivalState
    reason: str
    failure: str
    """The traceback of our last failure on it; for administrators, "" for others."""
    received_at: datetime
    size: int
    attempts: int
    messages: tuple[str, ...]
    unresolved: tuple[str, ...]


@router.get("/arrivals/latest")
async def show_newest_arrival(app: App, caller: Reader) -> ShownArrival:
    """The reception that was answered last."""
    return await app.store.read(_newest_arrival, caller)


@router.get("/arrivals/{id}")
async def show_arrival(app: App, caller: Reader, id: str) -> ShownArrival:  # noqa: A002
    """One reception, by the queue id of the 250 reply."""
    return await app.store.read(_arrival, caller, QueueId(id))


@router.get("/arrivals/{id}/raw", response_class=Response, responses={200: {"content": {"message/rfc822": {}}}})
async def raw_arrival(app: App, caller: Administrator, id: str) -> Response:  # noqa: A002
    """What was received, byte for byte but for secret addresses of others: also of a mail that could not be read."""
    arrival, view = await app.store.read(_own_bytes, caller, QueueId(id))
    return attached(view.of(await app.bodies.read(arrival.raw)), id)


def messages_of(tx: Tx, caller: Caller, arrival: Arrival) -> tuple[MessageId, ...]:
    """What came of an arrival, the mail itself first, as far as the caller may see it."""
    came = messages.of_arrival(tx, caller.org, arrival.id)
    came = came or ((MessageId(arrival.message),) if arrival.message else ())
    seen = visibility.of_these(tx, caller.viewer, came)
    return tuple(one for one in came if one in seen)


def own_arrival(tx: Tx, caller: Caller, name: QueueId) -> Arrival:
    """Raises Unknown also for what came to others, and for mail that nobody can say whose it is."""
    arrival = arrivals.get(tx, name)
    hidden = arrival is None or (not caller.installation and unresolved.is_nobodys(tx, arrival))
    if arrival is None or arrival.org != caller.org or hidden or not _came_to(tx, caller, arrival):
        raise Unknown("There is no such arrival")
    return arrival


def _own_bytes(tx: Tx, caller: Caller, name: QueueId) -> tuple[Arrival, Shows]:
    return own_arrival(tx, caller, name), shows(tx, caller.viewer, bcc=True)


def _came_to(tx: Tx, caller: Caller, arrival: Arrival) -> bool:
    """Whether an arrival is the caller's to see: the user's own, or with a message that they may see as it came by it."""
    viewer = caller.viewer
    if viewer.all or (viewer.user is not None and gather.user_of(arrival) == viewer.user):
        return True
    return bool(visibility.known(tx, viewer, [arrival.id]))


def _newest_arrival(tx: Tx, caller: Caller) -> ShownArrival:
    latest = arrivals.newest(tx, caller.org)
    for _ in range(_MOST_HIDDEN):
        if latest is None:
            break
        # The operator sees what may be any organisation's; for the others the newest is behind it.
        with suppress(Unknown):
            return _arrival(tx, caller, latest)
        latest = arrivals.newest(tx, caller.org, before=latest)
    raise Unknown("There is no arrival yet")


def _arrival(tx: Tx, caller: Caller, name: QueueId) -> ShownArrival:
    one = own_arrival(tx, caller, name)
    reason, failure = arrivals.why(tx, name)
    entries = unresolved.of_arrival(tx, caller.org, name, viewer=caller.viewer)
    return ShownArrival(
        id=one.id,
        channel=one.channel,
        state=one.state,
        reason=reason,
        failure=failure if caller.may(Right.ADMIN) else "",
        received_at=one.received_at,
        size=one.raw.size,
        attempts=one.attempts,
        messages=messages_of(tx, caller, one),
        unresolved=tuple(entry.id for entry in entries),
    )
