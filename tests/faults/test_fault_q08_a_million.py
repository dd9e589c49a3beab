"""Q08: very much is queued. The daemon is ready soon, takes mail meanwhile, and its memory does not grow with the queue.

A million rows take more than the minute that continuous integration has for them: it takes 300,000. MAILRELAY_TEST_ROWS says how many.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from mailrelay.ids import DeliveryId
from mailrelay.model.envelope import Channel
from mailrelay.store.base import Tx
from mailrelay.store.sqlite import SqliteStore
from mailrelay.store.tables import delivery
from tests.crash.clients import Client
from tests.crash.relay import Relay, relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said
from tests.support.many import multiply
from tests.support.sink import world

ROWS = int(os.environ.get("MAILRELAY_TEST_ROWS", "300000"))
READY = 30.0
MEMORY = 200_000_000
"""Bytes by which the queue may make the daemon larger: pages of the database that are kept, and what is under way."""


def _first(tx: Tx) -> DeliveryId:
    return DeliveryId(tx.execute(select(delivery.c.id).limit(1)).scalar_one())


async def _fill(folder: Path) -> float:
    began = time.monotonic()
    store = SqliteStore(folder / "mailrelay.db")
    try:
        original = await store.read(_first)
        await store.write(multiply, original, ROWS, domains=1000)
    finally:
        await store.close()
    return time.monotonic() - began


def _memory(one: Relay) -> int:
    """The most that it ever had."""
    lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
    (most,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(most) * 1024


async def _latency(client: Client, number: int = 20) -> float:
    spent = []
    async with client.session("edge") as session:
        for _ in range(number):
            began = time.monotonic()
            assert await client.edge(session) is Said.ACK
            spent.append(time.monotonic() - began)
    return statistics.median(spent)


@pytest.mark.timeout(600)
async def test_fault_q08_a_million_queued_ready_soon_accepting_and_memory_bounded(tmp_path: Path) -> None:
    ledger = Ledger()
    with world() as around, relay(tmp_path, around, {"log": {"level": "warning"}}) as one:
        client = Client(one, ledger)
        one.start()
        async with client.session("submissions") as session:
            assert await client.submission(session) is Said.ACK
        alone = await _latency(client)
        await asyncio.to_thread(until, lambda: not one.in_flight(), "the first is sent")
        small = _memory(one)
        assert one.stop() == 0

        built = await _fill(one.data_folder)
        began = time.monotonic()
        one.start()
        ready = time.monotonic() - began
        assert ready < READY
        loaded = await _latency(client)
        assert loaded < alone + 1.0
        # Mail to somebody goes although so many wait: it has its turn among the destinations.
        before = one.metrics()['mailrelay_delivery_ends_total{state="sent"}']
        await asyncio.sleep(5)
        sent = one.metrics()['mailrelay_delivery_ends_total{state="sent"}'] - before
        assert sent > 50
        grown = _memory(one) - small
        assert grown < MEMORY
        assert one.stop() == 0
    assert ledger.count(Said.ACK, Channel.DROPBOX) == 40
    print(
        f"{ROWS} rows built in {built:.0f} s; ready after {ready:.1f} s; a mail is taken in {alone * 1000:.0f} ms alone and in"
        f" {loaded * 1000:.0f} ms; {sent / 5:.0f} sent a second; memory +{grown / 1e6:.0f} MB on {small / 1e6:.0f} MB"
    )
