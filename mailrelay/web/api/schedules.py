"""Scheduled mail: listed, shown, and until it goes moved, sent now, replaced or cancelled, by its author only (O5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Invalid, NotPermitted
from mailrelay.ids import MessageId
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.organisation import User
from mailrelay.model.schedule import Preset, Schedule
from mailrelay.outbound import scheduled
from mailrelay.outbound.policy.schedule import offers
from mailrelay.store import deliveries, messages, organisations, people, schedules
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web.api.author import author_of
from mailrelay.web.api.given_message import A_MESSAGE, QueryAt, QueryPreset, QueryZone, asked_for
from mailrelay.web.api.read_submission import read_submission
from mailrelay.web.api.scheduling import GivenSchedule, ShownSchedule
from mailrelay.web.api.submissions import Queued
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Caller, Reader, Sender
from mailrelay.web.shape import After, Limit, MailAddress, Page, Paged, Shown, TimeZone, in_field
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["schedules"])
S = TypeVar("S", bound=ShownSchedule)
_VERSION = re.compile(r'"(\d{1,9})"', re.ASCII)
_AFTER = re.compile(r"(\d{1,17})/(\w{1,64})", re.ASCII)

OnBehalf = Annotated[
    str,
    Query(max_length=320, description="Its author, by id or address, where the token acts on behalf of nobody."),
]
IfMatch = Annotated[
    str | None, Header(description='The version that was seen, `"3"`: what changed since is refused with 412.')
]


class ShownWaiting(ShownSchedule):
    """A scheduled mail, or those of its recipients that wait longer since they are away."""

    subject: str
    recipients: int


class ShownRecipient(Shown):
    """One recipient. `parked_until` is set where the mail waits, or waited, for who is away."""

    delivery: str
    recipient: MailAddress
    state: DeliveryState
    due_at: datetime
    parked_until: datetime | None


class ShownDetail(ShownSchedule):
    """A scheduled mail with its recipients. `hastened`: its author sent it now."""

    message: str
    subject: str
    created_at: datetime
    changed_at: datetime
    hastened: bool
    recipients: tuple[ShownRecipient, ...]


class ShownPreset(Shown):
    """A time by name as it would be now; `passed` when it is over for today."""

    preset: Preset
    at: Annotated[datetime, Field(description="With the offset of its zone.")]
    passed: bool


@router.get("/schedules", response_model=Page[ShownWaiting])
async def list_all(
    app: App,
    caller: Reader,
    user: Annotated[str, Query(max_length=320, description="Only what this user scheduled, by id or address.")] = "",
    after: After = "",
    limit: Limit = 100,
) -> Paged[ShownWaiting]:
    """Scheduled mail, what goes first first."""
    return await app.store.read(_list, caller, user, after, limit)


@router.get("/schedules/presets", response_model=tuple[ShownPreset, ...])
async def presets(
    app: App,
    caller: Reader,
    zone: Annotated[
        TimeZone | None, Query(description="Where; by default where the token's user or organisation is.")
    ] = None,
) -> Sequence[object]:
    """The times that have a name, and when each would be."""
    where = ZoneInfo(zone) if zone else await app.store.read(_zone_of, caller)
    return offers(where, app.clock.now())


@router.get("/schedules/{schedule}")
async def show(app: App, caller: Reader, response: Response, schedule: str) -> ShownDetail:
    """One scheduled mail with its recipients, by its id or queue id; also after it went."""
    return _tagged(response, await app.store.read(_detail, caller, schedule))


@router.put("/schedules/{schedule}", openapi_extra=A_MESSAGE)
async def edit(
    app: App,
    caller: Sender,
    request: Request,
    response: Response,
    schedule: str,
    user: OnBehalf = "",
    at: QueryAt = "",
    zone: QueryZone = "",
    preset: QueryPreset = None,
    if_match: IfMatch = None,
    idempotency_key: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Queued:
    """Put another mail in the place of a scheduled one, with all checks of a new one; at the same time unless it says another.

    The old content ends as cancelled. The schedule keeps its id; its queue id is new. If-Match makes a repeat harmless: it is refused
    with 412 once the first was done.
    """
    if idempotency_key is not None:
        raise Invalid(
            "idempotency-key", "is not for edits: send If-Match with the version that you saw, and a repeat is refused"
        )
    change = await app.store.read(_change, app, caller, schedule, user, if_match)
    known, wish, before = await app.store.read(scheduled.kept, change)
    asked = asked_for(at, zone, preset)
    submission = await read_submission(app, caller, request, user=known.author, schedule=asked)
    seen = replace(change, version=known.version)
    queued = await app.submitter.submit(
        replace(
            submission,
            schedule=submission.schedule or wish,
            revises=known,
            job=submission.job or before.job,
            list=submission.list or ("" if submission.job else before.list),
            tracking=submission.tracking or before.tracking,
        ),
        provided=lambda tx: scheduled.end_old(tx, seen),
    )
    response.headers["ETag"] = f'"{known.version + 1}"'
    return Queued.of(queued)


@router.post("/schedules/{schedule}/move")
async def move(
    app: App,
    caller: Sender,
    response: Response,
    schedule: str,
    given: GivenSchedule,
    user: OnBehalf = "",
    if_match: IfMatch = None,
) -> ShownSchedule:
    """Let it go at another time; a time without a zone is in the schedule's own."""
    wish, terms = given.wish(), app.submitter.terms

    def moved(tx: Tx) -> Schedule:
        return scheduled.move(tx, _change(tx, app, caller, schedule, user, if_match), wish, terms)

    return _tagged(response, ShownSchedule.of(await app.store.write(moved)))


