"""Mailing lists, who left them, and what an administrator may take back: by API and command line (O15)."""

from __future__ import annotations

from typing import Any

import pytest

from mailrelay.model.delivery import Delivery
from mailrelay.model.organisation import Organisation, Right, User
from mailrelay.model.suppression import PERSON, SuppressionReason
from mailrelay.model.tracking import Mode
from mailrelay.store import deliveries, events, suppressions
from tests.support import factory
from tests.support.cli import Cli
from tests.support.http import Api, Client
from tests.support.unsubscribing import a_list

V1 = "/api/v1"
BOB = "bob@customer.test"


async def leave(api: Api, org: Organisation, list_: str = "", by: str = PERSON) -> None:
    await api.store.write(
        suppressions.suppress,
        org=org.id,
        key=BOB,
        reason=SuppressionReason.UNSUBSCRIBED,
        evidence="one click",
        now=api.clock.now(),
        by=by,
        list_=list_,
    )


async def test_a_list_is_made_once_changed_as_seen_and_removed(api: Api, org: Organisation, admin: Client) -> None:
    given = {"name": "news", "label": "Spring news", "description": "What is new"}
    key = {"Idempotency-Key": "a"}
    made = await admin.post(f"{V1}/mailing-lists", json=given, headers=key)
    assert (made.status, made.headers["Location"]) == (201, f"{V1}/mailing-lists/news")
    assert (await admin.post(f"{V1}/mailing-lists", json=given, headers=key)).headers["Idempotency-Replayed"] == "true"
    assert (await admin.post(f"{V1}/mailing-lists", json=given)).status == 409
    shown = await admin.get(f"{V1}/mailing-lists/news")
    assert shown.headers["ETag"] == made.headers["ETag"]
    seen = {"If-Match": shown.headers["ETag"]}
    changed = await admin.patch(f"{V1}/mailing-lists/news", json={"label": "News"}, headers=seen)
    assert (changed.json["label"], changed.json["description"]) == ("News", "What is new")
    assert (await admin.patch(f"{V1}/mailing-lists/news", json={"label": "x"}, headers=seen)).status == 412
    await a_list(api.store, api.clock, org.id, "offers")
    page = (await admin.get(f"{V1}/mailing-lists", params={"limit": 1})).json
    assert ([one["name"] for one in page["items"]], page["next"]) == (["news"], "news")
    assert (await admin.delete(f"{V1}/mailing-lists/news", headers=seen)).status == 412
    assert (await admin.delete(f"{V1}/mailing-lists/news")).status == 204
    for answer in (
        await admin.delete(f"{V1}/mailing-lists/news"),
        await admin.patch(f"{V1}/mailing-lists/news", json={"label": "x"}),
        await admin.get(f"{V1}/mailing-lists/news"),
    ):
        assert answer.status == 404
    told = await api.store.read(events.after, org.id, 0, limit=100)
    changes = [dict(one.data)["change"] for one in told if one.type == "mailing_list.changed"]
    assert changes == ["added", "changed", "removed"]


@pytest.mark.parametrize("name", ["", "News", "a b", "-a", "a-", "ä", "a" * 65, "a.b", "a\n"])
async def test_a_name_that_is_none_is_refused(admin: Client, name: str) -> None:
    answer = await admin.post(f"{V1}/mailing-lists", json={"name": name, "label": "x"})
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "name")


async def test_who_may_not_write_may_read_and_others_see_nothing(api: Api, org: Organisation, admin: Client) -> None:
    await a_list(api.store, api.clock, org.id)
    _, secret = await factory.api_token(api.store, api.clock, org, Right.READ)
    reader = api.web.bearing(secret)
    assert (await reader.get(f"{V1}/mailing-lists/news")).status == 200
    assert (await reader.post(f"{V1}/mailing-lists", json={"name": "b", "label": "x"})).status == 403
    other = await factory.org(api.store, api.clock, name="Other")
    _, secret = await factory.api_token(api.store, api.clock, other)
    assert (await api.web.bearing(secret).get(f"{V1}/mailing-lists/news")).status == 404


