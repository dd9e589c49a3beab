"""Events reach the CRM by webhook: signed, in order, at least once, and nothing that was not taken is lost (R6)."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks

from mailrelay.config.schema import Config, Delivery, Webhooks
from mailrelay.ids import NodeId
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Organisation, Right
from mailrelay.service import Stopping
from mailrelay.store import events, people
from mailrelay.store.base import Tx
from mailrelay.webhook.deliver import Deliverer, Pace
from mailrelay.webhook.expand import Expander
from tests.support import factory
from tests.support.answers import Zone
from tests.support.certs import certificate
from tests.support.cli import Cli
from tests.support.clock import FakeClock
from tests.support.http import Api, Client, ZoneResolver, serving
from tests.support.receiver import OK, Answer, Receiver, Request, receiving, status

V1 = "/api/v1"
CERT = certificate("crm.test", "127.0.0.1")
ZONE = Zone({("A", "crm.test"): "127.0.0.1"})
INSIDE = ("127.0.0.0/8",)


@dataclass
class World:
    """An API, a receiver, and both services, stepped by hand."""

    api: Api
    org: Organisation
    crm: Receiver
    deliverer: Deliverer
    expander: Expander
    admin: Client

    async def made(self, **given: Any) -> dict[str, Any]:
        answer = await self.admin.post(f"{V1}/webhooks", json={"url": self.crm.url(), **given})
        assert answer.status == 201, answer.json
        made: dict[str, Any] = answer.json
        return made

    async def happen(self, message: str = "", what: EventType = EventType.MESSAGE_FILED, **more: Any) -> None:
        def append(tx: Tx) -> None:
            events.append(tx, org=self.org.id, at=self.api.clock.now(), type=what, message=message, **more)

        await self.api.store.write(append)

    async def work(self) -> int:
        """Send all that is due now."""
        await self.expander.look()
        return await self.deliverer.drain()

    async def shown(self, id_: str) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.admin.get(f"{V1}/webhooks/{id_}")).json
        return {**shown, "health": (await self.admin.get(f"{V1}/webhooks/{id_}/health")).json}

    async def told(self, what: EventType) -> list[dict[str, str]]:
        """What the journal says of events of a type, oldest first."""
        found = await self.api.store.read(events.last, self.org.id, 100)
        return [dict(one.data) for one in sorted(found, key=lambda one: one.seq) if one.type is what]

    async def calls(self, id_: str, **query: str) -> list[dict[str, Any]]:
        answer = await self.admin.get(f"{V1}/webhooks/{id_}/calls", params=query)
        items: list[dict[str, Any]] = answer.json["items"]
        return items


def config(folder: Path, **webhooks: Any) -> Config:
    settings = {"allow_private": INSIDE, "timeout": 1.0, **webhooks}
    return Config(data=folder, webhooks=Webhooks(**settings), delivery=Delivery(ca_file=CERT.authority))


@asynccontextmanager
async def world(
    folder: Path, answer: Answer | bytes = OK, *, zone: Zone = ZONE, **webhooks: Any
) -> AsyncIterator[World]:
    async with (
        receiving(CERT.server_context(), answer) as crm,
        serving(folder, config=config(folder, **webhooks), resolver=ZoneResolver(zone)) as api,
    ):
        org = await factory.org(api.store, api.clock, domains=("acme.example",))
        _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
        stopping = Stopping()
        yield World(
            api=api,
            org=org,
            crm=crm,
            deliverer=deliverer(api, stopping),
            expander=Expander(api.store, api.clock, lifetime=259_200, stopping=stopping, poll=0.02),
            admin=api.web.bearing(secret),
        )


def deliverer(api: Api, stopping: Stopping, node: str = "one", pace: Pace | None = None) -> Deliverer:
    return Deliverer(
        api.store,
        api.application.webhooks,
        api.clock,
        node=NodeId(node),
        stopping=stopping,
        timeout=1.0,
        disable_after=432_000,
        pace=pace or Pace(poll=0.02),
        chance=lambda: 0.5,
    )


def verified(secret: str, request: Request) -> Any:
    """What the independent library says of it; it raises for what is not signed."""
    return standardwebhooks.Webhook(secret).verify(request.body, request.headers)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The library compares with its own clock: the tests' stands for it."""
    clock = FakeClock()

    class Then:
        @staticmethod
        def now(tz: Any = None) -> Any:
            return clock.now()

        fromtimestamp = __import__("datetime").datetime.fromtimestamp

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", Then)
    return clock


