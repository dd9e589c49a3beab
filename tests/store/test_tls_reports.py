"""Sessions are counted by how their TLS went, bounded for each destination, and a report is begun once (RFC 8460)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from mailrelay.model.tls_report import PolicyType, ReportState, ResultType, TlsCount, TlsPolicy, TlsResult
from mailrelay.store import tls_reports
from mailrelay.store.base import Store
from tests.support.clock import FakeClock

DAY = 20_000


def counted(destination: str = "b.test", *, sessions: int = 1, ip: str = "192.0.2.1", day: int = DAY) -> TlsCount:
    policy = TlsPolicy(type=PolicyType.STS, domain=destination, strings=("version: STSv1",))
    result = TlsResult(destination=destination, policy=policy, result=ResultType.VALIDATION_FAILURE, ip=ip)
    return TlsCount(day=day, result=result, sessions=sessions)


async def test_sessions_that_ended_alike_are_one_row(store: Store) -> None:
    await store.write(tls_reports.count, [counted(sessions=2), counted("c.test"), counted(ip="192.0.2.2")])
    await store.write(tls_reports.count, [counted(sessions=3), counted(day=DAY + 1)])
    found = await store.read(tls_reports.counts, DAY, "b.test")
    assert [(one.result.ip, one.sessions) for one in found] == [("192.0.2.1", 5), ("192.0.2.2", 1)]
    assert found[0] == counted(sessions=5)
    assert await store.read(tls_reports.destinations, DAY) == ["b.test", "c.test"]
    assert await store.read(tls_reports.destinations, DAY, after="b.test") == ["c.test"]


async def test_a_destination_has_a_bounded_number_of_rows_and_no_session_is_lost(store: Store) -> None:
    many = tls_reports.MAX_ROWS + 50
    for start in range(0, many, 50):
        await store.write(tls_reports.count, [counted(ip=f"2001:db8::{n:x}") for n in range(start, start + 50)])
    found = await store.read(tls_reports.counts, DAY, "b.test")
    assert len(found) == tls_reports.MAX_ROWS + 1
    assert sum(one.sessions for one in found) == many
    assert (found[0].result.ip, found[0].sessions) == ("", 50)


async def test_of_many_that_would_send_a_report_one_does(store: Store, clock: FakeClock) -> None:
    await store.write(tls_reports.count, [counted()])
    begun = await asyncio.gather(*(store.write(tls_reports.begin, DAY, "b.test", at=clock.now()) for _ in range(8)))
    assert begun.count(True) == 1
    assert await store.read(tls_reports.unreported, DAY) == []
    await store.write(tls_reports.ended, DAY, "b.test", ReportState.SENT, sent_to="tls@b.test")
    report = await store.read(tls_reports.report, DAY, "b.test")
    assert report is not None
    assert (report.state, report.sent_to, report.begun_at) == (ReportState.SENT, "tls@b.test", clock.now())
    assert await store.read(tls_reports.report, DAY + 1, "b.test") is None


async def test_old_days_are_forgotten(store: Store, clock: FakeClock) -> None:
    await store.write(tls_reports.count, [counted(), counted(day=DAY + 1)])
    await store.write(tls_reports.begin, DAY, "b.test", at=clock.now())
    await store.write(tls_reports.forget, before=DAY + 1)
    assert await store.read(tls_reports.counts, DAY, "b.test") == []
    assert await store.read(tls_reports.report, DAY, "b.test") is None
    assert len(await store.read(tls_reports.counts, DAY + 1, "b.test")) == 1


def test_a_day_is_one_of_utc(clock: FakeClock) -> None:
    day = tls_reports.day_of(clock.now())
    assert tls_reports.start_of(day) <= clock.now() < tls_reports.start_of(day + 1)
    assert tls_reports.start_of(day + 1) - tls_reports.start_of(day) == timedelta(days=1)
