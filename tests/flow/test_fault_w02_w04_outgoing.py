"""Requests to URLs of users reach nothing inside, whatever DNS and receivers do, and end in time (W02, W04)."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mailrelay.dns.outgoing import Answered, NoAnswer, Outgoing
from mailrelay.dns.resolver import Resolver
from mailrelay.model.lookup import Answer, LookupStatus, Question, RecordType
from mailrelay.model.reach import BadUrl, Reach
from mailrelay.outbound.trust import trusting
from tests.support.answers import FAILED, Zone
from tests.support.certs import certificate
from tests.support.http import ZoneResolver
from tests.support.receiver import OK, Request, receiving, status

CERT = certificate("crm.test", "127.0.0.1")
INSIDE = Reach.of(["127.0.0.0/8"])
LOCAL = ZoneResolver(Zone({("A", "crm.test"): "127.0.0.1", ("A", "other.test"): "127.0.0.1"}))


@asynccontextmanager
async def outgoing(resolver: Resolver = LOCAL, reach: Reach = INSIDE) -> AsyncIterator[Outgoing]:
    client = Outgoing(resolver, reach, trusting(CERT.authority), agent="mailrelay tests")
    try:
        yield client
    finally:
        await client.close()


async def post(client: Outgoing, url: str, *, within: float = 2.0, **more: Any) -> Answered:
    return await client.post(url, b"{}", {"Content-Type": "application/json"}, timeout=within, most=1000, **more)


class Rebinding:
    """Answers a public address at first, and one of ours from then on."""

    def __init__(self) -> None:
        self.asked = 0

    async def resolve(self, question: Question) -> Answer:
        if question.type is not RecordType.A:
            return Answer(LookupStatus.EMPTY)
        self.asked += 1
        return Answer(LookupStatus.FOUND, texts=("192.0.43.7" if self.asked == 1 else "127.0.0.1",))


async def test_fault_w02_a_name_that_answers_inside_after_it_was_looked_at_is_not_connected_to():
    resolver = Rebinding()
    async with receiving(CERT.server_context()) as crm, outgoing(resolver, Reach()) as client:
        url = await client.check(crm.url())
        assert url.host == "crm.test"
        with pytest.raises(NoAnswer, match="private address"):
            await post(client, crm.url())
        assert (crm.connections, resolver.asked) == (0, 2)


@pytest.mark.parametrize(
    "records",
    [
        {("A", "crm.test"): "127.0.0.1"},
        {("AAAA", "crm.test"): "::1"},
        {("AAAA", "crm.test"): "::ffff:127.0.0.1"},
        {("AAAA", "crm.test"): "64:ff9b::7f00:1"},
        {("A", "crm.test"): "169.254.169.254"},
        {("A", "crm.test"): ["10.0.0.1", "192.168.0.1"]},
        {("A", "crm.test"): FAILED},
        {},
    ],
)
async def test_fault_w02_a_name_that_leads_inside_or_nowhere_is_refused_when_it_is_given_and_when_it_is_used(
    records: Any,
):
    async with receiving(CERT.server_context()) as crm, outgoing(ZoneResolver(Zone(records)), Reach()) as client:
        with pytest.raises(BadUrl, match="cannot be reached"):
            await client.check(crm.url())
        with pytest.raises(NoAnswer):
            await post(client, crm.url())
        assert crm.connections == 0


async def test_fault_w02_of_several_addresses_only_those_that_may_be_reached_are_dialled():
    resolver = ZoneResolver(Zone({("A", "crm.test"): ["10.0.0.1", "127.0.0.1", "169.254.169.254"]}))
    async with receiving(CERT.server_context()) as crm, outgoing(resolver) as client:
        assert (await post(client, crm.url())).status == 204


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:{port}/", "https://[::ffff:127.0.0.1]:{port}/", "https://2130706433:{port}/"]
)
async def test_fault_w02_addresses_in_urls_are_judged_though_no_name_is_looked_up(url: str):
    async with receiving(CERT.server_context()) as crm, outgoing(reach=Reach()) as client:
        with pytest.raises(NoAnswer):
            await post(client, url.format(port=crm.port))
        assert crm.connections == 0


async def test_fault_w02_the_socket_itself_is_refused_if_all_else_lets_it_pass(monkeypatch: pytest.MonkeyPatch):
    async with receiving(CERT.server_context()) as crm, outgoing(reach=Reach()) as client:
        monkeypatch.setattr(Reach, "_check_address", lambda *_, **__: None)
        with pytest.raises(NoAnswer, match="private address"):
            await post(client, f"https://127.0.0.1:{crm.port}/")
        assert crm.connections == 0


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_fault_w02_no_redirect_is_followed(code: int):
    async with receiving(CERT.server_context()) as inside:
        answer = status(code, f"Location: {inside.url(path='/secret')}")
        async with receiving(CERT.server_context(), answer) as crm, outgoing() as client:
            assert (await post(client, crm.url())).status == code
            assert inside.connections == 0


async def test_no_proxy_of_the_environment_and_no_cookie_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(os.environ, "https_proxy", "http://127.0.0.1:9")
    async with receiving(CERT.server_context(), status(200, "Set-Cookie: a=b")) as crm, outgoing() as client:
        for _ in range(2):
            assert (await post(client, crm.url())).status == 200
        assert "cookie" not in crm.requests[1].headers
        assert crm.connections == 1


async def drip(request: Request, writer: asyncio.StreamWriter) -> None:
    """A byte a second, and never an end."""
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.1)


async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
    """As much as goes, after a failure."""
    writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 1000000000\r\n\r\n")
    for _ in range(16_000):
        writer.write(b"x" * 65_536)
        await writer.drain()


async def many_headers(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(1_000_000):
        writer.write(b"X-%d: %s\r\n" % (number, b"y" * 1000))
        await writer.drain()


async def long_header(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(16_000):
        writer.write(b"y" * 65_536)
        await writer.drain()


async def silent(request: Request, writer: asyncio.StreamWriter) -> bytes:
    await asyncio.sleep(60)
    return OK


async def interim(request: Request, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def nonsense(request: Request, writer: asyncio.StreamWriter) -> bytes:
    return b"SSH-2.0-OpenSSH_9.2\x00\x1b[2J\r\n\r\n"


async def hang_up(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("answer", [drip, many_headers, long_header, silent, interim, nonsense, hang_up])
async def test_fault_w04_a_receiver_that_misbehaves_is_given_up_in_time(answer: Any):
    async with receiving(CERT.server_context(), answer) as crm, outgoing() as client:
        began = time.monotonic()
        with pytest.raises(NoAnswer) as refused:
            await post(client, crm.url(), within=0.7)
        assert str(refused.value).isprintable()
        assert time.monotonic() - began < 20


async def test_fault_w04_of_an_answer_of_a_gigabyte_the_first_thousand_bytes_are_read():
    async with receiving(CERT.server_context(), endless) as crm, outgoing() as client:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = await post(client, crm.url(), within=10)
        assert (answer.status, len(answer.body), answer.whole) == (500, 1000, False)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


async def slow_body(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(60)


async def test_a_success_counts_when_its_head_is_here_whatever_its_body_does():
    async with receiving(CERT.server_context(), slow_body) as crm, outgoing() as client:
        began = time.monotonic()
        assert (await post(client, crm.url(), success_alone=True, within=50)).status == 200
        assert time.monotonic() - began < 20
        with pytest.raises(NoAnswer, match=r"within 0\.5 s"):
            await post(client, crm.url(), within=0.5)


async def test_fault_w04_a_certificate_of_another_name_or_authority_is_not_believed():
    async with outgoing() as client:
        async with receiving(CERT.server_context()) as crm:
            with pytest.raises(NoAnswer, match=r"certificate of other\.test was not accepted"):
                await post(client, crm.url("other.test"))
            assert crm.requests == []
        async with receiving(None) as clear:
            with pytest.raises(NoAnswer):
                await post(client, clear.url())
    stranger = Outgoing(LOCAL, INSIDE, trusting(), agent="mailrelay tests")
    async with receiving(CERT.server_context()) as crm:
        with pytest.raises(NoAnswer, match="was not accepted"):
            await post(stranger, crm.url())
    await stranger.close()


async def test_http_in_clear_is_used_where_the_operator_allows_it():
    async with receiving(None) as crm:
        async with outgoing() as client:
            with pytest.raises(NoAnswer, match="https"):
                await post(client, crm.url(scheme="http"))
        async with outgoing(reach=Reach.of(["127.0.0.0/8"], http=True)) as client:
            assert (await post(client, crm.url(scheme="http"))).status == 204