async def test_nobody_but_the_person_takes_back_what_they_said(
    api: Api, org: Organisation, admin: Client, cli: Cli
) -> None:
    await leave(api, org)
    await leave(api, org, "news")
    await api.store.write(
        suppressions.suppress,
        org=org.id,
        key=BOB,
        reason=SuppressionReason.HARD_BOUNCE,
        evidence="550",
        now=api.clock.now(),
    )
    for query in ("", "?reason=unsubscribed", "?list=news", "?reason=unsubscribed&note=please"):
        refused = await admin.delete(f"{V1}/suppressions/{BOB}{query}")
        assert refused.status == 403
        assert "only its owner can subscribe again" in refused.json["detail"]
    said = await cli("suppression", "lift", BOB)
    assert (said.status != 0, "only its owner" in said.error) == (True, True)
    # Another reason is nobody's wish.
    lifted = await admin.delete(f"{V1}/suppressions/{BOB}?reason=hard_bounce")
    assert [one["reason"] for one in lifted.json] == ["hard_bounce"]
    left = await cli("unsubscription", "list")
    assert left.out.count(BOB) == 2
    assert ("all mail" in left.out, "news" in left.out, "one click" in left.out) == (True, True, True)


async def test_what_somebody_entered_by_mistake_is_taken_back_with_a_reason(
    api: Api, org: Organisation, admin: Client, cli: Cli
) -> None:
    await a_list(api.store, api.clock, org.id)
    given = {"address": BOB, "reason": "unsubscribed", "list": "news"}
    (made,) = (await admin.post(f"{V1}/suppressions", json=given)).json
    assert (made["list"], made["evidence"]) == ("news", "unsubscribed from the list news")
    refused = await admin.delete(f"{V1}/suppressions/{BOB}?list=news")
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "note")
    assert (await cli("suppression", "lift", BOB, "--list", "news", "--note", "the wrong Bob")).status == 0
    (one,) = await api.store.read(suppressions.history, org.id, BOB)
    assert (one.note, one.list) == ("the wrong Bob", "news")


async def test_who_left_a_list_is_still_sent_to_and_shown(api: Api, org: Organisation, admin: Client, cli: Cli) -> None:
    await a_list(api.store, api.clock, org.id)
    await leave(api, org, "news")
    known = (await admin.get(f"{V1}/addresses/{BOB}")).json
    assert (known["may_be_sent_to"], [one["list"] for one in known["suppressions"]]) == (True, ["news"])
    shown = (await cli("address", "show", BOB)).out
    assert "may be sent to, but no mass mail of a mailing list that was left: news." in shown
    assert "nothing stands against it" not in shown
    assert "they alone take back" in shown
    for list_, number in (("news", 1), ("offers", 0), ("", 1)):
        page = (await admin.get(f"{V1}/suppressions", params={"list": list_})).json
        assert len(page["items"]) == number
    said = await cli("unsubscription", "list", "--list", "offers")
    assert said.out.strip() == "Nobody unsubscribed that matches."


async def test_what_is_exported_is_imported_as_it_was(api: Api, org: Organisation, admin: Client, cli: Cli) -> None:
    await a_list(api.store, api.clock, org.id)
    await leave(api, org, "news")
    out = (await cli("suppression", "export")).out
    again = await cli.json("suppression", "import", "-", stdin=out)
    assert (again["added"], again["unchanged"]) == (0, 1)
    text = "email,reason,list\neve@customer.test,unsubscribed,news\ncarl@customer.test,unsubscribed,old\nx@customer.test,bounce,old\n"
    said = await cli("suppression", "import", "-", "--format", "csv", stdin=text)
    assert "there is no mailing list old" in said.error
    found = {one["key"]: one["list"] for one in (await admin.get(f"{V1}/suppressions")).json["items"]}
    assert found == {BOB: "news", "eve@customer.test": "news", "x@customer.test": ""}


async def test_the_command_line_has_lists_too(cli: Cli) -> None:
    assert "There is no mailing list." in (await cli("mailing-list", "list")).out
    assert (await cli("mailing-list", "add", "news", "Spring news", "--description", "New")).status == 0
    assert "Spring news" in (await cli("mailing-list", "list")).out
    assert (await cli("mailing-list", "change", "news", "--label", "News")).out == "news is News now.\n"
    assert "News" in (await cli("mailing-list", "show", "news")).out
    assert (await cli("mailing-list", "remove", "news")).status == 0
    assert (await cli("mailing-list", "show", "news")).status != 0


