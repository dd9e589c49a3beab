"""Automatic answers that were sent, so that nobody gets two within the window, whoever asks at once (RFC 3834 §2)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Executable, bindparam, func, select

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import MessageId, OrgId
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.tables import answer


def take(tx: Tx, org: OrgId, *, answerer: str, key: str, message: MessageId, now: datetime, since: datetime) -> bool:
    """Note that `answerer` answers `message` of an address (both by key); False when it did so after `since` already.

    Of any number that ask at once, one gets True.
    """
    row = {
        "org": org,
        "answerer": answerer,
        "key": key,
        "at": to_micros(now),
        "message": message,
        "since": to_micros(since),
    }
    return tx.execute(_TAKE[tx.dialect], row).first() is not None


def last(tx: Tx, org: OrgId, *, answerer: str, key: str) -> datetime | None:
    """When `answerer` last answered an address (both by key)."""
    at = tx.execute(
        select(answer.c.at).where(answer.c.org == org, answer.c.answerer == answerer, answer.c.key == key)
    ).scalar()
    return None if at is None else from_micros(at)


def count(tx: Tx, org: OrgId, *, since: datetime) -> int:
    """How many addresses an organisation answered after `since`."""
    found = select(func.count()).select_from(answer).where(answer.c.org == org, answer.c.at > to_micros(since))
    return int(tx.execute(found).scalar_one())


def _take(insert: InsertInto) -> Executable:
    row = insert(answer)
    # The row of a pair is what two at once meet at: the second waits for the first, and finds its answer too young.
    return row.on_conflict_do_update(
        index_elements=["org", "answerer", "key"],
        set_={name: row.excluded[name] for name in ("at", "message")},
        where=answer.c.at <= bindparam("since"),
    ).returning(answer.c.key)


_TAKE = for_both(_take)
