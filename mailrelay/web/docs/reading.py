"""The API's description as pages need it: groups of operations with their fields, examples and a curl line each."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from mailrelay.web import words

_DEEPEST = 4
_IN_PATH = {"record": "17", "name": "tenant", "id": "ID"}
_STEP = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field of a body, or a parameter."""

    name: str
    depth: int
    type: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Content:
    """A body of one media type."""

    media_type: str
    fields: tuple[FieldRow, ...]
    example: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no error."""

    status: str
    description: str
    headers: tuple[FieldRow, ...]
    contents: tuple[Content, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as its section shows it."""

    id: str
    method: str
    path: str
    summary: str
    paragraphs: tuple[str, ...]
    local: bool
    parameters: tuple[FieldRow, ...]
    bodies: tuple[Content, ...]
    answers: tuple[Answer, ...]
    errors: tuple[tuple[str, str], ...]
    curl: str


@dataclass(frozen=True, slots=True)
class Group:
    """The operations of one tag."""

    name: str
    slug: str
    operations: tuple[Operation, ...]


def groups(document: Mapping[str, Any]) -> tuple[Group, ...]:
    """All operations of an OpenAPI document, by tag."""
    found: defaultdict[str, list[Operation]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found[operation["tags"][0]].append(_Reader(document).operation(path, method, operation))
    return tuple(Group(name, name.replace(" ", "-"), tuple(found[name])) for name in sorted(found))


class _Reader:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._schemas = document["components"]["schemas"]

    def operation(self, path: str, method: str, one: Mapping[str, Any]) -> Operation:
        bodies = tuple(self._contents(one.get("requestBody", {}).get("content", {})))
        good = [status for status in one["responses"] if status.isdigit() and int(status) < 400]
        bad = sorted(status for status in one["responses"] if status.isdigit() and int(status) >= 400)
        paragraphs = " ".join(one.get("description", "").split(" ")).split("\n\n")
        return Operation(
            id=one["operationId"],
            method=method.upper(),
            path=path,
            summary=one["summary"],
            paragraphs=tuple(" ".join(text.split()) for text in paragraphs if text.strip()),
            local="servers" in one,
            parameters=tuple(self._parameter(each) for each in one.get("parameters", ())),
            bodies=bodies,
            answers=tuple(self._answer(status, one["responses"][status]) for status in good),
            errors=tuple((status, one["responses"][status]["description"]) for status in bad),
            curl=_curl(path, method, bodies, self._asked(one), local="servers" in one),
        )

    def _asked(self, one: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a query must hold, with an example of each."""
        return {
            each["name"]: self._example(each["name"], each["schema"], 0)
            for each in one.get("parameters", ())
            if each["in"] == "query" and each.get("required")
        }

    def _parameter(self, one: Mapping[str, Any]) -> FieldRow:
        schema = one["schema"]
        said = one.get("description", "")
        if "default" in schema and schema["default"] not in ("", None):
            said += f" By default {json.dumps(schema['default'])}."
        name = f"{one['name']}" if one["in"] == "path" else f"{one['name']} ({one['in']})"
        return FieldRow(name, 0, self._type(schema), bool(one.get("required")), said)

    def _answer(self, status: str, one: Mapping[str, Any]) -> Answer:
        headers = tuple(
            FieldRow(name, 0, "text", False, header.get("description", ""))
            for name, header in one.get("headers", {}).items()
        )
        return Answer(status, one["description"], headers, tuple(self._contents(one.get("content", {}))))

    def _contents(self, content: Mapping[str, Any]) -> Iterator[Content]:
        for media_type, one in content.items():
            schema = one.get("schema", {})
            example = one.get("example")
            if example is None and "json" in media_type:
                example = self._example("", schema, 0)
            shown = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
            yield Content(media_type, tuple(self._rows(schema, 0)), "" if example is None else shown)

    def _rows(self, schema: Mapping[str, Any], depth: int) -> Iterator[FieldRow]:
        schema = self._whole(schema)
        if depth > _DEEPEST:
            return
        for each in (*schema.get("oneOf", ()), *schema.get("anyOf", ()), *schema.get("allOf", ())):
            yield from self._rows(each, depth)
        if "items" in schema:
            yield from self._rows(schema["items"], depth)
        for name, one in schema.get("properties", {}).items():
            said = one.get("description") or self._whole(one).get("description", "")
            yield FieldRow(name, depth, self._type(one), name in schema.get("required", ()), said)
            yield from self._rows(one, depth + 1)

    def _type(self, schema: Mapping[str, Any]) -> str:
        schema = self._whole(schema)
        choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
        if choices:
            return " or ".join(dict.fromkeys(self._type(one) for one in choices))
        if "enum" in schema:
            return " | ".join(str(one) for one in schema["enum"])
        if "const" in schema:
            return json.dumps(schema["const"])
        match schema.get("type"):
            case "array":
                return f"list of {self._type(schema.get('items', {}))}"
            case "string":
                return {"date-time": "time", "date": "day", "binary": "bytes"}.get(str(schema.get("format")), "text")
            case "integer":
                return "whole number"
            case "boolean":
                return "true or false"
            case None:
                return "anything"
            case kind:
                return str(kind)

    def _example(self, name: str, schema: Mapping[str, Any], depth: int) -> Any:
        schema = self._whole(schema)
        for given in ("example", "const"):
            if given in schema:
                return schema[given]
        if schema.get("examples"):
            return schema["examples"][0]
        if "enum" in schema:
            return schema["enum"][0]
        choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
        if choices:
            # Of an answer in lines each kind; of a value the first that it may be.
            return self._example(name, choices[0], depth)
        if name in words.EXAMPLES and schema.get("type") in ("string", None):
            return words.EXAMPLES[name]
        return self._made_up(schema, depth)

    def _made_up(self, schema: Mapping[str, Any], depth: int) -> Any:
        match schema.get("type"):
            case "object" if depth > _DEEPEST:
                return {}
            case "object":
                return {key: self._example(key, one, depth + 1) for key, one in schema.get("properties", {}).items()}
            case "array":
                return [] if depth > _DEEPEST else [self._example("", schema.get("items", {}), depth + 1)]
            case "integer" | "number":
                return schema.get("default") or int(schema.get("minimum", 1))
            case "boolean":
                return bool(schema.get("default", False))
            case "string":
                return {"date-time": "2026-12-01T08:00:00Z", "date": "2026-12-01"}.get(str(schema.get("format")), "…")
            case _:
                return None

    def _whole(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        named = str(schema.get("$ref", "")).rpartition("/")[2]
        found: Mapping[str, Any] = self._schemas.get(named, {}) if named else schema
        return found


def _curl(path: str, method: str, bodies: tuple[Content, ...], query: Mapping[str, Any], *, local: bool) -> str:
    """A command that works once its values are real ones."""
    known = {**words.EXAMPLES, **_IN_PATH}
    where = _STEP.sub(lambda step: str(known.get(step[1], step[1].upper())), path)
    there = f"http://{'localhost' if local else '127.0.0.1:8025'}{where}"
    if query and method != "get":
        there = f'"{there}?{urlencode(query)}"'
    parts = ["curl -sS"]
    if local:
        parts += ["--unix-socket data/mailrelay.sock", there]
    else:
        parts += ['-H "Authorization: Bearer $TOKEN"', there]
    if method == "get":
        asked = [f"--data-urlencode '{name}={value}'" for name, value in query.items()]
        return " ".join([*parts, *(["-G", *asked] if asked else [])])
    body = next((one for one in bodies if one.media_type == "application/json"), None)
    if body is not None:
        wanted = {row.name for row in body.fields if row.depth == 0 and row.required}
        example = json.loads(body.example)
        given = example
        if isinstance(example, dict):
            given = {key: value for key, value in example.items() if key in wanted} or dict([*example.items()][:1])
        parts.append("--json '" + json.dumps(given, ensure_ascii=False).replace("'", "\\u0027") + "'")
        return " ".join([*parts[:1], *(["-X", method.upper()] if method != "post" else []), *parts[1:]])
    if bodies:
        parts += [f'-H "Content-Type: {bodies[0].media_type}"', "--data-binary @file"]
    return " ".join([*parts[:1], "-X", method.upper(), *parts[1:]])
