"""The queue's idea of time: no step of the machine's clock makes mail wait, hurry or expire (Q01).

Inside a process the monotonic clock bears witness. What is decided:

- Mail is due, and tried again, by the later of the wall clock and where it would be without having been set back; so mail that was
  queued before the clock went back two hours does not wait for two hours. What the clock was set back by is made good slowly.
- A time that the clock skipped, forwards, is nobody's lifetime: a delivery that would have expired in it keeps what it had left.
- A delivery never has more than a lifetime left, nor is a retry further away than the longest pause: what a clock in the future
  wrote down is put right once it is back (`Settlement.expires_at`, `destinations.sweep`).

A process that starts believes the clock: after days of standstill mail has grown old, and gets its last try at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailrelay.clock import Clock

_STEP = timedelta(seconds=10)
"""What a clock moves by more than that at once, it was set by."""
_SLOWER = 0.1
"""Share of the time by which a clock that was set back is caught up with."""
_MOST_STEPS = 32


@dataclass(frozen=True, slots=True)
class Skipped:
    """The clock was set forwards, from `before` to `after`."""

    before: datetime
    after: datetime


class Steady:
    """Watches a clock. To be asked now and then: a step is seen by the next question."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall = clock.now()
        self._monotonic = clock.monotonic()
        self._own = self._wall
        """Where the clock would be if nobody had set it."""
        self._stepped = timedelta()
        self._skipped: list[Skipped] = []

    def stepped(self) -> timedelta:
        """How far the clock was set since this was asked last, backwards negative; nought for what a clock does anyway."""
        self._look()
        stepped, self._stepped = self._stepped, timedelta()
        return stepped

    def now(self) -> datetime:
        """The time that the queue goes by."""
        self._look()
        return max(self._wall, self._own)

    def _look(self) -> None:
        wall, monotonic = self._clock.now(), self._clock.monotonic()
        span = timedelta(seconds=monotonic - self._monotonic)
        expected = self._wall + span
        step = wall - expected
        self._wall, self._monotonic = wall, monotonic
        self._own += span
        if self._own > wall:
            self._own = max(wall, self._own - span * _SLOWER)
        if abs(step) < _STEP:
            self._own += step
            return
        self._stepped += step
        # What was skipped and is still to come after all was not skipped.
        self._skipped = [one for one in self._skipped if one.after <= wall]
        if step > timedelta():
            self._skipped = [*self._skipped, Skipped(expected, wall)][-_MOST_STEPS:]

    def expires(self, at: datetime, *, lifetime: timedelta) -> datetime:
        """When something that was to expire at `at` does, after all steps of the clock."""
        now = self.now()
        for step in self._skipped:
            if step.before < at <= step.after:
                at = step.after + (at - step.before)
        return min(at, now + lifetime)
