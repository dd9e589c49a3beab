"""Fault S03: memory stays flat whatever a client sends; measured at the peak of a process that does nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.edge import MAIL
from tests.support.edge_process import Running, edge_process
from tests.support.smtp_client import SmtpClient, connected

MIB = 2**20


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with edge_process(tmp_path) as running:
        yield running


async def begin(client: SmtpClient, server: Running) -> None:
    await client.ehlo()
    await client.say("MAIL FROM:<anna@example.com>")
    await client.say(f"RCPT TO:<{server.address}>")
    assert (await client.say("DATA")).code == 354


async def send(client: SmtpClient, piece: bytes, total: int) -> None:
    with suppress(ConnectionError):  # cut off in the middle is well
        for _ in range(total // len(piece)):
            client.send(piece)
            await client.writer.drain()


@pytest.mark.parametrize(
    "piece",
    [b"x" * 65_536, b"\r" * 65_536, (b"x" * 76 + b"\r\n") * 840],
    ids=["no line end at all", "bare CR", "short lines"],
)
async def test_fault_s03_200_mib_of_content_do_not_fill_the_memory(server: Running, piece: bytes) -> None:
    for content in (MAIL, MAIL + (b"x" * 76 + b"\r\n") * 20_000):  # what is loaded and allocated once
        async with connected(server.port) as client:
            await begin(client, server)
            assert (await client.content(content)).code == 250
    before = server.memory("VmRSS")
    server.reset_peak()
    async with connected(server.port) as client:
        await begin(client, server)
        client.send(MAIL)
        await send(client, piece, 200 * MIB)
        with suppress(ConnectionError, EOFError):
            assert (await client.reply()).code in (552, 500)
    assert server.memory("VmHWM") - before < 2 * MIB


async def test_fault_s04_an_endless_command_does_not_fill_the_memory(server: Running) -> None:
    async with connected(server.port) as client:
        await client.ehlo()
        await client.say(b"NOOP " + b"x" * 60_000)
        before = server.memory("VmRSS")
        server.reset_peak()
        await send(client, b"x" * 65_536, 50 * MIB)
    assert server.memory("VmHWM") - before < 2 * MIB


async def test_a_mail_within_the_limit_is_not_held_in_memory(server: Running) -> None:
    async with connected(server.port) as client:
        await begin(client, server)
        assert (await client.content(MAIL + (b"x" * 76 + b"\r\n") * 20_000)).code == 250
        before = server.memory("VmRSS")
        server.reset_peak()
        await client.say("MAIL FROM:<anna@example.com>")
        await client.say(f"RCPT TO:<{server.address}>")
        await client.say("DATA")
        client.send(MAIL)
        await send(client, (b"x" * 76 + b"\r\n") * 840, 20 * MIB)
        assert (await client.content(b"")).code == 250
    assert server.memory("VmHWM") - before < 2 * MIB


async def test_tls_and_its_failures_on_the_daemons_own_loop(server: Running) -> None:
    for _ in range(2):
        async with connected(server.port) as client:
            await client.ehlo()
            await client.starttls()
            await client.ehlo()
            assert (await client.mail(server.address, MAIL + (b"x" * 76 + b"\r\n") * 20_000)).code == 250
            assert (await client.say("QUIT")).code == 221
            assert await client.closed()
        for said in (b"garbage\r\n\r\n", b""):
            async with connected(server.port) as client:
                await client.ehlo()
                assert (await client.say("STARTTLS")).code == 220
                client.send(said)
                assert await client.closed()
        async with connected(server.port) as client:
            await client.ehlo()
            client.send(b"STARTTLS\r\nNOOP\r\n")
            assert (await client.reply()).code == 554
            assert await client.closed()
