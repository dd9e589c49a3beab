"""What an attempt's outcome means, and how it reads as an answer about its delivery (I10, I11). Nothing is written here."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime

from mailrelay.mail.bounce.category import Verdict, of_outcome
from mailrelay.model.delivery import Accepted, Deferred, Delivery, DeliveryState, Interrupted, Outcome, Refused, Stage
from mailrelay.model.feedback import Action, Category, Fault, Feedback
from mailrelay.model.sending import Counts
from mailrelay.outbound.courier.base import OUR_FAULT
from mailrelay.smtp.escape import escape
from mailrelay.store.queue import Settlement

_MAX_SAID = 500
_NOTHING_CAME = Verdict(Category.TIMEOUT, hard=False, fault=Fault.NEITHER)
# Said by us of a host that does not meet its own policy: 4.7.5 from somebody else would blame the sender.
_UNPROVED = Verdict(Category.POLICY, hard=False, fault=Fault.NEITHER)
_OURS = Verdict(Category.SYSTEM, hard=False, fault=Fault.SENDER)
# What a relay may call a mail: Postfix's long queue ids, the ids of Amazon SES and other services; no word of a sentence.
_RELAY_ID = re.compile(r"[A-Za-z0-9._-]{16,255}")
_MOST_RELAY_IDS = 3
_BEFORE_MAIL = frozenset({Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.AUTH})


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


def judged(one: Settlement, *, relayed: bool = False) -> Settlement:
    """With what its answer means. A success says nothing; an end without an answer is a timeout, our own fault the sender's.

    `relayed`: the next hop is the smart host, whose outage is ours and nobody else's.
    """
    match one.outcome:
        case Deferred() if one.outcome == OUR_FAULT:
            verdict = _OURS
        case Deferred(stage=Stage.TLS):
            verdict = _UNPROVED
        case Deferred(reply=reply, stage=stage):
            verdict = of_outcome(reply, stage=stage)
        case Refused(reply=reply, stage=stage, by_us=by_us):
            verdict = of_outcome(reply, stage=stage, by_us=by_us)
        case Interrupted():
            verdict = _NOTHING_CAME
        case _:
            return one
    if (relayed or one.relayed) and not _reached(one.outcome):
        verdict = replace(verdict, hard=False, fault=Fault.SENDER)
    if one.state is DeliveryState.EXPIRED and verdict.category is Category.UNKNOWN:
        verdict = replace(verdict, category=Category.TIMEOUT)
    return replace(one, category=verdict.category, hard=verdict.hard, fault=verdict.fault)


def counts(one: Settlement) -> Counts:
    """What an end adds to the tallies of its sendings. A fault of the sender's has a brake of its own, and is no bounce."""
    if one.state is DeliveryState.SENT:
        return Counts(sent=1)
    offered = one.state in (DeliveryState.BOUNCED, DeliveryState.EXPIRED) or one.hard
    if one.state in (DeliveryState.QUEUED, DeliveryState.HELD) or not offered or one.fault is Fault.SENDER:
        return Counts()
    return Counts(refused=1, hard=int(one.hard), soft=int(not one.hard))


def answer(one: Settlement, *, relayed: bool = False) -> Answered | None:
    """What a judged settlement tells of its delivery; None for a success, and where nobody but ourselves is to blame."""
    if (
        one.outcome == OUR_FAULT
        or ((relayed or one.relayed) and not _reached(one.outcome))
        or one.category is None
        or one.fault is None
        or one.outcome is None
        or isinstance(one.outcome, Accepted)
    ):
        return None
    ended = one.state not in (DeliveryState.QUEUED, DeliveryState.HELD)
    by_us = isinstance(one.outcome, Refused) and one.outcome.by_us
    return Answered(
        delivery=replace(one.held, state=one.state if ended else DeliveryState.QUEUED),
        category=one.category,
        hard=one.hard,
        fault=one.fault,
        action=Action.FAILED if ended else Action.DELAYED,
        said=one_line(one.last_reply),
        source="DNS" if by_us else f"{one.host} in the dialogue",
        by=one.held.id,
        transient=not isinstance(one.outcome, Refused),
    )


def reported(row: Feedback, delivery: Delivery) -> Answered:
    """What a mail that came back tells of its delivery."""
    told = " ".join(str(word) for word in (row.code, row.status) if word)
    return Answered(
        delivery=delivery,
        category=row.category,
        hard=row.hard,
        fault=row.fault,
        action=row.action,
        said=row.diagnostic or told or f"{row.category}, in no words",
        source=f"report {row.arrival}",
        by=row.arrival,
        transient=row.code // 100 == 4 if row.code else row.status.startswith("4."),
    )


def _reached(outcome: Outcome | None) -> bool:
    """Whether the next hop heard of the mail, or refused to; an outage before says nothing of either."""
    return not isinstance(outcome, Deferred | Interrupted) or outcome.stage not in _BEFORE_MAIL


def relay_ids(text: str) -> tuple[str, ...]:
    """What may be a relay's name for the mail in the text of its 250: long words with a digit, at most three."""
    found = (word.strip(".-_") for word in _RELAY_ID.findall(text))
    names = (word for word in found if len(word) >= 16 and any(char.isdigit() for char in word))
    return tuple(dict.fromkeys(names))[:_MOST_RELAY_IDS]


def evidence(answer: Answered, at: datetime) -> str:
    """Who said it, when, and in which words."""
    return f"{one_line(answer.said)} ({answer.source}, {at:%Y-%m-%d %H:%M} UTC)"


def one_line(text: str) -> str:
    """A stranger's words on one line, cut when they are long."""
    text = escape(" ".join(text.split()))
    return text if len(text) <= _MAX_SAID else text[: _MAX_SAID - 1] + "…"
