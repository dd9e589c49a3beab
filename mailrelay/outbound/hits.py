"""Loads of pixels and followed links, on their way from whoever asked to the store (O9, T14).

The public door puts them into memory and answers at once. They are written in batches, each counted once; what the store does not
take within a moment goes to the disk, from where it is taken later, at the next start too. Mail comes first: the store has most of
its time for others. Only what neither the store nor the disk nor memory has room for is lost, and that is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.errors import Fatal, Unavailable
from mailrelay.ids import HitId
from mailrelay.model.hit import JudgeAll, RawHit
from mailrelay.outbound.hit_spool import Batch, Spool, delivery_of, hit_of, line
from mailrelay.service import Stopping
from mailrelay.store import hit_deliveries, hit_taking
from mailrelay.store.base import Store

T = TypeVar("T")

_MOST = 20_000
"""Hits in memory, some 1 kB each."""
_LARGEST = 250
"""Hits in a batch: the store's writer is kept from mail for some hundredths of a second."""
_AT_ONCE = 5_000
"""Hits that go to the disk at once, where so many come."""
_SOON = 0.05
"""Seconds in which hits gather to a batch."""
_SLOW = 0.2
"""Seconds after which what waits in memory goes to the disk."""
_SHARE = 2
"""After a batch its time is left to others so many times over."""
_FLOOD = 4
"""So many times what a batch takes comes while it is taken: then there is no catching up, and what comes waits on the disk …"""
_EBB = 10.0
"""… for so many seconds, in which the door and the mail have the machine to themselves."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_LAST_TRY = 2.0
_QUIET = 60.0


class Hits:
    """The service; `put` may be called at any time, whether it runs or not."""

    name = "hits"

    def __init__(
        self,
        store: Store,
        spool: Spool,
        clock: Clock,
        *,
        judge: JudgeAll,
        new_id: Callable[[], HitId],
        stopping: Stopping,
    ) -> None:
        self._store = store
        self._spool = spool
        self._clock = clock
        self._judge = judge
        self._new_id = new_id
        self._stopping = stopping
        self._memory: deque[bytes] = deque()
        self._moving: list[bytes] = []
        """On their way from memory to the disk."""
        self._number = 0
        """How many came."""
        self._came = asyncio.Event()
        self._since = 0.0
        """When the oldest in memory came there, on the monotonic clock."""
        self._batch: Batch | None = None
        """What the store has been given and has not taken."""
        self._given_at = 0.0
        self._kept = False
        """Whether that is on the disk as well, or on its way there, though it did not come from there."""
        self._taken: list[HitId] = []
        """Batches that the store has, of which it need know no longer once it hears so."""
        self._found = False
        self._disk_is_full = False
        self._silent_until: dict[str, float] = {}
        """By what is told."""
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="hits")
        self._log = log.get(service=self.name)
        metrics.hits_waiting.set_function(self.waiting)
        metrics.hits_lag.set_function(self.lag)

    def put(self, hit: RawHit) -> None:
        """Take a hit. Never waits, never raises; where there is no room at all it is dropped and counted."""
        memory = self._memory
        self._number += 1
        if len(memory) >= _MOST:
            self._drop(1, "full")
            return
        if not memory:
            self._since = self._clock.monotonic()
            self._came.set()
        memory.append(line(hit))

    def waiting(self) -> int:
        """How many hits the store has not taken."""
        given = 0 if self._batch is None or self._batch.spooled else len(self._batch.hits)
        return len(self._memory) + len(self._moving) + self._spool.waiting + given

    def lag(self) -> float:
        """How many seconds ago the oldest came that is next to be taken; 0 when nothing waits."""
        if self._batch is not None and self._batch.hits:
            oldest = self._batch.hits[0]
        elif self._memory:
            oldest = hit_of(self._memory[0])
        else:
            return 0.0
        return max(0.0, (self._clock.now() - oldest.at).total_seconds())

    async def run(self) -> None:
        """Write hits down until a stop is asked for; then what is left, to the store or to the disk."""
        await self._find()
        spilling = asyncio.create_task(self._spill_forever(), name="hits-spill")
        try:
            pause = _FIRST_PAUSE
            while not self._stopping.is_set():
                if spilling.done():
                    spilling.result()
                pause = await self._step(pause)
        finally:
            spilling.cancel()
            await asyncio.gather(spilling, return_exceptions=True)
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_LAST_TRY):
                while await self._next():
                    await self._give()
        await self._in_thread(self._save, self._emptied())

    async def forget_erased(self) -> int:
        """Remove what waits of persons who were erased, and what was set aside of them (T13); how many hits.

        What the store is being given at this moment it does not record. Raises OSError, StoreBusy.
        """
        there = set(await self._in_thread(self._spool.deliveries))
        there |= {of for one in self._memory if (of := delivery_of(one)) is not None}
        if not there:
            return 0
        gone = await self._store.read(hit_deliveries.of_erased, there)
        if not gone:
            return 0
        left = [one for one in self._memory if delivery_of(one) not in gone]
        number = len(self._memory) - len(left)
        self._memory.clear()
        self._memory.extend(left)
        return number + await self._in_thread(self._spool.forget, gone)

    def close(self) -> None:
        """Write what is still in memory to the disk: for what came after the service had ended. Blocks."""
        self._disk.submit(self._save, self._emptied()).result()  # behind what is being written
        self._disk.shutdown()

    def _emptied(self) -> deque[bytes]:
        """What is in memory, which is the caller's now: the door goes on putting hits there while these are written."""
        memory, self._memory = self._memory, deque()
        return memory

    def _save(self, memory: deque[bytes]) -> None:
        left, self._moving = [*self._moving, *memory], []
        batch, self._batch = self._batch, None
        try:
            if batch is not None and not batch.spooled and not self._kept:
                self._spool.keep(batch)
                self._kept = True
            while left:
                self._spool.append(left[:_LARGEST])
                del left[:_LARGEST]
        except OSError as error:
            self._log.error("hits.dropped", reason="full", because=error.strerror)
        lost = 0 if batch is None or batch.spooled or self._kept else len(batch.hits)
        metrics.hits_dropped.labels("full").inc(len(left) + lost)
        with contextlib.suppress(OSError):
            self._spool.close()

    async def _find(self) -> None:
        if self._found:
            return
        self._found = True
        try:
            left = await self._in_thread(self._spool.find)
        except OSError as error:
            self._log.error("hits.unreadable", because=error.strerror)
            return
        if left:
            self._log.info("hits.resumed", hits=left)
        # Somebody may have been erased while this node, with what it had set aside, was not there.
        with contextlib.suppress(OSError, Unavailable):
            await self.forget_erased()

    async def _step(self, pause: float) -> float:
        """One batch, or a moment's wait; the next pause should the store not take it."""
        if not await self._next():
            self._came.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SLOW):
                    await self._came.wait()
            await self._stopping.wait(_SOON)
            return _FIRST_PAUSE
        began, before = self._clock.monotonic(), self._number
        try:
            await self._give()
        except Unavailable as error:
            self._tell("hits.deferred", because=str(error), waiting=self.waiting())
            await self._stopping.wait(pause)
            return min(2 * pause, _LONGEST_PAUSE)
        # The door and the mail go first: however many hits come, the store is theirs for most of the time.
        took = self._clock.monotonic() - began
        flood = self._number - before > _FLOOD * _LARGEST
        await self._stopping.wait(_EBB if flood else min(_SHARE * took, _LONGEST_PAUSE))
        return _FIRST_PAUSE

    async def _next(self) -> bool:
        """Make `_batch` what is to be taken next, oldest first; False when nothing waits."""
        if self._batch is not None:
            return True
        if self._spool.waiting and await self._from_disk():
            return True
        if not self._memory:
            return False
        number = min(len(self._memory), _LARGEST)
        taken = tuple(hit_of(self._memory.popleft()) for _ in range(number))
        self._since = self._given_at = self._clock.monotonic()
        self._batch, self._kept = Batch(self._new_id(), taken), False
        return True

    async def _from_disk(self) -> bool:
        try:
            read = await self._in_thread(self._spool.next)
        except OSError as error:
            self._tell("hits.unreadable", because=error.strerror)
            return False
        if read is None:
            return False
        if read.damaged:
            self._drop(read.damaged, "damaged")
        self._batch, self._given_at = read.batch, self._clock.monotonic()
        return True

    async def _give(self) -> None:
        """Have the store take `_batch`. Raises Unavailable, and then it is still to be taken."""
        batch = self._batch
        assert batch is not None  # noqa: S101 (`_next` said so)
        told = tuple(self._taken)
        try:
            await self._write(batch.id, told, batch.hits)
        except (Fatal, Unavailable):
            raise
        except Exception:  # noqa: BLE001 (one hit that our code fails on must not keep the others)
            await self._one_by_one(batch)
        gone = not (batch.spooled or self._kept) or await self._is_removed(batch.id)
        self._batch = None
        self._taken = [*self._taken[len(told) :], *([batch.id] if gone else [])]

    async def _is_removed(self, batch: HitId) -> bool:
        """Whether a batch that the store has is on the disk no longer; else it comes again at the next start."""
        try:
            await self._in_thread(self._spool.done, batch)
        except OSError as error:
            self._tell("hits.unspooled", because=error.strerror)
            return False
        return True

    async def _one_by_one(self, batch: Batch) -> None:
        for number, hit in enumerate(batch.hits):
            try:
                await self._write(HitId(f"{batch.id}.{number}"), (), [hit])
            except (Fatal, Unavailable):
                raise
            except Exception:  # noqa: BLE001 (logged, counted, and the next one has its turn)
                self._log.exception("hits.failed", delivery=hit.delivery, kind=hit.kind)
                metrics.hits_dropped.labels("failed").inc()
                with contextlib.suppress(OSError):
                    await self._in_thread(self._spool.set_aside, hit)

    async def _write(self, batch: HitId, told: Sequence[HitId], some: Sequence[RawHit]) -> None:
        taken = await self._store.write(
            hit_taking.take, batch, some, told=told, judge=self._judge, now=self._clock.now()
        )
        for (kind, by), number in taken.kept.items():
            metrics.hits_kept.labels(kind, by).inc(number)
        for reason, number in taken.left.items():
            metrics.hits_left.labels(reason).inc(number)

    # --- the disk ---

    async def _spill_forever(self) -> None:
        while True:
            await asyncio.sleep(_SLOW / 2)
            now = self._clock.monotonic()
            try:
                batch = self._batch
                if batch is not None and not batch.spooled and not self._kept and now - self._given_at > _SLOW:
                    self._kept = True  # already: who hears now that the store has it removes the file behind this
                    await self._in_thread(self._keep, batch)
                while self._memory and (now - self._since > _SLOW or len(self._memory) > _MOST // 10):
                    await self._spill(min(len(self._memory), _AT_ONCE))
                self._disk_is_full = False
            except OSError as error:
                if not self._disk_is_full:
                    self._log.warning("hits.unspooled", because=error.strerror)
                self._disk_is_full = True

    def _keep(self, batch: Batch) -> None:
        """In the thread, so that a stop knows whether it is there."""
        try:
            self._spool.keep(batch)
        except OSError:
            if self._batch is batch:
                self._kept = False
            raise

    async def _spill(self, number: int) -> None:
        self._moving = [self._memory.popleft() for _ in range(number)]
        try:
            await self._in_thread(self._move)
        except OSError:
            self._memory.extendleft(reversed(self._moving))
            self._moving = []
            raise

    def _move(self) -> None:
        """In the thread, so that a stop finds them in one place or the other."""
        if self._moving:
            self._spool.append(self._moving)
            self._moving = []

    async def _in_thread(self, fn: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, fn, *arguments)

    def _drop(self, number: int, reason: str) -> None:
        metrics.hits_dropped.labels(reason).inc(number)
        self._tell("hits.dropped", reason=reason, waiting=self.waiting())

    def _tell(self, event: str, **said: object) -> None:
        """Log what may happen to each of a thousand hits, once a minute."""
        now = self._clock.monotonic()
        if now >= self._silent_until.get(event, now):
            self._silent_until[event] = now + _QUIET
            self._log.warning(event, **said)
