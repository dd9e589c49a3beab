"""What was sent to a webhook or waits for it: looked at, sent again, and replayed from any event (R6)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from mailrelay import log
from mailrelay.ids import EventSeq
from mailrelay.model.event import EventType
from mailrelay.model.webhook import Call, CallState
from mailrelay.store import webhook_calls, webhook_orders
from mailrelay.store.base import Tx
from mailrelay.web.api.webhooks import get_webhook, lifetime
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Caller, Reader, Sender
from mailrelay.web.shape import Given, Limit, Page, Paged, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["webhooks"])
_logger = log.get()


class Replay(Given):
    """From where on events are sent again."""

    after: int = Field(ge=0, le=2**62, description="`seq` of the last event that is not to be sent again; 0 for all.")


class SentAgain(Shown):
    """How many events are sent again, or looked at for that."""

    events: int


class ShownCall(Shown):
    """An event on its way to a webhook. `status` is that of the last answer, 0 without one; `failure` what went wrong."""

    seq: int
    type: EventType
    state: CallState
    queued_at: datetime
    due_at: datetime
    expires_at: datetime
    attempts: int
    status: int
    failure: str
    said: str
    ended_at: datetime | None


@router.post("/webhooks/{webhook}/replay")
async def replay(app: App, caller: Sender, webhook: str, given: Replay) -> SentAgain:
    """Send again what happened after an event, in order; each event with the webhook-id that it had."""

    def back(tx: Tx) -> int:
        one = get_webhook(tx, caller, webhook, lock=True)
        return webhook_orders.replay(tx, one, given.after, by=caller.by, now=app.clock.now())

    number = await app.store.write(back)
    _logger.info("webhook.changed", org=caller.org, webhook=webhook, by=caller.by, what="replayed", after=given.after)
    return SentAgain(events=number)


@router.get("/webhooks/{webhook}/calls", response_model=Page[ShownCall])
async def calls(
    app: App,
    caller: Reader,
    webhook: str,
    state: Annotated[CallState | None, Query(description="`dead` are the dead letters.")] = None,
    after: Annotated[str, Query(pattern=r"^([1-9][0-9]{0,17})?$", description="`next` of the page before.")] = "",
    limit: Limit = 100,
) -> Paged[Call]:
    """What was sent to a webhook or waits for it, newest event first.

    Those that were taken are kept for a week, dead letters for ninety days.
    """

    def page(tx: Tx) -> list[Call]:
        one = get_webhook(tx, caller, webhook)
        before = int(after) if after else None
        return list(webhook_calls.list_calls(tx, one, state=state, before=before, limit=limit))

    return paged(await app.store.read(page), limit=limit, cursor=lambda one: str(one.seq))


@router.post("/webhooks/{webhook}/calls/{seq}/send-again")
async def send_again(app: App, caller: Sender, webhook: str, seq: Annotated[int, Field(ge=1, le=2**62)]) -> SentAgain:
    """Send one event again: a dead letter, or one that was taken."""
    return SentAgain(events=await _again(app, caller, webhook, EventSeq(seq)))


@router.post("/webhooks/{webhook}/send-again")
async def send_all_again(app: App, caller: Sender, webhook: str) -> SentAgain:
    """Send all dead letters again, each message's in order."""
    total = 0
    while number := await _again(app, caller, webhook, None):
        total += number
    return SentAgain(events=total)


async def _again(app: Application, caller: Caller, webhook: str, seq: EventSeq | None) -> int:
    def queue(tx: Tx) -> int:
        one = get_webhook(tx, caller, webhook, lock=True)
        now, lasting = app.clock.now(), lifetime(app)
        return webhook_orders.send_again(tx, one, by=caller.by, now=now, lifetime=lasting, seq=seq)

    number = await app.store.write(queue)
    if number:
        _logger.info("webhook.changed", org=caller.org, webhook=webhook, by=caller.by, what="sent again", events=number)
    return number
