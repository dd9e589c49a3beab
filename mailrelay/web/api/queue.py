"""The queue: deliveries with their attempts, and the replies of the other side word for word."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from mailrelay.ids import DeliveryId
from mailrelay.model.delivery import (
    Accepted,
    Attempt,
    Deferred,
    Delivery,
    DeliveryState,
    DeliveryStatus,
    Interrupted,
    Refused,
    Stage,
)
from mailrelay.model.envelope import Channel
from mailrelay.model.event import Event
from mailrelay.model.feedback import Action, Category, Fault, Feedback, Tie
from mailrelay.model.hit import Engagement
from mailrelay.model.message import Kind
from mailrelay.model.organisation import Right
from mailrelay.model.reply import Reply
from mailrelay.model.tracking import Mode, Tracked
from mailrelay.store import deliveries, delivery_counts, events, feedback, hits, selection_ways, selections
from mailrelay.store.base import Tx
from mailrelay.store.visibility import Viewer
from mailrelay.web.api.events import ShownEvent
from mailrelay.web.api.hits import ShownEngagement
from mailrelay.web.application import App
from mailrelay.web.identity import Reader, the_operator
from mailrelay.web.selection import Selected
from mailrelay.web.shape import After, Limit, MailAddress, Page, Paged, Shown
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["queue"])
_BOUNCES = (DeliveryState.BOUNCED, DeliveryState.EXPIRED)


class ShownDelivery(Shown):
    """One recipient of one outgoing message; `last_reply` is the other side's last word.

    `status` is its `state`, but "deferred" for one that is queued again because it was put off, and "replied" for one that a
    person answered (K1). `category` is what its last bad answer means, `fault` whose doing it was.
    """

    id: str
    message: str
    queue_id: str
    channel: Channel
    sender: Annotated[str, Field(description="The author's envelope sender; <> for a notice of our own.")]
    recipient: MailAddress
    state: DeliveryState
    status: DeliveryStatus
    created_at: datetime
    due_at: datetime
    expires_at: datetime
    attempts: int
    last_reply: str
    category: Category | None
    bounce: Annotated[Literal["hard", "soft"] | None, Field(description="Class of a bounce.")]
    fault: Fault | None
    job: str
    list: str
    held_by: Annotated[
        str,
        Field(description="What holds it: a suspension, `job:name`, `domain:name`, …; or hand, poison, unconfirmed."),
    ]
    scheduled_for: Annotated[datetime | None, Field(description="When its author wanted it to go.")]
    faults: Annotated[int, Field(description="Attempts that our own code failed in.")]
    tracking: Annotated[
        Mode | None, Field(description="What its author asked to be recorded; null: as the organisation has it.")
    ]
    tracked: Annotated[Tracked, Field(description="What became of its copy when it left; empty before that.")]
    opened_at: Annotated[datetime | None, Field(description="When a person opened it first.")]
    clicked_at: Annotated[datetime | None, Field(description="When a person followed one of its links first.")]
    delivered_at: Annotated[datetime | None, Field(description="When a notice came that says it arrived.")]
    replied_at: datetime | None
    complained_at: datetime | None

    @classmethod
    def of(cls, one: Delivery, silent_since: datetime) -> ShownDelivery:
        """The delivery as it is answered; what was sent by `silent_since` and did not bounce counts as delivered (K1)."""
        return cls(
            id=one.id,
            message=one.message,
            queue_id=one.queue_id,
            channel=one.channel,
            sender=selection_ways.NOBODY if one.mail_from is None else str(one.mail_from),
            recipient=one.address,
            state=one.state,
            status=one.status_when(silent_since),
            created_at=one.created_at,
            due_at=one.due_at,
            expires_at=one.expires_at,
            attempts=one.attempts,
            last_reply=one.last_reply,
            category=one.category,
            bounce=("hard" if one.hard else "soft") if _was_answered(one) else None,
            fault=one.fault,
            job=one.job,
            list=one.list,
            held_by=one.held_by,
            scheduled_for=one.scheduled_for,
            faults=one.faults,
            tracking=one.tracking,
            tracked=one.tracked,
            opened_at=one.opened_at,
            clicked_at=one.clicked_at,
            delivered_at=one.delivered_at,
            replied_at=one.replied_at,
            complained_at=one.complained_at,
        )


def _was_answered(one: Delivery) -> bool:
    """Whether its end, or its last answer, is a bounce of a class."""
    return (one.state in _BOUNCES and one.category is not Category.BY_HAND) or one.hard


class ShownReply(Shown):
    """An SMTP reply, word for word."""

    code: int
    status: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, one: Reply) -> ShownReply:
        """The reply as it is answered."""
        return cls(code=one.code, status=str(one.status or ""), lines=one.lines)


class ShownTls(Shown):
    """What was seen of the other side's TLS."""

    protocol: str
    cipher: str
    verified: bool
    detail: str


