"""The API's description: what it says of errors, doors, streams, defaults and names, and that unknown parameters are errors."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import factory
from tests.support.http import Api, serving

V1 = "/api/v1"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as running:
        await factory.org(running.store, running.clock, domains=("example.org",))
        yield running


async def _operations(api: Api) -> Iterator[tuple[str, str, dict[str, Any]]]:
    paths = (await api.web.get(f"{V1}/openapi.json")).json["paths"]
    return ((method, path, one) for path, methods in paths.items() for method, one in methods.items())


async def test_each_operation_has_a_summary_of_its_own(api: Api) -> None:
    summaries = [one["summary"] for _, _, one in await _operations(api)]
    assert sorted(summaries) == sorted(set(summaries))
    assert all(" " in one and len(one) < 100 for one in summaries)


async def test_each_schema_has_a_name_of_its_own_and_not_that_of_its_file(api: Api) -> None:
    schemas = (await api.web.get(f"{V1}/openapi.json")).json["components"]["schemas"]
    assert [name for name in schemas if "__" in name] == []  # clients that are made from it have classes of these names


async def test_a_default_fits_its_own_pattern(api: Api) -> None:
    for _, path, one in await _operations(api):
        for parameter in one.get("parameters", ()):
            schema = parameter["schema"]
            if "default" in schema and "pattern" in schema:
                assert re.search(schema["pattern"], schema["default"]), (path, parameter)


async def test_each_answer_with_a_body_has_a_schema(api: Api) -> None:
    for method, path, one in await _operations(api):
        for status, answer in one["responses"].items():
            for kind, content in answer.get("content", {}).items():
                assert content.get("schema") or kind in ("message/rfc822", "text/vcard"), (method, path, status)
    streams = {
        path: one["responses"]["200"]["content"]["application/x-ndjson"]["schema"]["oneOf"]
        for _, path, one in await _operations(api)
        if "application/x-ndjson" in one["responses"].get("200", {}).get("content", {})
    }
    files = {"/records/bulk", "/suppressions/import", "/suppressions/export"}
    assert {path.removeprefix(V1) for path in streams} == {
        *files,
        "/rules/rerun",
        "/smtp/trace",
        "/tracking/rejudge",
        "/find/rebuild",
    }
    assert {"line", "because", "field"} == set(streams[f"{V1}/records/bulk"][1]["properties"])


async def test_the_errors_of_each_operation_are_named(api: Api) -> None:
    for method, path, one in await _operations(api):
        statuses = set(one["responses"])
        assert {"403", "422", "500", "503"} <= statuses, path
        assert ("401" in statuses) == bool(one["security"]), path
        assert ("507" in statuses) == (method != "get"), path
        assert ("413" in statuses) == ("requestBody" in one), path
        assert one["responses"]["503"]["content"]["application/problem+json"]["schema"]


async def test_what_is_the_operators_says_so(api: Api) -> None:
    found = {path.removeprefix(V1): one for _, path, one in await _operations(api) if not one["security"]}
    everywhere = "/installation/suspensions"
    one_everywhere = f"{everywhere}/{{scope}}/{{name}}"
    mine = {"/organisations", "/organisations/{id}", "/ledger", "/audit", "/queue/counts", "/shaping"}
    mine |= {everywhere, one_everywhere, f"{one_everywhere}/resume"}
    mine |= {
        "/tls/hosts",
        "/tls/hosts/{host}",
        "/tls/hosts/{host}/forget",
        "/tls/reports",
        "/tls/reports/{destination}",
        "/smtp/trace",
    }
    assert set(found) == mine
    for one in found.values():
        assert "Unix socket" in one["description"]
        assert "Unix socket" in one["servers"][0]["description"]


async def test_a_query_parameter_that_is_not_known_is_an_error(api: Api) -> None:
    answer = await api.local.get(f"{V1}/messages?adress=bob@b.test")
    assert answer.status == 422
    assert answer.json["detail"] == "adress: there is no such query parameter; there are address, after, limit"
    assert (await api.local.get(f"{V1}/ledger?x=1")).status == 422
    assert (await api.local.get(f"{V1}/messages?address=bob@b.test")).status == 200
    assert (await api.web.get(f"{V1}/messages?adress=bob@b.test")).status == 401


async def test_a_body_where_none_is_read_is_an_error(api: Api) -> None:
    answer = await api.local.get(f"{V1}/messages", json={"address": "bob@b.test"})
    assert answer.status == 422
    assert answer.json["detail"] == "body: nothing is read from a body here; leave it out"
    assert (await api.web.get(f"{V1}/messages", json={})).status == 401


async def test_values_that_are_wrong_are_told_in_our_words(api: Api) -> None:
    answer = await api.local.post(
        f"{V1}/users",
        json={"name": "", "primary": "a@example.org", "role": "king", "alternates": "x", "settings": 7},
    )
    assert {one["field"]: one["detail"] for one in answer.json["errors"]} == {
        "name": "must not be empty",
        "role": "must be 'administrator', 'user' or 'guest'",
        "alternates": "must be a list",
        "settings": "must be an object",
    }
    for query, said in (
        ("limit=x", "limit: must be a whole number"),
        ("limit=0", "limit: must be at least 1"),
        ("limit=5000", "limit: must be at most 1000"),
    ):
        assert (await api.local.get(f"{V1}/users?{query}")).json["detail"] == said
