"""I2: SPF, DKIM and DMARC of an arrival against a real zone, through the real resolver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import cache

import pytest

from mailrelay.config.schema import Dns
from mailrelay.dns.caching import CachingResolver
from mailrelay.inbound.verify import verify
from mailrelay.mail import dkim
from mailrelay.mail.dkim import KeyAlgorithm, SigningKey
from mailrelay.model.address import Address
from mailrelay.model.message import AuthVerdicts, Verdict
from mailrelay.outbound.keys import KeyPair, generate
from tests.support.clock import START, FakeClock
from tests.support.zone import DnsServer, Fault, dns_server

MAIL = b"From: alice@example.org\r\nTo: bob@example.net\r\nSubject: hello\r\n\r\nHello\r\n"
ALICE = Address("alice", "example.org")


@cache
def key() -> KeyPair:
    return generate("example.org", "s1", KeyAlgorithm.RSA)


@cache
def signed(mail: bytes = MAIL) -> bytes:
    return dkim.sign(mail, [SigningKey("example.org", "s1", KeyAlgorithm.RSA, key().private_pem)], now=START)


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    zone = f"""
        example.org. 300 IN TXT "v=spf1 mx include:sender.test -all"
        example.org. 300 IN MX 10 mx.example.org.
        mx.example.org. 300 IN A 192.0.2.25
        sender.test. 300 IN TXT "v=spf1 ip4:198.51.100.0/24 -all"
        _dmarc.example.org. 300 IN TXT "v=DMARC1; p=reject"
        evil.test. 300 IN TXT "v=spf1 +all"
        {key().dns_line}
        """
    async with dns_server("\n".join(line.strip() for line in zone.splitlines())) as running:
        yield running


@pytest.fixture
async def resolver(server: DnsServer) -> AsyncIterator[CachingResolver]:
    made = CachingResolver(Dns(nameservers=(server.address,), timeout=2.0), FakeClock())
    yield made
    await made.close()


async def verdicts_of(
    resolver: CachingResolver,
    raw: bytes = MAIL,
    *,
    ip: str = "203.0.113.1",
    mail_from: Address | None = ALICE,
    sender: Address | None = ALICE,
    seconds: float = 20.0,
) -> AuthVerdicts:
    return await verify(
        raw, peer_ip=ip, helo="mx.example.org", mail_from=mail_from, header_sender=sender, resolver=resolver, now=START,
        timeout=seconds,
    )  # fmt: skip


async def test_spf_of_the_own_domain_aligns(resolver: CachingResolver) -> None:
    for ip in ("192.0.2.25", "198.51.100.9"):
        found = await verdicts_of(resolver, ip=ip)
        assert (found.spf, found.dmarc, found.aligned) == (Verdict.PASS, Verdict.PASS, True)


async def test_a_signature_aligns_where_spf_fails(resolver: CachingResolver) -> None:
    found = await verdicts_of(resolver, signed())
    assert (found.spf, found.dkim[0].verdict, found.dmarc) == (Verdict.FAIL, Verdict.PASS, Verdict.PASS)
    assert found.aligned


async def test_neither_is_a_forgery(resolver: CachingResolver) -> None:
    found = await verdicts_of(resolver, signed().replace(b"Hello", b"Pay me"))
    assert (found.spf, found.dkim[0].verdict, found.dmarc) == (Verdict.FAIL, Verdict.FAIL, Verdict.FAIL)
    assert (found.dmarc_policy, found.aligned) == ("reject", False)


async def test_spf_of_another_domain_does_not_align(resolver: CachingResolver) -> None:
    found = await verdicts_of(resolver, mail_from=Address("x", "evil.test"))
    assert (found.spf, found.dmarc, found.aligned) == (Verdict.PASS, Verdict.FAIL, False)


async def test_without_a_header_sender_nothing_aligns(resolver: CachingResolver) -> None:
    found = await verdicts_of(resolver, signed(), sender=None, mail_from=None)
    assert (found.dmarc, found.aligned) == (Verdict.NONE, False)


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.DROP])
async def test_fault_n07_dns_that_fails_is_temperror_within_the_time(server: DnsServer, fault: Fault) -> None:
    for name in ("example.org", key().dns_name, "_dmarc.example.org"):
        server.fault(name, fault)
    patient = CachingResolver(Dns(nameservers=(server.address,), timeout=30.0), FakeClock())
    began = time.monotonic()
    found = await verdicts_of(patient, signed(), seconds=0.3)
    assert time.monotonic() - began < 15
    await patient.close()
    assert (found.spf, found.dkim[0].verdict, found.dmarc) == (Verdict.TEMPERROR, Verdict.TEMPERROR, Verdict.TEMPERROR)
    assert not found.aligned


async def test_a_large_message_does_not_hold_the_loop(resolver: CachingResolver) -> None:
    raw = signed(MAIL + b"a line of  text\r\n" * 1_000_000)
    checking = asyncio.create_task(verdicts_of(resolver, raw))
    longest, before = 0.0, (began := time.monotonic())
    while not checking.done():
        await asyncio.sleep(0.005)
        longest, before = max(longest, time.monotonic() - before), time.monotonic()
    assert (await checking).dkim[0].verdict is Verdict.PASS
    assert longest < max(0.5, (before - began) / 2)  # on a busy machine all of it takes longer


async def test_a_hundred_at_once_ask_dns_once(resolver: CachingResolver, server: DnsServer) -> None:
    found = await asyncio.gather(*(verdicts_of(resolver, signed()) for _ in range(100)))
    assert all(one.aligned for one in found)
    assert server.count(key().dns_name) == 1
    assert server.count("example.org", "TXT") == 1
