"""O17: an answer that blames the sender stops the sender's job or domain, and never the recipient."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from mailrelay import metrics
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.feedback import Fault
from mailrelay.model.organisation import Right
from mailrelay.store import ledger, suppressions, suspensions
from tests.flow.test_i11_hard_and_soft import by_mx, later, send
from tests.support import factory
from tests.support.cli import Cli
from tests.support.http import serving
from tests.support.outbound import relay
from tests.support.remote import remote

V1 = "/api/v1"
UNPROVED = "550 5.7.26 This mail has been blocked because the sender is unauthenticated"


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("DOT", UNPROVED),
        ("DOT", "550 5.7.25 The IP address sending this message does not have a PTR record"),
        ("DOT", "550 5.7.515 Access denied, sending domain does not meet the required authentication level"),
        ("MAIL", "550 5.7.1 sender address rejected"),
    ],
)
async def test_fault_n13_what_blames_the_sender_suspends_the_domain_and_suppresses_nobody(
    tmp_path: Path, verb: str, answer: str
):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        us.start()
        sink.say(verb, answer)
        blamed = await send(us)
        assert blamed.fault is Fault.SENDER
        assert await us.store.read(suppressions.holding, us.org.id, ["bob@b.test"]) == ()
        (one,) = await us.store.read(suspensions.list_standing, us.org.id)
        assert str(one.sending) == "domain:acme.test"
        assert answer in one.reason
        held = await send(us, DeliveryState.HELD)
        assert (held.held_by, held.attempts) == ("domain:acme.test", 0)


async def test_o17_a_throttle_is_counted_and_stops_nothing(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        before = metrics.sender_blamed.labels("transient")._value.get()
        us.start()
        sink.say("MAIL", "421 4.7.28 Our system has detected an unusual rate of mail from you")
        put_off = await send(us, DeliveryState.QUEUED, DeliveryState.SENDING)
        await later(us, put_off, DeliveryState.QUEUED, attempts=1)
        assert metrics.sender_blamed.labels("transient")._value.get() == before + 1
        assert await us.store.read(suspensions.list_standing, us.org.id) == []


async def test_o17_the_job_is_stopped_everybody_else_goes_on_and_a_person_resumes_it(tmp_path: Path):
    with structlog.testing.capture_logs() as logged:
        async with (
            remote() as sink,
            serving(tmp_path) as api,
            relay(tmp_path, store=api.store, clock=api.clock, **by_mx(sink)) as us,
        ):
            cli = Cli(api.server.unix_socket)
            _, reads = await factory.api_token(api.store, api.clock, us.org, Right.READ)
            _, admin = await factory.api_token(api.store, api.clock, us.org)
            web, boss = api.web.bearing(reads), api.web.bearing(admin)
            us.start()
            sink.say("DOT", UNPROVED)
            first = await send(us, job="Spring/2026")
            waits = await send(us, DeliveryState.HELD, job="Spring/2026")
            assert (await send(us, DeliveryState.SENT)).job == ""

            (listed,) = (await web.get(f"{V1}/suspensions")).json["items"]
            assert (listed["scope"], listed["name"], listed["held"]) == ("job", "Spring/2026", 1)
            assert "5.7.26" in listed["reason"]
            assert listed["by"] == first.id
            (one,) = (await web.get(f"{V1}/queue", params={"job": "Spring/2026", "state": "held"})).json["items"]
            assert (one["id"], one["held_by"], one["job"]) == (waits.id, "job:Spring/2026", "Spring/2026")
            shown = (await web.get(f"{V1}/queue/{first.id}")).json
            assert (shown["status"], shown["bounce"], shown["fault"]) == ("bounced", "soft", "sender")
            assert "bounced (soft)" in (await cli("queue", "show", first.id)).out
            assert "held by  the job Spring/2026" in (await cli("queue", "show", waits.id)).out
            assert "5.7.26" in (await cli("suspension", "list")).out

            assert (await web.post(f"{V1}/suspensions/job/Spring%2F2026/resume")).status == 403
            assert (await cli("suspension", "resume", "job", "Spring/2026")).status == 0
            await later(us, waits, DeliveryState.SENT)
            again = await boss.post(f"{V1}/suspensions/job/Spring%2F2026/resume")
            assert (again.status, again.json["detail"]) == (404, "The job Spring/2026 is not suspended")
            (past,) = (await web.get(f"{V1}/suspensions/job/Spring%2F2026")).json["items"]
            assert past["resumed_at"] is not None
            assert "Nothing is suspended." in (await cli("suspension", "list")).out
            assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))
    said = [line["event"] for line in logged]
    assert {"sender.blamed", "sending.suspended"} <= {*said}


async def test_o17_by_hand_a_domain_is_held_and_resumed(tmp_path: Path):
    with structlog.testing.capture_logs():
        async with (
            remote() as sink,
            serving(tmp_path) as api,
            relay(tmp_path, store=api.store, clock=api.clock, **by_mx(sink)) as us,
        ):
            cli = Cli(api.server.unix_socket)
            _, admin = await factory.api_token(api.store, api.clock, us.org)
            boss = api.web.bearing(admin)
            given = {"scope": "domain", "name": "ACME.test", "reason": "our keys changed"}
            refused = await boss.post(f"{V1}/suspensions", json=given | {"name": "acne.test"})
            assert refused.status == 404
            assert (
                refused.json["detail"]
                == "The organisation sends no mail for acne.test; its domains are acme.test, home.test"
            )
            made = await boss.post(f"{V1}/suspensions", json=given)
            assert (made.status, made.json["name"]) == (201, "acme.test")
            assert (await boss.post(f"{V1}/suspensions", json=given)).status == 409
            for wrong in ({"scope": "user", "name": "x"}, {"scope": "domain", "name": "a b"}, {"scope": "job"}):
                assert (await boss.post(f"{V1}/suspensions", json=wrong)).status == 422
            us.start()
            waits = await send(us, DeliveryState.HELD)
            us.clock.advance(timedelta(days=7))  # longer than a mail lives
            assert "is resumed" in (await cli("suspension", "resume", "domain", "acme.test")).out
            await later(us, waits, DeliveryState.SENT)
            assert (await boss.get(f"{V1}/suspensions/domain/other.test")).status == 404
