"""How a run begins and ends: what is told when everything listens, signals, and the order of the stop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailrelay import log, metrics
from mailrelay.daemon.parts import Parts
from mailrelay.inbound.certificate import Certificate
from mailrelay.inbound.listener import Bound, Listeners
from mailrelay.service import Service, Stopping, supervise
from mailrelay.store.base import Bell
from mailrelay.upkeep.systemd import ServiceManager
from mailrelay.web.application import Application
from mailrelay.web.server import HttpServer

Ready = Callable[["Running"], Awaitable[None]]
"""Called once everything listens; `mailrelay run --sample` makes the sample organisation and prints what to try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A daemon that has started, as who started it sees it."""

    application: Application
    bound: tuple[Bound, ...]
    api: tuple[str, int]
    ops: tuple[str, int]
    public: tuple[str, int]
    unix_socket: Path


class Work:
    """All services but the HTTP server, which outlasts them and says meanwhile that the daemon is stopping (R2)."""

    name = "work"

    def __init__(self, services: Sequence[Service], stopping: Stopping, ended: Stopping, *, grace: float) -> None:
        self._services = services
        self._stopping = stopping
        self._ended = ended
        self._grace = grace

    async def run(self) -> None:
        """Run all of them, and say that they have ended."""
        try:
            await supervise(self._services, self._stopping, grace=self._grace, report=report)
        finally:
            self._ended.set()


class Announcement:
    """Says that everything runs, to who started it and to the service manager; a service, so that it ends with the rest."""

    name = "announcement"

    def __init__(
        self,
        parts: Parts,
        application: Application,
        listeners: Listeners,
        http: HttpServer,
        ready: Ready | None,
    ) -> None:
        self._started = parts.started
        self._stopping = parts.stopping
        self._application = application
        self._listeners = listeners
        self._http = http
        self._ready = ready

    async def run(self) -> None:
        """Tell when everything listens, and when the stop begins."""
        manager = ServiceManager(os.environ)
        await self._listeners.ready.wait()
        if self._ready is not None:
            await self._ready(
                Running(
                    application=self._application,
                    bound=self._listeners.bound,
                    api=self._http.address,
                    ops=self._http.ops_address,
                    public=self._http.public_address,
                    unix_socket=self._http.unix_socket,
                )
            )
        self._started.set()
        log.get().info("daemon.ready")
        manager.tell("READY=1")
        await manager.watch(self._stopping)
        await self._stopping.wait()
        log.get().info("daemon.stopping")
        manager.tell("STOPPING=1")
        self._application.store.bells.ring(set(Bell))  # whoever waits for work wakes, and sees that there will be none


@contextmanager
def signals(stopping: Stopping, certificate: Certificate) -> Iterator[None]:
    """SIGTERM and SIGINT stop; SIGHUP reads the certificate again. Outside the main thread (tests) there are no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    acts: dict[signal.Signals, Callable[[], object]] = {
        signal.SIGTERM: stopping.set,
        signal.SIGINT: stopping.set,
        signal.SIGHUP: certificate.reload,
    }
    for number, act in acts.items():
        loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        for number in acts:
            loop.remove_signal_handler(number)


def report(name: str, error: Exception, pause: float) -> None:
    """Count and log a service that failed and is started again."""
    metrics.service_restarts.labels(name).inc()
    log.get(service=name).error("service.failed", pause=pause, exc_info=error)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is."""
    try:
        import uvloop
    except ImportError:  # not on this platform: asyncio's own loop does the same, slower
        return None
    return uvloop.new_event_loop
