"""Carries out what people do to many deliveries, in bounded steps between other work, over restarts, until it is done (R3)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import BrakeLevels
from mailrelay.errors import Fatal, Unavailable
from mailrelay.ids import OperationId
from mailrelay.model.operation import STOPPING, Operation
from mailrelay.outbound import control
from mailrelay.outbound.stops import Stops
from mailrelay.service import Stopping
from mailrelay.store import operations
from mailrelay.store.base import Bell, Store, Tx

_logger = log.get()


class Operator:
    """The service behind `operations`."""

    name = "operate"

    def __init__(
        self, store: Store, clock: Clock, stops: Stops, *, brakes: BrakeLevels, stopping: Stopping, poll: float = 0.5
    ) -> None:
        """`stops` is told what is to be stopped while it is under way; `poll` seconds between looks."""
        self._store = store
        self._clock = clock
        self._stops = stops
        self._brakes = brakes
        self._stopping = stopping
        self._poll = poll

    async def run(self) -> None:
        """Work until stopping is set. Raises Fatal."""
        while not self._stopping.is_set():
            await self.look()
            await self._store.bells.heard(Bell.CONTROL, timeout=self._poll)

    async def look(self) -> None:
        """Carry out all that stands as far as it can be now, unless a stop is asked for. Raises Fatal."""
        try:
            standing = await self._store.read(operations.standing)
            known = {one.id: one for one in standing}
            metrics.operations_standing.set(len(standing))
            left = list(standing)
            while left and not self._stopping.is_set():
                self._stop(known.values())
                # Each has its turn: a small one does not wait for one on a million deliveries.
                stepped = [after for one in left if (after := await self._advance(one)) is not None]
                known |= {one.id: one for one in stepped}
                left = [one for one in stepped if one.ended_at is None]
                waiting = [one for one in left if one.cursor >= one.until]
                if len(waiting) == len(left):
                    break  # for attempts to end
        except Unavailable as error:
            _logger.warning("claim.failed", reason=str(error))
            return
        self._stop(known.values())

    def _stop(self, known: Iterable[Operation]) -> None:
        """Also what another process is at stops what this one has under way."""
        standing = (one for one in known if one.control in STOPPING and one.ended_at is None)
        self._stops.replace(each for one in standing for each in one.under_way)

    async def _advance(self, one: Operation) -> Operation | None:
        """Its next step, which may be its last; None when somebody else has it."""
        began = self._clock.monotonic()
        try:
            after = await self._store.write(advance, one.id, at=self._clock.now(), brakes=self._brakes)
        except (Fatal, Unavailable):
            raise
        except Exception:
            _logger.exception("operation.failed", org=one.org, operation=one.id)
            after = await self._around(one)
        if after is None:
            return None
        if after.ended_at is not None:
            _tell(after)
            return after
        # Others write as well: half of the time is theirs.
        await self._stopping.wait(self._clock.monotonic() - began)
        return after

    async def _around(self, one: Operation) -> Operation | None:
        """One by one, past the delivery that our own code fails on."""
        after: Operation | None = one
        for _ in range(control.STEP):
            try:
                after = await self._store.write(advance, one.id, at=self._clock.now(), brakes=self._brakes, limit=1)
            except (Fatal, Unavailable):
                raise
            except Exception:  # noqa: BLE001 (it was logged when it was one of many)
                return await self._store.write(_skip, one.id, at=self._clock.now())
            if after is None or after.ended_at is not None:
                break
        return after


def advance(
    tx: Tx,
    id: OperationId,  # noqa: A002
    *,
    at: datetime,
    brakes: BrakeLevels,
    limit: int = control.STEP,
) -> Operation | None:
    """The next step of a standing operation, in one transaction; None when it has ended, or somebody else is at it."""
    one = operations.take(tx, id)
    return None if one is None else control.step(tx, one, at=at, brakes=brakes, limit=limit)


def _skip(tx: Tx, id: OperationId, *, at: datetime) -> Operation | None:  # noqa: A002
    one = operations.take(tx, id)
    return None if one is None else control.skip(tx, one, at=at)


def _tell(one: Operation) -> None:
    _logger.info(
        "operation.ended",
        org=one.org,
        operation=one.id,
        control=str(one.control),
        by=one.by,
        changed=one.changed,
        left=dict(one.left),
    )
