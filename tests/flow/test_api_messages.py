"""Sending by the API, and what it shows of mail: the journey, links by hand, the unresolved list, rules (O1, O19, I9, I23)."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from mailrelay.ids import NodeId
from mailrelay.model.organisation import Right
from mailrelay.model.settings import Unknown, UserSettings
from mailrelay.store import arrivals
from tests.support import factory
from tests.support.filing import Desk, mail, office
from tests.support.http import Api, Client, serving

V1 = "/api/v1"


@dataclass
class Place:
    api: Api
    desk: Desk
    client: Client


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with (
        serving(tmp_path) as api,
        office(tmp_path, store=api.store, user_settings=UserSettings(unknown=Unknown.NOTHING)) as desk,
    ):
        _, secret = await factory.api_token(api.store, api.clock, desk.org, Right.ADMIN)
        yield Place(api, desk, api.web.bearing(secret))


def _draft(**more: Any) -> dict[str, Any]:
    return {"from": "anna@example.com", "to": ["bob@customer.test"], "subject": "Hello", "text": "Hi Bob", **more}


async def _raw(place: Place, message: str) -> EmailMessage:
    answer = await place.client.get(f"{V1}/messages/{message}/raw")
    assert answer.headers["Content-Type"] == "message/rfc822"
    return message_from_bytes(answer.body, policy=policy.default)  # type: ignore[return-value]


async def test_o01_fields_become_a_mail_that_is_queued_for_each_recipient(place: Place) -> None:
    answer = await place.client.post(
        f"{V1}/messages",
        json=_draft(
            **{"from": "Anna Example <anna@example.com>"},
            cc=[{"name": "Çem", "address": "cem@customer.test"}],
            bcc=["dora@customer.test", "BOB@customer.test"],
            html="<p>Hi</p>",
            attachments=[{"name": "ö.txt", "type": "text/plain", "content": base64.b64encode(b"bytes").decode()}],
            headers={"X-Ticket": "7"},
        ),
    )
    assert answer.status == 202, answer.body
    assert [one["recipient"] for one in answer.json["deliveries"]] == [
        "BOB@customer.test",
        "cem@customer.test",
        "dora@customer.test",
    ]
    sent = await _raw(place, answer.json["id"])
    assert sent["From"] == "Anna Example <anna@example.com>"
    assert sent["Cc"].addresses[0].display_name == "Çem"
    assert sent["Bcc"] is None
    assert sent["X-Ticket"] == "7"
    assert sent["Message-ID"]
    assert sent["Date"]
    (attached,) = sent.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("ö.txt", "bytes")
    queue = (await place.client.get(f"{V1}/queue")).json["items"]
    assert {one["state"] for one in queue} == {"queued"}
    shown = (await place.client.get(f"{V1}/queue/{answer.json['deliveries'][0]['id']}")).json
    assert shown["history"] == []


async def test_o01_a_whole_message_is_sent_to_the_addresses_of_its_header(place: Place) -> None:
    raw = b"From: anna@example.com\nTo: Bob <bob@customer.test>\nBcc: eve@customer.test\nSubject: Whole\nX-Mine: 1\n\nHi\n"
    answer = await place.client.post(f"{V1}/messages", data=raw, headers={"Content-Type": "message/rfc822"})
    assert answer.status == 202, answer.body
    assert [one["recipient"] for one in answer.json["deliveries"]] == ["bob@customer.test", "eve@customer.test"]
    sent = await _raw(place, answer.json["id"])
    assert (sent["Subject"], sent["X-Mine"], sent["Bcc"]) == ("Whole", "1", None)


async def test_o19_the_same_key_is_the_same_mail_and_another_mail_is_refused(place: Place) -> None:
    headers = {"Idempotency-Key": "invoice-17"}
    first = await place.client.post(f"{V1}/messages", json=_draft(), headers=headers)
    again = await place.client.post(f"{V1}/messages", json=_draft(), headers=headers)
    assert (first.json["repeated"], again.json["repeated"]) == (False, True)
    assert {**again.json, "repeated": False} == first.json
    other = await place.client.post(f"{V1}/messages", json=_draft(text="Something else"), headers=headers)
    assert other.status == 409
    assert len((await place.client.get(f"{V1}/queue")).json["items"]) == 1


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"to": []}, 422, "to: "),
        ({"to": ["bob"]}, 422, "to[0]: "),
        ({"to": ["a@x.test, b@x.test"]}, 422, "to[0]: "),
        ({"text": None}, 422, "text: "),
        ({"subject": "a\r\nBcc: eve@x.test"}, 422, "Subject: "),
        ({"headers": {"Bcc": "eve@x.test"}}, 422, "headers[0]: "),
        ({"attachments": [{"name": "x", "content": "%%%"}]}, 422, "attachments[0].content: "),
        ({"from": "stranger@elsewhere.test"}, 403, "stranger@elsewhere.test"),
        ({"colour": 1}, 422, "colour: "),
    ],
)
async def test_a_mail_that_cannot_be_sent_is_refused_by_its_field(
    place: Place, change: dict[str, Any], status: int, says: str
) -> None:
    answer = await place.client.post(f"{V1}/messages", json=_draft(**change))
    assert answer.status == status, answer.body
    assert says in answer.json["detail"]
    assert (await place.client.get(f"{V1}/queue")).json["items"] == []


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"To: bob@customer.test\r\n\r\nx\r\n", "From"),
        (b"From: anna@example.com\r\n\r\nx\r\n", "To"),
        (b"From: anna@example.com\r\nTo: bob@customer.test, who\r\n\r\nx\r\n", "To"),
        (b"", "From"),
    ],
)
async def test_a_whole_message_without_an_envelope_is_refused(place: Place, raw: bytes, says: str) -> None:
    answer = await place.client.post(f"{V1}/messages", data=raw, headers={"Content-Type": "message/rfc822"})
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == says


async def test_a_body_of_another_type_is_415(place: Place) -> None:
    answer = await place.client.post(f"{V1}/messages", data=b"x", headers={"Content-Type": "text/plain"})
    assert answer.status == 415


async def test_o02_a_users_token_sends_as_that_user_only(place: Place) -> None:
    ben = await place.desk.user("ben@example.com")
    _, secret = await factory.api_token(place.api.store, place.api.clock, place.desk.org, Right.SEND, on_behalf_of=ben)
    client = place.api.web.bearing(secret)
    draft = _draft()
    del draft["from"]
    answer = await client.post(f"{V1}/messages", json=draft)
    assert answer.status == 202
    assert (await _raw(place, answer.json["id"]))["From"] == "Ben <ben@example.com>"
    assert (await client.post(f"{V1}/messages", json=_draft())).status == 403
    assert (await client.post(f"{V1}/messages?user=anna@example.com", json=_draft())).status == 403


async def test_o10_a_suppressed_recipient_is_named(place: Place) -> None:
    await place.client.post(f"{V1}/suppressions", json={"address": "bob@customer.test", "reason": "opted_out"})
    answer = await place.client.post(f"{V1}/messages", json=_draft())
    assert answer.status == 422
    assert (answer.json["address"], answer.json["reason"]) == ("bob@customer.test", "opted_out")


async def test_o04_over_the_limit_is_413_with_the_figures(place: Place) -> None:
    content = base64.b64encode(b"x" * 11_000_000).decode()
    body = json.dumps(_draft(attachments=[{"name": "big", "content": content}])).encode()
    answer = await place.client.post(
        f"{V1}/messages", data=io.BytesIO(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status == 413
    assert answer.json["limit"] in (10_000_000, 10 * 1024 * 1024)
    assert answer.json["size"] >= 11_000_000


async def test_i09_a_message_is_shown_with_the_rule_and_evidence_of_every_link(place: Place) -> None:
    await place.desk.record("contact/1", "bob@customer.test")
    arrival = await place.desk.post(mail(to="bob@customer.test", subject="Offer"))
    listed = (await place.client.get(f"{V1}/messages")).json["items"]
    assert [(one["subject"], one["records"]) for one in listed] == [("Offer", ["contact/1"])]
    for name in (arrival.message, arrival.id):
        shown = (await place.client.get(f"{V1}/messages/{name}")).json
        (link,) = shown["links"]
        assert (link["record"], link["rule"], link["by"]) == ("contact/1", "match.primary", "rule")
        assert "bob@customer.test" in link["evidence"][0]["because"]
        kinds = {finding["kind"] for filing in shown["filings"] for finding in filing["findings"]}
        assert {"link", "miss"} <= kinds
        assert shown["sources"][0]["arrival"] == arrival.id
    state = (await place.client.get(f"{V1}/arrivals/{arrival.id}")).json
    assert (state["state"], state["messages"]) == ("filed", [arrival.message])
    on = (await place.client.get(f"{V1}/records/contact/1/messages")).json["items"]
    assert [one["message"] for one in on] == [arrival.message]
    by_address = await place.client.get(f"{V1}/messages?address=bob@customer.test")
    assert len(by_address.json["items"]) == 1


async def test_messages_are_paged_newest_first(place: Place) -> None:
    await place.desk.record("contact/1", "bob@customer.test")
    for number in range(5):
        await place.desk.post(mail(to="bob@customer.test", subject=str(number)))
    seen: list[str] = []
    after = ""
    for _ in range(4):
        page = (await place.client.get(f"{V1}/messages", params={"limit": "2", "after": after})).json
        seen += [one["subject"] for one in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert sorted(seen) == ["0", "1", "2", "3", "4"]


async def test_what_people_link_unlink_and_move_stands(place: Place) -> None:
    await place.desk.record("contact/1", "bob@customer.test")
    await place.desk.record("deal/1")
    await place.desk.record("deal/2")
    arrival = await place.desk.post(mail(to="bob@customer.test"))
    path = f"{V1}/messages/{arrival.message}/links"
    linked = await place.client.put(f"{path}/deal/1")
    assert {one["record"] for one in linked.json["items"]} == {"contact/1", "deal/1"}
    moved = await place.client.post(f"{path}/move", json={"record": "deal/1", "to": "deal/2"})
    assert {one["record"] for one in moved.json["items"] if one["removed_at"] is None} == {"contact/1", "deal/2"}
    removed = await place.client.delete(f"{path}/contact/1")
    (gone,) = [one for one in removed.json["items"] if one["record"] == "contact/1"]
    assert gone["removed_at"]
    assert (await place.client.delete(f"{path}/contact/1")).status == 404
    assert (await place.client.put(f"{path}/contact/99")).status == 404
    answer = await place.client.post(f"{V1}/rules/rerun?since=30d&apply=true")
    assert answer.lines[-1] == {"differences": 0, "failed": 0, "applied": True, "error": ""}


async def test_i23_an_unresolved_mail_is_filed_by_one_action(place: Place) -> None:
    await place.desk.record("contact/1", "other@customer.test")
    for subject in ("one", "two", "three"):
        await place.desk.post(mail(to="Eve <eve@nowhere.test>", subject=subject))
        place.desk.clock.advance(timedelta(seconds=1))
    entries = (await place.client.get(f"{V1}/unresolved")).json["items"]
    assert {one["reason"] for one in entries} == {"no_match"}
    assert [one["subject"] for one in entries] == ["one", "two", "three"]
    first, second, third = (f"{V1}/unresolved/{one['id']}" for one in entries)
    assert (await place.client.get(first)).json["suggestion"] == {"name": "Eve", "address": "eve@nowhere.test"}
    assert (await place.client.post(f"{first}/file", json={})).status == 422
    filed = await place.client.post(f"{first}/file", json={"records": ["contact/1"]})
    assert filed.json == {"records": ["contact/1"]}
    assert (await place.client.post(f"{first}/file", json={"records": ["contact/1"]})).status == 409
    made = (await place.client.post(f"{second}/file", json={"create": "lead"})).json["records"]
    record = (await place.client.get(f"{V1}/records/{made[0]}")).json
    assert (record["name"], record["owner"]) == ("Eve", place.desk.anna.id)
    assert (await place.client.post(f"{third}/dismiss")).status == 204
    assert (await place.client.get(f"{V1}/unresolved")).json["items"] == []
    assert (await place.api.local.get(f"{V1}/audit")).json["balanced"] is True


async def test_i02_a_held_mail_is_released_to_the_rules(place: Place) -> None:
    await place.desk.record("contact/1", "bob@customer.test")
    arrival = await place.desk.post(mail(from_="mallory@elsewhere.test", to="bob@customer.test"))
    (entry,) = (await place.client.get(f"{V1}/unresolved?user=anna@example.com")).json["items"]
    assert entry["reason"] == "unpermitted_sender"
    raw = await place.client.get(f"{V1}/arrivals/{arrival.id}/raw")
    assert b"mallory@elsewhere.test" in raw.body
    assert (await place.client.post(f"{V1}/unresolved/{entry['id']}/release")).status == 204
    await place.desk.worker.drain()
    assert (await place.client.get(f"{V1}/arrivals/{arrival.id}")).json["state"] == "filed"


async def test_only_an_administrator_sees_the_traceback_of_a_failure(place: Place) -> None:
    queue_id = await place.desk.accept(mail())
    (claimed,) = await place.api.store.write(
        arrivals.claim, node=NodeId("n"), now=place.desk.clock.now(), lease=timedelta(minutes=1), limit=1
    )
    await place.api.store.write(
        arrivals.retry, claimed, due_at=place.desk.clock.now(), at=place.desk.clock.now(), failure="Traceback: secret"
    )
    _, secret = await factory.api_token(
        place.api.store, place.api.clock, place.desk.org, Right.READ, on_behalf_of=place.desk.anna
    )
    assert (await place.client.get(f"{V1}/arrivals/{queue_id}")).json["failure"] == "Traceback: secret"
    assert (await place.api.web.bearing(secret).get(f"{V1}/arrivals/{queue_id}")).json["failure"] == ""


async def test_rules_are_listed_in_order_and_rerun_says_what_would_change(place: Place) -> None:
    rules = (await place.client.get(f"{V1}/rules")).json
    stages = list(dict.fromkeys(one["stage"] for one in rules))
    assert stages == ["exclude", "hold", "match", "create", "relate"]
    arrival = await place.desk.post(mail(to="bob@customer.test"))
    await place.desk.record("contact/1", "bob@customer.test")
    dry = (await place.client.post(f"{V1}/rules/rerun?since=30d")).lines
    assert [(one["message"], one["added"]) for one in dry[:-1]] == [(arrival.message, ["contact/1"])]
    assert dry[-1]["applied"] is False
    assert (await place.client.get(f"{V1}/messages/{arrival.message}")).json["links"] == []
    await place.client.post(f"{V1}/rules/rerun?since=30d&apply=true")
    assert [one["record"] for one in (await place.client.get(f"{V1}/messages/{arrival.message}")).json["links"]] == [
        "contact/1"
    ]
    assert (await place.client.post(f"{V1}/rules/rerun?since=30d&apply=true")).lines[-1]["differences"] == 0


async def test_fault_w09_mail_of_another_organisation_is_not_there(place: Place) -> None:
    await place.desk.record("contact/1", "bob@customer.test")
    arrival = await place.desk.post(mail(to="bob@customer.test"))
    sent = (await place.client.post(f"{V1}/messages", json=_draft())).json
    held = await place.desk.post(mail(to="eve@nowhere.test"))
    (entry,) = (await place.client.get(f"{V1}/unresolved")).json["items"]
    assert entry["arrival"] == held.id
    other = await factory.org(place.api.store, place.api.clock)
    _, secret = await factory.api_token(place.api.store, place.api.clock, other, Right.ADMIN)
    stranger = place.api.web.bearing(secret)
    for method, path, body in (
        ("GET", f"/messages/{arrival.message}", None),
        ("GET", f"/messages/{arrival.id}", None),
        ("GET", f"/messages/{arrival.message}/raw", None),
        ("GET", f"/arrivals/{arrival.id}", None),
        ("GET", f"/arrivals/{arrival.id}/raw", None),
        ("PUT", f"/messages/{arrival.message}/links/contact/1", None),
        ("DELETE", f"/messages/{arrival.message}/links/contact/1", None),
        ("GET", f"/queue/{sent['deliveries'][0]['id']}", None),
        ("GET", f"/unresolved/{entry['id']}", None),
        ("POST", f"/unresolved/{entry['id']}/dismiss", None),
        ("POST", f"/unresolved/{entry['id']}/release", None),
        ("POST", f"/unresolved/{entry['id']}/file", {"records": ["contact/1"]}),
    ):
        answer = await stranger.ask(method, V1 + path, json=body)
        assert answer.status == 404, (method, path, answer.body)
    for path in ("/messages", "/queue", "/unresolved"):
        assert (await stranger.get(V1 + path)).json["items"] == []
    assert (await stranger.get(f"{V1}/events")).json["items"] == []