@pytest.mark.usefixtures("now")
async def test_an_event_arrives_signed_as_the_api_shows_it(tmp_path: Path):
    async with world(tmp_path) as us:
        made = await us.made(description="the CRM")
        assert made["secret"].startswith("whsec_")
        await us.happen("M1", queue_id="Q1", delivery="D1", data={"subject": "grüße"}, record="contact/1")
        assert await us.work() == 2
        created, filed = us.crm.requests
        assert created.type == "webhook.created"
        shown = (await us.admin.get(f"{V1}/events", params={"after": "1"})).json
        shown = shown["items"] if isinstance(shown, dict) else shown
        assert verified(made["secret"], filed) == filed.json
        assert filed.json == {"type": "message.filed", "timestamp": "2026-11-02T09:30:00Z", "data": shown[0]}
        assert filed.headers["webhook-id"].startswith(f"evt_{us.org.id}_2_")
        assert filed.headers["content-type"] == "application/json"
        assert filed.headers["user-agent"].startswith("mailrelay")
        assert us.crm.connections <= 2
        health = (await us.shown(made["id"]))["health"]
        assert (health["waiting"], health["failures"], health["seq"]) == (0, 0, 2)
        assert health["succeeded_at"] == "2026-11-02T09:30:00Z"


async def test_fault_w05_a_changed_body_an_old_request_and_another_secret_are_told_from_ours(
    tmp_path: Path, now: FakeClock
):
    async with world(tmp_path) as us:
        made = await us.made()
        await us.work()
        (request,) = us.crm.requests
        assert verified(made["secret"], request)
        changed = Request(request.path, request.headers, request.body.replace(b"created", b"creates"))
        old = {**request.headers, "webhook-timestamp": str(int(request.headers["webhook-timestamp"]) - 301)}
        for forged in (changed, Request(request.path, old, request.body)):
            with pytest.raises(standardwebhooks.WebhookVerificationError):
                verified(made["secret"], forged)
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            verified("whsec_" + base64.b64encode(b"x" * 32).decode(), request)
        now.advance(timedelta(minutes=5))
        assert verified(made["secret"], request)
        now.advance(timedelta(seconds=1))
        with pytest.raises(standardwebhooks.WebhookVerificationError, match="old"):
            verified(made["secret"], request)  # as it came, and sent again by somebody who saw it


@pytest.mark.usefixtures("now")
async def test_fault_w05_two_secrets_sign_while_one_takes_the_place_of_the_other(tmp_path: Path):
    async with world(tmp_path) as us:
        made = await us.made()
        rotated = (await us.admin.post(f"{V1}/webhooks/{made['id']}/rotate", json={"overlap": "2m"})).json
        again = await us.admin.post(f"{V1}/webhooks/{made['id']}/rotate")
        assert again.status == 409
        await us.work()
        for request in us.crm.requests:
            assert verified(made["secret"], request)
            assert verified(rotated["secret"], request)
        us.crm.requests.clear()
        us.api.clock.advance(timedelta(minutes=2))
        await us.happen("M1")
        await us.work()
        (request,) = us.crm.requests
        assert len(request.headers["webhook-signature"].split()) == 1
        assert verified(rotated["secret"], request)
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            verified(made["secret"], request)
        leaked = await us.admin.post(f"{V1}/webhooks/{made['id']}/rotate", json={"overlap": "0"})
        assert leaked.status == 200
        us.crm.requests.clear()
        await us.work()
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            verified(rotated["secret"], us.crm.requests[0])


