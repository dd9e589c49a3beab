"""Claims due deliveries, hands them to a courier by destination, and writes down what became of them (O11).

Nothing is sent before its attempt is written down, and no outcome waits for another: each is settled as it is reported.
Whatever our own code raises ends as a deferral, a log line and a kept delivery, never as silence.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.errors import Fatal, Suppressed, Unavailable
from mailrelay.ids import DeliveryId, NodeId
from mailrelay.model.delivery import Deferred, Delivery, DeliveryState, Outcome, Stage
from mailrelay.model.reply import reply
from mailrelay.outbound.courier.base import Courier, DeliveryBatch, Report
from mailrelay.outbound.letters import LetterMaker
from mailrelay.outbound.policy import retry
from mailrelay.outbound.settle import Settler
from mailrelay.service import Stopping
from mailrelay.store import queue, suppressions
from mailrelay.store.base import Bell, Store, Tx
from mailrelay.store.queue import Settlement

CHUNK = 10
"""Deliveries that one connection carries before another destination gets its turn."""
OUR_FAULT = Deferred(
    reply=reply(451, "4.3.0", "an error on our side; it is logged, and the delivery will be tried again"),
    stage=Stage.RESOLVE,
)
_log = log.get()


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
        poll: float = 1.0,
    ) -> None:
        """`node` names this process in leases: no other process that lives has this name. `poll` seconds between looks."""
        self._store = store
        self._courier = courier
        self._letters = letters
        self._clock = clock
        self._settings = settings
        self._node = node
        self._stopping = stopping
        self._poll = poll
        self._lease = timedelta(seconds=settings.lease)
        self._schedule = retry.Schedule(
            first=timedelta(seconds=settings.first_retry), longest=timedelta(seconds=settings.longest_retry)
        )
        self._settler = Settler(store, clock)
        self._held: dict[DeliveryId, Delivery] = {}
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
            await asyncio.gather(heartbeat, *self._tasks, return_exceptions=True)
            await self._settler.close()
            await self._courier.close()

    # --- claiming ---

    async def _claim(self) -> bool:
        """Take what is due and start on it; whether there may be more to take at once."""
        self._start_backlog()
        room = min(self._settings.batch, self._settings.connections * CHUNK - len(self._held))
        if room <= 0:
            return False
        busy = {destination for destination, running in self._lanes.items() if running >= self._limit}
        try:
            claimed = await self._store.write(
                queue.claim,
                node=self._node,
                now=self._clock.now(),
                lease=self._lease,
                limit=room,
                skip=busy | self._backlog.keys(),
            )
        except Unavailable as error:
            _log.warning("claim.failed", reason=str(error))
            return False
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
            while waiting and self._lanes[destination] < self._limit and len(self._tasks) < self._settings.connections:
                self._start(destination, [waiting.popleft() for _ in range(min(CHUNK, len(waiting)))])
            if not waiting:
                del self._backlog[destination]

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
                _log.error("attempt.failed", destination=destination, exc_info=error)
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

    # --- delivering ---

    async def _deliver(self, destination: str, chunk: list[Delivery]) -> None:
        """A batch: suppression once more, attempts written down, the courier, the outcomes."""
        try:
            begun, stopped = await self._store.write(_begin, chunk, host=destination, now=self._clock.now())
        except Unavailable as error:
            _log.warning("claim.failed", reason=str(error))
            await self._give_back(chunk)
            return
        batch = _Batch(begun, self._clock)
        written = [self._settler.put(settlement) for settlement in stopped]

        def report(one: Report) -> None:
            written.append(self._settler.put(self._settlement(batch.ended(one.delivery), one)))

        def end(outcome: Outcome) -> None:
            for one in batch.open:
                report(Report(delivery=one.id, outcome=outcome, host=destination, tls=None))

        try:
            if begun:
                parcels = tuple(self._letters.parcel(one) for one in begun)
                await self._courier.deliver(
                    DeliveryBatch(destination=destination, parcels=parcels, letters=self._letters, report=report)
                )
        except asyncio.CancelledError:
            end(queue.CUT_OFF)
            raise
        except Exception as error:
            if isinstance(error, Fatal):
                raise
            metrics.delivery_errors.inc()
            _log.exception("attempt.failed", destination=destination, deliveries=[one.id for one in batch.open])
        finally:
            end(OUR_FAULT)
            await asyncio.gather(*written)

    def _settlement(self, held: Delivery, report: Report) -> Settlement:
        now = self._clock.now()
        following = retry.after(
            report.outcome,
            attempts=held.attempts,
            expires_at=held.expires_at,
            now=now,
            schedule=self._schedule,
            jitter=random.uniform(-1, 1),  # noqa: S311 (jitter)
        )
        return Settlement(
            held=held,
            state=DeliveryState.QUEUED if isinstance(following, retry.Again) else following.state,
            outcome=report.outcome,
            host=report.host,
            tls=report.tls,
            due_at=following.due_at if isinstance(following, retry.Again) else None,
        )

    # --- leases ---

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / 3)
            held = list(self._held.values())
            if not held:
                continue
            try:
                lost = await self._store.write(queue.renew, held, until=self._clock.now() + self._lease)
            except Unavailable as error:
                _log.warning("claim.failed", reason=str(error))
                continue
            for id_ in lost:
                if id_ in self._held:
                    _log.warning("lease.lost", delivery=id_)

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
                _log.warning("claim.failed", reason=str(error))


class _Batch:
    """The attempts that were begun and have no outcome yet, and how long each took."""

    def __init__(self, begun: Iterable[Delivery], clock: Clock) -> None:
        self._open = {one.id: one for one in begun}
        self._clock = clock
        self._since = clock.monotonic()

    @property
    def open(self) -> tuple[Delivery, ...]:
        """Those without an outcome."""
        return tuple(self._open.values())

    def ended(self, id_: DeliveryId) -> Delivery:
        """Take one out. Raises KeyError when it has an outcome already."""
        now = self._clock.monotonic()
        metrics.delivery_seconds.observe(now - self._since)
        self._since = now
        return self._open.pop(id_)


def _by_submission(claimed: Sequence[Delivery]) -> list[Delivery]:
    """Those of one submission beside each other, so that they share their preparation; else longest due first."""
    groups: dict[str, list[Delivery]] = {}
    for one in claimed:
        groups.setdefault(one.queue_id, []).append(one)
    return [one for group in groups.values() for one in group]


def _begin(tx: Tx, held: Sequence[Delivery], *, host: str, now: datetime) -> tuple[list[Delivery], list[Settlement]]:
    """Write attempts down for all but those suppressed since they were queued, which end (O10, Q06)."""
    reasons: dict[tuple[str, str], str] = {}
    for org in {one.org for one in held}:
        keys = sorted({one.address.key for one in held if one.org == org})
        for found in suppressions.holding(tx, org, keys):
            reasons[org, found.key] = str(Suppressed(found.key, found.reason, found.since))
    stopped = [
        Settlement(held=one, state=DeliveryState.SUPPRESSED, outcome=None, reason=reasons[one.org, one.address.key])
        for one in held
        if (one.org, one.address.key) in reasons
    ]
    gone = {settlement.held.id for settlement in stopped}
    return queue.begin_attempts(tx, [one for one in held if one.id not in gone], host=host, at=now), stopped
