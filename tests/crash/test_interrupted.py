"""Killed between the remote's 250 and our note of it (D11); two daemons on one folder (D12); stopped under load (D13)."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mailrelay.model.envelope import Channel
from tests.crash.clients import Client
from tests.crash.relay import relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, check, read_books
from tests.support.sink import world


@pytest.mark.parametrize("answered", [True, False])
async def test_fault_d11_killed_between_their_250_and_our_note_it_comes_at_most_twice(
    tmp_path: Path, answered: bool
) -> None:
    ledger = Ledger()
    with world() as around, relay(tmp_path, around) as one:
        one.start()

        def frozen_then_killed() -> None:
            # Not one instruction of ours runs once the sink has taken it, whether its 250 was sent or not.
            one.freeze()
            if answered:
                around.sink.after_answer = lambda: os.kill(one.pid, signal.SIGKILL)
            else:
                os.kill(one.pid, signal.SIGKILL)

        around.sink.on_dot = frozen_then_killed
        client = Client(one, ledger)
        async with client.session("submissions") as session:
            assert await client.submission(session) is Said.ACK
        assert await asyncio.to_thread(one.wait) == -signal.SIGKILL
        one.start()
        await asyncio.to_thread(until, lambda: not one.in_flight(), "it is sent")
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    (mail,) = ledger.mails
    assert around.sink.copies == {(mail.id, mail.correspondent): 2}  # under the same Message-ID
    assert books.cut_off == {(mail.id, mail.correspondent): 1}
    check(ledger, books, around.sink)


async def test_fault_d12_a_second_daemon_on_the_same_folder_refuses(tmp_path: Path) -> None:
    with (
        world() as around,
        relay(tmp_path / "1", around, data=tmp_path / "data") as first,
        relay(tmp_path / "2", around, data=tmp_path / "data") as second,
    ):
        first.start()
        second.launch()
        assert second.wait() == 1
        said = [line for line in second.log.splitlines() if "daemon.stopped" in line]
        assert len(said) == 1
        sentence = f"Another mailrelay (process {first.pid}) runs on the data folder {tmp_path / 'data'}; stop it first"
        assert sentence in said[0]
        assert "Traceback" not in second.log
        assert first.in_flight() == 0, "the first was disturbed"
        first.kill()
        first.start()  # a dead one holds no lock
        assert first.stop() == 0


async def test_fault_d13_sigterm_under_load_loses_nothing_and_the_books_balance_all_the_while(tmp_path: Path) -> None:
    ledger = Ledger()
    late: list[Any] = []
    with world() as around, relay(tmp_path, around, {"grace": 10}) as one:
        one.start()
        around.sink.delay = 0.02
        client = Client(one, ledger)
        over = asyncio.Event()
        sending = asyncio.create_task(client.load(over.is_set, edge=8, submission=3, api=2))
        for _ in range(12):
            await asyncio.sleep(0.15)
            balances = await asyncio.to_thread(one.local, "/api/v1/ledger")
            assert [each for each in balances if each["unaccounted"]] == []
            metrics = await asyncio.to_thread(one.metrics)
            assert {v for name, v in metrics.items() if name.startswith("mailrelay_unaccounted_messages")} == {0}
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port("edge"))  # idle at the stop
        await reader.readline()
        assert one.process is not None
        one.process.terminate()
        over.set()
        late.append(await asyncio.wait_for(reader.readline(), 30))
        writer.close()
        await asyncio.wait_for(sending, 30)
        assert await asyncio.to_thread(one.wait) == 0
        stopped = await read_books(one.data_folder)
        assert [each for each in stopped.audit.balances if each.unaccounted] == []
        # What was not finished is finished by the next one.
        one.start()
        await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed and sent", seconds=60)
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    assert late[0].startswith(b"421 ")
    assert not ledger.count(Said.UNKNOWN, Channel.DROPBOX), "a client was left without an answer"
    assert not ledger.count(Said.UNKNOWN, Channel.SUBMISSION)
    assert not sum(books.cut_off.values()), "an attempt was cut off by an orderly stop"
    assert all(copies == 1 for copies in around.sink.copies.values())
    assert ledger.count(Said.ACK)
    check(ledger, books, around.sink)