async def test_the_signature_is_what_openssl_makes_of_it(tmp_path: Path):
    async with world(tmp_path) as us:
        made = await us.made()
        await us.work()
        (request,) = us.crm.requests
        key = base64.b64decode(made["secret"].removeprefix("whsec_")).hex()
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
        done = await asyncio.to_thread(
            subprocess.run,
            ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"],
            input=signed,
            capture_output=True,
            check=True,
        )
        made_by_openssl = done.stdout
        assert request.headers["webhook-signature"] == "v1," + base64.b64encode(made_by_openssl).decode()


async def test_a_secret_is_shown_once_and_kept_sealed(tmp_path: Path):
    async with world(tmp_path) as us:
        key = {"Idempotency-Key": "one"}
        body = {"url": us.crm.url()}
        first = await us.admin.post(f"{V1}/webhooks", json=body, headers=key)
        again = await us.admin.post(f"{V1}/webhooks", json=body, headers=key)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.json == {**first.json, "secret": None}
        assert first.headers["Location"] == f"{V1}/webhooks/{first.json['id']}"
        secret = first.json["secret"]
        listed = await us.admin.get(f"{V1}/webhooks")
        assert secret.encode() not in listed.body
        assert "secret" not in listed.json["items"][0]
        kept = (tmp_path / "mailrelay.db").read_bytes() + (tmp_path / "mailrelay.db-wal").read_bytes()
        assert secret.removeprefix("whsec_").encode() not in kept


async def test_the_events_of_a_message_arrive_in_order_though_some_fail(tmp_path: Path):
    seen: dict[str, int] = {}

    async def now_and_then(request: Request, writer: asyncio.StreamWriter) -> bytes:
        number = seen.setdefault(request.headers["webhook-id"], 0)
        seen[request.headers["webhook-id"]] += 1
        return OK if number >= request.json["data"]["seq"] * 7 % 3 else status(503)

    async with world(tmp_path, now_and_then) as us:
        made = await us.made(types=["message.filed"])
        for number in range(30):
            await us.happen(f"M{number % 5}", data={"n": str(number)})
        for _ in range(200):
            await us.work()
            if (await us.shown(made["id"]))["health"]["waiting"] == 0:
                break
            us.api.clock.advance(timedelta(minutes=2))
        taken: dict[str, list[int]] = {}
        ids: set[str] = set()
        for request in us.crm.requests:
            if request.headers["webhook-id"] not in ids and seen[request.headers["webhook-id"]]:
                taken.setdefault(request.json["data"]["message"], []).append(int(request.json["data"]["data"]["n"]))
                ids.add(request.headers["webhook-id"])
        assert taken == {f"M{message}": list(range(message, 30, 5)) for message in range(5)}


async def test_two_processes_share_the_work_and_no_event_goes_twice(tmp_path: Path):
    under_way = 0
    most = 0

    async def slowly(request: Request, writer: asyncio.StreamWriter) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return OK

    async with world(tmp_path, slowly) as us:
        made = await us.made(types=["message.filed"])
        stopping = Stopping()
        running = [
            asyncio.create_task(service.run())
            for service in (
                Expander(us.api.store, us.api.clock, lifetime=259_200, stopping=stopping, poll=0.02),
                deliverer(us.api, stopping, "one"),
                deliverer(us.api, stopping, "two"),
            )
        ]
        for number in range(60):
            await us.happen(f"M{number % 20}")
        async with asyncio.timeout(30):
            while len(await us.calls(made["id"], state="taken")) < 60:  # noqa: ASYNC110 (in the store)
                await asyncio.sleep(0.05)
        stopping.set()
        await asyncio.gather(*running)
        ids = [one.headers["webhook-id"] for one in us.crm.requests]
        assert len(ids) == len(set(ids)) == 60
        assert 1 < most <= 8


