"""What became of the mail of a job or a sending domain, counted by day (O18).

Counted in the transaction that makes it true, a row for each day of each sending; the row's lock makes those who judge the same
domain wait for one another. A job has a row for each domain that it sends for, so that what it answers for can be taken out of
that domain's count; what the domain leaves out stands in a row for "".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Executable, Row, Select, Table, delete, func, insert, or_, select, tuple_

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import OrgId
from mailrelay.model.sending import Counts, Scope, Sending
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.tables import tally, tally_before

_MICROS_A_DAY = 86_400_000_000
_NAMES = tuple(one.name for one in fields(Counts))

Share = tuple[OrgId, Sending, str]
"""A sending; and of a job the domain that counts the same once more, else ""."""


def day_of(at: datetime) -> int:
    """The day of a tally: days since 1970 in UTC."""
    return to_micros(at) // _MICROS_A_DAY


def start_of(day: int) -> int:
    """When the day begins, as columns keep times."""
    return day * _MICROS_A_DAY


def count(tx: Tx, more: Mapping[Share, Counts], *, at: datetime) -> None:
    """Add to the day of `at`; each sending stays locked until the transaction ends, in an order that is the same for all."""
    day = day_of(at)
    for org, sending, domain in sorted(more):
        counts = more[org, sending, domain]
        row = {"org": org, "scope": sending.scope, "name": sending.name, "domain": domain, "day": day}
        row["since"] = to_micros(at)
        tx.execute(_COUNT[tx.dialect], row | {name: getattr(counts, name) for name in _NAMES})


def since(tx: Tx, org: OrgId, sending: Sending, day: int) -> Counts:
    """The sum of a sending's days from `day` on."""
    row = tx.execute(
        select(*_sums()).where(
            tally.c.org == org, tally.c.scope == sending.scope, tally.c.name == sending.name, tally.c.day >= day
        )
    ).one()
    return _counts(row)


def of_jobs(tx: Tx, org: OrgId, jobs: Select[str], *, domain: str, day: int) -> Counts:
    """What of a domain's count from `day` on is these jobs', all jobs together."""
    row = tx.execute(
        select(*_sums()).where(
            tally.c.org == org,
            tally.c.scope == Scope.JOB,
            tally.c.name.in_(jobs),
            tally.c.domain == domain,
            tally.c.day >= day,
        )
    ).one()
    return _counts(row)


def remember_jobs(tx: Tx, org: OrgId, domain: str, *, day: int) -> None:
    """Keep what of a domain's count on this day is its jobs', as it is now: for `of_jobs_before`."""
    counted = select(tally.c.org, tally.c.domain, tally.c.name, tally.c.day, *(tally.c[name] for name in _NAMES)).where(
        tally.c.org == org, tally.c.scope == Scope.JOB, tally.c.domain == domain, tally.c.day == day
    )
    # An earlier resumption on this day.
    tx.execute(
        delete(tally_before).where(
            tally_before.c.org == org, tally_before.c.domain == domain, tally_before.c.day == day
        )
    )
    tx.execute(insert(tally_before).from_select(["org", "domain", "job", "day", *_NAMES], counted))


def of_jobs_before(tx: Tx, org: OrgId, jobs: Select[str], *, domain: str, day: int) -> Counts:
    """What of a domain's count was these jobs' on the day of its last resumption, until then; all jobs together."""
    row = tx.execute(
        select(*_sums(tally_before)).where(
            tally_before.c.org == org,
            tally_before.c.domain == domain,
            tally_before.c.day == day,
            tally_before.c.job.in_(jobs),
        )
    ).one()
    return _counts(row)


def began(tx: Tx, org: OrgId, sendings: Collection[Sending]) -> dict[Sending, datetime]:
    """When the first of each of these was counted; those of which nothing was are left out."""
    found = tx.execute(
        select(tally.c.scope, tally.c.name, func.min(tally.c.since).label("first"))
        .where(
            tally.c.org == org,
            tuple_(tally.c.scope, tally.c.name).in_([(one.scope, one.name) for one in sorted(sendings)]),
        )
        .group_by(tally.c.scope, tally.c.name)
    )
    return {Sending(Scope(row.scope), row.name): from_micros(row.first) for row in found}


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


def _sums(table: Table = tally) -> list[ColumnElement[int]]:
    return [func.sum(table.c[name]).label(name) for name in _NAMES]


def _add(insert_into: InsertInto) -> Executable:
    row = insert_into(tally)
    more = {name: tally.c[name] + row.excluded[name] for name in _NAMES}
    return row.on_conflict_do_update(index_elements=["org", "scope", "name", "domain", "day"], set_=more)


_COUNT = for_both(_add)
