"""Routes whose JSON means one thing: no key twice, no NaN, no depth that only a stack could hold (W08)."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, NoReturn, TypeVar

from fastapi import HTTPException
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from mailrelay.errors import Invalid
from mailrelay.web import etag

M = TypeVar("M", bound=BaseModel)
D = TypeVar("D", bound=Callable[..., Any])
_FIRST = "_mailrelay_before_body"
_ESCAPED = re.compile(rb"\\u(?:0000|d[89a-f])", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\. |[;:] ")
_QUERY = "mailrelay.query"
"""Key of the ASGI scope with the query parameters that the route knows."""
_NO_BODY = "mailrelay.no_body"
"""Key of the ASGI scope where the route takes no body."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class _StrictRequest(Request):
    """A request whose JSON is read strictly."""

    async def json(self) -> Any:
        body = await self.body()
        try:
            value = json.loads(body, object_pairs_hook=_unique, parse_constant=_no_constant)
            if _ESCAPED.search(body) and _has_unkeepable(value):
                raise HTTPException(400, "The body has a NUL character, or half a surrogate pair, in a string")
            return value
        except (UnicodeDecodeError, RecursionError) as error:
            because = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "it is nested too deeply"
            raise HTTPException(400, f"The body is not JSON that can be read: {because}") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    known = dict(pairs)
    if len(known) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise HTTPException(400, f"The body has the key {twice[:60]!r} twice")
    return known


def _has_unkeepable(value: object) -> bool:
    """PostgreSQL keeps no NUL in text, and half a surrogate pair is no text at all."""
    if isinstance(value, dict):
        return any(_has_unkeepable(name) or _has_unkeepable(inner) for name, inner in value.items())
    if isinstance(value, list):
        return any(_has_unkeepable(inner) for inner in value)
    return isinstance(value, str) and ("\0" in value or _SURROGATE.search(value) is not None)


def _no_constant(name: str) -> NoReturn:
    raise HTTPException(400, f"The body has {name}, which is not JSON")


class StrictRoute(APIRoute):
    """A route that reads its body with `_StrictRequest`, and whose summary is the first sentence of its handler's docstring."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        given["summary"] = given.get("summary") or _first_sentence(endpoint)
        super().__init__(path, endpoint, **given)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind our reading of JSON."""
        handler = super().get_route_handler()
        known = frozenset(_query_names(self.dependant))
        first = list(_before_body(self.dependant))
        bodiless = self.body_field is None and "requestBody" not in (self.openapi_extra or {})

        async def strict(request: Request) -> Response:
            request.scope[_QUERY] = known
            request.scope[_NO_BODY] = bodiless
            for each in first:
                await each(request)
            strictly = _StrictRequest(request.scope, request.receive)
            return etag.answered(strictly, await handler(strictly))

        return strict


def before_body(first: Callable[[Request], Awaitable[None]]) -> Callable[[D], D]:
    """Has each route that depends on the function await `first` before it reads its body, which FastAPI reads before anything else."""

    def mark(dependency: D) -> D:
        setattr(dependency, _FIRST, first)
        return dependency

    return mark


def _before_body(dependant: Dependant) -> Iterator[Callable[[Request], Awaitable[None]]]:
    first = getattr(dependant.call, _FIRST, None)
    if first is not None:
        yield first
    for inner in dependant.dependencies:
        yield from _before_body(inner)


def _query_names(dependant: Dependant) -> Iterator[str]:
    """What a handler takes from the query, itself or by what it depends on."""
    for parameter in dependant.query_params:
        yield parameter.alias
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def check_query(request: Request) -> None:
    """That the route knows each query parameter, and takes a body if there is one: what is misspelt, or sent to another place than
    it was meant for, must not be as if it were not there. Raises Invalid.

    Asked after who asks is clear, so that nobody else learns anything.
    """
    known: frozenset[str] = request.scope.get(_QUERY, frozenset())
    for name in request.query_params:
        if name not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "there is none here"
            raise Invalid(name[:60], f"there is no such query parameter; {there}")
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if has_body and request.scope.get(_NO_BODY, False):
        raise Invalid("body", "nothing is read from a body here; leave it out")


def _first_sentence(handler: Callable[..., Any]) -> str:
    text = " ".join((handler.__doc__ or handler.__name__).split("\n\n")[0].split())
    return _SENTENCE_END.split(text, maxsplit=1)[0].rstrip(".")


async def json_body(request: Request) -> Any:
    """The JSON of a request whose other media types the handler takes as well. Raises HTTPException 400."""
    try:
        return await request.json()
    except json.JSONDecodeError as error:
        raise HTTPException(400, f"The body is not JSON: {error.msg} at character {error.pos}") from None


def validated(model: type[M], value: object) -> M:
    """A value as a model, with errors like those of bodies that FastAPI reads itself."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False, include_input=False)]
        raise RequestValidationError(found) from None
