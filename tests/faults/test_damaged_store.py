"""A database that is damaged, has lost its log, or is of another release (D09): one clear sentence, or an upgrade that loses nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.crash.clients import Client
from tests.crash.relay import Relay, relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, check, read_books
from tests.support.sink import world


async def _with_mail(one: Relay, ledger: Ledger, mails: int = 5) -> None:
    one.start()
    client = Client(one, ledger)
    async with client.session("edge") as edge, client.session("submissions") as submissions:
        for _ in range(mails):
            assert await client.edge(edge) is Said.ACK
            assert await client.submission(submissions) is Said.ACK
    await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed and sent")


def _refusal(one: Relay) -> str:
    """Start it where it must not; its last sentence."""
    before = len(one.log)
    one.launch()
    assert one.wait() == 1
    said = one.log[before:]
    assert "Traceback" not in said, said
    assert '"daemon.ready"' not in said
    last = json.loads(said.strip().splitlines()[-1])
    assert last["event"] == "daemon.stopped"
    return str(last["because"])


@pytest.mark.parametrize("damage", ["header", "schema", "truncated"])
async def test_fault_d09_a_damaged_database_is_refused_in_one_sentence(tmp_path: Path, damage: str) -> None:
    with world() as around, relay(tmp_path, around) as one:
        await _with_mail(one, Ledger())
        assert one.stop() == 0
        database = one.data_folder / "mailrelay.db"
        with database.open("r+b") as file:
            if damage == "truncated":
                file.truncate(20_000)
            else:
                file.seek(0 if damage == "header" else 100)
                file.write(b"\xff" * (100 if damage == "header" else 16_000))
        assert _refusal(one).startswith("The database cannot be trusted any more: ")


async def test_fault_d09_damage_that_shows_later_ends_the_process_before_a_250(tmp_path: Path) -> None:
    with world() as around, relay(tmp_path, around) as one:
        ledger = Ledger()
        await _with_mail(one, ledger, mails=30)
        assert one.stop() == 0
        database = one.data_folder / "mailrelay.db"
        size = database.stat().st_size
        with database.open("r+b") as file:
            file.seek(2 * 16_384)
            file.write(b"\xff" * (size - 2 * 16_384))
        before = len(one.log)
        one.launch()
        assert await asyncio.to_thread(one.wait) == 1
        said = one.log[before:]
        assert "cannot be trusted any more" in said.strip().splitlines()[-1], said[-2000:]
        assert "arrival.accepted" not in said


@pytest.mark.parametrize("missing", ["mailrelay.db-wal", "mailrelay.db"])
async def test_fault_d09_a_log_that_is_gone_after_a_kill_is_not_taken_for_no_log(tmp_path: Path, missing: str) -> None:
    ledger = Ledger()
    with world() as around, relay(tmp_path, around) as one:
        await _with_mail(one, ledger)
        one.kill()
        gone = one.data_folder / missing
        aside = gone.rename(tmp_path / "aside")
        sentence = _refusal(one)
        assert str(gone) in sentence
        assert "may be lost" in sentence
        # As it says: put back, nothing is lost.
        aside.rename(gone)
        one.start()
        await asyncio.to_thread(until, lambda: not one.in_flight(), "nothing is left")
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    check(ledger, books, around.sink)


async def test_fault_d09_after_an_orderly_end_there_is_no_log_and_no_complaint(tmp_path: Path) -> None:
    ledger = Ledger()
    with world() as around, relay(tmp_path, around) as one:
        for _ in range(2):
            await _with_mail(one, ledger, mails=1)
            assert one.stop() == 0
            left = {path.name for path in one.data_folder.iterdir()}
            assert not left & {"open", "mailrelay.db-wal"}, left
        books = await read_books(one.data_folder)
    check(ledger, books, around.sink)
