"""Counts → go on, warn, or stop (O18, standards §4).

Bounces are a share of what came to an answer, complaints and unsubscriptions of what the next hop took. Nothing is said of a
sample that is too small. What was counted before somebody resumed a sending is not held against it again, so that only as much
mail as makes a sample, and bad again, stops it a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from mailrelay.config.schema import Brake, BrakeLevels
from mailrelay.model.sending import Counts


class Measure(StrEnum):
    """What is watched."""

    BOUNCES = "bounces"
    COMPLAINTS = "complaints"
    UNSUBSCRIBES = "unsubscribes"


class Level(IntEnum):
    """How bad it is; more is worse."""

    OK = 0
    WARN = 1
    STOP = 2


@dataclass(frozen=True, slots=True)
class Rate:
    """One measure of a sending: `count` of `out_of`, and what that comes to."""

    measure: Measure
    count: int
    out_of: int
    level: Level
    limit: float
    """The share at which it warns (while OK), warned, or stopped."""

    @property
    def share(self) -> float:
        """From 0; over 1 when more came back late than was sent since."""
        return self.count / self.out_of if self.out_of else 0.0

    def __str__(self) -> str:
        """`bounces: 12 of 100 (12 %), over the level of 10 %`."""
        return f"{self.measure}: {self.count} of {self.out_of} ({self.share:.2%}), at or over the level of {self.limit:.2%}"


def rates(counts: Counts, levels: BrakeLevels) -> tuple[Rate, ...]:
    """Every measure, judged by itself."""
    return (
        _judged(Measure.BOUNCES, counts.bounced, counts.tried, levels.bounces),
        _judged(Measure.COMPLAINTS, counts.complaints, counts.sent, levels.complaints),
        _judged(Measure.UNSUBSCRIBES, counts.unsubscribed, counts.sent, levels.unsubscribes),
    )


def judge(counts: Counts, levels: BrakeLevels) -> Rate | None:
    """The worst measure, the first of several that are as bad; None when all is well."""
    return next(iter(bad(counts, levels)), None)


def bad(counts: Counts, levels: BrakeLevels) -> tuple[Rate, ...]:
    """The measures at a level to warn or stop, the worst first."""
    found = sorted(rates(counts, levels), key=lambda rate: -rate.level)
    return tuple(rate for rate in found if rate.level is not Level.OK)


def _judged(measure: Measure, count: int, out_of: int, brake: Brake) -> Rate:
    if out_of < brake.sample or not count:
        return Rate(measure, count, out_of, Level.OK, brake.warn)
    share = count / out_of
    if share >= brake.stop:
        return Rate(measure, count, out_of, Level.STOP, brake.stop)
    return Rate(measure, count, out_of, Level.WARN if share >= brake.warn else Level.OK, brake.warn)
