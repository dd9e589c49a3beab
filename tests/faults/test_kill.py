"""Kill −9 at any instant: what was acknowledged is there once and is delivered (O1, D03, D11)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from mailrelay.model.envelope import Channel
from tests.crash.clients import Client
from tests.crash.relay import relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, check, read_books
from tests.support.sink import world

ROUNDS = 10
# Q03: a mail on which the process ended three times is set aside. Here it is the test that ends it, more often.
SETTINGS = {"filing": {"max_attempts": 3 * ROUNDS}}


@pytest.mark.timeout(240)
async def test_fault_d03_kill_at_random_moments_under_load(tmp_path: Path) -> None:
    ledger = Ledger()
    moments = random.Random()
    with world() as around, relay(tmp_path, around, SETTINGS) as one:
        client = Client(one, ledger)
        for _ in range(ROUNDS):
            one.start()
            over = asyncio.Event()
            sending = asyncio.create_task(client.load(over.is_set, edge=10, submission=3, api=2))
            await asyncio.sleep(moments.uniform(0.3, 1.2))
            one.kill()
            over.set()
            await sending
        one.start()
        await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed and sent", seconds=60)
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    for channel in (Channel.DROPBOX, Channel.SUBMISSION, Channel.API):
        assert ledger.count(Said.ACK, channel), channel
    check(ledger, books, around.sink)
