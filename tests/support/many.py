"""A queue of very many deliveries, made in the database itself, out of one that was really submitted."""

from __future__ import annotations

from sqlalchemy import text

from mailrelay.ids import DeliveryId
from mailrelay.store.base import Tx
from mailrelay.store.tables import delivery

_STEP = 50_000
_JSON = {"postgresql": "CAST({} AS JSONB)", "sqlite": "{}"}


def multiply(tx: Tx, original: DeliveryId, number: int, *, domains: int = 1, first: int = 1) -> None:
    """Queue `number` more like it: to its destination, or to `domains` others, `d0.test` and so on. The books know of them."""
    row = tx.execute(delivery.select().where(delivery.c.id == original)).one()
    other = "delivery.destination" if domains == 1 else f"('d' || (n.i % {domains}) || '.test')"
    recipient = _JSON[tx.dialect].format(f"replace(CAST(delivery.recipient AS TEXT), delivery.destination, {other})")
    values = {
        "id": "'D99' || substr(CAST(1000000000000000000 + n.i AS TEXT), 2)",
        "queue_id": "'Q99' || substr(CAST(1000000000000000000 + n.i AS TEXT), 2)",
        "destination": other,
        "recipient": recipient,
        "recipient_key": f"'bob@' || {other}",
        "state": "'queued'",
        "lease_node": "NULL",
        "lease_until": "NULL",
        "attempts": "0",
    }
    names = [column.name for column in delivery.c]
    insert = (
        f"INSERT INTO delivery ({', '.join(names)})"
        " WITH RECURSIVE n(i) AS (SELECT CAST(:low AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < :high)"
        f" SELECT {', '.join(values.get(name, f'delivery.{name}') for name in names)} FROM n, delivery WHERE delivery.id = :id"
    )
    for low in range(first, first + number, _STEP):
        high = min(low + _STEP, first + number) - 1
        tx.execute(text(insert), {"low": low, "high": high, "id": original})
    tx.execute(
        text("UPDATE ledger SET accepted = accepted + :number WHERE channel = :channel AND thing = 'delivery'"),
        {"number": number, "channel": row.channel},
    )
    # As the migration does it.
    tx.execute(text("DELETE FROM destination"))
    tx.execute(
        text(
            "INSERT INTO destination (name, wake_at) SELECT destination, min(due_at) FROM delivery"
            " WHERE state IN ('queued', 'scheduled') GROUP BY destination"
        )
    )
