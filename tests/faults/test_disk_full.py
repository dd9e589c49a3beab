"""No space left (D05): refused for now in plain words, what was taken goes on, and it is over when there is space again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.crash.clients import Client
from tests.crash.disk import remount, tmpfs
from tests.crash.relay import relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, check, read_books
from tests.support.sink import world

_SETTINGS = {"inbound": {"max_size": 2_000_000}, "store": {"small_body": 8_000}}


@pytest.mark.parametrize(
    ("before", "after"), [("size=60m", "size=90m"), ("size=90m,nr_inodes=60", "size=90m,nr_inodes=1000")]
)
async def test_fault_d05_a_full_disk_is_452_and_507_and_it_recovers(tmp_path: Path, before: str, after: str) -> None:
    ledger = Ledger()
    with world() as around, tmpfs(tmp_path / "d", before) as disk, relay(tmp_path, around, _SETTINGS, data=disk) as one:
        one.start()
        client = Client(one, ledger)
        async with (
            client.session("edge") as edge,
            client.session("submissions") as submissions,
            aiohttp.ClientSession() as api,
        ):
            full: set[str] = set()
            for turn in range(150):
                size = (2_000, 1_000_000)[turn % 2]
                for kind, said in (
                    ("edge", await client.edge(edge, size=size)),
                    ("submission", await client.submission(submissions, size=size)),
                    ("api", await client.api(api, size=size)),
                ):
                    if said is not Said.ACK:
                        full.add(kind)
                if len(full) == 3:
                    break
            assert full == {"edge", "submission", "api"}
            refused = [mail for mail in ledger.mails if mail.said is not Said.ACK]
            assert {mail.said for mail in refused} == {Said.NACK}, refused
            assert {mail.answer.partition("(")[0][:9] for mail in refused if mail.channel != "api"} == {"452 4.3.1"}
            assert {mail.answer[:3] for mail in refused if mail.channel == "api"} == {"507"}
            assert one.exit_status is None
            # The queue drains, since some space is kept for that.
            await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed and sent")
            assert list((disk / "blobs" / "incoming").iterdir()) == []
            await asyncio.to_thread(remount, disk, after)
            for said in (
                await client.edge(edge, size=40_000),
                await client.submission(submissions, size=40_000),
                await client.api(api, size=40_000),
            ):
                assert said is Said.ACK, ledger.mails[-3:]
        await asyncio.to_thread(until, lambda: not one.in_flight(), "the last are filed and sent")
        assert one.stop() == 0
        books = await read_books(disk)
    check(ledger, books, around.sink)