async def test_a_receiver_may_ask_for_time(tmp_path: Path):
    answers = [status(429, "Retry-After: 120"), OK]

    async def then(request: Request, writer: asyncio.StreamWriter) -> bytes:
        return answers.pop(0)

    async with world(tmp_path, then) as us:
        made = await us.made()
        assert await us.work() == 1
        assert (await us.shown(made["id"]))["health"]["paused_until"] == "2026-11-02T09:32:00Z"
        us.api.clock.advance(timedelta(seconds=119))
        assert await us.work() == 0
        us.api.clock.advance(timedelta(seconds=1))
        assert await us.work() == 1
        assert (await us.shown(made["id"]))["health"]["paused_until"] is None


async def test_a_webhook_is_tried_out_at_once(tmp_path: Path):
    async with world(tmp_path, status(500, body=b"broken: key whsec_c2VjcmV0c2VjcmV0 \x1b[2J\r\nsee log")) as us:
        made = await us.made()
        tried = (await us.admin.post(f"{V1}/webhooks/{made['id']}/test")).json
        assert tried["works"] is False
        assert (tried["status"], tried["because"]) == (500, "it answered 500")
        assert tried["said"] == "broken: key […] \\x1b[2J see log"
        assert us.crm.types == ["webhook.test"]
        us.crm.answer = _ok
        assert (await us.admin.post(f"{V1}/webhooks/{made['id']}/test")).json["works"] is True
        assert await us.calls(made["id"]) == []


async def _ok(request: Request, writer: asyncio.StreamWriter) -> bytes:
    return OK


async def test_it_is_changed_switched_off_and_on_and_removed(tmp_path: Path):
    async with world(tmp_path) as us:
        made = await us.made()
        place = f"{V1}/webhooks/{made['id']}"
        seen = (await us.admin.get(place)).headers["ETag"]
        await us.work()
        assert (await us.admin.get(place)).headers["ETag"] == seen  # what is sent changes nothing
        changed = await us.admin.patch(place, json={"types": ["message.filed"]}, headers={"If-Match": seen})
        assert (changed.status, changed.json["types"]) == (200, ["message.filed"])
        late = await us.admin.patch(place, json={"description": "x"}, headers={"If-Match": seen})
        assert late.status == 412
        off = await us.admin.post(f"{place}/disable")
        assert (off.json["active"], off.json["because"].startswith("switched off by T")) == (False, True)
        us.crm.requests.clear()
        await us.happen("M1")
        await us.work()
        assert us.crm.requests == []
        assert (await us.admin.get(place)).json == off.json
        seen = (await us.admin.get(place)).headers["ETag"]
        on = await us.admin.post(f"{place}/enable", headers={"If-Match": seen})
        assert (on.json["active"], on.json["because"]) == (True, "")
        await us.work()
        assert us.crm.types == ["message.filed"]
        assert (await us.admin.delete(place)).status == 204
        assert (await us.admin.get(place)).status == 404
        await us.happen("M2")
        await us.work()
        assert len(us.crm.requests) == 1


