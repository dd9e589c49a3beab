"""The way of hits from the public door to the store: none is lost while the store is only slow, none is counted twice (O9, T14)."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import func, select

from mailrelay import metrics
from mailrelay.clock import Clock
from mailrelay.ids import DeliveryId, IdFactory
from mailrelay.model.hit import HitKind, Judged, RawHit
from mailrelay.model.tracking import Mode
from mailrelay.outbound import hits as service
from mailrelay.outbound.hit_spool import Batch, Spool, line
from mailrelay.outbound.hits import Hits
from mailrelay.service import Stopping
from mailrelay.store.sqlite import SqliteStore
from mailrelay.store.tables import aggregate_hit, hit
from mailrelay.tracking import agent
from tests.support import factory, tracked
from tests.support.locked import locked
from tests.support.tracked import a_hit

CLOCK = Clock()
IDS = IdFactory(CLOCK.now)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with factory.open_store(tmp_path) as one:
        yield one


@pytest.fixture(autouse=True)
def _quietly() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


def _spool(folder: Path, has_room: Callable[[int], bool] = lambda size: True) -> Spool:
    return Spool(folder / "hits", new_id=IDS.hit, has_room=has_room)


def _make(store: SqliteStore, spool: Spool, *, judge: Any = agent.judge, stopping: Stopping | None = None) -> Hits:
    return Hits(store, spool, CLOCK, judge=judge, new_id=IDS.hit, stopping=stopping or Stopping())


@asynccontextmanager
async def _running(one: Hits, stopping: Stopping) -> AsyncIterator[None]:
    task = asyncio.create_task(one.run())
    try:
        yield
    finally:
        stopping.set()
        await task


async def _until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (what is waited for tells nobody)
            await asyncio.sleep(0.01)


async def _kept(store: SqliteStore) -> int:
    return await store.read(lambda tx: tx.execute(select(func.count()).select_from(hit)).scalar_one())


async def _counted(store: SqliteStore) -> int:
    return await store.read(lambda tx: int(tx.execute(select(func.sum(aggregate_hit.c.hits))).scalar() or 0))


async def _delivery(store: SqliteStore, mode: Mode = Mode.INDIVIDUAL) -> DeliveryId:
    return (await tracked.sent(store, CLOCK, await tracked.house(store, CLOCK, tracking=mode)))[0]


def _dropped(reason: str) -> float:
    return float(metrics.hits_dropped.labels(reason)._value.get())


async def test_hits_are_kept_soon_and_a_stop_keeps_the_last(store: SqliteStore, tmp_path: Path) -> None:
    of, stopping = await _delivery(store), Stopping()
    one = _make(store, _spool(tmp_path), stopping=stopping)
    async with _running(one, stopping):
        one.put(a_hit(CLOCK, of))
        await _until(lambda: not one.waiting())
        assert await _kept(store) == 1
        for _ in range(20):
            one.put(a_hit(CLOCK, of))
    assert await _kept(store) == 21
    assert list((tmp_path / "hits").iterdir()) == []
    one.close()


async def test_fault_t14_what_the_store_does_not_take_waits_on_the_disk(store: SqliteStore, tmp_path: Path) -> None:
    of, stopping = await _delivery(store), Stopping()
    one = _make(store, _spool(tmp_path), stopping=stopping)
    async with _running(one, stopping):
        with locked(store.path):
            for _ in range(30):
                one.put(a_hit(CLOCK, of))
                await asyncio.sleep(0.02)
            await _until(lambda: not one._memory and not one._moving)
            assert one.waiting() == 30
            assert sum(path.read_bytes().count(b"\n") for path in (tmp_path / "hits").iterdir()) == 30
        await _until(lambda: not one.waiting())
    assert await _kept(store) == 30
    assert list((tmp_path / "hits").iterdir()) == []
    one.close()


async def test_fault_t14_a_killed_process_has_its_hits_at_the_next_start_each_once(
    store: SqliteStore, tmp_path: Path
) -> None:
    of, counted, stopping = await _delivery(store), await _delivery(store, Mode.AGGREGATE), Stopping()
    first = _make(store, _spool(tmp_path), stopping=stopping)
    task = asyncio.create_task(first.run())
    with locked(store.path):
        for _ in range(20):
            first.put(a_hit(CLOCK, of))
            first.put(a_hit(CLOCK, counted))
            await asyncio.sleep(0.02)
        await _until(lambda: not first._memory and not first._moving and first._kept)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        first._disk.submit(int).result()  # behind what is being written
    # What the first process had given to the store is taken by now, and it never heard of it.
    await _until(lambda: store._jobs.empty())
    await store.write(lambda tx: None)
    assert 0 < await _kept(store) + await _counted(store) <= 40
    second = _make(store, _spool(tmp_path), stopping=stopping)
    async with _running(second, stopping):
        await _until(lambda: second._found and not second.waiting(), seconds=30)
    assert (await _kept(store), await _counted(store)) == (20, 20)
    assert list((tmp_path / "hits").iterdir()) == []
    first.close()
    second.close()


@pytest.mark.parametrize("mode", [Mode.INDIVIDUAL, Mode.AGGREGATE])
async def test_fault_t14_what_cannot_be_removed_from_the_disk_is_counted_once(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    """The folder has become read-only, say: what the store has comes again, at the next start."""
    of = await _delivery(store, mode)
    count = _kept if mode is Mode.INDIVIDUAL else _counted
    left = _spool(tmp_path)
    left.find()
    left.append([line(a_hit(CLOCK, of)) for _ in range(3)])
    left.close()
    with monkeypatch.context() as patched:

        def read_only(path: Path, missing_ok: bool = False) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        patched.setattr(Path, "unlink", read_only)
        one, stopping = _make(store, _spool(tmp_path), stopping=(first := Stopping())), first
        async with _running(one, stopping):
            await _until(lambda: one._found and not one.waiting())
            one.put(a_hit(CLOCK, of))
            await _until(lambda: not one.waiting())
            one.put(a_hit(CLOCK, of))
        one.close()
        assert await count(store) == 5
    assert list((tmp_path / "hits").iterdir())
    stopping = Stopping()
    again = _make(store, _spool(tmp_path), stopping=stopping)
    async with _running(again, stopping):
        await _until(lambda: again._found and not again.waiting())
    again.close()
    assert await count(store) == 5
    assert list((tmp_path / "hits").iterdir()) == []


async def test_fault_t14_what_the_store_takes_while_it_goes_to_a_disk_that_then_keeps_it_is_counted_once(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, stopping = await _delivery(store, Mode.AGGREGATE), Stopping()
    spool, writing, go_on = _spool(tmp_path), threading.Event(), threading.Event()
    keep = spool.keep

    def slow(batch: Batch) -> None:
        writing.set()
        go_on.wait(30)
        keep(batch)

    def read_only(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(spool, "keep", slow)
    one = _make(store, spool, stopping=stopping)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", read_only)
        async with _running(one, stopping):
            with locked(store.path):
                one.put(a_hit(CLOCK, of))
                await _until(writing.is_set)
            async with asyncio.timeout(30):
                while not await _counted(store):  # noqa: ASYNC110 (the store tells nobody)
                    await asyncio.sleep(0.01)
            go_on.set()
            await _until(lambda: not one.waiting())
            one.put(a_hit(CLOCK, of))
        one.close()
    assert len(list((tmp_path / "hits").iterdir())) == 1
    again = _make(store, _spool(tmp_path), stopping=(stopping := Stopping()))
    async with _running(again, stopping):
        await _until(lambda: again._found and not again.waiting())
    again.close()
    assert await _counted(store) == 2


async def test_what_is_told_of_one_matter_keeps_no_other_untold(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_MOST", 2)
    of = await _delivery(store)
    one = _make(store, _spool(tmp_path))
    with structlog.testing.capture_logs() as logs:
        one._tell("hits.deferred", because="the store is busy")
        for _ in range(10):
            one.put(a_hit(CLOCK, of))
    assert [said["event"] for said in logs] == ["hits.deferred", "hits.dropped"]
    one.close()


async def test_a_line_that_was_cut_off_is_counted_and_the_others_are_kept(store: SqliteStore, tmp_path: Path) -> None:
    of, stopping, before = await _delivery(store), Stopping(), _dropped("damaged")
    left = _spool(tmp_path)
    left.find()
    left.append([line(a_hit(CLOCK, of)) for _ in range(3)])
    left.close()
    (file,) = (tmp_path / "hits").iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    (tmp_path / "hits" / "K0.hits").write_bytes(b"\x00" * 100 + b"\n{}\n")
    one = _make(store, _spool(tmp_path), stopping=stopping)
    async with _running(one, stopping):
        await _until(lambda: one._found and not one.waiting())
    assert await _kept(store) == 2
    assert _dropped("damaged") - before == 3
    one.close()


async def test_fault_t14_without_any_room_hits_are_dropped_and_counted(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_MOST", 50)
    of, stopping, before = await _delivery(store), Stopping(), _dropped("full")
    one = _make(store, _spool(tmp_path, has_room=lambda size: False), stopping=stopping)
    async with _running(one, stopping):
        with locked(store.path):
            one.put(a_hit(CLOCK, of))
            await _until(lambda: one._batch is not None)
            for _ in range(60):
                one.put(a_hit(CLOCK, of))
            await asyncio.sleep(0.5)
            assert one.waiting() == 51
        await _until(lambda: not one.waiting())
        assert await _kept(store) == 51
    assert _dropped("full") - before == 10
    one.close()


async def test_one_hit_that_our_code_fails_on_is_set_aside_and_keeps_no_other(
    store: SqliteStore, tmp_path: Path
) -> None:
    of, poisoned, stopping = await _delivery(store), await _delivery(store), Stopping()

    def judge(some: Sequence[RawHit], sent_at: datetime | None) -> Sequence[Judged]:
        if any(one.delivery == poisoned for one in some):
            raise ZeroDivisionError
        return agent.judge(some, sent_at)

    before = _dropped("failed")
    one = _make(store, _spool(tmp_path), judge=judge, stopping=stopping)
    async with _running(one, stopping):
        for number in range(10):
            one.put(a_hit(CLOCK, poisoned if number == 4 else of))
        await _until(lambda: not one.waiting())
        one.put(a_hit(CLOCK, of, HitKind.CLICK))
        await _until(lambda: not one.waiting())
    assert await _kept(store) == 10
    assert _dropped("failed") - before == 1
    assert poisoned.encode() in (tmp_path / "hits" / "set-aside").read_bytes()
    one.close()


async def test_a_backlog_leaves_the_store_to_others(store: SqliteStore, tmp_path: Path) -> None:
    """Two thousand hits wait; another's transaction does not wait for them."""
    many = [(await _delivery(store)) for _ in range(20)]
    left = _spool(tmp_path)
    left.find()
    for _ in range(20):
        left.append([line(a_hit(CLOCK, many[number % 20])) for number in range(100)])
    left.close()
    stopping = Stopping()
    one = _make(store, _spool(tmp_path), stopping=stopping)
    async with _running(one, stopping):
        for _ in range(10):
            async with asyncio.timeout(30):
                await store.write(lambda tx: None)
            await asyncio.sleep(0.02)
    one.close()
    # What was not taken by the stop is still there.
    stopping = Stopping()
    rest = _make(store, _spool(tmp_path), stopping=stopping)
    async with _running(rest, stopping):
        await _until(lambda: rest._found and not rest.waiting(), seconds=60)
    assert await _kept(store) == 2_000
    rest.close()


