"""What the writer promises, whatever arrives at once: exact, apart from its neighbours, durable although nobody waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import event as hooks
from sqlalchemy import select, text, update

from mailrelay.errors import DiskFull, StoreBusy, StoreDamaged
from mailrelay.store import bodies
from mailrelay.store.base import Bell, Store, Tx
from mailrelay.store.postgres import PostgresStore
from mailrelay.store.sqlite import SqliteStore, driver
from mailrelay.store.tables import ledger
from tests.store.explain import AnyStore
from tests.support import factory
from tests.support.clock import FakeClock


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with factory.open_store(tmp_path) as store:
        yield store


def add_one(tx: Tx) -> int:
    """Read, then write what was read plus one: the row is locked where the database has row locks."""
    tx.execute(tx.insert(ledger).values(channel="api", thing="arrival", accepted=0, ended=0).on_conflict_do_nothing())
    count = int(tx.execute(select(ledger.c.accepted).with_for_update()).scalar_one())
    tx.execute(update(ledger).values(accepted=count + 1))
    return count + 1


def count(tx: Tx) -> int:
    return int(tx.execute(select(ledger.c.accepted)).scalar() or 0)


async def test_a_thousand_changes_at_once_are_exact(store: Store) -> None:
    results = await asyncio.gather(*(store.write(add_one) for _ in range(1000)))
    assert sorted(results) == list(range(1, 1001))
    assert await store.read(count) == 1000


async def test_a_function_that_fails_takes_none_of_its_neighbours_along(store: Store) -> None:
    def add_one_and_fail(tx: Tx) -> None:
        add_one(tx)
        raise ValueError("mine alone")

    results = await asyncio.gather(
        *(store.write(add_one_and_fail if number % 7 == 0 else add_one) for number in range(70)), return_exceptions=True
    )
    assert [isinstance(result, ValueError) for result in results] == [number % 7 == 0 for number in range(70)]
    assert await store.read(count) == 60


async def test_a_statement_that_the_database_refuses_is_its_callers_alone(store: Store) -> None:
    def broken(tx: Tx) -> None:
        tx.execute(text("INSERT INTO no_such_table VALUES (1)"))

    results = await asyncio.gather(
        store.write(add_one), store.write(broken), store.write(add_one), return_exceptions=True
    )
    assert isinstance(results[1], Exception)
    assert await store.read(count) == 2


async def test_what_cannot_be_told_afterwards_is_durable_all_the_same_and_the_writer_lives(store: Store) -> None:
    def told_into_a_closed_pipe(tx: Tx) -> int:
        def tell() -> None:
            raise BrokenPipeError

        tx.afterwards(tell)
        return add_one(tx)

    assert await store.write(told_into_a_closed_pipe) == 1
    assert await asyncio.wait_for(store.write(add_one), timeout=20) == 2


async def test_a_write_whose_caller_has_gone_is_kept(store: AnyStore) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(tx: Tx) -> None:
        loop.call_soon_threadsafe(begun.set)
        add_one(tx)

    task = asyncio.create_task(store.write(slow))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.close()
    reopened: AnyStore
    if isinstance(store, SqliteStore):
        reopened = SqliteStore(store.path)
    else:
        reopened = PostgresStore(store.engine.url.render_as_string(hide_password=False))
    assert await reopened.read(count) == 1
    await reopened.close()


async def test_a_bell_rings_once_the_write_is_durable(store: Store) -> None:
    def ring(tx: Tx) -> None:
        add_one(tx)
        tx.ring(Bell.QUEUE)

    waiter = asyncio.create_task(store.bells.heard(Bell.QUEUE, timeout=10))
    await store.write(ring)
    assert await waiter
    assert not await store.bells.heard(Bell.QUEUE, timeout=0.01)


async def test_a_bell_of_a_write_that_failed_does_not_ring(store: Store) -> None:
    def ring_and_fail(tx: Tx) -> None:
        tx.ring(Bell.QUEUE)
        raise ValueError("quiet")

    with pytest.raises(ValueError, match="quiet"):
        await store.write(ring_and_fail)
    assert not await store.bells.heard(Bell.QUEUE, timeout=0.01)


async def test_a_read_sees_one_moment(store: Store) -> None:
    await store.write(add_one)
    loop = asyncio.get_running_loop()

    def twice(tx: Tx) -> tuple[int, int]:
        before = count(tx)
        asyncio.run_coroutine_threadsafe(store.write(add_one), loop).result(10)
        return before, count(tx)

    assert await store.read(twice) == (1, 1)
    assert await store.read(count) == 2


async def test_one_commit_serves_what_has_gathered(sqlite_store: SqliteStore) -> None:
    commits: list[str] = []
    hooks.listen(
        sqlite_store.engine,
        "before_cursor_execute",
        lambda _c, _cur, statement, *_: commits.append(statement) if statement == "COMMIT" else None,
    )
    await asyncio.gather(*(sqlite_store.write(add_one) for _ in range(200)))
    assert 1 <= len(commits) < 50


async def test_a_batch_that_is_rolled_back_is_run_again_one_by_one(sqlite_store: SqliteStore) -> None:
    runs: list[str] = []

    def noted(tx: Tx) -> int:
        runs.append("noted")
        return add_one(tx)

    def failing(tx: Tx) -> None:
        runs.append("failing")
        raise ValueError("no")

    def wait(tx: Tx) -> None:
        gate.wait(10)

    gate = threading.Event()
    first = asyncio.create_task(sqlite_store.write(wait))  # holds the writer until the batch behind it has gathered
    await asyncio.sleep(0)
    rest = [asyncio.create_task(sqlite_store.write(fn)) for fn in (noted, failing)]
    await asyncio.sleep(0)
    gate.set()
    await first
    results = await asyncio.gather(*rest, return_exceptions=True)
    assert results[0] == 1
    assert isinstance(results[1], ValueError)
    assert runs == ["noted", "failing", "noted", "failing"]
    assert await sqlite_store.read(count) == 1


async def test_fault_d05_a_full_disk_is_said_and_keeps_what_there_was(sqlite_store: SqliteStore) -> None:
    await sqlite_store.write(add_one)

    def limit(tx: Tx) -> None:
        pages = tx.execute(text("PRAGMA page_count")).scalar_one()
        tx.execute(text(f"PRAGMA max_page_count = {pages + 2}"))

    await sqlite_store.write(limit)
    with pytest.raises(DiskFull) as refused:
        await sqlite_store.write(bodies.put, "0" * 64, b"x" * 1_000_000)
    assert (refused.value.reply.code, str(refused.value.reply.status)) == (452, "4.3.1")
    await sqlite_store.write(add_one)
    assert await sqlite_store.read(count) == 2


async def test_fault_d04_a_database_that_cannot_be_trusted_takes_nothing_more(
    sqlite_store: SqliteStore, clock: FakeClock
) -> None:
    def corrupt(tx: Tx) -> None:
        tx.execute(text("PRAGMA writable_schema = ON"))
        tx.execute(text("UPDATE sqlite_schema SET rootpage = 1000000 WHERE name = 'ledger'"))
        tx.execute(text("PRAGMA writable_schema = RESET"))

    await sqlite_store.write(corrupt)
    with pytest.raises(StoreDamaged):
        await sqlite_store.write(add_one)
    with pytest.raises(StoreDamaged):
        await sqlite_store.write(_nothing)


def _nothing(tx: Tx) -> None:
    pass


async def test_a_closed_store_says_so(store: AnyStore) -> None:
    await store.close()
    with pytest.raises(StoreBusy):
        await store.write(_nothing)
    with pytest.raises(StoreBusy):
        await store.read(_nothing)
    await store.close()


async def test_what_is_under_way_when_the_store_closes_is_finished(store: AnyStore) -> None:
    began = threading.Event()
    goes_on = threading.Event()

    def slow(tx: Tx) -> int:
        began.set()
        assert goes_on.wait(20)
        return count(tx)

    reading = asyncio.create_task(store.read(slow))
    await asyncio.to_thread(began.wait, 20)
    writing = asyncio.create_task(store.write(add_one))
    await asyncio.sleep(0)  # it is handed in
    threading.Timer(0.05, goes_on.set).start()
    await store.close()
    assert await reading in (0, 1)
    assert await writing == 1


async def test_somebody_else_who_holds_the_file_makes_the_store_busy_not_wrong(
    sqlite_store: SqliteStore,
) -> None:
    await sqlite_store.write(lambda tx: tx.execute(text("PRAGMA busy_timeout = 50")).all())
    other = driver.connect(sqlite_store.path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy):
            await sqlite_store.write(add_one)
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert await sqlite_store.write(add_one) == 1
