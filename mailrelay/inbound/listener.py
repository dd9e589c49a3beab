"""The listening sockets and all sessions behind them, as one service (R1, S18)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from mailrelay import log
from mailrelay.config.schema import Inbound, Listener, ListenerKind
from mailrelay.errors import Fatal
from mailrelay.inbound.certificate import Certificate
from mailrelay.inbound.door import Door
from mailrelay.inbound.edge import Session
from mailrelay.inbound.house import House
from mailrelay.inbound.limits import Connections
from mailrelay.memory import Memory
from mailrelay.service import Stopping

_BACKLOG = 1_024

logger = log.get()


@dataclass(frozen=True, slots=True)
class Bound:
    """An address that a listener listens on; `port` is the real one where the setting said 0."""

    kind: ListenerKind
    host: str
    port: int


class Listeners:
    """The service `listeners`. PROXY protocol is not offered: who sends its header is cut off (S27)."""

    name = "listeners"

    def __init__(
        self,
        listeners: tuple[Listener, ...],
        *,
        hostname: str,
        settings: Inbound,
        certificate: Certificate,
        doors: Mapping[ListenerKind, Door],
        stopping: Stopping,
        memory: Memory | None = None,
        descriptors: int = 1 << 30,
    ) -> None:
        self.bound: tuple[Bound, ...] = ()
        """Where it listens, once `ready` is set."""
        self.ready = asyncio.Event()
        self._listeners = listeners
        self._doors = doors
        self._stopping = stopping
        self._sessions: set[Session] = set()
        self._fatal: Fatal | None = None
        self._woken = asyncio.Event()
        self._in_order = False
        self.house = House(
            hostname=hostname,
            local_domain=settings.domains[0],
            settings=settings,
            connections=Connections(
                total=settings.max_connections,
                per_ip=settings.max_connections_per_ip,
                per_minute=settings.max_connections_per_ip_per_minute,
                trusted=settings.trusted_networks,
            ),
            tls=lambda: certificate.context,
            fail=self._fail,
            memory=memory or Memory(),
            descriptors=descriptors,
        )

    @property
    def sessions(self) -> int:
        """How many are open."""
        return len(self._sessions)

    async def run(self) -> None:
        """Listen until stopping, then see the sessions out: at once between transactions, else after theirs.

        Raises OSError when an address cannot be had, and the Fatal that a session met.
        """
        loop = asyncio.get_running_loop()
        servers: list[asyncio.Server] = []
        stop = asyncio.create_task(self._stopping.wait())
        stop.add_done_callback(self._wake)
        try:
            self.bound = tuple([await self._open(one, servers, loop) for one in self._listeners])
            self.ready.set()
            await self._woken.wait()
            if self._fatal is not None:
                raise self._fatal
            self._in_order = True
        finally:
            stop.remove_done_callback(self._wake)  # or it would wake the next run, after an address that was taken
            stop.cancel()
            self.ready.clear()
            self.house.stopping = True
            for server in servers:
                server.close()
            await self._see_out()
            self.house.stopping = False
            self._woken.clear()

    async def _open(self, listener: Listener, servers: list[asyncio.Server], loop: asyncio.AbstractEventLoop) -> Bound:
        family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
        # IPPROTO_TCP said outright: asyncio sets TCP_NODELAY only on sockets whose protocol it can see.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind((listener.host, listener.port))
            listening.setblocking(False)
            door = self._doors[listener.kind]
            server = await loop.create_server(
                lambda: Session(self.house, door, listener.kind, self._sessions, loop=loop),
                sock=listening,
                backlog=_BACKLOG,
            )
        except BaseException:
            listening.close()
            raise
        servers.append(server)
        bound = Bound(listener.kind, listener.host, listening.getsockname()[1])
        logger.info("listener.opened", listener=bound.kind.value, host=bound.host, port=bound.port)
        return bound

    async def _see_out(self) -> None:
        """Ask the sessions to end and wait for them. At a stop that is not in order, or once cancelled, cut them off."""
        for session in self._sessions:
            session.stop()
        tasks = {session.task for session in self._sessions if session.task is not None}
        try:
            if tasks and self._in_order:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for session in tuple(self._sessions):
                session.leave()

    def _wake(self, _: asyncio.Task[bool]) -> None:
        self._woken.set()

    def _fail(self, fatal: Fatal) -> None:
        self._fatal = self._fatal or fatal
        self._woken.set()
