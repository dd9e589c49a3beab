"""Addresses that must not be sent to, and why (O10, I11).

An address may be suppressed for several reasons at once, a row each: lifting a bounce does not undo an unsubscription.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, func, or_, select, text, tuple_, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import OrgId
from mailrelay.model.event import EventType
from mailrelay.model.record import RecordRef
from mailrelay.model.suppression import BOUNCED, PERSON, Suppression, SuppressionReason, is_hash
from mailrelay.store import deliveries, erased, events
from mailrelay.store.base import Tx
from mailrelay.store.tables import suppression

RECORD_CHANGED = "record changed"
"""What lifted a suppression, where a user would stand."""
_MOMENT = timedelta(microseconds=1)
_OF_A_LIST = text("list <> ''")
"""Said in so many words, so that the index is taken which has only these."""


class Taken(StrEnum):
    """What became of a suppression that was brought in from elsewhere."""

    ADDED = "added"
    UNCHANGED = "unchanged"
    LIFTED = "lifted"  # it was lifted here since, and stays so


def suppress(
    tx: Tx,
    *,
    org: OrgId,
    key: str,
    reason: SuppressionReason,
    evidence: str,
    now: datetime,
    by: str = "",
    list_: str = "",
) -> bool:
    """Suppress an address (by key), for all mail or for a list's; False when it is already, for this reason.

    `evidence` says what was seen.
    """
    wanted = Suppression(
        org=org, key=key, reason=reason, since=now, evidence=evidence, by=by, lifted_at=None, list=list_
    )
    return bool(suppress_all(tx, [wanted]))


def suppress_all(tx: Tx, wanted: Iterable[Suppression]) -> tuple[Suppression, ...]:
    """Suppress addresses (by key), each from its `since` on; those that were not yet, for that reason, as they are kept."""
    by_org: defaultdict[OrgId, list[Suppression]] = defaultdict(list)
    for one in wanted:
        by_org[one.org].append(one)
    new: list[Suppression] = []
    for org, mine in sorted(by_org.items()):
        names = erased.names(tx, org, {one.key for one in mine})
        rows = tx.execute(
            select(
                suppression.c.key,
                suppression.c.reason,
                suppression.c.list,
                suppression.c.since,
                suppression.c.lifted_at,
            ).where(suppression.c.org == org, suppression.c.key.in_(sorted(names)))
        ).all()
        standing = {(names[row.key], row.reason, row.list) for row in rows if row.lifted_at is None}
        last: dict[str, datetime] = {}
        for row in sorted(rows, key=lambda row: row.since):
            last[names[row.key]] = from_micros(row.since)
        for one in mine:
            if (one.key, one.reason, one.list) in standing:
                continue
            standing.add((one.key, one.reason, one.list))
            last[one.key] = _behind(last.get(one.key), one.since)
            new.append(replace(one, since=last[one.key]))
            data = {"address": one.key, "reason": one.reason, "evidence": one.evidence, "by": one.by, **_of_list(one)}
            events.append(tx, org=org, at=one.since, type=EventType.ADDRESS_SUPPRESSED, data=data)
    if new:
        tx.execute(suppression.insert(), [_row(one) for one in new])
    return tuple(new)


def _behind(last: datetime | None, at: datetime) -> datetime:
    """The moment, or a later one that none of the address's rows has: two reasons at the same moment are two rows."""
    return at if last is None else max(at, last + _MOMENT)


def lift(
    tx: Tx,
    org: OrgId,
    key: str,
    *,
    by: str,
    now: datetime,
    reason: SuppressionReason | None = None,
    note: str = "",
    lists: Collection[str] = ("",),
) -> tuple[Suppression, ...]:
    """Let an address (by key) be sent to again, from every reason or this one; what was lifted, empty when nothing held.

    `by` is the user who did it, or a word for what did; `note` says why. `lists` says of which mail: "" is all mail.
    """
    found = tuple(one for one in _standing(tx, org, [key], lists) if reason in (None, one.reason))
    return _lift(tx, [(one, note) for one in found], by=by, now=now)


