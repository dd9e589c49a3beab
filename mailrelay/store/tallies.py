"""What became of the mail of a job or a sending domain, counted by day (O18).

Counted in the transaction that makes it true, a row for each day of each sending; the row's lock makes those who judge the same
sending wait for one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Executable, Row, Select, func, or_, select, tuple_

from mailrelay.clock import to_micros
from mailrelay.ids import OrgId
from mailrelay.model.sending import Counts, Scope, Sending
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.tables import tally

_MICROS_A_DAY = 86_400_000_000
_NAMES = tuple(one.name for one in fields(Counts))


def day_of(at: datetime) -> int:
    """The day of a tally: days since 1970 in UTC."""
    return to_micros(at) // _MICROS_A_DAY


def start_of(day: int) -> int:
    """When the day begins, as columns keep times."""
    return day * _MICROS_A_DAY


def count(tx: Tx, more: Mapping[tuple[OrgId, Sending], Counts], *, at: datetime) -> None:
    """Add to the day of `at`; each sending stays locked until the transaction ends, in an order that is the same for all."""
    day = day_of(at)
    for (org, sending), counts in sorted(more.items()):
        row = {"org": org, "scope": sending.scope, "name": sending.name, "day": day}
        tx.execute(_COUNT[tx.dialect], row | {name: getattr(counts, name) for name in _NAMES})


def since(tx: Tx, org: OrgId, sending: Sending, day: int) -> Counts:
    """The sum of a sending's days from `day` on."""
    row = tx.execute(
        select(*_sums()).where(
            tally.c.org == org, tally.c.scope == sending.scope, tally.c.name == sending.name, tally.c.day >= day
        )
    ).one()
    return _counts(row)


def of_jobs(tx: Tx, org: OrgId, jobs: Select[str], day: int) -> Counts:
    """The sum of these jobs' days from `day` on, all jobs together."""
    row = tx.execute(
        select(*_sums()).where(
            tally.c.org == org, tally.c.scope == Scope.JOB, tally.c.name.in_(jobs), tally.c.day >= day
        )
    ).one()
    return _counts(row)


def list_sendings(
    tx: Tx, org: OrgId, *, domains_since: int, after: Sending | None = None, limit: int = 100
) -> Sequence[tuple[Sending, Counts]]:
    """A page of what was counted, by scope and name: of jobs on all days, of domains from a day on."""
    page = select(tally.c.scope, tally.c.name, *_sums()).where(
        tally.c.org == org, or_(tally.c.scope == Scope.JOB, tally.c.day >= domains_since)
    )
    if after is not None:
        page = page.where(tuple_(tally.c.scope, tally.c.name) > (after.scope, after.name))
    page = page.group_by(tally.c.scope, tally.c.name).order_by(tally.c.scope, tally.c.name).limit(limit)
    return [(Sending(Scope(row.scope), row.name), _counts(row)) for row in tx.execute(page)]


def _counts(row: Row[*tuple[Any, ...]]) -> Counts:
    return Counts(**{name: int(row._mapping[name] or 0) for name in _NAMES})


def _sums() -> list[ColumnElement[int]]:
    return [func.sum(tally.c[name]).label(name) for name in _NAMES]


def _add(insert: InsertInto) -> Executable:
    row = insert(tally)
    more = {name: tally.c[name] + row.excluded[name] for name in _NAMES}
    return row.on_conflict_do_update(index_elements=["org", "scope", "name", "day"], set_=more)


_COUNT = for_both(_add)
