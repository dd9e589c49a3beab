"""Fault S03: memory stays flat whatever a client sends; measured at the peak of a process that does nothing else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.edge import MAIL
from tests.support.smtp_client import SmtpClient, connected

MIB = 2**20
ROOT = Path(__file__).parents[2]


@dataclass
class Running:
    pid: int
    port: int
    address: str

    def reset_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def memory(self, name: str) -> int:
        """VmRSS, VmHWM in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{name}:"))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.edge_process",
        str(tmp_path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin
    assert process.stdout
    port, address = (await process.stdout.readline()).split()
    yield Running(process.pid, int(port), address.decode())
    process.stdin.close()
    await process.wait()


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
