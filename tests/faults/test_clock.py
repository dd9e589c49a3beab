"""The clock jumps while monotonic time goes on (Q01), and dates are far off (Q02): no storm, no early expiry, mail goes on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.crash.clients import Client
from tests.crash.relay import relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, check, read_books
from tests.support.peers import need
from tests.support.sink import world

# With MAILRELAY_TEST_EVERY_WRITE=1 all of them.
DATES = ["@2038-01-19 03:14:00", "@2099-12-31 23:59:50", "@2028-02-29 12:00:00"]
DATES = DATES if "MAILRELAY_TEST_EVERY_WRITE" in os.environ else DATES[:1]


def _faketime(folder: Path) -> tuple[tuple[str, ...], Path]:
    """A wrapper, and the file whose offset it follows within a second."""
    file = folder / "clock"
    file.write_text("+0")
    need("faketime")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    variables = (
        f"LD_PRELOAD={library}",
        f"FAKETIME_TIMESTAMP_FILE={file}",
        "FAKETIME_CACHE_DURATION=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "DONT_FAKE_MONOTONIC=1",
    )
    return ("/usr/bin/env", "-u", "TZ", *variables), file


@pytest.mark.parametrize(
    "jumps", [["+365d"], ["-2h"], ["+60", "+3600", "-60", "-3600", "+0"]], ids=["year", "back", "steps"]
)
async def test_fault_q01_the_clock_jumps_and_nothing_expires_or_storms(tmp_path: Path, jumps: list[str]) -> None:
    ledger = Ledger()
    with world() as around, relay(tmp_path, around) as one:
        wrapper, clock = _faketime(tmp_path)
        one.start(wrapper)
        client = Client(one, ledger)
        around.sink.delay = 2.5  # attempts are under way when it jumps
        async with client.session("submissions") as session, client.session("edge") as edge:
            for jump in jumps:
                assert await client.submission(session) is Said.ACK
                assert await client.edge(edge) is Said.ACK
                clock.write_text(jump)
                await asyncio.sleep(1.2)
            around.sink.delay = 0
            assert await client.submission(session) is Said.ACK
            assert await client.edge(edge) is Said.ACK
        await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed and sent")
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    # Each went once: no attempt was taken for dead, and none given up, because a clock said so.
    assert max(around.sink.copies.values()) == 1
    assert "delivery.expired" not in one.log
    check(ledger, books, around.sink)


@pytest.mark.parametrize("at", DATES)
async def test_fault_q02_far_dates_without_a_time_zone_are_dates_like_any(tmp_path: Path, at: str) -> None:
    ledger = Ledger()
    with world() as around, relay(tmp_path, around) as one:
        wrapper, clock = _faketime(tmp_path)
        clock.write_text(at)
        one.start(wrapper)
        client = Client(one, ledger)
        async with client.session("submissions") as session, client.session("edge") as edge:
            for _ in range(3):
                assert await client.submission(session) is Said.ACK
                assert await client.edge(edge) is Said.ACK
                await asyncio.sleep(0.5)
        await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed and sent")
        assert f'"at": "{at[1:3]}' in one.log, one.log[-500:]
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    check(ledger, books, around.sink)
