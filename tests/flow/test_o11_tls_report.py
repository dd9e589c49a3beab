"""O11: a destination that asks for it is told once a day how TLS with it went, whatever TLS with it is like (RFC 8460)."""

from __future__ import annotations

import asyncio
import email
import email.policy
import gzip
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.config.schema import TlsReports
from mailrelay.errors import StoreBusy
from mailrelay.ids import IdFactory
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord
from mailrelay.model.tls_report import PolicyType, ReportState, ResultType, TlsPolicy, TlsReport, TlsResult
from mailrelay.outbound import courier
from mailrelay.outbound.connection import Failed, Hop
from mailrelay.outbound.courier.base import Kit
from mailrelay.outbound.dial import Dialler
from mailrelay.outbound.policy.tls import Demand, DemandMode
from mailrelay.outbound.tls_report import TlsReporter, due_at
from mailrelay.outbound.tls_tally import TlsTally
from mailrelay.store import deliveries, tls_reports
from mailrelay.upkeep import signing
from tests.support.answers import FAILED, Zone
from tests.support.certs import Certificate, certificate
from tests.support.outbound import Relay, relay
from tests.support.remote import Remote, remote

MX = Answer(LookupStatus.FOUND, mx=(MxRecord(10, "localhost"),))


def txt(*records: bytes) -> Answer:
    return Answer(LookupStatus.FOUND, strings=records)


def zone(record: Answer) -> Zone:
    return Zone(
        {
            ("MX", "r.test"): MX,
            ("A", "localhost"): "127.0.0.1",
            ("A", "reports.b.test"): "127.0.0.1",
            ("TXT", "_smtp._tls.b.test"): record,
        }
    )


BY_MAIL = txt(b"v=TLSRPTv1; rua=mailto:tls@r.test")


def result(destination: str = "b.test", **more: object) -> TlsResult:
    fields = {
        "destination": destination,
        "policy": TlsPolicy(type=PolicyType.NONE, domain=destination),
        "result": ResultType.SUCCESS,
        **more,
    }
    return TlsResult(**fields)  # type: ignore[arg-type]


@dataclass
class Reporting:
    us: Relay
    tally: TlsTally
    reporter: TlsReporter

    def a_day_later(self) -> None:
        self.us.clock.advance(timedelta(days=1))

    async def report(self, destination: str = "b.test") -> TlsReport | None:
        yesterday = tls_reports.day_of(self.us.clock.now()) - 1
        return await self.us.store.read(tls_reports.report, yesterday, destination)


@asynccontextmanager
async def reporting(
    folder: Path, sink: Remote, record: Answer, *, https: tuple[int, Certificate] | None = None, private: bool = True
) -> AsyncIterator[Reporting]:
    async with relay(folder, route="mx", port=sink.port, answers=zone(record)) as us:
        yield await _reporting(us, sink, https, private=private)


async def _reporting(us: Relay, sink: Remote, https: tuple[int, Certificate] | None, *, private: bool) -> Reporting:
    now = us.clock.now()
    await signing.make_keys(us.store, "us.test", now=now, active_from=now, prefix="mr")
    kit = Kit(
        settings=us.dispatcher._settings.model_copy(update={"port": sink.port}),
        hostname="us.test",
        own_names=frozenset({"us.test"}),
        own_addresses=frozenset(),
        sent=us.sent,
        resolver=us.resolver,
        clock=us.clock,
    )
    tally = TlsTally(us.store, us.clock)
    port, context = (443, ssl.create_default_context()) if https is None else (https[0], https[1].client_context())
    reporter = TlsReporter(
        us.store,
        tally,
        courier.load(kit),
        us.resolver,
        us.clock,
        IdFactory(us.clock.now),
        TlsReports(organisation="Us Ltd"),
        hostname="mx.us.test",
        domain="us.test",
        allows=lambda _: private,
        context=context,
        stopping=us.stopping,
        https_port=port,
    )
    return Reporting(us, tally, reporter)


