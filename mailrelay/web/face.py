"""What every request passes through: the size and pace of its body, its count and time, and the end of anything unexpected."""

from __future__ import annotations

import asyncio
import time

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailrelay import log, metrics
from mailrelay.web import problem
from mailrelay.web.identity import LOCAL

_SLOWEST_PIECE = 30.0
"""Seconds to wait for the next piece of a body before 408 (W08)."""


class Face:
    """An ASGI application behind its guards. `local` marks the requests of our own Unix socket."""

    def __init__(self, inner: ASGIApp, *, max_body: int, local: bool = False) -> None:
        self._inner = inner
        self._max_body = max_body
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises but for cancellation."""
        if scope["type"] != "http":
            return
        scope[LOCAL] = self._local
        began = time.perf_counter()
        status = 0
        logger = log.get()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if "\0" in scope["path"] or b"%00" in scope["query_string"]:
                await problem.response(400, "The address has a NUL character")(scope, receive, answer)
                return
            await self._inner(scope, _Body(scope, receive, limit=self._max_body).receive, answer)
        except Exception:
            logger.exception("request.failed", method=scope["method"], path=scope["path"])
            if not status:
                await problem.internal()(scope, receive, answer)
        finally:
            metrics.http_requests.labels(f"{status // 100 if 200 <= status < 600 else 5}xx").inc()
            metrics.http_seconds.observe(time.perf_counter() - began)


class _Body:
    """A request's body, cut off where it is too large or too slow."""

    def __init__(self, scope: Scope, receive: Receive, *, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._left = limit
        self._ended = False
        self._announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")

    async def receive(self) -> Message:
        """The next message. Raises HTTPException 413 or 408, which every reader of a body passes on."""
        if self._ended:
            return await self._receive()  # waits for the client to go
        if self._announced.isdigit() and int(self._announced) > self._limit:
            raise self._too_large()
        try:
            async with asyncio.timeout(_SLOWEST_PIECE):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "The request's body came too slowly", {"Connection": "close"}) from None
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if self._left < 0:
                raise self._too_large()
        return message

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"The request's body is over {self._limit} bytes", {"Connection": "close"})
