"""Making a thing once, however often the request comes: Idempotency-Key, Location and ETag of every POST that makes something.

How a route uses it: one parameter, and its write through it.

    @router.post("/users", response_model=ShownUser, status_code=201)
    async def add(app: App, caller: Administrator, given: GivenUser, once: Annotated[Once, making("/users/{id}")]) -> User:
        return await once.write(app.store, _add, new, app)

`once.write` is `store.write` of a function that returns what the handler returns. In the same transaction it keeps the answer under
the key: a repeat with the same body is answered the same, with `Idempotency-Replayed: true`, and nothing is done; the same key with
another body or path is 409. A key is its user's or token's own: another's is another key, and says nothing of this one. An error keeps
nothing, so that the request may be repeated when its cause is gone.

`making` names where the new thing is (`Location`, filled from the answer's members, of a list its first's, and from the path). Members that are
`secret` are null in what is kept, and so in the answer of a repeat; `etag` False is for answers that GET does not show so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, cast
from urllib.parse import quote

from fastapi import Depends, Header
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from mailrelay.errors import Conflict, Invalid
from mailrelay.ids import OrgId
from mailrelay.model.sending import EVERYBODY
from mailrelay.store import given_answers
from mailrelay.store.base import Store, Tx
from mailrelay.store.given_answers import GivenAnswer
from mailrelay.web import etag
from mailrelay.web.application import application
from mailrelay.web.identity import OPERATOR, caller_of

P = ParamSpec("P")
R = TypeVar("R")
PREFIX = "/api/v1"
REPLAYED = "Idempotency-Replayed"
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="A word of your own for this request, such as a UUID: sent again with the same key, it is done once.",
    ),
]


class Replayed(Exception):
    """The request was answered before: this is what it was answered."""

    def __init__(self, answer: GivenAnswer) -> None:
        super().__init__()
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What a route says of the thing that it makes; a dependency."""

    location: str
    secret: tuple[str, ...] = ()
    etag: bool = True

    @property
    def tagged(self) -> bool:
        """Whether its answer is what GET shows, and has that ETag."""
        return self.etag and not self.secret

    async def __call__(self, request: Request, response: Response, idempotency_key: IdempotencyKey = None) -> Once:
        """The request's Once. Raises Invalid."""
        check_key(request, idempotency_key)
        caller = caller_of(request)
        sha256 = ""
        if idempotency_key is not None:
            # With the rights, since the handler of a repeat does not ask for them: another token of the user may have fewer.
            rights = () if caller is None else sorted(caller.rights)
            said = (request.method, request.url.path, request.url.query, *rights)
            sha256 = hashlib.sha256("\n".join(said).encode() + b"\n" + await request.body()).hexdigest()
        return Once(
            key=idempotency_key,
            org=EVERYBODY if caller is None else caller.org,
            by=OPERATOR if caller is None else caller.by,
            request_sha256=sha256,
            making=self,
            request=request,
            response=response,
        )


def making(location: str, *, secret: tuple[str, ...] = (), etag: bool = True) -> Any:
    """The dependency that gives a route its `Once`; see above."""
    return Depends(Making(location=location, secret=secret, etag=etag))


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """One request to make something, with its Idempotency-Key if it has one."""

    key: str | None
    org: OrgId
    by: str
    """Whose key it is."""
    request_sha256: str
    making: Making
    request: Request = field(repr=False)
    response: Response = field(repr=False)

    async def write(self, store: Store, fn: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """`store.write`, once. Raises Replayed, which is answered; Conflict for a key that stands for another request."""

        def done(tx: Tx) -> tuple[R, GivenAnswer]:
            if self.key is not None:
                if "if-match" in self.request.headers:
                    tx.steady()  # for `Seen.check`: here is the first look
                now = application(self.request).clock.now()
                known = given_answers.take(tx, self.org, self.by, self.key, self.request_sha256, now=now)
                if known is not None:
                    raise self._known(known)
            made = fn(tx, *args, **kwargs)
            answer = self._answer(made)
            if self.key is not None:
                given_answers.keep(tx, self.org, self.by, self.key, answer)
            return made, answer

        made, answer = await store.write(done)
        self.response.headers.update(_headers(answer))
        return made

    async def replay(self, store: Store) -> None:
        """For what is looked at before `write`, as the world may have changed: raises what `write` raises for a key that was used."""
        if self.key is not None:
            answer = await store.read(given_answers.known, self.org, self.by, self.key)
            if answer is not None:
                raise self._known(answer)

    def _known(self, answer: GivenAnswer) -> Exception:
        if answer.request_sha256 == self.request_sha256:
            return Replayed(answer)
        return Conflict("This Idempotency-Key was used for another request; take a new key for a new one")

    def _answer(self, made: object) -> GivenAnswer:
        route: APIRoute = self.request.scope["route"]
        adapter = _adapter(route.response_model)
        shown = adapter.validate_python(made, from_attributes=True)
        members = adapter.dump_python(shown, mode="json", by_alias=True)
        body = adapter.dump_json(shown, by_alias=True)
        secret = dict.fromkeys(self.making.secret)
        first = members if isinstance(members, dict) else members[0] if members else {}
        named = {**self.request.path_params, **first}
        return GivenAnswer(
            request_sha256=self.request_sha256,
            status=route.status_code or 200,
            body=_json({**members, **secret}) if secret else body.decode(),
            location=PREFIX
            + self.making.location.format_map({name: quote(str(one), safe="@:") for name, one in named.items()}),
            etag=etag.of_bytes(body) if self.making.tagged else "",
        )


def check_key(request: Request, key: str | None) -> None:
    """FastAPI takes an empty field for none, and then a repeat would make another thing. Raises Invalid."""
    if not key and "idempotency-key" in request.headers:
        raise Invalid("Idempotency-Key", "must not be empty; leave it out, or give each request a key of its own")


async def on_replayed(request: Request, error: Exception) -> Response:
    """FastAPI's handler for what was answered before."""
    answer = cast("Replayed", error).answer
    headers = _headers(answer) | {REPLAYED: "true"}
    return Response(answer.body, answer.status, media_type="application/json", headers=headers)


def _headers(answer: GivenAnswer) -> dict[str, str]:
    given = {"Location": answer.location, "ETag": answer.etag}
    return {name: value for name, value in given.items() if value}


def _json(value: object) -> str:
    return TypeAdapter(object).dump_json(value).decode()


@cache
def _adapter(shown: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shown)
