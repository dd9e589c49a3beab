"""What follows an answer about a delivery, whether it came in the dialogue or as a mail: the one place for both (I10, I11, O17, O18).

Each function acts in the transaction that learned of the answer: state, suppression, suspension, tallies, the notice owed to the
author, and the journal agree at every moment. What is decided is in `policy`; here it is read for and written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from mailrelay import log, metrics
from mailrelay.config.schema import BrakeLevels
from mailrelay.errors import Unavailable
from mailrelay.ids import DeliveryId, MessageId, OrgId
from mailrelay.model.delivery import Accepted, Delivery, DeliveryState, Notice
from mailrelay.model.event import EventType
from mailrelay.model.feedback import Action, Fault
from mailrelay.model.sending import Counts, Scope, Sending
from mailrelay.model.suppression import SuppressionReason
from mailrelay.outbound import brake
from mailrelay.outbound.policy import notices, standing
from mailrelay.outbound.verdict import Answered, answer, counts, evidence, judged, one_line, relay_ids
from mailrelay.store import deliveries, events, organisations, queue, suppressions, tallies
from mailrelay.store.base import Tx
from mailrelay.store.queue import Settlement

__all__ = ["Answered", "complained", "replied", "returned", "settle", "unsubscribed"]

_logger = log.get()


def settle(
    tx: Tx,
    settlements: Sequence[Settlement],
    *,
    at: datetime,
    brakes: BrakeLevels,
    delay_after: timedelta,
    relayed: bool = False,
) -> list[DeliveryId]:
    """Write the ends of attempts and all that follows from them; those whose lease was lost, of which nothing is kept.

    `delay_after`: how long a mail waits before its author hears of it (nought: never). `relayed`: the next hop is a relay, whose
    names for our mail are noted (I12).
    """
    meant = _with_notices(tx, [judged(one, relayed=relayed) for one in settlements], at=at, delay_after=delay_after)
    meant = _held_back(tx, meant)
    lost = queue.settle(tx, meant, at=at)
    kept = [one for one in meant if one.outcome is not None and one.held.id not in lost]
    counted = [(one.held, counts(one)) for one in kept]
    brake.count(tx, counted, at=at)
    if relayed:
        for one in kept:
            if isinstance(one.outcome, Accepted):
                deliveries.note_relay_ids(tx, one.held, relay_ids(one.outcome.reply.text))
    for one in kept:
        if (told := answer(one, relayed=relayed)) is not None:
            _act(tx, told, ended=told.delivery.state is not DeliveryState.QUEUED, at=at, levels=brakes)
    brake.judge(tx, [one for one, number in counted if number.bounced], by=None, at=at, levels=brakes)
    return lost


def returned(tx: Tx, answers: Sequence[Answered], *, at: datetime, brakes: BrakeLevels) -> None:
    """Act on a report that is believed, for each delivery that it speaks of.

    A failure ends what was sent as bounced, a success notice as delivered; what is still in flight is not moved, the suppression
    stops it at its next attempt. A second report about the same delivery changes nothing. That it came is told by who read it
    (`delivery.returned`). Raises Unavailable for a failure that is faster than our own note of the attempt: ask again.
    """
    bounced: list[Delivery] = []
    for told in answers:
        now = deliveries.locked(tx, told.delivery.id)
        if now is None:
            continue
        answer = replace(told, delivery=now)
        failed = answer.action is Action.FAILED
        if failed and now.state is DeliveryState.SENDING:
            raise Unavailable(f"{now.id} came back before its attempt was noted")
        moved = failed and now.state in (DeliveryState.SENT, DeliveryState.DELIVERED)
        if moved:
            _bounce(tx, answer, at=at)
            if answer.fault is not Fault.SENDER:
                bounced.append(now)
                brake.count(tx, [(now, Counts(hard=int(answer.hard), soft=int(not answer.hard)))], at=at)
        elif answer.action is Action.DELIVERED and now.state is DeliveryState.SENT:
            deliveries.change(tx, now.id, {"state": DeliveryState.DELIVERED})
            _tell(tx, answer, EventType.DELIVERY_DELIVERED, at)
        if failed or answer.action is Action.DELAYED:
            _act(tx, answer, ended=moved, at=at, levels=brakes)
    brake.judge(tx, bounced, by=answers[0].by if answers else None, at=at, levels=brakes)


def complained(
    tx: Tx,
    delivery: Delivery,
    *,
    type: str,  # noqa: A002 (RFC 5965's word)
    evidence: str,
    by: str,
    at: datetime,
    brakes: BrakeLevels,
) -> None:
    """A person complained of this delivery: suppress the address, and count it. A second complaint changes nothing (M07).

    `type` is the feedback type (RFC 5965 §7.3) of a complaint by a person; other types are none of this.
    """
    now = deliveries.locked(tx, delivery.id)
    if now is None or now.complained_at is not None:
        return
    deliveries.change(tx, now.id, {"complained_at": at})
    _event(tx, now, EventType.DELIVERY_COMPLAINED, at, {"type": type, "evidence": evidence, "by": by})
    _suppress(tx, now, SuppressionReason.COMPLAINT, evidence=f"{type}: {evidence}", by=by, at=at)
    brake.count(tx, [(now, Counts(complaints=1))], at=at)
    brake.judge(tx, [now], by=by, at=at, levels=brakes)


def unsubscribed(
    tx: Tx, org: OrgId, sendings: Iterable[Sending], *, by: str, at: datetime, brakes: BrakeLevels
) -> None:
    """Somebody unsubscribed from what these send: count it, and stop them when it is too many. The caller suppresses."""
    found = sorted(set(sendings), key=lambda one: (one.scope is not Scope.JOB, one))
    tallies.count(tx, {(org, one): Counts(unsubscribed=1) for one in found}, at=at)
    for one in found:
        brake.judge_one(tx, org, one, by=by, at=at, levels=brakes)


def replied(tx: Tx, delivery: Delivery, *, message: MessageId, by: str, at: datetime, text: str = "") -> None:
    """A person answered this delivery with `message`, which came as the arrival `by`. The first answer's time stays.

    `text` is what the answer says, for those who follow the journal.
    """
    now = deliveries.locked(tx, delivery.id)
    if now is None:
        return
    if now.replied_at is None:
        deliveries.change(tx, now.id, {"replied_at": at})
    _event(tx, now, EventType.MESSAGE_REPLIED, at, {"reply": message, "arrival": by, "text": text})


def _with_notices(
    tx: Tx, settlements: Sequence[Settlement], *, at: datetime, delay_after: timedelta
) -> list[Settlement]:
    owed = [
        replace(one, notice=notices.owed(one.held, one.state, now=at, delay_after=delay_after)) for one in settlements
    ]
    # While an attempt was under way its author may have been told already of the delay.
    told = deliveries.noticed(tx, [one.held.id for one in owed if one.notice is Notice.DELAYED])
    return [replace(one, notice=Notice.NONE) if told.get(one.held.id) is one.notice else one for one in owed]


def _held_back(tx: Tx, settlements: Sequence[Settlement]) -> list[Settlement]:
    """Those that would wait for another attempt, and whose job or domain is suspended, held for it."""
    by = brake.suspended_by(tx, [one.held for one in settlements if one.state is DeliveryState.QUEUED])
    return [
        replace(one, state=DeliveryState.HELD, held_by=str(by[one.held.id])) if one.held.id in by else one
        for one in settlements
    ]


def _act(tx: Tx, answer: Answered, *, ended: bool, at: datetime, levels: BrakeLevels) -> None:
    """Suppress the address, or stop the sender, as the answer has it. `ended`: the delivery came to its end by it.

    What is in flight, or has ended before, only suppresses: the sender of that was blamed already, or will be at its next attempt.
    """
    failed = answer.action is Action.FAILED
    if answer.hard and failed and answer.fault is not Fault.SENDER:
        _suppress(
            tx, answer.delivery, SuppressionReason.HARD_BOUNCE, evidence=evidence(answer, at), by=answer.by, at=at
        )
    elif ended and answer.fault is not Fault.SENDER and answer.delivery.state is not DeliveryState.FAILED:
        _count_soft(tx, answer, at=at)
    if ended or not failed:
        brake.act_on_blame(tx, answer, permanent=failed and not answer.transient, at=at, levels=levels)


def _bounce(tx: Tx, answer: Answered, *, at: datetime) -> None:
    now = answer.delivery
    deliveries.change(
        tx,
        now.id,
        {
            "state": DeliveryState.BOUNCED,
            "ended_at": at,
            "last_reply": one_line(answer.said),
            "category": answer.category,
            "hard": answer.hard,
            "fault": answer.fault,
            "notice": notices.owed(now, DeliveryState.BOUNCED, now=at, delay_after=timedelta()),
        },
    )
    _tell(tx, answer, EventType.DELIVERY_BOUNCED, at)


def _count_soft(tx: Tx, answer: Answered, *, at: datetime) -> None:
    """Suppress the address when this soft bounce is one too many in a row."""
    now = answer.delivery
    settings = organisations.get(tx, now.org).settings
    lifted = [one.lifted_at for one in suppressions.history(tx, now.org, now.address.key) if one.lifted_at is not None]
    ends = deliveries.ends(tx, now.org, now.address.key, limit=10 * settings.soft_bounces + 50)
    history = [
        standing.End(state=end.state, hard=end.hard, fault=end.fault, at=end.at, said=one_line(end.last_reply))
        for end in ends
    ]
    sentence = standing.too_many(history, settings, now=at, lifted_at=max(lifted, default=None))
    if sentence is not None:
        _suppress(tx, now, SuppressionReason.SOFT_BOUNCES, evidence=sentence, by=answer.by, at=at)


def _suppress(tx: Tx, delivery: Delivery, reason: SuppressionReason, *, evidence: str, by: str, at: datetime) -> None:
    new = suppressions.suppress(
        tx, org=delivery.org, key=delivery.address.key, reason=reason, evidence=evidence, by=by, now=at
    )
    if new:
        tx.afterwards(partial(_told_suppressed, delivery, reason, evidence))


def _tell(tx: Tx, answer: Answered, type: EventType, at: datetime) -> None:  # noqa: A002
    data = {
        "action": answer.action,
        "category": answer.category,
        "class": "hard" if answer.hard else "soft",
        "fault": answer.fault,
        "said": one_line(answer.said),
        "source": answer.source,
        "by": answer.by,
    }
    _event(tx, answer.delivery, type, at, data)


def _event(tx: Tx, one: Delivery, type: EventType, at: datetime, data: dict[str, str]) -> None:  # noqa: A002
    events.append(
        tx, org=one.org, at=at, type=type, queue_id=one.queue_id, message=one.message, delivery=one.id, data=data
    )


def _told_suppressed(delivery: Delivery, reason: SuppressionReason, evidence: str) -> None:
    metrics.suppressions.labels(reason).inc()
    _logger.info(
        "address.suppressed",
        org=delivery.org,
        delivery=delivery.id,
        recipient=str(delivery.address),
        reason=str(reason),
        evidence=evidence,
    )
