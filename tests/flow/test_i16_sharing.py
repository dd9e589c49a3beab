"""I16: sharing, as it is set and as it shows, by the API and on the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailrelay.ids import DeliveryId, QueueId
from mailrelay.model.envelope import Channel
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Right, Role
from mailrelay.store import deliveries, events
from tests.support.filing import mail
from tests.support.http import Client
from tests.support.sharing import V1, Place, sharing_office

USER = "X-Mailrelay-User"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with sharing_office(tmp_path) as made:
        yield made


async def _subjects(client: Client, **headers: str) -> list[str]:
    answer = await client.get(f"{V1}/messages", headers=headers)
    assert answer.status == 200, answer.body
    return [one["subject"] for one in answer.json["items"]]


async def test_users_set_their_own_sharing_only_where_that_is_left_to_them(place: Place) -> None:
    path = f"{V1}/users/anna@example.com/sharing"
    refused = await place.anna.put(path, json={"sharing": "private"})
    assert (refused.status, "administrators" in refused.json["detail"]) == (403, True)
    await place.settings(sharing_by_users=True)
    answer = await place.anna.put(path, json={"sharing": "private"})
    assert answer.status == 200
    assert answer.json["effective"] == "private"
    assert (await place.anna.get(path)).json == answer.json
    assert (await place.bertas.put(path, json={"sharing": "public"})).status == 403
    assert (await place.bertas.get(path)).status == 403
    reads_only = await place.client(Right.READ, on_behalf_of=place.desk.anna)
    assert (await reads_only.put(path, json={"sharing": "public"})).status == 403
    assert (await place.machine.put(path, json={"sharing": None})).json["effective"] == "public"


async def test_a_change_of_sharing_that_was_not_seen_is_not_gone_over(place: Place) -> None:
    path = f"{V1}/users/anna@example.com/sharing"
    seen = (await place.machine.get(path)).headers["ETag"]
    changed = await place.machine.put(path, json={"sharing": "private"}, headers={"If-Match": seen})
    assert changed.status == 200
    assert (await place.machine.put(path, json={"sharing": "public"}, headers={"If-Match": seen})).status == 412


async def test_each_change_is_an_event_of_the_users(place: Place) -> None:
    await place.desk.record("contact/1")
    await place.share("anna@example.com", sharing="custom", unshared_domains=["lawyers.test"])
    await place.share("anna@example.com", sharing="custom", unshared_domains=["lawyers.test"])  # nothing new
    choice = f"{V1}/users/anna@example.com/sharing/records/contact/1"
    assert (await place.machine.put(choice)).json == {"record": "contact/1"}
    assert (await place.machine.delete(choice)).status == 204
    assert (await place.machine.put(f"{V1}/sharing/domains/Partners.Test")).json == {"domain": "partners.test"}
    told = await place.api.store.read(events.after, place.desk.org.id, 0, limit=100)
    changes = [dict(one.data) for one in told if one.type is EventType.SHARING_CHANGED]
    assert [{*one} - {"by"} for one in changes] == [
        {"sharing", "domains", "of"},
        {"chosen", "of"},
        {"left", "of"},
        {"unshared"},
    ]
    assert (await place.machine.put(f"{V1}/users/anna@example.com/sharing/records/contact/9")).status == 404


async def test_the_organisations_own_domain_is_never_kept_back(place: Place) -> None:
    for domain in ("example.com", "mail.example.com", "com"):
        answer = await place.machine.put(f"{V1}/sharing/domains/{domain}")
        assert answer.status == 422, domain
        assert answer.json["errors"][0]["field"] == "domain"


async def test_custom_sharing_shows_what_stands_on_the_records_that_were_chosen(place: Place) -> None:
    await place.desk.record("contact/1", "bob@customer.test")
    await place.desk.record("contact/2", "eve@customer.test")
    await place.desk.post(mail(subject="To Bob"))
    await place.desk.post(mail(to="eve@customer.test", subject="To Eve"))
    await place.share("anna@example.com", sharing="custom")
    assert await _subjects(place.bertas) == []
    await place.machine.put(f"{V1}/users/anna@example.com/sharing/records/contact/1")
    assert await _subjects(place.bertas) == ["To Bob"]
    assert len((await place.bertas.get(f"{V1}/records/contact/1/messages")).json["items"]) == 1
    assert (await place.bertas.get(f"{V1}/records/contact/2/messages")).json["items"] == []


async def test_a_request_is_on_behalf_of_the_user_whom_it_names(place: Place) -> None:
    await place.share("anna@example.com", sharing="private")
    await place.desk.post(mail(subject="Annas"))
    assert await _subjects(place.machine) == ["Annas"]
    assert await _subjects(place.reader) == []
    for client in (place.machine, place.reader):
        assert await _subjects(client, **{USER: "anna@example.com"}) == ["Annas"]
        assert await _subjects(client, **{USER: place.berta.id}) == []
    assert await _subjects(place.anna, **{USER: "anna@example.com"}) == ["Annas"]
    for client, whom, status in (
        (place.machine, "nobody@example.com", 422),
        (place.machine, "U404", 422),
        (place.bertas, "anna@example.com", 403),
    ):
        answer = await client.get(f"{V1}/messages", headers={USER: whom})
        assert answer.status == status, whom
    assert (await place.machine.get(f"{V1}/messages", headers={USER: "U404"})).json["errors"][0]["field"] == USER


async def test_who_acts_on_behalf_of_a_user_has_no_more_rights_than_they(place: Place) -> None:
    dora = await place.desk.user("dora@example.com", role=Role.ADMINISTRATOR)
    change = {"json": {"name": "Other"}}
    assert (await place.machine.patch(f"{V1}/organisation", headers={USER: place.berta.id}, **change)).status == 403
    assert (await place.machine.patch(f"{V1}/organisation", headers={USER: dora.id}, **change)).status == 200
    assert (await place.reader.patch(f"{V1}/organisation", headers={USER: dora.id}, **change)).status == 403


async def test_the_mail_and_the_tokens_of_who_is_deactivated_are_back_with_them(place: Place) -> None:
    await place.desk.post(mail(subject="Annas"))
    assert await _subjects(place.bertas) == ["Annas"]
    await place.machine.patch(f"{V1}/users/anna@example.com", json={"active": False})
    assert await _subjects(place.bertas) == []
    assert (await place.anna.get(f"{V1}/messages")).status == 401
    assert (await place.machine.get(f"{V1}/messages", headers={USER: "anna@example.com"})).status == 403
    assert await _subjects(place.machine) == ["Annas"]
    await place.machine.patch(f"{V1}/users/anna@example.com", json={"active": True})
    assert await _subjects(place.bertas) == await _subjects(place.anna) == ["Annas"]


async def test_a_former_addresss_mail_leaves_the_record_and_comes_back_with_the_address(place: Place) -> None:
    bob = await place.desk.record("contact/1", "bob@customer.test")
    await place.desk.post(mail(subject="First"))
    path = f"{V1}/records/contact/1"
    await place.machine.put(path, json={"name": bob.name, "addresses": {"email": "bob@new.test"}})

    async def on_it() -> int:
        return len((await place.anna.get(f"{path}/messages")).json["items"])

    assert await on_it() == 1
    await place.settings(keep_former_mail=False)
    assert await on_it() == 0
    (listed,) = (await place.anna.get(f"{V1}/messages")).json["items"]
    assert listed["records"] == []
    await place.machine.put(path, json={"name": bob.name, "addresses": {"secondary_email": "bob@customer.test"}})
    assert await on_it() == 1


async def test_a_link_by_hand_stays_whatever_the_address(place: Place) -> None:
    await place.desk.record("contact/1", "bob@customer.test")
    await place.desk.record("deal/7")
    arrival = await place.desk.post(mail())
    await place.settings(keep_former_mail=False)
    await place.machine.put(f"{V1}/messages/{arrival.message}/links/deal/7")
    assert len((await place.anna.get(f"{V1}/records/deal/7/messages")).json["items"]) == 1


async def test_what_came_back_is_its_authors(place: Place) -> None:
    await place.share("anna@example.com", sharing="private")
    sent = await place.anna.post(
        f"{V1}/messages", json={"to": ["bob@customer.test"], "subject": "Offer", "text": "Hello"}
    )
    (delivery,) = await place.api.store.read(deliveries.of_queue_id, QueueId(sent.json["queue_id"]))
    back = mail(from_="MAILER-DAEMON <>", to="anna@example.com", subject="Undelivered: Offer")
    await place.desk.post(back, channel=Channel.BOUNCE, mail_from=None, delivery=DeliveryId(delivery.id))
    assert "Undelivered: Offer" in await _subjects(place.anna)
    assert await _subjects(place.bertas) == []


async def test_who_received_a_mail_does_not_learn_its_bcc(place: Place) -> None:
    await place.share("anna@example.com", sharing="private")
    raw = mail(to="berta@example.com, bob@customer.test", subject="Both have it", message_id="both@example.com")
    sent = await place.anna.post(
        f"{V1}/messages?user=",
        data=raw.replace(b"Subject:", b"Bcc: carl@hidden.test\r\nSubject:", 1),
        headers={"Content-Type": "message/rfc822"},
    )
    assert sent.status == 202, sent.body
    await place.desk.worker.drain()
    (one,) = (await place.anna.get(f"{V1}/messages")).json["items"]
    await place.desk.post(raw, user=place.berta)
    copies = (await place.bertas.get(f"{V1}/messages")).json["items"]
    for each in copies:
        answer = await place.bertas.get(f"{V1}/messages/{each['id']}")
        at = answer.body.find(b"carl")
        assert at < 0, answer.body[max(at - 300, 0) : at + 60]
        assert answer.json["deliveries"] == []
    assert len((await place.anna.get(f"{V1}/messages/{one['id']}")).json["deliveries"]) == 3


async def test_who_cannot_see_a_mail_cannot_link_or_answer_it(place: Place) -> None:
    dora = await place.desk.user("dora@example.com", role=Role.ADMINISTRATOR)
    doras = await place.client(*Right, on_behalf_of=dora)
    await place.desk.record("contact/1", "bob@customer.test")
    await place.share("anna@example.com", sharing="private")
    arrival = await place.desk.post(mail())
    links = f"{V1}/messages/{arrival.message}/links"
    assert (await doras.put(f"{links}/contact/1")).status == 404
    assert (await doras.delete(f"{links}/contact/1")).status == 404
    assert (await doras.post(f"{links}/move", json={"record": "contact/1", "to": "contact/2"})).status == 404
    assert (await doras.post(f"{V1}/messages/{arrival.message}/answer", json={"text": "Hi"})).status == 404
    assert await place.desk.links(arrival) == {"contact/1"}


async def test_an_administrator_reruns_rules_over_mail_that_they_do_not_see(place: Place) -> None:
    dora = await place.desk.user("dora@example.com", role=Role.ADMINISTRATOR)
    doras = await place.client(*Right, on_behalf_of=dora)
    await place.share("anna@example.com", sharing="private")
    await place.desk.post(mail(subject="Annas"))
    await place.desk.record("contact/9", "bob@customer.test")
    for client, lines in ((doras, 1), (place.machine, 2)):
        answer = await client.post(f"{V1}/rules/rerun?since=30d")
        assert answer.status == 200, answer.body
        assert answer.lines[-1]["differences"] == 1
        assert len(answer.lines) == lines
        assert (b"Annas" in answer.body) == (lines == 2)


async def test_an_administrator_does_nothing_to_a_delivery_that_they_do_not_see(place: Place) -> None:
    dora = await place.desk.user("dora@example.com", role=Role.ADMINISTRATOR)
    doras = await place.client(*Right, on_behalf_of=dora)
    await place.share("anna@example.com", sharing="private")
    sent = await place.anna.post(f"{V1}/messages", json={"to": ["bob@customer.test"], "subject": "Hi", "text": "Hi"})
    (one,) = await place.api.store.read(deliveries.of_queue_id, QueueId(sent.json["queue_id"]))
    hold = {"control": "hold", "selection": {"deliveries": [one.id]}}
    for path in ("/operations/plan", "/operations"):
        assert (await doras.post(V1 + path, json=hold)).status == 404
    assert (await place.machine.post(f"{V1}/operations", json=hold)).status == 201


async def test_the_command_line_sets_sharing_and_looks_on_behalf_of_a_user(place: Place) -> None:
    async def said(*arguments: str) -> str:
        answer = await place.cli(*arguments)
        assert answer.status == 0, answer
        return answer.out

    await place.desk.record("contact/1", "bob@customer.test")
    await place.desk.post(mail(subject="Annas"))
    anna = "anna@example.com"
    assert "private" in await said("sharing", "set", anna, "private")
    assert "Annas" in await said("message", "list", "--as", anna)
    assert "Annas" not in await said("message", "list", "--as", "berta@example.com")
    assert "Annas" in await said("message", "list")
    await said("sharing", "set", anna, "custom")
    await said("sharing", "choose", anna, "contact/1")
    await said("sharing", "keep-back", "lawyers.test")
    await said("sharing", "keep-back", "doctors.test", "--of", anna)
    shown = await said("sharing", "show", anna)
    assert "custom" in shown
    assert "contact/1" in shown
    assert "doctors.test" in shown
    assert "lawyers.test" in await said("sharing", "domains")
    await said("sharing", "share-again", "doctors.test", "--of", anna)
    await said("sharing", "share-again", "lawyers.test")
    await said("sharing", "leave", anna, "contact/1")
    assert "No domain is kept back" in await said("sharing", "domains")
    assert "none" in await said("sharing", "show", anna)
