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
        assert steady.stepped() == timedelta()
        assert steady.now() == clock.now()
        assert steady.expires(clock.now() - HOUR, lifetime=LIFETIME) == clock.now() - HOUR


def test_what_was_queued_before_the_clock_went_back_does_not_wait_for_it():
    clock = FakeClock()
    steady = Steady(clock)
    queued = clock.now()
    clock.advance(timedelta(seconds=1))
    clock.step(-2 * HOUR)
    assert steady.stepped() == -2 * HOUR
    assert steady.now() >= queued
    clock.advance(timedelta(hours=30))
    assert steady.now() == clock.now()  # it is made good by and by


def test_a_clock_that_was_a_year_ahead_for_a_while_leaves_nothing_behind():
    clock = FakeClock()
    steady = Steady(clock)
    clock.step(YEAR)
    assert steady.now() == clock.now()
    clock.step(-YEAR)
    assert steady.now() == clock.now()
    assert steady.expires(clock.now() + LIFETIME, lifetime=LIFETIME) == clock.now() + LIFETIME


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
    assert steady.stepped() == -YEAR
    restarted = Steady(clock)
    assert restarted.expires(expires_at, lifetime=LIFETIME) == clock.now() + LIFETIME


@given(
    st.lists(
        st.tuples(st.floats(0, 10), st.sampled_from([0, 60, -60, 3600, -3600, 7200, -7200, 31_536_000, -31_536_000]))
    )
)
def test_whatever_the_clock_does_mail_is_due_by_its_clock_and_never_lives_longer_than_it_may(steps):
    clock = FakeClock()
    steady = Steady(clock)
    for seconds, step in steps:
        clock.advance(timedelta(seconds=seconds))
        clock.step(timedelta(seconds=step))
        assert steady.now() >= clock.now()
        for born in (START, clock.now()):
            assert steady.expires(born + LIFETIME, lifetime=LIFETIME) <= steady.now() + LIFETIME


@given(st.lists(st.tuples(st.floats(0, 10), st.sampled_from([0, -60, -3600, -7200, -31_536_000]))))
def test_a_clock_that_is_only_set_back_never_makes_mail_wait(steps):
    clock = FakeClock()
    steady = Steady(clock)
    for seconds, step in steps:
        due = steady.now()
        clock.advance(timedelta(seconds=seconds))
        clock.step(timedelta(seconds=step))
        assert steady.now() >= due
