"""I16, I19: what a user hears of at once, by list, stream and webhook, tells no more than what they see when they ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailrelay.config.schema import Config, Delivery, Webhooks
from mailrelay.ids import NodeId
from mailrelay.model.organisation import Right, User
from mailrelay.service import Stopping
from mailrelay.webhook.deliver import Deliverer
from mailrelay.webhook.expand import Expander
from tests.support import factory
from tests.support.answers import Zone
from tests.support.certs import certificate
from tests.support.filing import mail
from tests.support.http import ZoneResolver
from tests.support.receiver import Receiver, receiving
from tests.support.sharing import V1, Place, sharing_office
from tests.support.stream import Stream, follow

CERT = certificate("crm.test", "127.0.0.1")
SECRET = "mallow"
"""Stands in all that somebody must not hear of."""


@dataclass
class Listening:
    """A user who hears by all three ways."""

    place: Place
    secret: str
    stream: Stream
    crm: Receiver
    webhook: str

    async def list(self) -> list[dict[str, Any]]:
        return (await self.place.api.web.bearing(self.secret).get(f"{V1}/notices")).json["items"]

    async def hears(self, number: int) -> list[list[Any]]:
        """What came in each way: as many each, and the stream's after which there are no more."""
        listed = await self.list()
        streamed = [await self.stream.event() for _ in range(number)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.stream.event(), 0.3)
        api = self.place.api
        stopping = Stopping()
        await Expander(api.store, api.clock, lifetime=259_200, stopping=stopping, poll=0.02).look()
        services = {"timeout": 5.0, "disable_after": 432_000.0, "stopping": stopping}
        await Deliverer(api.store, api.application.webhooks, api.clock, node=NodeId("one"), **services).drain()
        called = [json.loads(one.body) for one in self.crm.requests]
        about_mail = [one for one in called if one["data"]["message"]]
        assert [len(listed), len(about_mail)] == [number, number]
        return [listed, streamed, about_mail]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    config = Config(
        data=tmp_path,
        webhooks=Webhooks(allow_private=("127.0.0.0/8",), timeout=5.0),
        delivery=Delivery(ca_file=CERT.authority),
    )
    resolver = ZoneResolver(Zone({("A", "crm.test"): "127.0.0.1"}))
    async with sharing_office(tmp_path, config=config, resolver=resolver) as made:
        await made.settings(sender_check="token")  # anybody may write to a dropbox
        await made.share("anna@example.com", sharing="private")
        await made.desk.record("contact/1", "bob@customer.test")
        await made.desk.record("contact/mallow", "eve@mallow.test")
        yield made


@asynccontextmanager
async def listening(place: Place, user: User) -> AsyncIterator[Listening]:
    _, secret = await factory.api_token(
        place.api.store, place.api.clock, place.desk.org, Right.READ, Right.SEND, on_behalf_of=user
    )
    async with receiving(CERT.server_context()) as crm, follow(place.api, secret) as stream:
        made = await place.machine.post(f"{V1}/webhooks", json={"url": crm.url(), "user": user.id})
        assert made.status == 201, made.body
        await stream.block()
        yield Listening(place, secret, stream, crm, made.json["id"])


async def test_who_has_a_copy_hears_of_it_though_a_colleagues_that_is_private_came_first(place: Place) -> None:
    clear = mail(from_="bob@customer.test", to="anna@example.com, berta@example.com", message_id="one@customer.test")
    annas = clear.replace(b"Subject:", b"Bcc: Eve <eve@mallow.test>\r\nSubject:", 1)
    async with listening(place, place.berta) as berta:
        await place.desk.post(annas, mail_from="bob@customer.test")
        assert await berta.list() == []
        await place.desk.post(clear, user=place.berta, mail_from="bob@customer.test")
        heard = await berta.hears(1)
        assert SECRET not in json.dumps(heard)
        assert {one["kind"] for one in (*heard[0], *heard[1])} == {"wrote"}
        assert heard[0][0]["records"] == ["contact/1"]
        # A third copy tells her nothing new.
        await place.desk.post(clear, user=place.berta, mail_from="bob@customer.test")
        assert len(await berta.list()) == 1


async def test_of_an_answer_that_a_colleague_keeps_private_its_author_hears_only_that_it_came(place: Place) -> None:
    await place.share("berta@example.com", sharing="private")
    async with listening(place, place.desk.anna) as anna:
        given = {"to": ["bob@customer.test"], "subject": "Offer", "text": "Hello"}
        sent = await place.anna.post(f"{V1}/messages", json=given)
        named = (await place.anna.get(f"{V1}/messages/{sent.json['id']}")).json["message_id"]
        answer = mail(
            from_="Bob <bob@customer.test>",
            to="berta@example.com",
            subject="Mallow",
            body="Mallow, but tell nobody.\r\n",
            headers=(f"In-Reply-To: <{named}>",),
        )
        came = await place.desk.post(answer, user=place.berta, mail_from="bob@customer.test")
        assert (await place.anna.get(f"{V1}/messages/{came.message}")).status == 404
        heard = await anna.hears(1)
        told = json.dumps(heard)
        assert SECRET not in told.lower()
        assert str(came.message) not in told
        for (one,) in heard[:2]:
            assert (one["kind"], one["message"]) == ("replied", sent.json["id"])
            assert one["sentence"] == "bob@customer.test replied: “Offer”"


async def test_whose_record_a_mail_is_on_hears_nothing_of_it_by_any_way_while_it_is_not_shared(place: Place) -> None:
    dora = await place.desk.user("dora@example.com")
    await place.desk.record("contact/1", "bob@customer.test", owner=dora)
    async with listening(place, dora) as doras:
        await place.desk.post(mail(from_="bob@customer.test", to="anna@example.com"), mail_from="bob@customer.test")
        assert await doras.hears(0) == [[], [], []]
        await place.share("anna@example.com", sharing="public")
        await place.desk.post(
            mail(from_="bob@customer.test", to="anna@example.com", subject="shared"), mail_from="bob@customer.test"
        )
        assert "shared" in json.dumps((await doras.list())[0])
