"""The same functions on PostgreSQL: a pool of connections, each transaction in a thread, retried when the server asks for it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

import msgspec
from psycopg import errors as pg
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from mailrelay import metrics
from mailrelay.errors import DiskFull, StoreBusy
from mailrelay.store.base import Bells, Ring, Tx

P = ParamSpec("P")
R = TypeVar("R")

_TRIES = 8
# 40001 and 40P01 are the server's own request to try again; a unique violation is one too, when two nodes made the same row
# at the same moment: the second run sees the first one's row.
_AGAIN = (pg.SerializationFailure, pg.DeadlockDetected, pg.UniqueViolation)


def translate(error: Exception) -> Exception:
    """A driver's error as one of ours; anything that is not the database's fault comes back as it is."""
    if not isinstance(error, DBAPIError):
        return error
    if isinstance(error.orig, pg.DiskFull):
        return DiskFull("The database has no space left; try again later")
    if isinstance(error.orig, (*_AGAIN, pg.OperationalError, pg.AdminShutdown, pg.LockNotAvailable)):
        return StoreBusy("The store is busy or away; try again later")
    return error


class PostgresStore:
    """The store on a PostgreSQL server."""

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        readers: int = 4,
        writers: int = 4,
        secrets: Sequence[bytes] = (b"",),
    ) -> None:
        target = make_url(url).set(drivername="postgresql+psycopg")
        if password is not None:
            target = target.set(password=password)
        self._secrets = tuple(secrets)
        self.bells = Bells()
        self.engine: Engine = create_engine(
            target,
            pool_size=readers + writers,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,  # W10: values may be secrets, and errors are logged
            json_serializer=lambda value: msgspec.json.encode(value).decode(),
            json_deserializer=msgspec.json.decode,
        )
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="store-reader")
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="store-writer")

    async def read(self, fn: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """See `base.Store.read`."""
        self._check_open()
        return await self._loop.run_in_executor(self._readers, self._read, lambda tx: fn(tx, *args, **kwargs))

    async def write(self, fn: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """See `base.Store.write`."""
        self._check_open()
        result, rung = await asyncio.shield(
            self._loop.run_in_executor(self._writers, self._write, lambda tx: fn(tx, *args, **kwargs))
        )
        self.bells.ring(rung)
        return result

    async def close(self) -> None:
        """See `base.Store.close`."""
        self._closed = True
        await asyncio.to_thread(self._writers.shutdown, wait=True)
        self._readers.shutdown(wait=True)
        self.engine.dispose()

    def _check_open(self) -> None:
        # The last requests of a daemon that ends may outlive its store.
        if self._closed:
            raise StoreBusy("The store is closed; try again later")

    def _read(self, fn: Callable[[Tx], R]) -> R:
        try:
            with self.engine.connect().execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            ) as connection:
                result = fn(Tx(connection, self._secrets))
        except Exception as error:
            metrics.store_transactions.labels("read", "error").inc()
            raise translate(error) from error
        metrics.store_transactions.labels("read", "ok").inc()
        return result

    def _write(self, fn: Callable[[Tx], R]) -> tuple[R, set[Ring]]:
        began = time.monotonic()
        for attempt in range(1, _TRIES + 1):
            try:
                with self.engine.begin() as connection:
                    tx = Tx(connection, self._secrets)
                    result = fn(tx)
                    tx.finish()
            except DBAPIError as error:
                if attempt < _TRIES and isinstance(error.orig, _AGAIN):
                    time.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311 (jitter)
                    continue
                metrics.store_transactions.labels("write", "error").inc()
                raise translate(error) from error
            except BaseException:
                metrics.store_transactions.labels("write", "error").inc()
                raise
            metrics.store_commit_seconds.observe(time.monotonic() - began)
            metrics.store_transactions.labels("write", "ok").inc()
            tx.committed()
            return result, tx.rung
        raise AssertionError("unreachable: the last try returns or raises")
