"""O5: mail that goes at a time, by the API, on the command line and by FUTURERELEASE, until it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import structlog

from mailrelay.config.schema import ListenerKind
from mailrelay.ids import DeliveryId, MessageId, QueueId
from mailrelay.model.absence import Absence
from mailrelay.model.delivery import DeliveryState, Notice
from mailrelay.model.organisation import Right
from mailrelay.model.schedule import Wish
from mailrelay.outbound.policy import notices
from mailrelay.store import absences, deliveries, events
from tests.support import factory
from tests.support.cli import Cli
from tests.support.clock import FakeClock
from tests.support.edge import MAIL, PASSWORD, Edge, edge
from tests.support.http import Answered, Api, Client, serving
from tests.support.outbound import relay
from tests.support.smtp_client import SmtpClient, connected

V1 = "/api/v1"
HOUR = timedelta(hours=1)


@dataclass
class Place:
    api: Api
    edge: Edge
    anna: Client
    bob: Client
    admin: Client
    cli: Cli

    async def schedule(self, client: Client | None = None, **more: Any) -> Any:
        fields = {"to": ["bob@customer.test", "eve@customer.test"], "subject": "Hello", "text": "Hi"}
        given = {"schedule": {"at": "2026-11-03T08:00"}, **fields, **more}
        answer = await (client or self.anna).post(f"{V1}/messages", json=given)
        assert answer.status == 202, answer.body
        return answer.json

    async def states(self, queue_id: str) -> set[DeliveryState]:
        return {one.state for one in await self.api.store.read(deliveries.of_queue_id, QueueId(queue_id))}


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    clock = FakeClock()
    with structlog.testing.capture_logs():
        async with (
            serving(tmp_path, clock=clock) as api,
            edge(tmp_path / "blobs", clock=clock, store=api.store) as running,
        ):
            org, anna = running.organisation, running.user
            bob = await factory.user(api.store, clock, org, "bob@example.com")
            tokens = [
                (await factory.api_token(api.store, clock, org, *rights, on_behalf_of=who))[1]
                for rights, who in (((Right.SEND, Right.READ), anna), ((Right.SEND, Right.READ), bob), ((), None))
            ]
            by_anna, by_bob, by_all = (api.web.bearing(one) for one in tokens)
            yield Place(api, running, by_anna, by_bob, by_all, Cli(api.server.unix_socket))


async def test_a_mail_is_scheduled_listed_and_shown(place: Place) -> None:
    made = await place.schedule(schedule={"at": "2026-11-03T08:00", "zone": "Europe/Berlin"})
    assert made["schedule"] == {
        "id": made["queue_id"],
        "queue_id": made["queue_id"],
        "author": place.edge.user.id,
        "due_at": "2026-11-03T07:00:00Z",
        "local": "2026-11-03T08:00:00+01:00",
        "zone": "Europe/Berlin",
        "preset": None,
        "version": 1,
    }
    (listed,) = (await place.bob.get(f"{V1}/schedules")).json["items"]
    assert (listed["id"], listed["subject"], listed["recipients"]) == (made["queue_id"], "Hello", 2)
    shown = await place.admin.get(f"{V1}/schedules/{made['queue_id']}")
    assert shown.headers["ETag"] == '"1"'
    assert [(one["recipient"], one["state"]) for one in shown.json["recipients"]] == [
        ("bob@customer.test", "scheduled"),
        ("eve@customer.test", "scheduled"),
    ]
    message = (await place.admin.get(f"{V1}/messages/{made['id']}")).json
    assert {one["status"] for one in message["deliveries"]} == {"scheduled"}
    assert (await place.admin.get(f"{V1}/schedules", params={"user": "bob@example.com"})).json["items"] == []
    assert (await place.admin.get(f"{V1}/schedules/Q404")).status == 404


async def test_lists_are_paged_without_loss(place: Place) -> None:
    made = [(await place.schedule(schedule={"at": f"2026-11-03T{hour:02}:00"}))["queue_id"] for hour in (9, 7, 8)]
    seen, after = [], ""
    while True:
        page = (await place.anna.get(f"{V1}/schedules", params={"limit": 2, "after": after})).json
        seen += [one["id"] for one in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == [made[1], made[2], made[0]]
    assert (await place.anna.get(f"{V1}/schedules", params={"after": "x"})).status == 422


async def test_a_time_without_a_zone_is_where_its_author_is(place: Place) -> None:
    await place.admin.patch(f"{V1}/organisation", json={"time_zone": "Asia/Tokyo"})
    assert (await place.schedule())["schedule"]["due_at"] == "2026-11-02T23:00:00Z"
    await place.admin.patch(f"{V1}/users/anna@example.com", json={"settings": {"time_zone": "America/New_York"}})
    made = await place.schedule(schedule={"preset": "tomorrow_evening"})
    assert made["schedule"]["local"] == "2026-11-03T20:00:00-05:00"
    assert (await place.schedule(place.bob))["schedule"]["zone"] == "Asia/Tokyo"
    offered = (await place.anna.get(f"{V1}/schedules/presets")).json
    assert offered[0] == {"preset": "this_evening", "at": "2026-11-02T18:00:00-05:00", "passed": False}
    offered = (await place.anna.get(f"{V1}/schedules/presets", params={"zone": "Asia/Tokyo"})).json
    assert offered[0] == {"preset": "this_evening", "at": "2026-11-02T18:00:00+09:00", "passed": True}


@pytest.mark.parametrize(
    ("schedule", "field", "because"),
    [
        ({}, "schedule", "needs a time"),
        ({"at": "2026-11-03T08:00", "preset": "this_evening"}, "schedule", "not both"),
        ({"at": "soon"}, "schedule.at", "must be a time such as"),
        ({"at": "2026-11-03T08:00", "zone": "Europe/Berlim"}, "schedule.zone", "IANA time zone"),
        ({"at": "2026-11-03T08:00", "zone": "../etc/passwd"}, "schedule.zone", "IANA time zone"),
        ({"at": "2026-11-02T09:00"}, "schedule.at", "is over; it is 2026-11-02 09:30 UTC now"),
        ({"at": "2028-01-01T09:00"}, "schedule.at", "can be scheduled until 2027-11-02 09:30 UTC"),
        ({"preset": "some_day"}, "schedule.preset", "must be"),
    ],
)
async def test_what_is_no_time_to_send_at_is_refused(
    place: Place, schedule: dict[str, str], field: str, because: str
) -> None:
    given = {"to": ["bob@customer.test"], "text": "x", "schedule": schedule}
    answer = await place.anna.post(f"{V1}/messages", json=given)
    assert answer.status == 422, answer.body
    assert any(one["field"] == field and because in one["detail"] for one in answer.json["errors"]), answer.json


async def test_it_is_moved_with_the_version_that_was_seen(place: Place) -> None:
    made = (await place.schedule())["queue_id"]
    path = f"{V1}/schedules/{made}/move"
    moved = await place.anna.post(path, json={"at": "2026-11-04T09:30"}, headers={"If-Match": '"1"'})
    assert (moved.status, moved.json["due_at"], moved.headers["ETag"]) == (200, "2026-11-04T09:30:00Z", '"2"')
    stale = await place.anna.post(path, json={"at": "2026-11-05T09:30"}, headers={"If-Match": '"1"'})
    assert (stale.status, stale.json["type"]) == (412, "urn:mailrelay:problem:outdated")
    assert (await place.anna.post(path, json={"at": "2026-11-05T09:30"}, headers={"If-Match": "1"})).status == 422
    anyhow = await place.anna.post(path, json={"preset": "this_evening"}, headers={"If-Match": "*"})
    assert (anyhow.status, anyhow.json["preset"]) == (200, "this_evening")


async def test_only_its_author_changes_it_whoever_else_may_look(place: Place) -> None:
    made = (await place.schedule())["queue_id"]

    async def tried(client: Client, user: str = "") -> list[Answered]:
        more = {"params": {"user": user}} if user else {}
        return [
            await client.post(f"{V1}/schedules/{made}/move", json={"at": "2026-11-04T09:30"}, **more),
            await client.post(f"{V1}/schedules/{made}/now", **more),
            await client.post(f"{V1}/schedules/{made}/cancel", **more),
            await client.put(f"{V1}/schedules/{made}", json={"to": ["x@y.test"], "text": "x"}, **more),
        ]

    for answers in (
        await tried(place.bob),
        await tried(place.bob, "anna@example.com"),
        await tried(place.admin),
        await tried(place.admin, "bob@example.com"),
    ):
        assert [one.status for one in answers] == [403] * 4, [one.body for one in answers]
    assert "anna@example.com" in (await tried(place.admin))[0].json["detail"]
    assert await place.states(made) == {DeliveryState.SCHEDULED}
    # A token of the whole organisation acts for whom it names, as when it sends.
    answer = await place.admin.post(f"{V1}/schedules/{made}/cancel", params={"user": "anna@example.com"})
    assert answer.status == 200
    assert await place.states(made) == {DeliveryState.CANCELLED}


async def test_its_content_and_recipients_are_replaced_until_it_goes(place: Place) -> None:
    first = await place.schedule()
    path = f"{V1}/schedules/{first['queue_id']}"
    given = {"to": ["new@customer.test"], "subject": "Better", "text": "Hi"}
    second = await place.anna.put(path, json=given)
    assert second.status == 200, second.body
    assert second.json["schedule"] | {"queue_id": ""} == first["schedule"] | {"version": 2, "queue_id": ""}
    assert second.headers["ETag"] == '"2"'
    shown = (await place.anna.get(path)).json
    assert (shown["subject"], [one["recipient"] for one in shown["recipients"]]) == ("Better", ["new@customer.test"])
    assert await place.states(first["queue_id"]) == {DeliveryState.CANCELLED}
    # As a whole message, and at another time.
    raw = b"From: anna@example.com\r\nTo: whole@customer.test\r\nSubject: Whole\r\n\r\nHi\r\n"
    third = await place.anna.put(
        path, data=raw, headers={"Content-Type": "message/rfc822"}, params={"at": "2026-11-05T12:00:00Z"}
    )
    assert third.json["schedule"]["due_at"] == "2026-11-05T12:00:00Z"
    # Not taken silently: what it promises, If-Match keeps.
    keyed = await place.anna.put(path, json=given, headers={"Idempotency-Key": "k"})
    assert (keyed.status, "send If-Match" in str(keyed.body)) == (422, True)
    wrong = await place.anna.put(path, json={**given, "from": "bob@example.com"})
    assert wrong.status == 403
    assert (await place.anna.get(path)).json["subject"] == "Whole"
    types = [
        str(one.type) for one in await place.api.store.read(events.after, place.edge.organisation.id, 0, limit=100)
    ]
    assert types.count("delivery.edited") == 2
    assert types.count("delivery.cancelled") == 3


async def test_it_is_sent_now_or_cancelled_once(place: Place) -> None:
    now, never = (await place.schedule())["queue_id"], (await place.schedule())["queue_id"]
    assert (await place.anna.post(f"{V1}/schedules/{now}/now")).status == 200
    assert await place.states(now) == {DeliveryState.QUEUED}
    assert (await place.anna.post(f"{V1}/schedules/{never}/cancel")).status == 200
    for path, because in ((f"{now}/now", "It is going out"), (f"{never}/now", "It has ended unsent")):
        late = await place.anna.post(f"{V1}/schedules/{path}")
        assert (late.status, because in late.json["detail"]) == (409, True)
    assert (await place.anna.get(f"{V1}/schedules")).json["items"] == []


# --- the command line


async def test_the_command_line_schedules_and_changes(place: Place, tmp_path: Path) -> None:
    cli, anna = place.cli, "anna@example.com"
    assert (await cli("schedule", "list")).out.startswith("Nothing is scheduled. Schedule a mail with")
    mail = ("--from", anna, "--to", "bob@customer.test", "--subject", "Hello", "--text", "Hi")
    said = await cli("message", "send", *mail, "--at", "2026-11-03T08:00", "--zone", "Europe/Berlin")
    assert said.out.startswith("Scheduled for 2026-11-03 08:00 Europe/Berlin as Q")
    (one,) = (await cli.json("schedule", "list"))["items"]
    assert "Hello" in (await cli("schedule", "list")).out
    assert "goes at 2026-11-03 08:00 Europe/Berlin" in (await cli("schedule", "show", one["id"])).out
    assert f"<{anna}>" in (await cli("schedule", "show", one["id"])).out
    said = await cli("schedule", "move", one["id"], "--user", anna, "--preset", "tomorrow_evening")
    assert said.out == f"{one['id']} goes at 2026-11-03 20:00 Europe/Berlin.\n"
    said = await cli("schedule", "edit", one["id"], "--user", anna, *mail[2:], "--at", "2026-11-06T08:00")
    assert said.out.startswith(f"Scheduled for 2026-11-06 08:00 UTC as {one['id']}"), said
    assert (await cli("schedule", "now", one["id"], "--user", "bob@example.com")).status == 77
    assert "is queued as Q" in (await cli("schedule", "now", one["id"], "--user", anna)).out
    gone = (await cli("schedule", "show", one["id"])).out
    assert "sent now" in gone
    assert "goes at" not in gone.splitlines()[0]
    eml = tmp_path / "mail.eml"
    eml.write_bytes(MAIL)
    made = await cli.json("message", "send", "--eml", str(eml), "--preset", "monday_morning")
    assert made["schedule"]["preset"] == "monday_morning"
    assert (await cli("schedule", "cancel", made["queue_id"], "--user", anna)).out.endswith("is cancelled.\n")
    assert "was to go at 2026-11-09 08:00" in (await cli("schedule", "show", made["queue_id"])).out.splitlines()[0]
    assert "over for today" not in (await cli("schedule", "presets", "--zone", "UTC")).out
    assert (await cli("schedule", "move", "Q1", "--at", "2026-11-06T08:00")).status == 2


# --- FUTURERELEASE


@pytest.fixture
async def client(place: Place) -> AsyncIterator[SmtpClient]:
    async with connected(place.edge.port(ListenerKind.SUBMISSION)) as connection:
        await connection.ehlo()
        await connection.starttls()
        await connection.ehlo()
        await connection.log_in("anna@example.com", PASSWORD)
        yield connection


async def _only(place: Place) -> Any:
    (one,) = (await place.anna.get(f"{V1}/schedules")).json["items"]
    return one


@pytest.mark.parametrize(
    ("parameter", "due"),
    [
        ("HOLDFOR=7200", "2026-11-02T11:30:00Z"),
        ("holdfor=86400", "2026-11-03T09:30:00Z"),
        ("HOLDUNTIL=2026-11-03T08:00:00Z", "2026-11-03T08:00:00Z"),
        ("HOLDUNTIL=2026-11-03T08:00:00+01:00", "2026-11-03T07:00:00Z"),
        ("HOLDUNTIL=2026-12-31T23:59:60Z", "2027-01-01T00:00:00Z"),
    ],
)
async def test_rfc4865_submission_holds_a_mail(place: Place, client: SmtpClient, parameter: str, due: str) -> None:
    answer = await client.mail("bob@customer.test", MAIL, params=f" {parameter}")
    assert answer.code == 250, answer
    one = await _only(place)
    assert (one["due_at"], one["author"]) == (due, place.edge.user.id)
    (held,) = await place.api.store.read(deliveries.of_queue_id, one["queue_id"])
    assert not held.params.held  # it is not asked of the next hop again
    assert (await place.anna.post(f"{V1}/schedules/{one['id']}/now")).status == 200


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("HOLDFOR=31536001", 501),
        ("HOLDFOR=1000000000", 501),
        ("HOLDFOR=-1", 501),
        ("HOLDFOR", 501),
        ("HOLDFOR=60 HOLDUNTIL=2026-11-03T08:00:00Z", 501),
        ("HOLDFOR=60 HOLDFOR=60", 501),
        ("HOLDUNTIL=2026-11-03T08:00:00", 501),  # no offset
        ("HOLDUNTIL=2026-11-03", 501),
        ("HOLDUNTIL=2028-11-03T08:00:00Z", 501),
        ("HOLDUNTIL=2026-11-02T09:00:00Z", 501),
        ("HOLDUNTIL=2026-02-30T09:00:00Z", 501),
    ],
)
async def test_rfc4865_what_cannot_be_held_so_long_is_refused_at_mail(
    place: Place, client: SmtpClient, parameters: str, code: int
) -> None:
    answer = await client.say(f"MAIL FROM:<anna@example.com> {parameters}")
    assert (answer.code, str(answer.status)) == (code, "5.5.4")
    assert (await client.mail("bob@customer.test", MAIL, params=" HOLDFOR=0")).code == 250
    assert (await place.anna.get(f"{V1}/schedules")).json["items"] == []


async def test_rfc4865_a_mail_that_comes_again_under_its_key_is_one(place: Place, client: SmtpClient) -> None:
    keyed = b"X-Mailrelay-Idempotency-Key: k\r\n" + MAIL
    first = await client.mail("bob@customer.test", keyed, params=" HOLDFOR=3600")
    place.api.clock.advance(timedelta(minutes=5))
    assert str(await client.mail("bob@customer.test", keyed, params=" HOLDFOR=3600")) == str(first)
    assert (await _only(place))["due_at"] == "2026-11-02T10:30:00Z"


async def test_rfc4865_is_offered_on_submission_only(place: Place, client: SmtpClient) -> None:
    offered = (await client.ehlo()).lines
    assert "FUTURERELEASE 31536000 2027-11-02T09:30:00Z" in offered
    longest = await client.say("MAIL FROM:<anna@example.com> HOLDUNTIL=2027-11-02T09:30:00Z")
    assert longest.code == 250
    async with connected(place.edge.port()) as other:
        assert not any("FUTURERELEASE" in line for line in (await other.ehlo()).lines)
        assert (await other.say("MAIL FROM:<bob@customer.test> HOLDFOR=60")).code == 555


# --- going out


async def test_it_goes_with_the_date_of_its_time_and_not_before(tmp_path: Path) -> None:
    async with relay(tmp_path) as us:
        made = await us.submit(schedule=Wish(at=us.clock.now() + HOUR))
        queued = await us.submit()
        us.start()
        await us.until(queued)
        assert (await us.delivery(made.deliveries[0])).state is DeliveryState.SCHEDULED
        us.clock.advance(HOUR)
        await us.until(made)
        mails = [message_from_bytes(one.read_bytes()) for one in us.sent.glob("*.eml")]
        dates = {made.queue_id in one["Received"]: one["Date"] for one in mails}
        assert dates == {False: "Mon, 02 Nov 2026 09:30:00 +0000", True: "Mon, 02 Nov 2026 10:30:00 +0000"}


async def test_i25_the_dispatcher_lets_mail_wait_for_who_is_away(tmp_path: Path) -> None:
    async with relay(tmp_path) as us:
        back = us.clock.now() + timedelta(days=9)
        noted = Absence(
            org=us.org.id,
            key="bob@b.test",
            until=back,
            since=None,
            gone=False,
            noted_at=us.clock.now(),
            message=MessageId("M"),
            instead=(),
        )
        await us.store.write(absences.note, noted)
        made = await us.submit("bob@b.test", "eve@b.test", schedule=Wish(at=us.clock.now() + HOUR))
        us.start()
        us.clock.advance(HOUR)
        away, there = made.deliveries
        await _until(us, there, DeliveryState.SENT)
        waiting = await us.delivery(away)
        assert (waiting.state, waiting.due_at, waiting.attempts) == (DeliveryState.SCHEDULED, back, 0)
        us.clock.advance(timedelta(days=9))
        await _until(us, away, DeliveryState.SENT)


async def _until(us: Any, id_: DeliveryId, state: DeliveryState) -> None:
    async with asyncio.timeout(30):
        while (await us.delivery(id_)).state is not state:  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.01)


async def test_a_delay_is_counted_from_when_it_was_to_go(tmp_path: Path) -> None:
    async with relay(tmp_path) as us:
        made = await us.submit(schedule=Wish(at=us.clock.now() + timedelta(days=3)))
        one = await us.delivery(made.deliveries[0])
        tried = replace(one, attempts=1)
        for hours, owed in ((1, Notice.NONE), (4, Notice.DELAYED)):
            now = datetime(2026, 11, 5, 9, 30, tzinfo=UTC) + hours * HOUR
            assert notices.owed(tried, DeliveryState.QUEUED, now=now, delay_after=4 * HOUR) is owed