async def test_dead_letters_are_listed_and_sent_again_and_all_is_replayed(tmp_path: Path):
    async with world(tmp_path, status(500, body=b"no")) as us:
        made = await us.made(types=["message.filed"])
        place = f"{V1}/webhooks/{made['id']}"
        await us.happen("M1")
        await us.happen("M1")
        await us.happen("M2")
        await us.work()
        us.api.clock.advance(timedelta(days=3))
        await us.work()
        us.api.clock.advance(timedelta(hours=1))
        await us.work()
        dead = await us.calls(made["id"], state="dead")
        assert [(one["seq"], one["failure"], one["said"]) for one in dead] == [
            (seq, "it answered 500", "no") for seq in (4, 3, 2)
        ]
        us.crm.answer = _ok
        us.crm.requests.clear()
        assert (await us.admin.post(f"{place}/calls/3/send-again")).json == {"events": 1}
        assert (await us.admin.post(f"{place}/send-again")).json == {"events": 2}
        assert (await us.admin.post(f"{place}/send-again")).json == {"events": 0}
        await us.work()
        assert sorted(one.json["data"]["seq"] for one in us.crm.requests) == [2, 3, 4]
        ids = {one.headers["webhook-id"] for one in us.crm.requests}
        us.crm.requests.clear()
        assert (await us.admin.post(f"{place}/replay", json={"after": 0})).json == {"events": 6}
        await us.work()
        assert {one.headers["webhook-id"] for one in us.crm.requests} == ids
        page = await us.admin.get(f"{place}/calls", params={"limit": "2"})
        rest = await us.admin.get(f"{place}/calls", params={"limit": "2", "after": page.json["next"]})
        assert [one["seq"] for one in (*page.json["items"], *rest.json["items"])] == [4, 3, 2]
        assert (await us.admin.post(f"{place}/replay", json={"after": 99})).status == 422


async def test_a_user_has_their_own_notices_sent_and_sees_no_other_webhook(tmp_path: Path):
    async with world(tmp_path) as us:
        anna = await factory.user(us.api.store, us.api.clock, us.org, "anna@acme.example")
        _, secret = await factory.api_token(
            us.api.store, us.api.clock, us.org, Right.READ, Right.SEND, on_behalf_of=anna
        )
        annas = us.api.web.bearing(secret)
        everything = await us.made()
        assert (await annas.post(f"{V1}/webhooks", json={"url": us.crm.url()})).status == 403
        own = await annas.post(f"{V1}/webhooks", json={"url": us.crm.url(), "user": "anna@acme.example"})
        assert (own.status, own.json["user"]) == (201, anna.id)
        assert [one["id"] for one in (await annas.get(f"{V1}/webhooks")).json["items"]] == [own.json["id"]]
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/test"),
            ("GET", "/calls"),
            ("POST", "/send-again"),
        ):
            refused = await annas.ask(method, f"{V1}/webhooks/{everything['id']}{path}")
            assert refused.status == 404, (method, path)
        _, other = await factory.api_token(us.api.store, us.api.clock, us.org, Right.READ)
        assert (await us.api.web.bearing(other).get(f"{V1}/webhooks")).json["items"] == []
        stranger = await factory.org(us.api.store, us.api.clock, domains=("other.example",))
        _, theirs = await factory.api_token(us.api.store, us.api.clock, stranger, Right.ADMIN)
        assert (await us.api.web.bearing(theirs).get(f"{V1}/webhooks/{everything['id']}")).status == 404


async def test_the_command_line_does_all_of_it(tmp_path: Path):
    async with world(tmp_path) as us:
        cli = Cli(us.api.server.unix_socket)
        empty = await cli("webhook", "list")
        assert "No webhook" in empty.out
        added = await cli("webhook", "add", us.crm.url(), "--type", "message.filed", "--description", "the CRM")
        assert added.status == 0, added
        assert "whsec_" in added.out
        (one,) = (await cli.json("webhook", "list"))["items"]
        id_ = one["id"]
        assert "lets" not in (await cli("webhook", "test", id_)).error
        await us.happen("M1")
        await us.work()
        assert us.crm.types == ["webhook.test", "message.filed"]
        us.crm.answer = _no
        assert (await cli("webhook", "test", id_)).status == 75
        await us.happen("M2")
        await us.work()
        for days in (3, 0):
            us.api.clock.advance(timedelta(days=days, hours=1))
            await us.work()
        dead = await cli("webhook", "dead", id_)
        assert "message.filed" in dead.out
        assert "it answered 500" in dead.out
        assert "message.filed" in (await cli("webhook", "calls", id_)).out
        us.crm.answer = _ok
        assert "1 event" in (await cli("webhook", "send-again", id_)).out
        await us.work()
        assert "No dead letters" in (await cli("webhook", "dead", id_)).out
        assert (await cli("webhook", "send-again", id_, "--seq", "2")).status == 0
        assert (await cli("webhook", "replay", id_, "--after", "0")).status == 0
        assert "whsec_" in (await cli("webhook", "rotate", id_)).out
        assert "everything" in (await cli("webhook", "change", id_, "--all-types")).out
        assert (await cli("webhook", "disable", id_)).status == 0
        assert "switched off" in (await cli("webhook", "show", id_)).out
        assert (await cli("webhook", "enable", id_)).status == 0
        refused = await cli("webhook", "add", "https://127.0.0.1:22/")
        assert (refused.status, "port 22" in refused.error) == (65, True)
        assert (await cli("webhook", "remove", id_)).status == 0
        assert "No webhook" in (await cli("webhook", "list")).out


