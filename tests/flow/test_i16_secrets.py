"""I16: who only received a mail learns nothing of to whom it went in secret, by whatever way they ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from mailrelay.clock import to_micros
from mailrelay.model.organisation import Right, Role
from mailrelay.store import mail_facts
from mailrelay.store.tables import hit
from tests.support.filing import DOMAIN, mail
from tests.support.http import Client
from tests.support.sharing import V1, Place, sharing_office

ADMINISTRATOR = Role.ADMINISTRATOR
SECRET = "mallow"
"""Stands in all that tells of the recipient in Bcc."""
OUR_BOX = "bcc-"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with sharing_office(tmp_path) as made:
        await made.share("anna@example.com", sharing="private")
        await made.desk.record("contact/1", "bob@customer.test")
        await made.desk.record("contact/mallow", "eve@mallow.test")
        deal = {
            "name": "Mallow deal",
            "links": [{"role": "contact", "to": "contact/mallow"}],
            "fields": {"stage": "open"},
        }
        answer = await made.machine.put(f"{V1}/records/deal/mallow", json=deal)
        assert answer.status in (200, 201), answer.body
        yield made


@dataclass
class Sent:
    id: str
    raw: bytes
    deliveries: dict[str, str]
    """Ids by recipient."""


async def _send(place: Place, **given: Any) -> Sent:
    """A mail of Anna's to Bob, copied to Berta, and to the mallow in secret; Berta has it, too."""
    wanted = {"to": ["bob@customer.test"], "cc": ["berta@example.com"], "subject": "Offer", "text": "Hello"}
    sent = await place.anna.post(f"{V1}/messages", json={**wanted, **given})
    assert sent.status == 202, sent.body
    await place.desk.worker.drain()
    id_ = sent.json["id"]
    raw = (await place.anna.get(f"{V1}/messages/{id_}/raw")).body
    await place.desk.post(raw, user=place.berta, mail_from="berta@example.com")
    assert (await place.bertas.get(f"{V1}/messages/{id_}")).status == 200
    return Sent(id_, raw, {one["recipient"]: one["id"] for one in sent.json["deliveries"]})


async def _links(client: Client, message: str) -> set[str]:
    answer = await client.get(f"{V1}/messages/{message}/links")
    assert answer.status == 200, answer.body
    return {one["record"] for one in answer.json["items"]}


async def _says(client: Client, *paths: str) -> list[str]:
    """Those of these paths whose answer tells of it."""
    found = []
    for path in paths:
        answer = await client.get(V1 + path)
        assert answer.status == 200, (path, answer.body)
        found += [path] if SECRET in answer.body.decode().lower() else []
    return found


def _everywhere(message: str) -> tuple[str, ...]:
    return (
        f"/messages/{message}",
        f"/messages/{message}/links",
        f"/messages/{message}/hits",
        f"/messages/{message}/raw",
        f"/messages/{message}/parts",
        f"/messages/{message}/parts/0",
        "/messages",
        "/records/contact/1/messages",
        "/events",
        f"/events?message={message}",
        "/events?last=100",
        "/queue",
        "/find?q=contacts%20where%20sent%20or%20received",
        "/find?q=deals%20where%20sent%20or%20received",
    )


@pytest.mark.parametrize("bcc", ["eve@mallow.test", "contact/mallow"])
async def test_no_answer_tells_of_a_bcc_to_who_only_received_the_mail(place: Place, bcc: str) -> None:
    sent = await _send(place, bcc=[bcc])
    assert await _links(place.anna, sent.id) == {"contact/1", "contact/mallow", "deal/mallow"}
    assert await _links(place.bertas, sent.id) == {"contact/1"}
    told = json.dumps((await place.bertas.get(f"{V1}/events?last=500")).json["items"])
    records = [one for one in json.loads(told) if one["type"] not in ("record.created", "record.changed")]
    assert SECRET not in json.dumps(records)
    quiet = [path for path in _everywhere(sent.id) if not path.startswith("/events?last") and path != "/events"]
    assert await _says(place.bertas, *quiet) == []
    listed = (await place.bertas.get(f"{V1}/messages")).json["items"]
    assert [one["records"] for one in listed if one["id"] == sent.id] == [["contact/1"]]
    for record in ("contact/mallow", "deal/mallow"):
        assert (await place.bertas.get(f"{V1}/records/{record}/messages")).json["items"] == []
        assert len((await place.anna.get(f"{V1}/records/{record}/messages")).json["items"]) == 1