class ShownAttempt(Shown):
    """One try at one host. `outcome` is "under way" until it is known; `detail` says how a dialogue broke off."""

    number: int
    began_at: datetime
    ended_at: datetime | None
    host: str
    tls: ShownTls | None
    outcome: str
    stage: Stage | None
    reply: ShownReply | None
    detail: str

    @classmethod
    def of(cls, one: Attempt) -> ShownAttempt:
        """The attempt as it is answered."""
        outcome, reply, detail = _told(one)
        return cls(
            number=one.number,
            began_at=one.began_at,
            ended_at=one.ended_at,
            host=one.host,
            tls=None if one.tls is None else ShownTls.model_validate(one.tls),
            outcome=outcome,
            stage=None if one.outcome is None or isinstance(one.outcome, Accepted) else one.outcome.stage,
            reply=None if reply is None else ShownReply.of(reply),
            detail=detail,
        )


def _told(one: Attempt) -> tuple[str, Reply | None, str]:
    """The outcome in a word, the reply, and what else there is to say."""
    match one.outcome:
        case Accepted(reply=reply):
            return "accepted", reply, ""
        case Deferred(reply=reply):
            return "deferred", reply, ""
        case Refused(reply=reply, by_us=by_us):
            return "refused", reply, "nobody else was asked" if by_us else ""
        case Interrupted(detail=detail):
            return "interrupted", None, detail
        case None:
            return "under way", None, ""


class ShownFeedback(Shown):
    """What a mail that came back says of one recipient. `tie` says what makes it one about `delivery`.

    Only what is `believed` changed anything: it is tied by what nobody can guess, and about the delivery's own recipient.
    """

    message: Annotated[str, Field(description="The mail that came back.")]
    arrival: str
    delivery: str | None
    kind: Kind
    recipient: str
    action: Action
    category: Category
    hard: bool
    fault: Fault
    status: str
    code: int | None
    diagnostic: str
    tie: Tie
    believed: bool
    at: datetime


class DeliveryHistory(ShownDelivery):
    """A delivery with every attempt, what came back about it, and what its recipient did with it, null for nothing that we know."""

    history: tuple[ShownAttempt, ...]
    returned: tuple[ShownFeedback, ...]
    engagement: ShownEngagement | None

    @classmethod
    def told(
        cls,
        one: Delivery,
        attempts: Sequence[Attempt],
        returned: Sequence[Feedback],
        engagement: Engagement | None,
        *,
        silent_since: datetime,
    ) -> DeliveryHistory:
        """The delivery as it is answered; `returned` may hold what is about others."""
        return cls(
            **ShownDelivery.of(one, silent_since).model_dump(),
            history=tuple(ShownAttempt.of(attempt) for attempt in attempts),
            returned=tuple(ShownFeedback.model_validate(each) for each in returned if each.delivery == one.id),
            engagement=None if engagement is None else ShownEngagement.of(engagement),
        )


