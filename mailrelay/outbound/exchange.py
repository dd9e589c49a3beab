"""A batch of letters brought to the first of several hops that works, over connections that are used again (O11, N08)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.model.delivery import Deferred, Interrupted, Outcome, Stage, TlsProof
from mailrelay.outbound.connection import Connection, Failed, Hop
from mailrelay.outbound.courier.base import DeliveryBatch, Parcel, Report
from mailrelay.outbound.pool import Pool
from mailrelay.outbound.transaction import Letter

_SICK = 300.0  # N08: how long an address that failed is asked last
_MAX_SICK = 10_000
_NOT_GIVEN = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA})
_logger = log.get()


@dataclass(frozen=True, slots=True)
class _Answer:
    """Outcomes for a group of parcels, and where they were given. `dead`: no hop could be used at all."""

    outcomes: Sequence[Outcome]
    host: str
    tls: TlsProof | None
    dead: bool = False


class Exchange:
    """Delivers batches over a pool."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._sick: dict[tuple[str, int], float] = {}

    async def deliver(self, batch: DeliveryBatch, hops: Sequence[Hop]) -> None:
        """Bring a batch to the first hop that works, and report."""
        held: Connection | None = None
        try:
            done = 0
            for parcels in _together(batch.parcels):
                held, answer = await self._bring(batch, parcels, self._ordered(hops), held)
                done += len(parcels)
                _report(batch, parcels, answer)
                if answer.dead:
                    # Nobody is there: the rest of the batch has been tried with this one.
                    rest = batch.parcels[done:]
                    _report(batch, rest, _Answer([answer.outcomes[0]] * len(rest), answer.host, answer.tls))
                    return
        finally:
            if held is not None:
                self._pool.give_back(held)

    async def _bring(
        self, batch: DeliveryBatch, parcels: tuple[Parcel, ...], hops: Sequence[Hop], held: Connection | None
    ) -> tuple[Connection | None, _Answer]:
        """Outcomes for one letter, and the connection to go on with. Hops that fail before they have the letter are passed over."""
        answer: _Answer | None = None
        for index, hop in enumerate(hops):
            last = index == len(hops) - 1
            while True:
                try:
                    connection, used = await self._connection(hop, held, last=last)
                except Failed as failed:
                    held = None
                    self._fell_ill(hop, failed)
                    answer = _Answer([failed.outcome] * len(parcels), str(hop), None, dead=True)
                    break
                held = None
                outcomes = await self._send(batch, parcels, connection)
                answer = _Answer(outcomes, str(hop), connection.proof)
                if not _was_lost(outcomes):
                    self._sick.pop((hop.ip, hop.port), None)
                    return self._kept(connection), answer
                connection.abort()
                if not used:
                    break  # the next hop
                # A connection that had waited was closed by the other side meanwhile: that says nothing of the host.
        if answer is None:
            raise ValueError("there is no hop to bring anything to")
        return None, answer

    async def _connection(self, hop: Hop, held: Connection | None, *, last: bool) -> tuple[Connection, bool]:
        """A connection to the hop and whether it has been used before. Raises Failed."""
        if held is not None and held.hop == hop and not self._pool.spent(held):
            return held, True
        if held is not None:
            self._pool.give_back(held)
        waiting = self._pool.idle(hop)
        if waiting is not None:
            return waiting, True
        return await self._pool.dial(hop, last=last), False

    async def _send(
        self, batch: DeliveryBatch, parcels: tuple[Parcel, ...], connection: Connection
    ) -> Sequence[Outcome]:
        try:
            letter = await batch.letters.letter(parcels, connection.offers)
            if not isinstance(letter, Letter):
                return [letter] * len(parcels)
            return await connection.send(letter)
        except BaseException:
            connection.abort()  # in the middle of who knows what
            raise

    def _kept(self, connection: Connection) -> Connection | None:
        if self._pool.spent(connection):
            self._pool.give_back(connection)
            return None
        return connection

    def _ordered(self, hops: Sequence[Hop]) -> Sequence[Hop]:
        """The hops with those that failed lately behind the others."""
        now = self._clock.monotonic()
        return sorted(hops, key=lambda hop: self._sick.get((hop.ip, hop.port), 0.0) > now)

    def _fell_ill(self, hop: Hop, failed: Failed) -> None:
        _logger.info("hop.failed", host=str(hop), reason=failed.reason)
        if len(self._sick) >= _MAX_SICK:
            self._sick.clear()
        self._sick[hop.ip, hop.port] = self._clock.monotonic() + _SICK


def _was_lost(outcomes: Sequence[Outcome]) -> bool:
    """Whether the dialogue broke before anything was answered and before the content was out: another host may take it."""
    return all(isinstance(outcome, Interrupted) and outcome.stage in _NOT_GIVEN for outcome in outcomes) or all(
        isinstance(outcome, Deferred) and outcome.reply.code == 421 and outcome.stage is Stage.MAIL
        for outcome in outcomes
    )


def _together(parcels: Sequence[Parcel]) -> Iterator[tuple[Parcel, ...]]:
    """Parcels that one transaction can carry: of one message and one MAIL FROM."""
    for _, group in groupby(parcels, key=lambda parcel: (parcel.delivery.queue_id, parcel.mail_from)):
        yield tuple(group)


def _report(batch: DeliveryBatch, parcels: Sequence[Parcel], answer: _Answer) -> None:
    for parcel, outcome in zip(parcels, answer.outcomes, strict=True):
        batch.report(Report(delivery=parcel.delivery.id, outcome=outcome, host=answer.host, tls=answer.tls))
