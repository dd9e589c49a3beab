"""How far a reader of the journal has come, by organisation: kept in the same transaction as what it made of the events.

So nothing is read past, and nothing is done twice: the journal is the outbox (docs/adr/0012).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, bindparam, func, select

from mailrelay.ids import EventSeq, OrgId
from mailrelay.store.base import Tx, for_both
from mailrelay.store.tables import event_counter, follower

_ADVANCE = for_both(
    lambda insert: (
        new := insert(follower).values(name=bindparam("name"), org=bindparam("org"), seq=bindparam("seq"))
    ).on_conflict_do_update(
        index_elements=["name", "org"], set_={"seq": new.excluded.seq}, where=follower.c.seq < new.excluded.seq
    )
)


def position(tx: Tx, name: str, org: OrgId) -> EventSeq:
    """The last event that this reader has dealt with, 0 before the first."""
    found = tx.execute(select(follower.c.seq).where(follower.c.name == name, follower.c.org == org)).scalar()
    return EventSeq(found or 0)


def claim(tx: Tx, name: str, org: OrgId) -> EventSeq:
    """Like `position`, and nobody else advances this reader until the transaction ends: for a reader that runs on many nodes.

    The second of two that claim at the same moment waits, and sees how far the first one came.
    """
    tx.execute(_BEGIN[tx.dialect], {"name": name, "org": org})
    held = select(follower.c.seq).where(follower.c.name == name, follower.c.org == org).with_for_update()
    return EventSeq(tx.execute(held).scalar_one())


_BEGIN = for_both(
    lambda insert: (
        insert(follower)
        .values(name=bindparam("name"), org=bindparam("org"), seq=0)
        .on_conflict_do_nothing(index_elements=["name", "org"])
    )
)


def advance(tx: Tx, name: str, org: OrgId, seq: int) -> None:
    """This reader has dealt with everything up to `seq`; it never goes back."""
    tx.execute(_ADVANCE[tx.dialect], {"name": name, "org": org, "seq": seq})


def behind(tx: Tx, name: str, *, limit: int) -> Sequence[OrgId]:
    """Organisations with events that this reader has not dealt with, those with the most first."""
    left = event_counter.c.last - func.coalesce(follower.c.seq, 0)
    found = (
        select(event_counter.c.org)
        .outerjoin(follower, and_(follower.c.org == event_counter.c.org, follower.c.name == name))
        .where(left > 0)
        .order_by(left.desc(), event_counter.c.org)
        .limit(limit)
    )
    return [OrgId(org) for org in tx.execute(found).scalars()]
