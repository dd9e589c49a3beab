"""Mail counted by job and sending domain, and stopped where it does harm: by its rates (O18), or because its sender is blamed (O17)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from mailrelay import log, metrics
from mailrelay.config.schema import BrakeLevels
from mailrelay.ids import DeliveryId, OrgId
from mailrelay.model.delivery import Delivery
from mailrelay.model.event import EventType
from mailrelay.model.sending import UNNAMED, Counts, Scope, Sending
from mailrelay.model.way import Way
from mailrelay.outbound.policy import blame, brakes
from mailrelay.outbound.verdict import Answered, evidence, one_line
from mailrelay.store import deliveries, events, suspensions, tallies, warnings
from mailrelay.store.base import Tx

_BLAMES_WITHIN = timedelta(hours=1)
_logger = log.get()


def count(tx: Tx, counted: Iterable[tuple[Delivery, Counts]], *, at: datetime) -> None:
    """Add what became of deliveries to the tallies of their jobs and domains."""
    more: dict[tallies.Share, Counts] = {}
    for one, counts in counted:
        if counts != Counts():
            _add(more, one.org, blame.sendings(one), counts)
    tallies.count(tx, more, at=at)


def count_late(tx: Tx, counted: Iterable[tuple[Delivery, Counts]], *, at: datetime) -> None:
    """Add what was learned of deliveries after they were sent, but for what is forgiven: of mail that was sent before somebody
    resumed its job or domain, or before anything of it was counted, since it is not among what was sent either.
    """
    more: dict[tallies.Share, Counts] = {}
    for one, counts in counted:
        sendings = blame.sendings(one)
        forgiven = _forgiven(tx, one, sendings)
        # What a stopped job answers for is left out of its domain's count, and so must be what is forgiven it.
        if not any(sending.scope is Scope.JOB for sending in forgiven):
            _add(more, one.org, [sending for sending in sendings if sending not in forgiven], counts)
    tallies.count(tx, more, at=at)


def count_unsubscribed(tx: Tx, org: OrgId, sendings: Sequence[Sending], *, at: datetime) -> None:
    """Add an unsubscription to the tallies of a job, a domain, or both."""
    more: dict[tallies.Share, Counts] = {}
    _add(more, org, sendings, Counts(unsubscribed=1))
    tallies.count(tx, more, at=at)


def suspended_by(tx: Tx, held: Sequence[Delivery], *, way: Way | None = None) -> dict[DeliveryId, Sending]:
    """Those of these deliveries that are suspended, and what of them: job, domain, destination or source.

    `way` is the one that all of them take; without it the MX site and the source are not looked at.
    """
    found: dict[DeliveryId, Sending] = {}
    for org in sorted({one.org for one in held}):
        mine = {one.id: (*blame.sendings(one), *_goes(one, way)) for one in held if one.org == org}
        standing = suspensions.covering(tx, org, {sending for each in mine.values() for sending in each})
        for id_, each in mine.items():
            for sending in each:
                if sending in standing:
                    found.setdefault(id_, sending)
    return found


def _goes(one: Delivery, way: Way | None) -> Iterator[Sending]:
    """Where to and where from."""
    yield Sending(Scope.DESTINATION, one.address.domain)
    if way is not None:
        yield Sending(Scope.DESTINATION, way.site)
        yield Sending(Scope.SOURCE, way.source or UNNAMED)


def judge(tx: Tx, answered: Sequence[Delivery], *, by: str | None, at: datetime, levels: BrakeLevels) -> None:
    """Judge the sendings of deliveries that were answered badly: jobs first, since what they answer for is not their domain's."""
    last = {(one.org, sending): by or one.id for one in answered for sending in blame.sendings(one)}
    for (org, sending), cause in sorted(last.items(), key=lambda item: (item[0][1].scope is not Scope.JOB, item[0])):
        judge_one(tx, org, sending, by=cause, at=at, levels=levels)


def judge_one(tx: Tx, org: OrgId, sending: Sending, *, by: str, at: datetime, levels: BrakeLevels) -> None:
    """Warn or stop as the rates have it."""
    last = suspensions.latest(tx, org, [sending]).get(sending)
    if last is not None and last.resumed_at is None:
        return
    counts = suspensions.counted(tx, org, sending, last=last, at=at)
    found = brakes.bad(counts, levels)
    if found and found[0].level is brakes.Level.STOP:
        seen = "; ".join(str(one) for one in found)
        _suspend(tx, org, sending, reason=f"Too many {found[0]}", evidence=seen, by=by, at=at)
        return
    for one in found:
        if warnings.first_today(tx, org, sending, one.measure, day=tallies.day_of(at)):
            data = {"scope": sending.scope, "name": sending.name, "measure": one.measure, "evidence": str(one)}
            events.append(tx, org=org, at=at, type=EventType.SENDING_WARNED, data=data)
            tx.afterwards(partial(_told_warned, org, sending, one))


