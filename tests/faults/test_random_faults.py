"""A disk on which any system call may fail at any time, under load: what was acknowledged is there once and goes out (D04, D05, D10).

The other files here let one known call fail; which of them matters is what nobody thought of, so here libfiu throws dice.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.clients import Client
from tests.crash.relay import Relay, relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, check, read_books
from tests.support.peers import need
from tests.support.sink import world

ROUNDS = 20 if "MAILRELAY_TEST_EVERY_WRITE" in os.environ else 1
_SECONDS = 3.0
_CHANCE = 0.005
_SIZES = (2_000, 6_000)
"""Of mails: kept in the database, and as files."""
# Not read and write: libuv ends the process when what wakes its loop fails, which says nothing of us.
_POINTS = ("posix/io/rw/pread", "posix/io/rw/pwrite", "posix/io/sync/*", "posix/io/dir/*", "posix/io/oc/open")
_SETTINGS = {
    "store": {"small_body": 4_000},
    "filing": {"max_attempts": 1_000, "retry_after": 0.3},
    "delivery": {"max_faults": 1_000, "first_retry": 1},
}


async def _control(one: Relay, *commands: str) -> None:
    """Tell libfiu inside the daemon. One that has ended takes no commands."""
    given = [word for command in commands for word in ("-c", command)]
    asked = await asyncio.create_subprocess_exec(
        *(need("fiu-ctrl"), "-f", one.folder / "fiu", *given, str(one.pid)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    waited = asyncio.create_task(asked.wait())
    try:
        async with asyncio.timeout(30):
            while asked.returncode is None and one.exit_status is None:
                await asyncio.wait([waited], timeout=0.1)
    except TimeoutError:
        raise AssertionError("libfiu does not answer") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            asked.kill()
        await waited


@pytest.mark.timeout(120 if ROUNDS == 1 else 1200)
async def test_fault_d04_calls_that_fail_at_random_under_load_lose_nothing(tmp_path: Path) -> None:
    wrapper = (str(need("fiu-run")), "-x", "-f", str(tmp_path / "fiu"))
    ledger = Ledger()
    sizes = itertools.cycle(_SIZES)
    ended: list[int] = []
    with world() as around, relay(tmp_path, around, _SETTINGS) as one:
        client = Client(one, ledger)
        for _ in range(ROUNDS):
            await asyncio.to_thread(one.start, wrapper)
            over = asyncio.Event()
            load = asyncio.create_task(client.load(over.is_set, edge=3, submission=2, api=1, size=lambda: next(sizes)))
            known = ledger.count(Said.ACK)
            async with asyncio.timeout(30):
                while ledger.count(Said.ACK) < known + 3:  # noqa: ASYNC110 (what is waited for has no event)
                    await asyncio.sleep(0.02)
            await _control(one, *(f"enable_random name={point},probability={_CHANCE}" for point in _POINTS))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SECONDS):
                    while one.exit_status is None:  # noqa: ASYNC110 (what is waited for has no event)
                        await asyncio.sleep(0.05)
            over.set()
            await load
            if one.exit_status is None:
                one.kill()
            else:
                ended.append(one.exit_status)
        assert set(ended) <= {1}, one.log[-3000:]  # it may stop in order, and not die of it
        one.start()
        await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed and sent")
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    assert ledger.count(Said.ACK)
    assert ended or ledger.count(Said.NACK), "the faults were not met"
    # Where a sync fails and undoing the commit fails too, the commit may stand after the start. Its client was told to come again,
    # and is recognised then (S20; where it submits, by its idempotency key, O19).
    mails = [replace(one, said=Said.UNKNOWN) if one.said is Said.NACK else one for one in ledger.mails]
    check(Ledger(mails), books, around.sink)
