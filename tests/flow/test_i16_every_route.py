"""I16 and W09: every route of the API, asked by who must not see. What they may not see is not there, in any answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from mailrelay.filing.attach import AttachmentFiler
from mailrelay.ids import DeliveryId, QueueId
from mailrelay.model.attachment import Attachments
from mailrelay.model.envelope import Channel
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Right, Role
from mailrelay.model.settings import OrganisationSettings, Sharing
from mailrelay.store import deliveries, events
from tests.support import factory
from tests.support.answers import Zone
from tests.support.every_route import NAMES, READS, V1, Kind, Route, World, asked, not_there
from tests.support.filing import mail, office
from tests.support.http import Api, Client, ZoneResolver, serving

MARKER = "Zaubernuss"
"""Stands in all that is Anna's alone."""
_OF_A_USER = ("/notices/{seq}", "/notices/{seq}/read", "/messages/{id}/folder")
"""Routes that are for users' own tokens."""
_ZONE = Zone({("A", "smtp.elsewhere.test"): "9.9.9.9", ("A", "crm.elsewhere.test"): "9.9.9.9"})
_REPORT = """\
Content-Type: multipart/report; report-type=delivery-status; boundary=cut\r
\r
--cut\r
Content-Type: text/plain\r
\r
{marker}\r
--cut\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.elsewhere.test\r
\r
Final-Recipient: rfc822; carl@elsewhere.test\r
Action: delayed\r
Status: 4.2.2\r
Diagnostic-Code: smtp; 452 4.2.2 {marker} is full\r
--cut--\r
"""


@dataclass
class Place:
    """Anna's private mail in an organisation with Berta and the administrator Dora; and another organisation."""

    world: World
    anna: Client
    berta: Client
    dora: Client
    machine: Client
    everybody: Client
    """A token without a user that may only read and send."""
    others: dict[str, Client]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    private = OrganisationSettings(sharing=Sharing.PRIVATE, attachments=Attachments.RECORD)
    with structlog.testing.capture_logs():
        async with (
            serving(tmp_path, resolver=ZoneResolver(_ZONE)) as api,
            office(tmp_path, store=api.store, settings=private) as desk,
        ):
            await desk.record("contact/1", "bob@customer.test")
            await desk.record("contact/2", "carl@elsewhere.test")
            berta, dora = (
                await desk.user("berta@example.com"),
                await desk.user("dora@example.com", role=Role.ADMINISTRATOR),
            )

            async def client(*rights: Right, on_behalf_of: Any = None, org: Any = desk.org) -> Client:
                _, secret = await factory.api_token(api.store, api.clock, org, *rights, on_behalf_of=on_behalf_of)
                return api.web.bearing(secret)

            anna = await client(Right.READ, Right.SEND, on_behalf_of=desk.anna)
            things = await _annas_mail(desk, anna)
            things |= await _annas_files(api, desk, anna)
            machine = await client()
            things |= await _the_organisations(desk, machine)
            other = await factory.org(api.store, api.clock, domains=("other.test",))
            eve = await factory.user(api.store, api.clock, other, "eve@other.test", role=Role.ADMINISTRATOR)
            description = (await api.web.get(f"{V1}/openapi.json")).json
            yield Place(
                world=World(description, things),
                anna=anna,
                berta=await client(Right.READ, Right.SEND, on_behalf_of=berta),
                dora=await client(*Right, on_behalf_of=dora),
                machine=machine,
                everybody=await client(Right.READ, Right.SEND),
                others={
                    "machine": await client(org=other),
                    "administrator": await client(*Right, on_behalf_of=eve, org=other),
                    "send": await client(Right.SEND, Right.READ, org=other),
                    "read": await client(Right.READ, org=other),
                },
            )


async def _the_organisations(desk: Any, machine: Client) -> dict[str, list[str]]:
    """What an administrator made, and names that mean something."""
    token, _ = await factory.api_token(desk.store, desk.clock, desk.org, Right.READ)

    async def made(path: str, given: dict[str, Any], name: str = "id") -> list[str]:
        answer = await machine.post(V1 + path, json=given)
        assert answer.status in (200, 201), (path, answer.body)
        return [str(answer.json[name])]

    return {
        "addresses/{address}": ["carl@elsewhere.test", "bob@customer.test"],
        "calls/{seq}": ["1"],
        "consents/{address}": ["carl@elsewhere.test"],
        "domains/{domain}": ["example.com"],
        "dropboxes/{dropbox}": [desk.box.id],
        "exclusions/{value}": ["newsletter.test"],
        "keys/{selector}": ["s1"],
        "links/{module}": ["contact"],
        "links/{record}": ["1"],
        "mailing-lists/{name}": await made("/mailing-lists", {"name": "news", "label": "News"}, "name"),
        "modules/{name}": ["contact"],
        "operations/{operation}": await made(
            "/operations", {"control": "retry", "selection": {"destination": "nowhere.test"}}
        ),
        "organisation-addresses/{id}": await made(
            "/organisation-addresses", {"address": "support@example.com", "name": "Support"}
        ),
        "record-addresses/{number}": await made("/record-addresses", {"record": "contact/1"}, "number"),
        "records/{id}": ["1"],
        "records/{module}": ["contact"],
        "smart-hosts/{smart_host}": await made(
            "/smart-hosts", {"scope": "user", "name": desk.anna.id, "host": "smtp.elsewhere.test", "auth": "none"}
        ),
        "suppressions/{address}": ["carl@elsewhere.test"],
        "suspensions/{name}": ["example.com"],
        "suspensions/{scope}": ["domain"],
        "tokens/{token}": [token.id],
        "users/{who}": [desk.anna.id, "anna@example.com"],
        "webhooks/{webhook}": await made("/webhooks", {"url": "https://crm.elsewhere.test/hook"}),
    }


