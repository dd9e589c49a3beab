"""Q05, Q03: what was claimed is never left lying, whatever goes wrong between a claim and its end; a row that cannot be read stops none."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from mailrelay.errors import StoreBusy
from mailrelay.ids import DeliveryId, NodeId
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.event import EventType
from mailrelay.outbound import batch, dispatcher
from mailrelay.store import events, nodes, queue
from mailrelay.store.base import Tx
from mailrelay.store.tables import delivery
from tests.store.test_fault_q_leases_and_clocks import Running, books_balance, by_mx
from tests.support.answers import Zone
from tests.support.outbound import Relay, relay, until
from tests.support.remote import CLOSE, remote


async def set_row(us: Relay, id_: DeliveryId, **values: object) -> None:
    await us.store.write(lambda tx: tx.execute(update(delivery).where(delivery.c.id == id_).values(**values)))


async def test_fault_q05_what_the_store_did_not_take_back_goes_once_it_is_there_again(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, clock=Running(), **by_mx(sink)) as us:
        genuine, away, refused = us.store.write, True, 0

        async def write(fn, /, *args, **more):
            nonlocal refused
            if away and fn in (batch._begin, queue.release):
                refused += 1
                raise StoreBusy("away")
            return await genuine(fn, *args, **more)

        us.store.write = write  # type: ignore[method-assign]
        us.start()
        submitted = await us.submit()
        await until(lambda: refused >= 2)
        await asyncio.sleep(0.05)
        away = False
        (sent,) = await us.until(submitted)
        assert (sent.attempts, sent.faults) == (1, 0)
        assert len(sink.messages) == 1


async def test_fault_q05_a_store_that_is_away_when_a_suspects_way_is_asked_for_delays_it_only(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, clock=Running(), **by_mx(sink, lease=60.0)) as us:
        submitted = await us.submit()
        await set_row(us, submitted.deliveries[0], faults=2)
        genuine, failures = us.dispatcher._courier.way, [StoreBusy("away for one question")]

        async def way(one):
            if failures:
                raise failures.pop()
            return await genuine(one)

        us.dispatcher._courier.way = way  # type: ignore[method-assign]
        us.start()
        (sent,) = await us.until(submitted)
        assert sent.attempts == 1


async def test_fault_q05_a_store_that_is_away_while_a_dead_sites_mail_is_put_off_strands_none(tmp_path: Path):
    nobody = {"route": "mx", "port": 9, "answers": Zone({("A", "b.test"): "127.0.0.1"}), "lease": 60.0}
    async with relay(tmp_path, clock=Running(), **nobody) as us:
        submitted = await us.submit(*(f"r{n}@b.test" for n in range(400)))
        genuine, more_of = us.dispatcher._courier.way, us.dispatcher._more_of
        asked, refused = False, False

        async def more(*args):
            nonlocal asked
            asked = True
            return await more_of(*args)

        async def way(one):
            nonlocal refused
            if asked and not refused:
                refused = True
                raise StoreBusy("away for one question")
            return await genuine(one)

        us.dispatcher._more_of = more  # type: ignore[method-assign]
        us.dispatcher._courier.way = way  # type: ignore[method-assign]
        us.start()
        await until(lambda: refused)
        # Some may wait, untried, until the pause of their destination is over.
        await us.until(submitted, DeliveryState.QUEUED)
        await until(lambda: not us.dispatcher._held)


async def test_fault_q05_an_attempt_that_was_written_down_though_the_store_said_no_is_ended(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, clock=Running(), **by_mx(sink)) as us:
        genuine, failures = us.store.write, [StoreBusy("the connection broke while it committed")]

        async def write(fn, /, *args, **more):
            done = await genuine(fn, *args, **more)
            if fn is batch._begin and failures:
                raise failures.pop()
            return done

        us.store.write = write  # type: ignore[method-assign]
        us.start()
        (sent,) = await us.until(await us.submit())
        assert [one.outcome for one in await us.history(sent.id)][:-1] == [queue.CUT_OFF]
        assert await books_balance(us)
    assert len(sink.messages) == 1


async def test_fault_q05_what_our_own_code_cannot_give_back_ends_nothing_that_is_under_way(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(dispatcher, "_MOST_SUSPECTS", 1)
    async with remote() as sink, relay(tmp_path, clock=Running(), **by_mx(sink)) as us:
        genuine, failed = us.store.write, 0

        async def write(fn, /, *args, **more):
            nonlocal failed
            if fn is queue.release and not failed:
                failed += 1
                raise ValueError("a bug of ours")
            return await genuine(fn, *args, **more)

        us.store.write = write  # type: ignore[method-assign]
        read, begun = us.bodies.read, asyncio.Event()

        async def slowly(ref):
            begun.set()
            await asyncio.sleep(1.0)
            return await read(ref)

        us.bodies.read = slowly  # type: ignore[method-assign]
        first = await us.submit()
        others = await us.submit("s1@c.test", "s2@c.test", "s3@c.test")
        for id_ in others.deliveries:
            await set_row(us, id_, faults=2)
        us.start()
        await begun.wait()
        await until(lambda: failed > 0)
        (sent,) = await us.until(first)
        assert sent.attempts == 1
        await us.until(others)


async def test_fault_q05_what_our_own_code_cannot_begin_is_found_one_by_one_and_goes_later(tmp_path: Path, monkeypatch):
    async with remote() as sink, relay(tmp_path, **by_mx(sink, lease=60.0)) as us:
        genuine, bad = batch.brake.suspended_by, set()

        def suspended_by(tx, held, **more):
            if not bad.isdisjoint(one.id for one in held):
                raise ValueError("a bug of ours")
            return genuine(tx, held, **more)

        monkeypatch.setattr(batch.brake, "suspended_by", suspended_by)
        one = await us.submit("bad@b.test")
        bad.add(one.deliveries[0])
        others = await us.submit("bob@b.test", "eve@b.test")
        us.start()
        await us.until(others)
        (left,) = await us.until(one, DeliveryState.QUEUED)
        assert (left.attempts, left.faults) == (0, 0)
        assert left.due_at > us.clock.now()
        bad.clear()
        us.clock.advance(timedelta(minutes=10))
        await us.until(one)


async def test_fault_q05_an_end_that_our_own_code_fails_to_write_is_written_after_all(tmp_path: Path, monkeypatch):
    async with remote() as sink, relay(tmp_path, clock=Running(), **by_mx(sink)) as us:
        genuine, failures = queue._settle_attempts, [ValueError(f"number {n}") for n in range(4)]

        def settle_attempts(*args):
            if failures:
                raise failures.pop()
            genuine(*args)

        monkeypatch.setattr(queue, "_settle_attempts", settle_attempts)
        submitted = await us.submit()
        us.start()
        (sent,) = await us.until(submitted)
        assert sent.attempts == 1
        assert await books_balance(us)
    assert len(sink.messages) == 1


@pytest.mark.parametrize("job", ["spring", ""], ids=["mass mail", "single mail"])
async def test_fault_q05_an_end_that_is_never_written_counts_as_cut_off_while_the_process_lives(
    tmp_path: Path, monkeypatch, job: str
):
    monkeypatch.setattr("mailrelay.outbound.settle._AGAIN", (0.01,))
    async with remote() as sink, relay(tmp_path, clock=Running(), **by_mx(sink)) as us:
        sink.say("DOT", CLOSE)

        def settle_attempts(*args):
            raise ValueError("a bug of ours")

        monkeypatch.setattr(queue, "_settle_attempts", settle_attempts)
        submitted = await us.submit(job=job)
        await set_row(us, submitted.deliveries[0], faults=2)
        us.start()
        (one,) = await us.until(submitted, DeliveryState.HELD)
        # Single mail goes out again, but not for ever.
        assert (one.held_by, one.faults) == ("unconfirmed" if job else "poison", 3)
        assert one.trace == queue.FORGOTTEN
        (attempt,) = await us.history(one.id)
        assert attempt.outcome == queue.CUT_OFF
        assert await books_balance(us)


async def test_fault_q05_a_claim_that_is_in_hand_is_never_taken_for_forgotten(store, tmp_path: Path):
    async with remote() as sink, relay(tmp_path, store=store, clock=Running(), **by_mx(sink)) as us:
        genuine = us.bodies.read

        async def read(ref):
            await asyncio.sleep(1.0)  # many looks
            return await genuine(ref)

        us.bodies.read = read  # type: ignore[method-assign]
        us.start()
        for found in await us.until(await us.submit("bob@b.test", "eve@c.test")):
            assert found.attempts == 1
    assert len(sink.messages) == 2


async def test_fault_q05_a_claim_under_another_fence_is_left_alone(store, tmp_path: Path):
    async with relay(tmp_path, store=store) as us:
        await us.submit()
        now = us.clock.now()
        (one,) = await store.write(queue.claim, node=NodeId("node"), now=now, lease=timedelta(), limit=1)
        assert one.lease is not None
        assert await store.read(queue.claims, NodeId("node")) == {one.id: one.lease.fence}
        assert await store.read(queue.claims, NodeId("other")) == {}
        old = {one.id: one.lease.fence - 1}
        assert await store.write(queue.take_up, NodeId("node"), old, now=now, max_faults=3) == 0
        mine = {one.id: one.lease.fence}
        assert await store.write(queue.take_up, NodeId("other"), mine, now=now, max_faults=3) == 0
        assert (await us.delivery(one.id)).state is DeliveryState.SENDING
        assert await store.write(queue.take_up, NodeId("node"), mine, now=now, max_faults=3) == 1
        assert (await us.delivery(one.id)).state is DeliveryState.QUEUED


# --- rows that cannot be read ---


async def test_fault_q03_a_row_that_cannot_be_read_is_set_aside_and_its_neighbours_go(store, tmp_path: Path):
    async with remote() as sink, relay(tmp_path, store=store, clock=Running(), **by_mx(sink)) as us:
        bad, good = await us.submit("bad@b.test"), await us.submit("good@b.test", "good@c.test")
        (id_,) = bad.deliveries
        await set_row(us, id_, category="a-word-of-a-later-release")
        us.start()
        await us.until(good)
        await set_row(us, id_, category="")
        (held,) = await us.until(bad, DeliveryState.HELD)
        assert (held.held_by, held.attempts) == ("poison", 0)
        assert "a-word-of-a-later-release" in held.trace
        told = await store.read(events.last, us.org.id, 100)
        assert [one.delivery for one in told if one.type is EventType.DELIVERY_HELD] == [id_]
        assert await books_balance(us)


async def test_fault_q03_a_row_of_a_dead_process_that_cannot_be_read_is_set_aside_with_its_attempt(
    store, tmp_path: Path
):
    async with remote() as sink, relay(tmp_path, store=store, clock=Running(), **by_mx(sink)) as us:
        bad, good = await us.submit("bad@b.test"), await us.submit("good@b.test")
        (id_,) = bad.deliveries
        now = us.clock.now()

        def dies(tx: Tx) -> None:
            held = queue.claim(tx, node=NodeId("dead"), now=now, lease=timedelta(), limit=10)
            queue.begin_attempts(tx, held, host="b.test", at=now)
            nodes.beat(tx, NodeId("dead"), at=now)

        await store.write(dies)
        await set_row(us, id_, category="a-word-of-a-later-release")
        us.start()
        await us.until(good)
        await set_row(us, id_, category="")
        (held,) = await us.until(bad, DeliveryState.HELD)
        assert held.held_by == "poison"
        assert [attempt.outcome for attempt in await us.history(id_)] == [queue.CUT_OFF]
