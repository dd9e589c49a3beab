"""Assembly of the public door: every module of this package that has `paths`, and what is around all of them.

Below nothing but a known first part of the path there is anything; what is asked for else, and what goes wrong, is answered by pages
that name nothing. A request costs little more than a plain one: no framework, no look into the store.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import Receive, Scope, Send

from mailrelay import log
from mailrelay.tracking.token import Keys
from mailrelay.web import public
from mailrelay.web.application import Application
from mailrelay.web.at_once import Answer
from mailrelay.web.public import page
from mailrelay.web.public.door import Door, HitSink, Path


def build(application: Application, *, keys: Keys, hits: HitSink) -> PublicDoor:
    """The public door."""
    door = Door(application, keys=keys, hits=hits)
    found: dict[str, Path] = {}
    for one in sorted(pkgutil.iter_modules(public.__path__), key=lambda one: one.name):
        module = importlib.import_module(f"{public.__name__}.{one.name}")
        if hasattr(module, "paths"):
            found.update(module.paths(door))
    return PublicDoor(found, door, below=urlsplit(application.config.public.url).path)


class PublicDoor:
    """An ASGI application, most of whose answers wait for nothing."""

    def __init__(self, paths: Mapping[str, Path], door: Door, *, below: str) -> None:
        """`below` is what the URLs of our mail have in front of a page's path, "" for nothing."""
        self._paths = paths
        self._door = door
        self._below = below
        self._log = log.get()

    def at_once(self, scope: Scope) -> Answer | None:
        """The answer, where it waits for nothing; else None, and nothing was done. Never raises."""
        path, found = self._found(scope)
        at_once = self._door.nothing if found is None else found.at_once
        if at_once is None:
            return None
        scope["path"] = path
        try:
            return at_once(scope)
        except Exception:  # noqa: BLE001 (the end of anything unexpected: logged, and answered)
            return self._failed(scope)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises but for cancellation."""
        if scope["type"] != "http":
            return
        answer = self.at_once(scope) or await self._later(scope, receive)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.fields})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _later(self, scope: Scope, receive: Receive) -> Answer:
        scope["path"], found = self._found(scope)
        assert found is not None and found.later is not None  # noqa: S101, PT018 (a page has one or the other)
        try:
            return await found.later(scope, receive)
        except Exception:  # noqa: BLE001 (as above)
            return self._failed(scope)

    def _found(self, scope: Scope) -> tuple[str, Path | None]:
        """The path below our URL, and what answers there."""
        path: str = scope["path"]
        if self._below and path.startswith(self._below + "/"):  # a proxy that passes the whole path on
            path = path[len(self._below) :]
        return path, self._paths.get(path[1:].partition("/")[0])

    def _failed(self, scope: Scope) -> Answer:
        # Without the path, in which the token stands (T16).
        self._log.exception("request.failed", method=scope["method"], path="public")
        return self._door.answer(500, page.FAILED)