async def test_what_comes_after_the_service_ended_is_on_the_disk_at_the_end(store: SqliteStore, tmp_path: Path) -> None:
    of, stopping = await _delivery(store), Stopping()
    one = _make(store, _spool(tmp_path), stopping=stopping)
    async with _running(one, stopping):
        pass
    one.put(a_hit(CLOCK, of))
    one.close()
    again = _spool(tmp_path)
    assert again.find() == 1


def test_a_spool_is_read_in_its_order_and_forgets_what_is_done(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "hits", new_id=IDS.hit, has_room=lambda size: True, largest=2)
    assert spool.find() == 0
    of = IDS.delivery()
    some = [a_hit(CLOCK, of) for _ in range(5)]
    for start in (0, 2, 4):
        spool.append([line(one) for one in some[start : start + 2]])
    seen: list[RawHit] = []
    while (read := spool.next()) is not None:
        assert len(read.batch.hits) <= 2
        assert spool.next() == read  # until it is done
        seen.extend(read.batch.hits)
        spool.done(read.batch.id)
    assert seen == some
    spool.keep(Batch(IDS.hit(), tuple(some)))
    assert spool.next() is None  # whoever keeps it has it
    assert Spool(tmp_path / "hits", new_id=IDS.hit, has_room=lambda size: True).find() == 5


