"""The tools that other tests make faults with do what they say."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.fault_proxy import Cut, FaultProxy, fault_proxy
from tests.support.netns import Network, network
from tests.support.smtp_sink import smtp_sink


@contextlib.asynccontextmanager
async def _echo() -> AsyncIterator[FaultProxy]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1000):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with fault_proxy(server.sockets[0].getsockname()[1]) as proxy:
            yield proxy
    finally:
        server.close()
        await server.wait_closed()


async def _said(proxy: FaultProxy, what: bytes, wait: float = 5) -> bytes:
    """What comes back until the end; TimeoutError when there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(what)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), wait)
    finally:
        writer.close()


async def test_a_proxy_without_faults_changes_nothing() -> None:
    async with _echo() as proxy:
        assert await _said(proxy, b"x" * 200_000) == b"x" * 200_000
        assert proxy.connections == 1


async def test_a_connection_is_cut_at_the_byte() -> None:
    async with _echo() as proxy:
        proxy.to_client.cut_at = 7
        assert await _said(proxy, b"0123456789") == b"0123456"


async def test_a_connection_is_reset() -> None:
    async with _echo() as proxy:
        proxy.to_server.cut_at, proxy.to_server.cut = 3, Cut.RESET
        with pytest.raises(ConnectionResetError):
            await _said(proxy, b"0123456789")


async def test_a_half_open_connection_says_nothing_and_does_not_end() -> None:
    async with _echo() as proxy:
        proxy.to_server.cut_at, proxy.to_server.cut = 3, Cut.SILENCE
        with pytest.raises(TimeoutError):
            await _said(proxy, b"0123456789", wait=0.3)
        assert proxy.to_server.passed == 3


async def test_bytes_trickle_and_come_late() -> None:
    async with _echo() as proxy:
        proxy.to_client.bytes_per_second, proxy.to_server.delay = 50, 0.1
        began = time.monotonic()
        assert await _said(proxy, b"0123456789") == b"0123456789"
        assert time.monotonic() - began > 0.25


def _ask(net: Network, port: int, wait: float = 30) -> bytes:
    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection(net.far.address, port)
        writer.write(b"hello\n")
        answer = await reader.readline()
        writer.close()
        return answer

    return asyncio.run(asyncio.wait_for(ask(), wait))


async def test_a_wire_between_namespaces_carries_and_swallows() -> None:
    with network() as net, net.far.listen() as listening:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(serve, sock=listening)
        port = listening.getsockname()[1]
        assert await asyncio.to_thread(net.near.call, _ask, net, port) == b"hello\n"
        net.black_hole()
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(net.near.call, _ask, net, port, 0.5)
        net.heal()
        assert await asyncio.to_thread(net.near.call, _ask, net, port) == b"hello\n"
        server.close()
        await server.wait_closed()


async def test_smtp_sink_fails_where_it_is_told_to_and_keeps_what_it_takes(tmp_path: Path) -> None:
    async def say(port: int, *lines: bytes) -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = [await reader.readline()]
        for line in lines:
            writer.write(line + b"\r\n")
            answers.append(await reader.readline())
        writer.close()
        return [one[:3] for one in answers]

    mail = (b"HELO us.test", b"MAIL FROM:<a@a.test>", b"RCPT TO:<b@b.test>", b"DATA", b"Subject: kept\r\n\r\nbody\r\n.")
    with smtp_sink(keep=tmp_path / "kept") as sink:
        assert await say(sink.port, *mail) == [b"220", b"250", b"250", b"250", b"354", b"250"]
        assert [b"Subject: kept" in one for one in sink.messages()] == [True]
    with smtp_sink("-r", "RCPT") as sink:
        assert (await say(sink.port, *mail[:3]))[-1] == b"450"
