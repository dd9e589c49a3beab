"""The schema: brought up to date once, the same as the tables say, and left alone when it is newer than we are."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from mailrelay.errors import StoreTooNew
from mailrelay.store import schema
from mailrelay.store.tables import metadata
from tests.store.explain import AnyStore


async def test_migrating_twice_changes_nothing(store: AnyStore) -> None:
    before, after = schema.migrate(store.engine)
    assert before == after != ""


async def test_the_steps_lead_to_the_tables(store: AnyStore) -> None:
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


async def test_a_newer_database_is_not_touched(store: AnyStore) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreTooNew, match="9999"):
        schema.migrate(store.engine)
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