async def test_what_stands_on_a_record_by_a_bcc_is_evidence_of_that_field(place: Place) -> None:
    sent = await _send(place, to=["contact/1"], bcc=["contact/mallow"])
    links = (await place.machine.get(f"{V1}/messages/{sent.id}/links")).json["items"]
    named = {one["record"]: {why["header"] for why in one["evidence"]} for one in links}
    assert named["contact/1"] == {"To"}
    assert named["contact/mallow"] == {"Bcc"}


async def test_a_link_by_a_bcc_that_shows_in_the_clear_as_well_is_no_secret(place: Place) -> None:
    sent = await _send(place, cc=["berta@example.com", "eve@mallow.test"], bcc=["contact/mallow"])
    assert await _links(place.bertas, sent.id) == {"contact/1", "contact/mallow", "deal/mallow"}


async def test_what_somebody_cannot_see_on_a_mail_they_cannot_take_off_it(place: Place) -> None:
    dora = await place.desk.user("dora@example.com", role=ADMINISTRATOR)
    doras = await place.client(*Right, on_behalf_of=dora)
    wanted = {"to": ["bob@customer.test"], "cc": ["dora@example.com"], "bcc": ["eve@mallow.test"], "subject": "Offer"}
    answer = await place.anna.post(f"{V1}/messages", json={**wanted, "text": "Hello"})
    await place.desk.worker.drain()
    id_ = answer.json["id"]
    raw = (await place.anna.get(f"{V1}/messages/{id_}/raw")).body
    await place.desk.post(raw, user=dora, mail_from="dora@example.com")
    links = f"{V1}/messages/{id_}/links"
    assert (await doras.delete(f"{links}/contact/mallow")).status == 404
    moved = await doras.post(f"{links}/move", json={"record": "contact/mallow", "to": "deal/mallow"})
    nowhere = await doras.post(f"{links}/move", json={"record": "deal/juniper", "to": "deal/mallow"})
    assert (moved.status, moved.body.replace(b"contact/mallow", b"deal/juniper")) == (nowhere.status, nowhere.body)
    assert moved.status == 422
    put = await doras.put(f"{links}/contact/1")
    assert put.status == 200
    assert SECRET not in put.body.decode()
    assert await _links(place.anna, id_) == {"contact/1", "contact/mallow", "deal/mallow"}


async def test_an_answer_in_the_thread_does_not_tell_of_the_bcc_either(place: Place) -> None:
    sent = await _send(place, bcc=["eve@mallow.test"])
    named = (await place.anna.get(f"{V1}/messages/{sent.id}")).json["message_id"]
    second = await _send(place, subject="Re: Offer", in_reply_to=named)
    assert await _links(place.anna, second.id) >= {"contact/1", "contact/mallow"}
    assert await _links(place.bertas, second.id) == {"contact/1"}
    assert await _says(place.bertas, f"/messages/{second.id}", f"/events?message={second.id}", "/messages") == []
    assert (await place.bertas.get(f"{V1}/records/contact/mallow/messages")).json["items"] == []


async def test_hits_are_shown_of_the_deliveries_that_are_to_be_seen(place: Place) -> None:
    sent = await _send(place, bcc=["eve@mallow.test"])
    one = {"org": place.desk.org.id, "message": sent.id, "delivery": sent.deliveries["eve@mallow.test"], "kind": "open"}
    one |= {"id": "H1", "link": 0, "url": "", "at": to_micros(place.desk.clock.now()), "ip": "203.0.113.9"}
    one |= {"agent": "mallow's", "method": "GET", "headers": {}, "by": "person", "reasons": [], "rules": 1}
    await place.api.store.write(lambda tx: tx.execute(insert(hit).values(one)).rowcount)
    hits = f"{V1}/messages/{sent.id}/hits"
    assert len((await place.anna.get(hits)).json["items"]) == 1
    assert (await place.bertas.get(hits)).json["items"] == []


