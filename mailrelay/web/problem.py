"""Errors as RFC 9457 problem details; a field that is wrong is named as the caller wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mailrelay import log
from mailrelay.errors import (
    Fatal,
    Invalid,
    MailrelayError,
    NotAuthenticated,
    QuotaSpent,
    Suppressed,
    TooLarge,
    TooMany,
    TooManyTries,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"
SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "One sentence for a person."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
                "required": ["field", "detail"],
            },
        },
    },
    "required": ["type", "title", "status", "detail"],
}
"""What every error answers, for the API's description; some have further members (`limit`, `size`, `since`, …)."""
_TYPE = "urn:mailrelay:problem:"
_RETRY_AFTER = 5
_PROBLEMS = {
    400: ("malformed", "The request cannot be read"),
    401: ("not-authenticated", "Say who you are"),
    403: ("not-permitted", "Not permitted"),
    404: ("unknown", "There is no such thing"),
    405: ("method", "This cannot be done here"),
    406: ("media-type", "No such form"),
    408: ("too-slow", "The request came too slowly"),
    409: ("conflict", "Conflict"),
    412: ("outdated", "It changed meanwhile"),
    413: ("too-large", "Too large"),
    415: ("media-type", "No such form"),
    422: ("invalid", "A value is wrong"),
    429: ("quota-spent", "The day's quota is used up"),
    500: ("internal", "Something went wrong here"),
    503: ("unavailable", "Not now"),
    507: ("disk-full", "No space"),
}
_OTHER_TITLES = {"too-many-tries": "Too many wrong tokens"}
TITLES = {status: title for status, (_, title) in _PROBLEMS.items()} | {
    429: "Too much for today, or too many wrong tokens"
}
"""What each status means here."""
_SENTENCES = {
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "has a character that cannot stand here, or another form than it should have",
    "string_type": "must be text",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "mapping_type": "must be an object",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}
"""Our words for what pydantic finds; its own speak of strings and dictionaries, and show regular expressions."""
_ONE_LINE = r"^[^\x00-\x1f\x7f]"
_REQUEST_PARTS = frozenset({"body", "query", "path", "header", "cookie"})


def response(
    status: int,
    detail: str,
    *,
    problem: str = "",
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> Response:
    """A problem as an answer; `members` are its extension members."""
    name, title = _PROBLEMS.get(status, ("refused", "Refused"))
    title = _OTHER_TITLES.get(problem, title)
    body = {"type": _TYPE + (problem or name), "title": title, "status": status, "detail": detail, **members}
    return Response(
        json.dumps(body, ensure_ascii=False).encode(),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def of_error(error: MailrelayError) -> Response:
    """One of our own errors: its sentence, and its figures where it has some."""
    members: dict[str, object] = {}
    headers: dict[str, str] = {}
    match error:
        case Invalid():
            members["errors"] = [{"field": error.path, "detail": error.because}]
        case TooLarge():
            members |= {"limit": error.limit, "size": error.size}
        case TooMany():
            members |= {"limit": error.limit, "count": error.count}
        case QuotaSpent():
            members |= {
                "kind": error.kind,
                "day": error.day.isoformat(),
                "limit": error.limit,
                "used": error.used,
                "asked": error.asked,
                "resets_at": error.resets_at.isoformat(),
            }
            if error.retry_after is not None:
                headers["Retry-After"] = str(error.retry_after)
        case TooManyTries():
            headers["Retry-After"] = str(error.retry_after)
        case Suppressed():
            members |= {"address": error.address, "reason": error.reason, "since": error.since.isoformat()}
            members |= {"list": error.list} if error.list else {}
        case Unavailable():
            headers["Retry-After"] = str(_RETRY_AFTER)
        case Fatal():
            # D04, D09: it must stop, or has begun to, and is started anew; what it says of itself is for the log alone.
            again = {"Retry-After": str(_RETRY_AFTER)}
            return response(503, "The store has failed; try again later", headers=again)
        case NotAuthenticated():
            # RFC 6750 §3: the scheme that would help.
            headers["WWW-Authenticate"] = "Bearer"
        case _:
            pass
    if error.status >= 500 and not isinstance(error, Unavailable):
        return internal()
    return response(error.status, str(error), problem=error.problem, headers=headers, **members)


def internal() -> Response:
    """An unexpected error: its text is for the log alone."""
    return response(500, "The request failed here; nothing of it was kept. It is in the log.")


async def on_mailrelay_error(request: Request, error: Exception) -> Response:
    """FastAPI's handler for our own errors."""
    assert isinstance(error, MailrelayError)  # noqa: S101 (registered for this class)
    if isinstance(error, Fatal):
        # No bug, so no traceback; what ends the process is whichever service meets it next.
        log.get().error("request.failed", method=request.method, path=request.url.path, because=str(error))
    elif error.status >= 500 and not isinstance(error, Unavailable):
        raise error  # a bug: logged by the face, answered without its text
    return of_error(error)


async def on_bug(request: Request, error: Exception) -> Response:
    """Handler for everything else; the error goes on to the face, which logs it."""
    return internal()


async def on_http_error(request: Request, error: Exception) -> Response:
    """Handler for what the framework refuses: no such path, no such method, a body that cannot be read."""
    assert isinstance(error, HTTPException)  # noqa: S101
    _, title = _PROBLEMS.get(error.status_code, ("refused", "Refused"))
    detail = error.detail if error.detail and error.status_code not in (404, 405) else f"{title}: {request.url.path}"
    return response(error.status_code, detail, headers=error.headers)


async def on_invalid_request(request: Request, error: Exception) -> Response:
    """Handler for values of the wrong shape: every one of them, by field; never the value itself (W10)."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return response(400, f"The body is not JSON: {found[0]['ctx']['error']} at character {found[0]['loc'][-1]}")
    errors = [{"field": _field(one["loc"]), "detail": _sentence(one)} for one in found]
    detail = "; ".join(f"{one['field']}: {one['detail']}" if one["field"] else one["detail"] for one in errors)
    return response(422, detail, errors=errors)


def _field(location: Sequence[str | int]) -> str:
    """`attachments[0].name` of ("body", "attachments", 0, "name")."""
    parts = location[1:] if location and location[0] in _REQUEST_PARTS else location
    name = ""
    for part in parts:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += f".{part}" if name else part
    return name


def _sentence(one: Any) -> str:
    kind = one["type"]
    if kind == "missing":
        return "is required"
    if kind == "string_too_short" and one["ctx"]["min_length"] == 1:
        return "must not be empty"
    if kind == "extra_forbidden":
        return "there is no such field"
    if kind in ("value_error", "assertion_error"):
        return str(one["ctx"]["error"])
    if kind in ("enum", "literal_error"):
        return f"must be {one['ctx']['expected']}"
    if kind == "string_pattern_mismatch" and one["ctx"]["pattern"].startswith(_ONE_LINE):
        return "must be one line, without control characters"
    if kind in _SENTENCES:
        return _SENTENCES[kind].format(**one.get("ctx", {})).replace(" 1 characters", " 1 character")
    message = str(one["msg"])
    return message[:1].lower() + message[1:]
