"""Small bodies, kept in the database so that they are durable with the row that names them."""

from __future__ import annotations

from sqlalchemy import select

from mailrelay.ids import Digest
from mailrelay.store.base import Tx
from mailrelay.store.tables import body


def put(tx: Tx, digest: Digest, data: bytes) -> None:
    """Keep bytes under their digest; the same content twice is one row."""
    tx.execute(tx.insert(body).values(digest=digest, size=len(data), data=data).on_conflict_do_nothing())


def get(tx: Tx, digest: Digest) -> bytes | None:
    """The bytes, or None when they are not here (then they are a blob)."""
    data: bytes | None = tx.execute(select(body.c.data).where(body.c.digest == digest)).scalar()
    return data
