"""Contents: the bytes of attachments, each once for an organisation; who holds them, what they take, and what may go (I17).

A content's name has our own parts alone (organisation, digest, generation), and means the same bytes for ever: one that nobody holds any
more is taken away, and when it comes again it gets another name. So removing never races with keeping.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, bindparam, exists, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import Digest, OrgId
from mailrelay.model.attachment import Place
from mailrelay.store.base import Tx, for_both
from mailrelay.store.tables import content, content_removal, storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Where bytes are, or are to be put. `kept`: they are there."""

    place: Place
    name: str
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What an organisation's contents take, in bytes and in number; since when something does not fit."""

    used: int
    contents: int
    full_since: datetime | None


_NOTHING = Taken(used=0, contents=0, full_since=None)
_BEGIN = for_both(
    lambda insert: insert(storage).values(org=bindparam("org"), used=0, contents=0).on_conflict_do_nothing()
)
_LEAVE = for_both(
    lambda insert: (
        insert(content_removal)
        .values(place=bindparam("place"), name=bindparam("name"), due_at=bindparam("due_at"), attempts=0)
        .on_conflict_do_nothing()
    )
)


def lock(tx: Tx, org: OrgId) -> Taken:
    """What is taken, which nobody else changes until the transaction ends. Of several organisations in the order of their ids."""
    tx.execute(_BEGIN[tx.dialect], {"org": org})
    row = tx.execute(select(storage).where(storage.c.org == org).with_for_update()).one()
    return _taken(row.used, row.contents, row.full_at)


def taken(tx: Tx, org: OrgId) -> Taken:
    """What is taken."""
    row = tx.execute(select(storage).where(storage.c.org == org)).first()
    return _NOTHING if row is None else _taken(row.used, row.contents, row.full_at)


def find(tx: Tx, org: OrgId, digest: Digest) -> Content | None:
    """The content of this digest that is there, or on its way."""
    row = tx.execute(select(content).where(content.c.org == org, content.c.digest == digest)).first()
    if row is None or not row.holders:
        return None
    return Content(place=Place(row.place), name=_name(org, digest, row.generation), kept=bool(row.kept))


def is_held(org: ColumnElement[str], digest: ColumnElement[str]) -> ColumnElement[bool]:
    """That the content of this digest, by columns, is there or on its way."""
    return exists().where(content.c.org == org, content.c.digest == digest, content.c.holders > 0)


def next_name(tx: Tx, org: OrgId, digest: Digest, place: Place) -> Content:
    """The content of this digest, or what it would be called if it came now."""
    row = tx.execute(select(content).where(content.c.org == org, content.c.digest == digest)).first()
    if row is None:
        return Content(place=place, name=_name(org, digest, 0), kept=False)
    here = Place(row.place) if row.holders else place
    return Content(place=here, name=_name(org, digest, row.generation), kept=bool(row.kept))


def hold(tx: Tx, org: OrgId, digest: Digest, size: int, place: Place, *, limit: int) -> Content | None:
    """Hold a content once more; None when it is new and there is no room for it. `limit` 0: none. Only behind `lock`."""
    here = (content.c.org == org) & (content.c.digest == digest)
    row = tx.execute(select(content).where(here)).first()
    if row is not None and row.holders:
        tx.execute(update(content).where(here).values(holders=content.c.holders + 1))
        return Content(place=Place(row.place), name=_name(org, digest, row.generation), kept=bool(row.kept))
    if limit and taken(tx, org).used + size > limit:
        return None
    generation = 0 if row is None else row.generation
    new = {"size": size, "place": str(place), "holders": 1, "kept": False}
    if row is None:
        tx.execute(content.insert().values(org=org, digest=digest, generation=0, **new))
    else:
        tx.execute(update(content).where(here).values(**new))
    _count(tx, org, size, 1)
    return Content(place=place, name=_name(org, digest, generation), kept=False)


def keep(tx: Tx, org: OrgId, digest: Digest, name: str) -> bool:
    """Its bytes are there under this name. False when it has gone meanwhile: then the name is to be left."""
    row = tx.execute(select(content).where(content.c.org == org, content.c.digest == digest)).first()
    if row is None or not row.holders or _name(org, digest, row.generation) != name:
        return False
    if not row.kept:
        tx.execute(update(content).where(content.c.org == org, content.c.digest == digest).values(kept=True))
    return True


