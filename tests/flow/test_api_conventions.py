"""What a client may rely on at every path: creates once, changes by version, lists by page; walked over the whole description."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mailrelay.store import organisations
from tests.support import factory
from tests.support.http import Api, serving

V1 = "/api/v1"

_IN_OR_NOT = "says only whether it is one of them: nothing that somebody saw can be lost"
CHANGES_WITHOUT_IF_MATCH = {
    "PUT /users/{who}/sharing/records/{module}/{id}": _IN_OR_NOT,
    "DELETE /users/{who}/sharing/records/{module}/{id}": _IN_OR_NOT,
    "PUT /sharing/domains/{domain}": _IN_OR_NOT,
    "DELETE /sharing/domains/{domain}": _IN_OR_NOT,
    "POST /notices/read": "what was read stays read",
    "POST /notices/{seq}/read": "what was read stays read",
    "POST /find": "a question",
    "POST /find/rebuild": "makes the same of the same",
    "POST /tracking/rejudge": "makes the same of the same",
    "POST /webhooks/{webhook}/test": "tries, and changes nothing",
    "POST /webhooks/{webhook}/replay": "sends events again, each with the id that it had",
    "POST /webhooks/{webhook}/send-again": "sends events again, each with the id that it had",
    "POST /webhooks/{webhook}/calls/{seq}/send-again": "sends events again, each with the id that it had",
    "PUT /users/{who}/password": "nothing of a password is shown, so there is no version that was seen",
    "POST /records/bulk": "as many resources as the file has rows; to send it again changes nothing",
    "POST /suppressions/import": "as many resources as the file has rows; to send it again changes nothing",
    "POST /rules/rerun": "all stored mail; what people did stands",
    "POST /messages/{id}/answer": "sends a mail at most once within days to the same person",
    "POST /operations/plan": "counts, and changes nothing",
    "POST /smart-hosts/{smart_host}/test": "tries, and changes nothing",
    "POST /domains/{domain}/proof": "looks DNS up, and keeps what it said",
    "POST /smtp/trace": "talks to a server, and changes nothing here",
    "POST /tls/hosts/{host}/forget": "what is remembered comes back with the next mail",
}
LISTS_OF_A_FIXED_LENGTH = {
    "/schedules/presets": "one for each preset",
    "/quotas": "one for each kind of mail",
    "/queue/counts": "one for each status",
    "/ledger": "one for each channel",
    "/rules": "one for each rule of the release",
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as running:
        await factory.org(running.store, running.clock, domains=("example.org",))
        yield running


@pytest.fixture
async def described(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = (await api.web.get(f"{V1}/openapi.json")).json
    return found


def _operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path.removeprefix(V1), operation


def _headers(operation: dict[str, Any]) -> set[str]:
    return {one["name"].lower() for one in operation.get("parameters", ()) if one["in"] == "header"}


def _queries(operation: dict[str, Any]) -> set[str]:
    return {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}


def _makes(operation: dict[str, Any]) -> bool:
    return bool({"201", "202"} & set(operation["responses"]))


def _shown(described: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = operation["responses"]["200"]["content"]["application/json"]["schema"]
    while "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


async def test_every_create_takes_an_idempotency_key_and_says_where_the_new_thing_is(described: dict[str, Any]) -> None:
    made = {f"{method} {path}": one for method, path, one in _operations(described) if _makes(one)}
    assert len(made) > 8
    for name, one in made.items():
        assert "idempotency-key" in _headers(one), name
        answer = one["responses"].get("201") or one["responses"]["202"]
        assert "Location" in answer["headers"], name


async def test_every_change_takes_the_version_that_was_seen(described: dict[str, Any]) -> None:
    without = {
        f"{method} {path}"
        for method, path, one in _operations(described)
        if method != "GET" and not _makes(one) and not {"if-match", "idempotency-key"} & _headers(one)
    }
    assert without == set(CHANGES_WITHOUT_IF_MATCH)
    for method, path, one in _operations(described):
        assert ("412" in one["responses"]) == ("if-match" in _headers(one)), (method, path)


async def test_every_json_answer_to_get_has_a_version_and_every_list_is_a_page(described: dict[str, Any]) -> None:
    for method, path, one in _operations(described):
        if method != "GET" or "application/json" not in one["responses"]["200"].get("content", ()):
            continue
        assert "ETag" in one["responses"]["200"]["headers"], path
        assert "304" in one["responses"], path
        schema = _shown(described, one)
        if schema.get("type") == "array":
            assert path in LISTS_OF_A_FIXED_LENGTH
        if "items" in schema.get("properties", {}):
            assert {"after", "limit"} <= _queries(one), path
            assert "next" in schema["required"], path


async def test_what_was_made_is_read_by_the_link_of_its_answer(described: dict[str, Any]) -> None:
    ids = {one["operationId"] for _, _, one in _operations(described)}
    links = [
        link["operationId"]
        for _, _, one in _operations(described)
        for answer in one["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) >= 6
    assert set(links) <= ids


async def test_each_resource_shows_the_version_that_its_change_answered(api: Api) -> None:
    """PUT and PATCH answer with the ETag that GET then has; a GET that names it is 304."""
    made = await api.local.post(f"{V1}/users", json={"name": "Anna", "primary": "anna@example.org"})
    changes = (
        ("PATCH", "/organisation", {"name": "New"}),
        ("PATCH", f"/users/{made.json['id']}", {"name": "Anne"}),
        ("PUT", "/modules/tenant", {"label": "Tenants"}),
        ("PUT", "/exclusions/other.example", None),
        ("PUT", "/domains/example.net", None),
        ("PUT", "/records/contact/17", {"name": "Bob", "addresses": {"email": "bob@b.test"}}),
        ("PATCH", "/records/contact/17", {"fields": {"phone": "1"}}),
    )
    for method, path, given in changes:
        changed = await api.local.ask(method, V1 + path, json=given)
        assert changed.status == 200, (path, changed.body)
        known = {"If-None-Match": changed.headers["ETag"]}
        assert (await api.local.get(V1 + path, headers=known)).status == 304, path
        lost = await api.local.ask(method, V1 + path, json=given, headers={"If-Match": '"old"'})
        assert lost.status == 412, path
        kept = await api.local.ask(method, V1 + path, json=given, headers={"If-Match": changed.headers["ETag"]})
        assert kept.status == 200, path


async def test_put_only_makes_what_is_not_there_yet(api: Api) -> None:
    new = {"If-None-Match": "*"}
    for path, given in (("/modules/tenant", {"label": "T"}), ("/exclusions/a.example", None)):
        assert (await api.local.put(V1 + path, json=given, headers=new)).status == 200
        assert (await api.local.put(V1 + path, json=given, headers=new)).status == 412
        gone = await api.local.put(f"{V1}{path}x", json=given, headers={"If-Match": "*"})
        assert gone.status == 412


async def test_pages_go_on_where_they_were_whatever_is_added_and_removed_meanwhile(api: Api) -> None:
    for path, given, name in (
        ("/mailing-lists", lambda n: {"name": f"l{n}", "label": "L"}, "name"),
        ("/organisation-addresses", lambda n: {"address": f"a{n}@example.org"}, "id"),
        ("/records/contact", None, "ref"),
        ("/exclusions", None, "value"),
    ):

        async def make(number: int, path: str = path, given: Any = given) -> str:
            if given is not None:
                answer = await api.local.post(V1 + path, json=given(number))
                assert answer.status == 201, answer.body
                return answer.headers["Location"]
            own = f"{V1}{path}/{number}.example"
            answer = await api.local.put(own, json={"name": "B"} if "records" in path else None)
            assert answer.status == 200, answer.body
            return own

        made = [await make(number) for number in range(1, 8)]
        first = (await api.local.get(f"{V1}{path}?limit=3")).json
        whole = (await api.local.get(f"{V1}{path}")).json["items"]
        order = [one[name] for one in whole]
        where = {
            one[name]: place
            for one in whole
            for place in made
            if place.rpartition("/")[2] == str(one[name]).rpartition("/")[2]
        }
        for gone in (order[0], order[2], order[4]):  # seen, where the page ended, and not yet seen
            assert (await api.local.delete(where[gone])).status == 204
        await make(0)
        seen, after = [one[name] for one in first["items"]], first["next"]
        while after:
            page = (await api.local.get(f"{V1}{path}?limit=3&after={quote(after)}")).json
            seen, after = [*seen, *(one[name] for one in page["items"])], page["next"]
        stayed = [one for one in order if one != order[4]]
        assert [one for one in seen if one in order] == stayed, path
        assert len(seen) == len(set(seen)), path


async def test_what_was_seen_before_a_change_is_not_removed(api: Api) -> None:
    made = await api.local.post(f"{V1}/tokens", json={"name": "CRM", "rights": ["read"]})
    path = made.headers["Location"]
    assert (await api.local.delete(path, headers={"If-Match": '"x"'})).status == 412
    seen = (await api.local.get(path)).headers["ETag"]
    assert (await api.local.delete(path, headers={"If-Match": seen})).status == 204
    assert (await api.local.get(path)).json["revoked_at"]


async def test_a_repeat_does_not_show_a_secret_again(api: Api) -> None:
    given, key = {"name": "CRM", "rights": ["read"]}, {"Idempotency-Key": "k"}
    first = await api.local.post(f"{V1}/tokens", json=given, headers=key)
    again = await api.local.post(f"{V1}/tokens", json=given, headers=key)
    assert first.json["secret"]
    assert again.json == {**first.json, "secret": None}
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")


async def test_what_a_field_names_and_is_not_there_is_an_error_of_that_field(api: Api) -> None:
    (org,) = await api.store.read(organisations.list_organisations)
    anna = await factory.user(api.store, api.clock, org, "anna@example.org")
    await factory.record(api.store, api.clock, org, "contact/1")
    sent = await api.local.post(f"{V1}/messages", json={"from": "anna@example.org", "to": ["bob@b.test"], "text": "x"})
    assert (await api.local.put(f"{V1}/messages/{sent.json['id']}/links/contact/1")).status == 200
    move, nobody, none = f"/messages/{sent.json['id']}/links/move", "nobody@example.org", "contact/99"
    for method, path, given, field in (
        ("PATCH", f"/users/{anna.id}", {"settings": {"modules": ["lead", "nothing"]}}, "settings.modules[1]"),
        ("POST", "/tokens", {"name": "t", "rights": ["read"], "user": nobody}, "user"),
        ("POST", "/smart-hosts", {"scope": "user", "name": nobody, "host": "h.test", "auth": "none"}, "name"),
        ("POST", "/record-addresses", {"record": none}, "record"),
        ("POST", move, {"record": none, "to": "contact/1"}, "record"),
        ("POST", move, {"record": "contact/1", "to": none}, "to"),
        ("POST", f"/messages?user={nobody}", {"to": ["bob@b.test"], "text": "x"}, "user"),
        ("PATCH", "/records/contact/1", {"owner": nobody}, "owner"),
        ("GET", f"/events?user={nobody}", None, "user"),
        ("GET", f"/schedules?user={nobody}", None, "user"),
        ("GET", f"/unresolved?user={nobody}", None, "user"),
    ):
        answer = await api.local.ask(method, V1 + path, json=given)
        assert (answer.status, [one["field"] for one in answer.json.get("errors", ())]) == (422, [field]), path
    links = (await api.local.get(f"{V1}/messages/{sent.json['id']}/links")).json["items"]
    assert [(one["record"], one["removed_at"]) for one in links] == [("contact/1", None)]
