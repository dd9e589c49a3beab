"""Users hear at once of what happens to their mail, by a list and by server-sent events, and can act on it (I19)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mailrelay.ids import DeliveryId
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Right, User
from mailrelay.model.settings import OrganisationSettings, SenderCheck, Sharing
from mailrelay.store import deliveries, events, people, tokens
from mailrelay.store.base import Tx
from tests.support import factory
from tests.support.cli import Cli
from tests.support.filing import Desk, mail, office
from tests.support.http import Answered, Api, Client, serving
from tests.support.stream import follow

V1 = "/api/v1"


@dataclass
class Place:
    """An office with its API; whoever has a dropbox there may be written to by anybody."""

    api: Api
    desk: Desk

    async def client(self, user: User, *rights: Right) -> Client:
        return self.api.web.bearing(await self.secret(user, *rights))

    async def secret(self, user: User, *rights: Right) -> str:
        given = rights or (Right.READ, Right.SEND)
        _, secret = await factory.api_token(self.api.store, self.api.clock, self.desk.org, *given, on_behalf_of=user)
        return secret

    async def notices(self, user: User, query: str = "") -> list[dict[str, Any]]:
        answered = await (await self.client(user)).get(f"{V1}/notices?{query}")
        assert answered.status == 200, answered.body
        return answered.json["items"]

    async def customer_writes(self, **how: Any) -> None:
        given = {"from_": "Bob Customer <bob@customer.test>", "subject": "A question", "to": "anna@example.com"}
        user = how.pop("user", None)
        await self.desk.post(mail(**{**given, **how}), user=user, mail_from="bob@customer.test")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    settings = OrganisationSettings(sender_check=SenderCheck.TOKEN)
    async with serving(tmp_path) as api, office(tmp_path, store=api.store, settings=settings) as desk:
        yield Place(api, desk)


async def test_a_customer_who_writes_is_heard_of_by_all_whom_it_concerns_once(place: Place) -> None:
    ben = await place.desk.user("ben@example.com")
    carla = await place.desk.user("carla@example.com")
    dora = await place.desk.user("dora@example.com")
    await place.desk.record("contact/1", "bob@customer.test", owner=carla)
    one = {"to": "anna@example.com, ben@example.com", "message_id": "same@customer.test"}
    await place.customer_writes(**one)
    await place.customer_writes(**one, user=ben)
    (to_anna,) = await place.notices(place.desk.anna)
    (to_ben,) = await place.notices(ben)
    (to_carla,) = await place.notices(carla)
    assert await place.notices(dora) == []
    assert to_anna["sentence"] == "Bob Customer <bob@customer.test> wrote to you: “A question”"
    assert to_anna["data"]["why"] == "dropbox"
    assert to_ben["data"]["why"] == "recipient"
    assert to_carla["sentence"].endswith("which stands on a record of yours")
    assert to_carla["records"] == ["contact/1"]
    assert [one["name"] for one in to_anna["actions"]] == ["reply", "note", "task", "move"]


async def test_machines_and_colleagues_are_no_notices(place: Place) -> None:
    ben = await place.desk.user("ben@example.com")
    await place.customer_writes(headers=("Auto-Submitted: auto-generated",))
    await place.desk.post(mail(from_="ben@example.com", to="anna@example.com"), mail_from="ben@example.com")
    assert await place.notices(place.desk.anna) == []
    assert await place.notices(ben) == []


async def test_nobody_hears_of_mail_that_is_not_shared_with_them(place: Place) -> None:
    carla = await place.desk.user("carla@example.com")
    await place.desk.record("contact/1", "bob@customer.test", owner=carla)
    await place.customer_writes()
    assert len(await place.notices(carla)) == 1
    secret = (await factory.api_token(place.api.store, place.api.clock, place.desk.org, Right.ADMIN))[1]
    changed = await place.api.web.bearing(secret).patch(
        f"{V1}/organisation", json={"settings": {"sharing": str(Sharing.PRIVATE)}}
    )
    assert changed.status == 200, changed.body
    assert await place.notices(carla) == []
    assert len(await place.notices(place.desk.anna)) == 1


async def test_an_answer_is_heard_of_as_one_and_not_twice(place: Place) -> None:
    sent = await _send(place)
    written = await place.api.store.read(deliveries.get, place.desk.org.id, DeliveryId(sent["deliveries"][0]["id"]))
    await place.customer_writes(
        to="anna@example.com",
        subject="Re: An offer",
        headers=(f"In-Reply-To: <{sent['queue_id']}@relay.example>",),
        message_id="answer@customer.test",
    )
    (one,) = await place.notices(place.desk.anna)
    assert one["kind"] == "replied"
    assert one["delivery"] == written.id
    assert one["sentence"] == "Bob Customer <bob@customer.test> replied: “Re: An offer”"
    reply = next(each for each in one["actions"] if each["name"] == "reply")
    assert reply["body"]["to"] == ["bob@customer.test"]
    assert reply["body"]["subject"] == "Re: An offer"
    assert reply["body"]["in_reply_to"] == "answer@customer.test"
    assert reply["body"]["references"] == [f"{sent['queue_id']}@relay.example", "answer@customer.test"]


async def test_the_reply_that_is_offered_goes_out_in_its_thread(place: Place) -> None:
    await place.customer_writes(message_id="first@customer.test")
    (one,) = await place.notices(place.desk.anna)
    reply = next(each for each in one["actions"] if each["name"] == "reply")
    client = await place.client(place.desk.anna)
    answered = await client.ask(reply["method"], reply["path"], json={**reply["body"], "text": "Yes."})
    assert answered.status == 202, answered.body
    raw = (await client.get(f"{V1}/messages/{answered.json['id']}/raw")).body
    assert b"In-Reply-To: <first@customer.test>" in raw
    assert b"References: <first@customer.test>" in raw


async def test_a_reply_that_names_only_what_it_answers_goes_out_in_its_thread(place: Place) -> None:
    await place.customer_writes(message_id="second@customer.test", headers=("References: <first@customer.test>",))
    client = await place.client(place.desk.anna)
    mail_ = {"to": ["bob@customer.test"], "text": "Yes.", "in_reply_to": "second@customer.test"}
    answered = await client.post(f"{V1}/messages", json=mail_)
    raw = (await client.get(f"{V1}/messages/{answered.json['id']}/raw")).body
    assert b"References: <first@customer.test> <second@customer.test>" in raw


async def test_opened_clicked_and_bounced_are_the_authors_notices(place: Place) -> None:
    sent = await _send(place)
    one = await place.api.store.read(deliveries.get, place.desk.org.id, DeliveryId(sent["deliveries"][0]["id"]))

    def happen(tx: Tx) -> None:
        at = place.api.clock.now()
        for by, first in (("machine", "true"), ("person", "true"), ("person", "false")):
            events.about(tx, one, EventType.DELIVERY_OPENED, at=at, data={"by": by, "first": first})
        clicked = {"by": "person", "first": "true", "url": "https://example.com/offer"}
        events.about(tx, one, EventType.DELIVERY_CLICKED, at=at, data=clicked)
        events.about(tx, one, EventType.DELIVERY_BOUNCED, at=at, data={"reply": "550 5.1.1 no such user"})

    await place.api.store.write(happen)
    bounced, clicked, opened = await place.notices(place.desk.anna)
    assert opened["sentence"] == "bob@customer.test opened “An offer”"
    assert clicked["sentence"] == "bob@customer.test followed a link in “An offer”: https://example.com/offer"
    assert bounced["sentence"] == "“An offer” did not reach bob@customer.test: 550 5.1.1 no such user"
    assert [each["name"] for each in bounced["actions"]] == ["note", "task", "move"]


async def test_users_say_which_kinds_they_get(place: Place) -> None:
    await place.customer_writes()
    client = await place.client(place.desk.anna)
    before = await client.get(f"{V1}/notices/settings")
    assert before.json == {"kinds": ["wrote", "replied", "opened", "clicked", "bounced"]}
    changed = await client.put(
        f"{V1}/notices/settings", json={"kinds": ["opened"]}, headers={"If-Match": before.headers["ETag"]}
    )
    assert changed.json == {"kinds": ["opened"]}
    assert await place.notices(place.desk.anna) == []
    again = await client.put(f"{V1}/notices/settings", json={"kinds": []}, headers={"If-Match": before.headers["ETag"]})
    assert again.status == 412
    assert (await client.put(f"{V1}/notices/settings", json={"kinds": ["wrote"]})).status == 200
    assert len(await place.notices(place.desk.anna)) == 1


async def test_what_was_read_is_no_longer_unread(place: Place) -> None:
    for number in range(5):
        await place.customer_writes(subject=str(number))
    client = await place.client(place.desk.anna)
    page = (await client.get(f"{V1}/notices?limit=2")).json
    rest = (await client.get(f"{V1}/notices?limit=9&after={page['next']}")).json
    assert [one["subject"] for one in (*page["items"], *rest["items"])] == ["4", "3", "2", "1", "0"]
    assert rest["next"] is None
    assert (await client.post(f"{V1}/notices/{page['items'][0]['seq']}/read")).status == 204
    assert (await client.post(f"{V1}/notices/{page['items'][0]['seq']}/read")).status == 204
    unread = (await client.get(f"{V1}/notices?unread=true")).json["items"]
    assert [one["subject"] for one in unread] == ["3", "2", "1", "0"]
    assert (await client.post(f"{V1}/notices/read", json={"up_to": unread[1]["seq"]})).status == 204
    assert [one["read"] for one in await place.notices(place.desk.anna)] == [True, False, True, True, True]
    assert (await client.post(f"{V1}/notices/1/read")).status == 404


async def test_notices_are_a_users_own(place: Place) -> None:
    ben = await place.desk.user("ben@example.com")
    await place.customer_writes()
    (one,) = await place.notices(place.desk.anna)
    assert (await (await place.client(ben)).get(f"{V1}/notices/{one['seq']}")).status == 404
    _, secret = await factory.api_token(place.api.store, place.api.clock, place.desk.org, Right.ADMIN)
    machine = place.api.web.bearing(secret)
    assert (await machine.get(f"{V1}/notices")).status == 403
    asked = await machine.get(f"{V1}/notices", headers={"X-Mailrelay-User": "anna@example.com"})
    assert [each["seq"] for each in asked.json["items"]] == [one["seq"]]


async def test_a_note_a_task_and_a_wish_are_kept_and_told(place: Place) -> None:
    await place.customer_writes()
    (one,) = await place.notices(place.desk.anna)
    client = await place.client(place.desk.anna)
    of_mail = f"{V1}/messages/{one['message']}"
    noted = await client.post(f"{of_mail}/notes", json={"text": "Call her first"}, headers={"Idempotency-Key": "k"})
    again = await client.post(f"{of_mail}/notes", json={"text": "Call her first"}, headers={"Idempotency-Key": "k"})
    assert (noted.status, again.status) == (201, 201)
    assert noted.json == again.json
    due = datetime(2026, 12, 1, 8, tzinfo=UTC).isoformat()
    asked = await client.post(f"{of_mail}/tasks", json={"text": "Send the offer", "due_at": due})
    assert asked.status == 201, asked.body
    for folder in ("Later", "Customers/Bob"):
        for _ in range(2):
            moved = await client.post(f"{of_mail}/folder", json={"folder": folder}, headers={"Idempotency-Key": folder})
            assert (moved.status, moved.json["moved"]) == (202, False)
    assert [note["text"] for note in (await client.get(f"{of_mail}/notes")).json["items"]] == ["Call her first"]
    (task,) = (await client.get(f"{of_mail}/tasks")).json["items"]
    assert (task["text"], task["by"]) == ("Send the offer", place.desk.anna.id)
    told = await place.api.store.read(events.of_message, place.desk.org.id, one["message"])
    last = [(event.type, dict(event.data)) for event in told][-4:]
    assert [type_ for type_, _ in last] == [
        EventType.NOTE_ADDED,
        EventType.TASK_REQUESTED,
        EventType.MOVE_REQUESTED,
        EventType.MOVE_REQUESTED,
    ]
    assert last[1][1]["due_at"].startswith("2026-12-01T08:00")
    assert last[3][1]["folder"] == "Customers/Bob"


async def test_who_does_not_see_a_mail_writes_no_note_on_it(place: Place) -> None:
    ben = await place.desk.user("ben@example.com")
    await place.customer_writes()
    (one,) = await place.notices(place.desk.anna)
    _, admin = await factory.api_token(place.api.store, place.api.clock, place.desk.org, Right.ADMIN)
    await place.api.web.bearing(admin).patch(f"{V1}/organisation", json={"settings": {"sharing": "private"}})
    client = await place.client(ben)
    for path, body in (("notes", {"text": "x"}), ("tasks", {"text": "x"}), ("folder", {"folder": "x"})):
        assert (await client.post(f"{V1}/messages/{one['message']}/{path}", json=body)).status == 404
    assert (await client.get(f"{V1}/messages/{one['message']}/notes")).status == 404


# --- the stream ---


async def test_a_notice_comes_on_the_stream_at_once_and_in_order(place: Place) -> None:
    async with follow(place.api, await place.secret(place.desk.anna)) as stream:
        assert "id" in await stream.block()
        for number in range(3):
            await place.customer_writes(subject=str(number))
        heard = [await stream.event() for _ in range(3)]
    assert [one["subject"] for one in heard] == ["0", "1", "2"]
    assert {one["event"] for one in heard} == {"wrote"}
    assert [int(one["id"]) for one in heard] == [one["seq"] for one in heard]


async def test_a_stream_that_is_taken_up_again_misses_nothing(place: Place) -> None:
    secret = await place.secret(place.desk.anna)
    async with follow(place.api, secret) as stream:
        await stream.block()
        await place.customer_writes(subject="heard")
        heard = await stream.event()
    for number in range(3):
        await place.customer_writes(subject=f"missed {number}")
    async with follow(place.api, secret, last=heard["id"]) as stream:
        missed = [await stream.event() for _ in range(3)]
        await place.customer_writes(subject="new")
        new = await stream.event()
    assert [one["subject"] for one in (*missed, new)] == ["missed 0", "missed 1", "missed 2", "new"]


async def test_a_first_connection_that_heard_nothing_can_be_taken_up_too(place: Place) -> None:
    secret = await place.secret(place.desk.anna)
    async with follow(place.api, secret) as stream:
        first = await stream.block()
    await place.customer_writes(subject="missed")
    async with follow(place.api, secret, last=first["id"]) as stream:
        assert (await stream.event())["subject"] == "missed"


async def test_a_quiet_stream_shows_that_it_is_there(place: Place) -> None:
    place.api.application.waits.heartbeat = 0.1
    async with follow(place.api, await place.secret(place.desk.anna)) as stream:
        await stream.block()
        assert (await stream.block())[""] == "still there"


async def test_a_stream_ends_when_its_token_is_revoked(place: Place) -> None:
    place.api.application.waits.check = 0.05
    place.api.application.waits.look = 0.05
    given, secret = await factory.api_token(
        place.api.store, place.api.clock, place.desk.org, Right.READ, on_behalf_of=place.desk.anna
    )
    async with follow(place.api, secret) as stream:
        await stream.block()
        await place.api.store.write(_revoke, place, given.id)
        await stream.end()


async def test_a_stream_ends_when_its_user_is_deactivated(place: Place) -> None:
    place.api.application.waits.check = 0.05
    place.api.application.waits.look = 0.05
    async with follow(place.api, await place.secret(place.desk.anna)) as stream:
        await stream.block()
        _, admin = await factory.api_token(place.api.store, place.api.clock, place.desk.org, Right.ADMIN)
        changed = await place.api.web.bearing(admin).patch(f"{V1}/users/{place.desk.anna.id}", json={"active": False})
        assert changed.status == 200, changed.body
        await stream.end()
    assert not (await place.api.store.read(people.get, place.desk.org.id, place.desk.anna.id)).active


async def test_a_stream_ends_when_the_daemon_stops(place: Place) -> None:
    async with follow(place.api, await place.secret(place.desk.anna)) as stream:
        await stream.block()
        place.api.stopping.set()
        await stream.end()


async def test_streams_are_bounded_and_given_back(place: Place) -> None:
    place.api.application.waits.most_each = 1
    secret = await place.secret(place.desk.anna)
    async with follow(place.api, secret) as stream:
        await stream.block()
        refused = await place.api.web.bearing(secret).get(f"{V1}/notices/stream")
        assert refused.status == 503
    async with asyncio.timeout(30):
        while place.api.application.waits.number:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    async with follow(place.api, secret) as stream:
        await stream.block()


async def test_an_id_from_a_future_that_was_never_is_an_error(place: Place) -> None:
    client = await place.client(place.desk.anna)
    answered = await client.get(f"{V1}/notices/stream", headers={"Last-Event-ID": "9999"})
    assert answered.status == 422


async def _send(place: Place) -> dict[str, Any]:
    client = await place.client(place.desk.anna)
    answered: Answered = await client.post(
        f"{V1}/messages", json={"to": ["bob@customer.test"], "subject": "An offer", "text": "x"}
    )
    assert answered.status == 202, answered.body
    return answered.json


def _revoke(tx: Tx, place: Place, token: Any) -> None:
    tokens.revoke(tx, place.desk.org.id, token, now=place.api.clock.now())


# --- the command line ---


async def test_the_command_line_lists_and_follows(place: Place) -> None:
    await place.customer_writes(subject="first")
    cli = Cli(place.api.server.unix_socket)
    said = await cli("notice", "list", "--user", "anna@example.com")
    assert said.status == 0, said
    assert "wrote to you: “first”" in said.out
    assert "no notice" in (await cli("notice", "list", "--user", (await place.desk.user("ben@example.com")).id)).out
    assert (await cli("notice", "list", "--user", "nobody@example.com")).status != 0
    for command in (
        ("notice", "follow", "--user", "anna@example.com", "--after", "0"),
        ("event", "list", "--follow", "--after", "0", "--type", "message.received"),
    ):
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "mailrelay", *command, "--json", "--socket", str(place.api.server.unix_socket)),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert running.stdout is not None
            async with asyncio.timeout(30):
                one = json.loads(await running.stdout.readline())
                assert one["user"] == place.desk.anna.id
                await place.customer_writes(subject="second")
                assert json.loads(await running.stdout.readline())["seq"] > one["seq"]
        finally:
            running.kill()
            await running.wait()
