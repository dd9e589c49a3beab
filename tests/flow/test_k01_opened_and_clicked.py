"""K1: opens and clicks as a mail's journey, its status, the queue, the API and the command line show them; and judged again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import update

from mailrelay.clock import to_micros
from mailrelay.ids import DeliveryId
from mailrelay.model.delivery import DeliveryStatus, MessageStatus, message_status
from mailrelay.model.hit import By, Judged, RawHit
from mailrelay.model.organisation import Organisation, Right
from mailrelay.model.settings import OrganisationSettings, Sharing
from mailrelay.model.tracking import Mode
from mailrelay.store import deliveries
from mailrelay.store.tables import consent, delivery
from mailrelay.tracking import agent
from tests.support import factory, tracked
from tests.support.cli import Cli
from tests.support.http import Api, Client, serving

V1 = "/api/v1"


@dataclass
class Place:
    api: Api
    org: Organisation
    client: Client
    cli: Cli

    async def sent(self, *to: str, **more: Any) -> tuple[str, list[DeliveryId]]:
        """A mail that went to these an hour ago, and they agree to be tracked."""
        answer = await self.client.post(
            f"{V1}/messages", json={"from": "anna@a.test", "to": list(to), "subject": "Offer", "text": "Hi", **more}
        )
        assert answer.status == 202, answer.body
        at = to_micros(self.api.clock.now() - timedelta(hours=1))

        def went(tx: Any) -> None:
            tx.execute(update(delivery).values(state="sent", ended_at=at, tracked="links"))
            for one in to:
                said = {"org": self.org.id, "key": one, "at": at, "given": True, "by": "test", "evidence": "a form"}
                tx.execute(tx.insert(consent).values(said).on_conflict_do_nothing())

        await self.api.store.write(went)
        return answer.json["id"], [DeliveryId(one["id"]) for one in answer.json["deliveries"]]

    async def visit(self, path: str, agent: str = tracked.BROWSER) -> None:
        """Somebody loads or follows it, and it is written down."""
        self.api.clock.advance(timedelta(minutes=1))
        answer = await self.api.public.get(path, headers={"User-Agent": agent}, allow_redirects=False)
        assert answer.status in (200, 204, 302)
        async with asyncio.timeout(30):
            while self.api.hits.waiting():  # noqa: ASYNC110 (it tells nobody)
                await asyncio.sleep(0.01)

    async def message(self, id: str) -> Any:  # noqa: A002
        return (await self.client.get(f"{V1}/messages/{id}")).json


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    with structlog.testing.capture_logs():
        async with serving(tmp_path) as api:
            settings = OrganisationSettings(tracking=Mode.INDIVIDUAL, sharing=Sharing.PRIVATE)
            org = await factory.org(api.store, api.clock, domains=("a.test",), settings=settings)
            await factory.user(api.store, api.clock, org, "anna@a.test")
            _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
            yield Place(api, org, api.web.bearing(secret), Cli(api.server.unix_socket))


async def test_k01_a_mail_is_opened_then_clicked_and_says_when_and_which(place: Place) -> None:
    message, (bob, eve) = await place.sent("bob@b.test", "eve@b.test")
    assert (await place.message(message))["status"] == "sent"
    await place.visit(tracked.pixel(place.api.keys, bob))
    shown = await place.message(message)
    assert shown["status"] == "opened"
    assert {one["id"]: one["status"] for one in shown["deliveries"]} == {bob: "opened", eve: "sent"}
    await place.visit(tracked.link(place.api.keys, bob, 2))
    await place.visit(tracked.pixel(place.api.keys, bob))
    await place.visit(tracked.pixel(place.api.keys, eve), agent="Mozilla/5.0")
    shown = await place.message(message)
    assert shown["status"] == "clicked"
    by = {one["id"]: one for one in shown["deliveries"]}
    assert (by[bob]["status"], by[eve]["status"]) == ("clicked", "sent")
    done = by[bob]["engagement"]
    assert (done["opens"], done["clicks"], done["machine_opens"]) == (2, 1, 0)
    assert done["first_opened_at"] == by[bob]["opened_at"] < done["first_clicked_at"] < done["last_opened_at"]
    assert [(one["link"], one["url"], one["clicks"]) for one in done["links"]] == [(2, tracked.TARGET, 1)]
    assert (by[eve]["engagement"]["opens"], by[eve]["engagement"]["machine_opens"]) == (0, 1)
    assert (by[eve]["opened_at"], shown["aggregate"]) == (None, [])
    assert (await place.client.get(f"{V1}/queue/{bob}")).json["engagement"] == done
    for status, found in (("clicked", [bob]), ("opened", []), ("sent", [eve])):
        listed = (await place.client.get(f"{V1}/queue?status={status}")).json["items"]
        assert [one["id"] for one in listed] == found, status
        counted = (await place.client.get(f"{V1}/queue/count?status={status}")).json
        assert counted["count"] == len(found)
    (listed,) = (await place.client.get(f"{V1}/messages")).json["items"]
    assert listed["status"] == "clicked"


async def test_k01_every_hit_is_shown_with_who_and_why_to_those_who_see_the_mail(place: Place) -> None:
    message, (bob,) = await place.sent("bob@b.test")
    await place.visit(tracked.pixel(place.api.keys, bob))
    await place.visit(tracked.link(place.api.keys, bob, 3), agent="curl/8.0")
    one = (await place.client.get(f"{V1}/messages/{message}/hits?limit=1")).json
    assert one["next"]
    two = (await place.client.get(f"{V1}/messages/{message}/hits", params={"limit": 5, "after": one["next"]})).json
    opened, clicked = [*one["items"], *two["items"]]
    assert (opened["kind"], opened["recipient"], opened["by"], opened["agent"]) == (
        *("open", "bob@b.test", "person"),
        tracked.BROWSER,
    )
    assert (clicked["kind"], clicked["link"], clicked["url"], clicked["by"]) == ("click", 3, tracked.TARGET, "machine")
    assert clicked["reasons"]
    assert (await place.client.get(f"{V1}/messages/{message}/hits?after=yesterday")).status == 422
    other = await factory.user(place.api.store, place.api.clock, place.org, "carl@a.test")
    _, secret = await factory.api_token(place.api.store, place.api.clock, place.org, Right.READ, on_behalf_of=other)
    assert (await place.api.web.bearing(secret).get(f"{V1}/messages/{message}/hits")).status == 404


async def test_o09_in_mode_aggregate_the_message_has_numbers_and_nobody(place: Place) -> None:
    message, (bob, *_) = await place.sent(*(f"{name}@b.test" for name in ("bob", "eve", "dan", "flo", "gil")))
    await place.api.store.write(lambda tx: tx.execute(update(delivery).values(tracking="aggregate")).rowcount)
    await place.visit(tracked.link(place.api.keys, bob))
    await place.visit(tracked.link(place.api.keys, bob))
    shown = await place.message(message)
    (counted,) = shown["aggregate"]
    assert (counted["kind"], counted["link"], counted["by"], counted["hits"]) == ("click", 1, "person", 2)
    assert counted["day"] == place.api.clock.now().date().isoformat()
    assert (shown["status"], shown["deliveries"][0]["engagement"]) == ("sent", None)
    assert (await place.client.get(f"{V1}/messages/{message}/hits")).json["items"] == []


async def test_k01_the_command_line_says_it_in_words(place: Place) -> None:
    message, (bob,) = await place.sent("bob@b.test")
    nobody = await place.cli("tracking", "show", message)
    assert "Nobody has opened it" in nobody.out
    await place.visit(tracked.pixel(place.api.keys, bob))
    await place.visit(tracked.link(place.api.keys, bob))
    await place.visit(tracked.pixel(place.api.keys, bob), agent="Mozilla/5.0")
    said = (await place.cli("message", "show", message)).out
    assert "clicked" in said
    assert "once, first" in said
    assert tracked.TARGET in said
    assert "once by machines" in said
    hits = (await place.cli("tracking", "show", message)).out
    assert "bob@b.test" in hits
    assert "apple_mail_privacy" in hits


async def test_o09_the_command_line_says_how_a_mail_is_tracked(place: Place, tmp_path: Path) -> None:
    letter, mail = tmp_path / "letter.html", tmp_path / "mail.eml"
    letter.write_text("<p>Hi</p>")
    mail.write_bytes(b"From: anna@a.test\r\nTo: bob@b.test\r\n\r\nHi\r\n")
    whom = ("--from", "anna@a.test", "--to", "bob@b.test", "--html", str(letter))
    sent = await place.cli.json("message", "send", *whom, "--tracking", "aggregate")
    held = await place.api.store.read(deliveries.by_id, DeliveryId(sent["deliveries"][0]["id"]))
    assert held is not None
    assert held.tracking is Mode.AGGREGATE
    refused = await place.cli("message", "send", "--eml", str(mail), "--tracking", "off")
    assert (refused.status, "X-Mailrelay-Tracking: off" in refused.error) == (2, True)


async def test_k01_past_opens_are_judged_again_when_the_rules_learn_something(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, (bob,) = await place.sent("bob@b.test")
    await place.visit(tracked.pixel(place.api.keys, bob))
    assert "are what they were" in (await place.cli("tracking", "rejudge")).out

    def learnt(some: Sequence[RawHit], sent_at: datetime | None) -> Sequence[Judged]:
        return [Judged(by=By.MACHINE, reasons=("learnt",), rules=999) for _ in some]

    monkeypatch.setattr(agent, "judge", learnt)
    dry = await place.cli("tracking", "rejudge", "--dry-run")
    assert "opens 1 -> 0" in dry.out
    assert "would be something else" in dry.out
    assert (await place.message(message))["status"] == "opened"
    done = (await place.client.post(f"{V1}/tracking/rejudge?since=30d&apply=true")).lines
    assert done[-1]["changed"] == 1
    assert (done[0]["was"]["opens"], done[0]["now"]["machine_opens"]) == (1, 1)
    shown = await place.message(message)
    assert (shown["status"], shown["deliveries"][0]["engagement"]["first_opened_at"]) == ("sent", None)
    assert [one["type"] for one in shown["events"]][-2:] == ["delivery.opened", "delivery.judged"]
    again = (await place.client.post(f"{V1}/tracking/rejudge?apply=true")).lines
    assert [one["changed"] for one in again] == [0]
    _, secret = await factory.api_token(place.api.store, place.api.clock, place.org, Right.READ)
    assert (await place.api.web.bearing(secret).post(f"{V1}/tracking/rejudge")).status == 403


def test_k01_what_goes_furthest_says_what_became_of_a_message() -> None:
    status = DeliveryStatus
    for more, less in zip(
        (status.REPLIED, status.CLICKED, status.OPENED), (status.CLICKED, status.OPENED, status.SENT), strict=True
    ):
        assert message_status([less, more]) == MessageStatus(more)
    assert message_status([status.OPENED, status.BOUNCED]) is MessageStatus.PARTIALLY_SENT
    assert message_status([status.OPENED, status.DEFERRED]) is MessageStatus.DEFERRED
