"""Jobs, sending domains, destinations and sources whose mail is held until somebody resumes it, and why (O11, O17, O18).

Nothing of it is lost meanwhile: what waits is HELD with the suspension's name on it, what comes is held at its first attempt, and
all of it is due again with the resumption. What waits may be much: the first of it is held and released at once, the rest is held
at its attempt, and released piece by piece (`left_behind`, `release`).

An organisation's suspension holds its own mail, EVERYBODY's holds all mail of the installation. Where both hold the same, it goes
once neither does. By which MX site or source a mail goes is known at its attempt, so what waits for those is held then.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, case, func, or_, select, text, tuple_, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Unknown
from mailrelay.ids import OrgId
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.event import EventType
from mailrelay.model.sending import COUNTED, EVERYBODY, Counts, Scope, Sending, Suspension
from mailrelay.store import deliveries, events, rows, tallies
from mailrelay.store.base import Bell, Tx
from mailrelay.store.destinations import wake_rows
from mailrelay.store.tables import DELIVERIES_WAITING, delivery, organisation, suspension

_DAYS_OF_A_DOMAIN = 7
_STANDING = text("resumed_at IS NULL")
_QUEUED = text("state = 'queued'")
_HELD = text("state = 'held'")
_AT_ONCE = 2_000
"""Deliveries that are held, or released, in one transaction; settlements wait for it."""
_OF_A_JOB = text("job <> ''")


def suspend(
    tx: Tx, *, org: OrgId, sending: Sending, reason: str, evidence: str, by: str, at: datetime
) -> Suspension | None:
    """Hold what waits of this, and what is still to come; None when it is suspended already, by the same organisation.

    Of what waits the first are held now, the others at their next attempt, before it is made. `reason` is a sentence for people,
    `by` the user who did it, or the delivery or arrival that did.
    """
    _lock(tx, org, sending, at)
    if any(one.org == org for one in _standing(tx, org, [sending])):
        return None
    since = to_micros(at)
    last = tx.execute(select(func.max(suspension.c.since)).where(*_is(org, sending))).scalar()
    if last is not None:
        since = max(since, last + 1)
    tx.execute(
        suspension.insert().values(
            org=org,
            scope=sending.scope,
            name=sending.name,
            since=since,
            reason=reason,
            evidence=evidence,
            by=by,
        )
    )
    held = _hold(tx, org, sending, at)
    data = {"reason": reason, "evidence": evidence, "by": by, "held": str(held)}
    _tell(tx, org, sending, EventType.SENDING_SUSPENDED, at, data)
    return Suspension(
        org=org,
        sending=sending,
        since=from_micros(since),
        reason=reason,
        evidence=evidence,
        by=by,
        resumed_at=None,
        resumed_by="",
        before=None,
    )


def resume(tx: Tx, org: OrgId, sending: Sending, *, by: str, at: datetime) -> Suspension:
    """Let this mail go again; what was resumed. Raises Unknown when it is not suspended.

    What was held gets the time back that it was held for, so that it does not expire of it. The first of it is released now, the
    rest is `left_behind`; EVERYBODY's is all left behind.
    """
    _lock(tx, org, sending, at)
    day = tallies.day_of(at)
    before = tallies.since(tx, org, sending, day) if sending.scope in COUNTED else None
    if sending.scope is Scope.DOMAIN:
        tallies.remember_jobs(tx, org, sending.name, day=day)
    row = tx.execute(
        update(suspension)
        .where(*_is(org, sending), _STANDING)
        .values(resumed_at=to_micros(at), resumed_by=by, before=None if before is None else rows.encode(before))
        .returning(*suspension.c)
    ).first()
    if row is None:
        where = "" if org else " for the whole installation"
        raise Unknown(f"The {sending.scope} {sending.name} is not suspended{where}")
    resumed = _suspension(row)
    released = release(tx, org, sending, at=at) if org else 0
    _tell(tx, org, sending, EventType.SENDING_RESUMED, at, {"by": by, "released": str(released)})
    return resumed


def left_behind(tx: Tx) -> Sequence[tuple[OrgId, Sending]]:
    """What still holds mail though it is not suspended any more, of all organisations; `release` it.

    What is held for another reason than a suspension is none of it.
    """
    found: list[tuple[OrgId, Sending]] = []
    last = ("", "")
    # Each step is one look into the index, however many deliveries one of them holds.
    holders = select(delivery.c.org, delivery.c.held_by).order_by(delivery.c.org, delivery.c.held_by).limit(1)
    while row := tx.execute(holders.where(_HELD, tuple_(delivery.c.org, delivery.c.held_by) > last)).first():
        last = (row.org, row.held_by)
        scope, _, name = row.held_by.partition(":")
        if scope in tuple(Scope) and name:
            sending = Sending(Scope(scope), name)
            past = [latest(tx, org, [sending]).get(sending) for org in (OrgId(row.org), EVERYBODY)]
            # Also one that stands again takes it as its own.
            if any(past) and not any(one is not None and one.resumed_at is None for one in past):
                found.append((OrgId(row.org), sending))
    return found


def release(tx: Tx, org: OrgId, sending: Sending, *, at: datetime) -> int:
    """Let the next of what a resumption left behind go; how many, 0 when nothing is left or it is suspended."""
    if covering(tx, org, [sending]):
        return 0
    return _release(tx, org, sending, at=at)


def covering(tx: Tx, org: OrgId, sendings: Collection[Sending]) -> dict[Sending, Suspension]:
    """Which of these are suspended, for this organisation or for all. They stay so until the transaction ends: a resumption waits."""
    return {one.sending: one for one in _standing(tx, org, sendings)}


def _standing(tx: Tx, org: OrgId, sendings: Collection[Sending]) -> list[Suspension]:
    """The organisation's own last."""
    found = tx.execute(
        select(suspension)
        .where(
            suspension.c.org.in_(sorted({org, EVERYBODY})),
            _STANDING,
            tuple_(suspension.c.scope, suspension.c.name).in_([(one.scope, one.name) for one in sorted(sendings)]),
        )
        .with_for_update(read=True)
    )
    return sorted(map(_suspension, found), key=lambda one: one.org)


