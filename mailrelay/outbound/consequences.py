"""What follows an answer about a delivery, whether it came in the dialogue or as a mail: the one place for both (I10, I11, O17, O18).

Each function acts in the transaction that learned of the answer: state, suppression, suspension, tallies, the notice owed to the
author, and the journal agree at every moment. What is decided is in `policy`; here it is read for and written down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from mailrelay import log, metrics
from mailrelay.config.schema import BrakeLevels
from mailrelay.ids import DeliveryId, MessageId, OrgId
from mailrelay.mail.bounce.category import Verdict, of_outcome
from mailrelay.model.delivery import Accepted, Deferred, Delivery, DeliveryState, Interrupted, Notice, Refused
from mailrelay.model.event import EventType
from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.sending import Counts, Scope, Sending
from mailrelay.model.suppression import SuppressionReason
from mailrelay.outbound.policy import blame, brakes, notices, standing
from mailrelay.smtp.escape import escape
from mailrelay.store import deliveries, events, organisations, queue, suppressions, suspensions, tallies, warnings
from mailrelay.store.base import Tx
from mailrelay.store.queue import Settlement

DELAY_AFTER = timedelta(hours=4)
_MAX_SAID = 500
_BLAMES_WITHIN = timedelta(hours=1)
_NOTHING_CAME = Verdict(Category.TIMEOUT, hard=False, fault=Fault.NEITHER)
# What a relay may call a mail: Postfix's long queue ids, the ids of Amazon SES and other services; no word of a sentence.
_RELAY_ID = re.compile(r"[A-Za-z0-9._-]{16,255}")
_MOST_RELAY_IDS = 3
_logger = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the other side let us know of a delivery."""

    delivery: Delivery
    category: Category
    hard: bool
    fault: Fault
    action: Action
    said: str
    """Word for word, for evidence."""
    source: str
    """Who said it: `mx.customer.example in the dialogue`, `report Q01…`."""
    by: str
    """The delivery or the arrival that it is known by."""
    transient: bool = False
    """The last answer was a 4xx or 4.x.x, whatever became of the delivery."""


def settle(
    tx: Tx,
    settlements: Sequence[Settlement],
    *,
    at: datetime,
    brakes: BrakeLevels,
    delay_after: timedelta = DELAY_AFTER,
    relayed: bool = False,
) -> list[DeliveryId]:
    """Write the ends of attempts and all that follows from them; those whose lease was lost, of which nothing is kept.

    `delay_after`: how long a mail waits before its author hears of it (nought: never). `relayed`: the next hop is a relay, whose
    names for our mail are noted (I12).
    """
    judged = _with_notices(tx, [_judged(one) for one in settlements], at=at, delay_after=delay_after)
    judged = _held_back(tx, judged)
    lost = queue.settle(tx, judged, at=at)
    kept = [one for one in judged if one.outcome is not None and one.held.id not in lost]
    counted = [(one.held, _counts(one)) for one in kept]
    _count(tx, counted, at=at)
    if relayed:
        for one in kept:
            if isinstance(one.outcome, Accepted):
                deliveries.note_relay_ids(tx, one.held, relay_ids(one.outcome.reply.text))
    answers = [answer for one in kept if (answer := _answer(one)) is not None]
    for answer in answers:
        _act(tx, answer, ended=answer.delivery.state is not DeliveryState.QUEUED, at=at, levels=brakes)
    _brake(tx, [one for one, counts in counted if counts.bounced], by=None, at=at, levels=brakes)
    return lost


def returned(tx: Tx, answers: Sequence[Answered], *, at: datetime, brakes: BrakeLevels) -> None:
    """Act on a report that is believed, for each delivery that it speaks of.

    A failure ends what was sent as bounced, a success notice as delivered; what is still in flight is not moved, the suppression
    stops it at its next attempt. A second report about the same delivery changes nothing. That it came is told by who read it
    (`delivery.returned`).
    """
    bounced: list[Delivery] = []
    for answer in answers:
        now = deliveries.locked(tx, answer.delivery.id)
        if now is None:
            continue
        answer = replace(answer, delivery=now)
        failed = answer.action is Action.FAILED
        moved = failed and now.state in (DeliveryState.SENT, DeliveryState.DELIVERED)
        if moved:
            _bounce(tx, answer, at=at)
            if answer.fault is not Fault.SENDER:
                bounced.append(now)
                _count(tx, [(now, Counts(hard=int(answer.hard), soft=int(not answer.hard)))], at=at)
        elif answer.action is Action.DELIVERED and now.state is DeliveryState.SENT:
            deliveries.change(tx, now.id, {"state": DeliveryState.DELIVERED})
            _tell(tx, answer, EventType.DELIVERY_DELIVERED, at)
        if failed or answer.action is Action.DELAYED:
            _act(tx, answer, ended=moved, at=at, levels=brakes)
    _brake(tx, bounced, by=answers[0].by if answers else None, at=at, levels=brakes)


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
    _count(tx, [(now, Counts(complaints=1))], at=at)
    _brake(tx, [now], by=by, at=at, levels=brakes)


