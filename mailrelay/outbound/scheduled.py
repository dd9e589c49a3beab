"""Changing scheduled mail until it is claimed: moved, sent now, cancelled, replaced; by its author only (O5).

Each function is one transaction. It locks the schedule and its deliveries, so that a change comes before the claim or is refused;
all deliveries of a mail change together. What waits on for somebody who is away (I25) when the rest has gone can be moved, sent and
cancelled, but not replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from mailrelay.errors import Conflict, NotPermitted, Outdated
from mailrelay.ids import OrgId, UserId
from mailrelay.model.delivery import IN_FLIGHT_DELIVERIES, Delivery, DeliveryState
from mailrelay.model.event import EventType
from mailrelay.model.organisation import User
from mailrelay.model.quota import QuotaKind
from mailrelay.model.schedule import Plan, Schedule, Wish
from mailrelay.model.tracking import Mode
from mailrelay.outbound import allowance
from mailrelay.outbound.policy import quota as quota_policy
from mailrelay.outbound.policy import schedule as policy
from mailrelay.store import absences, deliveries, organisations, people, quotas, schedules
from mailrelay.store.base import Tx
from mailrelay.store.destinations import wake

_REPLACED = "replaced by its author before it went"
_CANCELLED = "cancelled by its author before it went"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for scheduled mail: how long it is tried from its time on, how far ahead it may be, whether it is counted."""

    lifetime: timedelta
    ahead: timedelta
    quotas: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who changes which scheduled mail (its id, or its queue id now), and when; `version` is the one that they saw, if they say so."""

    org: OrgId
    id: str
    by: UserId
    now: datetime
    version: int | None = None


def zone_of(tx: Tx, user: User) -> ZoneInfo:
    """Where a user is: as their settings say, or where the organisation is."""
    return ZoneInfo(user.settings.time_zone or organisations.get(tx, user.org).time_zone)


def move(tx: Tx, change: Change, wish: Wish, terms: Terms) -> Schedule:
    """Let it go at another time. Raises as `taken` does, Invalid, and QuotaSpent for a day that has too little left."""
    known, waiting = taken(tx, change)
    plan = policy.resolve(wish, zone=ZoneInfo(known.zone), now=change.now, ahead=terms.ahead)
    moved = _changed(tx, known, waiting, plan, change, terms)
    schedules.move(tx, waiting, due_at=plan.due_at, lifetime=terms.lifetime)
    data = {"due_at": plan.due_at.isoformat(), "zone": plan.zone.key, "by": change.by}
    schedules.tell(tx, waiting, EventType.DELIVERY_SCHEDULED, at=change.now, data=data)
    return moved


def send(tx: Tx, change: Change, terms: Terms) -> Schedule:
    """Let it go now, also to whoever is away. Raises as `taken` does, and QuotaSpent when today has too little left."""
    known, waiting = taken(tx, change)
    plan = Plan(due_at=change.now, zone=ZoneInfo(known.zone), preset=None)
    sent = _changed(tx, replace(known, hastened=True), waiting, plan, change, terms)
    schedules.send(tx, waiting, now=change.now, lifetime=terms.lifetime)
    schedules.tell(tx, waiting, EventType.DELIVERY_HASTENED, at=change.now, data={"by": change.by})
    return sent


def cancel(tx: Tx, change: Change) -> Schedule:
    """End it unsent, and give its day's quota back. Raises as `taken` does."""
    known, waiting = taken(tx, change)
    _end(tx, known, waiting, change, _CANCELLED)
    ended = replace(known, version=known.version + 1, changed_at=change.now)
    schedules.put(tx, ended)
    return ended


def end_old(tx: Tx, change: Change) -> None:
    """End what is to be replaced, in the transaction that queues its new content. Raises as `taken` does.

    The schedule itself is written by whoever queues the new content.
    """
    known, waiting = taken(tx, change, whole=True)
    _end(tx, known, waiting, change, _REPLACED)


@dataclass(frozen=True, slots=True)
class Said:
    """What the author of a scheduled mail said of it besides its content, and what holds on for new content that says nothing."""

    job: str = ""
    list: str = ""
    tracking: Mode | None = None


def kept(tx: Tx, change: Change) -> tuple[Schedule, Wish, Said]:
    """The schedule, its time and what else was said of it, for who replaces its content and keeps that.

    Raises Unknown, NotPermitted, Outdated.
    """
    known = _permitted(tx, schedules.get(tx, change.org, change.id), change)
    all_of_it = deliveries.of_queue_id(tx, known.queue_id)
    # What waits for somebody who is away has a later time than its author gave.
    waiting = [one.due_at for one in all_of_it if one.state is DeliveryState.SCHEDULED]
    said = next((Said(one.job, one.list, one.tracking) for one in all_of_it), Said())
    return known, Wish(at=max(waiting, default=known.due_at), zone=ZoneInfo(known.zone)), said