async def _annas_mail(desk: Any, anna: Client) -> dict[str, list[str]]:
    """Mail of Anna's of every kind, and what it is called where a route names it."""
    filed = await desk.post(mail(subject=MARKER, body=f"{MARKER}\r\n"))
    attached = mail(
        subject=f"Files {MARKER}",
        content_type='multipart/mixed; boundary="cut"',
        body=(
            f"--cut\r\nContent-Type: text/html\r\n\r\n<p>{MARKER}</p>\r\n"
            f"--cut\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename={MARKER}.pdf\r\n\r\n"
            f"{MARKER}\r\n--cut--\r\n"
        ),
    )
    with_files = await desk.post(attached)
    held = await desk.post(
        mail(from_="stranger@nowhere.test", subject=f"Held {MARKER}"), mail_from="stranger@nowhere.test"
    )
    sent = await anna.post(
        f"{V1}/messages",
        json={"to": ["carl@elsewhere.test"], "bcc": [f"{MARKER}@elsewhere.test"], "subject": MARKER, "text": MARKER},
    )
    assert sent.status == 202, sent.body
    later = await anna.post(
        f"{V1}/messages",
        json={
            "to": ["carl@elsewhere.test"],
            "subject": f"Later {MARKER}",
            "text": MARKER,
            "schedule": {"at": "2027-01-04T08:00"},
        },
    )
    assert later.status == 202, later.body
    await desk.worker.drain()
    made = await desk.store.read(deliveries.of_queue_id, QueueId(sent.json["queue_id"]))
    head = mail(
        from_="MAILER-DAEMON <>", to="anna@example.com", subject=f"Returned {MARKER}", body="", content_type="x/y"
    )
    head = head.partition(b"Content-Type: x/y")[0]
    came_back = await desk.post(
        head + _REPORT.format(marker=MARKER).encode(),
        channel=Channel.BOUNCE,
        mail_from=None,
        delivery=DeliveryId(made[0].id),
    )
    away = await desk.post(
        mail(
            from_="bob@customer.test",
            to="anna@example.com",
            subject=f"Out of office {MARKER}",
            headers=("Auto-Submitted: auto-replied",),
            body="I am away until 24 December 2026.\r\n",
        ),
        mail_from="bob@customer.test",
        channel=Channel.BOUNCE,
        delivery=DeliveryId(made[0].id),
    )
    waiting = await desk.waiting()
    scheduled = (await anna.get(f"{V1}/schedules")).json["items"]
    messages = [one.id for one in await desk.messages()]
    await desk.store.write(
        events.append,
        org=desk.org.id,
        at=desk.clock.now(),
        type=EventType.DELIVERY_BOUNCED,
        message=made[0].message,
        delivery=made[0].id,
        user=desk.anna.id,
        data={"reply": MARKER},
    )
    notices = (await anna.get(f"{V1}/notices")).json["items"]
    assert notices
    assert held.id in [one.arrival for one in waiting]
    return {
        "messages/{id}": messages,
        "arrivals/{id}": [filed.id, with_files.id, held.id, came_back.id, away.id, sent.json["queue_id"]],
        "unresolved/{id}": [one.id for one in waiting],
        "queue/{delivery}": [one.id for one in made],
        "notices/{seq}": [str(one["seq"]) for one in notices],
        "schedules/{schedule}": [scheduled[0]["id"], later.json["queue_id"]],
    }


async def _annas_files(api: Api, desk: Any, anna: Client) -> dict[str, list[str]]:
    """The files of her mail, filed to the record that it is on."""
    kept, new_id = api.application.contents, api.application.ids.attachment
    await AttachmentFiler(api.store, desk.bodies, kept, api.clock, new_id=new_id, stopping=api.stopping).look()
    listed = (await anna.get(f"{V1}/records/contact/1/attachments")).json["items"]
    assert [one["state"] for one in listed] == ["filed"]
    return {
        "attachments/{attachment}": [listed[0]["attachment"]],
        "attachments/{file}": ["1"],
        "parts/{part}": ["0", "1"],
    }


def _shows(answer: Any) -> bool:
    return MARKER.lower().encode() in answer.body.lower()


