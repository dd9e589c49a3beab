"""The pages that explain the API: whole, without anything from elsewhere; and a description that leaves nothing unsaid."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.support.http import Api, serving

V1 = "/api/v1"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as running:
        yield running


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.links += [value for name in ("href", "src") if (value := given.get(name))]
        if given.get("id"):
            self.ids.add(str(given["id"]))
        assert not any(name.startswith("on") or name == "style" for name in given), given


def _seen(body: bytes) -> _Seen:
    found = _Seen()
    found.feed(body.decode())
    return found


async def test_every_operation_is_explained_on_pages_that_load_nothing(api: Api) -> None:
    described = (await api.web.get(f"{V1}/openapi.json")).json
    index = await api.web.get(f"{V1}/docs")
    assert index.status == 200
    policy = index.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    start = _seen(index.body)
    pages = {link for link in start.links if "#" not in link and "/docs/" in link}
    shown: set[str] = set()
    for page in pages:
        answer = await api.web.get(page)
        assert answer.status == 200, page
        seen = _seen(answer.body)
        assert not seen.tags & {"script", "img", "link", "iframe", "form", "object"}
        assert all(link.startswith(("#", f"{V1}/")) for link in seen.links), page
        shown |= {f"{page}#{one}" for one in seen.ids}
        assert b'name="viewport"' in answer.body
    assert {link for link in start.links if "#" in link} <= shown
    operations = sum(len(methods) for methods in described["paths"].values())
    assert len(shown) == operations
    assert (await api.web.get(f"{V1}/docs/nothing")).status == 404


async def test_the_root_says_where_things_are(api: Api) -> None:
    where = (await api.web.get("/")).json
    for name in ("docs", "openapi"):
        assert (await api.web.get(where[name])).status == 200


def _unsaid(schema: Any, where: str) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from _unsaid(one, where)
    if not isinstance(schema, dict):
        return
    for name, one in schema.get("properties", {}).items():
        if not one.get("description"):
            yield f"{where}.{name}"
        yield from _unsaid(one, f"{where}.{name}")
    for inner in ("items", "anyOf", "oneOf", "allOf", "additionalProperties"):
        yield from _unsaid(schema.get(inner), where)


async def test_the_description_is_valid_and_leaves_nothing_unsaid(api: Api) -> None:
    described = (await api.web.get(f"{V1}/openapi.json")).json
    validate(described)
    unsaid = [one for name, schema in described["components"]["schemas"].items() for one in _unsaid(schema, name)]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            unsaid += [name] if not operation.get("description") else []
            unsaid += [f"{name} {one['name']}" for one in operation.get("parameters", ()) if not one.get("description")]
            for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
                for content in holder.get("content", {}).values():
                    unsaid += _unsaid(content.get("schema"), name)
    assert unsaid == []  # say it in the model, or in mailrelay/web/words.py


async def test_a_curl_line_says_what_its_query_must_hold(api: Api) -> None:
    described = (await api.web.get(f"{V1}/openapi.json")).json
    needed = {
        (method, path): {
            one["name"] for one in operation.get("parameters", ()) if one["in"] == "query" and one["required"]
        }
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    assert needed["get", f"{V1}/find"] == {"q"}
    pages = {
        slug: unescape((await api.web.get(f"{V1}/docs/{slug}")).body.decode()) for slug in ("find", "route", "rules")
    }
    assert "/api/v1/find -G --data-urlencode 'q=contacts where opened within 3 days'<" in pages["find"]
    assert '/api/v1/rules/rerun?since=7d"<' in pages["rules"]
    for names, page in ((needed["get", f"{V1}/route"], pages["route"]), (needed["get", f"{V1}/find"], pages["find"])):
        assert all(f"--data-urlencode '{name}=" in page for name in names)
    # An example of a number is one that may be sent.
    assert '"limit": 50' in pages["find"]


async def test_a_page_names_no_secret_and_no_placeholder(api: Api) -> None:
    body = (await api.web.get(f"{V1}/docs/tokens")).body.decode()
    assert re.search(r"curl -sS .*POST|--json", body)
    assert "{" not in "".join(re.findall(r"http://127\.0\.0\.1:8025\S+", body))
