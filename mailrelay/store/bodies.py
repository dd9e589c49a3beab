"""Small bodies, kept in the database so that they are durable with the row that names them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from mailrelay.ids import Digest
from mailrelay.store.base import Tx, for_both
from mailrelay.store.tables import body

_PUT = for_both(lambda insert: insert(body).on_conflict_do_nothing())


def put(tx: Tx, digest: Digest, data: bytes) -> None:
    """Keep bytes under their digest; the same content twice is one row."""
    tx.execute(_PUT[tx.dialect], {"digest": digest, "size": len(data), "data": data})


def get_many(tx: Tx, digests: Sequence[Digest]) -> list[bytes | None]:
    """The bytes of each; None where they are not here (then they are a blob)."""
    found = {
        row.digest: row.data for row in tx.execute(select(body.c.digest, body.c.data).where(body.c.digest.in_(digests)))
    }
    return [found.get(digest) for digest in digests]
