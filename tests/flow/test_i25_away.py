"""I25: somebody gone for good proposes a successor, who becomes a contact at the same account by one action."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import structlog

from mailrelay.ids import MessageId
from mailrelay.inbound import absence
from mailrelay.mail import away
from mailrelay.mail.message import parse
from mailrelay.model.envelope import Arrival, ArrivalState
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Right
from mailrelay.smtp.address import parse_address
from mailrelay.store import events, records, unresolved
from tests.flow.test_i09_explained import rerun
from tests.support import factory
from tests.support.cli import Cli
from tests.support.filing import Desk, mail, office
from tests.support.http import Api, Client, serving

V1 = "/api/v1"
SAID = "Bob Gone is no longer with Customer. Please contact Ann New <ann@customer.test>.\r\n"


@dataclass
class Place:
    api: Api
    desk: Desk
    client: Client


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    # Commands run in this process and own its standard output while they do.
    with structlog.testing.capture_logs():
        async with serving(tmp_path) as api, office(tmp_path, store=api.store) as desk:
            yield await furnished(api, desk)


async def furnished(api: Api, desk: Desk) -> Place:
    """Bob, a contact at an account."""
    _, secret = await factory.api_token(api.store, api.clock, desk.org, Right.ADMIN)
    await desk.record("account/7", name="Customer")
    await desk.record(
        "contact/1",
        "bob@customer.test",
        name="Bob Gone",
        owner=desk.anna,
        links={"employer": "account/7", "boss": "contact/9"},
    )
    return Place(api, desk, api.web.bearing(secret))


async def answer(desk: Desk, body: str) -> Arrival:
    """An automatic reply of Bob's that is filed, and noted as the worker notes it."""
    raw = mail(from_="anna@example.com", to="bob@customer.test")
    arrival = await desk.post(raw)
    parsed = parse(mail(from_="bob@customer.test", to="anna@example.com", subject="Automatic reply: Offer", body=body))
    said = away.read(parsed, received=desk.clock.now().date())
    assert said is not None
    await desk.store.write(
        absence.note,
        org=desk.org.id,
        sender=parse_address("bob@customer.test"),
        away=said,
        message=MessageId(arrival.message or ""),
        arrival=arrival,
        ids=desk.ids,
        at=desk.clock.now(),
        zone=ZoneInfo("Europe/Berlin"),
    )
    return arrival


async def test_a_successor_becomes_a_contact_at_the_same_account(place: Place) -> None:
    arrival = await answer(place.desk, SAID)
    (entry,) = (await place.client.get(f"{V1}/unresolved")).json["items"]
    assert entry["reason"] == "gone"
    assert entry["explanation"] == "Bob Gone is no longer at customer.test; write to Ann New <ann@customer.test>?"
    shown = (await place.client.get(f"{V1}/unresolved/{entry['id']}")).json
    assert shown["suggestion"] == {"name": "Ann New", "address": "ann@customer.test"}
    filed = await place.client.post(f"{V1}/unresolved/{entry['id']}/file", json={"create": "contact"})
    assert filed.status == 200, filed.body
    (made,) = filed.json["records"]
    new = await place.api.store.read(records.get, place.desk.org.id, factory.ref(made))
    assert (new.name, new.owner, str(new.addresses[0].address)) == ("Ann New", place.desk.anna.id, "ann@customer.test")
    assert [(link.role, str(link.to)) for link in new.links] == [("employer", "account/7")]
    assert made in await place.desk.links(arrival)
    assert await place.desk.waiting() == ()
    await answer(place.desk, SAID)
    assert await place.desk.waiting() == ()
    assert await place.desk.is_balanced()


async def test_a_successor_of_another_module_takes_no_account(place: Place) -> None:
    await answer(place.desk, SAID)
    (entry,) = await place.desk.waiting()
    filed = await place.client.post(f"{V1}/unresolved/{entry.id}/file", json={"create": "lead"})
    new = await place.api.store.read(records.get, place.desk.org.id, factory.ref(filed.json["records"][0]))
    assert new.links == ()


async def test_a_declined_successor_leaves_all_as_it_is(place: Place) -> None:
    arrival = await answer(place.desk, SAID)
    before = await place.desk.links(arrival)
    (entry,) = await place.desk.waiting()
    assert (await place.client.post(f"{V1}/unresolved/{entry.id}/release")).status == 409
    assert (await place.client.post(f"{V1}/unresolved/{entry.id}/dismiss")).status == 204
    assert await place.desk.links(arrival) == before
    assert (await place.desk.arrival(arrival.id)).state is ArrivalState.FILED
    journal = await place.api.store.read(events.after, place.desk.org.id, 0, limit=1000)
    assert EventType.MESSAGE_DROPPED not in {one.type for one in journal}
    place.desk.clock.advance(timedelta(hours=1))
    await answer(place.desk, SAID)
    assert await place.desk.waiting() == ()


async def test_copies_and_reruns_of_the_reply_leave_the_proposal_open(place: Place) -> None:
    arrival = await answer(place.desk, SAID)
    raw = await place.desk.bodies.read(arrival.raw)
    assert (await place.desk.post(raw)).state is ArrivalState.DUPLICATE
    assert await rerun(place.desk) == []
    (entry,) = await place.desk.waiting()
    assert entry.reason == "gone"
    assert await place.api.store.read(unresolved.of_arrival, place.desk.org.id, arrival.id) == ()


async def test_the_api_lists_who_is_absent(place: Place) -> None:
    await answer(place.desk, "I am out of the office until 24 November.\r\n")
    (one,) = (await place.client.get(f"{V1}/absences?search=bob@")).json["items"]
    assert (one["key"], one["until"], one["gone"], one["instead"]) == (
        "bob@customer.test",
        "2026-11-23T23:00:00Z",
        False,
        [],
    )
    assert (await place.client.get(f"{V1}/absences?search=eve@")).json == {"items": [], "next": None}
    assert (await place.api.web.get(f"{V1}/absences")).status == 401


async def test_commands_list_who_is_absent_and_whom_that_proposes(place: Place) -> None:
    cli = Cli(place.api.server.unix_socket)
    assert (await cli("absence", "list")).out == "No automatic reply said that somebody is away.\n"
    await answer(place.desk, SAID)
    listed = (await cli("absence", "list", "--search", "bob@")).out
    assert "bob@customer.test" in listed
    assert "gone for good" in listed
    assert "Ann New <ann@customer.test>" in listed
    (entry,) = await place.desk.waiting()
    assert "gone" in (await cli("unresolved", "list")).out
    shown = " ".join((await cli("unresolved", "show", entry.id)).out.split())
    assert "Bob Gone is no longer at customer.test" in shown
    filed = await cli("unresolved", "file", entry.id, "--create", "contact")
    assert filed.out.startswith("Filed on contact/"), filed
