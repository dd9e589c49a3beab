"""A batch of letters brought to the first of several hops that works, over connections that are used again (O11, N08, N15)."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.model.delivery import Deferred, Interrupted, Outcome, Stage, TlsProof
from mailrelay.outbound.connection import Connection, Failed, Hop
from mailrelay.outbound.courier.base import DeliveryBatch, Parcel, Report
from mailrelay.outbound.pool import Pool
from mailrelay.outbound.transaction import Letter

_SICK = 300.0  # N08: how long an address that failed is asked last
_BY_TURNS = 3600.0  # N15: how long a host that lost its way in a segment of commands gets them one by one
_MAX_REMEMBERED = 10_000
_UNTIL_THE_NEXT = 25.0
"""Seconds in which all hops but the last must be connected to, together: the one that works is used within 30 (N08)."""
_SHORTEST = 5.0  # … but each has so many, in which a lost SYN is sent twice more
_NOT_YOU = frozenset({530, 534, 535})
_NOT_GIVEN = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA})
_logger = log.get()

Renew = Callable[[Hop], Awaitable[Hop | None]]
"""A hop with fresh credentials, for one that was refused for those that it had; None when there are none."""
Meaning = Callable[[Outcome], Outcome]
"""What an outcome means to whoever gave the hops."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """Outcomes for a group of parcels, and where they were given.

    `lost`: nobody has the letter, and another hop may take it. `dead`: no hop could be used at all.
    """

    outcomes: Sequence[Outcome]
    host: str
    tls: TlsProof | None
    lost: bool = False
    dead: bool = False


class Exchange:
    """Delivers batches over a pool. `relayed`: its hops are relays, whose outage says nothing of a recipient."""

    def __init__(self, pool: Pool, clock: Clock, *, relayed: bool = False) -> None:
        self._pool = pool
        self._relayed = relayed
        self._sick = _Memory(clock, _SICK)
        self._by_turns = _Memory(clock, _BY_TURNS)

    async def deliver(
        self,
        batch: DeliveryBatch,
        hops: Sequence[Hop],
        *,
        renew: Renew | None = None,
        meaning: Meaning = lambda outcome: outcome,
    ) -> None:
        """Bring a batch to the first hop that works, and report."""
        line = _Line(self._pool, batch, renew)
        groups = deque(_together(batch.parcels))
        try:
            while groups:
                parcels = groups.popleft()
                answer = await self._bring(batch, parcels, hops, line)
                if answer.dead:
                    # Nobody is there: the rest of the batch has been tried with this one.
                    parcels += tuple(parcel for group in groups for parcel in group)
                    answer = _Answer([answer.outcomes[0]] * len(parcels), answer.host, answer.tls)
                    groups.clear()
                rest = _too_many(answer.outcomes)
                if rest:
                    groups.appendleft(tuple(parcels[index] for index in rest))
                for index, (parcel, outcome) in enumerate(zip(parcels, answer.outcomes, strict=True)):
                    if index not in rest:
                        batch.report(self._told(parcel, meaning(outcome), answer))
        except BaseException:
            line.drop()  # in the middle of who knows what
            raise
        line.let_go()

    def _told(self, parcel: Parcel, outcome: Outcome, answer: _Answer) -> Report:
        return Report(
            delivery=parcel.delivery.id,
            outcome=outcome,
            host=answer.host,
            tls=answer.tls,
            relayed=self._relayed,
        )

    async def _bring(
        self, batch: DeliveryBatch, parcels: tuple[Parcel, ...], hops: Sequence[Hop], line: _Line
    ) -> _Answer:
        """Outcomes for one letter. Hops that fail before they have the letter are passed over."""
        answer: _Answer | None = None
        full = line.connected or self._pool.full(batch.way, batch.connections)
        ordered = sorted(hops, key=lambda hop: self._rank(hop, line, full=full))
        within = max(_SHORTEST, _UNTIL_THE_NEXT / max(1, len(hops) - 1))
        for index, hop in enumerate(ordered):
            last = index == len(hops) - 1
            answer = await self._offer(batch, parcels, hop, line, last=last, within=inf if last else within)
            if not answer.lost:
                self._sick.forget((hop.ip, hop.port))
                return answer
        if answer is None:
            raise ValueError("there is no hop to bring anything to")
        return answer

    def _rank(self, hop: Hop, line: _Line, *, full: bool) -> tuple[bool, int, bool]:
        """Those that failed lately come last; of equal ones, those that we have a connection to first, if there is no room for another.

        Else equal ones stay as they were shuffled (RFC 5321 §5.1).
        """
        return (hop.ip, hop.port) in self._sick, hop.preference, full and not line.leads_to(hop)

    async def _offer(
        self, batch: DeliveryBatch, parcels: tuple[Parcel, ...], hop: Hop, line: _Line, *, last: bool, within: float
    ) -> _Answer:
        """Outcomes at one hop; once more where that is none of its doing, or may be helped."""

        async def before_dot(places: Sequence[int]) -> None:
            await batch.before_dot([parcels[place].delivery.id for place in places])

        address = (hop.ip, hop.port)
        while True:
            try:
                connection, used = await line.reach(hop, last=last, within=within)
            except Failed as failed:
                _logger.info("hop.failed", host=str(hop), reason=failed.reason)
                self._sick.note(address)
                return _Answer([failed.outcome] * len(parcels), str(hop), None, lost=True, dead=True)
            letter = await batch.letters.letter(parcels, connection.offers)
            if not isinstance(letter, Letter):
                return _Answer([letter] * len(parcels), str(hop), connection.proof)
            pipelining = address not in self._by_turns
            outcomes = await connection.send(letter, before_dot=before_dot, pipelining=pipelining)
            answer = _Answer(outcomes, str(hop), connection.proof, lost=_was_lost(outcomes))
            if not answer.lost and not (connection.cannot_pipeline and pipelining):
                return answer
            line.drop()
            if connection.cannot_pipeline and pipelining:
                self._by_turns.note(address)
            elif not used:  # a connection that had waited may be closed by now: that says nothing of the host
                return answer


class _Memory:
    """Addresses of which something is remembered for a while."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._until: OrderedDict[tuple[str, int], float] = OrderedDict()

    def __contains__(self, address: tuple[str, int]) -> bool:
        return self._until.get(address, 0.0) > self._clock.monotonic()

    def note(self, address: tuple[str, int]) -> None:
        self._until[address] = self._clock.monotonic() + self._seconds
        self._until.move_to_end(address)
        if len(self._until) > _MAX_REMEMBERED:
            self._until.popitem(last=False)

    def forget(self, address: tuple[str, int]) -> None:
        self._until.pop(address, None)