def _flooded(folder: Path, of: DeliveryId) -> tuple[Spool, list[RawHit]]:
    """Five hits in one file, of which a batch has two."""
    spool = Spool(folder / "hits", new_id=IDS.hit, has_room=lambda size: True, largest=2)
    spool.find()
    some = [a_hit(CLOCK, of) for _ in range(5)]
    spool.append([line(one) for one in some])
    spool.close()
    return spool, some


def _read(spool: Spool) -> list[RawHit]:
    """What is in it, batch by batch."""
    seen: list[RawHit] = []
    while (read := spool.next()) is not None:
        assert len(read.batch.hits) <= 2
        assert spool.waiting + len(seen) == 5
        seen.extend(read.batch.hits)
        spool.done(read.batch.id)
    assert spool.waiting == 0
    assert list(spool.folder.iterdir()) == []
    return seen


def test_the_file_of_a_flood_is_taken_in_batches(tmp_path: Path) -> None:
    spool, some = _flooded(tmp_path, IDS.delivery())
    assert _read(spool) == some


@pytest.mark.parametrize("ends_at", range(5))
def test_fault_t14_a_file_that_was_being_split_when_the_process_died_has_each_hit_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_at: int
) -> None:
    """Three parts are written, then the file is removed, then each part is given its name."""
    spool, some = _flooded(tmp_path, IDS.delivery())
    steps = iter(range(ends_at + 1))

    def dies(method: Callable[..., Any]) -> Callable[..., Any]:
        def step(path: Path, *arguments: Any) -> Any:
            if next(steps, None) is None:
                raise KeyboardInterrupt
            return method(path, *arguments)

        return step

    with monkeypatch.context() as patched:
        for name in ("write_bytes", "unlink", "replace"):
            patched.setattr(Path, name, dies(getattr(Path, name)))
        with pytest.raises(KeyboardInterrupt):
            spool.next()
    again = Spool(tmp_path / "hits", new_id=IDS.hit, has_room=lambda size: True, largest=2)
    assert again.find() == 5
    assert _read(again) == some


