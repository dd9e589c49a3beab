"""Submissions and claims on both databases: once under a key (O19), and without reading a table from end to end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from mailrelay.errors import Conflict
from mailrelay.ids import NodeId
from mailrelay.model.delivery import Accepted, DeliveryState
from mailrelay.model.reply import reply
from mailrelay.store import deliveries, delivery_counts, destinations, ledger, nodes, queue
from mailrelay.store.postgres import PostgresStore
from mailrelay.store.queue import Settlement
from mailrelay.store.sqlite import SqliteStore
from tests.store.explain import watched
from tests.support.clock import FakeClock
from tests.support.outbound import relay


async def test_fault_q04_one_key_is_one_message_however_many_come_at_once(
    store: SqliteStore | PostgresStore, clock: FakeClock, tmp_path: Path
):
    async with relay(tmp_path, store=store, clock=clock) as us:
        raw = us.mail(header=b"Message-ID: <one@acme.test>\r\n")
        made = await asyncio.gather(*(us.submit(idempotency_key="k", raw=raw) for _ in range(30)))
        assert len({(one.queue_id, one.message, one.deliveries) for one in made}) == 1
        assert [one.repeated for one in made].count(False) == 1
        with pytest.raises(Conflict):
            await us.submit("eve@b.test", idempotency_key="k", raw=raw)
        assert all(one.unaccounted == 0 for one in await store.read(ledger.balance))
        assert len(await store.read(deliveries.list_deliveries, us.org.id)) == 1


async def test_the_same_mail_sent_at_once_is_one_message(
    store: SqliteStore | PostgresStore, clock: FakeClock, tmp_path: Path
):
    async with relay(tmp_path, store=store, clock=clock) as us:
        raw = us.mail(header=b"Message-ID: <one@acme.test>\r\nDate: Mon, 02 Nov 2026 09:00:00 +0000\r\n")
        made = await asyncio.gather(*(us.submit(f"r{n}@b.test", raw=raw) for n in range(10)))
        assert len({one.message for one in made}) == 1
        assert len({one.queue_id for one in made}) == 10
        assert await store.read(ledger.audit) == []


async def test_mail_goes_out_from_either_database(store: SqliteStore | PostgresStore, clock: FakeClock, tmp_path: Path):
    async with relay(tmp_path, store=store, clock=clock) as us:
        submitted = await us.submit(*(f"r{n}@b.test" for n in range(30)))
        us.start()
        await us.until(submitted)
        assert len(list(us.sent.glob("*.eml"))) == 30
        assert all(one.unaccounted == 0 for one in await store.read(ledger.balance))


async def test_no_statement_of_the_way_out_reads_a_table_from_end_to_end(
    store: SqliteStore | PostgresStore, clock: FakeClock, tmp_path: Path
):
    async with relay(tmp_path, store=store, clock=clock) as us, watched(store) as watch:
        submitted = await us.submit("a@b.test", "b@b.test", idempotency_key="k")
        await us.submit("a@b.test", "b@b.test", idempotency_key="k")
        held = await store.write(
            queue.claim, node=NodeId("n"), now=clock.now(), lease=timedelta(minutes=5), limit=50, skip=("c.test",)
        )
        await store.write(nodes.beat, NodeId("n"), at=clock.now())
        await store.read(nodes.signs)
        await store.write(queue.lost, held)
        begun = await store.write(queue.begin_attempts, held, host="h", at=clock.now())
        ended = Settlement(
            held=begun[0], state=DeliveryState.SENT, outcome=Accepted(reply=reply(250, "2.0.0", "ok")), host="h"
        )
        await store.write(queue.settle, [ended], at=clock.now())
        await store.write(queue.recover, NodeId("n"), now=clock.now())
        await store.write(queue.claim, node=NodeId("n"), now=clock.now(), lease=timedelta(minutes=5), limit=50)
        await store.write(queue.claim, node=NodeId("n"), now=clock.now(), lease=timedelta(), limit=5, only=["b.test"])
        await store.write(
            destinations.park,
            ["b.test"],
            until=clock.now() + timedelta(minutes=1),
            site="b.test",
            because="it is dead",
            by=NodeId("n"),
        )
        await store.read(destinations.look, after="", now=clock.now(), longest=timedelta(hours=4))
        await store.write(destinations.unpark, NodeId("n"), now=clock.now())
        await store.write(destinations.mend, ["b.test"], now=clock.now(), longest=timedelta(hours=-4))
        await store.read(destinations.get, "b.test")
        await store.read(destinations.count, now=clock.now())
        await store.read(deliveries.next_due)
        await store.read(delivery_counts.counts)
        await store.read(ledger.balance)
        await store.read(deliveries.list_deliveries, us.org.id, states={DeliveryState.QUEUED})
        await store.read(deliveries.history, submitted.deliveries[0])
        await store.read(deliveries.of_message, us.org.id, submitted.message)
    watch.check()
