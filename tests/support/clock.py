"""A clock that stands still until it is told to go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mailrelay.clock import Clock

START = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
"""A Monday morning: where tests begin unless they say otherwise."""


class FakeClock(Clock):
    """`now` and `monotonic` move only by `advance`, and by the same span."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._monotonic = 1000.0
        self._slept = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def boottime(self) -> float:
        return self.monotonic() + self._slept

    def sleep(self, span: timedelta) -> None:
        """Let `span` pass while the machine sleeps, in which its monotonic clock stands still."""
        self._now += span
        self._slept += span.total_seconds()

    def advance(self, span: timedelta) -> None:
        """Let `span` pass, at once."""
        self._now += span
        self._monotonic += span.total_seconds()

    def step(self, span: timedelta) -> None:
        """Set the wall clock, back when `span` is negative, as somebody does who corrects it; the monotonic clock goes on."""
        self._now += span
