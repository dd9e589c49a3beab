"""O18: a job or domain that draws too many bounces or complaints warns, stops itself, says why, and waits for a person."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from mailrelay import metrics
from mailrelay.config.schema import BounceBrake, BrakeLevels, ComplaintBrake, Config, ListenerKind
from mailrelay.errors import Conflict
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import EnvelopeRecipient
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Right
from mailrelay.outbound import consequences
from mailrelay.service import Stopping
from mailrelay.smtp.address import parse_address
from mailrelay.store import deliveries, events, suspensions
from mailrelay.upkeep.ledger import LedgerKeeper
from tests.flow.test_i11_hard_and_soft import by_mx
from tests.support import factory
from tests.support.cli import Cli
from tests.support.edge import MAIL, PASSWORD, edge
from tests.support.http import serving
from tests.support.outbound import Relay, relay
from tests.support.remote import Remote, remote
from tests.support.smtp_client import connected

V1 = "/api/v1"
LEVELS = BrakeLevels(
    bounces=BounceBrake(warn=0.2, stop=0.4, sample=10), complaints=ComplaintBrake(warn=0.05, stop=0.1, sample=20)
)


async def mass(us: Relay, sink: Remote, *, good: int, bad: int = 0, job: str = "spring") -> list[DeliveryState]:
    """Send to so many people, of whom the last are unknown."""
    names = [f"r{us.clock.monotonic():.0f}-{n}@b.test" for n in range(good + bad)]
    us.clock.advance(timedelta(seconds=1))
    sink.script["RCPT"].extend(["250 2.1.5 ok"] * good + ["550 5.1.1 no such user"] * bad)
    recipients = tuple(EnvelopeRecipient(address=parse_address(name)) for name in names)
    submitted = await us.submit(recipients=recipients, job=job)
    ended = await us.until(submitted, DeliveryState.SENT, DeliveryState.BOUNCED, DeliveryState.HELD)
    return [one.state for one in ended]


async def journal(us: Relay, type: EventType) -> list[dict[str, str]]:  # noqa: A002
    found = await us.store.read(events.after, us.org.id, 0, limit=10_000)
    return [dict(one.data) for one in found if one.type is type]


async def test_o18_a_job_warns_stops_says_why_and_is_resumed(tmp_path: Path):
    with structlog.testing.capture_logs() as logged:
        async with remote() as sink, serving(tmp_path, config=Config(data=tmp_path, brakes=LEVELS)) as api:
            one_at_a_time = {"connections_per_destination": 1}
            async with relay(
                tmp_path, store=api.store, clock=api.clock, brakes=LEVELS, **by_mx(sink, **one_at_a_time)
            ) as us:
                cli = Cli(api.server.unix_socket)
                _, secret = await factory.api_token(api.store, api.clock, us.org, Right.READ)
                web = api.web.bearing(secret)
                assert "Nothing was sent yet." in (await cli("rate", "list")).out
                us.start()
                await mass(us, sink, good=5, bad=4)
                assert await journal(us, EventType.SENDING_WARNED) == []  # nothing is said of a small sample
                await mass(us, sink, good=8)
                await mass(us, sink, good=0, bad=1)
                await mass(us, sink, good=0, bad=1)
                warned = await journal(us, EventType.SENDING_WARNED)
                assert [(one["scope"], one["name"], one["measure"]) for one in warned] == [
                    ("job", "spring", "bounces"),
                    ("domain", "acme.test", "bounces"),
                ]
                job = next(one for one in (await web.get(f"{V1}/rates")).json["items"] if one["scope"] == "job")
                assert (job["sent"], job["refused"], job["hard"], job["level"]) == (13, 6, 6, "warn")
                assert (job["rates"][0]["measure"], job["rates"][0]["count"], job["rates"][0]["out_of"]) == (
                    "bounces",
                    6,
                    19,
                )

                await mass(us, sink, good=0, bad=3)  # 9 of 22, over 40 %
                assert await mass(us, sink, good=2) == [DeliveryState.HELD] * 2
                (one,) = await us.store.read(suspensions.list_standing, us.org.id)
                assert str(one.sending) == "job:spring"
                assert one.reason == "Too many bounces: 9 of 22 (40.91%), at or over the level of 40.00%"
                await LedgerKeeper(api.store, api.clock, Stopping()).look()
                assert metrics.suspended.labels("job")._value.get() == 1
                shown = {one["scope"]: one for one in (await web.get(f"{V1}/rates")).json["items"]}
                assert (shown["job"]["suspended"], shown["job"]["why"]) == (True, one.reason)
                assert (shown["domain"]["suspended"], shown["domain"]["level"]) == (False, "ok")
                first = (await web.get(f"{V1}/rates?limit=1")).json
                rest = (await web.get(f"{V1}/rates", params={"after": first["next"]})).json
                assert [one["scope"] for one in (*first["items"], *rest["items"])] == ["domain", "job"]
                assert (await web.get(f"{V1}/rates?after=x")).status == 422
                said = (await cli("rate", "list")).out
                assert "suspended" in said
                assert "9 (40.91%)" in said
                assert await mass(us, sink, good=1, job="") == [DeliveryState.SENT]  # other mail goes on

                sink.script["RCPT"].clear()
                assert (await cli("suspension", "resume", "job", "spring")).status == 0
                assert await mass(us, sink, good=2) == [DeliveryState.SENT] * 2
                # What was counted before is not held against it: only a new sample that is as bad stops it again.
                await mass(us, sink, good=0, bad=5)
                assert await us.store.read(suspensions.list_standing, us.org.id) == []
                await mass(us, sink, good=0, bad=5)
                assert len(await us.store.read(suspensions.list_standing, us.org.id)) == 1
    names = [line["event"] for line in logged]
    assert names.count("sending.warned") >= 2
    assert names.count("sending.suspended") == 2


async def test_o18_complaints_stop_a_job(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, brakes=LEVELS, **by_mx(sink)) as us:
        us.start()
        submitted = await us.submit(*(f"r{n}@b.test" for n in range(20)), job="spring")
        sent = await us.until(submitted)
        for one, level in zip(sent[:2], ("warn", "stop"), strict=True):
            await us.store.write(
                consequences.complained, one, type="abuse", evidence="fbl", by="Q1", at=us.clock.now(), brakes=LEVELS
            )
            standing = await us.store.read(suspensions.list_standing, us.org.id)
            assert [str(one.sending) for one in standing] == (["job:spring"] if level == "stop" else [])
        assert standing[0].reason == "Too many complaints: 2 of 20 (10.00%), at or over the level of 10.00%"


# --- jobs on the ways in


async def test_o18_a_job_is_given_in_json_by_query_or_in_the_header_and_never_leaves(tmp_path: Path):
    with structlog.testing.capture_logs():
        async with serving(tmp_path) as api, relay(tmp_path, store=api.store, clock=api.clock) as us:
            _, secret = await factory.api_token(api.store, api.clock, us.org)
            web = api.web.bearing(secret)
            fields = {"from": "anna@acme.test", "to": ["bob@b.test"], "text": "hi"}
            whole = us.mail(header=b"X-Mailrelay-Job: spring\r\n")
            kind = {"Content-Type": "message/rfc822"}
            asked = [
                await web.post(f"{V1}/messages", json={**fields, "job": "spring"}),
                await web.post(f"{V1}/messages?job=spring", data=us.mail(), headers=kind),
                await web.post(f"{V1}/messages", data=whole, headers=kind),
            ]
            us.start()
            for answer in asked:
                assert answer.status == 202, answer.body
                shown = (await web.get(f"{V1}/queue/{answer.json['deliveries'][0]['id']}")).json
                assert shown["job"] == "spring"
                raw = (await web.get(f"{V1}/messages/{answer.json['id']}/raw")).body
                assert b"X-Mailrelay-Job" not in raw
            for wrong in (
                await web.post(f"{V1}/messages", json={**fields, "job": "x" * 65}),
                await web.post(f"{V1}/messages", json={**fields, "job": "a\nb"}),
                await web.post(f"{V1}/messages?job=other", data=whole, headers=kind),
            ):
                assert wrong.status == 422
                assert b"job" in wrong.body


async def test_o18_the_same_key_with_another_job_is_another_request(tmp_path: Path):
    async with relay(tmp_path) as us:
        raw = us.mail(header=b"Message-ID: <one@acme.test>\r\n")
        first = await us.submit(raw=raw, idempotency_key="k", job="spring")
        assert (await us.submit(raw=raw, idempotency_key="k", job="spring")).queue_id == first.queue_id
        with pytest.raises(Conflict):
            await us.submit(raw=raw, idempotency_key="k", job="summer")


async def test_o18_over_smtp_a_job_stands_in_the_header_and_is_taken_out(tmp_path: Path):
    async with edge(tmp_path) as here, connected(here.port(ListenerKind.SUBMISSION)) as client:
        await client.ehlo()
        await client.starttls()
        await client.ehlo()
        await client.log_in("anna@example.com", PASSWORD)
        taken = await client.mail("bob@customer.test", b"X-Mailrelay-Job: spring 2026\r\n" + MAIL)
        assert taken.is_positive
        (arrival,) = await here.arrivals()
        assert b"Mailrelay-Job" not in await here.raw(arrival)
        (one,) = await here.store.read(deliveries.list_deliveries, arrival.org, job="spring 2026")
        assert one.queue_id == arrival.id
        for wrong in (b"", b"x" * 65):
            refused = await client.mail("bob@customer.test", b"X-Mailrelay-Job: " + wrong + b"\r\n" + MAIL)
            assert str(refused).startswith("554 5.6.0 X-Mailrelay-Job: must be 1 to 64 printable characters")
        assert len(await here.arrivals()) == 1
