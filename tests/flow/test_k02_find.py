"""K2: records are found by what became of their mail, by API and by command, as far as who asks may see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from mailrelay.clock import to_micros
from mailrelay.config.schema import BrakeLevels
from mailrelay.ids import MessageId, OrgId
from mailrelay.model.event import EventType
from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.organisation import Right
from mailrelay.model.settings import Unknown, UserSettings
from mailrelay.outbound import consequences
from mailrelay.outbound.verdict import Answered
from mailrelay.report.facts import FactKeeper
from mailrelay.service import Stopping
from mailrelay.store import deliveries, events, mail_facts
from mailrelay.store.tables import delivery, engagement, mail_fact
from tests.support import factory
from tests.support.cli import Cli
from tests.support.filing import Desk, mail, office
from tests.support.http import Api, Client, serving

V1 = "/api/v1"


@dataclass
class Place:
    api: Api
    desk: Desk
    client: Client
    cli: Cli
    facts: FactKeeper

    async def found(self, q: str, client: Client | None = None) -> list[str]:
        await self.facts.look()
        answer = await (client or self.client).get(f"{V1}/find", params={"q": q})
        assert answer.status == 200, answer.body
        return [one["record"] for one in answer.json["items"]]

    async def put(self, place: str, *addresses: str, **fields: str) -> None:
        name = fields.pop("name", place)
        given = {"name": name, "fields": fields} | ({"addresses": {"email": addresses[0]}} if addresses else {})
        answer = await self.client.put(f"{V1}/records/{place}", json=given)
        assert answer.status in (200, 201), answer.body

    async def went(self, to: str, **columns: Any) -> str:
        """A mail of Anna's that was sent to somebody an hour ago, and is on a record; what else became of it."""
        said = {"from": "anna@example.com", "to": [to], "subject": "Offer", "text": "Hi"}
        answer = await self.client.post(f"{V1}/messages", json=said)
        assert answer.status in (201, 202), answer.body
        message, id_ = answer.json["id"], answer.json["deliveries"][0]["id"]
        now = self.api.clock.now()
        row = {"state": "sent", "ended_at": to_micros(now - timedelta(hours=1)), **columns}
        opened = row.pop("opened", None)

        def change(tx: Any) -> None:
            tx.execute(update(delivery).where(delivery.c.id == id_).values(row))
            if opened is not None:
                at = to_micros(opened)
                tx.execute(
                    engagement.insert().values(
                        delivery=id_,
                        org=self.desk.org.id,
                        message=message,
                        opens=1,
                        first_opened_at=at,
                        last_opened_at=at,
                        last_hit_at=at,
                    )
                )
            events.append(tx, org=self.desk.org.id, at=now, type=EventType.DELIVERY_SENT, message=message, delivery=id_)

        await self.api.store.write(change)
        return str(message)

    async def link(self, message: str, *records: str) -> None:
        for one in records:
            answer = await self.client.put(f"{V1}/messages/{message}/links/{one}")
            assert answer.status in (200, 201, 204), answer.body


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with (
        serving(tmp_path) as api,
        office(tmp_path, store=api.store, user_settings=UserSettings(unknown=Unknown.NOTHING)) as desk,
    ):
        _, secret = await factory.api_token(api.store, api.clock, desk.org, Right.ADMIN)
        keeper = FactKeeper(api.store, api.clock, Stopping())
        yield Place(api, desk, api.web.bearing(secret), Cli(api.server.unix_socket), keeper)
        # However it came to be, it is what is made of the mail and the records as they are.
        await keeper.look()
        kept = await api.store.read(_rows)
        await api.store.write(_made_anew, desk.org.id)
        assert await api.store.read(_rows) == kept


