"""A backup while the daemon runs under load, restored elsewhere (D14, R5): everything acknowledged before it, whole, and nothing half."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from pathlib import Path

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import Channel
from mailrelay.outbound.job import JOB_FIELD
from tests.crash import runner
from tests.crash.clients import Client, content
from tests.crash.relay import relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, kept_messages, read_books
from tests.support.postfix import free_port
from tests.support.sink import world

PROGRAM = Path(sys.executable).with_name("mailrelay")
_SETTINGS = {"store": {"small_body": 8_000}}


def _backup(config: Path, to: Path) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "backup", "--config", config, to]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


async def test_fault_d14_a_backup_under_load_is_of_one_instant_and_starts_elsewhere(tmp_path: Path) -> None:
    ledger = Ledger()
    with world() as around, relay(tmp_path / "1", around, _SETTINGS) as one:
        one.start()
        client = Client(one, ledger)
        over = asyncio.Event()
        sizes = iter(lambda: (2_000, 30_000)[len(ledger.mails) % 2], None)
        sending = asyncio.create_task(client.load(over.is_set, edge=2, submission=2, api=1, size=lambda: next(sizes)))
        for number in (1, 2, 3):
            await asyncio.sleep(0.7)
            acknowledged = {mail.id for mail in ledger.mails if mail.said is Said.ACK}
            made = await asyncio.to_thread(_backup, tmp_path / "1" / "mailrelay.yaml", tmp_path / f"backup-{number}")
            assert made.returncode == 0, made.stderr
            kept = await kept_messages(tmp_path / f"backup-{number}")
            assert not [id_ for id_ in acknowledged if kept[id_] != 1]
        over.set()
        await sending
        again = await asyncio.to_thread(_backup, tmp_path / "1" / "mailrelay.yaml", tmp_path / "backup-3")
        assert again.returncode == 65
        assert "is there already" in again.stderr
        assert one.stop() == 0
        # On another host, from where nothing can be sent yet.
        nowhere = dataclasses.replace(around, sink=dataclasses.replace(around.sink, port=free_port()))
        with relay(tmp_path / "2", nowhere, _SETTINGS, data=tmp_path / "backup-3") as other:
            await asyncio.to_thread((tmp_path / "2").mkdir)
            runner.write(tmp_path / "2" / "house.json", one.house)
            other.start()
            audit = await asyncio.to_thread(other.local, "/api/v1/audit")
            assert audit["balanced"], audit
            async with Client(other, ledger).session("edge") as edge:
                assert await Client(other, ledger).edge(edge) is Said.ACK
            other.kill()
        stopped = await asyncio.to_thread(_backup, tmp_path / "1" / "mailrelay.yaml", tmp_path / "of-a-stopped-one")
        assert stopped.returncode == 0, stopped.stderr
    for channel in (Channel.DROPBOX, Channel.SUBMISSION, Channel.API):
        assert ledger.count(Said.ACK, channel), channel


async def test_fault_d14_a_body_that_is_missing_is_said_and_nothing_is_kept(tmp_path: Path) -> None:
    with world() as around, relay(tmp_path / "1", around, _SETTINGS) as one:
        one.start()
        client = Client(one, Ledger())
        async with client.session("edge") as edge:
            assert await client.edge(edge, size=30_000) is Said.ACK
        (body,) = [path for path in (one.data_folder / "blobs").rglob("*") if len(path.name) == 64]
        body.unlink()
        made = await asyncio.to_thread(_backup, tmp_path / "1" / "mailrelay.yaml", tmp_path / "backup")
    assert made.returncode == 65
    assert f"The body {body.name} is missing" in made.stderr
    assert not list(tmp_path.glob("backup*"))  # noqa: ASYNC240


async def test_fault_d14_a_restored_queue_sends_no_mass_mail_twice_and_single_mail_once_more_at_most(
    tmp_path: Path,
) -> None:
    mails = [(f"{kind}-{number}@mail.test", f"{kind}{number}@customer.test") for kind in "js" for number in range(6)]
    with world() as around, relay(tmp_path / "1", around) as one:
        one.start()
        around.sink.holds = True  # all of it is under way, or waits for its turn
        async with Client(one, Ledger()).session("submissions") as session:
            for id_, to in mails:
                mail = content(id_, to, 1_000)
                mail = f"{JOB_FIELD}: spring\r\n".encode() + mail if id_.startswith("j") else mail
                assert (await session.mail([to], mail)).code == 250
        made = await asyncio.to_thread(_backup, tmp_path / "1" / "mailrelay.yaml", tmp_path / "backup")
        assert made.returncode == 0, made.stderr
        assert not around.sink.copies
        around.sink.holds = False
        await asyncio.to_thread(until, lambda: not one.in_flight(), "the first has sent all of it")
        assert one.stop() == 0
        assert set(around.sink.copies.values()) == {1}

        with relay(tmp_path / "2", around, data=tmp_path / "backup") as other:
            await asyncio.to_thread((tmp_path / "2").mkdir)
            runner.write(tmp_path / "2" / "house.json", one.house)
            for start in (1, 2):
                other.start()
                await asyncio.to_thread(until, lambda: other.in_flight() == 6, "what goes has gone")
                assert other.log.count('"store.restored"') == 1, start
                assert other.stop() == 0
            books = await read_books(tmp_path / "backup")
        assert not [one for one in books.audit.balances if one.unaccounted]
        for place in mails:
            mass = place[0].startswith("j")
            assert books.states[place] == (DeliveryState.HELD if mass else DeliveryState.SENT)
            assert around.sink.copies[place] == (1 if mass else 2), place
        assert '"held": 6' in other.log
        assert '"due": 6' in other.log
