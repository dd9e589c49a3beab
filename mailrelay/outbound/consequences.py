"""What follows an answer about a delivery, whether it came in the dialogue or as a mail: the one place for both (I10, I11, O17, O18).

Each function acts in the transaction that learned of the answer: state, suppression, suspension, tallies, the notice owed to the
author, and the journal agree at every moment. What is decided is in `policy`; here it is read for and written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from mailrelay.config.schema import BrakeLevels
from mailrelay.ids import DeliveryId, MessageId, OrgId
from mailrelay.model.delivery import Accepted, Delivery, DeliveryState, Notice, Outcome
from mailrelay.model.event import EventType
from mailrelay.model.feedback import Action, Fault
from mailrelay.model.sending import Counts, Scope, Sending
from mailrelay.model.suppression import Suppression, SuppressionReason
from mailrelay.outbound import brake, suppress
from mailrelay.outbound.policy import notices
from mailrelay.outbound.verdict import Answered, answer, counts, judged, one_line, relay_ids, reported
from mailrelay.store import deliveries, events, feedback, queue
from mailrelay.store.base import Tx
from mailrelay.store.queue import Settlement

_HANDED_ON = frozenset({Action.RELAYED, Action.EXPANDED})
"""What a host reports that has done its part, and will hear no more of it (RFC 3464 §2.3.3)."""

__all__ = ["Answered", "complained", "replied", "returned", "settle", "settle_only", "unsubscribed"]


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
    meant = _held_back(tx, _meant(tx, settlements, at=at, delay_after=delay_after, relayed=relayed))
    lost = queue.settle(tx, meant, at=at)
    kept = [one for one in meant if one.outcome is not None and one.held.id not in lost]
    counted = [(one.held, counts(one)) for one in kept]
    brake.count(tx, counted, at=at)
    for one in kept:
        if (relayed or one.relayed) and isinstance(one.outcome, Accepted):
            deliveries.note_relay_ids(tx, one.held, relay_ids(one.outcome.reply.text))
    answers = [told for one in kept if (told := answer(one, relayed=relayed)) is not None]
    _act(tx, [(one, one.delivery.state is not DeliveryState.QUEUED) for one in answers], at=at, levels=brakes)
    brake.judge(tx, [one for one, number in counted if number.bounced], by=None, at=at, levels=brakes)
    _catch_up(tx, [one.held for one in kept if one.state is DeliveryState.SENT], at=at, brakes=brakes)
    return lost


def settle_only(
    tx: Tx, settlements: Sequence[Settlement], *, at: datetime, delay_after: timedelta, relayed: bool = False
) -> list[DeliveryId]:
    """As `settle`, without what follows for anything but the deliveries themselves: what they mean and whom they owe a notice."""
    return queue.settle(tx, _meant(tx, settlements, at=at, delay_after=delay_after, relayed=relayed), at=at)


def returned(tx: Tx, answers: Sequence[Answered], *, at: datetime, brakes: BrakeLevels) -> None:
    """Act on a report that is believed, for each delivery that it speaks of. Its rows are kept in the same transaction before.

    A failure ends what was sent as bounced, a success notice as delivered; what is still in flight is not moved, the suppression
    stops it at its next attempt. A report that is faster than our own note of the attempt moves it when that is written
    (`settle`). A second report about the same delivery changes nothing. That it came is told by who read it (`delivery.returned`).
    """
    late: list[tuple[Delivery, Counts]] = []
    known: list[tuple[Answered, bool]] = []
    for told in sorted(answers, key=lambda one: one.delivery.id):
        now = deliveries.locked(tx, told.delivery.id)
        if now is None:
            continue
        answer = replace(told, delivery=now)
        failed = answer.action is Action.FAILED
        moved = failed and now.state in (DeliveryState.SENT, DeliveryState.DELIVERED)
        if moved:
            _bounce(tx, answer, at=at)
            if answer.fault is not Fault.SENDER:
                late.append((now, Counts(hard=int(answer.hard), soft=int(not answer.hard))))
        elif answer.action is Action.DELIVERED and now.state is DeliveryState.SENT:
            owed = notices.owed(now, DeliveryState.DELIVERED, now=at, delay_after=timedelta())
            deliveries.change(tx, now.id, {"state": DeliveryState.DELIVERED, "delivered_at": at, "notice": owed})
            _tell(tx, answer, EventType.DELIVERY_DELIVERED, at)
        elif answer.action in _HANDED_ON and now.state is DeliveryState.SENT:
            owed = notices.owed(now, now.state, now=at, delay_after=timedelta(), untold=True)
            if owed is not Notice.NONE:
                deliveries.change(tx, now.id, {"notice": owed})
        if failed or answer.action is Action.DELAYED:
            known.append((answer, moved))
    _act(tx, known, at=at, levels=brakes)
    brake.count_late(tx, late, at=at)
    brake.judge(tx, [one for one, _ in late], by=answers[0].by if answers else None, at=at, levels=brakes)


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
    unwanted = Suppression(
        org=now.org,
        key=now.address.key,
        reason=SuppressionReason.COMPLAINT,
        since=at,
        evidence=f"{type}: {evidence}",
        by=by,
        lifted_at=None,
    )
    suppress.addresses(tx, [(now, unwanted)])
    brake.count_late(tx, [(now, Counts(complaints=1))], at=at)
    brake.judge(tx, [now], by=by, at=at, levels=brakes)


def unsubscribed(
    tx: Tx, org: OrgId, sendings: Iterable[Sending], *, by: str, at: datetime, brakes: BrakeLevels
) -> None:
    """Somebody unsubscribed from what these send: count it, and stop them when it is too many. The caller suppresses."""
    found = sorted(set(sendings), key=lambda one: (one.scope is not Scope.JOB, one))
    brake.count_unsubscribed(tx, org, found, at=at)
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


def _meant(
    tx: Tx, settlements: Sequence[Settlement], *, at: datetime, delay_after: timedelta, relayed: bool
) -> list[Settlement]:
    """With what their answers mean, and what their authors are owed."""
    owed = [
        replace(
            one,
            notice=notices.owed(one.held, one.state, now=at, delay_after=delay_after, untold=_is_untold(one.outcome)),
        )
        for one in (judged(one, relayed=relayed) for one in settlements)
    ]
    # While an attempt was under way its author may have been told already of the delay.
    told = deliveries.noticed(tx, [one.held.id for one in owed if one.notice is Notice.DELAYED])
    return [replace(one, notice=Notice.NONE) if told.get(one.held.id) is one.notice else one for one in owed]


def _is_untold(outcome: Outcome | None) -> bool:
    """Whether the next hop took it, and will not say what becomes of it."""
    return isinstance(outcome, Accepted) and not outcome.tells


def _held_back(tx: Tx, settlements: Sequence[Settlement]) -> list[Settlement]:
    """Those that would wait for another attempt, and whose job or domain is suspended, held for it."""
    by = brake.suspended_by(tx, [one.held for one in settlements if one.state is DeliveryState.QUEUED])
    return [
        replace(one, state=DeliveryState.HELD, held_by=str(by[one.held.id])) if one.held.id in by else one
        for one in settlements
    ]


def _catch_up(tx: Tx, sent: Sequence[Delivery], *, at: datetime, brakes: BrakeLevels) -> None:
    """Act on reports that came before the attempts they speak of were noted, as if they came now."""
    # Whoever keeps a report locks the delivery behind it, and its attempt's end holds that lock: one of the two sees the other.
    of = {one.id: one for one in sent}
    rows = feedback.overtaking(tx, of)
    returned(tx, [reported(row, of[row.delivery]) for row in rows if row.delivery in of], at=at, brakes=brakes)


def _act(tx: Tx, answers: Sequence[tuple[Answered, bool]], *, at: datetime, levels: BrakeLevels) -> None:
    """Suppress addresses, or stop senders, as the answers have it; with each, whether its delivery came to its end by it.

    What is in flight, or has ended before, only suppresses: the sender of that was blamed already, or will be at its next attempt.
    """
    dead = [one for one, _ in answers if one.hard and one.action is Action.FAILED and one.fault is not Fault.SENDER]
    soft = [
        one
        for one, ended in answers
        if ended and not one.hard and one.fault is not Fault.SENDER and one.delivery.state is not DeliveryState.FAILED
    ]
    suppress.by_bounces(tx, dead=dead, soft=soft, at=at)
    for one, ended in answers:
        failed = one.action is Action.FAILED
        if ended or not failed:
            brake.act_on_blame(tx, one, permanent=failed and not one.transient, at=at, levels=levels)


def _bounce(tx: Tx, answer: Answered, *, at: datetime) -> None:
    now = answer.delivery
    deliveries.change(
        tx,
        now.id,
        {
            "state": DeliveryState.BOUNCED,
            "ended_at": at,
            "reported": True,
            "last_reply": one_line(answer.said),
            "category": answer.category,
            "hard": answer.hard,
            "fault": answer.fault,
            "notice": notices.owed(now, DeliveryState.BOUNCED, now=at, delay_after=timedelta()),
        },
    )
    _tell(tx, answer, EventType.DELIVERY_BOUNCED, at)


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
    events.about(tx, one, type, at=at, data=data)
