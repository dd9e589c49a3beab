"""Brings a database to this release's schema, forward only, and refuses one that a newer release wrote."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from mailrelay.errors import StoreTooNew

_STEPS = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> tuple[str, str]:
    """Bring the schema to the newest step; returns the revision before ("" when empty) and after.

    Raises StoreTooNew when the database is at a revision that this release does not know.
    """
    newest = max(path.name for path in (_STEPS / "versions").glob("[0-9]*.py")).partition("_")[0]
    with engine.connect() as connection:
        if _revision(connection) == newest:
            return newest, newest

    # Only here: it takes a tenth of a start, and few starts have a step to take.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_STEPS))
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
    """The last step that was taken, "" without any, as Alembic keeps it."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""
