"""How long the raw signal of a hit is kept: what tells whose it was goes after as many days as its organisation says (O9, T13)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Select, select, update

from mailrelay.clock import to_micros
from mailrelay.ids import OrgId
from mailrelay.model.settings import OrganisationSettings
from mailrelay.store import organisations, rows
from mailrelay.store.base import Tx
from mailrelay.store.tables import HITS_WITH_SIGNAL, hit, organisation

_STEP = 500
"""Hits, at most, that one transaction changes."""


def overdue(tx: Tx, *, now: datetime) -> Sequence[OrgId]:
    """Organisations that have hits with a raw signal which is too old to be kept."""
    all_ = tx.execute(select(organisation.c.id, organisation.c.settings)).all()
    return [
        OrgId(row.id)
        for row in all_
        if tx.execute(_old(row.id, rows.decode(OrganisationSettings, row.settings), now, limit=1)).first() is not None
    ]


def strip(tx: Tx, org: OrgId, *, now: datetime, limit: int = _STEP) -> int:
    """Forget address, program and header fields of an organisation's hits that are old enough; how many those were.

    What they are taken for, and what they come to, stays as it is: see `RawHit.stripped`.
    """
    old = list(tx.execute(_old(org, organisations.settings(tx, org), now, limit=limit)).scalars())
    if old:
        tx.execute(update(hit).where(hit.c.id.in_(old)).values(ip="", agent="", method="", headers=[]))
    return len(old)


def _old(org: str, settings: OrganisationSettings, now: datetime, *, limit: int) -> Select[tuple[str]]:
    until = to_micros(now - timedelta(days=settings.raw_hit_days))
    return select(hit.c.id).where(HITS_WITH_SIGNAL, hit.c.org == org, hit.c.at < until).order_by(hit.c.at).limit(limit)
