"""How TLS with other mail servers went, day by day, and the reports that their owners were sent (RFC 8460); for the operator."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from mailrelay.errors import Unknown
from mailrelay.model.tls_report import PolicyType, ReportState, ResultType, TlsCount, TlsReport
from mailrelay.store import tls_reports
from mailrelay.store.base import Tx
from mailrelay.web.application import App
from mailrelay.web.identity import the_operator
from mailrelay.web.shape import After, Limit, MailDomain, Page, Paged, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["tls"], dependencies=[Depends(the_operator)])
Day = Annotated[date | None, Query(description="The day in UTC, as 2026-11-22; today if not given.")]
_FIRST = date(1970, 1, 1).toordinal()


class ShownTlsCount(Shown):
    """Sessions that ended alike."""

    policy: PolicyType
    policy_domain: str
    result: ResultType
    sessions: int
    mx_host: str
    ip: str
    source_ip: str
    detail: str

    @classmethod
    def of(cls, one: TlsCount) -> ShownTlsCount:
        """The count as it is answered."""
        result = one.result
        return cls(
            policy=result.policy.type,
            policy_domain=result.policy.domain,
            result=result.result,
            sessions=one.sessions,
            mx_host=result.mx_host,
            ip=result.ip,
            source_ip=result.source_ip,
            detail=result.detail,
        )


class ShownTlsDay(Shown):
    """A destination on a day: sessions that went well and that did not, and the report that its owner was sent of them."""

    destination: str
    day: date
    successful: int
    failed: int
    report: Annotated[ReportState | None, Field(description="Null until it is due, after the day.")]
    report_at: datetime | None
    sent_to: str
    detail: Annotated[str, Field(description="Why the report could not be sent.")]


class ShownTlsDayWhole(ShownTlsDay):
    """The same with each kind of session."""

    counts: tuple[ShownTlsCount, ...]


@router.get("/tls/reports", response_model=Page[ShownTlsDay])
async def list_all(app: App, day: Day = None, after: After = "", limit: Limit = 100) -> Paged[ShownTlsDayWhole]:
    """The destinations that mail went to on a day, by name."""
    number = _number(day, app.clock.now())
    found = await app.store.read(_list, number, after, limit)
    return paged(found, limit=limit, cursor=lambda one: one.destination)


@router.get("/tls/reports/{destination}")
async def show(app: App, destination: MailDomain, day: Day = None) -> ShownTlsDayWhole:
    """One destination on a day, with each kind of session."""
    number = _number(day, app.clock.now())
    found = await app.store.read(_one, number, destination)
    if not found.counts and found.report is None:
        raise Unknown(
            f"No session with {destination} was counted on {found.day}; a destination that mail goes to has some"
        )
    return found


def _list(tx: Tx, day: int, after: str, limit: int) -> list[ShownTlsDayWhole]:
    return [_one(tx, day, name) for name in tls_reports.destinations(tx, day, after=after, limit=limit)]


def _one(tx: Tx, day: int, destination: str) -> ShownTlsDayWhole:
    counts = tls_reports.counts(tx, day, destination)
    report: TlsReport | None = tls_reports.report(tx, day, destination)
    good = sum(one.sessions for one in counts if one.result.result is ResultType.SUCCESS)
    return ShownTlsDayWhole(
        destination=destination,
        day=date.fromordinal(_FIRST + day),
        successful=good,
        failed=sum(one.sessions for one in counts) - good,
        report=None if report is None else report.state,
        report_at=None if report is None else report.begun_at,
        sent_to="" if report is None else report.sent_to,
        detail="" if report is None else report.detail,
        counts=tuple(ShownTlsCount.of(one) for one in counts),
    )


def _number(day: date | None, now: datetime) -> int:
    return tls_reports.day_of(now) if day is None else day.toordinal() - _FIRST
