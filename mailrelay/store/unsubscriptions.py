"""Who was counted as leaving what, so that nobody is counted twice (O18)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select

from mailrelay.clock import to_micros
from mailrelay.ids import OrgId
from mailrelay.model.sending import Sending
from mailrelay.store import erased
from mailrelay.store.base import Tx
from mailrelay.store.tables import unsubscription


def first(tx: Tx, org: OrgId, key: str, sending: Sending, *, at: datetime) -> bool:
    """Whether this address (by key) was not yet counted as leaving this job or domain; from now on it was."""
    before = select(unsubscription.c.at).where(
        unsubscription.c.org == org,
        unsubscription.c.key == erased.hashed(tx, org, key),
        unsubscription.c.scope == sending.scope,
        unsubscription.c.name == sending.name,
    )
    if tx.execute(before).first() is not None:
        return False
    counted = tx.execute(
        tx.insert(unsubscription)
        .values(org=org, key=key, scope=sending.scope, name=sending.name, at=to_micros(at))
        .on_conflict_do_nothing()
        .returning(unsubscription.c.at)
    )
    return counted.first() is not None


def erase(tx: Tx, org: OrgId, key: str) -> None:
    """Keep what an address (by key) was counted for under its hash only (T13)."""
    name = erased.hashed(tx, org, key)
    theirs = select(unsubscription).where(unsubscription.c.org == org, unsubscription.c.key == key)
    found = [{**row._mapping, "key": name} for row in tx.execute(theirs)]
    if found:
        tx.execute(tx.insert(unsubscription).on_conflict_do_nothing(), found)
        tx.execute(delete(unsubscription).where(unsubscription.c.org == org, unsubscription.c.key == key))