def list_standing(tx: Tx, org: OrgId, *, after: Sending | None = None, limit: int = 100) -> Sequence[Suspension]:
    """A page of what is suspended now, by scope and name."""
    page = select(suspension).where(suspension.c.org == org, _STANDING)
    if after is not None:
        page = page.where(tuple_(suspension.c.scope, suspension.c.name) > (after.scope, after.name))
    return [
        _suspension(row)
        for row in tx.execute(page.order_by(suspension.c.scope, suspension.c.name, suspension.c.since).limit(limit))
    ]


def latest(tx: Tx, org: OrgId, sendings: Collection[Sending]) -> dict[Sending, Suspension]:
    """The last suspension of each of these that ever had one, standing or resumed."""
    found = tx.execute(
        select(suspension)
        .where(
            suspension.c.org == org,
            tuple_(suspension.c.scope, suspension.c.name).in_([(one.scope, one.name) for one in sorted(sendings)]),
        )
        .order_by(suspension.c.since)
    )
    return {one.sending: one for one in map(_suspension, found)}


def counted(tx: Tx, org: OrgId, sending: Sending, *, last: Suspension | None, at: datetime) -> Counts:
    """What counts for or against a job or domain at `at`, since its last resumption (of `last`, its latest suspension).

    Of a job that is all, of a domain seven days without what jobs answer for that were stopped themselves meanwhile: one bad mass
    mail must not stop everybody's mail as well.
    """
    first = first_day(sending.scope, at)
    resumed_on = None
    counts = tallies.since(tx, org, sending, first)
    if last is not None and last.resumed_at is not None and last.before is not None:
        resumed = tallies.day_of(last.resumed_at)
        if resumed >= first:
            first = resumed
            counts = tallies.since(tx, org, sending, first) - last.before
            resumed_on = resumed
    if sending.scope is Scope.DOMAIN:
        stopped = _stopped_since(org, first)
        of_jobs = tallies.of_jobs(tx, org, stopped, domain=sending.name, day=first)
        if resumed_on is not None:
            of_jobs -= tallies.of_jobs_before(tx, org, stopped, domain=sending.name, day=resumed_on)
        counts -= of_jobs
    return counts


def _stopped_since(org: OrgId, day: int) -> Select[str]:
    """The jobs that are suspended, or were on this day or later."""
    return select(suspension.c.name).where(
        suspension.c.org == org,
        suspension.c.scope == Scope.JOB,
        or_(suspension.c.resumed_at.is_(None), suspension.c.resumed_at >= tallies.start_of(day)),
    )


def first_day(scope: Scope, at: datetime) -> int:
    """The first day that is looked at: of a job its first, of a domain the last seven are."""
    return 0 if scope is Scope.JOB else tallies.day_of(at) - _DAYS_OF_A_DOMAIN + 1


def history(tx: Tx, org: OrgId, sending: Sending) -> Sequence[Suspension]:
    """All that ever stopped it, oldest first."""
    found = tx.execute(select(suspension).where(*_is(org, sending)).order_by(suspension.c.since))
    return [_suspension(row) for row in found]


