"""An arrival from its bytes to its records: the table of contents of the way in (docs/flow.md)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from mailrelay import log, metrics, rules
from mailrelay.clock import Clock
from mailrelay.dns.resolver import Resolver
from mailrelay.errors import DnsFailed, Stale
from mailrelay.filing import apply, gather, reading
from mailrelay.filing.apply import Applied, Judged
from mailrelay.filing.bodies import Bodies, BodyMissing, KeptBody
from mailrelay.filing.reading import Case, Reading
from mailrelay.ids import IdFactory, MessageId, OrgId
from mailrelay.inbound import feedback, leaving, received, replies, tie, verify
from mailrelay.inbound.tie import Returns, Signs
from mailrelay.memory import Memory
from mailrelay.model.decision import Disposition, HoldReason
from mailrelay.model.envelope import OPEN_CHANNELS, OUTGOING_CHANNELS, Arrival, ArrivalState, Channel
from mailrelay.model.message import AuthVerdicts, Message, Verdict
from mailrelay.model.organisation import Organisation
from mailrelay.model.settings import SenderCheck
from mailrelay.rules.facts import Facts
from mailrelay.store import arrivals, messages, organisations
from mailrelay.store.base import Store, Tx
from mailrelay.store.together import Together, one_by_one

_log = log.get(stage="filing")

_TRIES = 12
"""How often a decision may be overtaken by other workers before the arrival is put back."""
_VERIFIED = frozenset((Channel.DROPBOX, *OPEN_CHANNELS))
_THREADED_BYTES = 65_536
"""A mail from this size on is taken apart on a worker thread."""
_COPIES = 4
"""How often the bytes of a mail may be in memory while it is taken apart."""
_LOOSE_TIMEOUT = 5.0
"""Seconds for verdicts that nothing depends on."""
_LONG = 1.0
_SHORT_TIMEOUT = 0.2
"""After DNS left a mail without an answer for a long time, the next ones wait this long, until one has all its answers: or the
workers would stand still for as long as DNS is away. An answer that comes later is in the cache for the next try."""
_PATIENCE = timedelta(minutes=10)
"""How long DNS may fail us before a sender who must be authenticated is held."""


class Pipeline:
    """Files arrivals."""

    def __init__(
        self,
        store: Store,
        bodies: Bodies,
        clock: Clock,
        ids: IdFactory,
        *,
        resolver: Resolver | None,
        service_domains: frozenset[str],
        returns: Returns | None = None,
        verify_timeout: float = verify.TIMEOUT,
        memory: Memory | None = None,
    ) -> None:
        """`service_domains`: of dropboxes and return paths. Without a resolver nothing is verified."""
        self._store = store
        self._bodies = bodies
        self._clock = clock
        self._ids = ids
        self._resolver = resolver
        self._returns = returns or Returns()
        self._verify_timeout = verify_timeout
        self._memory = memory or Memory()
        self._dns_is_away = False
        self._organisations = Together(store, one_by_one(organisations.get))
        self._stored = Together(store, one_by_one(_stored))
        self._facts = Together(store, partial(_facts, service_domains=service_domains))

    async def process(self, arrival: Arrival) -> Applied | None:
        """Bring a claimed arrival to its end; None when it was given to another worker, or its lease was lost to one.

        Raises DnsFailed when it should be tried again later; anything else that it raises is a fault of ours.
        """
        if (leaver := leaving.leaver(arrival, self._returns)) is not None:
            return await self._store.write(
                leaving.leave, arrival, leaver, brakes=self._returns.brakes, at=self._clock.now()
            )
        # D07: a large mail is taken apart when there is room for its bytes and for what becomes of them.
        large = arrival.raw.size >= _THREADED_BYTES
        try:
            async with self._memory.room(arrival.raw.size * _COPIES) if large else nullcontext():
                cases, bodies = await self._cases(arrival)
        except BodyMissing as missing:
            return await self._unreadable(arrival, str(missing))
        now = self._clock.now()
        signs = tuple(tie.signs(case, self._returns, now=now) for case in cases)
        cases = _tied(cases, signs)
        if arrival.names_nobody:
            if await self._rehomed(arrival, cases[0], signs[0]):
                return None
            if await self._store.read(apply.is_nobodys, arrival):
                return await self._unattributed(arrival)
        return await self._file(arrival, cases, bodies, signs)

    async def _cases(self, arrival: Arrival) -> tuple[tuple[Case, ...], tuple[KeptBody | None, ...]]:
        """Read and verify: the mail itself, then those attached to it."""
        if arrival.message is not None and arrival.channel in OUTGOING_CHANNELS:
            message = await self._stored.ask((arrival.org, MessageId(arrival.message)))
            return (reading.stored(message, arrival),), (None,)
        raw = await self._bodies.read(arrival.raw)
        read = await self._read(raw, arrival)
        auth = await self._verify(raw, arrival, read.case)
        bodies = [await self._bodies.keep(one.raw) for one in read.attached]
        attached = [
            replace(one.case, message=replace(one.case.message, raw=body.ref))
            for one, body in zip(read.attached, bodies, strict=True)
        ]
        return (read.case.verified(auth), *attached), (None, *bodies)

    async def _read(self, raw: bytes, arrival: Arrival) -> Reading:
        if len(raw) < _THREADED_BYTES:
            return reading.read(raw, arrival, new_id=self._ids.message)
        return await asyncio.to_thread(reading.read, raw, arrival, new_id=self._ids.message)

    async def _rehomed(self, arrival: Arrival, case: Case, found: Signs) -> bool:
        """Whether it came to the address for all complaints, and now belongs to the organisation whose delivery it is about.

        That is done before anything of it is stored, or one tenant would read another's mail.
        """
        delivery = await self._store.read(tie.home, case, found)
        if delivery is None or arrival.target is None:
            return False
        try:
            place = replace(arrival.target, delivery=delivery.id)
            await self._store.write(arrivals.rehome, arrival, org=delivery.org, target=place)
        except Stale:
            _log.warning("lease.lost", attempt=arrival.attempts)
        return True

    async def _verify(self, raw: bytes, arrival: Arrival, case: Case) -> AuthVerdicts | None:
        """SPF, DKIM and DMARC of a complaint, and of mail to dropboxes, shared addresses and records' addresses.

        A passing failure of DNS is waited out where they count.
        """
        complains = tie.wants_trust(case, self._returns, now=self._clock.now())
        if self._resolver is None or not (arrival.channel in _VERIFIED or complains):
            return None
        if arrival.peer is None or arrival.envelope is None:
            return None
        sender = case.sender
        organisation: Organisation = await self._organisations.ask(arrival.org)
        strict = organisation.settings.sender_check is SenderCheck.AUTHENTICATED
        counts = complains or (strict and arrival.channel is Channel.DROPBOX)
        may_wait = counts and self._clock.now() - arrival.received_at < _PATIENCE
        timeout = self._verify_timeout if counts else min(self._verify_timeout, _LOOSE_TIMEOUT)
        if self._dns_is_away and (may_wait or not counts):
            timeout = min(timeout, _SHORT_TIMEOUT)
        began = asyncio.get_running_loop().time()
        auth = await verify.verify(
            raw,
            peer_ip=arrival.peer.ip,
            helo=arrival.peer.helo,
            mail_from=arrival.envelope.mail_from,
            header_sender=sender,
            resolver=self._resolver,
            now=self._clock.now(),
            timeout=timeout,
        )
        passing = Verdict.TEMPERROR in (auth.spf, auth.dmarc, *(found.verdict for found in auth.dkim))
        took = asyncio.get_running_loop().time() - began
        self._dns_is_away = passing and (self._dns_is_away or took >= _LONG)
        if may_wait and passing and not auth.aligned:
            raise DnsFailed(f"DNS did not say yet whether {sender} sent it")
        return auth

    async def _file(
        self,
        arrival: Arrival,
        cases: Sequence[Case],
        bodies: Sequence[KeptBody | None],
        signs: Sequence[Signs],
    ) -> Applied | None:
        """Gather, decide, apply; and again when another worker was first."""
        for attempt in range(1, _TRIES + 1):
            every = await self._facts.ask(cases)
            judged = tuple(
                Judged(facts=facts, decision=rules.decide(facts), body=body)
                for facts, body in zip(every, bodies, strict=True)
            )
            if judged[0].decision.disposition is Disposition.HOLD:
                judged = judged[:1]  # the whole mail waits, with what is attached to it
            try:
                applied = await self._store.write(
                    _apply, arrival, cases, judged, signs, returns=self._returns, ids=self._ids, at=self._clock.now()
                )
            except Stale:
                if await self._lost(arrival):
                    _log.warning("lease.lost", attempt=arrival.attempts)
                    return None
                if attempt == _TRIES:
                    raise
                await asyncio.sleep(random.uniform(0, 0.002 * 2 ** min(attempt, 6)))  # noqa: S311 (jitter)
                continue
            _tell(applied, judged)
            return applied
        raise AssertionError("unreachable: the last try returns or raises")

    async def _unreadable(self, arrival: Arrival, why: str) -> Applied:
        """Leave an arrival whose bytes are gone to a person."""
        _log.error("arrival.held", reason=HoldReason.UNPARSED, because=why)
        return await self._held_whole(arrival, HoldReason.UNPARSED, f"it could not be read: {why}")

    async def _unattributed(self, arrival: Arrival) -> Applied:
        """Leave what could be any organisation's to the operator: nothing of it is stored where one of them could read it."""
        why = "it was sent to the address for complaints and names no delivery that is surely one organisation's"
        _log.info("arrival.held", reason=HoldReason.UNATTRIBUTED, because=why)
        return await self._held_whole(arrival, HoldReason.UNATTRIBUTED, why)

    async def _held_whole(self, arrival: Arrival, reason: HoldReason, why: str) -> Applied:
        await self._store.write(
            apply.unreadable,
            arrival,
            reason=reason,
            explanation=why,
            failure="",
            ids=self._ids,
            at=self._clock.now(),
        )
        return Applied(state=ArrivalState.UNRESOLVED, reason=reason, messages=(), known=(), created=(), linked=())

    async def _lost(self, arrival: Arrival) -> bool:
        now = await self._store.read(arrivals.get, arrival.id)
        fence = None if arrival.lease is None else arrival.lease.fence
        return now is None or now.state is not ArrivalState.WORKING or now.lease is None or now.lease.fence != fence