def start_clean(tx: Tx, org: OrgId, gained: Mapping[str, RecordRef], *, now: datetime) -> tuple[Suppression, ...]:
    """Lift what bounces put against addresses (by key) that records gained, and nothing else (I11); what was lifted.

    Soft bounces of theirs count anew. Where there are some and nothing was lifted, a row that stood for no time says so.
    """
    if not gained:
        return ()
    found = [one for one in _standing(tx, org, sorted(gained)) if one.reason in BOUNCED]
    notes = {key: f"{ref} has this address now" for key, ref in gained.items()}
    _count_anew(tx, org, {key: notes[key] for key in notes.keys() - {one.key for one in found}}, now=now)
    return _lift(tx, [(one, notes[one.key]) for one in found], by=RECORD_CHANGED, now=now)


def _count_anew(tx: Tx, org: OrgId, notes: Mapping[str, str], *, now: datetime) -> None:
    soft = deliveries.soft_ends(tx, org, notes.keys())
    if not soft:
        return
    latest = select(suppression.c.key, func.max(suppression.c.since).label("since"))
    names = erased.names(tx, org, soft)
    of_these = latest.where(suppression.c.org == org, suppression.c.key.in_(sorted(names))).group_by(suppression.c.key)
    last: dict[str, datetime] = {}
    for row in sorted(tx.execute(of_these), key=lambda row: row.since):
        last[names[row.key]] = from_micros(row.since)
    rows = [
        Suppression(
            org=org,
            key=key,
            reason=SuppressionReason.SOFT_BOUNCES,
            since=_behind(last.get(key), now),
            evidence=f"{number} soft bounces until then",
            by=RECORD_CHANGED,
            lifted_at=now,
            lifted_by=RECORD_CHANGED,
            note=notes[key],
        )
        for key, number in sorted(soft.items())
    ]
    tx.execute(suppression.insert(), [_row(one) for one in rows])


def lifted(tx: Tx, org: OrgId, keys: Collection[str]) -> dict[str, datetime]:
    """When something was last lifted from each of these addresses (by key); those that nothing was lifted from are left out."""
    if not keys:
        return {}
    names = erased.names(tx, org, keys)
    last = select(suppression.c.key, func.max(suppression.c.lifted_at).label("at")).where(
        suppression.c.org == org,
        suppression.c.key.in_(sorted(names)),
        suppression.c.lifted_at.is_not(None),
        suppression.c.list == "",
    )
    found = sorted(tx.execute(last.group_by(suppression.c.key)), key=lambda row: row.at)
    return {names[row.key]: from_micros(row.at) for row in found}


def take(tx: Tx, org: OrgId, given: Sequence[Suppression], *, by: str, now: datetime) -> tuple[Taken, ...]:
    """Keep suppressions that come from elsewhere with their own dates, and say of each what became of it.

    What stands already for the same reason is left as it is, so the same again changes nothing. What was lifted here after the
    date that is given stays lifted: the lift is the later word. One that is given as lifted is kept as history only.
    """
    known: defaultdict[str, list[Suppression]] = defaultdict(list)
    names = erased.names(tx, org, {one.key for one in given})
    for row in tx.execute(select(suppression).where(suppression.c.org == org, suppression.c.key.in_(sorted(names)))):
        known[names[row.key]].append(_suppression(row))
    taken: list[Taken] = []
    new: list[Suppression] = []
    for one in given:
        became = _became(one, known[one.key])
        taken.append(became)
        if became is not Taken.ADDED:
            continue
        dates = {old.since for old in known[one.key]}
        since = one.since
        while since in dates:  # two reasons at the same moment are two rows
            since += _MOMENT
        new.append(replace(one, org=org, since=since))
        known[one.key].append(new[-1])
    if new:
        tx.execute(suppression.insert(), [_row(one) for one in new])
    for one in new:
        if one.lifted_at is None:
            data = {
                "address": one.key,
                "reason": one.reason,
                "evidence": one.evidence,
                "by": by,
                "since": str(one.since),
                **_of_list(one),
            }
            events.append(tx, org=org, at=now, type=EventType.ADDRESS_SUPPRESSED, data=data)
    return tuple(taken)


