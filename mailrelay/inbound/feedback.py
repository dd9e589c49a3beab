"""What a mail that came back changes: what it says is kept, told of its delivery and, where it is to be believed, acted on (I10, I11).

All of it happens in the transaction that ends the arrival, and once, however often the same mail arrives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from mailrelay import log, metrics
from mailrelay.filing.came_back import CameBack
from mailrelay.filing.reading import Case
from mailrelay.ids import IdFactory
from mailrelay.inbound import absence, tie
from mailrelay.inbound.tie import NOT_VOUCHED_FOR, Returns, Signs
from mailrelay.mail import arf
from mailrelay.mail.bounce import category
from mailrelay.mail.bounce.report import BouncedRecipient
from mailrelay.model.delivery import Delivery
from mailrelay.model.envelope import OPEN_CHANNELS, Arrival
from mailrelay.model.event import EventType
from mailrelay.model.feedback import BELIEVED, REPORTS, Action, Feedback, Tie
from mailrelay.model.message import Kind, Message, ParticipantRole
from mailrelay.outbound import consequences, unsubscribe
from mailrelay.outbound.verdict import Answered, reported
from mailrelay.rules import domains
from mailrelay.rules.facts import Facts
from mailrelay.smtp.escape import escape
from mailrelay.store import deliveries, events, feedback
from mailrelay.store.base import Tx

_MAX_EVENTS = 20
_MAX_SAID = 500
_MAX_RECIPIENT = 320
_OPT_OUT = ("opt-out", "opt-out-list", "unsubscribe")

_log = log.get(stage="filing")


def apply(
    tx: Tx,
    arrival: Arrival,
    case: Case,
    facts: Facts,
    signs: Signs,
    *,
    returns: Returns,
    held: str,
    known: bool,
    ids: IdFactory,
    at: datetime,
) -> None:
    """Keep and act on what a mail that may have come back says.

    `held`: why it waits for a person, or ""; `known`: it is a copy of a mail that was here before.
    """
    back, message = case.came_back, facts.message
    if back is None or (message.kind is Kind.NORMAL and not message.automatic):
        return
    proved = tie.proved(tx, message.org, signs)
    said = _said(back, None if proved is None else proved[0])
    rows, about = _judged(tx, arrival, message, back, said, proved, signs, at=at)
    new = feedback.add(tx, rows)
    fresh = [row for row in rows if row.position in new]
    # What names nobody has no row that it would be known by.
    if fresh or (proved is not None and not rows and not known):
        _tell_of(tx, arrival, message, back, fresh, about, proved, at=at)
    if not known and (proved is not None or _is_vouched_for(arrival, message, held)):
        _note_absence(tx, arrival, case, facts, proved, ids=ids, at=at)
    believed = [(about[row.position], row) for row in fresh if row.believed]
    _act(tx, arrival, back, believed, returns, at=at)


def _is_vouched_for(arrival: Arrival, message: Message, held: str) -> bool:
    """Whether its author may be taken for who he says he is."""
    if held in NOT_VOUCHED_FOR:
        return False
    return arrival.channel not in OPEN_CHANNELS or (message.auth is not None and message.auth.aligned)


def _judged(
    tx: Tx,
    arrival: Arrival,
    message: Message,
    back: CameBack,
    said: Mapping[int, BouncedRecipient],
    proved: tuple[Delivery, Tie] | None,
    signs: Signs,
    *,
    at: datetime,
) -> tuple[list[Feedback], dict[int, Delivery]]:
    """A row for each recipient, and by position the delivery that it is about."""
    about: dict[int, Delivery] = {}
    if proved is not None:
        how, chosen = proved[1], _concerned(said, proved[0], back.kind)
        about = dict.fromkeys(said, proved[0])
    else:
        how, chosen = Tie.SOURCE if signs.trusted else Tie.MESSAGE_ID, None
        named = tie.named_in(tx, message.org, back)
        for position, one in said.items():
            if (delivery := named.get(tie.key_of(one.recipient))) is not None:
                about[position] = delivery
    rows = [
        Feedback(
            org=message.org,
            message=message.id,
            position=position,
            arrival=arrival.id,
            delivery=about[position].id if position in about else None,
            kind=back.kind,
            recipient=escape(one.recipient)[:_MAX_RECIPIENT],
            key=escape(tie.key_of(one.recipient))[:_MAX_RECIPIENT],
            status=str(one.status or ""),
            code=one.code,
            diagnostic=_line(one.diagnostic),
            action=one.action,
            category=one.category,
            hard=one.hard and not (position in about and _names_another(one, about[position], back)),
            fault=one.fault,
            tie=how if position in about else Tie.NONE,
            believed=how in BELIEVED and position in about and (proved is None or position == chosen),
            at=at,
        )
        for position, one in said.items()
    ]
    return rows, about


def _said(back: CameBack, delivery: Delivery | None) -> dict[int, BouncedRecipient]:
    """By position: whom a report names first, and, however far behind them, the delivery's own recipient."""
    if back.report is None:
        return {}
    said = dict(enumerate(back.report.recipients))
    if delivery is None or not back.report.more or _concerned(said, delivery, back.kind) is not None:
        return said
    own = _own(delivery)
    behind = enumerate(back.report.more, start=len(said))
    for position, one in behind:
        if tie.key_of(one.recipient) in own:
            return {**said, position: category.of_trouble(one)}
    return said


