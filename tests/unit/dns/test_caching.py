from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from mailrelay.config.schema import Dns
from mailrelay.dns.caching import CachingResolver
from mailrelay.dns.resolver import ask
from mailrelay.model.lookup import Answer, Dialogue, LookupStatus, MxRecord, Question, RecordType
from tests.support.clock import FakeClock
from tests.support.zone import DnsServer, Fault, dns_server

DIGEST = "ab" * 32
ZONE = """
a.test. 300 IN A 192.0.2.1
a.test. 300 IN AAAA 2001:db8::1
alias.test. 300 IN CNAME A.test.
mx.test. 300 IN MX 20 MX2.test.
mx.test. 300 IN MX 10 a.test.
null.test. 300 IN MX 0 .
txt.test. 300 IN TXT "one" " two"
txt.test. 300 IN TXT "three"
zero.test. 0 IN A 192.0.2.2
1.2.0.192.in-addr.arpa. 300 IN PTR a.test.
_25._tcp.a.test. 300 IN TLSA 3 1 1 {digest}
""".replace("{digest}", DIGEST)


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with dns_server(ZONE) as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def resolver(server: DnsServer, clock: FakeClock) -> AsyncIterator[CachingResolver]:
    made = CachingResolver(Dns(nameservers=(server.address,), timeout=1.0), clock)
    yield made
    await made.close()


def q(kind: str, name: str) -> Question:
    return Question(RecordType(kind), name)


async def test_each_type_comes_back_in_our_words(resolver: CachingResolver) -> None:
    assert (await resolver.resolve(q("A", "a.test"))).texts == ("192.0.2.1",)
    assert (await resolver.resolve(q("AAAA", "a.test"))).texts == ("2001:db8::1",)
    assert set((await resolver.resolve(q("TXT", "txt.test"))).strings) == {b"one two", b"three"}
    assert set((await resolver.resolve(q("MX", "mx.test"))).mx) == {MxRecord(10, "a.test"), MxRecord(20, "mx2.test")}
    assert (await resolver.resolve(q("MX", "null.test"))).mx == (MxRecord(0, ""),)
    assert (await resolver.resolve(q("PTR", "1.2.0.192.in-addr.arpa"))).texts == ("a.test",)
    assert (await resolver.resolve(q("CNAME", "alias.test"))).texts == ("a.test",)
    assert (await resolver.resolve(q("TLSA", "_25._tcp.a.test"))).texts == (f"3 1 1 {DIGEST}",)


async def test_a_cname_is_followed_and_named(resolver: CachingResolver) -> None:
    answer = await resolver.resolve(q("A", "Alias.TEST."))
    assert answer.texts == ("192.0.2.1",)
    assert answer.canonical == "a.test"


async def test_no_name_and_no_data_are_told_apart(resolver: CachingResolver) -> None:
    assert (await resolver.resolve(q("A", "nobody.test"))).status is LookupStatus.NO_NAME
    assert (await resolver.resolve(q("A", "txt.test"))).status is LookupStatus.EMPTY


@pytest.mark.parametrize("name", ["", ".", "a..test", "x" * 64 + ".test", ".".join(["abcdefg"] * 40), "\ud800.test"])
async def test_a_name_that_dns_cannot_hold_is_no_name(resolver: CachingResolver, server: DnsServer, name: str) -> None:
    assert (await resolver.resolve(q("A", name))).status is LookupStatus.NO_NAME
    assert server.asked == []


async def test_labels_are_taken_as_they_are(resolver: CachingResolver, server: DnsServer) -> None:
    assert (await resolver.resolve(q("A", "a\\098.müller.test"))).status is LookupStatus.NO_NAME
    assert len(server.asked) == 1


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.REFUSED, Fault.DROP, Fault.GARBAGE])
async def test_fault_n07_a_broken_answer_is_temporary_and_not_kept(
    resolver: CachingResolver, server: DnsServer, fault: Fault
) -> None:
    server.fault("a.test", fault)
    answer = await resolver.resolve(q("A", "a.test"))
    assert answer.status is LookupStatus.TEMPORARY
    assert answer.detail
    server.fault("a.test", None)
    assert (await resolver.resolve(q("A", "a.test"))).status is LookupStatus.FOUND


async def test_fault_n07_nxdomain_by_fault_is_final(resolver: CachingResolver, server: DnsServer) -> None:
    server.fault("a.test", Fault.NXDOMAIN)
    assert (await resolver.resolve(q("A", "a.test"))).status is LookupStatus.NO_NAME


async def test_fault_n07_a_truncated_answer_is_asked_again_over_tcp(
    resolver: CachingResolver, server: DnsServer
) -> None:
    server.fault("a.test", Fault.TRUNCATE)
    assert (await resolver.resolve(q("A", "a.test"))).texts == ("192.0.2.1",)
    assert server.count("a.test") == 2


