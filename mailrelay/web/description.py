"""The API's description (OpenAPI 3.1), finished: which errors each operation has, and who may use it without a token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mailrelay.web import problem

_SOCKET = {
    "url": "http://localhost",
    "description": "The daemon's Unix socket: curl --unix-socket data/mailrelay.sock http://localhost/api/v1/…",
}
_ON_SOCKET = "Only on the daemon's Unix socket, without a token: whoever can open it is the operator."
_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of all its routes."""
    described = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version=app.openapi_version,
        description=app.description,
        routes=app.routes,
    )
    described["components"]["schemas"]["Problem"] = problem.SCHEMA
    for methods in described["paths"].values():
        for method, operation in methods.items():
            if "security" not in operation:
                _for_the_operator(operation)
            for status in _errors(method, operation):
                content = {problem.MEDIA_TYPE: {"schema": _PROBLEM}}
                operation["responses"][str(status)] = {"description": problem.TITLES[status], "content": content}
    return described


def _for_the_operator(operation: dict[str, Any]) -> None:
    operation["security"] = []
    operation["servers"] = [_SOCKET]
    operation["description"] = f"{operation['description']}\n\n{_ON_SOCKET}"


def _errors(method: str, operation: dict[str, Any]) -> Iterator[int]:
    """The statuses, beside the usual, that an operation may answer with; any may answer 405 and its like too."""
    yield from (400, 403, 422, 500, 503)
    if operation["security"]:
        yield 401
    if operation["security"] or method != "get" or any(one["in"] == "path" for one in operation.get("parameters", ())):
        yield 404
    if "requestBody" in operation:
        yield from (408, 413)
        if list(operation["requestBody"]["content"]) != ["application/json"]:
            yield 415
        if "message/rfc822" in operation["requestBody"]["content"]:
            yield 429
    if any(one["name"] == "if-match" for one in operation.get("parameters", ())):
        yield from (412, 429)
    if method != "get":
        yield from (409, 507)
