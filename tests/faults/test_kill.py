"""Kill −9 at any instant: what was acknowledged is there once and is delivered (O1, D03, D11)."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mailrelay.model.envelope import Channel
from tests.crash.clients import Client
from tests.crash.relay import relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, check, read_books
from tests.support.sink import world

ROUNDS = 30 if "MAILRELAY_TEST_EVERY_WRITE" in os.environ else 6
_DOORS = (Channel.DROPBOX, Channel.SUBMISSION, Channel.API)
# Q03: a mail on which the process ended three times is set aside. Here it is the test that ends it, more often.
SETTINGS = {"filing": {"max_attempts": 3 * ROUNDS}, "delivery": {"max_faults": 3 * ROUNDS}}


@pytest.mark.timeout(240)
async def test_fault_d03_kill_at_random_moments_under_load(tmp_path: Path) -> None:
    ledger = Ledger()
    moments = random.Random()
    with world() as around, relay(tmp_path, around, SETTINGS) as one:
        client = Client(one, ledger)
        for number in range(ROUNDS):
            one.start()
            over = asyncio.Event()
            sending = asyncio.create_task(client.load(over.is_set, edge=10, submission=3, api=2))
            # Not before work is under way, however slow the machine; in each round another door has taken something.
            door = _DOORS[number % len(_DOORS)]
            await asyncio.to_thread(until, _took(ledger, door), f"{door} has taken one")
            await asyncio.sleep(moments.uniform(0, 0.8))
            one.kill()
            over.set()
            await sending
        one.start()
        await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed and sent", seconds=60)
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    for channel in _DOORS:
        assert ledger.count(Said.ACK, channel), channel
    check(ledger, books, around.sink)


def _took(ledger: Ledger, door: Channel) -> Callable[[], bool]:
    """Whether this door has acknowledged more than it had."""
    before = ledger.count(Said.ACK, door)
    return lambda: ledger.count(Said.ACK, door) > before
