"""Records by links in their mail: all addresses that were clicked are looked through, from one to the next by their index."""

from __future__ import annotations

from sqlalchemy import func, select

from mailrelay.ids import OrgId
from mailrelay.store.base import Tx
from mailrelay.store.compile import bounds
from mailrelay.store.tables import link_hit, mail_fact

_START = 200
"""Characters of an address that its index has."""


def records_with(tx: Tx, org: OrgId, module: str, wanted: str) -> list[str] | None:
    """The ids of all records whose mail has clicks on links with this in their address, and perhaps others.

    None where there are too many addresses to look through, or too many clicks.
    """
    starts = _starts(tx, org, wanted)
    if starts is None:
        return None
    clicks = select(link_hit.c.message).where(link_hit.c.org == org, link_hit.c.start.in_(starts))
    clicks = clicks.with_hint(link_hit, "INDEXED BY ix_link_hit_start", "sqlite").limit(bounds.FEW_CLICKS + 1)
    mails = tx.execute(clicks).scalars().all() if starts else ()
    if len(mails) > bounds.FEW_CLICKS:
        return None
    mine = (mail_fact.c.message.in_(sorted(set(mails))), mail_fact.c.org == org, mail_fact.c.module == module)
    found = select(mail_fact.c.record).where(*mine).distinct().limit(bounds.FEW_CLICKS + 1)
    found = found.with_hint(mail_fact, "INDEXED BY ix_mail_fact_message", "sqlite")
    ids = tx.execute(found).scalars().all() if mails else ()
    return sorted(ids) if len(ids) <= bounds.FEW_CLICKS else None


def _starts(tx: Tx, org: OrgId, wanted: str) -> list[str] | None:
    """The beginnings of all clicked addresses with this in them, and of those that may have it behind their beginning."""
    starts = link_hit.c.start
    first = select(func.min(starts).label("start")).where(link_hit.c.org == org)
    there = first.cte("there", recursive=True)
    following = select(func.min(starts)).where(link_hit.c.org == org, starts > there.c.start).scalar_subquery()
    there = there.union_all(select(following).where(there.c.start.is_not(None)))
    found = [one for one in tx.execute(select(there.c.start).limit(bounds.LINKS + 2)).scalars() if one is not None]
    return None if len(found) > bounds.LINKS else [one for one in found if wanted in one or len(one) == _START]
