"""What the answers of a smart host mean: those that are about us, our credentials or our quota are no recipient's (N11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mailrelay.model.delivery import Deferred, Outcome, Refused, Stage
from mailrelay.outbound.policy import signals

# RFC 4954 §6: what is said to those who may not send.
_WHO_ARE_YOU = frozenset({530, 534, 535, 538})
_POLICY = 7  # RFC 3463 §3.8: security or policy


def meaning(outcome: Outcome) -> Outcome:
    """The outcome at a smart host as it counts for the delivery: what refuses us puts it off, and no mail bounces for it."""
    match outcome:
        case Refused(by_us=False, reply=reply, stage=stage):
            policy = reply.status is not None and reply.status.subject == _POLICY
            at_login = stage in (Stage.AUTH, Stage.MAIL) and (reply.code in _WHO_ARE_YOU or policy)
            if at_login or shuts_out([outcome]):
                return Deferred(reply=reply, stage=Stage.AUTH)
        case Deferred(stage=stage) if stage is not Stage.TLS and shuts_out([outcome]):
            return replace(outcome, stage=Stage.AUTH)
    return outcome


def shuts_out(outcomes: Sequence[Outcome]) -> str:
    """Why a smart host takes none of our mail: it refuses our credentials, our quota is spent, TLS is not as we demand; else ""."""
    reading = signals.read(outcomes, relayed=True)
    return (reading.because or "it gave no reason") if reading.signal is signals.Signal.SHUT else ""