async def test_k02_who_wrote_today_is_found_with_the_mail(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    await place.put("contact/2", "eve@customer.test")
    raw = mail(from_="bob@customer.test", to="anna@example.com")
    arrival = await place.desk.post(raw, mail_from="bob@customer.test")
    assert arrival.message is not None
    await place.link(arrival.message, "contact/1")
    found = await place.found("contacts where received today")
    assert found == ["contact/1"]
    assert await place.found("contacts where never received") == ["contact/2"]


async def test_k02_what_was_sent_and_opened_is_found_on_the_contact_and_the_deal(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    await place.put("contact/2", "eve@customer.test")
    now = place.api.clock.now()
    await place.put("deal/7", amount="60000", closing_date=f"{now:%Y-%m}-15", stage="open")
    opened = await place.went("bob@customer.test", opened=now - timedelta(minutes=5))
    unopened = await place.went("eve@customer.test")
    await place.link(opened, "contact/1", "deal/7")
    await place.link(unopened, "contact/2")
    assert await place.found("contacts where opened within 3 days") == ["contact/1"]
    assert await place.found("contacts where sent this week and not opened") == ["contact/2"]
    asked = "deals where closing this month and amount > 50000 and opened and not replied"
    assert await place.found(asked) == ["deal/7"]
    assert await place.found("deals where amount > 70000 and opened") == []


async def test_k02_a_contact_has_not_opened_what_another_opened(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    await place.put("contact/2", "eve@customer.test")
    opened = await place.went("bob@customer.test", opened=place.api.clock.now())
    await place.link(opened, "contact/1", "contact/2")
    assert await place.found("contacts where opened") == ["contact/1"]


async def test_k02_a_success_notice_counts_when_it_comes(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    now = place.api.clock.now()
    message = await place.went("bob@customer.test", ended_at=to_micros(now - timedelta(days=2)))
    await place.link(message, "contact/1")

    def told(tx: Any) -> str:
        one = deliveries.of_message(tx, place.desk.org.id, MessageId(message))[0]
        said = Answered(
            delivery=one,
            category=Category.DELIVERED,
            hard=False,
            fault=Fault.NEITHER,
            action=Action.DELIVERED,
            said="",
            source="a report",
            by="Q1",
        )
        consequences.returned(tx, [said], at=now, brakes=BrakeLevels())
        return str(one.id)

    delivery = await place.api.store.write(told)
    assert await place.found("contacts where delivered within 1 day") == ["contact/1"]
    shown = (await place.client.get(f"{V1}/queue/{delivery}")).json
    assert datetime.fromisoformat(shown["delivered_at"]) == now


async def test_k02_sent_counts_as_delivered_when_no_bounce_came_back_for_three_days(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    message = await place.went("bob@customer.test")
    await place.link(message, "contact/1")
    assert await place.found("contacts where delivered") == []
    place.api.clock.advance(timedelta(days=3))
    assert await place.found("contacts where delivered today") == ["contact/1"]


async def test_k02_mail_that_is_not_shared_is_not_found_by_others(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    message = await place.went("bob@customer.test", opened=place.api.clock.now())
    await place.link(message, "contact/1")
    other = await place.desk.user("ben@example.com")
    _, secret = await factory.api_token(
        place.api.store, place.api.clock, place.desk.org, Right.READ, on_behalf_of=other
    )
    ben = place.api.web.bearing(secret)
    settings = {"settings": {"sharing": "private"}}
    assert await place.found("contacts where opened", ben) == ["contact/1"]
    answer = await place.client.patch(f"{V1}/organisation", json=settings)
    assert answer.status == 200, answer.body
    assert await place.found("contacts where opened", ben) == []
    assert await place.found("contacts where never opened", ben) == ["contact/1"]
    assert await place.found("contacts where opened") == ["contact/1"]


async def test_k02_a_link_that_is_taken_away_is_not_found_any_more(place: Place) -> None:
    await place.put("deal/1")
    message = await place.went("bob@customer.test")
    await place.link(message, "deal/1")
    assert await place.found("deals where sent") == ["deal/1"]
    answer = await place.client.delete(f"{V1}/messages/{message}/links/deal/1")
    assert answer.status in (200, 204), answer.body
    assert await place.found("deals where sent") == []


async def test_k02_what_is_made_anew_is_the_same(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    message = await place.went("bob@customer.test", opened=place.api.clock.now())
    await place.link(message, "contact/1")
    assert await place.found("contacts where opened") == ["contact/1"]
    before = await place.api.store.read(_rows)
    await place.api.store.write(_forgotten)
    said = await place.cli("find", "rebuild")
    assert said.status == 0, said
    assert await place.api.store.read(_rows) == before


def _rows(tx: Any) -> list[Any]:
    return sorted(map(repr, tx.execute(mail_fact.select())))


def _forgotten(tx: Any) -> None:
    tx.execute(mail_fact.delete())


def _made_anew(tx: Any, org: OrgId) -> None:
    tx.execute(mail_fact.delete())
    mail_facts.make_again(tx, org)


async def test_k02_what_happens_after_a_mail_was_linked_counts_too(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    await place.put("deal/1")
    message = await place.went("bob@customer.test")
    await place.link(message, "contact/1", "deal/1")
    assert await place.found("contacts where replied or opened") == []
    now = place.api.clock.now()

    def happens(tx: Any) -> None:
        id_ = tx.execute(select(delivery.c.id).where(delivery.c.message == message)).scalar_one()
        tx.execute(update(delivery).where(delivery.c.id == id_).values(replied_at=to_micros(now)))
        of = {"org": place.desk.org.id, "at": now, "message": message, "delivery": id_}
        events.append(tx, type=EventType.MESSAGE_REPLIED, **of)

    await place.api.store.write(happens)
    assert await place.found("contacts where replied today") == ["contact/1"]
    assert await place.found("deals where sent and answered") == ["deal/1"]


async def test_k02_an_address_that_a_contact_gains_brings_it_nothing_of_others(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    message = await place.went("bob@customer.test", opened=place.api.clock.now())
    await place.link(message, "contact/1")
    await place.put("contact/1", "robert@customer.test")  # Bob's mail stays his under his former address
    assert await place.found("contacts where opened") == ["contact/1"]


async def test_k02_a_value_that_is_not_of_its_type_is_refused_by_name(place: Place) -> None:
    answer = await place.client.put(f"{V1}/records/deal/1", json={"name": "A", "fields": {"amount": "a lot"}})
    assert answer.status == 422
    assert answer.json["detail"].startswith("fields.amount: must be a number")
    file = "module,id,name,amount\ndeal,1,A,12\ndeal,2,B,much\n"
    answer = await place.client.post(f"{V1}/records/bulk", data=file, headers={"Content-Type": "text/csv"})
    bad, sums = next(one for one in answer.lines if "because" in one), answer.lines[-1]
    assert (bad["line"], sums["created"], sums["bad"]) == (3, 1, 1)
    assert bad["because"].startswith("amount: must be a number")
    assert await place.found("deals where amount <= 12") == ["deal/1"]


async def test_k02_records_are_read_again_when_a_field_gets_a_type(place: Place) -> None:
    await place.put("contact/1", score="7")
    await place.put("contact/2", score="high")
    module = (await place.client.get(f"{V1}/modules/contact")).json
    given = {"label": module["label"], "address_fields": module["address_fields"]}
    fields = [{"name": "score", "type": "number", "aliases": ["points"]}]
    answer = await place.client.put(f"{V1}/modules/contact", json=given | {"fields": fields})
    assert answer.status == 200, answer.body
    assert await place.found("contacts where points > 5") == ["contact/1"]
    assert await place.found("contacts where score is empty") == ["contact/2"]


async def test_k02_pages_go_on_behind_the_last_record(place: Place) -> None:
    for number in range(5):
        await place.put(f"deal/{number}")
    await place.facts.look()
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = (await place.client.post(f"{V1}/find", json={"q": "deals", "after": after, "limit": 2})).json
        seen += [one["record"] for one in page["items"]]
        after = page["next"]
    assert seen == [f"deal/{number}" for number in range(5)]


async def test_k02_an_error_names_the_column_and_the_command_points_at_it(place: Place) -> None:
    answer = await place.client.get(f"{V1}/find", params={"q": "contacts where opend within 3 days"})
    assert answer.status == 422
    assert answer.json["detail"] == "q: column 16: contact has no field 'opend'; did you mean opened?"
    said = await place.cli("find", "contacts where opend within 3 days")
    assert said.status != 0
    line, caret, _ = said.error.splitlines()
    assert line[caret.index("^") :].startswith("opend")


async def test_k02_the_command_shows_records_and_how_they_were_found(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test", name="Bob")
    await place.facts.look()
    said = await place.cli("find", "contacts where name = bob", "--explain")
    assert said.status == 0, said
    assert "contact/1" in said.out
    assert "looks at the records" in said.out
    said = await place.cli("find", "contacts where name = nobody")
    assert said.out.strip() == "No record is like that."


async def test_k02_everything_that_can_be_said_is_listed(place: Place) -> None:
    found = (await place.client.get(f"{V1}/find/words")).json
    assert {"opened", "never", "bounced"} - {one["word"] for one in found["words"]} == {"never"}
    deal = next(one for one in found["modules"] if one["name"] == "deal")
    assert {"name": "closing_date", "type": "date", "aliases": ["closing", "closes"]} in deal["fields"]


async def test_k02_an_address_that_a_contact_gains_brings_it_what_went_there_before(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    message = await place.went("eve@customer.test", opened=place.api.clock.now())
    await place.link(message, "contact/1")
    assert await place.found("contacts where opened") == []
    await place.put("contact/1", "eve@customer.test")
    assert await place.found("contacts where opened") == ["contact/1"]


async def test_k02_a_contact_with_much_mail_gains_an_address_a_piece_at_a_time(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    for _ in range(3):
        await place.link(await place.went("eve@customer.test", opened=place.api.clock.now()), "contact/1")
    await place.facts.look()
    await place.put("contact/1", "eve@customer.test")

    def step(tx: Any) -> bool:
        return mail_facts.follow(tx, place.desk.org.id, limit=2).left

    waited = 0
    while await place.api.store.write(step):
        if await place.api.store.read(mail_facts.unfinished, limit=1):
            waited += 1
            current, _ = await place.api.store.read(mail_facts.as_of, place.desk.org.id, now=place.api.clock.now())
            assert not current
        assert waited < 10
    assert waited == 1
    assert await place.api.store.read(mail_facts.unfinished, limit=1) == []
    assert await place.found("contacts where opened") == ["contact/1"]


async def test_k02_mail_under_a_former_address_is_found_as_long_as_it_shows(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    await place.desk.post(mail(from_="anna@example.com", to="bob@customer.test"))
    await place.put("contact/1", "robert@customer.test")
    assert await place.found("contacts where sent") == ["contact/1"]
    answer = await place.client.patch(f"{V1}/organisation", json={"settings": {"keep_former_mail": False}})
    assert answer.status == 200, answer.body
    assert await place.found("contacts where sent") == []


async def test_k02_what_was_sent_by_other_means_and_filed_was_sent(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    await place.put("deal/1")
    arrival = await place.desk.post(mail(from_="anna@example.com", to="bob@customer.test"))
    assert arrival.message is not None
    await place.link(arrival.message, "deal/1")
    assert await place.found("contacts where sent") == ["contact/1"]
    assert await place.found("deals where sent and not opened") == ["deal/1"]
    assert await place.found("deals where received") == []


async def test_k02_who_unsubscribed_by_a_mail_is_found(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    await place.put("deal/1")
    message = await place.went("bob@customer.test")
    await place.link(message, "contact/1", "deal/1")
    assert await place.found("contacts where unsubscribed") == []

    def leaves(tx: Any) -> None:
        id_ = tx.execute(select(delivery.c.id).where(delivery.c.message == message)).scalar_one()
        events.about(
            tx,
            deliveries.get(tx, place.desk.org.id, id_),
            EventType.ADDRESS_UNSUBSCRIBED,
            at=place.api.clock.now(),
            data={"list": ""},
        )

    await place.api.store.write(leaves)
    assert await place.found("contacts where unsubscribed today") == ["contact/1"]
    assert await place.found("deals where sent and unsubscribed") == ["deal/1"]
    assert await place.found("contacts where not unsubscribed") == []


async def test_k02_mail_that_came_to_two_people_is_both_ones_to_find(place: Place) -> None:
    await place.put("contact/1", "bob@customer.test")
    ben = await place.desk.user("ben@example.com")
    answer = await place.client.patch(f"{V1}/organisation", json={"settings": {"sharing": "private"}})
    assert answer.status == 200, answer.body
    raw = mail(from_="bob@customer.test", to="anna@example.com, ben@example.com")
    arrival = await place.desk.post(raw, mail_from="bob@customer.test")
    assert arrival.message is not None
    await place.link(arrival.message, "contact/1")
    await place.facts.look()
    _, secret = await factory.api_token(place.api.store, place.api.clock, place.desk.org, Right.READ, on_behalf_of=ben)
    client = place.api.web.bearing(secret)
    assert await place.found("contacts where received", client) == []
    await place.desk.post(raw, mail_from="bob@customer.test", user=ben)
    assert await place.found("contacts where received", client) == ["contact/1"]