class DeliveryStory(DeliveryHistory):
    """A delivery with all that ever happened to it, and to whose account; `trace` is what our code said when it failed on it."""

    events: tuple[ShownEvent, ...]
    trace: str


class CountedStatus(Shown):
    """Deliveries of one status that the same holds; "" where nothing does."""

    status: DeliveryStatus
    held_by: str
    count: int


class ShownCounts(Shown):
    """How many deliveries there are; where not `complete` there are more than `count`."""

    count: int
    complete: bool
    by: tuple[CountedStatus, ...]

    @classmethod
    def of(cls, found: selections.Counted) -> ShownCounts:
        """The counts as they are answered."""
        by = (
            CountedStatus(status=status, held_by=held_by, count=number)
            for (status, held_by), number in sorted(found.by.items())
        )
        return cls(count=found.number, complete=found.complete, by=tuple(by))


class ShownCount(Shown):
    """Deliveries of one status, each counted once, and since when the oldest is due."""

    state: Annotated[DeliveryStatus, Field(validation_alias="status")]
    count: int
    oldest_due: datetime | None


@router.get("/queue", response_model=Page[ShownDelivery])
async def list_all(
    app: App,
    caller: Reader,
    selection: Selected,
    order: Annotated[Literal["newest", "oldest"], Query(description="Which come first.")] = "newest",
    after: After = "",
    limit: Limit = 100,
) -> Paged[ShownDelivery]:
    """Deliveries that fit all that is said. A page may be short, even empty, and have a `next`: where few of very many fit."""
    found = await app.store.read(
        selections.find,
        caller.org,
        selection,
        viewer=caller.viewer,
        after=DeliveryId(after) if after else None,
        oldest_first=order == "oldest",
        limit=limit,
    )
    silent = await app.store.read(deliveries.silent_since, caller.org, now=app.clock.now())
    return Paged([ShownDelivery.of(one, silent) for one in found.deliveries], found.next)


@router.get("/queue/count")
async def count(app: App, caller: Reader, selection: Selected) -> ShownCounts:
    """How many deliveries fit all that is said: exactly up to 10,000."""
    return ShownCounts.of(await app.store.read(selections.count, caller.org, selection, viewer=caller.viewer))


@router.get("/queue/counts", response_model=tuple[ShownCount, ...], dependencies=[Depends(the_operator)])
async def counts(app: App) -> Sequence[delivery_counts.StatusCount]:
    """How many deliveries are in flight, by status: of the installation, so for its operator on the Unix socket."""
    return await app.store.read(delivery_counts.status_counts)


@router.get("/queue/{delivery}")
async def show(app: App, caller: Reader, delivery: str) -> DeliveryStory:
    """One delivery, with every attempt, what came back about it, and all that happened to it."""
    one, attempts, returned, done, happened = await app.store.read(_story, caller.viewer, DeliveryId(delivery))
    silent = await app.store.read(deliveries.silent_since, caller.org, now=app.clock.now())
    return DeliveryStory(
        **DeliveryHistory.told(one, attempts, returned, done, silent_since=silent).model_dump(),
        events=tuple(ShownEvent.of(event) for event in happened),
        # Our code's own words are for those who run it.
        trace=one.trace if caller.may(Right.ADMIN) else "",
    )


def _story(
    tx: Tx, viewer: Viewer, delivery: DeliveryId
) -> tuple[Delivery, Sequence[Attempt], Sequence[Feedback], Engagement | None, Sequence[Event]]:
    one = deliveries.get(tx, viewer.org, delivery, viewer=viewer)
    happened = events.of_delivery(tx, viewer.org, one.message, one.id)
    done = hits.engagements(tx, viewer.org, one.message).get(one.id)
    return one, deliveries.history(tx, delivery), feedback.of_deliveries(tx, viewer.org, [delivery]), done, happened
