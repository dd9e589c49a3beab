"""Every change of the API that names the version that was seen, on both databases.

PostgreSQL holds what was looked at still only for a transaction that asks for that first, before it reads anything.
"""

from __future__ import annotations

import re
from pathlib import Path

from mailrelay.model.organisation import Right
from mailrelay.store.base import Store
from tests.support import factory
from tests.support.clock import FakeClock
from tests.support.every_route import V1, World
from tests.support.http import Client, serving

_MADE = {
    "/users/{who}": ("/users", {"name": "Anna", "primary": "anna@example.org"}),
    "/organisation-addresses/{id}": ("/organisation-addresses", {"address": "info@example.org"}),
    "/mailing-lists/{name}": ("/mailing-lists", {"name": "news", "label": "News"}),
    "/tokens/{token}": ("/tokens", {"name": "t", "rights": ["read"]}),
    "/record-addresses/{number}": ("/record-addresses", {"record": "contact/1"}),
    "/suspensions/{scope}/{name}": ("/suspensions", {"scope": "domain", "name": "example.org"}),
    "/operations/{operation}": ("/operations", {"control": "retry", "selection": {"destination": "b.test"}}),
}
_THERE = {
    "/records/{module}/{id}": "/records/contact/1",
    "/modules/{name}": "/modules/contact",
    "/exclusions/{value}": "/exclusions/other.example",
    "/domains/{domain}": "/domains/example.net",
    "/suppressions/{address}": "/suppressions/bob@b.test",
    "/addresses/{address}": "/addresses/bob@b.test",
    "/consents/{address}": "/consents/bob@b.test",
}
_OF_MAIL = re.compile(r"/(messages|unresolved|schedules)/\{|/keys/\{|/attachments/\{|/smart-hosts/\{|/webhooks/\{")
"""What this test has none of: it is not there."""
_BODIES = {"PATCH /organisation": {"settings": {"tracking_host": "links.example.org"}}}  # which takes a lock


async def _things(admin: Client) -> dict[str, str]:
    """The paths of what there is, by how they are described."""
    for method, path, given in (
        ("PUT", "/records/contact/1", {"name": "Bob", "addresses": {"email": "bob@b.test"}}),
        ("PUT", "/exclusions/other.example", None),
        ("PUT", "/domains/example.net", None),
        ("PUT", "/consents/bob@b.test", {"given": True, "evidence": "said so"}),
        ("POST", "/suppressions", {"address": "bob@b.test"}),
    ):
        answer = await admin.ask(method, V1 + path, json=given)
        assert answer.status in (200, 201), (path, answer.body)
    there = dict(_THERE)
    for described, (path, given) in _MADE.items():
        answer = await admin.post(V1 + path, json=given)
        assert answer.status == 201, (path, answer.body)
        there[described] = answer.headers["Location"].removeprefix(V1)
    assert (await admin.post(f"{V1}{there['/users/{who}']}/dropboxes")).status == 201
    return there


async def test_a_change_of_what_is_otherwise_now_is_412(store: Store, tmp_path: Path, clock: FakeClock) -> None:
    async with serving(tmp_path, store=store, clock=clock) as api:
        org = await factory.org(api.store, api.clock, domains=("example.org",))
        _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
        admin = api.web.bearing(secret)
        there = await _things(admin)
        world = World((await admin.get(f"{V1}/openapi.json")).json, {})
        wrong, asked = [], 0
        for route in world.routes:
            headers = {one["name"] for one in route.operation.get("parameters", ()) if one["in"] == "header"}
            if "If-Match" not in headers:
                continue
            path = route.path
            for described, real in there.items():
                path = path.replace(described, real)
            sent = {"json": _BODIES[str(route)]} if str(route) in _BODIES else world.body(route)
            sent["headers"] = {**sent.get("headers", {}), "If-Match": '"old"'}
            if "Idempotency-Key" in headers:
                sent["headers"]["Idempotency-Key"] = path
            answer = await admin.ask(route.method, V1 + re.sub(r"[{}]", "", path), **sent)
            asked += 1
            expected = {404, 422} if _OF_MAIL.search(route.path) else {412}
            if answer.status not in expected and str(route) != "PUT /notices/settings":  # a user's own
                wrong.append(f"{route}: {answer.status} {answer.body.decode()}")
        assert not wrong, "\n".join(wrong)
        assert asked > 30
