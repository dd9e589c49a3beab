"""What persons said to individual tracking (O9): every word of it is kept as proof, the newest of an address holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Executable, Row, and_, func, select

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import OrgId
from mailrelay.model.event import EventType
from mailrelay.model.tracking import Consent
from mailrelay.store import events
from mailrelay.store.base import Tx
from mailrelay.store.tables import consent

_MOMENT = timedelta(microseconds=1)


def record(tx: Tx, said: Consent) -> Consent:
    """Keep what an address (by key) says now, and tell the journal; behind what it said at the same moment or later."""
    last = tx.execute(
        select(func.max(consent.c.at)).where(consent.c.org == said.org, consent.c.key == said.key)
    ).scalar()
    at = said.at if last is None else max(said.at, from_micros(last) + _MOMENT)
    row = {"org": said.org, "key": said.key, "given": said.given, "by": said.by, "evidence": said.evidence}
    while tx.execute(_insert(tx, row | {"at": to_micros(at)})).first() is None:
        at += _MOMENT  # somebody else was first
    data = {"address": said.key, "given": str(said.given).lower(), "by": said.by, "evidence": said.evidence}
    events.append(tx, org=said.org, at=at, type=EventType.CONSENT_CHANGED, data=data)
    return Consent(org=said.org, key=said.key, given=said.given, at=at, by=said.by, evidence=said.evidence)


def standing(tx: Tx, org: OrgId, keys: Collection[str]) -> Mapping[str, bool]:
    """What holds now of these addresses (by key): given, or withdrawn; who said nothing is left out."""
    if not keys:
        return {}
    found = tx.execute(
        select(consent.c.key, consent.c.given)
        .where(consent.c.org == org, consent.c.key.in_(sorted(keys)))
        .order_by(consent.c.at)
    )
    return {row.key: bool(row.given) for row in found}


def history(tx: Tx, org: OrgId, key: str) -> tuple[Consent, ...]:
    """All that an address (by key) said, newest first."""
    mine = select(consent).where(consent.c.org == org, consent.c.key == key).order_by(consent.c.at.desc())
    return tuple(_consent(row) for row in tx.execute(mine))


def list_consents(
    tx: Tx, org: OrgId, *, given: bool | None = None, after: str = "", limit: int = 100
) -> Sequence[Consent]:
    """A page of what holds now, by address; only what is given, or withdrawn. `after` is the last key of the page before."""
    newest = (
        select(consent.c.key, func.max(consent.c.at).label("at"))
        .where(consent.c.org == org, consent.c.key > after)
        .group_by(consent.c.key)
        .order_by(consent.c.key)
    )
    if given is None:
        newest = newest.limit(limit)
    last = newest.subquery()
    page = select(consent).join(last, and_(consent.c.key == last.c.key, consent.c.at == last.c.at))
    page = page.where(consent.c.org == org)
    if given is not None:
        page = page.where(consent.c.given == given)
    return tuple(_consent(row) for row in tx.execute(page.order_by(consent.c.key).limit(limit)))


def forget(tx: Tx, org: OrgId, key: str) -> int:
    """Leave out all that an address (by key) said, when its person is erased (R5); how many."""
    return int(tx.execute(consent.delete().where(consent.c.org == org, consent.c.key == key)).rowcount)


def _insert(tx: Tx, row: Mapping[str, object]) -> Executable:
    return tx.insert(consent).values(**row).on_conflict_do_nothing().returning(consent.c.at)


def _consent(row: Row[tuple[object, ...]]) -> Consent:
    return Consent(
        org=OrgId(row.org),
        key=row.key,
        given=bool(row.given),
        at=from_micros(row.at),
        by=row.by,
        evidence=row.evidence,
    )
