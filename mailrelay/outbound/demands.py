"""Asks DNS and policy hosts what a destination demands of TLS: DANE before MTA-STS (RFC 7672, RFC 8461 §2)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mailrelay.dns.resolver import Resolver
from mailrelay.model.lookup import Answer, LookupStatus, Question, RecordType
from mailrelay.outbound.policy.route import Target
from mailrelay.outbound.policy.tls import Demand, by_dane, by_nobody, by_sts, dane_unknown
from mailrelay.outbound.sts import StsPolicies


class Demands:
    """A `TlsDemands` that asks."""

    def __init__(self, resolver: Resolver, *, dane: bool, policies: StsPolicies | None, port: int) -> None:
        """`dane` only with a resolver whose AD bit is believed; without `policies` there is no MTA-STS."""
        self._resolver = resolver
        self._dane = dane
        self._policies = policies
        self._port = port

    async def for_destination(self, domain: str, targets: Sequence[Target]) -> tuple[Demand, ...]:
        """See `TlsDemands.for_destination`."""
        nobody = by_nobody(domain)
        if domain.startswith("["):
            return (nobody,) * len(targets)
        hosts = list(dict.fromkeys(target.host for target in targets))
        found: dict[str, Demand] = {}
        if self._dane:
            found = await self._by_dane(domain, hosts)
        if self._policies is not None and len(found) < len(hosts):
            kept = await self._policies.of(domain)
            if kept is not None:
                # RFC 8461 §2: where DANE holds, no MTA-STS policy overrides it.
                found = {**{host: by_sts(domain, kept.policy, host) for host in hosts}, **found}
        return tuple(found.get(target.host, nobody) for target in targets)

    async def _by_dane(self, domain: str, hosts: Sequence[str]) -> dict[str, Demand]:
        """The demands of the hosts that have TLSA records, or whose DNS does not say."""
        mx = await self._ask(RecordType.MX, domain)
        if mx.status is LookupStatus.TEMPORARY:
            return {host: dane_unknown(domain, base=host, because=mx.detail) for host in hosts}
        if not mx.secure:
            return {}  # RFC 7672 §2.2.1: who names the hosts could name others, so that their TLSA records prove nothing
        names = tuple(dict.fromkeys(name for name in (domain, mx.canonical) if name))
        demands = await asyncio.gather(*(self._of_host(domain, host, names) for host in hosts))
        return {host: demand for host, demand in zip(hosts, demands, strict=True) if demand is not None}

    async def _of_host(self, domain: str, host: str, names: Sequence[str]) -> Demand | None:
        answers = await asyncio.gather(self._ask(RecordType.A, host), self._ask(RecordType.AAAA, host))
        found = [answer for answer in answers if answer.status is LookupStatus.FOUND]
        if not found and (failed := [answer for answer in answers if answer.status is LookupStatus.TEMPORARY]):
            return dane_unknown(domain, base=host, because=failed[0].detail)
        canonical = next((answer.canonical for answer in found if answer.canonical), host)
        bases = [canonical, host] if canonical != host else [host]
        if not found or not all(answer.secure for answer in found):
            # RFC 7672 §2.2.2: of an alias that is signed itself, the name before the alias still counts.
            if canonical == host:
                return None
            alias = await self._ask(RecordType.CNAME, host)
            if alias.status is LookupStatus.TEMPORARY:
                return dane_unknown(domain, base=host, because=alias.detail)
            if not alias.secure:
                return None
            bases = [host]
        for base in bases:
            answer = await self._ask(RecordType.TLSA, f"_{self._port}._tcp.{base}")
            if answer.status is LookupStatus.TEMPORARY:
                return dane_unknown(domain, base=base, because=answer.detail)
            if answer.status is LookupStatus.FOUND and answer.secure:
                return by_dane(domain, base=base, records=answer.texts, names=(base, *names))
        return None

    async def _ask(self, kind: RecordType, name: str) -> Answer:
        return await self._resolver.resolve(Question(kind, name))
