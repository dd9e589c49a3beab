"""O3: mail to a record goes to the address that is meant, and is filed on every record that it concerns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from mailrelay.ids import MessageId
from mailrelay.model.organisation import Right
from mailrelay.model.settings import Unknown, UserSettings
from mailrelay.model.suppression import SuppressionReason
from mailrelay.store import links, suppressions
from tests.support import factory
from tests.support.filing import Desk, office
from tests.support.house import house, on
from tests.support.http import Answered, Client, serving

V1 = "/api/v1"


@dataclass
class Place:
    desk: Desk
    client: Client

    async def send(self, **fields: Any) -> Answered:
        """A mail of Anna's."""
        given = {"from": "anna@example.com", "subject": "Hello", "text": "Hi", **fields}
        return await self.client.post(f"{V1}/messages", json=given)

    async def on(self, answer: Answered) -> dict[str, tuple[str, str]]:
        """Where it was filed: rule and who, by record."""
        assert answer.status == 202, answer.body
        await self.desk.worker.drain()
        message = MessageId(answer.json["id"])
        found = await self.desk.store.read(links.of_message, self.desk.org.id, message)
        return {str(one.record): (one.rule, one.by) for one in found if one.removed_at is None}


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with (
        serving(tmp_path) as api,
        office(tmp_path, store=api.store, user_settings=UserSettings(unknown=Unknown.NOTHING)) as desk,
    ):
        _, secret = await factory.api_token(api.store, api.clock, desk.org, Right.ADMIN)
        await factory.module(desk.store, desk.org, "project", "billing_email")
        await desk.record(
            "contact/17",
            "bob@customer.test",
            factory.address("bob@home.test", "secondary_email"),
            name="Bob Baker",
            links={"account": "account/1"},
        )
        await desk.record("account/1", "info@firm.test")
        await desk.record("deal/9", links={"contact": "contact/17"})
        await desk.record("project/1", factory.address("bills@firm.test", "billing_email"))
        await desk.record("vendor/1", "sales@vendor.test")
        await desk.record("quote/1", links={"contact": "contact/17", "vendor": "vendor/1"})
        await desk.record("purchase_order/1", links={"vendor": "vendor/1"})
        yield Place(desk, api.web.bearing(secret))


@pytest.mark.parametrize(
    ("to", "address", "also"),
    [
        ("contact/17", "bob@customer.test", {"contact/17", "account/1", "deal/9"}),
        ({"record": "contact/17"}, "bob@customer.test", {"contact/17", "account/1", "deal/9"}),
        ({"record": "contact/17", "field": "primary"}, "bob@customer.test", {"contact/17", "account/1", "deal/9"}),
        ({"record": "contact/17", "field": "secondary"}, "bob@home.test", {"contact/17", "account/1", "deal/9"}),
        ({"record": "contact/17", "field": "email"}, "bob@customer.test", {"contact/17", "account/1", "deal/9"}),
        ({"record": "project/1", "field": "billing_email"}, "bills@firm.test", {"project/1", "account/1"}),
        ("quote/1", "bob@customer.test", {"quote/1", "contact/17", "account/1", "deal/9"}),
        ("purchase_order/1", "sales@vendor.test", {"purchase_order/1", "vendor/1"}),
    ],
)
async def test_it_goes_to_the_address_that_is_meant_and_shows_at_all_that_it_concerns(
    place: Place, to: object, address: str, also: set[str]
) -> None:
    answer = await place.send(to=[to])
    assert set(await place.on(answer)) == also
    assert [one["recipient"] for one in answer.json["deliveries"]] == [address]


async def test_cc_and_bcc_take_records_too_and_bcc_is_not_shown(place: Place) -> None:
    answer = await place.send(to=["x@new.test"], cc=["contact/17"], bcc=["vendor/1"])
    assert [one["recipient"] for one in answer.json["deliveries"]] == [
        "x@new.test",
        "bob@customer.test",
        "sales@vendor.test",
    ]
    raw = await place.client.get(f"{V1}/messages/{answer.json['id']}/raw")
    sent = message_from_bytes(raw.body, policy=policy.default)
    assert sent["Cc"] == "Bob Baker <bob@customer.test>"
    assert b"vendor" not in raw.body
    assert {"contact/17", "vendor/1", "deal/9"} <= set(await place.on(answer))


async def test_it_is_on_the_record_that_was_named_where_several_have_the_address(place: Place) -> None:
    await place.desk.record("contact/18", "bob@customer.test")
    filed = await place.on(await place.send(to=["contact/18"]))
    assert filed == {"contact/18": ("match.addressed", "rule")}


