"""Leases with heartbeats: a process gives signs of life, and takes over from those that give none (Q05).

What a dead process had taken is put back within seconds of the lease's end; nothing of it is thrown away. What it knew of ways died
with it, so what it had parked is looked at again. Whoever watches measures the silence by its own monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.ids import DeliveryId, NodeId
from mailrelay.store import arrivals, destinations, nodes, queue
from mailrelay.store.base import Store

_logger = log.get()


class Silence:
    """Which processes have given no sign for how long, as one that watches them sees it."""

    def __init__(self, span: float) -> None:
        """`span` seconds without a sign, and a process is taken for dead."""
        self._span = span
        self._last: dict[NodeId, tuple[int, float]] = {}

    def dead(self, signs: Mapping[NodeId, int], *, now: float) -> list[NodeId]:
        """Those that have been silent for too long at the monotonic time `now`."""
        self._last = {
            name: known if (known := self._last.get(name)) is not None and known[0] == sign else (sign, now)
            for name, sign in signs.items()
        }
        return sorted(name for name, (_, since) in self._last.items() if now - since > self._span)


class Leases:
    """The signs of life of this process, and its eye on the others."""

    def __init__(self, store: Store, clock: Clock, *, node: NodeId, span: float, max_faults: int) -> None:
        self._store = store
        self._clock = clock
        self._node = node
        self._span = span
        self._max_faults = max_faults
        self._silence = Silence(span)
        self._beaten = clock.boottime()
        self.lapses = 0
        """How often others may have taken us for dead so far; who has work in hand since before the last asks whether it is still ours."""

    @property
    def sure(self) -> bool:
        """Whether nobody can have taken us for dead."""
        return self._clock.boottime() - self._beaten < self._span

    async def begin(self) -> None:
        """The first sign of life; what an earlier process of our name had taken is put back."""
        await self.beat()
        await self._take_over(self._node)

    async def beat(self) -> None:
        """Give a sign of life."""
        since = self._clock.boottime()  # before it is written: later would be too sure
        await self._store.write(nodes.beat, self._node, at=self._clock.now())
        if not self.sure:
            self.lapses += 1
        self._beaten = since

    async def watch(self) -> None:
        """Put back what processes had taken that give no more signs."""
        signs = dict(await self._store.read(nodes.signs))
        signs.pop(self._node, None)
        for name in self._silence.dead(signs, now=self._clock.monotonic()):
            await self._take_over(name)
            # What it was filing is filed by others; should it live after all, its fence keeps what it does from counting.
            if taken := await self._store.write(arrivals.recover, name, now=self._clock.now()):
                _logger.warning("lease.ended", node=name, arrivals=taken)
            await self._store.write(nodes.leave, name)

    async def take_up(self, claims: Mapping[DeliveryId, int]) -> None:
        """Put back claims of our own, with their fences, that nobody has in hand any more."""
        taken = await self._store.write(
            queue.take_up, self._node, claims, now=self._clock.now(), max_faults=self._max_faults
        )
        if taken:
            metrics.recovered.inc(taken)
            _logger.warning("lease.adrift", deliveries=taken)

    async def end(self) -> None:
        """Nothing of ours is left, and nobody heeds what we had parked."""
        await self._unpark(self._node)
        await self._store.write(nodes.leave, self._node)

    async def _take_over(self, name: NodeId) -> None:
        number = 0
        while step := await self._store.write(queue.recover, name, now=self._clock.now(), max_faults=self._max_faults):
            number += step
        if number:
            metrics.recovered.inc(number)
            _logger.warning("lease.ended", node=name, deliveries=number)
        await self._unpark(name)

    async def _unpark(self, name: NodeId) -> None:
        while await self._store.write(destinations.unpark, name, now=self._clock.now()):
            pass
