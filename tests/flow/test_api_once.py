"""What every create and every change of the API keeps to: once by its key, and never over what somebody else changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailrelay.model.organisation import Right, Role
from mailrelay.store import organisations
from tests.support import factory
from tests.support.answers import Zone
from tests.support.http import Api, ZoneResolver, serving

V1 = "/api/v1"
KEY = {"Idempotency-Key": "a-first-key"}
ANNA = {"name": "Anna", "primary": "anna@example.org"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as running:
        await factory.org(running.store, running.clock, domains=("example.org",))
        yield running


async def test_the_same_key_makes_one_thing_and_is_answered_the_same(api: Api) -> None:
    first = await api.local.post(f"{V1}/users", json=ANNA, headers=KEY)
    again = await api.local.post(f"{V1}/users", json=ANNA, headers=KEY)
    assert (first.status, again.status) == (201, 201)
    assert first.json == again.json
    assert first.headers["Location"] == again.headers["Location"] == f"{V1}/users/{first.json['id']}"
    assert first.headers["ETag"] == again.headers["ETag"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len((await api.local.get(f"{V1}/users")).json["items"]) == 1


async def test_many_at_the_same_moment_make_one_thing(api: Api) -> None:
    answers = await asyncio.gather(*(api.local.post(f"{V1}/users", json=ANNA, headers=KEY) for _ in range(8)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1


async def test_the_same_key_for_something_else_is_409(api: Api) -> None:
    await api.local.post(f"{V1}/users", json=ANNA, headers=KEY)
    other = await api.local.post(f"{V1}/users", json={**ANNA, "name": "Berta"}, headers=KEY)
    assert other.status == 409
    assert "take a new key" in other.json["detail"]
    organisation = await api.local.post(f"{V1}/tokens", json={"name": "t", "rights": ["read"]}, headers=KEY)
    assert organisation.status == 409


async def test_a_key_is_its_owners_and_tells_nobody_else_anything(api: Api) -> None:
    (org,) = await api.store.read(organisations.list_organisations)
    anna = await factory.user(api.store, api.clock, org, "anna@example.org", role=Role.ADMINISTRATOR)
    made = []
    for number in range(2):
        _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
        new = {**ANNA, "primary": f"{number}@example.org"}
        made.append(await api.web.bearing(secret).post(f"{V1}/users", json=new, headers=KEY))
    assert [one.status for one in made] == [201, 201]
    assert made[0].json["id"] != made[1].json["id"]

    # Who asks on a user's behalf with fewer rights is not given what was answered to more.
    _, all_ = await factory.api_token(api.store, api.clock, org, Right.ADMIN, on_behalf_of=anna)
    _, sends = await factory.api_token(api.store, api.clock, org, Right.READ, Right.SEND, on_behalf_of=anna)
    await factory.record(api.store, api.clock, org, "contact/1")
    given = {"record": "contact/1"}
    assert (await api.web.bearing(all_).post(f"{V1}/record-addresses", json=given, headers=KEY)).status == 201
    fewer = await api.web.bearing(sends).post(f"{V1}/record-addresses", json=given, headers=KEY)
    assert (fewer.status, "take a new key" in fewer.json["detail"]) == (409, True)
    assert "Idempotency-Replayed" not in fewer.headers


async def test_what_failed_may_be_sent_again_with_its_key(api: Api) -> None:
    refused = await api.local.post(f"{V1}/users", json={**ANNA, "settings": {"modules": ["nothing"]}}, headers=KEY)
    assert refused.status == 422
    assert (await api.local.post(f"{V1}/users", json=ANNA, headers=KEY)).status == 201


async def test_a_repeat_is_answered_the_same_also_when_what_it_names_is_gone_from_dns(tmp_path: Path) -> None:
    names = {("A", "crm.b.test"): "9.9.9.9", ("A", "smtp.b.test"): "9.9.9.9"}
    zone = Zone(names)
    async with serving(tmp_path, resolver=ZoneResolver(lambda question: zone(question))) as api:
        org = await factory.org(api.store, api.clock, domains=("example.org",))
        anna = await factory.user(api.store, api.clock, org, "anna@example.org")
        for path, given in (
            ("/webhooks", {"url": "https://crm.b.test/hook"}),
            ("/smart-hosts", {"scope": "user", "name": anna.id, "host": "smtp.b.test", "auth": "none"}),
        ):
            zone = Zone(names)
            first = await api.local.post(f"{V1}{path}", json=given, headers={"Idempotency-Key": path})
            assert first.status == 201, first.body
            zone = Zone({})
            again = await api.local.post(f"{V1}{path}", json=given, headers={"Idempotency-Key": path})
            assert (again.status, again.json["id"]) == (201, first.json["id"])
            assert (await api.local.post(f"{V1}{path}", json=given)).status == 422


@pytest.mark.parametrize("key", ["", "a key", "x" * 201])
async def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    answer = await api.local.post(f"{V1}/users", json=ANNA, headers={"Idempotency-Key": key})
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "Idempotency-Key"


async def test_what_is_shown_has_a_tag_and_is_not_sent_twice(api: Api) -> None:
    made = await api.local.post(f"{V1}/users", json=ANNA)
    path = made.headers["Location"]
    shown = await api.local.get(path)
    assert shown.headers["ETag"] == made.headers["ETag"]
    for known in (shown.headers["ETag"], f'"x", W/{shown.headers["ETag"]}', "*"):
        same = await api.local.get(path, headers={"If-None-Match": known})
        assert (same.status, same.body) == (304, b"")
        assert same.headers["ETag"] == shown.headers["ETag"]
    assert (await api.local.get(path, headers={"If-None-Match": '"x"'})).status == 200


async def test_what_changed_since_it_was_seen_is_left_alone(api: Api) -> None:
    made = await api.local.post(f"{V1}/users", json=ANNA)
    path, tag = made.headers["Location"], made.headers["ETag"]
    changed = await api.local.patch(path, json={"name": "Anne"}, headers={"If-Match": tag})
    assert changed.status == 200
    assert changed.headers["ETag"] == (await api.local.get(path)).headers["ETag"] != tag
    lost = await api.local.patch(path, json={"name": "Ann"}, headers={"If-Match": tag})
    assert lost.status == 412
    assert lost.json["type"] == "urn:mailrelay:problem:outdated"
    assert (await api.local.get(path)).json["name"] == "Anne"
    for now in (f'"x", {changed.headers["ETag"]}', "*"):
        assert (await api.local.patch(path, json={"name": "Anne"}, headers={"If-Match": now})).status == 200
    weak = await api.local.patch(path, json={}, headers={"If-Match": f"W/{changed.headers['ETag']}"})
    assert weak.status == 412
    assert (await api.local.patch(path, json={}, headers={"If-Match": "abc"})).status == 422


async def test_of_many_who_saw_the_same_one_changes_it(api: Api) -> None:
    made = await api.local.post(f"{V1}/users", json=ANNA)
    seen = {"If-Match": made.headers["ETag"]}
    changes = (api.local.patch(made.headers["Location"], json={"name": f"A{n}"}, headers=seen) for n in range(8))
    statuses = sorted(answer.status for answer in await asyncio.gather(*changes))
    assert statuses == [200, *[412] * 7]