def test_fault_t14_a_file_that_could_not_be_split_is_split_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, some = _flooded(tmp_path, IDS.delivery())
    for name in ("write_bytes", "unlink", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(Path, name, _full)
            with pytest.raises(OSError, match="full"):
                spool.next()
        assert spool.waiting == 5
    assert _read(spool) == some


def _full(path: Path, *arguments: object) -> None:
    raise OSError("full")


def test_what_a_crash_left_while_hits_were_forgotten_is_not_kept(tmp_path: Path) -> None:
    left = _spool(tmp_path)
    left.find()
    some = [a_hit(CLOCK, IDS.delivery()) for _ in range(2)]
    left.append([line(one) for one in some])
    left.close()
    (file,) = (tmp_path / "hits").iterdir()
    file.with_suffix(".new").write_bytes(line(some[0]))
    again = _spool(tmp_path)
    assert again.find() == 2
    assert list((tmp_path / "hits").iterdir()) == [file]


def test_what_does_not_fit_leaves_nothing_half(tmp_path: Path) -> None:
    room = [True]
    spool = Spool(tmp_path / "hits", new_id=IDS.hit, has_room=lambda size: room[0])
    spool.find()
    of = IDS.delivery()
    spool.append([line(a_hit(CLOCK, of))])
    room[0] = False
    with pytest.raises(OSError, match="for mail"):
        spool.append([line(a_hit(CLOCK, of))])
    with pytest.raises(OSError, match="for mail"):
        spool.keep(Batch(IDS.hit(), (a_hit(CLOCK, of),)))
    read = spool.next()
    assert read is not None
    assert (len(read.batch.hits), read.damaged) == (1, 0)
