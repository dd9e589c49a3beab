"""Services: kept alive, stopped together, ended by a fatal error."""

from __future__ import annotations

import asyncio

import pytest

from mailrelay import service as service_module
from mailrelay.errors import Fatal
from mailrelay.service import Stopping, Watched, keep, supervise


class Scripted:
    """A service that does what its script says, one entry a run: an exception is raised, "wait" waits for the stop."""

    def __init__(self, name: str, stopping: Stopping, *script: Exception | str) -> None:
        self.name = name
        self.runs = 0
        self.waits = asyncio.Event()
        self._stopping = stopping
        self._script = list(script)

    async def run(self) -> None:
        self.runs += 1
        step = self._script.pop(0) if self._script else "wait"
        if isinstance(step, Exception):
            raise step
        if step == "hang":
            await asyncio.Event().wait()
        if step == "wait":
            self.waits.set()
            await self._stopping.wait()


def ignore(name: str, error: Exception, pause: float) -> None:
    pass


async def test_a_service_that_raises_is_reported_and_started_again() -> None:
    stopping = Stopping()
    service = Scripted("filing", stopping, ValueError("boom"))
    reports: list[tuple[str, str]] = []
    task = asyncio.create_task(keep(service, stopping, lambda name, error, pause: reports.append((name, str(error)))))
    async with asyncio.timeout(30):
        await service.waits.wait()
    stopping.set()
    await task
    assert service.runs == 2
    assert reports == [("filing", "boom")]


async def test_a_watched_service_works_but_for_the_pause_after_it_raised() -> None:
    stopping = Stopping()
    scripted = Scripted("filing", stopping, ValueError("boom"))
    service = Watched(scripted)
    worked: list[bool] = [service.works()]
    task = asyncio.create_task(keep(service, stopping, lambda name, _error, _pause: worked.append(service.works())))
    async with asyncio.timeout(30):
        await scripted.waits.wait()
    worked.append(service.works())
    stopping.set()
    await task
    assert service.name == "filing"
    assert [*worked, service.works()] == [False, False, True, False]


async def test_a_stop_during_the_pause_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "_FIRST_PAUSE", 60.0)
    stopping = Stopping()
    service = Scripted("filing", stopping, ValueError("boom"))
    task = asyncio.create_task(keep(service, stopping, ignore))
    await asyncio.sleep(0.01)
    stopping.set()
    async with asyncio.timeout(30):
        await task
    assert service.runs == 1


async def test_a_service_that_returns_unasked_is_fatal() -> None:
    stopping = Stopping()
    with pytest.raises(Fatal, match="filing returned"):
        await keep(Scripted("filing", stopping, "return"), stopping, ignore)


async def test_a_fatal_error_of_one_ends_all() -> None:
    stopping = Stopping()
    other = Scripted("http", stopping)
    with pytest.raises(Fatal, match="the disk failed"):
        await supervise(
            [Scripted("filing", stopping, Fatal("the disk failed")), other], stopping, grace=1, report=ignore
        )
    assert stopping.is_set()


async def test_a_clean_stop_ends_all_services() -> None:
    stopping = Stopping()
    services = [Scripted("filing", stopping), Scripted("http", stopping)]
    task = asyncio.create_task(supervise(services, stopping, grace=60, report=ignore))
    await asyncio.sleep(0.01)
    stopping.set()
    async with asyncio.timeout(30):
        await task


async def test_a_service_that_does_not_stop_is_cancelled_after_the_grace() -> None:
    stopping = Stopping()
    task = asyncio.create_task(supervise([Scripted("filing", stopping, "hang")], stopping, grace=0.05, report=ignore))
    await asyncio.sleep(0.01)
    stopping.set()
    async with asyncio.timeout(30):
        await task