def say_themselves(tx: Tx, org: OrgId, key: str, list_: str, *, evidence: str) -> bool:
    """What was written down for somebody as unsubscribed they say themselves now: nobody else takes it back any more (O15).

    False when they had said it before.
    """
    found = tx.execute(
        update(suppression)
        .where(
            suppression.c.org == org,
            suppression.c.key.in_(sorted(erased.names(tx, org, [key]))),
            suppression.c.reason == SuppressionReason.UNSUBSCRIBED,
            suppression.c.list == list_,
            suppression.c.lifted_at.is_(None),
            suppression.c.by != PERSON,
        )
        .values(by=PERSON, evidence=evidence)
    )
    return bool(found.rowcount)


def _of_list(one: Suppression) -> dict[str, str]:
    return {"list": one.list} if one.list else {}


def _became(one: Suppression, known: Sequence[Suppression]) -> Taken:
    same = [old for old in known if old.reason is one.reason and old.list == one.list]
    if one.lifted_at is not None:
        return Taken.UNCHANGED if any(old.lifted_at == one.lifted_at for old in same) else Taken.ADDED
    if any(old.lifted_at is None for old in same):
        return Taken.UNCHANGED
    return Taken.LIFTED if any(old.lifted_at and old.lifted_at > one.since for old in same) else Taken.ADDED


def _standing(tx: Tx, org: OrgId, keys: Sequence[str], lists: Collection[str] = ("",)) -> tuple[Suppression, ...]:
    """As `holding`, the rows locked until the transaction ends."""
    names = erased.names(tx, org, keys)
    return _in_order(_suppression(row, names) for row in tx.execute(_held(org, names, lists).with_for_update()))


def _lift(tx: Tx, found: Sequence[tuple[Suppression, str]], *, by: str, now: datetime) -> tuple[Suppression, ...]:
    """Lift these, each with its note; as they are then."""
    if not found:
        return ()
    tx.execute(
        update(suppression)
        .where(
            suppression.c.org == bindparam("b_org"),
            suppression.c.key == bindparam("b_key"),
            suppression.c.since == bindparam("b_since"),
        )
        .values(lifted_at=to_micros(now), lifted_by=by, note=bindparam("b_note")),
        [
            {
                "b_org": one.org,
                "b_key": name,
                "b_since": to_micros(one.since),
                "b_note": note,
            }
            for one, note in found
            for name in (erased.hashes(tx, one.org, one.key) if one.erased else (one.key,))
        ],
    )
    for one, note in found:
        data = {"address": one.key, "reason": one.reason, "by": by, "note": note, **_of_list(one)}
        events.append(tx, org=one.org, at=now, type=EventType.SUPPRESSION_LIFTED, data=data)
    return tuple(replace(one, lifted_at=now, lifted_by=by, note=note) for one, note in found)


def holding(tx: Tx, org: OrgId, keys: Sequence[str], *, lists: Collection[str] = ()) -> tuple[Suppression, ...]:
    """What stands against sending to these addresses (by key), by key and time; empty for none.

    With `lists` also what stands against mass mail of these only (O15).
    """
    names = erased.names(tx, org, keys)
    return _in_order(_suppression(row, names) for row in tx.execute(_held(org, names, {"", *lists})))


def _in_order(found: Iterable[Suppression]) -> tuple[Suppression, ...]:
    return tuple(sorted(found, key=lambda one: (one.key, one.since)))


def _held(org: OrgId, names: Collection[str], lists: Collection[str]) -> Select[*tuple[Any, ...]]:
    return select(suppression).where(
        suppression.c.org == org,
        suppression.c.key.in_(sorted(names)),
        suppression.c.lifted_at.is_(None),
        suppression.c.list.in_(sorted(lists)),
    )


