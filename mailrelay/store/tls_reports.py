"""Sessions counted by how their TLS went, and the reports made of them, by day (UTC) and destination (RFC 8460).

A destination has a bounded number of rows a day: what would be more is counted without its particulars, never dropped. Rows are of
the installation, not of an organisation, and go after `KEPT_DAYS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Executable, Row, delete, func, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.model.tls_report import ReportState, TlsCount, TlsReport, TlsResult
from mailrelay.store import rows
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.tables import tls_count, tls_report

KEPT_DAYS = 30
MAX_ROWS = 200
"""Rows of a destination on a day with all particulars; beyond it, sessions are told apart by policy and result only."""
_DAY = 86_400_000_000


def day_of(at: datetime) -> int:
    """The day of a count: days since 1970 in UTC."""
    return to_micros(at) // _DAY


def start_of(day: int) -> datetime:
    """When a day begins."""
    return from_micros(day * _DAY)


def without_particulars(result: TlsResult) -> TlsResult:
    """The result with its policy's kind and its own only: what a destination has few of."""
    policy = replace(result.policy, strings=(), mx_patterns=(), domain=result.destination)
    return TlsResult(destination=result.destination, policy=policy, result=result.result)


def count(tx: Tx, more: Sequence[TlsCount]) -> None:
    """Add sessions to their days."""
    known: dict[tuple[int, str], int] = {}
    for one in sorted(more, key=lambda one: (one.day, one.result.destination)):
        place = (one.day, one.result.destination)
        if place not in known:
            known[place] = _rows(tx, *place)
        exact = _row(one.day, one.result)
        if not _add_to(tx, exact, one.sessions):
            full = known[place] >= MAX_ROWS
            row = _row(one.day, without_particulars(one.result)) if full else exact
            tx.execute(_COUNT[tx.dialect], {**row, "sessions": one.sessions})
            known[place] += 1


def unreported(tx: Tx, day: int, *, after: str = "", limit: int = 100) -> Sequence[str]:
    """A page of the destinations that have sessions on a day and no report yet, by name."""
    done = select(tls_report.c.destination).where(tls_report.c.day == day)
    found = (
        select(tls_count.c.destination)
        .where(tls_count.c.day == day, tls_count.c.destination > after, tls_count.c.destination.not_in(done))
        .distinct()
        .order_by(tls_count.c.destination)
        .limit(limit)
    )
    return [str(name) for name in tx.execute(found).scalars()]


def counts(tx: Tx, day: int, destination: str) -> Sequence[TlsCount]:
    """All that was counted of a destination on a day, most sessions first."""
    found = tx.execute(
        select(tls_count)
        .where(tls_count.c.day == day, tls_count.c.destination == destination)
        .order_by(tls_count.c.sessions.desc(), tls_count.c.key)
    )
    return [_count(row) for row in found]


def destinations(tx: Tx, day: int, *, after: str = "", limit: int = 100) -> Sequence[str]:
    """A page of the destinations that have sessions on a day, by name."""
    found = (
        select(tls_count.c.destination)
        .where(tls_count.c.day == day, tls_count.c.destination > after)
        .distinct()
        .order_by(tls_count.c.destination)
        .limit(limit)
    )
    return [str(name) for name in tx.execute(found).scalars()]


def begin(tx: Tx, day: int, destination: str, *, at: datetime) -> bool:
    """Note that the report is about to be sent; False when that was done before, by whomever: then it is not sent again."""
    row = {"day": day, "destination": destination, "state": ReportState.BEGUN, "begun_at": to_micros(at)}
    return tx.execute(_BEGIN[tx.dialect], row).first() is not None


def ended(tx: Tx, day: int, destination: str, state: ReportState, *, sent_to: str = "", detail: str = "") -> None:
    """What became of a report that was begun."""
    tx.execute(
        update(tls_report)
        .where(tls_report.c.day == day, tls_report.c.destination == destination)
        .values(state=state, sent_to=sent_to, detail=detail)
    )


def report(tx: Tx, day: int, destination: str) -> TlsReport | None:
    """The report of a day to a destination; None while none was begun."""
    row = tx.execute(select(tls_report).where(tls_report.c.day == day, tls_report.c.destination == destination)).first()
    return None if row is None else _report(row)


def forget(tx: Tx, *, before: int) -> None:
    """Drop all of the days before this one."""
    tx.execute(delete(tls_count).where(tls_count.c.day < before))
    tx.execute(delete(tls_report).where(tls_report.c.day < before))


def _rows(tx: Tx, day: int, destination: str) -> int:
    found = select(func.count()).where(tls_count.c.day == day, tls_count.c.destination == destination)
    return int(tx.execute(found).scalar_one())


def _row(day: int, result: TlsResult) -> dict[str, Any]:
    encoded = rows.encode(result)
    digest = hashlib.sha256(msgspec.json.encode(encoded, order="sorted")).hexdigest()[:32]
    return {"day": day, "destination": result.destination, "key": digest, "result": encoded}


def _add_to(tx: Tx, row: dict[str, Any], sessions: int) -> bool:
    added = tx.execute(
        update(tls_count)
        .where(
            tls_count.c.day == row["day"],
            tls_count.c.destination == row["destination"],
            tls_count.c.key == row["key"],
        )
        .values(sessions=tls_count.c.sessions + sessions)
    )
    return added.rowcount > 0


def _count(row: Row[*tuple[Any, ...]]) -> TlsCount:
    return TlsCount(day=row.day, result=rows.decode(TlsResult, row.result), sessions=row.sessions)


def _report(row: Row[*tuple[Any, ...]]) -> TlsReport:
    return TlsReport(
        day=row.day,
        destination=row.destination,
        state=ReportState(row.state),
        begun_at=from_micros(row.begun_at),
        sent_to=row.sent_to,
        detail=row.detail,
    )


def _add(insert: InsertInto) -> Executable:
    row = insert(tls_count)
    return row.on_conflict_do_update(
        index_elements=["day", "destination", "key"], set_={"sessions": tls_count.c.sessions + row.excluded.sessions}
    )


def _begin(insert: InsertInto) -> Executable:
    return (
        insert(tls_report)
        .on_conflict_do_nothing(index_elements=["day", "destination"])
        .returning(tls_report.c.destination)
    )


_COUNT = for_both(_add)
_BEGIN = for_both(_begin)