def act_on_blame(tx: Tx, answer: Answered, *, permanent: bool, at: datetime, levels: BrakeLevels) -> None:
    """Suspend the job or domain of a delivery whose answer blames its sender, once there are enough of them (O17)."""
    one = answer.delivery
    blamed = blame.blame(one, answer.fault, permanent=permanent)
    if blamed is None:
        return
    tx.afterwards(partial(_told_blamed, answer, blamed))
    if not blamed.permanent:
        return
    events.append(
        tx,
        org=one.org,
        at=at,
        type=EventType.SENDER_BLAMED,
        queue_id=one.queue_id,
        message=one.message,
        delivery=one.id,
        data={"reply": one_line(answer.said), "source": answer.source, "by": answer.by},
    )
    if blamed.stops is not None and _blamed_enough(tx, one.org, blamed.stops, at=at, levels=levels):
        reason = f"Its mail was refused because of the sender: {one_line(answer.said)}"
        _suspend(tx, one.org, blamed.stops, reason=reason, evidence=evidence(answer, at), by=answer.by, at=at)


def _blamed_enough(tx: Tx, org: OrgId, sending: Sending, *, at: datetime, levels: BrakeLevels) -> bool:
    last = suspensions.latest(tx, org, [sending]).get(sending)
    if last is not None and last.resumed_at is None:
        return False
    since = at - _BLAMES_WITHIN
    if last is not None and last.resumed_at is not None:
        since = max(since, last.resumed_at)
    # The one that is acted on is written already.
    found = deliveries.blamed(tx, org, sending, since=since)
    return blame.enough(found.answers, found.reports, found.reported_domains, needed=levels.blames)


def _add(more: dict[tallies.Share, Counts], org: OrgId, sendings: Sequence[Sending], counts: Counts) -> None:
    domain = next((sending.name for sending in sendings if sending.scope is Scope.DOMAIN), "")
    for sending in sendings:
        share = (org, sending, domain if sending.scope is Scope.JOB else "")
        more[share] = more.get(share, Counts()) + counts


def _forgiven(tx: Tx, one: Delivery, sendings: Sequence[Sending]) -> set[Sending]:
    """Those of a delivery's sendings that it was sent too early for to count."""
    if one.ended_at is None:
        return set()
    began = tallies.began(tx, one.org, sendings)
    early = {sending for sending in sendings if sending not in began or one.ended_at < began[sending]}
    last = suspensions.latest(tx, one.org, sendings)
    return early | {
        sending for sending, each in last.items() if each.resumed_at is not None and one.ended_at <= each.resumed_at
    }


def _suspend(tx: Tx, org: OrgId, sending: Sending, *, reason: str, evidence: str, by: str, at: datetime) -> None:
    new = suspensions.suspend(tx, org=org, sending=sending, reason=reason, evidence=evidence, by=by, at=at)
    if new is not None:
        tx.afterwards(partial(_told_suspended, org, sending, reason))


def _told_blamed(answer: Answered, blamed: blame.Blame) -> None:
    metrics.sender_blamed.labels("permanent" if blamed.permanent else "transient").inc()
    one = answer.delivery
    # A throttle comes with every attempt while it lasts.
    say = _logger.warning if blamed.permanent else _logger.info
    say(
        "sender.blamed",
        org=one.org,
        delivery=one.id,
        queue_id=one.queue_id,
        domain=one.sender_domain,
        job=one.job,
        reply=one_line(answer.said),
    )


def _told_suspended(org: OrgId, sending: Sending, reason: str) -> None:
    metrics.suspensions.labels(sending.scope).inc()
    _logger.error("sending.suspended", org=org, scope=str(sending.scope), name=sending.name, reason=reason)


def _told_warned(org: OrgId, sending: Sending, worst: brakes.Rate) -> None:
    metrics.brake_warnings.labels(worst.measure).inc()
    _logger.warning("sending.warned", org=org, scope=str(sending.scope), name=sending.name, rate=str(worst))
