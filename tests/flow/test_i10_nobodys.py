"""I10: what comes to the address for all complaints and may be any organisation's is shown to the operator alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailrelay.config.schema import Filing
from mailrelay.filing.rerun import Rerun
from mailrelay.ids import IdFactory, NodeId
from mailrelay.inbound.pipeline import Pipeline
from mailrelay.inbound.worker import FilingWorker
from mailrelay.model.envelope import Arrival, ArrivalState
from mailrelay.model.organisation import Right
from mailrelay.service import Stopping
from mailrelay.store import messages, unresolved
from mailrelay.web.api import messages_received
from mailrelay.web.identity import ORGANISATION_HEADER
from tests.support import factory
from tests.support.edge import edge
from tests.support.filing import mail
from tests.support.http import Answered, Api, Client, serving
from tests.support.smtp_client import connected
from tests.support.way_back import BOUNCES, Post, way_back

V1 = "/api/v1"
BOB = "bob@customer.test"
FEEDBACK = f"feedback@{BOUNCES}"
SECRET = "what only the other organisation may read"


@dataclass(frozen=True)
class House:
    """Two organisations' doors to one installation: `first` is the edge's own, `second` the one that sends."""

    api: Api
    post: Post
    first: Client
    second: Client

    async def operator(self, path: str, method: str = "GET", **given: Any) -> Answered:
        headers = {ORGANISATION_HEADER: self.post.edge.organisation.id}
        return await self.api.local.ask(method, V1 + path, headers=headers, **given)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with serving(tmp_path) as api, way_back(tmp_path, store=api.store) as post:
        clients = []
        for org in (post.edge.organisation, post.org):
            _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
            clients.append(api.web.bearing(secret))
        yield House(api, post, *clients)


async def untied(house: House) -> Arrival:
    """A complaint about a mail of the second organisation that returns it without our token."""
    sent = await house.post.send(BOB)
    raw = sent.without_tokens().complaint().replace(b"\r\nSubject: ", f"\r\nX-Said: {SECRET}\r\nSubject: ".encode())
    return await house.post.bring(raw, to=FEEDBACK)


async def test_no_token_of_an_organisation_shows_it_by_any_route(house: House) -> None:
    arrival = await untied(house)
    assert (arrival.state, arrival.message) == (ArrivalState.UNRESOLVED, None)
    (entry,) = (await house.operator("/unresolved")).json["items"]
    assert (entry["reason"], entry["message"], entry["subject"], entry["sender"]) == ("unattributed", None, "", "")
    paths = [f"/arrivals/{arrival.id}", f"/arrivals/{arrival.id}/raw", f"/messages/{arrival.id}"]
    paths += [f"/messages/{arrival.id}/raw", f"/unresolved/{entry['id']}", "/arrivals/latest"]
    for client in (house.first, house.second):
        for path in paths:
            shown = await client.get(V1 + path)
            assert shown.status == 404 or arrival.id.encode() not in shown.body, path
            assert SECRET.encode() not in shown.body
        assert (await client.get(f"{V1}/unresolved")).json["items"] == []
        listed = await client.get(f"{V1}/messages")
        assert arrival.id.encode() not in listed.body
        for action, given in (("dismiss", {}), ("release", {}), ("file", {"json": {"create": "lead"}})):
            refused = await client.post(f"{V1}/unresolved/{entry['id']}/{action}", **given)
            assert refused.status == 404, (action, refused.body)
    assert await house.api.store.read(messages.of_arrival, arrival.org, arrival.id) == ()
    assert await house.post.is_balanced()


async def test_the_newest_arrival_is_looked_for_in_bounded_steps_however_many_are_hidden(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await untied(house)
    await untied(house)
    looked: list[object] = []
    newest = messages_received.arrivals.newest

    def counted(*asked: Any, **more: Any) -> Any:
        looked.append(more)
        return newest(*asked, **more)

    monkeypatch.setattr(messages_received, "_MOST_HIDDEN", 1)
    monkeypatch.setattr(messages_received.arrivals, "newest", counted)
    assert (await house.first.get(f"{V1}/arrivals/latest")).status == 404
    assert len(looked) == 2


async def test_the_operator_reads_it_releases_it_and_dismisses_it_but_files_it_on_nobody(house: House) -> None:
    arrival = await untied(house)
    raw = await house.operator(f"/arrivals/{arrival.id}/raw")
    assert SECRET.encode() in raw.body
    assert (await house.operator("/arrivals/latest")).json["id"] == arrival.id
    (entry,) = (await house.operator("/unresolved")).json["items"]
    filed = await house.operator(f"/unresolved/{entry['id']}/file", "POST", json={"create": "lead"})
    assert filed.status == 409, filed.body
    assert (await house.operator(f"/unresolved/{entry['id']}/release", "POST")).status == 204
    await house.post.worker.drain()
    (entry,) = (await house.operator("/unresolved")).json["items"]
    assert entry["reason"] == "unattributed"
    assert (await house.operator(f"/unresolved/{entry['id']}/dismiss", "POST")).status == 204
    (stands,) = await house.api.store.read(messages.of_arrival, arrival.org, arrival.id)
    for path in (f"/messages/{stands}/raw", f"/arrivals/{arrival.id}/raw", f"/messages/{arrival.id}"):
        assert (await house.first.get(V1 + path)).status == 404, path
    assert (await house.operator(f"/messages/{stands}/raw")).status == 200
    rerun = Rerun(
        house.api.store,
        house.api.application.bodies,
        house.api.clock,
        house.api.application.ids,
        service_domains=frozenset((BOUNCES,)),
    )
    assert [one async for one in rerun.run(arrival.org, since=arrival.received_at, apply=True)] == []
    assert await house.post.is_balanced()


async def test_it_is_hidden_while_it_is_not_judged_yet(house: House) -> None:
    answer = await house.post.offer(mail(cc=BOB), to=FEEDBACK)
    queue_id = next(word.strip(",") for word in answer.text.split() if word.startswith("Q"))
    for path in (f"/arrivals/{queue_id}", f"/arrivals/{queue_id}/raw"):
        assert (await house.first.get(V1 + path)).status == 404
        assert (await house.operator(path)).status == 200
    await house.post.worker.drain()


async def test_with_one_organisation_it_waits_on_its_list(tmp_path: Path) -> None:
    async with edge(tmp_path, bounce_domain=BOUNCES) as here:
        ids = IdFactory(here.clock.now)
        pipeline = Pipeline(
            here.store, here.bodies, here.clock, ids, resolver=None, service_domains=frozenset((BOUNCES,))
        )
        worker = FilingWorker(here.store, pipeline, Filing(), here.clock, ids, node=NodeId("test"), stopping=Stopping())
        async with connected(here.port()) as client:
            await client.ehlo()
            assert (await client.mail(FEEDBACK, mail(cc=BOB), sender="")).code == 250
        await worker.drain()
        (entry,) = await here.store.read(unresolved.list_open, here.organisation.id, nobodys=False)
        assert (entry.reason, entry.message is not None) == ("postmaster", True)
