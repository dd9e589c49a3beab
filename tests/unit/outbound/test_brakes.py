"""O18: when rates warn and stop, by table; and they never grow milder with more complaints."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.config.schema import BrakeLevels
from mailrelay.model.sending import Counts
from mailrelay.outbound.policy import brakes
from mailrelay.outbound.policy.brakes import Level, Measure

LEVELS = BrakeLevels()
COUNTS = st.builds(
    Counts,
    sent=st.integers(0, 20_000),
    refused=st.integers(0, 2_000),
    hard=st.integers(0, 2_000),
    soft=st.integers(0, 2_000),
    complaints=st.integers(0, 100),
    unsubscribed=st.integers(0, 1_000),
)


@pytest.mark.parametrize(
    ("counts", "measure", "level"),
    [
        (Counts(), None, Level.OK),
        (Counts(refused=99, hard=99), None, Level.OK),  # too small a sample
        (Counts(refused=100, hard=100), Measure.BOUNCES, Level.STOP),
        (Counts(sent=90, refused=10, hard=4, soft=6), Measure.BOUNCES, Level.STOP),
        (Counts(sent=91, refused=9, soft=9), Measure.BOUNCES, Level.WARN),
        (Counts(sent=100, hard=10), Measure.BOUNCES, Level.STOP),  # all came back late
        (Counts(sent=95, refused=5, hard=5), Measure.BOUNCES, Level.WARN),
        (Counts(sent=96, refused=4, hard=4), None, Level.OK),
        (Counts(sent=999, complaints=50), None, Level.OK),
        (Counts(sent=1000, complaints=1), Measure.COMPLAINTS, Level.WARN),
        (Counts(sent=1000, complaints=2), Measure.COMPLAINTS, Level.WARN),
        (Counts(sent=1000, complaints=3), Measure.COMPLAINTS, Level.STOP),
        (Counts(sent=500, unsubscribed=4), None, Level.OK),
        (Counts(sent=500, unsubscribed=5), Measure.UNSUBSCRIBES, Level.WARN),
        (Counts(sent=500, unsubscribed=15), Measure.UNSUBSCRIBES, Level.STOP),
        (Counts(sent=1000, refused=60, hard=60, complaints=3), Measure.COMPLAINTS, Level.STOP),  # the worst speaks
    ],
)
def test_rates_are_judged_by_their_levels(counts: Counts, measure: Measure | None, level: Level) -> None:
    worst = brakes.judge(counts, LEVELS)
    assert (None if worst is None else worst.measure, Level.OK if worst is None else worst.level) == (measure, level)


def test_a_level_says_what_was_counted() -> None:
    worst = brakes.judge(Counts(sent=90, refused=10, hard=10), LEVELS)
    assert str(worst) == "bounces: 10 of 100 (10.00%), at or over the level of 10.00%"


@given(COUNTS, st.sampled_from(["hard", "soft", "complaints", "unsubscribed"]), st.integers(1, 100))
def test_more_of_what_is_bad_never_lowers_the_level(counts: Counts, what: str, more: int) -> None:
    def level(of: Counts) -> list[Level]:
        return [rate.level for rate in brakes.rates(of, LEVELS)]

    worse = replace(counts, **{what: getattr(counts, what) + more})
    assert all(after >= before for before, after in zip(level(counts), level(worse), strict=True))


@given(COUNTS)
def test_nothing_is_said_of_a_small_sample(counts: Counts) -> None:
    small = replace(counts, sent=counts.sent % 100, refused=0)
    assert brakes.judge(small, LEVELS) is None


@given(COUNTS, COUNTS)
def test_what_is_added_can_be_taken_away(one: Counts, other: Counts) -> None:
    assert one + other - other == one
    assert other - (one + other) == Counts()