def _tied(cases: Sequence[Case], signs: Sequence[Signs]) -> tuple[Case, ...]:
    """The same with what each is about; a forward is about what the mails attached to it are about."""
    each = [found.tokens for found in signs]
    every = tuple(dict.fromkeys(token for tokens in each for token in tokens))
    return tuple(
        replace(case, tied=tokens if case.message.part else every) for case, tokens in zip(cases, each, strict=True)
    )


def _apply(
    tx: Tx,
    arrival: Arrival,
    cases: Sequence[Case],
    judged: Sequence[Judged],
    signs: Sequence[Signs],
    *,
    returns: Returns,
    ids: IdFactory,
    at: datetime,
) -> Applied:
    """Write down what was decided, and what follows from what came back. Raises Stale, and keeps nothing."""
    applied = apply.decision(tx, arrival, judged, ids=ids, at=at)
    for case, one, found, known in zip(cases, judged, signs, applied.known, strict=False):  # of what is held, the first
        held = one.decision.reason if one.decision.disposition is Disposition.HOLD else ""
        feedback.apply(tx, arrival, case, one.facts, found, returns=returns, held=held, known=known, ids=ids, at=at)
        replied_to = replies.mark(tx, arrival, case, one.facts, found, held=held, known=known, at=at)
        received.tell(tx, arrival, one, replied_to=replied_to, known=known, at=at)
    return applied


def _stored(tx: Tx, named: tuple[OrgId, MessageId]) -> Message:
    return messages.get(tx, *named)


def _facts(
    tx: Tx, arrivals_cases: Sequence[Sequence[Case]], *, service_domains: frozenset[str]
) -> list[tuple[Facts, ...]]:
    """Of the cases of each of several arrivals."""
    every = iter(
        gather.facts_of(tx, [case for cases in arrivals_cases for case in cases], service_domains=service_domains)
    )
    return [tuple(islice(every, len(cases))) for cases in arrivals_cases]


def _tell(applied: Applied, judged: Sequence[Judged]) -> None:
    for record in applied.created:
        metrics.records_created.inc()
        _log.info("record.created", record=str(record))
    message = applied.messages[0]
    if applied.state is ArrivalState.UNRESOLVED:
        held = next(one for one in judged if one.decision.disposition is Disposition.HOLD)
        _log.info("arrival.held", message=message, reason=applied.reason, because=held.decision.explanation)
        return
    if applied.linked:
        _log.info("message.filed", message=message, records=[str(record) for record in applied.linked])
    _log.info("arrival.ended", message=message, state=applied.state, reason=applied.reason)
