"""What the outcomes of a chunk of mail say of the way that it took: it flows, it is throttled, nobody is there, we are shut out (O11).

Most of what is put off says nothing of the way: a greylisted mail, a full mailbox, a recipient who gets too much. Those wait alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from mailrelay.mail.bounce.category import of_outcome
from mailrelay.model.delivery import Accepted, Deferred, Interrupted, Outcome, Refused, Stage
from mailrelay.model.feedback import Category, Fault
from mailrelay.model.reply import Reply

_KNOWN = 4_096
_MAX_SAID = 300
_GREYLISTED = re.compile(r"\bgr[ea]y[- ]?list", re.IGNORECASE)
_QUOTA = re.compile(
    r"\bquota\b|\bdaily\b|\bper (?:day|hour)\b|\bsending limit|\blimit (?:was |has been )?(?:exceeded|reached)",
    re.IGNORECASE,
)
_CONNECTIONS = re.compile(
    r"\bconcurrent|\btoo many (?:\w+ )?(?:connections|sessions)"
    r"|\b(?:connection|session)s? (?:count|limit)|\b(?:max|maximum) (?:number of )?(?:connections|sessions)",
    re.IGNORECASE,
)
_BEFORE_RCPT = frozenset({Stage.CONNECT, Stage.TLS, Stage.AUTH, Stage.MAIL})
_OF_RECIPIENT = frozenset({1, 2})  # RFC 3463 §3.2, §3.3: of the address, of the mailbox
_TOO_MANY_RECIPIENTS = (5, 3)  # RFC 5321 §4.5.3.1.10: of one transaction
_NOT_ACCEPTING = (3, 2)  # RFC 3463 §3.4: the system takes no mail now
_DIRECTORY = 4  # RFC 3463 §3.5: network and routing


class Signal(IntEnum):
    """What is to be made of a chunk; of several the highest counts, but nobody is dead who answers."""

    NOTHING = 0  # nobody was asked, or the answers are about the mails
    BROKEN = 1  # the dialogue broke off, and nothing else happened
    DEAD = 2  # no connection, or DNS fails
    ALIVE = 3  # somebody answered
    FLOWS = 4  # mail was taken
    SLOW = 5  # asked to slow down
    SHUT = 6  # AUTH refused; of a smart host also: its quota is spent, or it lacks the TLS that we demand (N11)


@dataclass(frozen=True, slots=True)
class Reading:
    """A signal, how many mails were taken, and the outcome that says it."""

    signal: Signal
    accepted: int
    outcome: Outcome | None = None

    @property
    def of_connections(self) -> bool:
        """Whether what it asks for is fewer connections at once, not fewer mails."""
        return isinstance(self.outcome, Deferred | Refused) and _CONNECTIONS.search(self.outcome.reply.text) is not None

    @property
    def because(self) -> str:
        """The other side's words, cut when they are long."""
        match self.outcome:
            case None:
                return ""
            case Interrupted(detail=detail):
                said = detail
            case outcome:
                said = str(outcome.reply)
        said = " ".join(said.split())
        return said if len(said) <= _MAX_SAID else said[: _MAX_SAID - 1] + "…"


def read(outcomes: Sequence[Outcome], *, relayed: bool) -> Reading:
    """What a chunk says. `relayed`: the way leads to a smart host, whose quotas are ours."""
    accepted = 0
    worst, because = Signal.NOTHING, None
    for outcome in outcomes:
        if isinstance(outcome, Accepted):
            accepted += 1
            signal = Signal.FLOWS
        elif outcome is because:  # the rest of a chunk is given the same
            continue
        else:
            signal = _of(outcome, relayed=relayed)
        if signal > worst:
            worst, because = signal, outcome
    return Reading(worst, accepted, because)


def _of(outcome: Outcome, *, relayed: bool) -> Signal:
    match outcome:
        case Interrupted(stage=stage):
            return Signal.DEAD if stage in (Stage.RESOLVE, Stage.CONNECT) else Signal.BROKEN
        case Refused(by_us=True):
            return Signal.NOTHING
        case Deferred(stage=Stage.RESOLVE, reply=reply):
            # Our own code failing is a deferral at this stage too, with another status.
            return Signal.DEAD if reply.status is not None and reply.status.subject == _DIRECTORY else Signal.NOTHING
        case Deferred(stage=stage, reply=reply) | Refused(stage=stage, reply=reply):
            return _of_reply(reply, stage, relayed)
        case _:
            return Signal.NOTHING


@lru_cache(maxsize=_KNOWN)
def _of_reply(reply: Reply, stage: Stage, relayed: bool) -> Signal:
    if stage is Stage.AUTH and reply.code != 421:
        return Signal.SHUT
    if _is_slow(reply, stage):
        return Signal.SHUT if relayed and _QUOTA.search(reply.text) else Signal.SLOW
    if relayed and stage is not Stage.RCPT and _QUOTA.search(reply.text) and not _is_of_mailbox(reply):
        return Signal.SHUT
    if stage is Stage.CONNECT:
        return Signal.DEAD  # N05: a banner or an EHLO that says no: nothing is taken here now
    if stage is Stage.TLS:
        # Of a smart host we demand it ourselves, of all mail; else it differs by domain, and many domains share a site.
        return Signal.SHUT if relayed else Signal.NOTHING
    return Signal.ALIVE


def _is_slow(reply: Reply, stage: Stage) -> bool:
    status = None if reply.status is None else (reply.status.subject, reply.status.detail)
    if status is not None and (status[0] in _OF_RECIPIENT or status == _TOO_MANY_RECIPIENTS):
        return False
    # RFC 5321 §4.2.2: with 421 the host closes the connection, whatever was asked of it.
    if reply.code == 421 or (reply.is_transient and status == _NOT_ACCEPTING):
        return True
    verdict = of_outcome(reply, stage=stage)
    if verdict.category is not Category.RATE_LIMITED or _GREYLISTED.search(reply.text):
        return False
    # Behind RCPT it is about that recipient or that mail, unless we are blamed for it: greylisting blames nobody.
    return verdict.fault is Fault.SENDER or stage in _BEFORE_RCPT


def _is_of_mailbox(reply: Reply) -> bool:
    return reply.status is not None and reply.status.subject in _OF_RECIPIENT
