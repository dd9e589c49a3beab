"""The filing service: claims at the bell, keeps its leases, stops in order, and never files twice (Q05)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from mailrelay.config.schema import Filing
from mailrelay.errors import Fatal, StoreBusy
from mailrelay.filing.bodies import Bodies
from mailrelay.ids import NodeId, QueueId
from mailrelay.inbound import pipeline
from mailrelay.inbound.worker import FilingWorker
from mailrelay.model.envelope import Arrival, ArrivalState
from mailrelay.model.lookup import Answer, Question
from mailrelay.model.message import BlobRef, Verdict
from mailrelay.outbound.leases import Leases
from mailrelay.service import Stopping
from mailrelay.store import arrivals, nodes
from tests.support.filing import Desk, mail, office


@asynccontextmanager
async def running(desk: Desk, *, poll: float = 5.0) -> AsyncIterator[Stopping]:
    """The service at work; it is stopped in order at the end."""
    stopping = Stopping()
    worker = FilingWorker(
        desk.store,
        desk.pipeline,
        Filing(workers=2, lease=60.0),
        desk.clock,
        desk.ids,
        node=NodeId("n1"),
        stopping=stopping,
        poll=poll,
    )
    task = asyncio.create_task(worker.run())
    try:
        yield stopping
    finally:
        stopping.set()
        await asyncio.wait_for(task, 30)


async def until_filed(desk: Desk, id_: QueueId) -> None:
    async with asyncio.timeout(30):
        while (await desk.arrival(id_)).state in (ArrivalState.ACCEPTED, ArrivalState.WORKING):  # noqa: ASYNC110 (the row is the truth)
            await asyncio.sleep(0.01)


async def test_an_arrival_is_filed_at_the_bell_and_not_at_the_next_poll(tmp_path: Path) -> None:
    async with office(tmp_path) as desk, running(desk, poll=600.0):
        await asyncio.sleep(0.05)
        ids = [await desk.accept(mail()) for _ in range(5)]
        for id_ in ids:
            await until_filed(desk, id_)
        assert await desk.is_balanced()


class Silence:
    """A resolver that nobody answers."""

    async def resolve(self, question: Question) -> Answer:
        return await asyncio.get_running_loop().create_future()


async def test_fault_q01_what_was_accepted_before_the_clock_went_back_is_filed_at_once(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        id_ = await desk.accept(mail())
        worker = FilingWorker(
            desk.store, desk.pipeline, Filing(), desk.clock, desk.ids, node=NodeId("n1"), stopping=Stopping()
        )
        desk.clock.step(timedelta(hours=-2))
        assert await worker.drain() == 1
        assert (await desk.arrival(id_)).state is ArrivalState.FILED


async def test_fault_q01_what_a_clock_that_is_ahead_for_a_moment_accepts_does_not_wait_for_that_time(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as desk:
        worker = FilingWorker(
            desk.store, desk.pipeline, Filing(), desk.clock, desk.ids, node=NodeId("n1"), stopping=Stopping()
        )
        desk.clock.step(timedelta(hours=1))
        id_ = await desk.accept(mail())
        desk.clock.step(timedelta(hours=-1))  # before anybody looked
        assert await worker.drain() == 1
        assert (await desk.arrival(id_)).state is ArrivalState.FILED


async def test_dns_that_is_away_does_not_hold_up_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_LOOSE_TIMEOUT", 1.0)
    monkeypatch.setattr(pipeline, "_LONG", 0.5)
    monkeypatch.setattr(pipeline, "_SHORT_TIMEOUT", 0.01)
    async with office(tmp_path, resolver=Silence(), filing=Filing(workers=2)) as desk:
        ids = [await desk.accept(mail()) for _ in range(20)]
        began = asyncio.get_running_loop().time()
        await desk.worker.drain()
        assert asyncio.get_running_loop().time() - began < 6  # and not ten times one second
        message = (await desk.journey(await desk.arrival(ids[-1]))).message
        assert message.auth is not None
        assert message.auth.spf is Verdict.TEMPERROR


async def test_what_lies_there_already_is_filed_at_the_start(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        id_ = await desk.accept(mail())
        async with running(desk):
            await until_filed(desk, id_)


async def test_stopping_finishes_what_was_claimed_and_claims_no_more(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        async with running(desk) as stopping:
            first = await desk.accept(mail())
            await until_filed(desk, first)
            stopping.set()
        later = await desk.accept(mail())
        assert (await desk.arrival(later)).state is ArrivalState.ACCEPTED


async def test_fault_q05_a_worker_that_lost_its_lease_files_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        id_ = await desk.accept(mail(to="rob@new.test"))
        lease = timedelta(seconds=60)
        (slow,) = await desk.store.write(
            arrivals.claim, node=NodeId("slow"), now=desk.clock.now(), lease=lease, limit=1
        )
        desk.clock.advance(timedelta(seconds=61))
        await desk.worker.drain()
        assert (await desk.arrival(id_)).state is ArrivalState.FILED
        assert await desk.pipeline.process(slow) is None
        assert len((await desk.journey(await desk.arrival(id_))).filings) == 1
        assert len(await desk.all_records("lead")) == 1
        assert await desk.is_balanced()


async def test_fault_q05_what_a_dead_process_was_filing_is_filed_once_it_gives_no_more_signs(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        id_ = await desk.accept(mail(to="rob@new.test"))
        dead = NodeId("dead")
        await desk.store.write(nodes.beat, dead, at=desk.clock.now())
        lease = timedelta(minutes=1)
        (lost,) = await desk.store.write(arrivals.claim, node=dead, now=desk.clock.now(), lease=lease, limit=1)
        watching = Leases(desk.store, desk.clock, node=NodeId("here"), span=15, max_faults=3)
        await watching.watch()
        desk.clock.advance(timedelta(seconds=10))
        await watching.watch()
        await desk.worker.drain()
        assert (await desk.arrival(id_)).state is ArrivalState.WORKING
        desk.clock.advance(timedelta(seconds=6))
        await watching.watch()
        await desk.worker.drain()
        assert (await desk.arrival(id_)).state is ArrivalState.FILED
        assert await desk.pipeline.process(lost) is None  # it lives after all
        assert len(await desk.all_records("lead")) == 1
        assert await desk.is_balanced()


async def test_a_store_that_is_busy_sets_nothing_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(tmp_path) as desk:
        id_ = await desk.accept(mail())

        async def busy(_self: Bodies, _ref: BlobRef) -> bytes:
            raise StoreBusy("The store is busy")

        with monkeypatch.context() as patched:
            patched.setattr(Bodies, "read", busy)
            for _ in range(10):
                await desk.worker.drain()
                desk.clock.advance(timedelta(minutes=1))
                assert (await desk.arrival(id_)).state is ArrivalState.ACCEPTED
        await desk.worker.drain()
        assert (await desk.arrival(id_)).state is ArrivalState.FILED


async def test_a_store_that_is_busy_is_asked_again_and_the_service_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    def busy(*_args: object, **_more: object) -> list[Arrival]:
        asked.set()
        raise StoreBusy("The store is busy")

    async with office(tmp_path) as desk, running(desk, poll=0.05):
        with monkeypatch.context() as patched:
            patched.setattr(arrivals, "claim", busy)
            id_ = await desk.accept(mail())
            await asyncio.wait_for(asked.wait(), 30)
        await until_filed(desk, id_)


async def test_a_damaged_store_ends_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = asyncio.Event()

    async def damaged(_self: Bodies, _ref: BlobRef) -> bytes:
        taken.set()
        raise Fatal("the bytes are not what was written")

    monkeypatch.setattr(Bodies, "read", damaged)
    async with office(tmp_path) as desk:
        id_ = await desk.accept(mail())
        with pytest.raises(Fatal):
            async with running(desk):
                await asyncio.wait_for(taken.wait(), 30)
        assert (await desk.arrival(id_)).state is ArrivalState.WORKING  # for the process that comes next


@pytest.mark.parametrize("text", ["half a pair \ud800", "a NUL \0"], ids=["surrogate", "nul"])
async def test_fault_q03_a_failure_that_cannot_be_written_down_stops_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    read = Bodies.read
    poison = 0

    async def failing(self: Bodies, ref: BlobRef) -> bytes:
        if ref.size == poison:
            raise ValueError(text)
        return await read(self, ref)

    monkeypatch.setattr(Bodies, "read", failing)
    async with office(tmp_path) as desk, running(desk, poll=0.05):
        bad = mail(subject="a longer one that fails")
        poison = len(bad)
        failed = await desk.accept(bad)
        good = await desk.accept(mail())
        await until_filed(desk, good)
        async with asyncio.timeout(30):
            while (await desk.arrival(failed)).state is not ArrivalState.ACCEPTED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        reason, failure = await desk.store.read(arrivals.why, failed)
        assert "ValueError" in failure
        assert "\0" not in reason + failure


async def test_fault_q03_a_store_that_refuses_one_arrival_does_not_end_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(_self: Bodies, _ref: BlobRef) -> bytes:
        raise ValueError("ours")

    taken = threading.Event()

    def refused(*_args: object, **_more: object) -> None:
        taken.set()
        raise TypeError("ours too")

    monkeypatch.setattr(Bodies, "read", failing)
    monkeypatch.setattr(arrivals, "retry", refused)
    async with office(tmp_path) as desk:
        id_ = await desk.accept(mail())
        async with running(desk, poll=0.05):
            assert await asyncio.to_thread(taken.wait, 30)
        assert (await desk.arrival(id_)).state is ArrivalState.WORKING  # until its lease runs out