def list_suppressions(
    tx: Tx,
    org: OrgId,
    *,
    after: tuple[str, datetime] | None = None,
    search: str = "",
    reason: SuppressionReason | None = None,
    lifted: bool = False,
    list_: str = "",
    limit: int = 100,
) -> tuple[Suppression, ...]:
    """A page of what holds, and with `lifted` of what was lifted too, by key and time; `after` is (key, since) of the last one seen.

    Of keys that contain `search`, of this reason, and of this list only, where they are given. Who was erased is found by the whole
    address.
    """
    page = select(suppression).where(suppression.c.org == org)
    if not lifted:
        page = page.where(suppression.c.lifted_at.is_(None))
    if search:
        contains = suppression.c.key.contains(search.lower(), autoescape=True)
        page = page.where(or_(contains, suppression.c.key.in_(erased.hashes(tx, org, search.lower()))))
    if reason is not None:
        page = page.where(suppression.c.reason == reason)
    if list_:
        page = page.where(_OF_A_LIST, suppression.c.list == list_)
    if after is not None:
        page = page.where(tuple_(suppression.c.key, suppression.c.since) > (after[0], to_micros(after[1])))
    found = tx.execute(page.order_by(suppression.c.key, suppression.c.since).limit(limit))
    return tuple(_suppression(row) for row in found)


def history(tx: Tx, org: OrgId, key: str) -> tuple[Suppression, ...]:
    """All that ever stood against an address (by key), lifted or not, oldest first."""
    names = erased.names(tx, org, [key])
    found = tx.execute(select(suppression).where(suppression.c.org == org, suppression.c.key.in_(sorted(names))))
    return _in_order(_suppression(row, names) for row in found)


def erase(tx: Tx, org: OrgId, key: str) -> int:
    """Keep what stands and stood against an address (by key) under its hash only, and nothing of what was seen (T13); how many.

    So it holds as before. That a person said it themselves stays: nobody else takes it back (O15).
    """
    name = erased.hashed(tx, org, key)
    rows = tx.execute(
        select(suppression).where(suppression.c.org == org, suppression.c.key.in_([key, name])).with_for_update()
    ).all()
    kept = [row for row in rows if row.key == name]
    times = {row.since for row in kept}
    standing = {(row.reason, row.list) for row in kept if row.lifted_at is None}
    new = sorted((row for row in rows if row.key == key), key=lambda row: int(row.since))
    for row in new:
        this = (suppression.c.org == org, suppression.c.key == key, suppression.c.since == row.since)
        if row.lifted_at is None and (row.reason, row.list) in standing:  # it came by a list that holds hashes
            tx.execute(delete(suppression).where(*this))
            continue
        since = row.since
        while since in times:
            since += 1
        times.add(since)
        by = row.by if row.by == PERSON else ""
        tx.execute(update(suppression).where(*this).values(key=name, since=since, evidence="", by=by, note=""))
    return len(new)


def _suppression(row: Row[*tuple[Any, ...]], names: Mapping[str, str] | None = None) -> Suppression:
    """A row; `names` says which address (by key) it was asked for by."""
    return Suppression(
        org=OrgId(row.org),
        key=row.key if names is None else names[row.key],
        reason=SuppressionReason(row.reason),
        since=from_micros(row.since),
        evidence=row.evidence,
        by=row.by,
        lifted_at=None if row.lifted_at is None else from_micros(row.lifted_at),
        lifted_by=row.lifted_by,
        note=row.note,
        list=row.list,
        erased=is_hash(row.key),
    )


def _row(one: Suppression) -> dict[str, Any]:
    return {
        "org": one.org,
        "key": one.key,
        "reason": one.reason,
        "since": to_micros(one.since),
        "evidence": one.evidence,
        "by": one.by,
        "lifted_at": None if one.lifted_at is None else to_micros(one.lifted_at),
        "lifted_by": one.lifted_by,
        "note": one.note,
        "list": one.list,
    }
