"""Answers of the public door that wait for nothing, on the wire: what a browser, a proxy or a stranger may do with a connection (O9, D06)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from mailrelay.web import protocol
from mailrelay.web.at_once import Answer, AtOnceProtocol, Outgoing
from mailrelay.web.public.track import GIF
from tests.support import tracked
from tests.support.http import Api, serving
from tests.support.tracked import HOST


@dataclass
class Wire:
    """A connection to the public door, and paths that it knows."""

    api: Api
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    pixel: str
    link: str

    def ask(self, path: str, *fields: str, method: str = "GET", version: str = "1.1", body: str = "") -> None:
        head = "".join(f"{field}\r\n" for field in (f"Host: {HOST}", *fields))
        self.writer.write(f"{method} {path} HTTP/{version}\r\n{head}\r\n{body}".encode())

    async def answer(self, *, head_only: bool = False) -> tuple[bytes, bytes]:
        """The status line, with the fields in lower case, and the body."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
            return head, b"" if head_only else await self.reader.readexactly(length)

    async def ended(self) -> bytes:
        """What comes before the end."""
        async with asyncio.timeout(5):
            return await self.reader.read()


@asynccontextmanager
async def _wire(folder: Path) -> AsyncIterator[Wire]:
    async with serving(folder) as api:
        whose = await tracked.house(api.store, api.clock)
        (of,) = await tracked.sent(api.store, api.clock, whose)
        reader, writer = await asyncio.open_connection(*api.server.public_address)
        yield Wire(api, reader, writer, tracked.pixel(api.keys, of), tracked.link(api.keys, of))
        writer.transport.abort()


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    async with _wire(tmp_path) as one:
        yield one


async def test_requests_in_one_piece_are_answered_in_their_order(wire: Wire) -> None:
    """Also where one of them, the page, is not answered at once."""
    for path in (wire.pixel, "/u/nothing", wire.link, wire.pixel, "/robots.txt"):
        wire.ask(path)
    answers = [await wire.answer() for _ in range(5)]
    assert [head.split()[1] for head, _ in answers] == [b"200", b"404", b"302", b"200", b"200"]
    assert answers[0][1] == answers[3][1] == GIF
    assert answers[4][1].startswith(b"User-agent")


@pytest.mark.parametrize(("version", "field"), [("1.1", "Connection: close"), ("1.0", "Accept: */*")])
async def test_who_wants_one_answer_only_gets_it_and_the_end(wire: Wire, version: str, field: str) -> None:
    wire.ask(wire.pixel, field, version=version)
    came = await wire.ended()
    assert came.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in came
    assert came.endswith(GIF)


async def test_the_head_alone_has_the_length_and_no_body(wire: Wire) -> None:
    wire.ask(wire.pixel, method="HEAD")
    wire.ask(wire.link, method="HEAD")
    assert b"content-length: 43\r\n" in (await wire.answer(head_only=True))[0]
    assert (await wire.answer())[0].startswith(b"HTTP/1.1 302")


async def test_every_answer_says_when_it_was_made(wire: Wire) -> None:
    """RFC 9110 §6.6.1."""
    wire.ask(wire.pixel)
    assert b"date: " in (await wire.answer())[0]


@pytest.mark.parametrize("fields", [("Content-Length: 5",), ("Content-Length: 5", "Expect: 100-continue")])
async def test_a_body_that_nobody_asked_for_is_passed_over(wire: Wire, fields: tuple[str, ...]) -> None:
    wire.ask(wire.pixel, *fields, body="hello")
    wire.ask(wire.link)
    assert (await wire.answer())[1] == GIF
    assert (await wire.answer())[0].startswith(b"HTTP/1.1 302")


async def test_a_body_without_end_after_the_answer_ends_the_connection(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_HEAD_SECONDS", 0.2)
    wire.ask(wire.pixel, "Content-Length: 5000", body="hel")
    assert (await wire.answer())[1] == GIF
    wire.writer.write(b"lo")
    assert await wire.ended() == b""


async def test_who_reads_nothing_gets_no_more_than_a_connection_holds(wire: Wire) -> None:
    """And all of it, in order, once they read: nothing is dropped, and the door's memory does not grow with what they ask for."""
    asked = f"GET {wire.link} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode() * 200
    sent = 0
    try:
        async with asyncio.timeout(1):
            while sent < 2_000:
                sent += 1
                wire.writer.write(asked)
                await wire.writer.drain()
    except TimeoutError:
        pass
    assert sent < 2_000, "it takes whatever is asked"
    async with asyncio.timeout(20):
        for _ in range(200 * sent):
            assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 302")


async def test_what_was_answered_leaves_before_a_stop_ends_the_connection() -> None:
    """A stop in the same turn of the loop, between the answer and its departure."""
    loop = asyncio.get_running_loop()
    connections: list[AtOnceProtocol] = []

    def at_once(scope: Scope) -> Answer:
        loop.call_soon(connections[0].shutdown)
        return Answer(200, [(b"content-length", b"2")], b"ok")

    async def unused(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError(scope)

    config = uvicorn.Config(unused, interface="asgi3", ws="none", log_config=None)
    config.load()

    def connected() -> AtOnceProtocol:
        state = ServerState()
        one = AtOnceProtocol(config=config, server_state=state, app_state={}, at_once=at_once, outgoing=Outgoing())
        connections.append(one)
        return one

    server = await loop.create_server(connected, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.read()).endswith(b"\r\n\r\nok")
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
