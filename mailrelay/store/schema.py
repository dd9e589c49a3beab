"""Brings a database to this release's schema, forward only, and refuses one that a newer release wrote."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from mailrelay.errors import StoreTooNew


def migrate(engine: Engine) -> tuple[str, str]:
    """Bring the schema to the newest step; returns the revision before ("" when empty) and after.

    Raises StoreTooNew when the database is at a revision that this release does not know.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            # Its driver begins nothing by itself, and a step that was cut off half-way could be neither finished nor repeated.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        before = _revision(connection)
        if before and before not in {step.revision for step in scripts.walk_revisions()}:
            raise StoreTooNew(
                f"The database is at schema {before}, which this release does not know; start the newer release instead"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return before, _revision(connection)


def _revision(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""
