"""What somebody takes out of the store behind our back is named by the audit, and seen by the metric (K8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from mailrelay.store.base import Tx
from mailrelay.store.sqlite import SqliteStore
from mailrelay.store.tables import arrival, body, delivery, message
from tests.crash.clients import Client
from tests.crash.relay import Relay, relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Sent
from tests.support.sink import world

SMALL, LARGE = 2_000, 80_000
_UNACCOUNTED = 'mailrelay_unaccounted_messages{channel="%s"}'


async def _filed(one: Relay, ledger: Ledger, size: int) -> Sent:
    client = Client(one, ledger)
    async with client.session("edge") as session:
        for _ in range(3):
            await client.edge(session, size=size)
    await asyncio.to_thread(until, lambda: not one.in_flight(), "everything is filed")
    return ledger.mails[1]


async def _by_hand(one: Relay, take: Callable[[Tx], str]) -> str:
    """Change the database beside the daemon."""
    store = SqliteStore(one.data_folder / "mailrelay.db")
    try:
        return await store.write(take)
    finally:
        await store.close()


@pytest.mark.parametrize("missing", ["arrival", "message", "body", "blob", "damaged blob"])
async def test_the_audit_names_exactly_the_mail_that_lacks_something(tmp_path: Path, missing: str) -> None:
    with world() as around, relay(tmp_path, around) as one:
        one.start()
        mail = await _filed(one, Ledger(), LARGE if "blob" in missing else SMALL)
        assert one.local("/api/v1/audit")["balanced"]

        def take(tx: Tx) -> str:
            row = tx.execute(select(message.c.id, message.c.raw_digest).where(message.c.message_id == mail.id)).one()
            came = tx.execute(select(arrival.c.id).where(arrival.c.message == row.id)).scalar_one()
            match missing:
                case "arrival":
                    tx.execute(delete(arrival).where(arrival.c.id == came))
                case "message":
                    tx.connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
                    for table in reversed(message.metadata.sorted_tables):
                        if table.name in ("message_source", "filing", "link", "participant"):
                            tx.execute(delete(table).where(table.c.message == row.id))
                    tx.execute(delete(message).where(message.c.id == row.id))
                case "body":
                    assert tx.execute(delete(body).where(body.c.digest == row.raw_digest)).rowcount == 1
                case _:
                    blob = one.data_folder / "blobs" / row.raw_digest[:2] / row.raw_digest
                    blob.write_bytes(blob.read_bytes()[:-1] + b"?") if "damaged" in missing else blob.unlink()
            return str(came if missing in ("arrival", "message") else row.id)

        named = await _by_hand(one, take)
        found = one.local("/api/v1/audit")
        assert not found["balanced"]
        assert {each["id"] for each in found["discrepancies"]} == {named}, found
        assert {each["channel"] for each in found["discrepancies"]} == {"dropbox"}


async def test_the_metric_sees_what_vanishes_in_flight(tmp_path: Path) -> None:
    with world() as around, relay(tmp_path, around) as one:
        one.start()
        around.sink.delay = 60  # it stays in flight
        ledger = Ledger()
        client = Client(one, ledger)
        async with client.session("submissions") as session:
            await client.submission(session)
        await asyncio.to_thread(until, lambda: one.in_flight() == 1, "it is filed, and being sent")
        assert one.metrics()[_UNACCOUNTED % "submission"] == 0

        def take(tx: Tx) -> str:
            id_: str = tx.execute(select(delivery.c.id)).scalar_one()
            # With its attempts, which refer to it.
            for table in reversed(delivery.metadata.sorted_tables):
                if table.name == "attempt":
                    tx.execute(delete(table))
            tx.execute(delete(delivery))
            return id_

        gone = await _by_hand(one, take)
        await asyncio.to_thread(until, lambda: one.metrics()[_UNACCOUNTED % "submission"] == 1, "the metric sees it")
        assert {each["id"] for each in one.local("/api/v1/audit")["discrepancies"]} == {gone}
        assert '"audit.unbalanced"' in one.log
