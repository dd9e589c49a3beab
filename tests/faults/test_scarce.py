"""No descriptors left (D06), no memory left (D07): refused for now, no spinning, nobody killed, and over when there is more."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from mailrelay.model.envelope import Channel
from tests.crash.cgroup import memory_group
from tests.crash.clients import Client
from tests.crash.relay import relay
from tests.support import smtp_client
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, check, read_books
from tests.support.postfix import free_port
from tests.support.sink import world

SENDERS = 200 if "MAILRELAY_TEST_EVERY_WRITE" in os.environ else 12
_LARGE = 25_000_000
_TAKES = "taken = bytearray(b'x') * 66_000_000; __import__('sys').stdin.read()"


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _takes_mail_again(client: Client) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                async with client.session("edge") as session:
                    if await client.edge(session) is Said.ACK:
                        return
            except (OSError, EOFError):
                pass
            await asyncio.sleep(0.1)


async def test_fault_d06_without_descriptors_it_says_421_does_not_spin_and_recovers(tmp_path: Path) -> None:
    ledger = Ledger()
    with world() as around, relay(tmp_path, around) as one:
        one.start(("/bin/bash", "-c", 'ulimit -n 64 && exec "$@"', "bash"))
        client = Client(one, ledger)
        async with client.session("edge") as edge, client.session("submissions") as submissions:
            many = [await asyncio.open_connection("127.0.0.1", one.port("edge")) for _ in range(120)]
            greetings = Counter[bytes]()
            for reader, _ in many:
                try:
                    async with asyncio.timeout(30):
                        greetings[(await reader.readline())[:4]] += 1
                except ConnectionError:
                    greetings[b""] += 1
            assert greetings[b"421 "] > 50, greetings
            assert greetings[b"220 "] > 5, greetings
            began, used = time.monotonic(), _cpu_seconds(one.pid)
            await asyncio.sleep(2)
            share = (_cpu_seconds(one.pid) - used) / (time.monotonic() - began)
            assert share < 0.2, f"{share:.0%} of a processor"
            # What is left is enough for the store, the queue and the operator.
            assert await client.edge(edge, size=80_000) is Said.ACK, ledger.mails
            assert await client.submission(submissions, size=80_000) is Said.ACK, ledger.mails
            await asyncio.to_thread(until, lambda: not one.in_flight(), "it is filed and sent, all the same")
            for _, writer in many:
                writer.close()
        await _takes_mail_again(client)  # once it has noticed that they hung up
        await asyncio.to_thread(until, lambda: not one.in_flight(), "it is filed")
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    check(ledger, books, around.sink)


@pytest.mark.timeout(300)
async def test_fault_d07_in_256_mb_many_large_mails_get_421_and_nothing_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_client, "LATE", 90.0)
    ledger = Ledger()
    with memory_group(256_000_000) as group, world() as around:
        nowhere = dataclasses.replace(around, sink=dataclasses.replace(around.sink, port=free_port()))
        settings = {"inbound": {"max_size": 26_000_000, "data_timeout": 120.0}, "submission": {"password_rounds": 4}}
        with relay(tmp_path, nowhere, settings) as one:
            one.start(group.wrapper)
            client = Client(one, ledger)

            async def send(number: int) -> None:
                try:
                    if number % 4:
                        async with client.session("edge") as session:
                            await client.edge(session, size=_LARGE)
                    else:
                        async with client.session("submissions") as session:
                            await client.submission(session, size=_LARGE)
                except (OSError, EOFError, TimeoutError):
                    refused[number] += 1

            refused = Counter[int]()
            for first in range(0, SENDERS, 40):  # forty large mails at a time fit into the test's own memory
                await asyncio.gather(*(send(number) for number in range(first, min(first + 40, SENDERS))))
                assert one.exit_status is None, one.log[-2000:]
            assert group.kills == 0
            said = {mail.answer[:4] for mail in ledger.mails if mail.said is not Said.ACK}
            assert said <= {"421 ", "452 "}, said
            await _takes_mail_again(client)
            filed = ledger.count(Said.ACK)

            def all_filed() -> bool:
                assert one.exit_status is None, one.log[-2000:]
                return one.log.count('"arrival.ended"') >= filed

            await asyncio.to_thread(until, all_filed, "everything is filed", seconds=120, pause=0.5)
            # Somebody else in the group takes what is left: nothing new is begun until it is over.
            command = [*group.wrapper, sys.executable, "-c", _TAKES]
            with subprocess.Popen(command, stdin=subprocess.PIPE) as other:  # noqa: ASYNC220
                await asyncio.sleep(2)
                reader, writer = await asyncio.open_connection("127.0.0.1", one.port("edge"))
                greeting = await reader.readline()
                writer.close()
                other.communicate()
            assert greeting.startswith(b"421 4.3.2"), greeting
            await _takes_mail_again(client)
            assert group.kills == 0
            print(Counter((mail.said, mail.answer[:9]) for mail in ledger.mails), dict(refused))
            one.kill()
    assert ledger.count(Said.ACK, Channel.DROPBOX) > 1
