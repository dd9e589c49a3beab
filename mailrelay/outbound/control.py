"""Carries out what somebody does to many deliveries: piece by piece, each in a transaction of its own (R3).

A delivery in the middle of an attempt is not changed. What must stop is looked at again when its attempt has ended, so that it is
not attempted anew; and its final dot is held back meanwhile (`stops.Stops`, Q06).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from mailrelay import log, metrics
from mailrelay.config.schema import BrakeLevels
from mailrelay.ids import DeliveryId, OrgId
from mailrelay.model.delivery import IN_FLIGHT_DELIVERIES, Delivery, DeliveryState, DeliveryStatus
from mailrelay.model.operation import STOPPING, Control, Operation, Selection, states_of
from mailrelay.model.sending import Counts
from mailrelay.outbound import brake, consequences
from mailrelay.outbound.policy import notices
from mailrelay.outbound.policy.control import UNDER_WAY, left_as
from mailrelay.outbound.verdict import reported
from mailrelay.store import controls, feedback, operations, selection_ways, selections
from mailrelay.store.base import Tx
from mailrelay.store.selections import Counted

STEP: Final = 500
"""Deliveries that are changed in one transaction; settlements wait for it."""
FAILED: Final = "failed"
"""How a delivery is counted that our own code failed on."""
_MOST_UNDER_WAY = 5_000
_MOST_NAMES = 50
_RETURNED = "returned by those who run the mail"
_logger = log.get()


@dataclass(frozen=True, slots=True)
class Plan:
    """What an operation would do now: to how many, and how many it would leave, by what they are."""

    changes: int
    left: Mapping[str, int]
    complete: bool
    """Whether all were counted; else there are more."""


def plan(tx: Tx, org: OrgId, control: Control, selection: Selection, *, again: bool) -> Plan:
    """Count what `control` would do, and do nothing."""
    counted = selections.count(tx, org, selection, within=_within(selection))
    return Plan(*_planned(control, counted, again=again), complete=counted.complete)


def step(tx: Tx, one: Operation, *, at: datetime, brakes: BrakeLevels, limit: int = STEP) -> Operation:
    """Carry out the next piece of an operation that `operations` has given the caller alone; how far it is then."""
    one = _look_again(tx, one, at=at, brakes=brakes)
    if one.cursor < one.until:
        ids, cursor = _next(tx, one, limit)
        ours = selections.locked(tx, one.org, one.selection, ids, within=_within(one.selection))
        one = _carry_out(tx, replace(one, cursor=cursor), ours, at=at, brakes=brakes)
    if one.cursor >= one.until and not one.under_way:
        one = replace(one, ended_at=at)
    operations.put(tx, one)
    return one


def skip(tx: Tx, one: Operation, *, at: datetime) -> Operation:
    """Leave out the next delivery, which our own code fails on, so that the others are not."""
    past = {"under_way": one.under_way[1:]} if one.under_way else {"cursor": _next(tx, one, 1)[1]}
    one = replace(one, **past, left={**one.left, FAILED: one.left.get(FAILED, 0) + 1})
    if one.cursor >= one.until and not one.under_way:
        one = replace(one, ended_at=at)
    operations.put(tx, one)
    return one


def _next(tx: Tx, one: Operation, limit: int) -> tuple[list[DeliveryId], DeliveryId]:
    """Those that come next, and how far the operation is with them."""
    ids, cursor = selections.ids(
        tx,
        one.org,
        one.selection,
        within=_within(one.selection),
        after=one.cursor,
        until=one.until,
        oldest_first=True,
        limit=limit,
    )
    return ids, cursor or one.until


def _within(selection: Selection) -> frozenset[DeliveryState]:
    """What has ended is never changed; who names a delivery is told all the same that it has."""
    return selection_ways.ALL if selection.deliveries else IN_FLIGHT_DELIVERIES


def _planned(control: Control, counted: Counted, *, again: bool) -> tuple[int, dict[str, int]]:
    changes, left = 0, Counter[str]()
    for (status, held_by), number in counted.by.items():
        name = left_as(control, _state(status), held_by, again=again)
        if name:
            left[name] += number
        else:
            changes += number
    return changes, _few(left)


def _state(status: DeliveryStatus) -> DeliveryState:
    return min(states_of(status))


def _look_again(tx: Tx, one: Operation, *, at: datetime, brakes: BrakeLevels) -> Operation:
    """Those that were under way, as their attempts have left them."""
    if not one.under_way:
        return one
    ours = selections.locked(tx, one.org, Selection(deliveries=one.under_way), one.under_way)
    return _carry_out(tx, replace(one, under_way=()), ours, at=at, brakes=brakes)


def _carry_out(tx: Tx, one: Operation, ours: Sequence[Delivery], *, at: datetime, brakes: BrakeLevels) -> Operation:
    begun = controls.begun(tx, [each.id for each in ours if each.state is DeliveryState.SENDING])
    left: Counter[str] = Counter(one.left)
    under_way = list(one.under_way)
    changed: list[Delivery] = []
    for each in ours:
        # A claim is no attempt yet: nobody has been dialled.
        state = DeliveryState.QUEUED if each.state is DeliveryState.SENDING and each.id not in begun else each.state
        name = left_as(one.control, state, each.held_by, again=one.again)
        if name == UNDER_WAY and one.control in STOPPING and len(under_way) < _MOST_UNDER_WAY:
            under_way.append(each.id)
        elif name:
            left[name] += 1
        else:
            changed.append(each)
    if changed:
        _change(tx, one, changed, at=at, brakes=brakes)
        tx.afterwards(partial(metrics.controlled.labels(one.control).inc, len(changed)))
    return replace(one, changed=one.changed + len(changed), left=_few(left), under_way=tuple(under_way))


def _change(tx: Tx, one: Operation, ours: Sequence[Delivery], *, at: datetime, brakes: BrakeLevels) -> None:
    because = {"operation": one.id, "by": one.by, "reason": one.reason}
    match one.control:
        case Control.HOLD:
            controls.hold(tx, ours, at=at, because=because)
        case Control.RELEASE:
            controls.release(tx, ours, at=at, because=because)
        case Control.RETRY:
            controls.hasten(tx, ours, at=at, because=because)
        case Control.CANCEL:
            controls.cancel(tx, ours, at=at, because=because)
            _told(tx, ours, DeliveryState.CANCELLED, one)
        case Control.BOUNCE:
            owed = [(each, notices.owed(each, DeliveryState.BOUNCED, now=at, delay_after=timedelta())) for each in ours]
            controls.bounce(tx, owed, at=at, reply=one.reason or _RETURNED, because=because)
            _told(tx, ours, DeliveryState.BOUNCED, one)
        case Control.CONFIRM:
            controls.confirm(tx, ours, at=at, because=because)
            _confirmed(tx, ours, at=at, brakes=brakes)
            _told(tx, ours, DeliveryState.SENT, one)


def _confirmed(tx: Tx, ours: Sequence[Delivery], *, at: datetime, brakes: BrakeLevels) -> None:
    """What follows from having been sent: it counts so, and reports that came meanwhile are acted on."""
    brake.count(tx, [(each, Counts(sent=1)) for each in ours], at=at)
    of = {each.id: each for each in ours}
    came = feedback.overtaking(tx, of)
    consequences.returned(
        tx, [reported(row, of[row.delivery]) for row in came if row.delivery in of], at=at, brakes=brakes
    )


def _few(left: Mapping[str, int]) -> dict[str, int]:
    """At most so many names; what a page of names would not say, the last one does."""
    kept = sorted(left.items(), key=lambda item: (-item[1], item[0]))
    more = sum(number for _, number in kept[_MOST_NAMES:])
    return dict(kept[:_MOST_NAMES]) | ({"held by others": more} if more else {})


def _told(tx: Tx, ours: Iterable[Delivery], state: DeliveryState, one: Operation) -> None:
    tx.afterwards(partial(_tell, tuple(ours), state, one))


def _tell(ours: Sequence[Delivery], state: DeliveryState, one: Operation) -> None:
    metrics.delivery_ends.labels(str(state)).inc(len(ours))
    event = f"delivery.{state}"
    for each in ours:
        _logger.info(
            event,
            org=each.org,
            queue_id=each.queue_id,
            message=each.message,
            delivery=each.id,
            recipient=str(each.address),
            operation=one.id,
            by=one.by,
            reply=one.reason,
        )
