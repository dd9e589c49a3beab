"""Assembly of the public door: every module of this package that has `paths`, and what is around all of them.

Below nothing but a known first part of the path there is anything; what is asked for else, and what goes wrong, is answered by pages
that name nothing. A request costs little more than a plain one: no framework, no look into the store.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailrelay import log, metrics
from mailrelay.tracking.token import Keys
from mailrelay.web import public
from mailrelay.web.application import Application
from mailrelay.web.face import Face
from mailrelay.web.public import page
from mailrelay.web.public.client import Clients, Strangers
from mailrelay.web.public.door import Door, HitSink, Path

_MAX_BODY = 16_384
"""Bytes of a form; nothing else is sent to us here."""
_CLASSES = {klass: metrics.http_requests.labels(f"{klass}xx") for klass in range(2, 6)}


def build(application: Application, *, keys: Keys, hits: HitSink) -> ASGIApp:
    """The public door as an ASGI application."""
    settings = application.config.public
    clients = Clients(settings.trusted_proxies)
    strangers = Strangers(application.clock.monotonic)

    def strange(scope: Scope) -> bool:
        may = strangers.wrong(clients.of(scope))
        metrics.hits_strange.labels("token" if may else "limit").inc()
        return may

    door = Door(application=application, keys=keys, hits=hits, clients=clients, strange=strange)
    found: dict[str, Path] = {}
    for one in sorted(pkgutil.iter_modules(public.__path__), key=lambda one: one.name):
        module = importlib.import_module(f"{public.__name__}.{one.name}")
        if hasattr(module, "paths"):
            found.update(module.paths(door))
    guarded = {part: _guarded(path, application) for part, path in found.items()}
    base = urlsplit(settings.url)
    return _Public(guarded, door, below=base.path, secure=base.scheme == "https")


def _guarded(path: Path, application: Application) -> ASGIApp:
    return Face(path.app, memory=application.memory, max_body=_MAX_BODY) if path.reads_body else path.app


class _Public:
    def __init__(self, paths: dict[str, ASGIApp], door: Door, *, below: str, secure: bool) -> None:
        self._paths = paths
        self._door = door
        self._below = below
        self._hsts = page.HSTS if secure else ()
        self._log = log.get()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises but for cancellation."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._hsts:
                    message["headers"] = [*message["headers"], *self._hsts]
            await send(message)

        path: str = scope["path"]
        if self._below and path.startswith(self._below + "/"):  # a proxy that passes the whole path on
            scope["path"] = path = path[len(self._below) :]
        app = self._paths.get(path[1:].partition("/")[0])
        try:
            if app is not None:
                await app(scope, receive, answer)
            elif self._door.strange(scope):
                await page.answer(scope, answer, 404, page.NOTHING)
            else:
                await page.answer(scope, answer, 429, page.TOO_MANY, fields=((b"retry-after", b"60"),))
        except Exception:  # noqa: BLE001 (the end of anything unexpected: logged, and answered)
            # Without the path, in which the token stands (T16).
            self._log.exception("request.failed", method=scope["method"], path="public")
            if not status:
                await page.answer(scope, answer, 500, page.FAILED)
        finally:
            if status // 100 in _CLASSES:
                _CLASSES[status // 100].inc()
            metrics.http_seconds.observe(time.perf_counter() - began)
