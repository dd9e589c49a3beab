"""What a piece of pure work costs: CPU of this thread alone, the cheapest of a few tries, so that neighbours do not count."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_TRIES = 3


def cpu(work: Callable[[], T]) -> tuple[T, float]:
    """The result of `work` and the seconds of CPU it took at best; it is run three times, without the collector's pauses."""
    seconds = []
    gc.disable()
    try:
        for _ in range(_TRIES):
            began = time.thread_time()
            result = work()
            seconds.append(time.thread_time() - began)
    finally:
        gc.enable()
    return result, min(seconds)