async def _no(request: Request, writer: asyncio.StreamWriter) -> bytes:
    return status(500)


async def test_nothing_is_sent_while_its_user_is_deactivated_and_somebody_enables_it_afterwards(tmp_path: Path):
    async with world(tmp_path) as us:
        anna = await factory.user(us.api.store, us.api.clock, us.org, "anna@acme.example")
        await us.made(types=["user.changed"])
        annas = await us.made(user=anna.id)
        await us.work()
        us.crm.requests.clear()
        await us.happen(what=EventType.TASK_REQUESTED, user=anna.id)
        await us.expander.look()  # it is queued, and not sent yet
        user = f"{V1}/users/{anna.id}"
        assert (await us.admin.patch(user, json={"active": False})).status == 200
        await us.happen(what=EventType.TASK_REQUESTED, user=anna.id)
        await us.work()
        assert us.crm.types == ["user.changed"]
        off = await us.shown(annas["id"])
        assert (off["active"], off["because"].startswith("its user was deactivated by T")) == (False, True)
        (told,) = await us.told(EventType.WEBHOOK_DISABLED)
        assert (told["webhook"], told["because"]) == (annas["id"], off["because"])
        place = f"{V1}/webhooks/{annas['id']}"
        for refused in (
            await us.admin.post(f"{place}/enable"),
            await us.admin.post(f"{place}/test"),
            await us.admin.post(f"{V1}/webhooks", json={"url": us.crm.url(), "user": anna.id}),
        ):
            assert (refused.status in (409, 422), "deactivated" in refused.json["detail"]) == (True, True), refused.json
        assert (await us.admin.patch(user, json={"active": True})).status == 200
        await us.work()
        us.crm.requests.clear()
        assert (await us.admin.post(f"{place}/enable")).status == 200
        await us.work()
        assert us.crm.types.count("task.requested") == 2


async def test_nothing_is_sent_for_an_inactive_user_whose_webhook_was_left_on(tmp_path: Path):
    async with world(tmp_path) as us:
        anna = await factory.user(us.api.store, us.api.clock, us.org, "anna@acme.example")
        queued = await us.made(user=anna.id)
        await us.expander.look()
        behind = await us.made(user=anna.id)
        await us.api.store.write(people.deactivate, us.org.id, anna.id)
        await us.work()
        assert us.crm.requests == []
        for one in (queued, behind):
            assert (await us.shown(one["id"]))["because"] == "its user is deactivated"


