"""The embedded store: one writer thread with group commit, a few reader threads.

While one commit waits for the disk, the functions that arrive meanwhile queue up and share the next: that is how one fsync
makes many mails durable. When a function raises, the batch is rolled back and its functions are run again one by one, since a
SAVEPOINT for each would cost more than the rare replay.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, FromClause, create_engine, event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import DatabaseError, OperationalError

from mailrelay import metrics
from mailrelay.errors import DiskFull, Fatal, StoreBusy, StoreDamaged
from mailrelay.ids import Digest
from mailrelay.store import contents, ledger
from mailrelay.store.base import Bells, Ring, Tx

try:  # architecture §5: a SQLite older than 3.51.3 can corrupt a WAL; the wheel brings a newer one
    import pysqlite3 as driver
except ImportError:  # no wheel for this platform: the standard library's must be new enough
    import sqlite3 as driver

P = ParamSpec("P")
R = TypeVar("R")

OLDEST_SQLITE = (3, 51, 3)
_LARGEST_BATCH = 256
_BUSY_MILLISECONDS = 5_000


@dataclass(slots=True)
class _Job:
    """A function handed to the writer, and where its result goes."""

    fn: Callable[[Tx], Any]
    future: asyncio.Future[Any]


def translate(error: Exception) -> Exception:
    """A driver's error as one of ours; anything that is not the database's fault comes back as it is."""
    if not isinstance(error, DatabaseError):
        return error
    text = str(error.orig)
    if "full" in text:
        return DiskFull("The disk is full; try again later")
    # D06: "unable to open" is a process without descriptors; at the start it would have been found out before.
    if "locked" in text or "busy" in text or "unable to open" in text:
        return StoreBusy("The store is busy; try again later")
    if "malformed" in text or "not a database" in text or "disk I/O error" in text or "readonly" in text:
        # D04: after a failed fsync nothing that the page cache says may be believed; stop and recover from the log.
        return StoreDamaged(f"The database cannot be trusted any more: {text}")
    return error


def copy_online(source: Path, to: Path) -> None:
    """Copy a database that may be in use, as it is at one instant, durably, and check the copy. Blocks. Raises StoreDamaged."""
    with (
        closing(driver.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as old,
        closing(driver.connect(to)) as new,
    ):
        try:
            new.execute("PRAGMA synchronous = FULL")
            old.backup(new)  # all pages within one read transaction
            new.execute("PRAGMA journal_mode = DELETE")  # one file, until a daemon starts on it
            (found,) = new.execute("PRAGMA quick_check(1)").fetchone()
        except driver.DatabaseError as error:
            raise StoreDamaged(f"{source} cannot be copied: {error}") from error
    if found != "ok":
        raise StoreDamaged(f"{source} is damaged: {found}")


def blobs_of(database: Path) -> list[Digest]:
    """The digests that rows of a database nobody uses name, and whose bytes it does not hold itself. Blocks."""
    engine = _engine(database, pool_size=1)
    try:
        with engine.connect() as connection:
            return sorted({Digest(row[2]) for row in ledger.bodies_elsewhere(Tx(connection))})
    finally:
        engine.dispose()


def contents_of(database: Path) -> list[tuple[Digest, str]]:
    """The digest and the name of each content of an attachment that the data folder keeps, in a database nobody uses. Blocks."""
    engine = _engine(database, pool_size=1)
    try:
        with engine.connect() as connection:
            return [(digest, name) for _, digest, name in contents.in_folder(Tx(connection))]
    finally:
        engine.dispose()


class SqliteStore:
    """The store in one file."""

    def __init__(self, path: Path, *, readers: int = 4, secrets: Sequence[bytes] = (b"",)) -> None:
        if driver.sqlite_version_info < OLDEST_SQLITE:
            raise Fatal(
                f"SQLite {driver.sqlite_version} can corrupt its write-ahead log; "
                f"{'.'.join(map(str, OLDEST_SQLITE))} or later is needed (install pysqlite3)"
            )
        self.path = path
        self._secrets = tuple(secrets)
        self.bells = Bells()
        self.engine = _engine(path, pool_size=readers + 1)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="store-reader")
        self._broken: StoreDamaged | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._writer = threading.Thread(target=self._write_forever, name="store-writer", daemon=True)
        self._writer.start()

    async def read(self, fn: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """See `base.Store.read`."""
        self._check_open()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, lambda tx: fn(tx, *args, **kwargs))

    async def write(self, fn: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """See `base.Store.write`."""
        if self._broken is not None:
            raise self._broken
        self._check_open()
        future: asyncio.Future[R] = self._loop.create_future()
        self._jobs.put(_Job(lambda tx: fn(tx, *args, **kwargs), future))
        # A commit cannot be called back: whoever stops waiting does not stop the write.
        return await asyncio.shield(future)

    async def begin_log(self) -> None:
        """Make sure that the write-ahead log is there and synced.

        SQLite ignores a failure to sync its name in the folder; who syncs the folder next does not (D04).
        """
        await self.write(lambda tx: tx.connection.exec_driver_sql("PRAGMA user_version = 0").close())

    async def close(self) -> None:
        """See `base.Store.close`."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        self._readers.shutdown(wait=True)
        self.engine.dispose()

    def _check_open(self) -> None:
        # The last requests of a daemon that ends may outlive its store.
        if self._closed:
            raise StoreBusy("The store is closed; try again later")

    def _read(self, fn: Callable[[Tx], R]) -> R:
        try:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                try:
                    result = fn(Tx(connection, self._secrets))
                finally:
                    connection.rollback()
        except Exception as error:
            metrics.store_transactions.labels("read", "error").inc()
            raise translate(error) from error
        metrics.store_transactions.labels("read", "ok").inc()
        return result

    # --- the writer thread ---

    def _write_forever(self) -> None:
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(self.engine.connect())
            except DatabaseError as error:  # no database: whoever writes is told
                self._broken = StoreDamaged(str(translate(error)))
            while (batch := self._next_batch()) is not None:
                if self._broken is not None:
                    self._answer([(job, self._broken) for job in batch], set())
                elif not self._commit(connection, batch):
                    for job in batch:
                        self._commit(connection, [job])

    def _next_batch(self) -> list[_Job] | None:
        job = self._jobs.get()
        if job is None:
            return None
        batch = [job]
        while len(batch) < _LARGEST_BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)  # close after this batch
                break
            batch.append(job)
        return batch

    def _commit(self, connection: Connection, batch: list[_Job]) -> bool:
        """Run a batch in one transaction and answer it. False: roll back was needed and the batch is to be replayed singly."""
        began = time.monotonic()
        tx = Tx(connection, self._secrets)
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            results: list[tuple[_Job, Any]] = [(job, job.fn(tx)) for job in batch]
            tx.finish()
            connection.exec_driver_sql("COMMIT")
            connection.rollback()  # tells SQLAlchemy; the database's own transaction has ended
        except BaseException as error:  # noqa: BLE001 (whatever a function raises belongs to its caller)
            _roll_back(connection)
            metrics.store_transactions.labels("write", "error").inc()
            translated = translate(error) if isinstance(error, Exception) else error
            if isinstance(translated, StoreDamaged):
                self._broken = translated
            if len(batch) > 1 and self._broken is None:
                return False
            self._answer([(job, translated) for job in batch], set())
            return True
        metrics.store_commit_seconds.observe(time.monotonic() - began)
        metrics.store_batch.observe(len(batch))
        metrics.store_transactions.labels("write", "ok").inc(len(batch))
        tx.committed()
        self._answer(results, tx.rung)
        return True

    def _answer(self, results: list[tuple[_Job, Any]], rung: set[Ring]) -> None:
        def deliver() -> None:
            for job, result in results:
                if job.future.done():
                    continue
                if isinstance(result, BaseException):
                    job.future.set_exception(result)
                    job.future.exception()  # a caller that was cancelled must not make asyncio complain
                else:
                    job.future.set_result(result)
            self.bells.ring(rung)

        # When the loop has gone nobody is left to be told; what was committed stays committed.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(deliver)


