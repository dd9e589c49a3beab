"""What organisations used of their quotas, a row for each kind and day: never one over, however many ask at once (O6, O7).

A row belongs to a day by the calendar, so a clock that goes back comes to a row that is as full as it was (Q01).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import Executable, bindparam, case, select, update

from mailrelay.ids import OrgId
from mailrelay.model.quota import QuotaKind
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.tables import quota

_FIRST = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Used:
    """Units of a kind that were used on a day."""

    kind: QuotaKind
    day: date
    used: int


def spend(tx: Tx, org: OrgId, kind: QuotaKind, day: date, number: int, *, limit: int) -> bool:
    """Count so many units if no more than `limit` are used then; whether that was so. The row stays locked until the end.

    Not at all or whole: where less is left than `number`, nothing is counted.
    """
    if number > limit:
        return False
    row = {"org": org, "kind": kind, "day": _number(day), "used": number, "most": limit}
    return tx.execute(_SPEND[tx.dialect], row).first() is not None


def give_back(tx: Tx, org: OrgId, kind: QuotaKind, day: date, number: int) -> None:
    """Take back units of a day that were counted and will not be sent."""
    left = quota.c.used - number
    tx.execute(
        update(quota)
        .where(quota.c.org == org, quota.c.kind == kind, quota.c.day == _number(day))
        .values(used=case((left < 0, 0), else_=left))
    )


def used(tx: Tx, org: OrgId, kind: QuotaKind, day: date) -> int:
    """What is used of a day."""
    found = select(quota.c.used).where(quota.c.org == org, quota.c.kind == kind, quota.c.day == _number(day))
    return int(tx.execute(found).scalar() or 0)


def history(tx: Tx, org: OrgId, *, before: date, limit: int) -> Sequence[Used]:
    """Up to `limit` days' use of each kind, newest first: of the days before this one that anything was counted on."""
    found: list[Used] = []
    for kind in QuotaKind:
        rows = tx.execute(
            select(quota.c.day, quota.c.used)
            .where(quota.c.org == org, quota.c.kind == kind, quota.c.day < _number(before), quota.c.used > 0)
            .order_by(quota.c.day.desc())
            .limit(limit)
        )
        found += [Used(kind, _FIRST + timedelta(days=row.day), row.used) for row in rows]
    # A page ends with a whole day.
    newest = sorted({one.day for one in found}, reverse=True)[:limit]
    return sorted((one for one in found if one.day in newest), key=lambda one: (-_number(one.day), one.kind))


def _number(day: date) -> int:
    return (day - _FIRST).days


def _spend(insert: InsertInto) -> Executable:
    row = insert(quota)
    # Two at once meet at the row: the second waits for the first, and counts on what that left.
    return row.on_conflict_do_update(
        index_elements=["org", "kind", "day"],
        set_={"used": quota.c.used + row.excluded.used},
        where=quota.c.used + row.excluded.used <= bindparam("most"),
    ).returning(quota.c.used)


_SPEND = for_both(_spend)
