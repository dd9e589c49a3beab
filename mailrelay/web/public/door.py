"""What the pages of the public door may use, and how one is added: a module of `web.public` with a function `paths`.

`paths(door)` gives what answers for each first part of a path: `{"c": Path(…)}` for `/c/…`. It gets the whole scope, and what reads
a body sees itself to its size and pace. The answer is one of `door.answer`, `door.nothing` and `door.other_method`, so that every
one has the fields that keep the token to itself.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from starlette.types import Receive, Scope

from mailrelay import metrics
from mailrelay.model.hit import RawHit
from mailrelay.tracking.token import Keys, Token, read
from mailrelay.web.application import Application
from mailrelay.web.at_once import Answer, Fields, lines
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What answers below one first part of a path: `at_once` where that needs nothing but the head, else `later`. Either may raise."""

    at_once: Callable[[Scope], Answer] | None = None
    later: Callable[[Scope, Receive], Awaitable[Answer]] | None = None


class Door:
    """What a page may use. Whoever asks is nobody that we know: only a token says what may be done."""

    def __init__(self, application: Application, *, keys: Keys, hits: HitSink) -> None:
        settings = application.config.public
        self.application = application
        self.keys = keys
        self.hits = hits
        self.clients = Clients(settings.trusted_proxies)
        self._strangers = Strangers(application.clock.monotonic)
        self._always = page.ALWAYS + (page.HSTS if settings.url.startswith("https:") else b"")

    def token(self, scope: Scope, part: str, *, suffix: str = "") -> Token | None:
        """The token in `/part/TOKEN`, made by us for the host that was asked; None for anything else. See `token_in`."""
        text = token_in(scope["path"], part, suffix=suffix)
        return None if text is None else read(text, self.keys, host_of(scope))

    def answer(
        self, status: int, body: bytes = b"", *, fields: Fields = (), html: bool = True, counted: bool = True
    ) -> Answer:
        """An answer, with what every answer has. What is counted as a hit is not counted once more."""
        if counted:
            _CLASSES[status // 100].inc()
        of_page = page.PAGE if html else b""
        length = b"content-length: %d\r\n" % len(body) if status != _NO_CONTENT else b""  # RFC 9110 §8.6: it has none
        return Answer(status, b"".join((self._always, lines(fields), of_page, length)), body)

    def nothing(self, scope: Scope) -> Answer:
        """The answer to what names nothing of ours; always the same, until too much of it comes from one place (T03)."""
        if self._strangers.wrong(self.clients.of(scope)):
            metrics.hits_strange.labels("token").inc()
            return self.answer(404, page.NOTHING)
        metrics.hits_strange.labels("limit").inc()
        return self.answer(429, page.TOO_MANY, fields=((b"retry-after", b"60"),))

    def other_method(self, scope: Scope, allow: bytes) -> Answer:
        """The answer to a method that is not for this path; OPTIONS says which are."""
        fields = ((b"allow", allow),)
        if scope["method"] == "OPTIONS":
            return self.answer(_NO_CONTENT, fields=fields, html=False)
        return self.answer(405, page.METHOD, fields=fields)


def host_of(scope: Scope) -> str:
    """The Host field as it came; "" for none, more than one or what is no host, which no token is for."""
    found = [value for name, value in scope["headers"] if name == b"host"]
    return _host(found[0]) if len(found) == 1 else ""


@lru_cache(maxsize=1024)
def _host(field: bytes) -> str:
    return field.decode("ascii") if _HOST.fullmatch(field) else ""
