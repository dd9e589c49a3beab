"""The public door while the store is locked, stopped, full, or killed (T14): it answers at once, and loses nothing it acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select

from mailrelay.clock import Clock
from mailrelay.store.postgres import PostgresStore
from mailrelay.store.sqlite import SqliteStore
from mailrelay.store.tables import hit
from mailrelay.tracking.token import Keys
from tests.crash.disk import tmpfs
from tests.support import postgres, tracked
from tests.support.daemon import Daemon, daemon
from tests.support.locked import locked

CLOCK = Clock()
_CLIENTS = 20
_PERIOD = 0.1
"""Seconds between a client's requests: 200 a second altogether."""
_SOON = 0.1
_LOCKED = 5.0


@dataclass
class Load:
    """What the clients were answered, and how long it took."""

    seconds: list[float] = field(default_factory=list)

    @property
    def number(self) -> int:
        return len(self.seconds)

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[min(self.number - 1, int(self.number * share))]


@dataclass
class Place:
    one: Daemon
    store: SqliteStore | PostgresStore
    paths: Sequence[str]

    async def load(self, seconds: float) -> Load:
        """200 requests a second, each answered as it should be."""
        found = Load()
        async with asyncio.TaskGroup() as group:
            for number in range(_CLIENTS):
                group.create_task(self._client(number, seconds, found))
        return found

    async def _client(self, number: int, seconds: float, found: Load) -> None:
        await asyncio.sleep(number * _PERIOD / _CLIENTS)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.one.public)
        end, turn = time.monotonic() + seconds, number
        while time.monotonic() < end:
            path = self.paths[turn % len(self.paths)]
            turn += _CLIENTS
            began = time.monotonic()
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: {tracked.HOST}\r\nUser-Agent: {tracked.BROWSER}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.partition(b": ")[::2] for line in head.lower().split(b"\r\n")[1:])
            await reader.readexactly(int(fields[b"content-length"]))
            found.seconds.append(time.monotonic() - began)
            assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 302")), head
            await asyncio.sleep(max(0.0, _PERIOD - (time.monotonic() - began)))
        writer.close()

    async def kept(self) -> int:
        return await self.store.read(lambda tx: tx.execute(select(func.count()).select_from(hit)).scalar_one())

    async def all_kept(self, number: int, *, seconds: float = 30) -> None:
        """Wait until so many hits are in the store; they must not be more."""
        try:
            async with asyncio.timeout(seconds):
                while await self.kept() < number:  # noqa: ASYNC110 (the daemon tells nobody)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pass
        assert await self.kept() == number, self.one.log[-3000:]


@asynccontextmanager
async def _place(one: Daemon, store: SqliteStore | PostgresStore) -> AsyncIterator[Place]:
    try:
        whose = await tracked.house(store, CLOCK)
        sent = await tracked.sent(store, CLOCK, whose, number=200)
        keys = Keys.derive((one.data / "secret").read_text().strip().encode())
        paths = [make(keys, of) for of in sent for make in (tracked.pixel, tracked.link)]
        yield Place(one, store, paths)
    finally:
        await store.close()


@asynccontextmanager
async def _on_sqlite(folder: Path) -> AsyncIterator[Place]:
    with daemon(folder) as one:
        async with _place(one, SqliteStore(one.data / "mailrelay.db")) as place:
            yield place


async def _answers_at_once(place: Place, trouble: Callable[[], contextlib.AbstractContextManager[None]]) -> int:
    """Load before the trouble and during it: both are answered at once. How many were."""
    before = await place.load(2)
    with trouble():
        during = await place.load(_LOCKED)
    after = await place.load(1)
    # The machine itself may be slow: what it is without trouble is no fault of ours.
    bound = max(_SOON, 3 * before.percentile(0.99))
    assert during.percentile(0.99) < bound, (before.percentile(0.99), during.percentile(0.99))
    assert during.number > 0.6 * _LOCKED * _CLIENTS / _PERIOD
    return before.number + during.number + after.number


async def test_fault_t14_a_locked_store_delays_no_answer_and_loses_no_hit(tmp_path: Path) -> None:
    async with _on_sqlite(tmp_path) as place:
        store = place.store
        assert isinstance(store, SqliteStore)
        number = await _answers_at_once(place, lambda: locked(store.path))
        await place.all_kept(number)
        assert place.one.metrics()['mailrelay_hits_dropped_total{reason="full"}'] == 0
        assert [path for path in (place.one.data / "hits").iterdir() if path.suffix == ".hits"] == []


async def test_fault_t14_a_stopped_database_delays_no_answer_and_loses_no_hit(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (
        postgres.database(postgres.server(shared)) as url,
        daemon(tmp_path, {"store": {"url": url}}) as one,
    ):
        async with _place(one, PostgresStore(url)) as place:

            @contextmanager
            def stopped() -> Iterator[None]:
                """None of the daemon's sessions with the database goes on."""
                with psycopg.connect(url, autocommit=True) as connection:
                    ours = connection.info.backend_pid
                    asked = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
                    pids = [pid for (pid,) in connection.execute(asked, [ours])]
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                try:
                    yield
                finally:
                    for pid in pids:
                        os.kill(pid, signal.SIGCONT)

            number = await _answers_at_once(place, stopped)
            await place.all_kept(number)
            assert one.metrics()['mailrelay_hits_dropped_total{reason="full"}'] == 0


async def test_fault_t14_a_full_disk_delays_no_answer_and_memory_keeps_what_it_can(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "data", "size=200m") as disk, daemon(tmp_path) as one:
        async with _place(one, SqliteStore(one.data / "mailrelay.db")) as place:

            @contextmanager
            def full() -> Iterator[None]:
                fill = disk / "fill"
                with fill.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * 65_536)
                try:
                    yield
                finally:
                    fill.unlink()

            number = await _answers_at_once(place, full)
            await place.all_kept(number)
            assert one.metrics()['mailrelay_hits_dropped_total{reason="full"}'] == 0
            assert "hits.deferred" in one.log


async def test_fault_t14_what_waited_on_the_disk_is_there_after_a_kill(tmp_path: Path) -> None:
    async with _on_sqlite(tmp_path) as place:
        store = place.store
        assert isinstance(store, SqliteStore)
        with locked(store.path):
            number = (await place.load(3)).number
            await asyncio.sleep(1.0)
            place.one.kill()
        assert number > 300
        assert list((place.one.data / "hits").iterdir())
        await asyncio.to_thread(place.one.start)
        await place.all_kept(number)
        assert place.one.stop() == 0
        assert await place.kept() == number