class _Line:
    """The connection that a batch has at the moment; nobody else has it."""

    def __init__(self, pool: Pool, batch: DeliveryBatch, renew: Renew | None) -> None:
        self._pool = pool
        self._way = batch.way
        self._most = batch.connections
        self._renew = renew
        self._renewed: dict[Hop, Hop] = {}
        self._connection: Connection | None = None

    @property
    def connected(self) -> bool:
        """Whether it has one."""
        return self._connection is not None

    def leads_to(self, hop: Hop) -> bool:
        """Whether the host can be reached over what it has; where it has nothing, over what waits."""
        hop = self._renewed.get(hop, hop)
        return self._pool.waits_for(hop) if self._connection is None else self._connection.hop == hop

    async def reach(self, hop: Hop, *, last: bool, within: float) -> tuple[Connection, bool]:
        """A connection to the hop, and whether it has been used before. Raises Failed."""
        hop = self._renewed.get(hop, hop)
        if self._connection is not None and (self._connection.hop != hop or self._pool.spent(self._connection)):
            self.let_go()
        if self._connection is None:
            self._connection = self._pool.idle(hop, self._way)
        if self._connection is not None:
            return self._connection, True
        try:
            self._connection = await self._dial(hop, last=last, within=within)
        except Failed as failed:
            fresh = await self._fresh(hop, failed)
            if fresh is None:
                raise
            self._connection = await self._dial(fresh, last=last, within=within)
        return self._connection, False

    async def _dial(self, hop: Hop, *, last: bool, within: float) -> Connection:
        return await self._pool.dial(hop, self._way, most=self._most, last=last, within=within)

    async def _fresh(self, hop: Hop, failed: Failed) -> Hop | None:
        """The hop with fresh credentials, where its own were refused; once a batch."""
        if self._renew is None or not wants_other_credentials(failed) or hop in self._renewed.values():
            return None
        fresh = await self._renew(hop)
        if fresh is not None:
            self._renewed[hop] = fresh
        return fresh

    def let_go(self) -> None:
        """Leave it to others."""
        if self._connection is not None:
            self._pool.give_back(self._connection, self._way)
        self._connection = None

    def drop(self) -> None:
        """Close it at once."""
        if self._connection is not None:
            self._pool.drop(self._connection, self._way)
        self._connection = None


def wants_other_credentials(failed: Failed) -> bool:
    """Whether the host let us come as far as AUTH, and refused what we said there (RFC 4954 §6)."""
    outcome = failed.outcome
    return isinstance(outcome, Deferred) and outcome.stage is Stage.AUTH and outcome.reply.code in _NOT_YOU


def _was_lost(outcomes: Sequence[Outcome]) -> bool:
    """Whether the dialogue broke before anything was answered and before the content was out: another host may take it."""
    return all(isinstance(outcome, Interrupted) and outcome.stage in _NOT_GIVEN for outcome in outcomes) or all(
        isinstance(outcome, Deferred) and outcome.reply.code == 421 and outcome.stage is Stage.MAIL
        for outcome in outcomes
    )


def _too_many(outcomes: Sequence[Outcome]) -> frozenset[int]:
    """The places of those that were only too many for one transaction, where others had their turn in it.

    RFC 5321 §4.5.3.1.10: 452 to RCPT, once 552, asks for the rest in another transaction.
    """
    found = frozenset(index for index, outcome in enumerate(outcomes) if _is_one_too_many(outcome))
    return found if len(found) < len(outcomes) else frozenset()


def _is_one_too_many(outcome: Outcome) -> bool:
    if not isinstance(outcome, Deferred) or outcome.stage is not Stage.RCPT:
        return False
    status = "" if outcome.reply.status is None else str(outcome.reply.status)
    return (outcome.reply.code, status) in {(452, ""), (452, "4.5.3"), (552, ""), (552, "5.5.3")}


def _together(parcels: Sequence[Parcel]) -> Iterator[tuple[Parcel, ...]]:
    """Parcels that one transaction can carry: of one message and one MAIL FROM; mass mail goes to each by itself (O15)."""

    def of(parcel: Parcel) -> tuple[object, ...]:
        delivery = parcel.delivery
        return delivery.queue_id, parcel.mail_from, delivery.id if delivery.job else ""

    for _, group in groupby(parcels, key=of):
        yield tuple(group)