async def _copies(place: Place) -> str:
    """A mail of which Anna's copy came first, with its Bcc and with her secret address; and Berta's without."""
    clear = mail(to="bob@customer.test, berta@example.com", message_id="copies@example.com")
    box = place.desk.dropbox_address()
    received = f"Received: from a by b for <{box}>; Mon, 1 Jun 2026 10:00:00 +0000\r\nDelivered-To: {box}\r\n"
    hers = received.encode() + clear.replace(b"Subject:", b"Bcc: Eve\r\n <eve@mallow.test>\r\nSubject:", 1)
    first = await place.desk.post(hers)
    await place.desk.post(clear, user=place.berta, mail_from="berta@example.com")
    assert first.message is not None
    return first.message


async def test_the_first_copys_bcc_is_its_users_and_not_shown_to_who_has_a_copy_without(place: Place) -> None:
    id_ = await _copies(place)
    assert await _says(place.bertas, *(path for path in _everywhere(id_) if not path.startswith("/events"))) == []
    assert (await place.bertas.get(f"{V1}/messages?address=eve@mallow.test")).json["items"] == []
    assert len((await place.anna.get(f"{V1}/messages?address=eve@mallow.test")).json["items"]) == 1
    for client in (place.anna, place.machine):
        assert await _says(client, f"/messages/{id_}", f"/messages/{id_}/raw") == [
            f"/messages/{id_}",
            f"/messages/{id_}/raw",
        ]


async def test_nothing_is_found_by_a_bcc_for_who_only_received_the_mail(place: Place) -> None:
    await _copies(place)
    while (await place.api.store.write(mail_facts.follow, place.desk.org.id)).events:
        pass

    async def found(client: Client, question: str) -> set[str]:
        answer = await client.get(f"{V1}/find", params={"q": question})
        assert answer.status == 200, answer.body
        return {one["record"] for one in answer.json["items"]}

    for client, seen in ((place.anna, True), (place.machine, True), (place.bertas, False), (place.reader, False)):
        for module in ("contact", "deal"):
            wanted = {f"{module}/mallow"} if seen else set()
            sent = await found(client, f"{module}s where sent")
            assert sent & {f"{module}/mallow"} == wanted, (client is place.bertas, module)


async def test_a_colleagues_secret_address_is_shown_to_nobody_but_them(place: Place) -> None:
    id_ = await _copies(place)
    await place.share("anna@example.com", sharing="public")
    box = place.desk.dropbox_address()
    clients = (place.anna, place.bertas, place.reader)
    shown = [(await client.get(f"{V1}/messages/{id_}/raw")).body for client in clients]
    assert [box.encode() in one for one in shown] == [True, False, False]
    assert [b"bcc-" in one for one in shown] == [True, False, False]
    # She shares the mail: its Bcc is part of it.
    assert [b"eve@mallow.test" in one for one in shown] == [True, True, True]
    assert box.endswith(DOMAIN)


async def test_an_arrival_is_shown_to_who_may_see_the_mail_as_it_came_by_it(place: Place) -> None:
    id_ = await _copies(place)
    dora = await place.desk.user("dora@example.com", role=ADMINISTRATOR)
    doras = await place.client(*Right, on_behalf_of=dora)
    sources = (await place.machine.get(f"{V1}/messages/{id_}")).json["sources"]
    of = {one["user"]: one["arrival"] for one in sources}
    annas, bertas = of[place.desk.anna.id], of[place.berta.id]

    async def seen_by(client: Client, path: str = "") -> set[str]:
        return {one for one in (annas, bertas) if (await client.get(f"{V1}/arrivals/{one}{path}")).status == 200}

    assert await seen_by(place.anna) == {annas}
    assert await seen_by(place.bertas) == {bertas}
    assert await seen_by(doras, "/raw") == set(), "what waits for a person is shared with nobody"
    (held,) = await place.desk.waiting()
    assert (await place.machine.post(f"{V1}/unresolved/{held.id}/release")).status == 204
    await place.desk.worker.drain()
    assert await seen_by(place.anna) == {annas, bertas}
    assert await seen_by(doras, "/raw") == {bertas}


