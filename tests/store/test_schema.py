"""The schema: brought up to date once, the same as the tables say, and left alone when it is newer than we are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, text

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


async def test_the_steps_make_the_tables_word_for_word(tmp_path: Path) -> None:
    """Partial indexes, defaults and AUTOINCREMENT too, which Alembic's comparison does not look at."""
    stepped, made = (create_engine(f"sqlite:///{tmp_path / name}") for name in ("stepped.db", "made.db"))
    schema.migrate(stepped)
    metadata.create_all(made)
    assert _words(stepped) == _words(made)


def _words(engine: Engine) -> dict[str, list[str]]:
    """Every table and index with the words of its SQL; their order is that of no importance in which constraints stand."""
    with engine.connect() as connection:
        found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    engine.dispose()
    return {
        name: sorted(re.findall(r"\w+|[^\w\s]", sql))
        for name, sql in found
        if not name.startswith(("alembic", "sqlite"))
    }


async def test_a_newer_database_is_not_touched(store: AnyStore) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreTooNew, match="9999"):
        schema.migrate(store.engine)
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
