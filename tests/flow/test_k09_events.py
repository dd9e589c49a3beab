"""The journal from a cursor: filters, long polls, and what a reader learns of its place (K9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from mailrelay import metrics
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Organisation, Right
from mailrelay.store import events
from mailrelay.store.base import Tx
from mailrelay.web import protocol
from tests.support import factory
from tests.support.http import Api, Client, serving


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as running:
        yield running


class Office:
    """An organisation, its machine account, and how something happens in it."""

    def __init__(self, api: Api, org: Organisation, client: Client) -> None:
        self.api, self.org, self.client = api, org, client

    @classmethod
    async def made(cls, api: Api) -> Office:
        org = await factory.org(api.store, api.clock)
        _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
        return cls(api, org, api.web.bearing(secret))

    async def happen(self, type: EventType = EventType.RECORD_CHANGED, **given: str) -> None:  # noqa: A002
        at = self.api.clock.now()
        await self.api.store.write(events.append, org=self.org.id, at=at, type=type, **given)

    async def newest(self) -> int:
        return await self.api.store.read(events.newest, self.org.id)

    async def ask(self, query: str = "") -> dict:
        answered = await self.client.get(f"/api/v1/events?{query}")
        assert answered.status == 200, answered.body
        return answered.json


async def test_each_organisation_counts_from_one_without_a_gap(api: Api) -> None:
    first, second = await Office.made(api), await Office.made(api)
    for _ in range(3):
        await first.happen()
        await second.happen()
    for office in (first, second):
        page = await office.ask()
        assert [one["seq"] for one in page["items"]] == list(range(1, page["newest"] + 1))
        assert page["next"] == page["newest"] >= 3


async def test_pages_lead_to_the_newest_and_nothing_comes_twice(api: Api) -> None:
    office = await Office.made(api)
    for _ in range(7):
        await office.happen()
    seen, after = [], 0
    while True:
        page = await office.ask(f"after={after}&limit=2")
        seen += [one["seq"] for one in page["items"]]
        if page["next"] == after:
            break
        after = page["next"]
    assert seen == list(range(1, await office.newest() + 1))


async def test_what_is_filtered_is_passed_by(api: Api) -> None:
    office = await Office.made(api)
    await office.happen(EventType.RECORD_CHANGED, record="contact/17")
    await office.happen(EventType.RECORD_REMOVED, record="contact/18")
    await office.happen(EventType.DELIVERY_HELD, message="M1")
    page = await office.ask("record=contact/17")
    assert [one["record"] for one in page["items"]] == ["contact/17"]
    assert page["next"] == page["newest"]
    assert [one["type"] for one in (await office.ask("type=record.removed&type=delivery.held"))["items"]] == [
        "record.removed",
        "delivery.held",
    ]
    assert [one["message"] for one in (await office.ask("message=M1"))["items"]] == ["M1"]


async def test_what_is_rare_is_found_behind_much_else(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_LONGEST_STRETCH", 5)
    office = await Office.made(api)
    for _ in range(17):
        await office.happen()
    await office.happen(EventType.STORAGE_FULL)
    page = await office.ask("type=storage.full")
    assert [one["type"] for one in page["items"]] == ["storage.full"]
    assert (await office.ask(f"type=storage.full&after={page['next']}"))["items"] == []


async def test_the_last_ones_say_where_to_read_on(api: Api) -> None:
    office = await Office.made(api)
    for _ in range(4):
        await office.happen()
    newest = await office.newest()
    page = await office.ask("last=2")
    assert [one["seq"] for one in page["items"]] == [newest - 1, newest]
    assert page["next"] == newest
    assert [one["seq"] for one in (await office.ask(f"last=2&before={newest - 1}"))["items"]] == [
        newest - 3,
        newest - 2,
    ]


async def test_a_cursor_from_a_future_that_was_never_is_an_error(api: Api) -> None:
    office = await Office.made(api)
    answered = await office.client.get("/api/v1/events?after=1000")
    assert answered.status == 422
    assert "past the newest event" in answered.json["detail"]


async def test_a_long_poll_ends_with_the_first_event(api: Api) -> None:
    office, other = await Office.made(api), await Office.made(api)
    asked = asyncio.create_task(office.ask(f"after={await office.newest()}&wait=30"))
    await _waits(api)
    await other.happen()
    await asyncio.sleep(0.1)
    assert not asked.done()
    began = monotonic()
    await office.happen(EventType.STORAGE_FULL)
    page = await asked
    assert monotonic() - began < 20
    assert [one["type"] for one in page["items"]] == ["storage.full"]
    assert api.application.waits.number == 0


async def test_a_long_poll_waits_on_for_what_it_wants(api: Api) -> None:
    office = await Office.made(api)
    asked = asyncio.create_task(office.ask(f"after={await office.newest()}&wait=30&type=storage.full"))
    await _waits(api)
    await office.happen()
    await asyncio.sleep(0.1)
    assert not asked.done()
    await office.happen(EventType.STORAGE_FULL)
    assert len((await asked)["items"]) == 1


async def test_a_long_poll_without_an_event_ends_in_time(api: Api) -> None:
    office = await Office.made(api)
    began = monotonic()
    page = await office.ask(f"after={await office.newest()}&wait=1")
    assert page["items"] == []
    assert 0.9 < monotonic() - began < 20


async def test_a_long_poll_hears_of_what_another_process_wrote(api: Api) -> None:
    office = await Office.made(api)
    api.application.waits.look = 0.05
    asked = asyncio.create_task(office.ask(f"after={await office.newest()}&wait=60"))
    await _waits(api)
    api.store.bells._listeners.clear()  # whoever writes elsewhere rings no bell here
    await office.happen()
    assert len((await asyncio.wait_for(asked, 30))["items"]) == 1


async def test_a_long_poll_ends_when_the_daemon_stops(api: Api) -> None:
    office = await Office.made(api)
    asked = asyncio.create_task(office.ask(f"after={await office.newest()}&wait=60"))
    await _waits(api)
    api.stopping.set()
    assert (await asyncio.wait_for(asked, 30))["items"] == []


async def test_a_long_poll_ends_when_its_client_goes(api: Api) -> None:
    office = await Office.made(api)
    asked = asyncio.create_task(office.ask(f"after={await office.newest()}&wait=60"))
    await _waits(api)
    asked.cancel()
    async with asyncio.timeout(30):
        while api.application.waits.number:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_many_wait_at_once_and_leave_the_readers_to_others(api: Api) -> None:
    office = await Office.made(api)
    after = await office.newest()
    asked = [asyncio.create_task(office.ask(f"after={after}&wait=30")) for _ in range(20)]
    await _waits(api, 20)
    answered = await office.client.get(f"/api/v1/events?after={after}&wait=5")
    assert answered.status == 503
    assert "Retry-After" in answered.headers
    assert (await office.ask())["newest"] == after
    await office.happen()
    assert all(len(page["items"]) == 1 for page in await asyncio.gather(*asked))


async def test_who_waits_is_counted_and_is_no_slow_request(api: Api) -> None:
    def told(name: str, **labels: str) -> float:
        return metrics.REGISTRY.get_sample_value(name, labels) or 0.0

    office = await Office.made(api)
    api.application.waits.most_each = 1
    after, refused = await office.newest(), told("mailrelay_http_waiting_refused_total", reason="caller")
    asked = asyncio.create_task(office.ask(f"after={after}&wait=30"))
    await _waits(api)
    assert told("mailrelay_http_waiting_requests", kind="poll") == 1
    assert told("mailrelay_http_waiting_limit") == 200
    assert (await office.client.get(f"/api/v1/events?after={after}&wait=5")).status == 503
    assert told("mailrelay_http_waiting_refused_total", reason="caller") == refused + 1
    before = told("mailrelay_http_request_duration_seconds_count")
    await office.happen()
    await asked
    await office.ask()
    assert told("mailrelay_http_request_duration_seconds_count") == before + 1  # the one that did not wait
    assert told("mailrelay_http_waiting_requests", kind="poll") == 0


async def test_a_token_that_is_revoked_while_it_waits_hears_of_nothing(api: Api) -> None:
    office = await Office.made(api)
    made = (await office.client.post("/api/v1/tokens", json={"name": "t", "rights": ["read"]})).json
    theirs = api.web.bearing(made["secret"])
    api.application.waits.look = 60
    asked = asyncio.create_task(theirs.get(f"/api/v1/events?after={await office.newest()}&wait=60&type=record.changed"))
    await _waits(api)
    assert (await office.client.delete(f"/api/v1/tokens/{made['id']}")).status == 204
    await office.happen()
    assert (await asyncio.wait_for(asked, 30)).status == 401


async def test_who_sees_only_some_mail_sees_only_the_events_of_that(api: Api) -> None:
    office = await Office.made(api)
    ben = await factory.user(api.store, api.clock, office.org)
    _, secret = await factory.api_token(api.store, api.clock, office.org, Right.READ, on_behalf_of=ben)
    await office.happen(EventType.DELIVERY_HELD, message="M-not-ben's", queue_id="Q1")
    await office.happen(EventType.ARRIVAL_ACCEPTED, queue_id="Q2")
    await office.happen(EventType.RECORD_CHANGED, record="contact/1")
    answered = await api.web.bearing(secret).get("/api/v1/events")
    found = answered.json
    assert {"delivery.held", "arrival.accepted"}.isdisjoint(one["type"] for one in found["items"])
    assert "record.changed" in [one["type"] for one in found["items"]]
    assert found["next"] == found["newest"] == await office.newest()


async def _waits(api: Api, number: int = 1) -> None:
    async with asyncio.timeout(30):
        while api.application.waits.number < number:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_is_changed_by_the_api_is_in_the_journal(api: Api) -> None:
    office = await Office.made(api)
    client, v1 = office.client, "/api/v1"
    user = (await client.post(f"{v1}/users", json={"name": "Ann", "primary": "ann@x.test"})).json
    of_user = f"{v1}/users/{user['id']}"
    token = {"name": "t", "rights": ["read"]}
    for answered in (
        await client.patch(of_user, json={"name": "Anna", "settings": {"unknown": "contact"}}),
        await client.patch(of_user, json={"name": "Anna"}),  # changes nothing, and is not told
        await client.put(f"{of_user}/password", json={"password": "twelve letters"}),
        await client.post(f"{of_user}/dropboxes"),
        await client.delete(f"{of_user}/dropboxes"),
        await client.patch(f"{v1}/organisation", json={"settings": {"soft_bounces": 9}}),
        await client.put(f"{v1}/modules/boat", json={"label": "Boat", "address_fields": []}),
        await client.put(f"{v1}/exclusions/b.test"),
        await client.put(f"{v1}/exclusions/b.test"),
        await client.delete(f"{v1}/exclusions/b.test"),
        made := await client.post(f"{v1}/tokens", json=token),
        await client.delete(f"{v1}/tokens/{made.json['id']}"),
        await client.put(f"{v1}/records/contact/1", json={"name": "Bob"}),
        await client.put(f"{v1}/records/contact/1", json={"name": "Bob", "fields": {"size": "9"}}),
        await client.put(f"{v1}/records/contact/1", json={"name": "Bob", "fields": {"size": "9"}}),
        await client.delete(f"{v1}/records/contact/1"),
    ):
        assert answered.status < 300, answered.body
    page = await office.ask("limit=1000")
    assert [one["seq"] for one in page["items"]] == list(range(1, len(page["items"]) + 1))
    told = [(one["type"], one["data"].get("changed", "")) for one in page["items"]]
    assert told == [
        ("user.created", ""),
        ("user.changed", "name settings.unknown"),
        ("user.changed", "password"),
        ("dropbox.created", ""),
        ("dropbox.revoked", ""),
        ("organisation.changed", "settings.soft_bounces"),
        ("module.changed", ""),
        ("exclusion.added", ""),
        ("exclusion.removed", ""),
        ("token.created", ""),
        ("token.revoked", ""),
        ("record.created", ""),
        ("record.changed", "fields.size"),
        ("record.removed", ""),
    ]
    assert "twelve" not in str(page)
    assert [one["seq"] for one in (await office.ask("record=contact/1"))["items"]] == [12, 13, 14]


async def test_a_client_that_takes_nothing_is_cut(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_SLOWEST_READER", 0.3)
    office = await Office.made(api)
    at = api.clock.now()

    def much(tx: Tx) -> None:
        for _ in range(1000):
            data = {"text": "x" * 16_000}
            events.append(tx, org=office.org.id, at=at, type=EventType.NOTE_ADDED, data=data)

    await api.store.write(much)
    _, secret = await factory.api_token(api.store, api.clock, office.org, Right.ADMIN)
    reader, writer = await asyncio.open_connection(*api.server.address, limit=1024)
    writer.write(
        f"GET /api/v1/events?limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(1)
    taken = 0
    with suppress(ConnectionResetError):
        while piece := await reader.read(65_536):
            taken += len(piece)
    writer.close()
    assert taken < 1000 * 16_000
