"""Assembly of the public door: every module of this package that has `paths`, and what is around all of them.

Below nothing but a known first part of the path there is anything; what is asked for else, and what goes wrong, is answered by pages
that name nothing. A request costs little more than a plain one: no framework, no look into the store.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from mailrelay import log
from mailrelay.tracking.token import Keys
from mailrelay.web import public
from mailrelay.web.application import Application
from mailrelay.web.public import page
from mailrelay.web.public.door import Door, HitSink, Path


def build(application: Application, *, keys: Keys, hits: HitSink) -> ASGIApp:
    """The public door as an ASGI application."""
    door = Door(application, keys=keys, hits=hits)
    found: dict[str, Path] = {}
    for one in sorted(pkgutil.iter_modules(public.__path__), key=lambda one: one.name):
        module = importlib.import_module(f"{public.__name__}.{one.name}")
        if hasattr(module, "paths"):
            found.update(module.paths(door))
    return _Public(
        {part: path.app for part, path in found.items()}, door, below=urlsplit(application.config.public.url).path
    )


class _Public:
    def __init__(self, paths: dict[str, ASGIApp], door: Door, *, below: str) -> None:
        self._paths = paths
        self._door = door
        self._below = below
        self._log = log.get()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises but for cancellation."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if self._below and path.startswith(self._below + "/"):  # a proxy that passes the whole path on
            scope["path"] = path = path[len(self._below) :]
        app = self._paths.get(path[1:].partition("/")[0])
        try:
            if app is None:
                await self._door.nothing(scope, send)
            else:
                await app(scope, receive, send)
        except Exception:  # noqa: BLE001 (the end of anything unexpected: logged, and answered)
            # Without the path, in which the token stands (T16).
            self._log.exception("request.failed", method=scope["method"], path="public")
            with contextlib.suppress(RuntimeError):  # it had begun to answer: the server cuts the connection
                await self._door.answer(scope, send, 500, page.FAILED)
