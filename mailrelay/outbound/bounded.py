"""A function in a thread, for so many seconds: what loops for ever must not keep a thread, or the processor, for ever (Q03)."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class TookTooLong(Exception):
    """It was stopped."""


class _Stop(BaseException):
    """Raised in the thread, wherever it is."""


async def within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` returns, or raises, in a thread. Raises TookTooLong once it has run for so long; waiting for a thread is not counted.

    The thread is stopped by an exception at its next step. One that hangs inside a single call of C goes on, and keeps its thread.
    """
    run = _Run(call, asyncio.get_running_loop().time)
    task = asyncio.create_task(asyncio.to_thread(run))
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=max(0.0, run.left(seconds)))
            if not task.done() and run.left(seconds) <= 0:
                raise TookTooLong(f"it took more than {seconds:g} s")
    finally:
        if not task.done():
            run.stop()
            task.cancel()  # nobody waits for it
    return cast("T", task.result())


class _Run(Generic[T]):
    def __init__(self, call: Callable[[], T], time: Callable[[], float]) -> None:
        self._call = call
        self._time = time
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._began: float | None = None
        self._stopped = False

    def __call__(self) -> T | None:
        with self._lock:
            if self._stopped:
                return None
            self._thread, self._began = threading.get_ident(), self._time()
        try:
            return self._call()
        except _Stop:
            return None
        finally:
            with self._lock:
                self._thread = None

    def left(self, seconds: float) -> float:
        """Seconds until it has run for so long."""
        return seconds if self._began is None else self._began + seconds - self._time()

    def stop(self) -> None:
        """Stop it wherever it is; what has ended stays so."""
        with self._lock:
            self._stopped = True
            if self._thread is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(_Stop))
