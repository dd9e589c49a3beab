"""O11: MTA-STS policies fetched from a policy host, kept over restarts, and what they ask (RFC 8461)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from mailrelay.dns.mta_sts import NotFetched, PolicyFetcher
from mailrelay.model.lookup import Answer, LookupStatus, Question, RecordType
from mailrelay.model.network import is_public
from mailrelay.model.sts import Mode
from mailrelay.model.tls_report import ResultType
from mailrelay.outbound.demands import Demands
from mailrelay.outbound.policy.route import Target
from mailrelay.outbound.policy.tls import DemandMode, by_dane
from mailrelay.outbound.sts import StsPolicies
from mailrelay.store.base import Store
from tests.flow.test_fault_n10_tls import Witness
from tests.support import factory
from tests.support.clock import FakeClock
from tests.support.outbound import ZoneResolver
from tests.support.tls_peers import Shown, shown

NAME = "mta-sts.b.test"
CA = trustme.CA()
GOOD = shown(NAME, authority=CA)
ENFORCE = "version: STSv1\nmode: enforce\nmx: *.b.test\nmax_age: 604800\n"


@dataclass
class PolicyHost:
    """What it answers; change it at any time."""

    text: str | bytes = ENFORCE
    status: int = 200
    kind: str = "text/plain"
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.host.partition(':')[0]}{request.path}")
        body = self.text if isinstance(self.text, bytes) else self.text.encode()
        return web.Response(body=body, status=self.status, content_type=self.kind, headers=self.headers)


@asynccontextmanager
async def policy_host(shows: Shown = GOOD) -> AsyncIterator[PolicyHost]:
    host = PolicyHost()
    app = web.Application()
    app.router.add_get("/{path:.*}", host.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=shows.context())
        await site.start()
        host.port = runner.addresses[0][1]
        yield host
    finally:
        await runner.cleanup()


class Zone:
    """DNS of the test: the record's id, and whether it answers."""

    def __init__(self, id_: str | None = "1") -> None:
        self.id = id_
        self.down = False
        self.ip = "127.0.0.1"

    def __call__(self, question: Question) -> Answer:
        if self.down:
            return Answer(LookupStatus.TEMPORARY, detail="no answer in time")
        if question == Question(RecordType.TXT, "_mta-sts.b.test") and self.id:
            return Answer(LookupStatus.FOUND, strings=(f"v=STSv1; id={self.id};".encode(),))
        if question == Question(RecordType.A, NAME):
            return Answer(LookupStatus.FOUND, texts=(self.ip,))
        return Answer(LookupStatus.NO_NAME)


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=GOOD.authority.decode())


def fetcher(host: PolicyHost, zone: Zone, *, private: bool = True, timeout: float = 5) -> PolicyFetcher:
    return PolicyFetcher(
        ZoneResolver(zone),
        trusting(),
        allows=lambda ip: private or is_public(ip),
        agent="mailrelay/test",
        port=host.port,
        timeout=timeout,
    )


@dataclass
class Bench:
    host: PolicyHost
    zone: Zone
    clock: FakeClock
    witness: Witness
    store: Store
    policies: StsPolicies

    def restarted(self) -> StsPolicies:
        return StsPolicies(self.store, fetcher(self.host, self.zone), ZoneResolver(self.zone), self.clock, self.witness)

    async def mode(self) -> Mode | None:
        kept = await self.policies.of("b.test")
        return None if kept is None else kept.policy.mode


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    async with factory.open_store(folder) as store, policy_host() as host:
        zone, clock, witness = Zone(), FakeClock(), Witness()
        policies = StsPolicies(store, fetcher(host, zone), ZoneResolver(zone), clock, witness)
        made = Bench(host, zone, clock, witness, store, policies)
        yield made
        await made.policies.close()


async def test_a_policy_is_fetched_once_and_kept_over_a_restart(tmp_path: Path):
    async with bench(tmp_path) as at:
        assert await at.mode() is Mode.ENFORCE
        assert await at.mode() is Mode.ENFORCE
        assert at.host.asked == [f"{NAME}/.well-known/mta-sts.txt"]
        at.policies = at.restarted()
        at.zone.down = True
        assert await at.mode() is Mode.ENFORCE  # DNS that is down takes no policy away
        at.zone.down, at.zone.id = False, None
        assert await at.mode() is Mode.ENFORCE  # nor does a record that is gone (RFC 8461 §5.1)
    assert len(at.host.asked) == 1
    assert at.witness.said == []


async def test_a_new_id_brings_the_new_policy(tmp_path: Path):
    async with bench(tmp_path) as at:
        assert await at.mode() is Mode.ENFORCE
        at.host.text = ENFORCE.replace("enforce", "testing")
        at.zone.id = "2"
        assert await at.mode() is Mode.ENFORCE  # owners who change it all the time cost us a fetch each five minutes
        at.clock.advance(timedelta(minutes=6))
        assert await at.mode() is Mode.TESTING
        at.clock.advance(timedelta(minutes=6))
        at.host.text = ENFORCE.replace("enforce", "none")
        at.zone.id = "3"
        assert await at.mode() is Mode.NONE
    assert len(at.host.asked) == 3


