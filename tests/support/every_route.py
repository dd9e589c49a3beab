"""Every route of the API's description, filled with what there is: for tests that ask all of them on behalf of somebody.

A new route whose path, query or body the walk cannot fill fails it with a sentence that says what to add to `NAMES`, `BODIES` or
`World.things`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.http import Answered, Client

V1 = "/api/v1"
_PARAMETER = re.compile(r"\{(\w+)\}")
_STREAM_SECONDS = 0.2


class Kind(Enum):
    """What a path parameter names."""

    PRIVATE = "somebody's mail, or part of it"
    OURS = "a thing of the organisation, by an id that no other has"
    NAME = "a word that means something in each organisation"


NAMES: dict[str, Kind] = {
    # `the last word before it/{its name}`; World.things has what there is by the same key.
    "addresses/{address}": Kind.NAME,
    "arrivals/{id}": Kind.PRIVATE,
    "attachments/{attachment}": Kind.PRIVATE,
    "attachments/{file}": Kind.NAME,
    "calls/{seq}": Kind.NAME,
    "consents/{address}": Kind.NAME,
    "domains/{domain}": Kind.NAME,
    "dropboxes/{dropbox}": Kind.OURS,
    "exclusions/{value}": Kind.NAME,
    "keys/{selector}": Kind.NAME,
    "links/{module}": Kind.NAME,
    "links/{record}": Kind.NAME,
    "mailing-lists/{name}": Kind.NAME,
    "messages/{id}": Kind.PRIVATE,
    "modules/{name}": Kind.NAME,
    "notices/{seq}": Kind.PRIVATE,
    "operations/{operation}": Kind.OURS,
    "organisation-addresses/{id}": Kind.OURS,
    "parts/{part}": Kind.NAME,
    "queue/{delivery}": Kind.PRIVATE,
    "record-addresses/{number}": Kind.OURS,
    "records/{id}": Kind.NAME,  # the CRM's own: each organisation may have its contact/1
    "records/{module}": Kind.NAME,
    "schedules/{schedule}": Kind.PRIVATE,
    "smart-hosts/{smart_host}": Kind.OURS,
    "suppressions/{address}": Kind.NAME,
    "suspensions/{name}": Kind.NAME,
    "suspensions/{scope}": Kind.NAME,
    "tokens/{token}": Kind.OURS,
    "unresolved/{id}": Kind.PRIVATE,
    "users/{who}": Kind.OURS,
    "webhooks/{webhook}": Kind.OURS,
}

BODIES: dict[str, Any] = {
    # `METHOD /path as described`: where what the schema says is not enough.
    "POST /find": {"q": "contacts"},
    "POST /messages": {"to": ["carl@elsewhere.test"], "subject": "Hello", "text": "Hello"},
    "PUT /schedules/{schedule}": {"to": ["carl@elsewhere.test"], "subject": "Hello", "text": "Hello"},
    "POST /schedules/{schedule}/move": {"at": "2026-12-24T08:00"},
    "POST /messages/{id}/answer": {"text": "Thank you"},
    "POST /messages/{id}/links/move": {"record": "contact/1", "to": "contact/2"},
    "POST /unresolved/{id}/file": {"records": ["contact/1"]},
    "POST /operations": {"control": "hold", "everything": True},
    "POST /operations/plan": {"control": "hold", "everything": True},
}
READS = frozenset({"POST /find", "POST /operations/plan"})
"""Routes that change nothing although they are no GET."""
LARGE_FILES = (
    "text/csv",
    "application/x-ndjson",
    "application/ndjson",
    "message/rfc822",
    "text/plain",
    "application/octet-stream",
)


@dataclass(frozen=True)
class Route:
    """An operation of the description. `path` is as described, without the version."""

    method: str
    path: str
    operation: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """The keys of its path parameters, in order. Fails the test for one that nobody has named."""
        return tuple(self._key(name) for name in _PARAMETER.findall(self.path))

    @property
    def kinds(self) -> set[Kind]:
        """What its path parameters name."""
        return {NAMES[key] for key in self.parameters}

    def _key(self, name: str) -> str:
        before = self.path.partition("{" + name + "}")[0].rstrip("/")
        word = next(part for part in reversed(before.split("/")) if "{" not in part)
        key = f"{word}/{{{name}}}"
        if key not in NAMES:
            pytest.fail(f'{self}: say in NAMES of tests/support/every_route.py what "{key}" names')
        return key


@dataclass
class World:
    """What there is: the description, and by the key of a parameter the things that it may name."""

    description: Mapping[str, Any]
    things: dict[str, list[str]]
    routes: list[Route] = field(init=False)

    def __post_init__(self) -> None:
        self.routes = [
            Route(method.upper(), path.removeprefix(V1), operation)
            for path, methods in self.description["paths"].items()
            for method, operation in methods.items()
            if operation["security"]  # else it is the operator's, on the Unix socket, who sees everything
        ]

    def filled(self, route: Route, *, missing: bool = False) -> Iterator[str]:
        """The paths of a route, one for each thing that its most telling parameter may name, the first of all others.

        With `missing` those things are changed into ones that there are not.
        """
        keys = route.parameters
        for key in keys:
            if not self.things.get(key):
                pytest.fail(f"{route}: the world has nothing for {key}; add it to World.things")
        first = {key: self.things[key][0] for key in keys}
        telling = next((key for key in keys if NAMES[key] is Kind.PRIVATE), keys[0] if keys else None)
        for thing in self.things[telling] if telling is not None else [""]:
            named = {**first, **({telling: thing} if telling is not None else {})}
            names = iter(keys)

            def fill(_: re.Match[str], names: Iterator[str] = names, named: dict[str, str] = named) -> str:
                key = next(names)
                value = named[key]
                if missing and NAMES[key] is not Kind.NAME:
                    value = not_there(value)
                return quote(value, safe="@")

            yield V1 + _PARAMETER.sub(fill, route.path)

    def body(self, route: Route) -> dict[str, Any]:
        """The keyword arguments of a request whose body the route takes."""
        described = route.operation.get("requestBody")
        if described is None:
            return {}
        if str(route) in BODIES:
            return {"json": BODIES[str(route)]}
        content = described["content"]
        if "application/json" in content:
            return {"json": self._example(content["application/json"]["schema"], str(route))}
        kind = next((one for one in LARGE_FILES if one in content), None)
        if kind is None:
            pytest.fail(f"{route} takes {sorted(content)}: say in tests/support/every_route.py what to send")
        return {"data": b"\r\n", "headers": {"Content-Type": kind}}

    def _example(self, schema: Mapping[str, Any], route: str) -> Any:
        """The least that the schema allows."""
        if "$ref" in schema:
            return self._example(self.description["components"]["schemas"][schema["$ref"].rpartition("/")[2]], route)
        if "examples" in schema:
            return schema["examples"][0]
        if "default" in schema or "const" in schema:
            return schema.get("const", schema.get("default"))
        if "enum" in schema:
            return schema["enum"][0]
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                return self._example(schema[several][0], route)
        match schema.get("type"):
            case "object" | None:
                known = schema.get("properties", {})
                return {name: self._example(known[name], route) for name in schema.get("required", ())}
            case "array":
                return [self._example(schema["items"], route)] * schema.get("minItems", 0)
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return False
            case "string":
                return "x" * max(schema.get("minLength", 1), 1)
            case other:
                pytest.fail(f"{route} takes a {other}: say in tests/support/every_route.py what to send")


def not_there(id_: str) -> str:
    """An id of the same form that there is not."""
    return str(int(id_) + 1_000_000) if id_.isdigit() else id_[:-4] + "ZZZZ"


async def asked(client: Client, route: Route, path: str, sent: Mapping[str, Any]) -> Answered:
    """The answer of a route; of one that streams without an end, what comes at once."""
    try:
        async with asyncio.timeout(_STREAM_SECONDS if _streams(route) else 30):
            return await client.ask(route.method, path, **sent)
    except TimeoutError:
        if not _streams(route):
            pytest.fail(f"{route.method} {path} does not answer")
        return Answered(200, {}, await client.beginning(route.method, path, seconds=_STREAM_SECONDS, **sent))


def _streams(route: Route) -> bool:
    answers = route.operation["responses"].values()
    return any("text/event-stream" in answer.get("content", {}) for answer in answers)
