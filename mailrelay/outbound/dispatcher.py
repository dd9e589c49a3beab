"""Claims due deliveries and runs them in batches by destination, each with its share of the connections (O11).

Whatever our own code raises ends as a deferral, a log line and a kept delivery, never as silence.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import timedelta

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.config.schema import BrakeLevels, Route
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.errors import Fatal, Unavailable
from mailrelay.ids import DeliveryId, NodeId
from mailrelay.model.delivery import Delivery
from mailrelay.outbound.batch import BatchRunner
from mailrelay.outbound.courier.base import Courier
from mailrelay.outbound.letters import LetterMaker
from mailrelay.outbound.settle import Settler
from mailrelay.service import Stopping
from mailrelay.store import queue
from mailrelay.store.base import Bell, Store

CHUNK = 10
"""Deliveries that one connection carries before another destination gets its turn."""
_LAST_WAIT = 5.0
"""Seconds for cancelled deliveries to write down what they know."""
_logger = log.get()


class Dispatcher:
    """The service that empties the queue."""

    name = "dispatcher"

    def __init__(
        self,
        store: Store,
        courier: Courier,
        letters: LetterMaker,
        clock: Clock,
        settings: DeliverySettings,
        *,
        node: NodeId,
        stopping: Stopping,
        brakes: BrakeLevels,
        poll: float = 1.0,
    ) -> None:
        """`node` names this process in leases: no other process that lives has this name. `poll` seconds between looks."""
        self._store = store
        self._courier = courier
        self._clock = clock
        self._settings = settings
        self._node = node
        self._stopping = stopping
        self._poll = poll
        self._lease = timedelta(seconds=settings.lease)
        self._settler = Settler(
            store,
            clock,
            brakes=brakes,
            delay_after=timedelta(seconds=settings.delay_notice),
            relayed=settings.route is Route.SMART_HOST,
        )
        self._batches = BatchRunner(store, courier, letters, self._settler, clock, settings)
        self._held: dict[DeliveryId, Delivery] = {}
        self._leased_until = clock.now()
        """Before it no lease of ours runs out. After it we must not claim, or we would take our own work again (Q01)."""
        self._backlog: dict[str, deque[Delivery]] = {}
        """Claimed, and waiting for a connection to their destination."""
        self._lanes: defaultdict[str, int] = defaultdict(int)
        self._tasks: set[asyncio.Task[None]] = set()
        self._fatal: Fatal | None = None

    async def run(self) -> None:
        """Work until stopping is set, then finish what is under way. Raises Fatal."""
        await self._store.write(queue.recover, self._node, now=self._clock.now())
        heartbeat = asyncio.create_task(self._keep_leases(), name="dispatcher-heartbeat")
        try:
            while not self._stopping.is_set():
                if not await self._claim():
                    await self._wait()
                if self._fatal is not None:
                    raise self._fatal
            await self._give_back(self._take_backlog())
            while self._tasks:
                await asyncio.wait(set(self._tasks))
        finally:
            heartbeat.cancel()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(set(self._tasks), timeout=_LAST_WAIT)
            await self._settler.close()
            for task in self._tasks:  # the store takes no outcome: their attempts are found cut off at the next start
                task.cancel()
            await asyncio.gather(heartbeat, *self._tasks, return_exceptions=True)
            self._backlog.clear()  # what is in it is recovered at the next start
            self._held.clear()
            await self._courier.close()

    # --- claiming ---

    async def _claim(self) -> bool:
        """Take what is due and start on it; whether there may be more to take at once."""
        self._start_backlog()
        room = min(self._settings.batch, self._settings.connections * CHUNK - len(self._held))
        if room <= 0:
            return False
        if self._held and self._clock.now() >= self._leased_until and not await self._renew():
            return False
        busy = {destination for destination, running in self._lanes.items() if running >= self._limit}
        now = self._clock.now()
        try:
            claimed = await self._store.write(
                queue.claim,
                node=self._node,
                now=now,
                lease=self._lease,
                limit=room,
                skip=busy | self._backlog.keys(),
            )
        except Unavailable as error:
            _logger.warning("claim.failed", reason=str(error))
            return False
        if not self._held:
            self._leased_until = now + self._lease
        for one in _by_submission(claimed):
            self._held[one.id] = one
            self._backlog.setdefault(self._courier.destination(one), deque()).append(one)
        self._start_backlog()
        return len(claimed) == room

    @property
    def _limit(self) -> int:
        return self._settings.connections_per_destination

    def _start_backlog(self) -> None:
        for destination, waiting in list(self._backlog.items()):
            while waiting and self._has_room(destination):
                self._start(destination, [waiting.popleft() for _ in range(min(CHUNK, len(waiting)))])
            if not waiting:
                del self._backlog[destination]

    def _has_room(self, destination: str) -> bool:
        return self._lanes.get(destination, 0) < self._limit and len(self._tasks) < self._settings.connections

    def _start(self, destination: str, chunk: list[Delivery]) -> None:
        self._lanes[destination] += 1
        task = asyncio.create_task(self._deliver(destination, chunk), name=f"deliver to {destination}")
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._lanes[destination] -= 1
            if not self._lanes[destination]:
                del self._lanes[destination]
            for one in chunk:
                self._held.pop(one.id, None)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Fatal):
                self._fatal = error
            elif error is not None:
                _logger.error("attempt.failed", destination=destination, exc_info=error)
            self._store.bells.ring({Bell.QUEUE})  # there is room again

        task.add_done_callback(ended)

    async def _wait(self) -> None:
        """Until the bell rings, a stop is asked for, or it is time to look again."""
        heard = asyncio.ensure_future(self._store.bells.heard(Bell.QUEUE, timeout=self._poll))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({heard, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            heard.cancel()
            stop.cancel()
            await asyncio.gather(heard, stop, return_exceptions=True)

    async def _deliver(self, destination: str, chunk: list[Delivery]) -> None:
        try:
            await self._batches.run(destination, chunk)
        except Unavailable as error:  # before anything was begun
            _logger.warning("claim.failed", reason=str(error))
            await self._give_back(chunk)

    # --- leases ---

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / 3)
            try:
                await self._renew()
            except Fatal as error:
                self._fatal = error
                self._store.bells.ring({Bell.QUEUE})
                return
            except Exception:
                _logger.exception("claim.failed", deliveries=len(self._held))

    async def _renew(self) -> bool:
        """Keep all that we hold; False when the store is away. Raises what else the store raises."""
        held = list(self._held.values())
        until = self._clock.now() + self._lease
        if held:
            try:
                lost = await self._store.write(queue.renew, held, until=until)
            except Unavailable as error:
                _logger.warning("claim.failed", reason=str(error))
                return False
            for id_ in lost:
                if id_ in self._held:
                    _logger.warning("lease.lost", delivery=id_)
        self._leased_until = until
        return True

    def _take_backlog(self) -> list[Delivery]:
        waiting = [one for deliveries in self._backlog.values() for one in deliveries]
        self._backlog.clear()
        return waiting

    async def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let others have them now. When even that fails, their leases run out."""
        for one in deliveries:
            self._held.pop(one.id, None)
        if deliveries:
            try:
                await self._store.write(queue.release, deliveries)
            except Unavailable as error:
                _logger.warning("claim.failed", reason=str(error))


def _by_submission(claimed: Sequence[Delivery]) -> list[Delivery]:
    """Those of one submission beside each other, so that they share their preparation; else longest due first."""
    groups: dict[str, list[Delivery]] = {}
    for one in claimed:
        groups.setdefault(one.queue_id, []).append(one)
    return [one for group in groups.values() for one in group]