# --- what is sent


async def _sent(api: Api, admin: Client, path: str = "/messages", method: str = "POST", **given: Any) -> Any:
    fields = {"from": "anna@example.org", "to": [BOB], "subject": "Hi", "text": "x"}
    answer = await admin.ask(method, f"{V1}{path}", json={**fields, **given})
    assert answer.status in (200, 202), answer.body
    return answer.json


async def _made(api: Api, queue_id: str) -> Delivery:
    (one,) = await api.store.read(deliveries.of_queue_id, queue_id)  # type: ignore[arg-type]
    return one


async def test_a_mail_names_its_list(api: Api, org: Organisation, anna: User, admin: Client) -> None:
    await a_list(api.store, api.clock, org.id)
    made = await _made(api, (await _sent(api, admin, job="spring", list="news"))["queue_id"])
    assert (made.job, made.list) == ("spring", "news")
    for given, field in (
        ({"list": "news"}, "list"),
        ({"list": "other", "job": "spring"}, "list"),
        ({"list": "No", "job": "a"}, "list"),
    ):
        fields = {"from": "anna@example.org", "to": [BOB], "subject": "Hi", "text": "x", **given}
        refused = await admin.post(f"{V1}/messages", json=fields)
        assert (refused.status, refused.json["errors"][0]["field"]) == (422, field)
    await leave(api, org, "news")
    refused = await admin.post(
        f"{V1}/messages",
        json={"from": "anna@example.org", "to": [BOB], "subject": "Hi", "text": "x", "job": "spring", "list": "news"},
    )
    assert (refused.status, refused.json["reason"], refused.json["list"]) == (422, "unsubscribed", "news")


async def test_new_content_of_a_scheduled_mail_keeps_job_list_and_tracking(
    api: Api, org: Organisation, anna: User, admin: Client
) -> None:
    await a_list(api.store, api.clock, org.id)
    when = {"schedule": {"at": "2026-11-03T08:00"}}
    first = await _sent(api, admin, job="spring", list="news", tracking="off", **when)
    path = f"/schedules/{first['queue_id']}"
    query = "?user=anna@example.org"
    second = await _sent(api, admin, path + query, "PUT")
    made = await _made(api, second["queue_id"])
    assert (made.job, made.list, made.tracking) == ("spring", "news", Mode.OFF)
    third = await _sent(api, admin, path + query, "PUT", tracking="aggregate", job="autumn")
    made = await _made(api, third["queue_id"])
    assert (made.job, made.list, made.tracking) == ("autumn", "", Mode.AGGREGATE)


# --- settings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("unsubscribe_url", "javascript:alert(1)"),
        ("unsubscribe_url", "https://user@acme.example/"),
        ("unsubscribe_url", "https://{list}@acme.example/"),
        ("unsubscribe_url", "https://acme.example/" + "x" * 1000),
        ("unsubscribe_text", "a\r\nBcc: x"),
        ("unsubscribe_text", "x" * 201),
    ],
)
async def test_a_form_or_text_that_cannot_stand_in_a_mail_is_refused(admin: Client, setting: str, value: str) -> None:
    refused = await admin.patch(f"{V1}/organisation", json={"settings": {setting: value}})
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, f"settings.{setting}")


async def test_a_tracking_host_is_one_organisation_s(api: Api, org: Organisation, admin: Client) -> None:
    given = {"settings": {"tracking_host": "links.example.org"}}
    for _ in range(2):
        assert (await admin.patch(f"{V1}/organisation", json=given)).status == 200
    other = await factory.org(api.store, api.clock, name="Other")
    _, secret = await factory.api_token(api.store, api.clock, other)
    theirs = api.web.bearing(secret)
    refused = await theirs.patch(f"{V1}/organisation", json={"settings": {"tracking_host": "Links.example.org."}})
    assert (refused.status, "links.example.org is another organisation's" in refused.json["detail"]) == (409, True)
    new = {"name": "Third", **given}
    assert (await api.local.post(f"{V1}/organisations", json=new)).status == 409
    assert (await admin.patch(f"{V1}/organisation", json={"settings": {"tracking_host": ""}})).status == 200
    assert (await theirs.patch(f"{V1}/organisation", json=given)).status == 200
