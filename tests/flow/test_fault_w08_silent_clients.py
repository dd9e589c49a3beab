"""W08, D06: clients of the API who say nothing, or never end what they say, hold nothing for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from mailrelay.model.organisation import Right
from mailrelay.web import face, protocol
from tests.support import factory
from tests.support.http import serving

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
