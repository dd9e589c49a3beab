"""Q03: a function in a thread ends after its time, and so does its thread."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from mailrelay.outbound.bounded import TookTooLong, within


async def test_what_it_returns_and_raises_comes_through():
    assert await within(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await within(5, lambda: 1 // 0)


async def test_fault_q03_an_endless_loop_ends_and_its_thread_is_free_again():
    threads: list[int] = []
    ended = threading.Event()

    def loop() -> None:
        threads.append(threading.get_ident())
        try:
            while True:
                pass
        finally:
            ended.set()

    with pytest.raises(TookTooLong, match=r"it took more than 0\.1 s"):
        await within(0.1, loop)
    assert await asyncio.to_thread(ended.wait, 5)
    assert await within(5, lambda: 7) == 7


async def test_waiting_for_a_thread_is_not_counted():
    def briefly() -> int:
        time.sleep(0.05)
        return 1

    assert sum(await asyncio.gather(*(within(0.5, briefly) for _ in range(80)))) == 80


async def test_who_is_cancelled_stops_it():
    began, ended = threading.Event(), threading.Event()

    def loop() -> None:
        began.set()
        try:
            while True:
                pass
        finally:
            ended.set()

    task = asyncio.create_task(within(60, loop))
    await asyncio.to_thread(began.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 5)
