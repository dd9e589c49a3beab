"""Which links have a text in their address: all addresses there are, from one to the next by their index."""

from __future__ import annotations

from sqlalchemy import func, select

from mailrelay.ids import OrgId
from mailrelay.store.base import Tx
from mailrelay.store.compile import bounds
from mailrelay.store.tables import link_hit

_START = 200
"""Characters of an address that its index has."""


def with_text(tx: Tx, org: OrgId, wanted: str) -> tuple[str, ...] | None:
    """The beginnings of all clicked addresses with this in them, and of those that may have it behind their beginning.

    None where there are too many addresses to look through.
    """
    starts = link_hit.c.start
    first = select(func.min(starts).label("start")).where(link_hit.c.org == org)
    there = first.cte("there", recursive=True)
    following = select(func.min(starts)).where(link_hit.c.org == org, starts > there.c.start).scalar_subquery()
    there = there.union_all(select(following).where(there.c.start.is_not(None)))
    found = [one for one in tx.execute(select(there.c.start).limit(bounds.LINKS + 2)).scalars() if one is not None]
    if len(found) > bounds.LINKS:
        return None
    return tuple(one for one in found if wanted in one or len(one) == _START)