async def test_a_policy_is_refreshed_before_it_ends_and_outlives_a_host_that_is_down(tmp_path: Path):
    async with bench(tmp_path) as at:
        assert await at.mode() is Mode.ENFORCE
        at.clock.advance(timedelta(days=2))
        assert await at.mode() is Mode.ENFORCE
        await at.policies._under_way["b.test"]  # behind the back of who asked
        assert len(at.host.asked) == 2
        at.clock.advance(timedelta(days=6))
        at.host.status = 503
        assert await at.mode() is Mode.ENFORCE  # eight days after the first fetch, six after the second
        await at.policies._under_way["b.test"]
        assert at.witness.said == ["sts-policy-fetch-error"]
        at.clock.advance(timedelta(days=2))
        assert await at.mode() is None  # over, and nobody gives another


async def test_a_policy_that_cannot_be_had_is_none_and_not_asked_for_each_time(tmp_path: Path):
    async with bench(tmp_path) as at:
        at.host.status = 404
        assert await at.mode() is None
        assert await at.mode() is None
        assert len(at.host.asked) == 1
        at.clock.advance(timedelta(minutes=6))
        at.host.status = 200
        assert await at.mode() is Mode.ENFORCE
    assert at.witness.said == ["sts-policy-fetch-error"]
    assert at.witness.results[0].policy.domain == "b.test"


async def test_many_at_once_are_one_fetch(tmp_path: Path):
    async with bench(tmp_path) as at:
        assert await asyncio.gather(*(at.mode() for _ in range(20))) == [Mode.ENFORCE] * 20
    assert len(at.host.asked) == 1


async def test_a_domain_without_a_record_is_not_asked(tmp_path: Path):
    async with bench(tmp_path) as at:
        at.zone.id = None
        assert await at.mode() is None
    assert at.host.asked == []


@pytest.mark.parametrize(
    ("change", "because", "result"),
    [
        ({"status": 404}, "answered 404", ResultType.STS_POLICY_FETCH_ERROR),
        (
            {"status": 302, "headers": {"Location": f"https://{NAME}/elsewhere"}},
            "answered 302",
            ResultType.STS_POLICY_FETCH_ERROR,
        ),
        ({"kind": "text/html"}, "not a text/plain", ResultType.STS_POLICY_FETCH_ERROR),
        ({"text": ENFORCE + "x: y\n" * 20_000}, "more than 65536 bytes", ResultType.STS_POLICY_FETCH_ERROR),
        ({"headers": {"Content-Encoding": "gzip"}}, "content encoding", ResultType.STS_POLICY_FETCH_ERROR),
        ({"text": "<html>"}, "no colon|version", ResultType.STS_POLICY_INVALID),
        ({"text": b"\xff"}, "not UTF-8", ResultType.STS_POLICY_INVALID),
    ],
)
async def test_what_is_not_fetched(change: dict[str, object], because: str, result: ResultType):
    async with policy_host() as host:
        for name, value in change.items():
            setattr(host, name, value)
        with pytest.raises(NotFetched, match=because) as failed:
            await fetcher(host, Zone()).fetch("b.test")
    assert failed.value.result is result
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    "shows",
    [shown("b.test", authority=CA), shown(NAME, expired=True, authority=CA), shown(NAME)],
    ids=["another name", "expired", "another authority"],
)
async def test_a_policy_host_must_prove_its_name(shows: Shown):
    async with policy_host(shows) as host:
        with pytest.raises(NotFetched, match="could not prove its name") as failed:
            await fetcher(host, Zone()).fetch("b.test")
    assert failed.value.result is ResultType.STS_WEBPKI_INVALID
    assert host.asked == []


async def test_a_policy_host_at_a_private_address_is_not_asked():
    async with policy_host() as host:
        with pytest.raises(NotFetched, match="private address"):
            await fetcher(host, Zone(), private=False).fetch("b.test")
    assert host.asked == []


async def test_a_policy_host_that_says_nothing_is_given_up():
    writers: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda reader, writer: writers.append(writer), "127.0.0.1", 0)
    try:
        host = PolicyHost(port=silent.sockets[0].getsockname()[1])
        with pytest.raises(NotFetched, match=r"did not answer within 0\.2 s"):
            await fetcher(host, Zone(), timeout=0.2).fetch("b.test")
        with pytest.raises(NotFetched, match="gave no policy"):
            await fetcher(PolicyHost(port=1), Zone()).fetch("b.test")
    finally:
        for writer in writers:
            writer.transport.abort()
        silent.close()


async def test_each_host_is_held_to_the_policy_and_dane_comes_first(tmp_path: Path):
    async with bench(tmp_path) as at:
        demands = Demands(ZoneResolver(at.zone), dane=True, policies=at.policies, port=25)
        hosts = [Target(host=name, ip="192.0.2.1") for name in ("mx.b.test", "mx.elsewhere.test")]
        inside, outside = await demands.for_destination("b.test", hosts)
        assert (inside.mode, inside.barred) == (DemandMode.STS, None)
        assert outside.barred is not None
        (literal,) = await demands.for_destination("[192.0.2.1]", hosts[:1])
        assert literal.mode is DemandMode.NONE

        proved = by_dane("b.test", base="mx.elsewhere.test", records=["3 1 1 " + "aa" * 32], names=())

        async def by_records(*_: object) -> dict[str, object]:
            return {"mx.elsewhere.test": proved}

        demands._by_dane = by_records  # type: ignore[assignment,method-assign]
        inside, outside = await demands.for_destination("b.test", hosts)
        assert inside.mode is DemandMode.STS
        assert outside == proved
