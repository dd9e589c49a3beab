"""That a job or domain comes near its brake is said once a day (O18)."""

from __future__ import annotations

from mailrelay.ids import OrgId
from mailrelay.model.sending import Sending
from mailrelay.store.base import Tx
from mailrelay.store.tables import warning


def first_today(tx: Tx, org: OrgId, sending: Sending, measure: str, *, day: int) -> bool:
    """Whether nobody has said it yet of this measure on this day (of `tallies.day_of`); from now on somebody has."""
    said = tx.execute(
        tx.insert(warning)
        .values(org=org, scope=sending.scope, name=sending.name, measure=measure, day=day)
        .on_conflict_do_nothing()
        .returning(warning.c.day)
    )
    return said.first() is not None
