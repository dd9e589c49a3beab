"""MTA-STS policies in force: asked of DNS, fetched when they change, kept for as long as they hold (RFC 8461 §3.3, §5)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from datetime import timedelta

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.dns.mta_sts import NotFetched, PolicyFetcher
from mailrelay.dns.resolver import Resolver
from mailrelay.errors import Unavailable
from mailrelay.model.lookup import Question, RecordType
from mailrelay.model.sts import KeptPolicy, read_record
from mailrelay.model.tls_report import PolicyType, ResultType, TlsPolicy, TlsResult, TlsWitness
from mailrelay.store import sts_policies
from mailrelay.store.base import Store

_PAUSE = 300.0
"""Seconds before a policy is fetched again, whatever came of it: its owner's changes and failures cost us one fetch each."""
_REFRESH = timedelta(days=1)
_MAX_KNOWN = 10_000
_OUTCOMES = {
    ResultType.STS_POLICY_FETCH_ERROR: "failed",
    ResultType.STS_POLICY_INVALID: "invalid",
    ResultType.STS_WEBPKI_INVALID: "untrusted",
}
_logger = log.get()


class StsPolicies:
    """Knows which MTA-STS policy a domain has; one for the life of the process."""

    def __init__(
        self, store: Store, fetcher: PolicyFetcher, resolver: Resolver, clock: Clock, witness: TlsWitness
    ) -> None:
        """`witness` is told of policies that could not be fetched."""
        self._store = store
        self._fetcher = fetcher
        self._resolver = resolver
        self._clock = clock
        self._witness = witness
        self._known: OrderedDict[str, KeptPolicy | None] = OrderedDict()
        self._tried: OrderedDict[str, float] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[KeptPolicy | None]] = {}

    async def of(self, domain: str) -> KeptPolicy | None:
        """The policy that holds for `domain` now; None when there is none, or none that could be had."""
        answer = await self._resolver.resolve(Question(RecordType.TXT, f"_mta-sts.{domain}"))
        announced = read_record(answer.strings)
        kept = await self._kept(domain)
        if announced is None or not self._may_fetch(domain):
            return kept  # RFC 8461 §5.1: what was fetched holds until its end, whatever DNS says now
        if kept is None or kept.id != announced:
            return await asyncio.shield(self._fetch(domain, announced, kept))
        # Also one of the future, which a clock that was ahead has left.
        if not timedelta(0) <= self._clock.now() - kept.fetched_at <= min(_REFRESH, kept.policy.max_age / 2):
            self._fetch(domain, announced, kept)  # nobody waits: the kept one holds
        return kept

    async def kept(self, domain: str) -> KeptPolicy | None:
        """The policy that holds, without asking anybody."""
        return await self._kept(domain)

    async def close(self) -> None:
        """Cancel what is under way; those who wait for it are cancelled too."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _kept(self, domain: str) -> KeptPolicy | None:
        if domain not in self._known:
            found = await self._store.read(sts_policies.get, domain)
            if domain not in self._known:  # else somebody fetched it meanwhile
                self._remember(domain, found)
        self._known.move_to_end(domain)
        kept = self._known[domain]
        if kept is None or self._clock.now() < kept.expires_at:
            return kept
        # One of a few seconds is not fetched anew for each message.
        return None if self._may_fetch(domain) else kept

    def _may_fetch(self, domain: str) -> bool:
        tried = self._tried.get(domain)
        return tried is None or self._clock.monotonic() >= tried + _PAUSE

    def _fetch(self, domain: str, announced: str, kept: KeptPolicy | None) -> asyncio.Task[KeptPolicy | None]:
        task = self._under_way.get(domain)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetched(domain, announced, kept))
            self._under_way[domain] = task
            task.add_done_callback(lambda ended: self._ended(domain, ended))
        return task

    def _ended(self, domain: str, task: asyncio.Task[KeptPolicy | None]) -> None:
        self._under_way.pop(domain, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._note_try(domain)
            _logger.error("policy.not-fetched", destination=domain, because="an error on our side", exc_info=error)

    async def _fetched(self, domain: str, announced: str, kept: KeptPolicy | None) -> KeptPolicy | None:
        """The fresh policy, kept from now on; the old one when it can't be had."""
        try:
            policy = await self._fetcher.fetch(domain)
        except NotFetched as error:
            self._note_try(domain)
            metrics.sts_fetches.labels(_OUTCOMES[error.result]).inc()
            _logger.warning("policy.not-fetched", destination=domain, because=str(error), kept=kept is not None)
            told = TlsPolicy(type=PolicyType.STS, domain=domain)
            self._witness.saw(TlsResult(destination=domain, policy=told, result=error.result, detail=str(error)[:200]))
            return kept
        self._note_try(domain)
        metrics.sts_fetches.labels("fetched").inc()
        now = self._clock.now()
        fresh = KeptPolicy(domain=domain, id=announced, policy=policy, fetched_at=now)
        _logger.info("policy.fetched", destination=domain, mode=policy.mode.value, mx=len(policy.mx))
        self._remember(domain, fresh)
        with suppress(Unavailable):  # the memory has it; the next refresh writes it down
            await self._store.write(sts_policies.put, fresh, now=now)
        return fresh

    def _note_try(self, domain: str) -> None:
        self._tried[domain] = self._clock.monotonic()
        self._tried.move_to_end(domain)
        if len(self._tried) > _MAX_KNOWN:
            self._tried.popitem(last=False)

    def _remember(self, domain: str, kept: KeptPolicy | None) -> None:
        self._known[domain] = kept
        self._known.move_to_end(domain)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
