"""Opens and clicks: what was done with a mail, by whom it seems and why, and judged again when the rules learn something (O9, K1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import StreamingResponse

from mailrelay import log
from mailrelay.errors import MailrelayError
from mailrelay.ids import DeliveryId, HitId, MessageId
from mailrelay.model.hit import By, Engagement, Hit, HitKind
from mailrelay.outbound.rejudge import rejudge
from mailrelay.store import deliveries, hits, visibility
from mailrelay.store.base import Tx
from mailrelay.store.hit_judging import Change
from mailrelay.store.hits import AggregateCount
from mailrelay.store.visibility import Viewer
from mailrelay.tracking import agent
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Limit, MailAddress, Page, Paged, Shown, Span, lines_of, moment, paged
from mailrelay.web.strict import StrictRoute

_ALL = timedelta(days=36_500)
router = APIRouter(route_class=StrictRoute, tags=["tracking"])


class ShownLinkClicks(Shown):
    """A link that persons followed: `link` is its number in the mail, from 1."""

    link: int
    url: str
    clicks: int
    first_at: datetime
    last_at: datetime


class ShownEngagement(Shown):
    """What a recipient did with a mail. Numbers and times are a person's; a machine's and those nobody can tell stand beside them."""

    opens: int
    first_opened_at: datetime | None
    last_opened_at: datetime | None
    clicks: int
    first_clicked_at: datetime | None
    last_clicked_at: datetime | None
    machine_opens: int
    machine_clicks: int
    unknown_opens: int
    unknown_clicks: int
    links: tuple[ShownLinkClicks, ...]

    @classmethod
    def of(cls, one: Engagement) -> ShownEngagement:
        """What the hits come to, as it is answered."""
        return cls.model_validate(one)


class ShownAggregate(Shown):
    """How often something was done with a message on a day (UTC), in mode aggregate: of nobody."""

    kind: HitKind
    link: int
    url: str
    by: By
    day: date
    hits: int

    @classmethod
    def of(cls, one: AggregateCount) -> ShownAggregate:
        """The number as it is answered."""
        return cls(kind=one.kind, link=one.link, url=one.url, by=one.by, day=one.day.date(), hits=one.hits)


class ShownHit(Shown):
    """A load of the pixel or a followed link, as it came; `by` and `reasons` say what it is taken for, by rules of version `rules`."""

    id: str
    kind: HitKind
    delivery: str
    recipient: MailAddress | None
    link: Annotated[int, Field(description="Which link of the mail, from 1; 0 for the pixel.")]
    url: str
    at: datetime
    by: By
    reasons: tuple[str, ...]
    rules: int
    ip: str
    agent: str
    method: str
    headers: Annotated[dict[str, str], Field(description="The few that tell people from machines.")]


class ShownFigures(Shown):
    """A person's opens and clicks, and a machine's."""

    opens: int
    clicks: int
    machine_opens: int
    machine_clicks: int
    unknown_opens: int
    unknown_clicks: int


class ShownChange(Shown):
    """A delivery of whose hits some are something else by today's rules."""

    delivery: str
    message: str
    hits: int
    was: ShownFigures
    now: ShownFigures


class Ended(Shown):
    """The last line of a run: how many deliveries differ, and whether it was for real; or why it broke off."""

    changed: int
    applied: bool
    rules: int
    error: str = ""


@router.get("/messages/{id}/hits", response_model=Page[ShownHit])
async def list_hits(
    app: App,
    caller: Reader,
    id: str,  # noqa: A002
    after: After = "",
    limit: Limit = 100,
) -> Paged[ShownHit]:
    """Every open and click of a message that was kept, oldest first: who, when, which link, and why it is a person's or not.

    In mode aggregate there are none, but numbers: `aggregate` of the message.
    """
    found = await app.store.read(_hits, caller.viewer, MessageId(id), _place(after), limit)
    return paged(found, limit=limit, cursor=lambda one: f"{one.at.isoformat()} {one.id}")


@router.post(
    "/tracking/rejudge",
    response_class=StreamingResponse,
    responses={200: lines_of("Deliveries that differ, then the end.", ShownChange, Ended)},
)
async def judge_again(
    app: App,
    caller: Administrator,
    since: Annotated[Span, Query(description="Hits of how far back, such as 30d; by default all.")] = _ALL,
    apply: Annotated[bool, Query(description="Do it; without, nothing is changed.")] = False,
) -> StreamingResponse:
    """What kept opens and clicks would be by today's rules. With `apply` they are, with the events that say so.

    Answers NDJSON: a line for each delivery that differs, at last `{"changed": …, "applied": …}`.
    """
    return StreamingResponse(_changes(app, caller, since, apply=apply), media_type="application/x-ndjson")


async def _changes(app: Application, caller: Caller, since: timedelta, *, apply: bool) -> AsyncIterator[str]:
    number, error = 0, ""
    try:
        begin = app.clock.now() - since
        async for one in rejudge(app.store, app.clock, caller.org, judge=agent.judge, since=begin, apply=apply):
            number += 1
            yield _shown(one).model_dump_json() + "\n"
    except MailrelayError:
        log.get().exception("request.failed", method="POST", path="/tracking/rejudge")
        error = "the run broke off; what it did so far holds, the reason is in the log"
    yield Ended(changed=number, applied=apply, rules=agent.version(), error=error).model_dump_json() + "\n"


def _shown(one: Change) -> ShownChange:
    return ShownChange.model_validate(one)


def _hits(
    tx: Tx, viewer: Viewer, message: MessageId, after: tuple[datetime, HitId] | None, limit: int
) -> list[ShownHit]:
    visibility.check(tx, viewer, message)
    found = hits.of_message(tx, viewer, message, after=after, limit=limit)
    to = {one.id: one.address for one in deliveries.of_message(tx, viewer.org, message)} if found else {}
    return [_hit(one, to.get(DeliveryId(one.raw.delivery))) for one in found]


def _hit(one: Hit, recipient: MailAddress | None) -> ShownHit:
    raw, judged = one.raw, one.judged
    return ShownHit(
        id=raw.id,
        kind=raw.kind,
        delivery=raw.delivery,
        recipient=recipient,
        link=raw.link,
        url=raw.url,
        at=raw.at,
        by=judged.by,
        reasons=judged.reasons,
        rules=judged.rules,
        ip=raw.ip,
        agent=raw.agent,
        method=raw.method,
        headers=dict(raw.headers),
    )


def _place(after: str) -> tuple[datetime, HitId] | None:
    if not after:
        return None
    at, _, last = after.partition(" ")
    return moment(at), HitId(last)
