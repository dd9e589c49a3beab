"""Claims due deliveries, a few of each destination, and runs them in chunks by their way, as the shaper allows (O11, N12, N14).

A claimed chunk is asked for its way (which may take as long as DNS does, while others are claimed), waits in the way's short line, and
goes when the shaper lets it; what there is no room for is given back and its destination parked. So one slow or dead destination
delays nobody else. Whatever our own code raises ends as a deferral, a log line and a kept delivery, never as silence.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import BrakeLevels, Route
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.errors import Fatal, Unavailable
from mailrelay.ids import DeliveryId, NodeId
from mailrelay.model.delivery import Delivery, Outcome
from mailrelay.model.way import Way
from mailrelay.outbound.backlog import Backlog
from mailrelay.outbound.batch import BatchRunner, NotBegun
from mailrelay.outbound.courier.base import Courier
from mailrelay.outbound.leases import Leases
from mailrelay.outbound.letters import LetterMaker
from mailrelay.outbound.settle import Settler
from mailrelay.outbound.shaper import Shaper, Wait
from mailrelay.outbound.steady import Steady
from mailrelay.outbound.stops import Stops
from mailrelay.service import Stopping
from mailrelay.store import destinations, queue
from mailrelay.store.base import Bell, Store

CHUNK = 10
"""Deliveries that one connection carries before another destination gets its turn."""
_MOST_RESOLVING = 200
"""Chunks whose way is being looked up; they take no connection."""
_ECHOED = 50
"""Deliveries for somebody who is not there that are put off in one transaction; the mail of others waits for it."""
_ALONE_AFTER = 1
"""Faults that a delivery may have and still go with others, prepared apart: one death of the process makes suspects of many."""
_MOST_SUSPECTS = 500
"""Suspects that wait here for their turn: as many as one death makes, or it would be felt as a pause."""
_SHORT = 5.0
"""Seconds of a pause that claimed deliveries wait for; for a longer one they are given back."""
_ROOM_PARKED = 30.0
"""Seconds after which a destination is looked at again for which its way had no room, should nobody have come for it before."""
_SUSPECT_PAUSE = timedelta(seconds=5)
"""After which those for which there was no room are looked at again."""
_AWAY_PAUSE = timedelta(seconds=1)
"""… those whose way the store did not say."""
_SWEEP = 3600.0
_SWEEP_PAUSE = 0.05
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
        shaper: Shaper | None = None,
        stops: Stops | None = None,
        poll: float = 1.0,
    ) -> None:
        """`node` names this process in leases: no other process that lives has this name. `poll` seconds between looks.

        `stops` are not to be sent any more, though their attempt is under way.
        """
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
        self._steady = Steady(clock)
        self._leases = Leases(store, clock, node=node, span=settings.lease, max_faults=settings.max_faults)
        self._shaper = shaper or Shaper(settings, clock)
        self._batches = BatchRunner(
            store,
            courier,
            letters,
            self._settler,
            clock,
            settings,
            steady=self._steady,
            leases=self._leases,
            stops=stops or Stops(),
        )
        self._claims = True
        self._held: dict[DeliveryId, Delivery] = {}
        self._adrift: Mapping[DeliveryId, int] = {}
        """Fences of claims of ours that we had not in hand when we looked last."""
        self._most_held = settings.connections * CHUNK * 2
        self._resolving: dict[str, list[Delivery]] = {}
        """Chunks that are being asked for their way, by destination."""
        self._lookups: set[asyncio.Task[None]] = set()
        self._backlog = Backlog()
        self._echoing: set[str] = set()
        """Destinations of which all that is due is being put off, since nobody is there."""
        self._resting: set[str] = set()
        """Destinations of which something is being put aside: while it is, others have the store, and other destinations their turn."""
        self._over: dict[Way, list[Delivery]] = {}
        """Claimed, and no room for it."""
        self._suspects: deque[Delivery] = deque()
        """Deliveries that our own code failed on: one at a time, alone, so that it is known which one it is (Q03)."""
        self._suspect: asyncio.Task[None] | None = None
        self._running = 0
        """Chunks that have a connection, or are about to."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweep_now = asyncio.Event()
        self._fatal: Fatal | None = None

    def claims(self) -> bool:
        """Whether our own code could claim when it tried last: for readiness (R2)."""
        return self._claims

    async def run(self) -> None:
        """Work until stopping is set, then finish what is under way. Raises Fatal."""
        await self._leases.begin()
        background = [
            asyncio.create_task(self._keep_leases(), name="dispatcher-heartbeat"),
            asyncio.create_task(self._keep_sweeping(), name="dispatcher-sweep"),
        ]
        try:
            while not self._stopping.is_set():
                if not await self._claim():
                    await self._wait()
                if self._fatal is not None:
                    raise self._fatal
            for lookup in self._lookups:
                lookup.cancel()
            await self._give_back(self._unbegun())
            while self._tasks:
                await asyncio.wait(set(self._tasks))
            await self._give_back(self._unbegun())
        finally:
            for task in (*background, *self._tasks):
                task.cancel()
            if self._tasks:
                await asyncio.wait(set(self._tasks), timeout=_LAST_WAIT)
            await self._settler.close()
            for task in self._tasks:  # the store takes no outcome: their attempts are found cut off at the next start
                task.cancel()
            await asyncio.gather(*background, *self._tasks, return_exceptions=True)
            self._unbegun()  # it is put back at the next start
            self._held.clear()
            await self._courier.close()
        await self._leave()

    # --- claiming ---

    async def _claim(self) -> bool:
        """Take what is due and start on it; whether there may be more to take at once."""
        self._start_ready()
        try:
            if not self._leases.sure:
                await self._beat()  # others may have taken us for dead
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 (what is under way goes on)
            self._failed(error)
            return False
        while self._over:
            way, over = self._over.popitem()
            self._spawn(
                self._park(way, over, _ROOM_PARKED, f"there is no room on the way to {way}", again=True), f"park {way}"
            )
        claimed = 0
        if names := self._backlog.hungry(most=5 * CHUNK):
            claimed += await self._take(limit=CHUNK * len(names), only=names)
        if len(self._resolving) < _MOST_RESOLVING:
            busy = (*self._resolving, *self._echoing, *self._resting)
            claimed += await self._take(limit=self._settings.batch, skip=busy)
        return claimed > 0

    async def _claim_some(
        self, *, limit: int, chunk: int = CHUNK, skip: Sequence[str] = (), only: Sequence[str] = ()
    ) -> list[Delivery]:
        room = min(limit, self._most_held - len(self._held))
        if room <= 0:
            return []
        try:
            claimed = await self._store.write(
                queue.claim,
                node=self._node,
                now=self._steady.now(),
                lease=self._lease,
                limit=room,
                chunk=max(1, chunk),
                skip=skip,
                only=only,
            )
        except Unavailable as error:
            _logger.warning("claim.failed", reason=str(error))
            return []
        except Fatal:
            raise
        except Exception:
            _logger.exception("claim.failed")
            self._claims = False
            return []
        self._claims = True
        self._held.update((one.id, one) for one in claimed)
        return claimed

    async def _take(self, *, limit: int, skip: Sequence[str] = (), only: Sequence[str] = ()) -> int:
        """Claim, and find out the ways of what was claimed; how much it was."""
        claimed = await self._claim_some(limit=limit, skip=skip, only=only)
        by_name: dict[str, list[Delivery]] = {}
        for one in claimed:
            if one.faults > _ALONE_AFTER:
                self._suspects.append(one)
            else:
                by_name.setdefault(one.address.domain, []).append(one)
        for name, chunk in by_name.items():
            self._resolving.setdefault(name, []).extend(chunk)
            more = bool(only) and len(chunk) >= CHUNK
            self._lookups.add(self._spawn(self._resolve(name, chunk, more=more), f"find the way to {name}"))
        await self._start_suspects()
        return len(claimed)

    async def _resolve(self, name: str, chunk: list[Delivery], *, more: bool) -> None:
        """Put a claimed chunk into the lines of its ways; what has no room goes back. `more`: the destination has more."""
        lines: dict[Way, list[Delivery]] = {}
        try:
            for one in chunk:
                lines.setdefault(await self._way(one), []).append(one)
        except Unavailable as error:
            _logger.warning("claim.failed", reason=str(error))
            await self._give_back(chunk, after=_AWAY_PAUSE)
            return
        finally:
            left = [one for one in self._resolving.pop(name, ()) if one not in chunk]
            if left:
                self._resolving[name] = left
        for way, claimed in lines.items():
            over = self._backlog.put(way, claimed)
            if over:
                self._over.setdefault(way, []).extend(over)
            elif more:
                self._backlog.note(way, {name: CHUNK})

    async def _way(self, one: Delivery) -> Way:
        try:
            return await self._courier.way(one)
        except (Fatal, Unavailable):
            raise
        except Exception:
            # The attempt will meet with it too, and is written down.
            _logger.exception("attempt.failed", deliveries=[one.id])
            return Way(one.address.domain)

    def _start_ready(self) -> None:
        """Start what the shaper lets go."""
        if self._stopping.is_set():
            return
        now = self._clock.monotonic()
        for way in self._backlog.ready(now):
            while self._running < self._settings.connections:
                asked = self._shaper.ask(way)
                if isinstance(asked, Wait):
                    self._wait_for(way, asked, now)
                    break
                chunk = self._backlog.take(way, min(CHUNK, asked.messages))
                self._running += 1
                self._spawn(self._deliver(way, chunk), f"deliver to {way}")
                if way not in self._backlog:
                    break

    def _wait_for(self, way: Way, asked: Wait, now: float) -> None:
        """What waits for a way that takes nothing now: it stays for a moment, is settled with what one met for all, or goes back."""
        if asked.outcome is not None:
            waiting = self._backlog.empty(way)
            self._spawn(self._echo(way, waiting, asked.outcome), f"settle for {way}")
        elif asked.room:
            return
        elif asked.seconds <= _SHORT:
            self._backlog.pause(way, now + asked.seconds)
        else:
            # Nobody asks for what is outside either, or the same would be claimed and given back until the pause is over.
            waiting = self._backlog.empty(way, outside=True)
            self._spawn(self._park(way, waiting, asked.seconds, asked.because), f"park {way}")

    async def _deliver(self, way: Way, chunk: list[Delivery]) -> None:
        said: list[Outcome] = []
        try:
            allowed = self._shaper.of(way).allowed
            await self._attempt(chunk, lambda some: self._batches.run(way, some, said, connections=allowed))
        finally:
            self._running -= 1
            self._shaper.ended(way, said)
            self._done_with(chunk)

    async def _echo(self, way: Way, waiting: list[Delivery], outcome: Outcome) -> None:
        """Nobody is there, which one connection found out for all: what waits is put off with its answer, many at a time.

        Until the way's pause is over: then the next one finds out. Others have the store for as long as this has it.
        """
        loop = asyncio.get_running_loop()
        names = {one.address.domain for one in waiting} - self._echoing
        self._echoing |= names
        try:
            while waiting:
                began = loop.time()
                await self._put_off(way, waiting, outcome)
                await asyncio.sleep(loop.time() - began)
                met = self._shaper.met(way)
                if met is None or self._stopping.is_set():
                    return
                outcome = met
                waiting = await self._more_of(way, names)
        finally:
            self._echoing -= names

    async def _more_of(self, way: Way, names: Collection[str]) -> list[Delivery]:
        """What these destinations have more for the same way; what goes another way goes there."""
        if not names:
            return []
        claimed = await self._claim_some(limit=_ECHOED, chunk=_ECHOED // len(names), only=sorted(names)[:_ECHOED])
        same: list[Delivery] = []
        for index, one in enumerate(claimed):
            if one.faults > _ALONE_AFTER:
                self._suspects.append(one)
                continue
            try:
                takes = await self._way(one)
            except Unavailable as error:
                _logger.warning("claim.failed", reason=str(error))
                await self._give_back([*same, *claimed[index:]], after=_AWAY_PAUSE)
                return []
            if takes == way:
                same.append(one)
            else:
                self._resolving.setdefault(one.address.domain, []).append(one)
                self._lookups.add(self._spawn(self._resolve(one.address.domain, [one], more=False), "find the way"))
        return same

    async def _put_off(self, way: Way, waiting: list[Delivery], outcome: Outcome) -> None:
        try:
            await self._attempt(waiting, lambda some: self._batches.echo(way, some, outcome))
        finally:
            self._done_with(waiting)

    async def _attempt(self, chunk: Sequence[Delivery], make: Callable[[Sequence[Delivery]], Awaitable[None]]) -> None:
        """Let `make` begin an attempt of each and end it; what it can't begin goes back, one by one where our own code is to blame."""
        try:
            await make(chunk)
        except Unavailable as error:
            # Nothing was sent. Whether the attempts are written down nobody knows: `_take_up` ends those that are.
            _logger.warning("claim.failed", reason=str(error))
        except NotBegun:
            if len(chunk) > 1:
                for one in chunk:
                    await self._attempt([one], make)
                return
            metrics.delivery_errors.inc()
            _logger.exception("attempt.failed", deliveries=[one.id for one in chunk])
            await self._give_back(chunk, after=timedelta(seconds=self._settings.first_retry))

    def _done_with(self, chunk: Sequence[Delivery]) -> None:
        """They are not ours any more; where one has come to us anew meanwhile, that one is."""
        for one in chunk:
            if self._held.get(one.id) is one:
                del self._held[one.id]

    # --- suspects ---

    async def _start_suspects(self) -> None:
        over = [self._suspects.pop() for _ in range(len(self._suspects) - _MOST_SUSPECTS)]
        await self._give_back(over, after=_SUSPECT_PAUSE)
        if self._suspects and (self._suspect is None or self._suspect.done()):
            self._suspect = self._spawn(self._try_suspects(), "deliver what may be poison")

    async def _try_suspects(self) -> None:
        while self._suspects:
            await self._try_suspect(self._suspects.popleft())

    async def _try_suspect(self, one: Delivery) -> None:
        try:
            way = await self._way(one)
        except Unavailable as error:
            _logger.warning("claim.failed", reason=str(error))
            await self._give_back([one], after=_AWAY_PAUSE)
            return
        asked = self._shaper.ask(way)
        if not isinstance(asked, Wait):
            self._running += 1
            await self._deliver(way, [one])
        elif asked.outcome is not None:
            await self._put_off(way, [one], asked.outcome)
        else:
            await self._give_back([one], after=timedelta(seconds=max(_SHORT, asked.seconds)))

    def _unbegun(self) -> list[Delivery]:
        """Take all that was claimed and that no attempt was begun for."""
        chunks = (*self._resolving.values(), *self._over.values())
        taken = [*self._backlog.clear(), *self._suspects, *(one for chunk in chunks for one in chunk)]
        self._suspects.clear()
        self._resolving.clear()
        self._over.clear()
        return taken

    # --- tasks ---

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._lookups.discard(task)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Fatal):
                self._fatal = error
            elif error is not None:
                _logger.error("attempt.failed", task=task.get_name(), exc_info=error)
            self._store.bells.ring({Bell.QUEUE})  # there is room again

        task.add_done_callback(ended)
        return task

    async def _wait(self) -> None:
        """Until the bell rings, a stop is asked for, or it is time to look again."""
        pause = self._poll
        now = self._clock.monotonic()
        if (start := self._backlog.next_start(now)) is not None:
            pause = min(pause, max(0.01, start - now))
        heard = asyncio.ensure_future(self._store.bells.heard(Bell.QUEUE, timeout=pause))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({heard, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            heard.cancel()
            stop.cancel()
            await asyncio.gather(heard, stop, return_exceptions=True)

    # --- leases ---

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / 3)
            try:
                await self._beat()
            except Fatal as error:
                self._fatal = error
                self._store.bells.ring({Bell.QUEUE})
                return
            except Unavailable as error:
                _logger.warning("claim.failed", reason=str(error))
            except Exception:
                _logger.exception("claim.failed", deliveries=len(self._held))

    async def _beat(self) -> None:
        """Give a sign of life, look after the others' and at the clock."""
        was_sure = self._leases.sure
        await self._leases.beat()
        if not was_sure:
            held = dict(self._held)
            self._forget([held[id_] for id_ in await self._store.write(queue.lost, list(held.values()))])
            self._store.bells.ring({Bell.QUEUE})
        await self._leases.watch()
        await self._take_up()
        step = self._steady.stepped()
        if step:
            _logger.warning("clock.stepped", seconds=step.total_seconds())
            self._sweep_now.set()

    async def _take_up(self) -> None:
        """Put back what we have claimed and have in hand no more, whatever went wrong when it should have been given back.

        It was so when we looked before, too: what is on its way from the store to us is not among it.
        """
        claims = await self._store.read(queue.claims, self._node)
        adrift = {id_: fence for id_, fence in claims.items() if not self._has(id_, fence)}
        again = {id_: fence for id_, fence in adrift.items() if self._adrift.get(id_) == fence}
        self._adrift = adrift
        if again:
            await self._leases.take_up(again)

    def _has(self, id_: DeliveryId, fence: int) -> bool:
        one = self._held.get(id_)
        return one is not None and one.lease is not None and one.lease.fence == fence

    def _forget(self, lost: Sequence[Delivery]) -> None:
        for one in lost:
            if self._held.get(one.id) is one:
                _logger.warning("lease.lost", delivery=one.id)
        self._done_with(lost)

    async def _leave(self) -> None:
        try:
            await self._leases.end()
        except Unavailable as error:
            _logger.warning("claim.failed", reason=str(error))

    # --- what goes back into the queue ---

    async def _give_back(self, deliveries: Sequence[Delivery], *, after: timedelta | None = None) -> None:
        """Let others have them now, or `after` a while. When even that fails, `_take_up` finds them."""
        if not deliveries:
            return
        until = None if after is None else self._steady.now() + after
        try:
            await self._store.write(queue.release, deliveries, until=until, now=self._steady.now())
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 (what is under way goes on)
            self._failed(error)
        finally:
            self._done_with(deliveries)

    async def _park(
        self, way: Way, deliveries: Sequence[Delivery], seconds: float, because: str, *, again: bool = False
    ) -> None:
        """Give back, and let nobody look at their destinations for so long; `again`: but we, once there is room on the way.

        Only where all mail for these destinations takes this way. Else these wait, and others' mail for the same goes on.
        """
        if not self._serves_all(way):
            await self._put_aside(way, deliveries, 0.0 if again else seconds)
            return
        names = Counter(one.address.domain for one in deliveries)
        until = self._steady.now() + timedelta(seconds=seconds)
        try:
            await self._store.write(
                queue.park,
                deliveries,
                until=until,
                site=way.site,
                because=because,
                by=self._node,
                now=self._steady.now(),
            )
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 (what is under way goes on)
            self._failed(error)
        finally:
            self._done_with(deliveries)
        if again:
            self._backlog.note(way, names)

    def _failed(self, error: Exception) -> None:
        """Say that the store is away for a moment, or where our own code failed; `_take_up` mends what that leaves."""
        if isinstance(error, Unavailable):
            _logger.warning("claim.failed", reason=str(error))
        else:
            _logger.error("claim.failed", exc_info=error)

    def _serves_all(self, way: Way) -> bool:
        """Whether mail for the destinations of a way takes no other: it is nobody's own, and there is one source for all."""
        sources = self._settings.sources
        return not way.smart_host and (not sources or (len(sources) == 1 and not sources[0].domains))

    async def _put_aside(self, way: Way, deliveries: Sequence[Delivery], seconds: float) -> None:
        """Give back what a way takes later, by its own time, so that what others have for the same destinations comes before it."""
        names = {one.address.domain for one in deliveries} - self._resting
        self._resting |= names
        try:
            loop = asyncio.get_running_loop()
            began = loop.time()
            longer = self._backlog.aside(way, len(deliveries), self._clock.monotonic())
            await self._give_back(deliveries, after=timedelta(seconds=max(seconds, longer)))
            await asyncio.sleep(loop.time() - began)
        finally:
            self._resting -= names

    async def _keep_sweeping(self) -> None:
        """Look through all that waits at the start, when the clock was set, and now and then, for what nobody would find."""
        first = True
        while True:
            try:
                await self._sweep(first=first)
                first = False
            except Unavailable as error:
                _logger.warning("claim.failed", reason=str(error))
            except Exception as error:
                if isinstance(error, Fatal):
                    self._fatal = error
                    return
                _logger.exception("claim.failed")
            self._sweep_now.clear()
            try:
                async with asyncio.timeout(_SWEEP):
                    await self._sweep_now.wait()
            except TimeoutError:
                pass

    async def _sweep(self, *, first: bool) -> None:
        after: str | None = ""
        loop = asyncio.get_running_loop()
        longest = timedelta(seconds=self._settings.longest_retry * 1.2)
        while after is not None:
            began = loop.time()
            found = await self._store.read(destinations.look, after=after, now=self._steady.now(), longest=longest)
            if found.wrong:
                asleep, late = await self._store.write(
                    destinations.mend, found.wrong, now=self._steady.now(), longest=longest
                )
                self._tell_of(asleep, late, first=first)
            after = found.last
            await asyncio.sleep(max(_SWEEP_PAUSE, 3 * (loop.time() - began)))

    def _tell_of(self, asleep: int, late: int, *, first: bool) -> None:
        if late:
            _logger.warning("queue.late", deliveries=late)
        if asleep:
            metrics.asleep.inc(asleep)
            if not first:  # what an earlier release left is no fault
                _logger.error("queue.asleep", destinations=asleep)
        self._store.bells.ring({Bell.QUEUE})
