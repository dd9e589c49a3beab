"""Messages and their journey: how each came, what every rule said of it, where it is, and what happened since (I9, K1)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from mailrelay.errors import Invalid, Unknown
from mailrelay.ids import MessageId, QueueId
from mailrelay.model.decision import Link
from mailrelay.model.delivery import MessageStatus
from mailrelay.model.message import Message
from mailrelay.smtp.address import BadAddress, parse_address
from mailrelay.store import arrivals, deliveries, filings, links, messages, newest, unresolved, visibility
from mailrelay.store.base import Tx
from mailrelay.store.filings import Journey
from mailrelay.store.messages import Place
from mailrelay.store.visibility import Viewer
from mailrelay.web.api.messages_received import messages_of, own_arrival
from mailrelay.web.api.raw_mail import Shows, attached, shows
from mailrelay.web.api.shown_message import ListedMessage, ShownJourney, ShownMessage
from mailrelay.web.application import App
from mailrelay.web.identity import Caller, Reader
from mailrelay.web.shape import After, Limit, Page, moment, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["messages"])


@router.get("/messages", response_model=Page[ListedMessage])
async def list_all(
    app: App,
    caller: Reader,
    address: Annotated[str, Query(max_length=320, description="Only mail with this address in it.")] = "",
    after: After = "",
    limit: Limit = 100,
) -> object:
    """Messages, newest first."""
    found, on, statuses = await app.store.read(_list, caller.viewer, address, after, limit, app.clock.now())
    items = [
        ListedMessage(
            **ShownMessage.of(one, statuses.get(one.id)).model_dump(),
            records=tuple(link.record for link in on if link.message == one.id),
        )
        for one in found
    ]
    return paged(items, limit=limit, cursor=lambda one: f"{one.received_at.isoformat()} {one.id}")


@router.get("/messages/{id}")
async def show(app: App, caller: Reader, id: str) -> ShownJourney:  # noqa: A002
    """A message with its journey, by its id or by a queue id of it."""
    silent = await app.store.read(deliveries.silent_since, caller.org, now=app.clock.now())
    return ShownJourney.told(await app.store.read(_journey, caller, id), silent)


@router.get("/messages/{id}/raw", response_class=Response, responses={200: {"content": {"message/rfc822": {}}}})
async def raw(app: App, caller: Reader, id: str) -> Response:  # noqa: A002
    """The message as it came or as it was submitted, byte for byte.

    But where that is the copy of a colleague who does not share it, its Bcc is left out; and secret addresses of others are blank.
    """
    message, view = await app.store.read(readable_message, caller, MessageId(id))
    return attached(view.of(await app.bodies.read(message.raw)), id)


def _list(
    tx: Tx, viewer: Viewer, address: str, after: str, limit: int, now: datetime
) -> tuple[tuple[Message, ...], tuple[Link, ...], dict[MessageId, MessageStatus]]:
    place = _place(after)
    if address:
        try:
            key = parse_address(address).key
        except BadAddress as error:
            raise Invalid("address", str(error)) from None
        found = messages.of_address(tx, viewer, key, before=place.id if place else None, limit=limit)
    else:
        found = newest.seen_by(tx, viewer, before=place, limit=limit)
    ids = [one.id for one in found]
    statuses = deliveries.of_messages(tx, viewer, ids, now=now)
    return found, links.shown(tx, viewer, ids), statuses


def _place(after: str) -> Place | None:
    if not after:
        return None
    at, _, last = after.partition(" ")
    return Place(moment(at), MessageId(last))


def readable_message(tx: Tx, caller: Caller, name: MessageId) -> tuple[Message, Shows]:
    """The message and what of it is shown, where its bytes are the caller's to see. Raises Unknown.

    What stands for a mail of nobody's shows none.
    """
    visibility.check(tx, caller.viewer, name)
    message = messages.get(tx, caller.org, name)
    arrival = None if caller.installation or message.participants else arrivals.get(tx, message.queue_id)
    if arrival is not None and unresolved.is_nobodys(tx, arrival):
        raise Unknown("There is no such message")
    return message, shows(tx, caller.viewer, bcc=bool(visibility.of_first_copies(tx, caller.viewer, [name])))


def _journey(tx: Tx, caller: Caller, name: str) -> Journey:
    if not name.startswith("Q"):
        visibility.check(tx, caller.viewer, MessageId(name))
        return filings.journey(tx, caller.viewer, MessageId(name))
    arrival = own_arrival(tx, caller, QueueId(name))
    known = messages_of(tx, caller, arrival)
    if not known:
        raise Unknown(f"{name} is {arrival.state} and no message yet")
    return filings.journey(tx, caller.viewer, known[0])
