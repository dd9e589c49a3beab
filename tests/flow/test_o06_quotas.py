"""O6, O7, A12: over real HTTP and real SMTP at once, never one over; the same sentence; what is left is shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from mailrelay.config.schema import ListenerKind
from mailrelay.model.organisation import Right
from mailrelay.model.settings import OrganisationSettings, Plan
from mailrelay.store.base import Tx
from mailrelay.store.tables import delivery
from tests.support import factory
from tests.support.cli import Cli
from tests.support.clock import FakeClock
from tests.support.edge import MAIL, PASSWORD, Edge, edge
from tests.support.http import Answered, Api, Client, serving
from tests.support.smtp_client import connected

V1 = "/api/v1"
SENTENCE = (
    "The quota of 50 recipients of single mail a day has 2 left (48 are used), and this mail has 3 recipients; "
    "it begins anew at 2026-11-03 00:00 UTC (UTC+0000)"
)


@dataclass
class Place:
    api: Api
    edge: Edge
    client: Client
    cli: Cli

    async def send(self, *to: str, **more: Any) -> Answered:
        fields = {"from": "anna@example.com", "to": to or ("bob@customer.test",), "subject": "x", "text": "x"}
        return await self.client.post(f"{V1}/messages", json={**fields, **more})

    async def submit(self, *to: str, header: bytes = b"") -> Any:
        async with connected(self.edge.port(ListenerKind.SUBMISSION)) as client:
            await client.ehlo()
            await client.starttls()
            await client.ehlo()
            assert (await client.log_in("anna@example.com", PASSWORD)).code == 235
            return await client.mail(to or ("bob@customer.test",), header + MAIL)

    async def queued(self) -> int:
        def count(tx: Tx) -> int:
            return int(tx.execute(select(func.count()).select_from(delivery)).scalar_one())

        return await self.api.store.read(count)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    clock = FakeClock()
    settings = OrganisationSettings(plan=Plan.FREE)
    async with (
        serving(tmp_path, clock=clock) as api,
        edge(tmp_path / "blobs", clock=clock, settings=settings, store=api.store) as running,
    ):
        _, secret = await factory.api_token(api.store, clock, running.organisation, Right.ADMIN)
        yield Place(api, running, api.web.bearing(secret), Cli(api.server.unix_socket))


async def test_fault_a12_fifty_and_more_at_once_by_http_and_smtp_never_go_one_over(place: Place) -> None:
    over_http = [place.send(f"h{number}@customer.test") for number in range(35)]
    over_smtp = [place.submit(f"s{number}@customer.test") for number in range(35)]
    answers = await asyncio.gather(*over_http, *over_smtp)
    codes = [one.status if isinstance(one, Answered) else one.code for one in answers]
    assert codes.count(202) + codes.count(250) == 50
    assert codes.count(429) + codes.count(452) == 20
    assert await place.queued() == 50


async def test_fault_a12_the_refusal_says_the_same_by_http_and_smtp(place: Place) -> None:
    assert (await place.send(*(f"r{number}@customer.test" for number in range(48)))).status == 202
    three = [f"x{number}@customer.test" for number in range(3)]
    answer = await place.send(*three)
    assert answer.status == 429
    assert answer.json == {
        "type": "urn:mailrelay:problem:quota-spent",
        "title": "The day's quota is used up",
        "status": 429,
        "detail": SENTENCE,
        "kind": "single",
        "day": "2026-11-02",
        "limit": 50,
        "used": 48,
        "asked": 3,
        "resets_at": "2026-11-03T00:00:00+00:00",
    }
    assert int(answer.headers["Retry-After"]) == 14.5 * 3600
    reply = await place.submit(*three)
    assert str(reply) == f"452 4.7.1 {SENTENCE}"
    assert await place.queued() == 48
    assert (await place.submit(*three[:2])).code == 250
    # When it says that it begins anew, it does.
    place.api.clock.advance(timedelta(hours=14.5))
    assert (await place.submit(*three)).code == 250


async def test_mass_mail_over_smtp_is_counted_apart(place: Place) -> None:
    assert (await place.send(*(f"r{number}@customer.test" for number in range(50)))).status == 202
    assert (await place.submit()).code == 452
    assert (await place.submit(header=b"X-Mailrelay-Job: spring\r\n")).code == 250
    assert (await place.send(job="spring")).status == 202
    shown = {one["kind"]: (one["used"], one["left"]) for one in (await place.client.get(f"{V1}/quotas")).json}
    assert shown == {"single": (50, 0), "mass": (2, 248)}


async def test_what_is_left_is_shown_where_the_organisation_is(place: Place) -> None:
    await place.client.patch(f"{V1}/organisation", json={"time_zone": "Asia/Tokyo"})
    await place.send("a@customer.test", "b@customer.test")
    (mass, single) = sorted((await place.client.get(f"{V1}/quotas")).json, key=lambda one: str(one["kind"]))
    assert single == {
        "kind": "single",
        "day": "2026-11-02",
        "time_zone": "Asia/Tokyo",
        "limit": 50,
        "used": 2,
        "left": 48,
        "resets_at": "2026-11-03T00:00:00+09:00",
        "enforced": True,
    }
    assert (mass["limit"], mass["used"]) == (250, 0)
    said = await place.cli("quota", "show")
    assert said.out.splitlines()[1].split() == ["single", "50", "2", "48", "2026-11-03", "00:00", "Asia/Tokyo"]
    place.api.clock.advance(timedelta(days=1))
    await place.send(job="j")
    history = await place.client.get(f"{V1}/quotas/history")
    assert [(one["day"], one["kind"], one["used"]) for one in history.json["items"]] == [
        ("2026-11-03", "mass", 1),
        ("2026-11-02", "single", 2),
    ]
    page = (await place.client.get(f"{V1}/quotas/history", params={"limit": 1})).json
    assert (await place.client.get(f"{V1}/quotas/history", params={"after": page["next"]})).json["items"] == [
        {"kind": "single", "day": "2026-11-02", "used": 2}
    ]
    assert (await place.client.get(f"{V1}/quotas/history", params={"after": "soon"})).status == 422
    assert "2026-11-03  mass    1" in (await place.cli("quota", "history")).out


async def test_nothing_sent_is_said_so(place: Place) -> None:
    assert (await place.cli("quota", "history")).out == "Nothing was counted yet.\n"


async def test_users_and_the_plan_make_the_limit(place: Place) -> None:
    async def limits() -> list[int]:
        return [one["limit"] for one in (await place.client.get(f"{V1}/quotas")).json]

    assert await limits() == [50, 250]
    for number in range(4):
        more = ("--unconfirmed",) if not number else ()
        await place.cli.json("user", "add", "--name", "N", "--address", f"n{number}@example.com", *more)
    assert await limits() == [200, 250]
    await place.cli.json("user", "change", "n0@example.com", "--confirmed")
    assert await limits() == [200, 250]
    await place.cli.json("organisation", "set", "plan=paid", "mass_quota=1000", "mass_add_on=1250")
    assert await limits() == [1500, 2250]
    shown = await place.cli.json("user", "change", "n0@example.com", "--unconfirmed")
    assert shown["confirmed"] is False
    assert (await place.cli("user", "show", "n0@example.com")).out.count("does not count for the quota") == 1
    assert await limits() == [1200, 2250]


@pytest.mark.parametrize(
    ("settings", "because"),
    [
        ({"mass_quota": 300}, "must be 250, 500 or 1000"),
        ({"mass_quota": 1000, "mass_add_on": 1251}, "goes up to 2250 in all"),
        ({"mass_add_on": -1}, "must be at least 0"),
    ],
)
async def test_a_mass_quota_that_no_plan_has_is_refused(place: Place, settings: dict[str, int], because: str) -> None:
    answer = await place.client.patch(f"{V1}/organisation", json={"settings": settings})
    assert answer.status == 422
    assert because in json.dumps(answer.json)
