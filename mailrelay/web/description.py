"""The API's description (OpenAPI 3.1), finished: headers, which errors each operation has, who may use it, and where what it made is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from mailrelay.web import problem, words
from mailrelay.web.once import PREFIX, REPLAYED, Making

_SOCKET = {
    "url": "http://localhost",
    "description": "The daemon's Unix socket: curl --unix-socket data/mailrelay.sock http://localhost/api/v1/…",
}
_ON_SOCKET = "Only on the daemon's Unix socket, without a token: whoever can open it is the operator."
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_TEXT = {"type": "string"}
_ETAG = {"description": "The version that is shown, for If-Match and If-None-Match.", "schema": _TEXT}
_LOCATION = {"description": "Where the new thing is.", "schema": _TEXT}
_WAS_REPLAYED = {"description": "`true` in the answer to a repeat, which did nothing.", "schema": _TEXT}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {**_TEXT, "maxLength": 2000},
    "description": "The ETag of what you have: 304 without a body when nothing changed since.",
}


def describe(app: FastAPI, routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The description of an application that has these routes below `/api/v1`."""
    described = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version=app.openapi_version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    described["components"]["schemas"]["Problem"] = problem.SCHEMA
    paths = described["paths"]
    for methods in paths.values():
        for method, operation in methods.items():
            if "security" not in operation:
                _for_the_operator(operation)
            _tagged(method, operation)
            for parameter in operation.get("parameters", ()):
                words.without_foreign_default(parameter["schema"])
            for status in _errors(method, operation):
                content = {problem.MEDIA_TYPE: {"schema": _PROBLEM}}
                operation["responses"][str(status)] = {"description": problem.TITLES[status], "content": content}
    for route in routes:
        if isinstance(route, APIRoute) and (making := _making(route)) is not None:
            (method,) = route.methods or {"POST"}
            _made(paths, paths[PREFIX + route.path_format][method.lower()], making)
    words.explain(described)
    return described


def _for_the_operator(operation: dict[str, Any]) -> None:
    operation["security"] = []
    operation["servers"] = [_SOCKET]
    operation["description"] = f"{operation['description']}\n\n{_ON_SOCKET}"


def _tagged(method: str, operation: dict[str, Any]) -> None:
    """Say of an answer in JSON that it has an ETag (`web.etag`)."""
    answer = operation["responses"].get("200", {})
    if method not in ("get", "put", "patch") or "application/json" not in answer.get("content", ()):
        return
    answer.setdefault("headers", {})["ETag"] = _ETAG
    if method == "get":
        operation.setdefault("parameters", []).append(_IF_NONE_MATCH)
        operation["responses"]["304"] = {"description": "Nothing changed.", "headers": {"ETag": _ETAG}}


def _making(route: APIRoute) -> Making | None:
    calls = (one.call for one in route.dependant.dependencies)
    return next((call for call in calls if isinstance(call, Making)), None)


def _made(paths: Mapping[str, Any], operation: dict[str, Any], making: Making) -> None:
    """Say where what was made is (`web.once`), and with which operation it is read."""
    status = next(one for one in ("201", "202", "200") if one in operation["responses"])
    answer = operation["responses"][status]
    headers = answer.setdefault("headers", {})
    headers |= {"Location": _LOCATION, REPLAYED: _WAS_REPLAYED}
    if making.tagged:
        headers["ETag"] = _ETAG
    steps = (PREFIX + making.location).split("/")
    for path, methods in paths.items():
        reads = path.split("/")
        if "get" not in methods or len(reads) != len(steps):
            continue
        given = dict(zip(reads, steps, strict=True))
        if all(read == step or (read.startswith("{") and step.startswith("{")) for read, step in given.items()):
            names = {read[1:-1]: _value(step[1:-1], operation) for read, step in given.items() if read.startswith("{")}
            link = {"operationId": methods["get"]["operationId"], "parameters": names}
            answer.setdefault("links", {})["made"] = {"description": "What was made.", **link}


def _value(name: str, operation: Mapping[str, Any]) -> str:
    in_path = any(one["name"] == name and one["in"] == "path" for one in operation.get("parameters", ()))
    return f"$request.path.{name}" if in_path else f"$response.body#/{name}"


def _errors(method: str, operation: dict[str, Any]) -> Iterator[int]:
    """The statuses, beside the usual, that an operation may answer with; any may answer 405 and its like too."""
    yield from (400, 403, 422, 500, 503)
    if operation["security"]:
        yield from (401, 429)
    if operation["security"] or method != "get" or any(one["in"] == "path" for one in operation.get("parameters", ())):
        yield 404
    if "requestBody" in operation:
        yield from (408, 413)
        if list(operation["requestBody"]["content"]) != ["application/json"]:
            yield 415
    if any(one["name"].lower() == "if-match" for one in operation.get("parameters", ())):
        yield 412
    if method != "get":
        yield from (409, 507)