def _own(delivery: Delivery) -> frozenset[str]:
    """The keys under which a report may name a delivery's recipient."""
    orcpt = tie.key_of((delivery.recipient.orcpt or "").partition(";")[2])
    return frozenset({delivery.address.key, orcpt} - {""})


def _names_another(one: BouncedRecipient, delivery: Delivery, back: CameBack) -> bool:
    """Whether a report is about an address that is surely not the delivery's, nor in its domain: the mail was passed on.

    Who passes his mail on often keeps a copy, so that his own address lives on when the other one is dead.
    """
    key = tie.key_of(one.recipient)
    # It names nobody, or whom it found in our own header for want of a name.
    if not key or key == tie.key_of(back.traces.returned_to):
        return False
    domain = key.rpartition("@")[2]
    return all(key != own and not domains.is_beside(domain, own.rpartition("@")[2]) for own in _own(delivery))


def _concerned(said: Mapping[int, BouncedRecipient], delivery: Delivery, kind: Kind) -> int | None:
    """Which recipient of a report is the delivery's; None when it speaks of several others, of whom none is believed.

    A delivery has one recipient, so the only one that is named is it, under the address it was passed on to. A complaint hides
    its own, and an automatic reply names whoever wrote it.
    """
    if not said:
        return None
    if kind not in REPORTS or len(said) == 1:
        return 0
    own = _own(delivery)
    mine = [position for position, one in said.items() if tie.key_of(one.recipient) in own]
    failed = [position for position in mine if said[position].action is Action.FAILED]
    return next(iter((*failed, *mine)), None)


def _note_absence(
    tx: Tx,
    arrival: Arrival,
    case: Case,
    facts: Facts,
    proved: tuple[Delivery, Tie] | None,
    *,
    ids: IdFactory,
    at: datetime,
) -> None:
    """Keep what an automatic reply says of who is away; people often answer from another name at the domain they were written at."""
    sender = next((one.address for one in case.message.participants if one.role is ParticipantRole.FROM), None)
    if case.came_back is None or case.came_back.away is None or sender is None:
        return
    if proved is not None:
        if not domains.is_beside(sender.domain, proved[0].address.domain):
            return  # what a stranger to whom we wrote says of somebody else is no news of them
        sender = proved[0].address
    if sender.key in facts.user_keys:
        return
    absence.note(
        tx,
        org=facts.message.org,
        sender=sender,
        away=case.came_back.away,
        message=facts.message.id,
        arrival=arrival,
        ids=ids,
        at=at,
        zone=ZoneInfo(facts.organisation.time_zone),
    )