@pytest.mark.parametrize("resolution", ["filed", "dismissed"])
async def test_a_copy_that_waits_for_a_person_shares_nothing_of_anothers_mail(place: Place, resolution: str) -> None:
    stolen = mail(to="bob@customer.test", message_id="stolen@example.com")
    mine = await place.desk.post(stolen)
    mail_id = mine.message
    for _ in range(2):  # the second waits for nobody, since one entry on the list is enough
        await place.desk.post(stolen, user=place.berta, mail_from="x@stranger.test")
    (held,) = await place.desk.waiting()

    async def seen_by(client: Client) -> bool:
        answer = await client.get(f"{V1}/messages/{mail_id}")
        listed = (await client.get(f"{V1}/messages")).json["items"]
        assert (answer.status == 200) is bool(listed)
        return answer.status == 200

    assert not await seen_by(place.reader)
    assert await seen_by(place.bertas), "she sees what came to her"
    for client, number in ((place.bertas, 1), (place.anna, 0), (place.reader, 0), (place.machine, 1)):
        assert len((await client.get(f"{V1}/unresolved")).json["items"]) == number
    path = f"{V1}/unresolved/{held.id}"
    if resolution == "filed":
        answer = await place.machine.post(f"{path}/file", json={"records": ["contact/1"]})
    else:
        answer = await place.machine.post(f"{path}/dismiss")
    assert answer.status in (200, 204), answer.body
    assert await seen_by(place.reader) is (resolution == "filed")


async def test_mail_that_came_from_an_organisation_address_is_everybodys_with_how_it_went(place: Place) -> None:
    made = await place.machine.post(
        f"{V1}/organisation-addresses", json={"address": "support@example.com", "name": "Support"}
    )
    assert made.status == 201, made.body
    sent = await place.anna.post(
        f"{V1}/messages",
        json={
            "from": "support@example.com",
            "to": ["bob@customer.test"],
            "bcc": ["eve@mallow.test"],
            "subject": "As support",
            "text": "Hello",
        },
    )
    assert sent.status == 202, sent.body
    await place.desk.worker.drain()
    shown = (await place.bertas.get(f"{V1}/messages/{sent.json['id']}")).json
    assert {one["recipient"] for one in shown["deliveries"]} == {"bob@customer.test", "eve@mallow.test"}
    assert shown["status"] is not None
    assert "contact/mallow" in await _links(place.bertas, sent.json["id"])
    events = (await place.bertas.get(f"{V1}/events?message={sent.json['id']}")).json["items"]
    assert any(one["delivery"] for one in events)


async def test_the_status_in_lists_is_that_of_the_deliveries_that_are_to_be_seen(place: Place) -> None:
    sent = await _send(place, bcc=["eve@mallow.test"])
    for client, known in ((place.anna, True), (place.bertas, False)):
        (one,) = [one for one in (await client.get(f"{V1}/messages")).json["items"] if one["id"] == sent.id]
        alone = (await client.get(f"{V1}/messages/{sent.id}")).json
        assert (one["status"] is not None) is known
        assert one["status"] == alone["status"]


async def test_events_of_a_user_are_theirs_and_administrators(place: Place) -> None:
    dora = await place.desk.user("dora@example.com", role=ADMINISTRATOR)
    doras = await place.client(Right.READ, on_behalf_of=dora)
    hook = {"url": "https://93.184.216.34/hook", "user": "anna@example.com", "description": "Annas hook"}
    made = await place.machine.post(f"{V1}/webhooks", json=hook)
    assert made.status == 201, made.body
    token = {"name": "Annas token", "rights": ["read"], "user": "anna@example.com"}
    assert (await place.machine.post(f"{V1}/tokens", json=token)).status == 201
    types = "type=sharing.changed&type=token.created&type=webhook.created"
    for client, seen in (
        (place.anna, True),
        (doras, True),
        (place.machine, True),
        (place.bertas, False),
        (place.reader, False),
    ):
        for query in (types, f"{types}&last=50"):
            found = {one["type"] for one in (await client.get(f"{V1}/events?{query}")).json["items"]}
            assert found == ({"sharing.changed", "token.created", "webhook.created"} if seen else set()), query


async def test_the_journal_shows_deliveries_of_a_mail_to_its_authors_side_only(place: Place) -> None:
    sent = await _send(place, bcc=["eve@mallow.test"])
    for query in (f"message={sent.id}", "after=0&limit=1000", "last=1000", "type=delivery.queued"):
        of_anna = (await place.anna.get(f"{V1}/events?{query}")).json["items"]
        assert {one["delivery"] for one in of_anna} >= set(sent.deliveries.values())
        of_berta = (await place.bertas.get(f"{V1}/events?{query}")).json["items"]
        assert {one["delivery"] for one in of_berta} <= {""}
    filed = (await place.bertas.get(f"{V1}/events?message={sent.id}")).json["items"]
    assert filed, "what happened to her own copy she sees"