def unsubscribed(
    tx: Tx, org: OrgId, sendings: Iterable[Sending], *, by: str, at: datetime, brakes: BrakeLevels
) -> None:
    """Somebody unsubscribed from what these send: count it, and stop them when it is too many. The caller suppresses."""
    found = sorted(set(sendings), key=lambda one: (one.scope is not Scope.JOB, one))
    tallies.count(tx, {(org, one): Counts(unsubscribed=1) for one in found}, at=at)
    for one in found:
        _brake_one(tx, org, one, by=by, at=at, levels=brakes)


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


def relay_ids(text: str) -> tuple[str, ...]:
    """What may be a relay's name for the mail in the text of its 250: long words with a digit, at most three."""
    found = (word.strip(".-_") for word in _RELAY_ID.findall(text))
    names = (word for word in found if len(word) >= 16 and any(char.isdigit() for char in word))
    return tuple(dict.fromkeys(names))[:_MOST_RELAY_IDS]


# --- what an answer in the dialogue means ---


def _judged(one: Settlement) -> Settlement:
    """With what its answer means. A success says nothing; an end without one is a timeout."""
    match one.outcome:
        case Deferred(reply=reply, stage=stage):
            verdict = of_outcome(reply, stage=stage)
        case Refused(reply=reply, stage=stage, by_us=by_us):
            verdict = of_outcome(reply, stage=stage, by_us=by_us)
        case Interrupted():
            verdict = _NOTHING_CAME
        case _:
            return one
    if one.state is DeliveryState.EXPIRED and verdict.category is Category.UNKNOWN:
        verdict = replace(verdict, category=Category.TIMEOUT)
    return replace(one, category=verdict.category, hard=verdict.hard, fault=verdict.fault)


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
    by = suspended_by(tx, [one.held for one in settlements if one.state is DeliveryState.QUEUED])
    return [
        replace(one, state=DeliveryState.HELD, held_by=str(by[one.held.id])) if one.held.id in by else one
        for one in settlements
    ]


def suspended_by(tx: Tx, held: Sequence[Delivery]) -> dict[DeliveryId, Sending]:
    """Those of these deliveries whose job or domain is suspended, and which of the two."""
    found: dict[DeliveryId, Sending] = {}
    for org in sorted({one.org for one in held}):
        mine = {one.id: blame.sendings(one) for one in held if one.org == org}
        standing_now = suspensions.covering(tx, org, {sending for each in mine.values() for sending in each})
        for id_, each in mine.items():
            for sending in each:
                if sending in standing_now:
                    found.setdefault(id_, sending)
    return found


def _counts(one: Settlement) -> Counts:
    """What an end adds to the tallies of its sendings. A fault of the sender's has a brake of its own, and is no bounce."""
    if one.state is DeliveryState.SENT:
        return Counts(sent=1)
    offered = one.state in (DeliveryState.BOUNCED, DeliveryState.EXPIRED) or one.hard
    if one.state in (DeliveryState.QUEUED, DeliveryState.HELD) or not offered or one.fault is Fault.SENDER:
        return Counts()
    return Counts(refused=1, hard=int(one.hard), soft=int(not one.hard))


def _answer(one: Settlement) -> Answered | None:
    if one.category is None or one.fault is None or one.outcome is None or isinstance(one.outcome, Accepted):
        return None
    ended = one.state not in (DeliveryState.QUEUED, DeliveryState.HELD)
    by_us = isinstance(one.outcome, Refused) and one.outcome.by_us
    return Answered(
        delivery=replace(one.held, state=one.state if ended else DeliveryState.QUEUED),
        category=one.category,
        hard=one.hard,
        fault=one.fault,
        action=Action.FAILED if ended else Action.DELAYED,
        said=_line(one.last_reply),
        source="DNS" if by_us else f"{one.host} in the dialogue",
        by=one.held.id,
        transient=not isinstance(one.outcome, Refused),
    )


# --- consequences ---


def _act(tx: Tx, answer: Answered, *, ended: bool, at: datetime, levels: BrakeLevels) -> None:
    """Suppress the address, or stop the sender, as the answer has it."""
    now = answer.delivery
    if answer.hard and answer.action is Action.FAILED and answer.fault is not Fault.SENDER:
        _suppress(tx, now, SuppressionReason.HARD_BOUNCE, evidence=_evidence(answer, at), by=answer.by, at=at)
    elif ended and answer.fault is not Fault.SENDER and now.state is not DeliveryState.FAILED:
        _count_soft(tx, answer, at=at)
    permanent = answer.action is Action.FAILED and not answer.transient
    if blamed := blame.blame(now, answer.fault, permanent=permanent):
        _blame(tx, answer, blamed, at=at, levels=levels)