def _act(
    tx: Tx,
    arrival: Arrival,
    back: CameBack,
    believed: Sequence[tuple[Delivery, Feedback]],
    returns: Returns,
    *,
    at: datetime,
) -> None:
    if back.kind in REPORTS:
        answers = [_of_whom(reported(row, delivery), row) for delivery, row in believed]
        consequences.returned(tx, answers, at=at, brakes=returns.brakes)
    elif back.kind is Kind.FEEDBACK and arf.is_complaint(back.complaint):
        concerned = {delivery.id: delivery for delivery, _ in believed}
        # Deliveries are locked by id, and before any tally is: as attempts' ends and reports lock them.
        for id_ in sorted(concerned):
            deliveries.locked(tx, id_)
        for _, delivery in sorted(concerned.items()):
            _complained(tx, arrival, delivery, back.complaint, returns, at=at)


def _of_whom(answer: Answered, row: Feedback) -> Answered:
    """The same, the address said with it that the mail was passed on to."""
    if not row.key or row.key in _own(answer.delivery):
        return answer
    return replace(answer, said=f"<{row.recipient}>: {answer.said}")


def _complained(tx: Tx, arrival: Arrival, delivery: Delivery, kind: str, returns: Returns, *, at: datetime) -> None:
    # RFC 5965 §7.3: who opts out wants no more of it, and does not call it spam.
    evidence = f"{kind} report {arrival.id}"
    if kind.strip().lower() not in _OPT_OUT:
        consequences.complained(tx, delivery, type=kind, evidence=evidence, by=arrival.id, at=at, brakes=returns.brakes)
        return
    unsubscribe.leave(tx, delivery, delivery.list, way="report", evidence=evidence, at=at, brakes=returns.brakes)


def _tell_of(
    tx: Tx,
    arrival: Arrival,
    message: Message,
    back: CameBack,
    fresh: Sequence[Feedback],
    about: Mapping[int, Delivery],
    proved: tuple[Delivery, Tie] | None,
    *,
    at: datetime,
) -> None:
    """Tell the journal, the log and the metrics that something came back, and learn by what name it calls our mail."""
    told: list[tuple[Delivery, Tie, Feedback | None]]
    if proved is None:
        told = [(about[row.position], row.tie, row) for row in fresh if row.position in about]
    else:
        # One event: of the delivery's own recipient, else of the first that it names.
        own = next((row for row in fresh if row.believed), next(iter(fresh), None))
        told = [(*proved, own)]
        deliveries.note_relay_ids(tx, proved[0], tie.unknown_names(tx, proved[0], back))
    for delivery, how, row in told[:_MAX_EVENTS]:
        events.append(
            tx,
            org=delivery.org,
            at=at,
            type=EventType.DELIVERY_RETURNED,
            queue_id=arrival.id,
            message=delivery.message,
            delivery=delivery.id,
            data={"returned": message.id, "kind": back.kind, "tie": how, "believed": "false", **_data(row)},
        )
    first = told[0] if told else (None, Tie.NONE, None)
    believed = any(row.believed for row in fresh)
    tx.afterwards(partial(_log_feedback, arrival, back.kind, first[0], first[1], believed=believed, rows=len(fresh)))


def _data(row: Feedback | None) -> dict[str, str]:
    if row is None:
        return {}
    return {
        "recipient": row.recipient,
        "action": row.action,
        "category": row.category,
        "class": "hard" if row.hard else "soft",
        "fault": row.fault,
        "status": row.status,
        "code": str(row.code or ""),
        "diagnostic": row.diagnostic,
        "believed": "true" if row.believed else "false",
    }


def _line(text: str) -> str:
    """A stranger's words on one line, what would act spelled out, cut when they are long (B10)."""
    text = escape(" ".join(text[: 4 * _MAX_SAID].split()))
    return text if len(text) <= _MAX_SAID else text[: _MAX_SAID - 1] + "…"


def _log_feedback(
    arrival: Arrival, kind: Kind, delivery: Delivery | None, how: Tie, *, believed: bool, rows: int
) -> None:
    metrics.feedback.labels(kind, "yes" if believed else "no").inc()
    _log.info(
        "feedback.received",
        queue_id=arrival.id,
        org=arrival.org,
        kind=str(kind),
        delivery="" if delivery is None else delivery.id,
        tie=str(how),
        believed=believed,
        recipients=rows,
    )
