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
        line = _Line(self._pool)
        done = 0
        try:
            for parcels in _together(batch.parcels):
                answer = await self._bring(batch, parcels, self._ordered(hops), line)
                done += len(parcels)
                _report(batch, parcels, answer)
                if answer.dead:
                    # Nobody is there: the rest of the batch has been tried with this one.
                    rest = batch.parcels[done:]
                    _report(batch, rest, _Answer([answer.outcomes[0]] * len(rest), answer.host, answer.tls))
                    break
        except BaseException:
            line.drop()  # in the middle of who knows what
            raise
        line.let_go()

    async def _bring(
        self, batch: DeliveryBatch, parcels: tuple[Parcel, ...], hops: Sequence[Hop], line: _Line
    ) -> _Answer:
        """Outcomes for one letter. Hops that fail before they have the letter are passed over."""
        answer: _Answer | None = None
        for index, hop in enumerate(hops):
            used = True
            while used:  # a connection that had waited may be closed by now: that says nothing of the host
                try:
                    connection, used = await line.reach(hop, last=index == len(hops) - 1)
                except Failed as failed:
                    self._fell_ill(hop, failed)
                    answer = _Answer([failed.outcome] * len(parcels), str(hop), None, dead=True)
                    break
                letter = await batch.letters.letter(parcels, connection.offers)
                if not isinstance(letter, Letter):
                    return _Answer([letter] * len(parcels), str(hop), connection.proof)
                outcomes = await connection.send(letter)
                answer = _Answer(outcomes, str(hop), connection.proof)
                if not _was_lost(outcomes):
                    self._sick.pop((hop.ip, hop.port), None)
                    return answer
                line.drop()
        if answer is None:
            raise ValueError("there is no hop to bring anything to")
        return answer

    def _ordered(self, hops: Sequence[Hop]) -> Sequence[Hop]:
        """The hops with those that failed lately behind the others."""
        now = self._clock.monotonic()
        return sorted(hops, key=lambda hop: self._sick.get((hop.ip, hop.port), 0.0) > now)

    def _fell_ill(self, hop: Hop, failed: Failed) -> None:
        _logger.info("hop.failed", host=str(hop), reason=failed.reason)
        if len(self._sick) >= _MAX_SICK:
            self._sick.clear()
        self._sick[hop.ip, hop.port] = self._clock.monotonic() + _SICK


class _Line:
    """The connection that a batch has at the moment; nobody else has it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: Connection | None = None

    async def reach(self, hop: Hop, *, last: bool) -> tuple[Connection, bool]:
        """A connection to the hop, and whether it has been used before. Raises Failed."""
        if self._connection is not None and (self._connection.hop != hop or self._pool.spent(self._connection)):
            self.let_go()
        if self._connection is None:
            self._connection = self._pool.idle(hop)
        if self._connection is not None:
            return self._connection, True
        self._connection = await self._pool.dial(hop, last=last)
        return self._connection, False

    def let_go(self) -> None:
        """Leave it to others."""
        if self._connection is not None:
            self._pool.give_back(self._connection)
        self._connection = None

    def drop(self) -> None:
        """Close it at once."""
        if self._connection is not None:
            self._connection.abort()
        self._connection = None


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
