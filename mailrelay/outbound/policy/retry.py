"""Attempts and the last outcome → when again, or never (O11, standards §4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailrelay.model.delivery import Accepted, Deferred, DeliveryState, Interrupted, Outcome, Refused

_GROWTH = 2
_JITTER = 0.1
_LARGEST_EXPONENT = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The pauses between attempts: the first, twice as long each time, up to the longest."""

    first: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True)
class Again:
    """To be tried again at `due_at`."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """Over, in this state."""

    state: DeliveryState


def pause(attempts: int, schedule: Schedule, jitter: float) -> timedelta:
    """How long to wait after so many attempts; `jitter` from −1 to 1 makes it up to 10 % shorter or longer."""
    exponent = min(max(attempts - 1, 0), _LARGEST_EXPONENT)
    seconds = min(schedule.first.total_seconds() * _GROWTH**exponent, schedule.longest.total_seconds())
    return timedelta(seconds=seconds * (1 + _JITTER * jitter))


def after(
    outcome: Outcome, *, attempts: int, expires_at: datetime, now: datetime, schedule: Schedule, jitter: float
) -> Again | Ended:
    """What follows an attempt, the `attempts`-th.

    The last try is made at `expires_at`, so that no delivery expires without one (Q01). An interruption after the final dot is
    tried again too: single mail rather comes twice than never (D11).
    """
    match outcome:
        case Accepted():
            return Ended(DeliveryState.SENT)
        case Refused(by_us=True):
            return Ended(DeliveryState.FAILED)
        case Refused():
            return Ended(DeliveryState.BOUNCED)
        case Deferred() | Interrupted():
            if now >= expires_at:
                return Ended(DeliveryState.EXPIRED)
            return Again(min(now + pause(attempts, schedule, jitter), expires_at))
