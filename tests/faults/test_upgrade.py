"""Databases of each released schema, with mail in every state, opened by this release (D09): all of it is there, and goes."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from mailrelay.clock import Clock, to_micros
from mailrelay.model.delivery import DeliveryState
from mailrelay.store import schema
from mailrelay.store.sqlite import driver
from tests.crash.clients import Client
from tests.crash.relay import relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, problems, read_books
from tests.support.postfix import free_port
from tests.support.sink import world

MAILS = 8


def _at_step(path: Path, step: str) -> None:
    """An empty database as the release of this step made it."""
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, step)
    engine.dispose()


def _poured(new: Path, old: Path) -> None:
    """Every row of one database into the other, as far as that has tables and columns for it."""
    with closing(driver.connect(old, isolation_level=None)) as to:
        to.execute("ATTACH DATABASE ? AS source", (str(new),))
        tables = [name for (name,) in to.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table.startswith("sqlite_") or table == "alembic_version":
                continue
            own = {row[1] for row in to.execute(f"PRAGMA main.table_info({table})")}
            given = [row[1] for row in to.execute(f"PRAGMA source.table_info({table})")]
            shared = ", ".join(f'"{name}"' for name in given if name in own)
            to.execute(f"INSERT INTO main.{table} ({shared}) SELECT {shared} FROM source.{table}")
        to.execute("DETACH DATABASE source")


def _in_every_state(database: Path, step: str) -> None:
    """What a process that was killed left: one sent for, one put off, one held, the others queued; an arrival being filed."""
    now = to_micros(Clock().now())
    with closing(driver.connect(database, isolation_level=None)) as to:
        ids = [id_ for (id_,) in to.execute("SELECT id FROM delivery ORDER BY id")]
        assert len(ids) == MAILS
        to.execute(
            "UPDATE delivery SET state = 'queued', attempts = 0, lease_node = NULL, lease_until = NULL, due_at = 0"
        )
        to.execute("DELETE FROM attempt")
        sending, deferred, held = ids[:3]
        to.execute(
            "UPDATE delivery SET state = 'sending', attempts = 1, lease_node = 'dead', lease_until = ?, fence = 7 WHERE id = ?",
            (now - 1, sending),
        )
        to.execute("UPDATE delivery SET attempts = 2, due_at = ? WHERE id = ?", (now + 2_000_000, deferred))
        deferral = '{"kind": "interrupted", "stage": "connect", "detail": "nobody there"}'
        for id_, number, outcome in ((sending, 1, None), (deferred, 1, deferral), (deferred, 2, deferral)):
            to.execute(
                "INSERT INTO attempt (delivery, number, began_at, host, outcome) VALUES (?, ?, ?, 'h', ?)",
                (id_, number, now, outcome),
            )
        if step >= "0002":  # 0001 holds nothing
            to.execute(
                "UPDATE delivery SET state = 'held', job = 'spring', held_by = 'job:spring' WHERE id = ?", (held,)
            )
            to.execute(
                "INSERT INTO suspension (org, scope, name, since, reason, evidence, by)"
                " SELECT org, 'job', 'spring', ?, 'hand', '', 'test' FROM delivery WHERE id = ?",
                (now, held),
            )
        to.execute(
            "UPDATE arrival SET state = 'working', lease_node = 'dead', lease_until = ? WHERE state = 'accepted'"
            " AND id IN (SELECT id FROM arrival WHERE state = 'accepted' LIMIT 1)",
            (now - 1,),
        )


@pytest.mark.parametrize("step", ["0001", "0002"])
async def test_fault_d09_a_database_of_an_earlier_release_is_brought_up_to_date_and_its_mail_goes(
    tmp_path: Path, step: str
) -> None:
    ledger = Ledger()
    with world() as around, relay(tmp_path / "1", around) as one:
        nowhere = dataclasses.replace(around, sink=dataclasses.replace(around.sink, port=free_port()))
        one.around = nowhere
        one.start()
        client = Client(one, ledger)
        async with client.session("edge") as edge, client.session("submissions") as submissions:
            for _ in range(MAILS):
                assert await client.submission(submissions) is Said.ACK
            for _ in range(MAILS):
                assert await client.edge(edge) is Said.ACK
        one.kill()

        new, old = one.data_folder / "mailrelay.db", tmp_path / "old.db"
        _at_step(old, step)
        _poured(new, old)
        _in_every_state(old, step)
        for file in one.data_folder.glob("mailrelay.db*"):
            file.unlink()
        (one.data_folder / "open").unlink()
        old.rename(new)

        one.around = around
        one.start()
        assert f'"before": "{step}"' in one.log
        left = 1 if step >= "0002" else 0
        await asyncio.to_thread(until, lambda: one.in_flight() == left, "all but the held one goes")
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    held = {place for place, state in books.states.items() if state == DeliveryState.HELD}
    assert len(held) == left
    assert not set(around.sink.copies) & held
    assert not [one for one in books.audit.balances if one.unaccounted]
    said = problems(ledger.mails, books, around.sink)
    # Of the one that is held, that it did not go; of all others nothing.
    assert {fault.partition(" ")[0] for fault in said} == {id_ for id_, _ in held}, said
