"""What the databases say of how they would run a statement: none of ours may read a large table from end to end.

    async with watched(store) as watch:
        await store.read(records.get, org.id, ref)
    watch.check()

SQLite is asked for its query plan as it is. PostgreSQL prefers to scan a table of three rows, so it is told not to (a scan costs
it dearly) and shows one only where no index serves.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, event, text

from mailrelay.store.base import Tx
from mailrelay.store.postgres import PostgresStore
from mailrelay.store.sqlite import SqliteStore
from mailrelay.store.tables import metadata

AnyStore = SqliteStore | PostgresStore

SMALL = frozenset(
    {"event_counter", "organisation", "organisation_domain", "module", "ledger", "dkim_key", "alembic_version", "node"}
)
"""Tables that may be read whole: they grow with the number of organisations or processes, not with mail or records."""

_PLANNED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
_SQLITE_SCAN = re.compile(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?")
_POSTGRES_SCAN = re.compile(r"Seq Scan on (\w+)()")
_PARTIAL = {
    index.name
    for table in metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
}
"""Indexes over what is in flight: to read one whole is what it is for."""


@dataclass
class Watch:
    """The statements that ran while watched, each with its plan."""

    dialect: str
    plans: list[tuple[str, str]] = field(default_factory=list)

    def scans(self) -> list[str]:
        """Each scan of a table that is not small, or of a whole index of it: its name and the statement."""
        pattern = _SQLITE_SCAN if self.dialect == "sqlite" else _POSTGRES_SCAN
        return [
            f"{table}: {statement}"
            for statement, plan in self.plans
            for table, index in pattern.findall(plan)
            if table in metadata.tables and table not in SMALL and index not in _PARTIAL
        ]

    def check(self) -> None:
        """Fail when nothing ran, or something scanned."""
        assert self.plans, "no statement ran"
        assert not self.scans(), "\n".join(self.scans())


@contextmanager
def counted(store: AnyStore) -> Iterator[list[str]]:
    """The statements that the store runs meanwhile, in order; one for many rows is one."""
    ran: list[str] = []

    def note(_c: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        ran.append(statement)

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield ran
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


@asynccontextmanager
async def watched(store: AnyStore) -> AsyncIterator[Watch]:
    """Take note of every statement that the store runs, and have its plan explained at the end."""
    ran: dict[str, Any] = {}

    def note(_c: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool) -> None:
        if statement.lstrip().upper().startswith(_PLANNED):
            # One INSERT of many rows counts as many executions, and yet has one set of parameters.
            several = executemany and isinstance(parameters, list)
            ran.setdefault(statement, parameters[0] if several else parameters)

    event.listen(store.engine, "before_cursor_execute", note)
    watch = Watch(store.engine.dialect.name)
    try:
        yield watch
    finally:
        event.remove(store.engine, "before_cursor_execute", note)
    if ran:
        watch.plans = await store.write(_explain, ran)


def _explain(tx: Tx, ran: dict[str, Any]) -> list[tuple[str, str]]:
    command = "EXPLAIN QUERY PLAN" if tx.dialect == "sqlite" else "EXPLAIN"
    if tx.dialect == "postgresql":
        tx.execute(text("SET LOCAL enable_seqscan = off"))
    plans = []
    for statement, parameters in ran.items():
        rows = tx.connection.exec_driver_sql(f"{command} {statement}", parameters).all()
        plans.append((statement, "\n".join(str(row[-1]) for row in rows)))
    return plans