async def test_i16_the_walk_sees_what_there_is(place: Place) -> None:
    """The other tests of this file stand on it: that there is something to see, and that who may sees it."""
    for client in (place.machine, place.anna):
        shown = set()
        for route in place.world.routes:
            if route.method != "GET":
                continue
            for path in place.world.filled(route):
                answer = await asked(client, route, path, {})
                if _shows(answer):
                    shown.add(route.path)
                if answer.status == 404 and route.path == "/messages/{id}/attachments/{file}":
                    continue  # most mails have none
                assert Kind.PRIVATE not in route.kinds or answer.status in (200, 403), (str(route), path, answer.body)
        assert shown >= {
            "/messages",
            "/messages/{id}",
            "/messages/{id}/raw",
            "/messages/{id}/body",
            "/messages/{id}/body.html",
            "/messages/{id}/parts",
            "/messages/{id}/parts/{part}",
            "/messages/{id}/attachments",
            "/messages/{id}/attachments/{file}",
            "/records/{module}/{id}/attachments",
            "/records/{module}/{id}/attachments/{attachment}",
            "/records/{module}/{id}/attachments/{attachment}/content",
            "/queue",
            "/queue/{delivery}",
            "/schedules",
            "/schedules/{schedule}",
            "/unresolved",
            "/unresolved/{id}",
            "/events",
        }
        on_record = await client.get(f"{V1}/records/contact/1/messages")
        assert on_record.json["items"]


@pytest.mark.parametrize("who", ["berta", "dora", "everybody"])
async def test_i16_no_route_shows_a_private_mail_nor_that_it_is_there(place: Place, who: str) -> None:
    client: Client = getattr(place, who)
    wrong: list[str] = []
    for route in place.world.routes:
        # What changes other things than mail is another test's: it would take this one's world away.
        if route.method != "GET" and str(route) not in READS and Kind.PRIVATE not in route.kinds:
            continue
        sent = place.world.body(route)
        missing = list(place.world.filled(route, missing=Kind.PRIVATE in route.kinds))
        for path, none in zip(place.world.filled(route), missing, strict=True):
            answer = await asked(client, route, path, sent)
            if _shows(answer):
                wrong.append(f"{route.method} {path} shows it: {answer.body!r}")
            if Kind.PRIVATE not in route.kinds:
                continue
            there_is_not = await asked(client, route, none, sent)
            if not 400 <= answer.status < 500 or answer.status != there_is_not.status:
                wrong.append(f"{route.method} {path} is {answer.status}, what is not there {there_is_not.status}")
    assert not wrong, "\n".join(wrong)


async def test_i16_lists_about_private_mail_are_empty(place: Place) -> None:
    for client in (place.berta, place.dora, place.everybody):
        for path in (
            "/messages",
            "/messages?address=bob@customer.test",
            "/queue",
            "/schedules",
            "/unresolved",
            "/absences",
        ):
            assert (await client.get(V1 + path)).json["items"] == [], path
        assert (await client.get(f"{V1}/records/contact/1/messages")).json["items"] == []
        assert (await client.get(f"{V1}/queue/count")).json["count"] == 0
        page = (await client.get(f"{V1}/addresses/carl@elsewhere.test")).json
        assert (page["deliveries"], page["feedback"], page["absence"]) == ([], [], None)
        assert (await client.get(f"{V1}/arrivals/latest")).status == 404
        for queue_id in place.world.things["arrivals/{id}"]:
            assert (await client.get(f"{V1}/messages/{queue_id}")).status == 404


@pytest.mark.parametrize("who", ["machine", "administrator", "send", "read"])
async def test_fault_w09_nothing_of_an_organisation_is_there_for_another(place: Place, who: str) -> None:
    client = place.others[who]
    wrong: list[str] = []
    for route in place.world.routes:
        sent = place.world.body(route)
        by_id = bool({Kind.PRIVATE, Kind.OURS} & route.kinds)
        for path in place.world.filled(route):
            answer = await asked(client, route, path, sent)
            if _shows(answer) or answer.status >= 500:
                wrong.append(f"{route.method} {path} is {answer.status}: {answer.body!r}")
            if by_id:
                of_a_user = who == "machine" and route.path in _OF_A_USER
                refused = {404} if who in ("machine", "administrator") and not of_a_user else {403, 404}
                if answer.status not in refused:
                    wrong.append(f"{route.method} {path} is {answer.status}: {answer.body!r}")
    assert not wrong, "\n".join(wrong)


async def test_each_path_parameter_is_named_and_each_name_is_some_routes(place: Place) -> None:
    used = {key for route in place.world.routes for key in route.parameters}
    assert set(NAMES) - used == set(), "these names are of no route any more"
    assert used - set(place.world.things) == set(), "World.things has none of these"


def test_an_id_that_there_is_not_has_the_same_form() -> None:
    assert not_there("M01M6DSG7E0GBYS1K90PS") == "M01M6DSG7E0GBYS1KZZZZ"
    assert Route("GET", "/messages/{id}", {}).parameters == ("messages/{id}",)
