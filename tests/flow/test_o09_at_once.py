"""Answers of the public door that wait for nothing, on the wire: what a browser, a proxy or a stranger may do with a connection (O9, D06)."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from mailrelay.config.schema import Config, Public
from mailrelay.tracking.token import Kind, Token, make
from mailrelay.web import protocol
from mailrelay.web.at_once import Answer, AtOnceProtocol, Outgoing
from mailrelay.web.public.track import GIF
from tests.support import tracked
from tests.support.http import Api, serving
from tests.support.outbound import until
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
        async with asyncio.timeout(30):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
            return head, b"" if head_only else await self.reader.readexactly(length)

    async def ended(self) -> bytes:
        """What comes before the end."""
        async with asyncio.timeout(30):
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


async def test_what_is_no_http_is_refused_behind_the_answer_to_what_was(wire: Wire) -> None:
    wire.ask(wire.pixel)
    wire.writer.write(b"\x01\r\n\r\n")
    assert (await wire.answer())[1] == GIF
    assert (await wire.ended()).startswith(b"HTTP/1.1 400")


async def test_what_stands_behind_the_last_request_is_not_looked_at(wire: Wire) -> None:
    """RFC 9112 §9.6."""
    wire.ask(wire.pixel, "Connection: close")
    wire.ask("/nothing")
    wire.writer.write(b"\x01\r\n\r\n")
    assert (await wire.answer())[1] == GIF
    assert await wire.ended() == b""


async def test_who_reads_late_gets_all_of_it_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is more than the connection holds waits; nothing is dropped."""
    made, pause, pauses = AtOnceProtocol.connection_made, AtOnceProtocol.pause_writing, 0

    def connection_made(self: AtOnceProtocol, transport: asyncio.Transport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2_048)
        transport.set_write_buffer_limits(high=1_000)
        made(self, transport)

    def pause_writing(self: AtOnceProtocol) -> None:
        nonlocal pauses
        pauses += 1
        pause(self)

    monkeypatch.setattr(AtOnceProtocol, "connection_made", connection_made)
    monkeypatch.setattr(AtOnceProtocol, "pause_writing", pause_writing)
    async with _wire(tmp_path) as wire:
        reading = cast("asyncio.ReadTransport", wire.writer.transport)
        wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        reading.pause_reading()
        for _ in range(40):
            wire.ask(wire.pixel)
            wire.ask(wire.link)
        await until(lambda: pauses > 0)
        reading.resume_reading()
        answers = [(await wire.answer())[0].split()[1] for _ in range(80)]
    assert answers == [b"200", b"302"] * 40


async def test_the_page_is_found_below_a_path_that_is_called_as_itself(tmp_path: Path) -> None:
    """What is in front of a path is taken off once."""
    public = Public(port=0, url=f"http://{HOST}/u")
    async with serving(tmp_path, config=Config(data=tmp_path, public=public)) as api:
        whose = await tracked.house(api.store, api.clock)
        (of,) = await tracked.sent(api.store, api.clock, whose)
        token = make(Token(Kind.UNSUBSCRIBE, of), api.keys, HOST)
        assert (await api.public.get(f"/u/u/{token}", headers={"Host": HOST})).status == 200


@dataclass
class Small:
    """A server of the protocol alone, which answers "ok"; `asked` is called at each request."""

    address: tuple[str, int]
    connections: list[weakref.ref[AtOnceProtocol]]
    asked: Callable[[], None] = lambda: None


@pytest.fixture
async def small() -> AsyncIterator[Small]:
    def at_once(scope: Scope) -> Answer:
        found.asked()
        return Answer(200, b"content-length: 2\r\n", b"ok")

    async def later(scope: Scope, receive: Receive, send: Send) -> None:
        answer = at_once(scope)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.fields})
        await send({"type": "http.response.body", "body": answer.body})

    config = uvicorn.Config(later, interface="asgi3", ws="none", log_config=None)
    config.load()
    state, outgoing = ServerState(), Outgoing()

    def connected() -> AtOnceProtocol:
        one = AtOnceProtocol(config=config, server_state=state, app_state={}, at_once=at_once, outgoing=outgoing)
        found.connections.append(weakref.ref(one))
        return one

    server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0)
    found = Small(server.sockets[0].getsockname(), [])
    yield found
    server.close()
    await server.wait_closed()


_SMALL = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
_SMALL_LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def _all(small: Small, asked: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*small.address)
    writer.write(asked)
    async with asyncio.timeout(30):
        came = await reader.read()
    writer.close()
    await writer.wait_closed()
    return came


async def test_what_was_answered_leaves_before_a_stop_ends_the_connection(small: Small) -> None:
    """A stop in the same turn of the loop, between the answer and its departure."""

    def stop() -> None:
        one = small.connections[0]()
        assert one is not None
        asyncio.get_running_loop().call_soon(one.shutdown)

    small.asked = stop
    assert (await _all(small, _SMALL)).endswith(b"\r\n\r\nok")


async def test_who_asks_for_much_at_once_lets_others_in_between(small: Small) -> None:
    """O9: a stranger must not decide how long everybody waits."""
    turn = most = 0

    def next_turn() -> None:
        nonlocal turn
        turn = 0

    def asked() -> None:
        nonlocal turn, most
        if not turn:
            asyncio.get_running_loop().call_soon(next_turn)
        turn += 1
        most = max(most, turn)

    small.asked = asked
    assert (await _all(small, _SMALL * 50 + _SMALL_LAST)).count(b"\r\n\r\nok") == 51
    assert most <= 2


async def test_a_connection_that_has_ended_is_forgotten_without_the_garbage_collector(small: Small) -> None:
    gc.disable()
    try:
        assert (await _all(small, _SMALL_LAST)).endswith(b"\r\n\r\nok")
        await until(lambda: small.connections[0]() is None, timeout=10)
    finally:
        gc.enable()
