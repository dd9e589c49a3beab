"""The only place that asks what time it is, so that tests can say it.

Wall-clock times are aware UTC datetimes; spans inside one process are measured with `Clock.monotonic`.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock:
    """The system's clock; `tests.support.clock.FakeClock` stands in for it in tests."""

    def now(self) -> datetime:
        """The time now, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines and durations within this process."""
        return time.monotonic()

    def boottime(self) -> float:
        """As `monotonic`, but it goes on while the machine sleeps: for what others may have done meanwhile."""
        return time.clock_gettime(_BOOTTIME)

    def day(self, zone: ZoneInfo) -> date:
        """The calendar day it is now in `zone` (O6: a day is 00:00 to 23:59 there)."""
        return self.now().astimezone(zone).date()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(at: datetime) -> int:
    """Microseconds since 1970 of an aware datetime: how the store keeps times."""
    return (at - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC datetime of `to_micros`, to the microsecond."""
    return _EPOCH + timedelta(microseconds=micros)
