"""Who was counted as leaving what, so that nobody is counted twice (O18)."""

from __future__ import annotations

from datetime import datetime

from mailrelay.clock import to_micros
from mailrelay.ids import OrgId
from mailrelay.model.sending import Sending
from mailrelay.store.base import Tx
from mailrelay.store.tables import unsubscription


def first(tx: Tx, org: OrgId, key: str, sending: Sending, *, at: datetime) -> bool:
    """Whether this address (by key) was not yet counted as leaving this job or domain; from now on it was."""
    counted = tx.execute(
        tx.insert(unsubscription)
        .values(org=org, key=key, scope=sending.scope, name=sending.name, at=to_micros(at))
        .on_conflict_do_nothing()
        .returning(unsubscription.c.at)
    )
    return counted.first() is not None
