"""What the pages of the public door may use, and how one is added: a module of `web.public` with a function `paths`.

`paths(door)` gives an ASGI application for each first part of a path: `{"c": Path(…)}` for `/c/…`. It gets the whole scope, and
what reads a body sees itself to its size and pace. It answers by `door.answer`,
`door.nothing` and `door.other_method`, so that every answer has the fields that keep the token to itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from starlette.types import ASGIApp, Scope, Send

from mailrelay import metrics
from mailrelay.model.hit import RawHit
from mailrelay.tracking.token import Keys, Token, read
from mailrelay.web.application import Application
from mailrelay.web.public import page
from mailrelay.web.public.client import Clients, Strangers
from mailrelay.web.public.link import token_in

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_NO_CONTENT: Final = 204
_CLASSES: Final = {klass: metrics.http_requests.labels(f"{klass}xx") for klass in range(2, 6)}


class HitSink(Protocol):
    """Where hits go: see `outbound.hits.Hits`."""

    def put(self, hit: RawHit) -> None:
        """Take a hit. Never waits, never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Path:
    """What answers below one first part of a path."""

    app: ASGIApp


class Door:
    """What a page may use. Whoever asks is nobody that we know: only a token says what may be done."""

    def __init__(self, application: Application, *, keys: Keys, hits: HitSink) -> None:
        settings = application.config.public
        self.application = application
        self.keys = keys
        self.hits = hits
        self.clients = Clients(settings.trusted_proxies)
        self._strangers = Strangers(application.clock.monotonic)
        self._always = (*page.ALWAYS, *(page.HSTS if settings.url.startswith("https:") else ()))

    def token(self, scope: Scope, part: str, *, suffix: str = "") -> Token | None:
        """The token in `/part/TOKEN`, made by us for the host that was asked; None for anything else. See `token_in`."""
        text = token_in(scope["path"], part, suffix=suffix)
        return None if text is None else read(text, self.keys, host_of(scope))

    async def answer(
        self,
        scope: Scope,
        send: Send,
        status: int,
        body: bytes = b"",
        *,
        fields: page.Fields = (),
        html: bool = True,
        counted: bool = True,
    ) -> None:
        """Answer, with what every answer has, and without the body where only the head was asked for.

        What is counted as a hit is not counted once more.
        """
        headers = [*self._always, *fields]
        if html:
            headers += page.PAGE
        if status != _NO_CONTENT:  # RFC 9110 §8.6: it has no length
            headers.append((b"content-length", b"%d" % len(body)))
        if counted:
            _CLASSES[status // 100].inc()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def nothing(self, scope: Scope, send: Send) -> None:
        """Answer what names nothing of ours; always the same, until too much of it comes from one place (T03)."""
        if self._strangers.wrong(self.clients.of(scope)):
            metrics.hits_strange.labels("token").inc()
            await self.answer(scope, send, 404, page.NOTHING)
        else:
            metrics.hits_strange.labels("limit").inc()
            await self.answer(scope, send, 429, page.TOO_MANY, fields=((b"retry-after", b"60"),))

    async def other_method(self, scope: Scope, send: Send, allow: bytes) -> None:
        """Answer a method that is not for this path; OPTIONS says which are."""
        fields = ((b"allow", allow),)
        if scope["method"] == "OPTIONS":
            await self.answer(scope, send, _NO_CONTENT, fields=fields, html=False)
        else:
            await self.answer(scope, send, 405, page.METHOD, fields=fields)


def host_of(scope: Scope) -> str:
    """The Host field as it came; "" for none, more than one or what is no host, which no token is for."""
    found = [value for name, value in scope["headers"] if name == b"host"]
    return _host(found[0]) if len(found) == 1 else ""


@lru_cache(maxsize=1024)
def _host(field: bytes) -> str:
    return field.decode("ascii") if _HOST.fullmatch(field) else ""