@asynccontextmanager
async def collector(status: int = 201) -> AsyncIterator[tuple[tuple[int, Certificate], list[tuple[str, bytes]]]]:
    """An HTTPS server, and what was posted to it."""
    got: list[tuple[str, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((request.headers["Content-Type"], await request.read()))
        return web.Response(status=status, headers={"Location": "https://reports.b.test/elsewhere"})

    app = web.Application()
    app.router.add_post("/{tail:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    leaf = certificate("reports.b.test")
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=leaf.server_context())
    await site.start()
    try:
        yield (runner.addresses[0][1], leaf), got
    finally:
        await runner.cleanup()


async def test_the_report_of_yesterday_comes_by_signed_mail_once(tmp_path: Path) -> None:
    async with remote() as sink, reporting(tmp_path, sink, BY_MAIL) as one:
        for _ in range(3):
            one.tally.saw(result())
        one.tally.saw(result(result=ResultType.STARTTLS_NOT_SUPPORTED, mx_host="mx.b.test", ip="192.0.2.1"))
        await one.tally.flush()
        await one.reporter.look()
        assert sink.messages == []  # the day is not over
        one.a_day_later()
        await one.reporter.look()
        await one.reporter.look()
        (taken,) = sink.messages
        report = await one.report()
        assert report is not None
        assert (report.state, report.sent_to) == (ReportState.SENT, "tls@r.test")
        # It is nothing that the queue, the books or anybody's history knows.
        assert not await one.us.store.read(deliveries.list_deliveries, one.us.org.id)
    assert taken.mail.split(" ")[0] == "<>"
    assert taken.rcpt[0].startswith("<tls@r.test>")
    assert b"d=us.test;" in taken.content.partition(b"\r\n\r\n")[0]
    mail = email.message_from_bytes(taken.content, policy=email.policy.default)
    assert mail["From"].addresses[0].addr_spec == "postmaster@us.test"
    (_, attached) = mail.iter_parts()
    said = json.loads(gzip.decompress(attached.get_content()))
    assert said["organization-name"] == "Us Ltd"
    (policy,) = said["policies"]
    assert policy["summary"] == {"total-successful-session-count": 3, "total-failure-session-count": 1}


async def test_the_report_comes_by_https(tmp_path: Path) -> None:
    record = txt(b"v=TLSRPTv1; rua=https://reports.b.test/in?x=1")
    async with collector() as (https, got), remote() as sink, reporting(tmp_path, sink, record, https=https) as one:
        one.tally.saw(result())
        await one.tally.flush()
        one.a_day_later()
        await one.reporter.look()
        report = await one.report()
        assert report is not None
        assert report.state is ReportState.SENT
    ((kind, body),) = got
    assert kind == "application/tlsrpt+gzip"
    assert json.loads(gzip.decompress(body))["policies"][0]["policy"]["policy-domain"] == "b.test"


@pytest.mark.parametrize("status", [302, 404, 503])
async def test_what_https_does_not_take_is_tried_once_and_not_followed(tmp_path: Path, status: int) -> None:
    record = txt(b"v=TLSRPTv1; rua=https://reports.b.test/in")
    async with (
        collector(status) as (https, got),
        remote() as sink,
        reporting(tmp_path, sink, record, https=https) as one,
    ):
        one.tally.saw(result())
        await one.tally.flush()
        one.a_day_later()
        await one.reporter.look()
        await one.reporter.look()
        report = await one.report()
        assert report is not None
        assert report.state is ReportState.FAILED
        assert str(status) in report.detail
    assert len(got) == 1


async def test_nothing_is_posted_to_a_private_address(tmp_path: Path) -> None:
    record = txt(b"v=TLSRPTv1; rua=https://reports.b.test/in")
    async with (
        collector() as (https, got),
        remote() as sink,
        reporting(tmp_path, sink, record, https=https, private=False) as one,
    ):
        one.tally.saw(result())
        await one.tally.flush()
        one.a_day_later()
        await one.reporter.look()
        report = await one.report()
        assert report is not None
        assert report.state is ReportState.FAILED
        assert "private" in report.detail
    assert got == []


async def test_who_publishes_nothing_gets_nothing(tmp_path: Path) -> None:
    async with remote() as sink, reporting(tmp_path, sink, txt(b"v=spf1 -all")) as one:
        one.tally.saw(result())
        await one.tally.flush()
        one.a_day_later()
        await one.reporter.look()
        report = await one.report()
        assert report is not None
        assert report.state is ReportState.UNWANTED
    assert sink.messages == []


async def test_a_dns_that_gives_no_answer_is_asked_again(tmp_path: Path) -> None:
    async with remote() as sink, reporting(tmp_path, sink, FAILED) as one:
        one.tally.saw(result())
        await one.tally.flush()
        one.a_day_later()
        await one.reporter.look()
        assert await one.report() is None
        one.us.resolver.answers = zone(BY_MAIL)
        await one.reporter.look()
        assert len(sink.messages) == 1


async def test_a_report_begun_before_a_restart_is_not_sent_again(tmp_path: Path) -> None:
    async with remote() as sink, reporting(tmp_path, sink, BY_MAIL) as one:
        one.tally.saw(result())
        await one.tally.flush()
        one.a_day_later()
        day = tls_reports.day_of(one.us.clock.now()) - 1
        await one.us.store.write(tls_reports.begin, day, "b.test", at=one.us.clock.now())
        await one.reporter.look()
    assert sink.messages == []


async def test_a_report_that_is_refused_is_tried_once(tmp_path: Path) -> None:
    async with remote() as sink, reporting(tmp_path, sink, BY_MAIL) as one:
        sink.say("RCPT", "450 4.2.0 later")
        one.tally.saw(result())
        await one.tally.flush()
        one.a_day_later()
        await one.reporter.look()
        await one.reporter.look()
        report = await one.report()
        assert report is not None
        assert report.state is ReportState.FAILED
        assert "450 4.2.0 later" in report.detail
    assert sink.sessions == 1


async def test_what_the_store_does_not_take_stays_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with remote() as sink, reporting(tmp_path, sink, BY_MAIL) as one:
        day = tls_reports.day_of(one.us.clock.now())

        def busy(*_: object) -> None:
            raise StoreBusy("busy")

        one.tally.saw(result())
        with monkeypatch.context() as patch:
            patch.setattr(tls_reports, "count", busy)
            await one.tally.flush()
        one.tally.saw(result())
        await one.tally.flush()
        (counted,) = await one.us.store.read(tls_reports.counts, day, "b.test")
        assert counted.sessions == 2


async def test_strangers_words_are_kept_short_and_harmless(tmp_path: Path) -> None:
    async with remote() as sink, reporting(tmp_path, sink, BY_MAIL) as one:
        one.tally.saw(result(detail="\x1b[31m" + "x" * 10_000, helo="a\r\nb"))
        one.tally.saw(result(destination="[192.0.2.1]"))
        await one.tally.flush()
        day = tls_reports.day_of(one.us.clock.now())
        (counted,) = await one.us.store.read(tls_reports.counts, day, "b.test")
        assert counted.result.detail.startswith("\\x1b[31mx")
        assert len(counted.result.detail) == 200
        assert counted.result.helo == "a\\x0d\\x0ab"
        assert await one.us.store.read(tls_reports.destinations, day) == ["b.test"]


async def test_fault_a04_a_session_that_is_stripped_of_starttls_is_counted_for_the_report(tmp_path: Path) -> None:
    async with remote() as sink, reporting(tmp_path, sink, BY_MAIL) as one:
        policy = TlsPolicy(type=PolicyType.STS, domain="b.test", strings=("version: STSv1", "mode: enforce"))
        demand = Demand(mode=DemandMode.STS, destination="b.test", policy=policy)
        dialler = Dialler(DeliverySettings(), helo="us.test", clock=one.us.clock, witness=one.tally)
        hop = Hop(host="mx.b.test", ip="127.0.0.1", port=sink.port, demand=demand)
        with pytest.raises(Failed):
            await dialler.dial(hop, last=True)
        assert "MAIL" not in sink.verbs()
        await one.tally.flush()
        day = tls_reports.day_of(one.us.clock.now())
        (counted,) = await one.us.store.read(tls_reports.counts, day, "b.test")
        assert (counted.result.result, counted.sessions) == (ResultType.STARTTLS_NOT_SUPPORTED, 1)
        assert (counted.result.policy, counted.result.mx_host) == (policy, "mx.b.test")


async def test_the_session_that_brings_a_report_is_not_counted(tmp_path: Path) -> None:
    async with remote() as sink, reporting(tmp_path, sink, BY_MAIL) as one:
        one.tally.saw(result())
        await one.tally.flush()
        one.a_day_later()
        await one.reporter.look()
        await one.tally.flush()
        assert len(sink.messages) == 1
        day = tls_reports.day_of(one.us.clock.now())
        assert await one.us.store.read(tls_reports.destinations, day) == []


async def test_the_service_writes_down_at_its_stop_what_was_counted(tmp_path: Path) -> None:
    async with remote() as sink, reporting(tmp_path, sink, BY_MAIL) as one:
        task = asyncio.create_task(one.reporter.run())
        await asyncio.sleep(0)
        one.tally.saw(result())
        one.us.stopping.set()
        await task
        day = tls_reports.day_of(one.us.clock.now())
        assert len(await one.us.store.read(tls_reports.counts, day, "b.test")) == 1


def test_reports_are_spread_over_hours_after_the_day() -> None:
    times = [due_at(100, f"d{n}.test") for n in range(200)]
    end = tls_reports.start_of(101)
    assert all(timedelta(minutes=10) <= at - end <= timedelta(hours=4, minutes=10) for at in times)
    assert max(times) - min(times) > timedelta(hours=3)
