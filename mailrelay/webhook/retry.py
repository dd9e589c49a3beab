"""When a call is tried again, and when its receiver is left alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

_FIRST = timedelta(seconds=5)
_LONGEST = timedelta(hours=4)
_GROWTH = 3.0
_JITTER = 0.2
TRIPS: Final = 5
"""Failures in a row after which a receiver is only asked now and then whether it takes something again."""
_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=10)
_LONGEST_WISH = timedelta(hours=1)
"""A receiver that asks for more would have events die untried, and would never be found to have failed for long."""

Random = Callable[[], float]
"""From 0 to 1."""


def pause(attempts: int, random: Random) -> timedelta:
    """How long a call waits after so many attempts: 5 s, 15 s, 45 s, … 4 h, each a fifth more or less."""
    grown = min(_LONGEST, _FIRST * _GROWTH ** min(attempts - 1, 20))
    return grown * (1 - _JITTER + 2 * _JITTER * random())


def rest(failures: int) -> timedelta:
    """How long nothing is sent to a receiver after so many failures in a row: nought at first, ten minutes in the end."""
    if failures < TRIPS:
        return timedelta()
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - TRIPS, 20))


def wish(retry_after: str, now: datetime) -> timedelta | None:
    """What a Retry-After header asks for (RFC 9110 §10.2.3), an hour at most; None without one that can be read."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(_LONGEST_WISH, timedelta(seconds=min(int(text[:9]), 10**8)))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(timedelta(), min(_LONGEST_WISH, at - now))
