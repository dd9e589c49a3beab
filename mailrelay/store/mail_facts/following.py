"""Keeping up: facts are made as the journal grows, and again where what they are made of is another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, delete, func, select, update

from mailrelay.clock import from_micros
from mailrelay.ids import MessageId, OrgId
from mailrelay.store import events, followers
from mailrelay.store.base import Tx
from mailrelay.store.mail_facts.making import make
from mailrelay.store.mail_facts.reading import pieces
from mailrelay.store.mail_facts.touched import Touched
from mailrelay.store.tables import (
    event,
    event_counter,
    follower,
    link,
    mail_fact,
    mail_fact_again,
    message,
    message_source,
)

FOLLOWER: Final = "mail-facts"
BATCH: Final = 500
"""Events of one transaction."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the facts have come: the last event that they tell of, and when it happened; how many of them are left."""

    events: int
    left: bool


def follow(tx: Tx, org: OrgId, *, limit: int = BATCH) -> Progress:
    """Take the next events of an organisation into account; where there are none, mail of records with other addresses."""
    seen = followers.claim(tx, FOLLOWER, org)
    new = events.after(tx, org, seen, limit=limit)
    if new:
        touched = Touched()
        for one in new:
            touched.note(one)
        touched.messages |= _known_of(tx, touched.arrivals)
        make(tx, org, touched)
        _note_again(tx, org, touched.readdressed)
        followers.advance(tx, FOLLOWER, org, new[-1].seq)
    left = len(new) == limit
    return Progress(len(new), left=left or _made_some_again(tx, org, limit=limit))


def _known_of(tx: Tx, arrivals: Collection[str]) -> set[str]:
    """The mails that these arrivals brought, as far as there are facts of them which tell of no delivery of ours."""
    found: set[str] = set()
    for part in pieces(arrivals):
        mine = select(message_source.c.message).where(message_source.c.arrival.in_(part)).distinct()
        known = select(mail_fact.c.message).where(mail_fact.c.message.in_(mine), mail_fact.c.delivery == "")
        found |= set(tx.execute(known.distinct()).scalars())
    return found


def unfinished(tx: Tx, *, limit: int) -> list[OrgId]:
    """Organisations with records whose mail is to be looked at again, since they have other addresses."""
    return [OrgId(one) for one in tx.execute(select(mail_fact_again.c.org).distinct().limit(limit)).scalars()]


def _note_again(tx: Tx, org: OrgId, records: Mapping[tuple[str, str], int]) -> None:
    """Have the facts of these records' mail made anew, as far as they have any."""
    by_module: defaultdict[str, list[str]] = defaultdict(list)
    for module, id_ in records:
        by_module[module].append(id_)
    row = tx.insert(mail_fact_again)
    again = row.on_conflict_do_update(
        index_elements=["org", "module", "record"], set_={"at": row.excluded.at, "after": ""}
    )
    for module, ids in sorted(by_module.items()):
        for part in pieces(ids):
            mine = (link.c.org == org) & (link.c.module == module) & link.c.record.in_(part)
            linked = tx.execute(select(link.c.record).where(mine).distinct()).scalars().all()
            rows = [{"org": org, "module": module, "record": one, "at": records[module, one]} for one in sorted(linked)]
            if rows:
                tx.execute(again, rows)


def _made_some_again(tx: Tx, org: OrgId, *, limit: int) -> bool:
    """Make the facts of so many mails anew whose records have other addresses; whether more are left."""
    first = select(mail_fact_again).where(mail_fact_again.c.org == org).order_by(mail_fact_again.c.at).limit(1)
    row = tx.execute(first).first()
    if row is None:
        return False
    mine = (link.c.org == org, link.c.module == row.module, link.c.record == row.record, link.c.message > row.after)
    page = select(link.c.message).where(*mine).order_by(link.c.message).limit(limit)
    mails = tx.execute(page).scalars().all()
    make(tx, org, Touched(records={(one, row.module, row.record) for one in mails}))
    this = and_(
        mail_fact_again.c.org == org,
        mail_fact_again.c.module == row.module,
        mail_fact_again.c.record == row.record,
    )
    if len(mails) == limit:
        tx.execute(update(mail_fact_again).where(this).values(after=mails[-1]))
    else:
        tx.execute(delete(mail_fact_again).where(this))
    return True


def make_again(tx: Tx, org: OrgId, *, after: MessageId | None = None, limit: int = BATCH) -> MessageId | None:
    """Make the facts of some messages anew, by id behind `after`; the last id, None at the end."""
    page = select(message.c.id).where(message.c.org == org)
    if after is not None:
        page = page.where(message.c.id > after)
    ids = tx.execute(page.order_by(message.c.id).limit(limit)).scalars().all()
    make(tx, org, Touched(messages=set(ids)))
    return MessageId(ids[-1]) if len(ids) == limit else None


def make_of(tx: Tx, org: OrgId, deliveries: Mapping[str, str]) -> None:
    """Make the facts of these deliveries (their messages, by id) anew, when something of them went that no event tells of (T13)."""
    make(tx, org, Touched(deliveries=dict(deliveries)))


def as_of(tx: Tx, org: OrgId, *, now: datetime) -> tuple[bool, datetime]:
    """Whether the facts tell of everything until now, and otherwise until when they do."""
    last = tx.execute(select(event_counter.c.last).where(event_counter.c.org == org)).scalar() or 0
    seen = followers.position(tx, FOLLOWER, org)
    again = select(func.min(mail_fact_again.c.at)).where(mail_fact_again.c.org == org)
    first_left = select(event.c.at).where(event.c.org == org, event.c.seq > seen).order_by(event.c.seq).limit(1)
    left = [tx.execute(again).scalar(), tx.execute(first_left).scalar() if seen < last else None]
    since = min((one for one in left if one is not None), default=None)
    return (True, now) if since is None else (False, from_micros(since))


def behind_by(tx: Tx) -> int:
    """How many events the facts do not tell of yet, of all organisations."""
    ours = and_(follower.c.org == event_counter.c.org, follower.c.name == FOLLOWER)
    both = select(event_counter.c.last, follower.c.seq).select_from(event_counter.outerjoin(follower, ours))
    return sum(row.last - (row.seq or 0) for row in tx.execute(both))