async def test_a_webhook_asks_for_the_right_to_send_and_ends_with_its_token(tmp_path: Path):
    async with world(tmp_path) as us:
        store, clock = us.api.store, us.api.clock
        anna = await factory.user(store, clock, us.org, "anna@acme.example")
        _, reads = await factory.api_token(store, clock, us.org, Right.READ, on_behalf_of=anna)
        sender, sends = await factory.api_token(store, clock, us.org, Right.READ, Right.SEND, on_behalf_of=anna)
        wanted = {"url": us.crm.url(), "user": anna.id}
        made = (await us.api.web.bearing(sends).post(f"{V1}/webhooks", json=wanted)).json
        other = await us.made(user=anna.id)
        assert (made["token"], made["created_by"]) == (sender.id, anna.id)
        reader = us.api.web.bearing(reads)
        place = f"{V1}/webhooks/{made['id']}"
        assert (await reader.get(place)).status == 200
        assert (await reader.post(f"{V1}/webhooks", json=wanted)).status == 403
        assert (await reader.patch(place, json={"url": us.crm.url()})).status == 403
        assert (await reader.delete(place)).status == 403
        for what in ("rotate", "replay", "enable", "disable", "test", "send-again", "calls/1/send-again"):
            assert (await reader.post(f"{place}/{what}", json={"after": 0})).status == 403, what
        _, leaving = await factory.api_token(store, clock, us.org, Right.ADMIN)

        assert (await us.admin.delete(f"{V1}/tokens/{sender.id}")).status == 204
        off = await us.shown(made["id"])
        assert off["active"] is False
        assert off["because"].startswith(f"its token {sender.id} was revoked by T")
        assert (await us.shown(other["id"]))["active"] is True
        await us.happen(what=EventType.TASK_REQUESTED, user=anna.id)
        await us.work()
        assert us.crm.types.count("task.requested") == 1  # to the other
        # Whose token enables it answers for it from now on.
        on = await us.api.web.bearing(leaving).post(f"{place}/enable")
        assert (on.json["active"], on.json["because"]) == (True, "")
        assert (await us.admin.post(f"{V1}/webhooks/{other['id']}/enable")).status == 200
        assert (await us.admin.delete(f"{V1}/tokens/{on.json['token']}")).status == 204
        assert (await us.shown(made["id"]))["active"] is False
        assert (await us.shown(other["id"]))["active"] is True
        # So does whose token said where it goes.
        last, changes = await factory.api_token(store, clock, us.org, Right.ADMIN)
        moved = await us.api.web.bearing(changes).patch(
            f"{V1}/webhooks/{other['id']}", json={"url": us.crm.url(path="/x")}
        )
        assert (moved.status, moved.json["token"]) == (200, last.id)
        assert (await us.admin.delete(f"{V1}/tokens/{last.id}")).status == 204
        assert (await us.shown(other["id"]))["active"] is False


async def test_the_journal_says_what_was_done_to_a_webhook(tmp_path: Path):
    async with world(tmp_path) as us:
        made = await us.made(types=["message.filed"])
        place = f"{V1}/webhooks/{made['id']}"
        await us.happen("M1")
        await us.work()
        assert (await us.admin.patch(place, json={"url": us.crm.url(path="/new"), "types": []})).status == 200
        assert (await us.admin.patch(place, json={"types": []})).status == 200  # which changes nothing
        await us.admin.post(f"{place}/rotate", json={"overlap": "0"})
        changed = [one["changed"] for one in await us.told(EventType.WEBHOOK_CHANGED)]
        assert changed == ["url types", "secrets"]
        await us.admin.post(f"{place}/calls/2/send-again")
        await us.admin.post(f"{place}/replay", json={"after": 1})
        await us.admin.post(f"{place}/disable")
        await us.admin.post(f"{place}/enable")
        (again,) = await us.told(EventType.WEBHOOK_RESENT)
        assert (again["seq"], again["events"]) == ("2", "1")
        (replayed,) = await us.told(EventType.WEBHOOK_REPLAYED)
        assert (replayed["after"], replayed["events"]) == ("1", "4")
        assert len(await us.told(EventType.WEBHOOK_DISABLED)) == len(await us.told(EventType.WEBHOOK_ENABLED)) == 1
        assert all(one["by"].startswith("T") and one["webhook"] == made["id"] for one in (again, replayed))