async def test_further_records_are_linked_by_its_author_and_no_rule_takes_them_away(place: Place) -> None:
    await place.desk.record("deal/10", links={"contact": "contact/17"})
    answer = await place.send(to=["contact/17"], records=["deal/10", "project/1"])
    filed = await place.on(answer)
    anna = place.desk.anna.id
    assert (filed["deal/10"], filed["project/1"]) == (("by_hand", anna), ("by_hand", anna))
    assert "deal/9" not in filed  # what a person chose among the contact's deals stands
    whole = b"From: anna@example.com\r\nTo: bob@customer.test\r\nSubject: x\r\n\r\nHi\r\n"
    kind = {"Content-Type": "message/rfc822"}
    answer = await place.client.post(f"{V1}/messages?record=deal/10&record=project/1", data=whole, headers=kind)
    assert {"deal/10", "project/1", "contact/17"} <= set(await place.on(answer))


@pytest.mark.parametrize(
    ("fields", "path", "because"),
    [
        ({"to": ["contact/99"]}, "to[0]", "there is no record contact/99"),
        (
            {"to": ["x@y.test", {"record": "vendor/1", "field": "secondary"}]},
            "to[1]",
            "vendor/1 has no secondary address",
        ),
        ({"to": [{"record": "vendor/1", "field": "fax"}]}, "to[0]", "no address in fax; vendor/1 has email"),
        ({"cc": ["deal/9"]}, "cc[0]", "deal/9 has no primary address"),
        ({"bcc": [{"record": "quote/1", "field": "billing"}]}, "bcc[0]", "contact/17 has email"),
        ({"to": ["x@y.test"], "records": ["deal/99"]}, "records", "there is no record deal/99"),
        ({"to": ["contact/"]}, "to[0]", "module/id"),
        ({"to": [{"record": "contact/17", "field": ""}]}, "to[0]", "a record is"),
        ({"to": [{"record": "contact/17", "address": "a@b.test"}]}, "to[0]", "a record is"),
    ],
)
async def test_what_cannot_be_is_refused_by_its_place_and_nothing_is_queued(
    place: Place, fields: dict[str, Any], path: str, because: str
) -> None:
    answer = await place.send(**fields)
    assert answer.status == 422
    assert path in str(answer.json)
    assert because in str(answer.json)
    assert await place.desk.messages() == ()


async def test_o10_a_suppressed_one_is_refused_by_the_name_of_its_record(place: Place) -> None:
    desk = place.desk
    how = {"key": "bob@customer.test", "reason": SuppressionReason.BY_HAND, "evidence": "x", "now": desk.clock.now()}
    await desk.store.write(suppressions.suppress, org=desk.org.id, **how)
    answer = await place.send(to=["contact/17"])
    assert answer.status == 422
    assert "bob@customer.test, the address of contact/17, is suppressed" in answer.json["detail"]
    assert answer.json["type"].endswith("suppressed")


async def test_an_address_with_a_slash_is_an_address(place: Place) -> None:
    answer = await place.send(to=["sales/eu@new.test"])
    assert [one["recipient"] for one in answer.json["deliveries"]] == ["sales/eu@new.test"]


async def test_a_quote_made_out_to_several_asks_which(place: Place) -> None:
    await place.desk.record("contact/20", "sue@customer.test")
    await place.desk.record("quote/2", links={"buyer": "contact/17", "user": "contact/20"})
    answer = await place.send(to=["quote/2"])
    assert answer.status == 422
    assert "write to one of contact/17, contact/20" in str(answer.json)


async def test_the_command_sends_to_records(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        await here.record("contact/1", "bob@customer.example", factory.address("bob@home.example", "secondary_email"))
        await here.record("deal/9")
        letter = ("message", "send", "--from", "anna@example.org", "--subject", "x", "--text", "y")
        sent = await here.json(*letter, "--to-record", "contact/1:secondary", "--file-on", "deal/9")
        assert [one["recipient"] for one in sent["deliveries"]] == ["bob@home.example"]
        assert set(on(await here.message(sent["queue_id"]))) == {"contact/1", "deal/9"}
        said = await here.refused(*letter, "--cc-record", "deal/9")
        assert "deal/9 has no primary address" in said
        (tmp_path / "x.eml").write_bytes(b"From: anna@example.org\r\nTo: b@b.example\r\n\r\nx\r\n")
        assert "whole mail" in await here.refused(
            "message", "send", "--eml", str(tmp_path / "x.eml"), "--to-record", "contact/1"
        )
