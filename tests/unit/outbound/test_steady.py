"""The queue's time: what steps of the wall clock do to it, and what they do not (Q01)."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from mailrelay.outbound.steady import Steady
from tests.support.clock import START, FakeClock

HOUR, YEAR, LIFETIME = timedelta(hours=1), timedelta(days=365), timedelta(days=5)


def test_a_clock_that_just_goes_on_is_believed():
    clock = FakeClock()
    steady = Steady(clock)
    for _ in range(10):
        clock.advance(HOUR)
        assert steady.look() == timedelta()
        assert steady.now() == clock.now()
        assert steady.expires(clock.now() - HOUR, lifetime=LIFETIME) == clock.now() - HOUR


def test_what_was_queued_before_the_clock_went_back_does_not_wait_for_it():
    clock = FakeClock()
    steady = Steady(clock)
    queued = clock.now()
    clock.advance(timedelta(seconds=1))
    clock.step(-2 * HOUR)
    assert steady.look() == -2 * HOUR
    assert steady.now() >= queued
    clock.advance(timedelta(hours=30))
    assert steady.now() == clock.now()  # it is made good by and by


def test_a_year_that_the_clock_skipped_is_nobodys_lifetime():
    clock = FakeClock()
    steady = Steady(clock)
    expires_at = clock.now() + timedelta(days=3)
    clock.advance(HOUR)
    clock.step(YEAR)
    left = expires_at - (START + HOUR)
    assert steady.expires(expires_at, lifetime=LIFETIME) == clock.now() + left
    written_down = steady.expires(expires_at, lifetime=LIFETIME)
    clock.advance(timedelta(days=2))
    assert steady.expires(written_down, lifetime=LIFETIME) == written_down
    clock.advance(timedelta(days=2))
    assert steady.expires(written_down, lifetime=LIFETIME) <= steady.now()  # it still ends


def test_what_a_clock_in_the_future_wrote_down_is_put_right_once_it_is_back():
    clock = FakeClock()
    clock.step(YEAR)
    steady = Steady(clock)
    expires_at = clock.now() + LIFETIME
    clock.step(-YEAR)
    steady.look()
    restarted = Steady(clock)
    assert restarted.expires(expires_at, lifetime=LIFETIME) == clock.now() + LIFETIME


@given(
    st.lists(
        st.tuples(
            st.floats(0, 10), st.sampled_from([0, 1, -1, 60, -60, 3600, -3600, 7200, -7200, 31_536_000, -31_536_000])
        )
    )
)
def test_whatever_the_clock_does_time_never_goes_back_and_nothing_lives_longer_than_it_may(steps):
    clock = FakeClock()
    steady = Steady(clock)
    born = steady.now()
    expires_at = born + LIFETIME
    last = steady.now()
    for seconds, step in steps:
        clock.advance(timedelta(seconds=seconds))
        clock.step(timedelta(seconds=step))
        now = steady.now()
        # Steps below ten seconds are what a clock does anyway.
        assert now >= last - timedelta(seconds=10 + 1)
        last = now
        assert steady.expires(expires_at, lifetime=LIFETIME) <= now + LIFETIME
        # Less than five days have gone by in truth, however the clock was set.
        expires_at = steady.expires(expires_at, lifetime=LIFETIME)
    if sum(seconds for seconds, _ in steps) < 10_000 and all(abs(step) >= 60 or step == 0 for _, step in steps):
        back = sum(-step for _, step in steps if step < 0)
        assert expires_at > steady.now() - timedelta(seconds=back)