def let_go(tx: Tx, org: OrgId, digest: Digest, *, at: datetime) -> None:
    """One holder less; what nobody holds is taken away, and counts no more. Only behind `lock`."""
    here = (content.c.org == org) & (content.c.digest == digest)
    row = tx.execute(select(content).where(here)).one()
    if row.holders > 1:
        tx.execute(update(content).where(here).values(holders=row.holders - 1))
        return
    tx.execute(update(content).where(here).values(holders=0, kept=False, generation=row.generation + 1))
    _count(tx, org, -row.size, -1)
    leave(tx, Place(row.place), _name(org, digest, row.generation), at=at)


def not_needed(tx: Tx, org: OrgId, digest: Digest, put: Content, *, at: datetime) -> None:
    """Bytes were put that nobody came to hold: they are taken away, unless somebody else holds them by now. Only behind `lock`."""
    row = tx.execute(select(content).where(content.c.org == org, content.c.digest == digest)).first()
    generation = 0 if row is None else row.generation
    if row is not None and row.holders and _name(org, digest, generation) == put.name:
        return
    if _name(org, digest, generation) == put.name:
        # Whoever is about to hold them under this name puts them again, under the next.
        if row is None:
            gone = {"size": 0, "place": str(put.place), "holders": 0, "kept": False}
            tx.execute(content.insert().values(org=org, digest=digest, generation=1, **gone))
        else:
            here = (content.c.org == org) & (content.c.digest == digest)
            tx.execute(update(content).where(here).values(generation=generation + 1))
    leave(tx, put.place, put.name, at=at)


def leave(tx: Tx, place: Place, name: str, *, at: datetime) -> None:
    """Have bytes taken away from where they are."""
    tx.execute(_LEAVE[tx.dialect], {"place": str(place), "name": name, "due_at": to_micros(at)})


def claim_leaving(tx: Tx, *, now: datetime, lease: timedelta, limit: int) -> Sequence[tuple[Place, str, int]]:
    """What is to be taken away now, with how often that was tried; nobody else tries it for as long as the lease is."""
    due = (
        select(content_removal)
        .where(content_removal.c.due_at <= to_micros(now))
        .order_by(content_removal.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = [(Place(row.place), row.name, row.attempts) for row in tx.execute(due)]
    for place, name, _ in found:
        put_off(tx, place, name, to=now + lease)
    return found


def put_off(tx: Tx, place: Place, name: str, *, to: datetime) -> None:
    """Try again later to take it away."""
    here = (content_removal.c.place == str(place)) & (content_removal.c.name == name)
    tx.execute(
        update(content_removal).where(here).values(due_at=to_micros(to), attempts=content_removal.c.attempts + 1)
    )


def left(tx: Tx, gone: Collection[tuple[Place, str]]) -> None:
    """These bytes are gone from where they were."""
    for place, name in gone:
        tx.execute(
            content_removal.delete().where(content_removal.c.place == str(place), content_removal.c.name == name)
        )


def note_full(tx: Tx, org: OrgId, since: datetime | None) -> None:
    """Since when something does not fit, None once everything does. Only behind `lock`."""
    full_at = None if since is None else to_micros(since)
    tx.execute(update(storage).where(storage.c.org == org).values(full_at=full_at))


def full(tx: Tx) -> Sequence[OrgId]:
    """The organisations for whose files there is no room."""
    found = select(storage.c.org).where(storage.c.full_at.is_not(None)).order_by(storage.c.org)
    return [OrgId(org) for org in tx.execute(found).scalars()]


def in_folder(tx: Tx) -> Sequence[tuple[OrgId, Digest, str]]:
    """Every content that is kept in the data folder, by its name: what a backup needs."""
    found = select(content).where(content.c.place == str(Place.FOLDER), content.c.kept, content.c.holders > 0)
    return [
        (OrgId(row.org), Digest(row.digest), _name(OrgId(row.org), Digest(row.digest), row.generation))
        for row in tx.execute(found)
    ]


def _count(tx: Tx, org: OrgId, size: int, number: int) -> None:
    more = {"used": storage.c.used + size, "contents": storage.c.contents + number}
    tx.execute(update(storage).where(storage.c.org == org).values(**more))


def _name(org: OrgId, digest: Digest, generation: int) -> str:
    return f"{org}/{digest[:2]}/{digest}.{generation}"


def _taken(used: int, contents: int, full_at: int | None) -> Taken:
    since = None if full_at is None else from_micros(full_at)
    return Taken(used=used, contents=contents, full_since=since)
