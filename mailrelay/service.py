"""Long-running parts of the daemon: what one is, how it is kept alive, and how all stop together (architecture: services).

A service returns only when it is cancelled or when `Stopping` was set; anything it raises restarts it after a pause, except
`errors.Fatal`, which ends the process so that the service manager can start a clean one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from mailrelay.errors import Fatal

Report = Callable[[str, Exception, float], None]
"""Told of each failure: the service's name, what it raised, and the seconds until it is started again."""

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0


class Stopping:
    """Set once when the process is to end: listeners close and claimers claim no more; what runs may finish."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Ask everything to stop."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    async def wait(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 (a pause that may end early, not a cancel)
        """Wait until a stop is asked for, or `timeout` seconds; True when it was asked for."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


class Service(Protocol):
    """One long-running part."""

    @property
    def name(self) -> str:
        """Its name in logs and in `mailrelay_service_restarts_total`."""
        ...

    async def run(self) -> None:
        """Work until stopping is set or the task is cancelled."""
        ...


class Watched:
    """A service that says whether it works, or has failed and waits to be started again: for readiness (R2)."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._works = False

    @property
    def name(self) -> str:
        """See `Service`."""
        return self._service.name

    def works(self) -> bool:
        """Whether it runs now."""
        return self._works

    async def run(self) -> None:
        """See `Service`."""
        self._works = True
        try:
            await self._service.run()
        finally:
            self._works = False


async def keep(service: Service, stopping: Stopping, report: Report) -> None:
    """Run a service, and again with growing pauses when it raises; raises only Fatal and cancellation."""
    pause = _FIRST_PAUSE
    while not stopping.is_set():
        began = asyncio.get_running_loop().time()
        try:
            await service.run()
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 (a unit of work: whatever it is, it is reported and tried again)
            report(service.name, error, pause)
        else:
            if not stopping.is_set():
                raise Fatal(f"service {service.name} returned although nobody asked it to stop")
            return
        if asyncio.get_running_loop().time() - began > _LONGEST_PAUSE:
            pause = _FIRST_PAUSE
        await stopping.wait(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def supervise(services: Sequence[Service], stopping: Stopping, *, grace: float, report: Report) -> None:
    """Run all services until `stopping`, give them `grace` seconds to end, then cancel the rest.

    Raises the first Fatal (as itself, not in a group).
    """
    tasks = {asyncio.create_task(keep(service, stopping, report), name=service.name) for service in services}
    stop = asyncio.create_task(stopping.wait(), name="stopping")
    try:
        waiting = {*tasks, stop}
        while stop in waiting and tasks & waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done & tasks:
                task.result()  # a Fatal leaves here
        if tasks & waiting:
            _, late = await asyncio.wait(tasks & waiting, timeout=grace)
            for task in late:
                task.cancel()
    finally:
        stopping.set()
        stop.cancel()
        for task in tasks:
            if not task.done():
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Fatal):
            raise result
