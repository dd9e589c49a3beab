"""The one store suite runs on both databases."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailrelay.store.postgres import PostgresStore
from mailrelay.store.sqlite import SqliteStore
from tests.support import factory, postgres
from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of the session's PostgreSQL, with the schema and no rows."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with postgres.database(postgres.server(shared)) as url:
        yield url


@asynccontextmanager
async def _postgres_store(url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore | PostgresStore]:
    if request.param == "sqlite":
        async with factory.open_store(tmp_path) as sqlite_store:
            yield sqlite_store
    else:
        async with _postgres_store(request.getfixturevalue("postgres_url")) as postgres_store:
            yield postgres_store