def taken(tx: Tx, change: Change, *, whole: bool = False) -> tuple[Schedule, list[Delivery]]:
    """The schedule and those of its deliveries that still wait, locked; with `whole` only when no other has gone.

    Raises Unknown, NotPermitted for anybody but its author, Outdated, and Conflict when it is going out, or has ended.
    """
    known = _permitted(tx, schedules.locked(tx, change.org, change.id), change)
    all_of_it = schedules.locked_deliveries(tx, known.queue_id)
    waiting = [one for one in all_of_it if one.state is DeliveryState.SCHEDULED]
    # What somebody ended before it was tried has not gone.
    gone = [one for one in all_of_it if one not in waiting and (one.state in IN_FLIGHT_DELIVERIES or one.attempts)]
    if not waiting:
        raise Conflict(_why_not(gone))
    if gone and (whole or len(schedules.parked(tx, [one.id for one in waiting])) < len(waiting)):
        raise Conflict(_why_not(gone))
    return known, waiting


def park_absent(tx: Tx, held: Sequence[Delivery], now: datetime) -> list[Delivery]:
    """Give claimed deliveries back that were scheduled and whose recipient is away, until they are there again (I25); which.

    Only what was not tried yet, once for each absence, and not what its author sent now. It expires as long after that day as it
    would have after its own.
    """
    first_tries = [one for one in held if one.scheduled_for is not None and not one.attempts]
    found: list[tuple[Delivery, datetime]] = []
    for org in sorted({one.org for one in first_tries}):
        keys = sorted({one.address.key for one in first_tries if one.org == org})
        away = {one.key: one.until for one in absences.of(tx, org, keys, now) if not one.gone}
        found += [
            (one, until) for one in first_tries if one.org == org and (until := away.get(one.address.key)) is not None
        ]
    if not found:
        return []
    before = schedules.parked(tx, [one.id for one, _ in found])
    sent_now = schedules.hastened(tx, {one.queue_id for one, _ in found})
    never = datetime.min.replace(tzinfo=UTC)
    return [
        one
        for one, until in found
        if one.queue_id not in sent_now and before.get(one.id, never) < until and _park(tx, one, until, now)
    ]


def _park(tx: Tx, one: Delivery, until: datetime, now: datetime) -> bool:
    if not schedules.park(tx, one, until=until, at=now):
        return False
    wake(tx, {one.address.domain: until})
    because = f"{one.address} is away until {until:%Y-%m-%d}, by an automatic reply"
    data = {"due_at": until.isoformat(), "because": because}
    schedules.tell(tx, [one], EventType.DELIVERY_SCHEDULED, at=now, data=data)
    return True


def _permitted(tx: Tx, known: Schedule, change: Change) -> Schedule:
    if known.author != change.by:
        author = people.get(tx, known.org, known.author)
        raise NotPermitted(f"Only its author, {author.name} ({author.primary}), may change a scheduled mail")
    if change.version is not None and change.version != known.version:
        raise Outdated(f"It changed meanwhile: it is version {known.version} now, not {change.version}; look again")
    return known


def _why_not(gone: Sequence[Delivery]) -> str:
    states = {one.state for one in gone}
    if DeliveryState.HELD in states:
        return "It is held by somebody who looks after the queue, and cannot be changed"
    if states & {DeliveryState.QUEUED, DeliveryState.SENDING}:
        return "It is going out, and cannot be changed any more"
    return "It has gone out, and cannot be changed any more" if states else "It has ended unsent, and cannot be changed"


def _changed(
    tx: Tx, known: Schedule, waiting: Sequence[Delivery], plan: Plan, change: Change, terms: Terms
) -> Schedule:
    """Count it on its new day, and keep the schedule as it is then."""
    organisation = organisations.get(tx, known.org)
    day = quota_policy.day_of(plan.due_at, ZoneInfo(organisation.time_zone))
    counted = known.counted
    if day != known.day:
        _give_back(tx, known, len(waiting))
        counted = terms.quotas
        if counted:
            users = people.count_confirmed(tx, known.org)
            allowed = allowance.allowed(organisation, QuotaKind.MASS, users, at=plan.due_at)
            allowance.spend(tx, known.org, allowed, len(waiting), now=change.now)
    new = replace(
        known,
        due_at=plan.due_at,
        zone=plan.zone.key,
        preset=plan.preset,
        day=day,
        counted=counted,
        version=known.version + 1,
        changed_at=change.now,
    )
    schedules.put(tx, new)
    return new


def _end(tx: Tx, known: Schedule, waiting: Sequence[Delivery], change: Change, reason: str) -> None:
    schedules.cancel(tx, waiting, reason=reason, at=change.now)
    _give_back(tx, known, len(waiting))
    data = {"reason": reason, "by": change.by}
    schedules.tell(tx, waiting, EventType.DELIVERY_CANCELLED, at=change.now, data=data)


def _give_back(tx: Tx, known: Schedule, number: int) -> None:
    """Its day gets so many units back, if it was counted."""
    if known.counted:
        quotas.give_back(tx, known.org, QuotaKind.MASS, known.day, number)