@router.post("/schedules/{schedule}/now")
async def send_now(
    app: App, caller: Sender, response: Response, schedule: str, user: OnBehalf = "", if_match: IfMatch = None
) -> ShownSchedule:
    """Let it go now, also to whoever is away."""
    terms = app.submitter.terms

    def sent(tx: Tx) -> Schedule:
        return scheduled.send(tx, _change(tx, app, caller, schedule, user, if_match), terms)

    return _tagged(response, ShownSchedule.of(await app.store.write(sent)))


@router.post("/schedules/{schedule}/cancel")
async def cancel(
    app: App, caller: Sender, response: Response, schedule: str, user: OnBehalf = "", if_match: IfMatch = None
) -> ShownSchedule:
    """Do not send it at all."""

    def cancelled(tx: Tx) -> Schedule:
        return scheduled.cancel(tx, _change(tx, app, caller, schedule, user, if_match))

    return _tagged(response, ShownSchedule.of(await app.store.write(cancelled)))


def _tagged(response: Response, shown: S) -> S:
    response.headers["ETag"] = f'"{shown.version}"'
    return shown


def _change(
    tx: Tx, app: Application, caller: Caller, schedule: str, user: str, if_match: str | None
) -> scheduled.Change:
    """Who wants to change what. Raises Unknown, NotPermitted, Invalid."""
    known = schedules.get(tx, caller.org, schedule, viewer=caller.viewer)
    if caller.user is None and not user:
        author = people.get(tx, caller.org, known.author)
        raise NotPermitted(
            f"Only its author, {author.name} ({author.primary}), may change a scheduled mail; say on whose behalf with ?user="
        )
    version = None
    if if_match is not None and if_match.strip() != "*":
        seen = _VERSION.fullmatch(if_match.strip())
        if seen is None:
            raise Invalid("if-match", 'must be one version in quotes, such as "3"')
        version = int(seen[1])
    by = author_of(tx, caller, user, None).id
    return scheduled.Change(org=caller.org, id=schedule, by=by, now=app.clock.now(), version=version)


def _list(tx: Tx, caller: Caller, user: str, after: str, limit: int) -> Paged[ShownWaiting]:
    with in_field("user"):
        author: User | None = find(tx, caller.org, user) if user else None
    seen = _AFTER.fullmatch(after)
    if after and seen is None:
        raise Invalid("after", "is not the `next` of a page")
    found = schedules.list_waiting(
        tx,
        caller.org,
        viewer=caller.viewer,
        author=None if author is None else author.id,
        after=None if seen is None else (from_micros(int(seen[1])), seen[2]),
        limit=limit,
    )
    subjects = {one.id: one.subject for one in messages.get_many(tx, caller.org, [one.message for one in found])}
    items = [
        ShownWaiting(
            **ShownSchedule.of(one.schedule, one.due_at).model_dump(),
            subject=subjects.get(one.message, ""),
            recipients=one.recipients,
        )
        for one in found
    ]
    last = f"{to_micros(found[-1].due_at)}/{found[-1].schedule.queue_id}" if len(found) >= limit else None
    return Paged(items, last)


def _detail(tx: Tx, caller: Caller, schedule: str) -> ShownDetail:
    known = schedules.get(tx, caller.org, schedule, viewer=caller.viewer)
    made = deliveries.of_queue_id(tx, known.queue_id)
    parked = schedules.parked(tx, [one.id for one in made])
    message = MessageId(made[0].message) if made else MessageId("")
    subjects = [one.subject for one in messages.get_many(tx, caller.org, [message])]
    return ShownDetail(
        **ShownSchedule.of(known).model_dump(),
        message=message,
        subject=subjects[0] if subjects else "",
        created_at=known.created_at,
        changed_at=known.changed_at,
        hastened=known.hastened,
        recipients=tuple(
            ShownRecipient(
                delivery=one.id,
                recipient=one.address,
                state=one.state,
                due_at=one.due_at,
                parked_until=parked.get(one.id),
            )
            for one in made
        ),
    )


def _zone_of(tx: Tx, caller: Caller) -> ZoneInfo:
    if caller.user is not None:
        return scheduled.zone_of(tx, people.get(tx, caller.org, caller.user))
    return ZoneInfo(organisations.get(tx, caller.org).time_zone)