def count_held(tx: Tx, org: OrgId, sending: Sending) -> int:
    """How many deliveries wait for it to be resumed; of EVERYBODY those of all organisations."""
    if org:
        return deliveries.count_held(tx, org, sending)
    number, last = 0, ""
    # Each step is one look into the index, however much one of them holds for other reasons.
    holders = select(delivery.c.org).order_by(delivery.c.org).limit(1)
    while found := tx.execute(holders.where(_HELD, delivery.c.org > last)).scalar():
        last = found
        number += deliveries.count_held(tx, OrgId(found), sending)
    return number


def count(tx: Tx) -> dict[Scope, int]:
    """How many are suspended now in the whole installation, for each scope (for the metrics)."""
    found = tx.execute(select(suspension.c.scope, func.count()).where(_STANDING).group_by(suspension.c.scope))
    numbers = {Scope(scope): number for scope, number in found}
    return {scope: numbers.get(scope, 0) for scope in Scope}


def _release(tx: Tx, org: OrgId, sending: Sending, *, at: datetime) -> int:
    some = select(delivery.c.id).where(delivery.c.org == org, _HELD, delivery.c.held_by == str(sending)).limit(_AT_ONCE)
    held = some.with_for_update(skip_locked=True).cte("held")
    now = to_micros(at)
    waited = case((delivery.c.held_at < now, now - delivery.c.held_at), else_=0)
    released = tx.execute(
        update(delivery)
        .where(delivery.c.id.in_(select(held.c.id)))
        .values(state=DeliveryState.QUEUED, held_by="", held_at=None, expires_at=delivery.c.expires_at + waited)
        .returning(delivery.c.destination, delivery.c.due_at)
    ).all()
    if released:
        wake_rows(tx, released)
        tx.ring(Bell.QUEUE)
    return len(released)


def _lock(tx: Tx, org: OrgId, sending: Sending, at: datetime) -> None:
    """Whoever else suspends or resumes it, or counts for a domain, waits here."""
    if sending.scope in COUNTED:
        tallies.count(tx, {(org, sending, ""): Counts()}, at=at)
        return
    row = select(organisation.c.id).order_by(organisation.c.id).limit(1)
    tx.execute((row.where(organisation.c.id == org) if org else row).with_for_update(key_share=True))


def _is(org: OrgId, sending: Sending) -> tuple[Any, ...]:
    return (suspension.c.org == org, suspension.c.scope == sending.scope, suspension.c.name == sending.name)


def _hold(tx: Tx, org: OrgId, sending: Sending, at: datetime) -> int:
    """Hold some of what waits of it, found in bounded time; how many."""
    some = _waiting(org, sending)
    if some is None:
        return 0
    # Found once, whatever a planner makes of it: as a subquery beside other conditions PostgreSQL may look for it again and again.
    waiting = some.with_for_update(skip_locked=True).cte("waiting")
    held = update(delivery).where(delivery.c.id.in_(select(waiting.c.id)), _QUEUED)
    if org:
        held = held.where(delivery.c.org == org)
    return tx.execute(held.values(state=DeliveryState.HELD, held_by=str(sending), held_at=to_micros(at))).rowcount


def _waiting(org: OrgId, sending: Sending) -> Select[str] | None:
    """`job <> ''` is what the index over jobs is taken for; None where nobody knows before an attempt."""
    some = select(delivery.c.id).limit(_AT_ONCE)
    match sending.scope:
        case Scope.JOB:
            return some.where(delivery.c.org == org, _QUEUED, _OF_A_JOB, delivery.c.job == sending.name)
        case Scope.DOMAIN:
            return some.where(delivery.c.org == org, _QUEUED, delivery.c.sender_domain == sending.name)
        case Scope.DESTINATION:
            # Of all organisations, so that those of one are not looked for among a million.
            return some.where(DELIVERIES_WAITING, delivery.c.destination == sending.name).order_by(delivery.c.due_at)
        case Scope.SOURCE:
            return None


def _tell(tx: Tx, org: OrgId, sending: Sending, type: EventType, at: datetime, data: dict[str, str]) -> None:  # noqa: A002
    if not org:
        return  # a journal is an organisation's
    events.append(tx, org=org, at=at, type=type, data={"scope": sending.scope, "name": sending.name, **data})


def _suspension(row: Row[*tuple[Any, ...]]) -> Suspension:
    return Suspension(
        org=OrgId(row.org),
        sending=Sending(Scope(row.scope), row.name),
        since=from_micros(row.since),
        reason=row.reason,
        evidence=row.evidence,
        by=row.by,
        resumed_at=None if row.resumed_at is None else from_micros(row.resumed_at),
        resumed_by=row.resumed_by or "",
        before=None if row.before is None else rows.decode(Counts, row.before),
    )