def _roll_back(connection: Connection) -> None:
    with suppress(OperationalError):  # the failure may have ended the transaction already
        connection.exec_driver_sql("ROLLBACK")
    connection.rollback()


class _Compiler(SQLiteCompiler):
    """SQLAlchemy's, and `with_hint(table, "INDEXED BY …", "sqlite")` is written behind the table's name."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        return text


def _engine(path: Path, *, pool_size: int) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        module=driver,
        hide_parameters=True,  # W10: values may be secrets, and errors are logged
        pool_size=pool_size,
        max_overflow=0,
        json_serializer=_encode,
        json_deserializer=msgspec.json.decode,
        connect_args={"check_same_thread": False, "timeout": _BUSY_MILLISECONDS / 1000, "isolation_level": None},
    )

    engine.dialect.statement_compiler = _Compiler

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        cursor = connection.cursor()
        # 16 KB pages: a small mail's body then lies in one page, and a group commit writes fewer of them.
        cursor.execute("PRAGMA page_size = 16384")
        cursor.execute("PRAGMA journal_mode = WAL")
        # O1: NORMAL loses acknowledged rows in a power cut (standards §8).
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        # 16 MiB for each connection: the system's page cache holds the rest, and memory stays bounded however long the queue.
        cursor.execute("PRAGMA cache_size = -16384")
        cursor.execute("PRAGMA temp_store = MEMORY")
        cursor.close()

    return engine


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()
