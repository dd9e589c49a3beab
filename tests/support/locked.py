"""A SQLite database that somebody else has locked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mailrelay.store.sqlite import driver


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody can write into it for as long as this lasts."""
    with closing(driver.connect(database, isolation_level=None, timeout=10)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