async def test_fault_n07_a_64_kb_answer_is_given_and_not_kept(resolver: CachingResolver, server: DnsServer) -> None:
    line = " ".join('"' + "x" * 250 + '"' for _ in range(8))
    server.add("\n".join(f'big.test. 300 IN TXT "{number}" {line}' for number in range(30)))
    question = q("TXT", "big.test")
    assert sum(map(len, (await resolver.resolve(question)).strings)) > 60_000
    seen = server.count("big.test")
    await resolver.resolve(question)
    assert server.count("big.test") > seen


async def test_fault_n07_the_loop_is_never_blocked(resolver: CachingResolver, server: DnsServer) -> None:
    server.fault("a.test", Fault.DROP)
    waiting = asyncio.create_task(resolver.resolve(q("A", "a.test")))
    longest, before = 0.0, (began := time.monotonic())
    while not waiting.done():
        await asyncio.sleep(0.005)
        longest, before = max(longest, time.monotonic() - before), time.monotonic()
    assert (await waiting).status is LookupStatus.TEMPORARY
    assert longest < (before - began) / 2


async def test_an_answer_is_kept_for_its_ttl(resolver: CachingResolver, server: DnsServer, clock: FakeClock) -> None:
    for _ in range(3):
        await resolver.resolve(q("A", "a.test"))
    assert server.count("a.test", "A") == 1
    clock.advance(timedelta(seconds=301))
    await resolver.resolve(q("A", "a.test"))
    assert server.count("a.test", "A") == 2


async def test_ttl_zero_is_not_kept(resolver: CachingResolver, server: DnsServer) -> None:
    for _ in range(2):
        await resolver.resolve(q("A", "zero.test"))
    assert server.count("zero.test") == 2


async def test_a_refusal_is_kept_as_long_as_the_soa_says(
    resolver: CachingResolver, server: DnsServer, clock: FakeClock
) -> None:
    for _ in range(2):
        await resolver.resolve(q("A", "nobody.test"))
        await resolver.resolve(q("A", "txt.test"))
    assert len(server.asked) == 2
    clock.advance(timedelta(seconds=61))
    await resolver.resolve(q("A", "nobody.test"))
    assert len(server.asked) == 3


async def test_the_cache_is_bounded(server: DnsServer, clock: FakeClock) -> None:
    resolver = CachingResolver(Dns(nameservers=(server.address,), timeout=1.0, cache_size=2), clock)
    for name in ("a.test", "mx.test", "txt.test", "a.test"):
        await resolver.resolve(q("TXT", name))
    assert server.count("a.test") == 2


async def test_the_same_question_asked_at_once_goes_out_once(resolver: CachingResolver, server: DnsServer) -> None:
    answers = await asyncio.gather(*(resolver.resolve(q("A", "zero.test")) for _ in range(50)))
    assert {answer.texts for answer in answers} == {("192.0.2.2",)}
    assert server.count("zero.test") == 1


async def test_one_asker_that_gives_up_does_not_take_the_answer_from_others(
    resolver: CachingResolver, server: DnsServer
) -> None:
    server.fault("a.test", Fault.DROP)
    first = asyncio.create_task(resolver.resolve(q("A", "a.test")))
    second = asyncio.create_task(resolver.resolve(q("A", "a.test")))
    await asyncio.sleep(0.01)
    first.cancel()
    server.fault("a.test", None)
    assert (await second).status is LookupStatus.FOUND


@pytest.mark.parametrize(("trusted", "secure"), [(True, True), (False, False)])
async def test_the_ad_bit_counts_only_from_a_trusted_resolver(
    server: DnsServer, clock: FakeClock, *, trusted: bool, secure: bool
) -> None:
    server.secure = {"*"}
    resolver = CachingResolver(Dns(nameservers=(server.address,), timeout=1.0, trust_ad=trusted), clock)
    assert (await resolver.resolve(q("A", "a.test"))).secure is secure
    assert (await resolver.resolve(q("A", "txt.test"))).secure is secure
    assert (await resolver.resolve(q("A", "nobody.test"))).secure is secure


def test_a_name_server_may_be_given_in_each_form() -> None:
    for form in ("192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:53"):
        CachingResolver(Dns(nameservers=(form,)), FakeClock())


def _two() -> Dialogue[tuple[Answer, Answer]]:
    first = yield q("A", "a.test")
    second = yield q("TXT", "txt.test")
    return first, second


def _raises() -> Dialogue[None]:
    yield q("A", "a.test")
    raise KeyError("mine")


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_dialogue_gets_its_answers_in_order(resolver: CachingResolver, *, threaded: bool) -> None:
    first, second = await ask(_two(), resolver, threaded=threaded)
    assert first.texts == ("192.0.2.1",)
    assert set(second.strings) == {b"one two", b"three"}
    with pytest.raises(KeyError, match="mine"):
        await ask(_raises(), resolver, threaded=threaded)