def _bounce(tx: Tx, answer: Answered, *, at: datetime) -> None:
    now = answer.delivery
    deliveries.change(
        tx,
        now.id,
        {
            "state": DeliveryState.BOUNCED,
            "ended_at": at,
            "last_reply": _line(answer.said),
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
        standing.End(state=end.state, hard=end.hard, fault=end.fault, at=end.at, said=_line(end.last_reply))
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


def _blame(tx: Tx, answer: Answered, blamed: blame.Blame, *, at: datetime, levels: BrakeLevels) -> None:
    now, stops = answer.delivery, blamed.stops
    tx.afterwards(partial(_told_blamed, answer, blamed))
    if not blamed.permanent:
        return
    _event(
        tx, now, EventType.SENDER_BLAMED, at, {"reply": _line(answer.said), "source": answer.source, "by": answer.by}
    )
    if stops is None:
        return
    last = suspensions.latest(tx, now.org, [stops]).get(stops)
    since = at - _BLAMES_WITHIN
    if last is not None and last.resumed_at is not None:
        since = max(since, last.resumed_at)
    # This one is written already, unless it is about a delivery that is still in flight.
    number = max(1, deliveries.blamed(tx, now.org, stops, since=since))
    if number < levels.blames:
        return
    reason = f"Its mail was refused because of the sender: {_line(answer.said)}"
    _suspend(tx, now.org, stops, reason=reason, evidence=_evidence(answer, at), by=answer.by, at=at)


def _suspend(tx: Tx, org: OrgId, sending: Sending, *, reason: str, evidence: str, by: str, at: datetime) -> None:
    new = suspensions.suspend(tx, org=org, sending=sending, reason=reason, evidence=evidence, by=by, at=at)
    if new is not None:
        tx.afterwards(partial(_told_suspended, org, sending, reason))


# --- brakes ---


def _count(tx: Tx, counted: Iterable[tuple[Delivery, Counts]], *, at: datetime) -> None:
    more: dict[tuple[OrgId, Sending], Counts] = {}
    for one, counts in counted:
        if counts == Counts():
            continue
        for sending in blame.sendings(one):
            more[one.org, sending] = more.get((one.org, sending), Counts()) + counts
    if more:
        tallies.count(tx, more, at=at)


def _brake(tx: Tx, answered: Sequence[Delivery], *, by: str | None, at: datetime, levels: BrakeLevels) -> None:
    """Judge the sendings of deliveries that were answered badly: jobs first, since what they answer for is not their domain's."""
    last = {(one.org, sending): by or one.id for one in answered for sending in blame.sendings(one)}
    for (org, sending), cause in sorted(last.items(), key=lambda item: (item[0][1].scope is not Scope.JOB, item[0])):
        _brake_one(tx, org, sending, by=cause, at=at, levels=levels)


def _brake_one(tx: Tx, org: OrgId, sending: Sending, *, by: str, at: datetime, levels: BrakeLevels) -> None:
    """Warn or stop as the rates have it."""
    last = suspensions.latest(tx, org, [sending]).get(sending)
    if last is not None and last.resumed_at is None:
        return
    counts = suspensions.counted(tx, org, sending, last=last, at=at)
    found = brakes.bad(counts, levels)
    if found and found[0].level is brakes.Level.STOP:
        evidence = "; ".join(str(one) for one in found)
        _suspend(tx, org, sending, reason=f"Too many {found[0]}", evidence=evidence, by=by, at=at)
        return
    for one in found:
        if warnings.first_today(tx, org, sending, one.measure, day=tallies.day_of(at)):
            data = {"scope": sending.scope, "name": sending.name, "measure": one.measure, "evidence": str(one)}
            events.append(tx, org=org, at=at, type=EventType.SENDING_WARNED, data=data)
            tx.afterwards(partial(_told_warned, org, sending, one))


# --- the journal, metrics and the log ---


def _tell(tx: Tx, answer: Answered, type: EventType, at: datetime) -> None:  # noqa: A002
    data = {
        "action": answer.action,
        "category": answer.category,
        "class": "hard" if answer.hard else "soft",
        "fault": answer.fault,
        "said": _line(answer.said),
        "source": answer.source,
        "by": answer.by,
    }
    _event(tx, answer.delivery, type, at, data)


def _event(tx: Tx, one: Delivery, type: EventType, at: datetime, data: dict[str, str]) -> None:  # noqa: A002
    events.append(
        tx, org=one.org, at=at, type=type, queue_id=one.queue_id, message=one.message, delivery=one.id, data=data
    )


def _evidence(answer: Answered, at: datetime) -> str:
    return f"{_line(answer.said)} ({answer.source}, {at:%Y-%m-%d %H:%M} UTC)"


def _line(text: str) -> str:
    """A stranger's words on one line, cut when they are long."""
    text = escape(" ".join(text.split()))
    return text if len(text) <= _MAX_SAID else text[: _MAX_SAID - 1] + "…"


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
        reply=_line(answer.said),
    )


def _told_suspended(org: OrgId, sending: Sending, reason: str) -> None:
    metrics.suspensions.labels(sending.scope).inc()
    _logger.error("sending.suspended", org=org, scope=str(sending.scope), name=sending.name, reason=reason)


def _told_warned(org: OrgId, sending: Sending, worst: brakes.Rate) -> None:
    metrics.brake_warnings.labels(worst.measure).inc()
    _logger.warning("sending.warned", org=org, scope=str(sending.scope), name=sending.name, rate=str(worst))
