"""W08, D06: clients of the API who say nothing, or never end what they say, hold nothing for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from mailrelay import metrics
from mailrelay.model.organisation import Right
from mailrelay.store import events
from mailrelay.web import face, protocol
from tests.support import factory
from tests.support.http import serving
from tests.support.outbound import until

_REQUEST = b"GET /api/v1/users HTTP/1.1\r\nHost: x\r\n\r\n"


async def _ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends the connection, by a close or a reset, within a few seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(20):
            with suppress(ConnectionResetError):
                while await reader.read(65_536):
                    pass
            return True
    return False


@pytest.mark.parametrize("said", [b"", _REQUEST[:-2]], ids=["nothing", "half a head"])
async def test_fault_w08_a_head_that_does_not_come_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(protocol, "_HEAD_SECONDS", 0.2)
    async with serving(tmp_path) as api:
        reader, writer = await asyncio.open_connection(*api.server.address)
        writer.write(said)
        assert await _ended(reader)
        writer.close()


async def test_fault_w08_a_second_head_is_waited_for_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_HEAD_SECONDS", 0.2)
    async with serving(tmp_path) as api:
        reader, writer = await asyncio.open_connection(*api.server.address)
        writer.write(_REQUEST)
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        writer.write(b"GET /api")
        assert await _ended(reader)
        writer.close()


@pytest.mark.parametrize("door", ["api", "public"])
async def test_fault_w08_what_is_no_head_after_an_answer_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    """A lone end of a line, which may stand before a request (RFC 9112 §2.2), begins none."""
    monkeypatch.setattr(protocol, "_HEAD_SECONDS", 0.2)
    async with serving(tmp_path) as api:
        address = api.server.address if door == "api" else api.server.public_address
        reader, writer = await asyncio.open_connection(*address)
        writer.write(_REQUEST)
        assert (await reader.readline()).startswith(b"HTTP/1.1 40")
        writer.write(b"\r\n")
        assert await _ended(reader)
        writer.close()


@asynccontextmanager
async def _posting(folder: Path, content: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which a mail is being submitted: the head of the request was sent, and this much of 9,000 bytes."""
    async with serving(folder) as api:
        org = await factory.org(api.store, api.clock)
        _, secret = await factory.api_token(api.store, api.clock, org, Right.SEND)
        reader, writer = await asyncio.open_connection(*api.server.address)
        head = f"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n"
        writer.write(head.encode() + b"Content-Type: application/json\r\nContent-Length: 9000\r\n\r\n" + content)
        yield reader, writer
        assert await _ended(reader)
        writer.close()


async def test_fault_w08_a_body_that_does_not_come_is_408_and_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "_SLOWEST_PIECE", 0.2)
    async with _posting(tmp_path, b'{"from"') as (reader, _):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")


async def test_fault_w08_a_body_that_drips_is_408_and_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "_SLOWEST_PIECE", 0.5)
    async with _posting(tmp_path, b"") as (reader, writer), asyncio.timeout(20):
        answer = asyncio.create_task(reader.readline())
        while not answer.done():
            writer.write(b" ")
            await asyncio.sleep(0.1)  # each piece comes in time
        assert (await answer).startswith(b"HTTP/1.1 408")


async def test_fault_d06_more_connections_than_allowed_are_cut_off_and_the_others_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_MAX_CONNECTIONS", 2)
    async with serving(tmp_path) as api:
        kept = [await asyncio.open_connection(*api.server.address) for _ in range(2)]
        for reader, writer in kept:
            writer.write(_REQUEST)
            assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        one_more = await asyncio.open_connection(*api.server.address)
        assert await _ended(one_more[0])
        for _, each in (*kept, one_more):
            each.close()


@pytest.mark.parametrize("door", ["api", "public"])
async def test_fault_w08_who_asks_for_ever_more_without_an_answer_is_cut_off(tmp_path: Path, door: str) -> None:
    """What has been asked for and not answered takes memory: not more of it than a hundred requests on a connection."""
    async with serving(tmp_path) as api:
        address = api.server.address if door == "api" else api.server.public_address
        reader, writer = await asyncio.open_connection(*address)
        writer.write(_REQUEST * 2_000)
        came = b""
        with suppress(ConnectionResetError):
            async with asyncio.timeout(20):
                came = await reader.read()
        assert came.count(b"HTTP/1.1") < 200
        writer.close()


async def test_fault_w08_a_request_learns_that_nobody_waits_for_it_though_others_stand_behind_it(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as api:
        org = await factory.org(api.store, api.clock)
        _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
        newest = await api.store.read(events.newest, org.id)
        _, writer = await asyncio.open_connection(*api.server.address)
        path = f"/api/v1/events?after={newest}&wait=60"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n".encode() * 3)
        waiting = metrics.http_waiting.labels("poll")._value
        await until(lambda: waiting.get() == 1)
        writer.transport.abort()
        await until(lambda: waiting.get() == 0, timeout=10)
