"""What every request passes through: the size and pace of its body, its count and time, and the end of anything unexpected."""

from __future__ import annotations

import asyncio
import time

from fastapi import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailrelay import log, metrics
from mailrelay.errors import MemoryShort, Unavailable
from mailrelay.memory import Memory
from mailrelay.web import problem
from mailrelay.web.identity import LOCAL
from mailrelay.web.stream import WAITED
from mailrelay.web.upload import FILES

_SLOWEST_PIECE = 30.0
"""Seconds to wait for the next piece of a body before 408 (W08)."""
_SLOWEST_PACE = 500
"""Bytes a second: who drips keeps no connection for long."""
_LARGE = 65_536
"""A body from this size on, or of a size that is not said, is only taken where memory has room for it (D07)."""
_COPIES = 4
"""Of a large body: as it comes, put together, read, and as the mail that it is."""

_STOPPING = "mailrelay is stopping; try again later"
_SHORT = "Memory is short; try again later"


class Face:
    """An ASGI application behind its guards. `local` marks the requests of our own Unix socket."""

    def __init__(
        self, inner: ASGIApp, *, memory: Memory, max_body: int, max_file: int = 0, local: bool = False
    ) -> None:
        """`max_file` is for the paths that take a file, which goes over the disk."""
        self._inner = inner
        self._max_file = max_file
        self._memory = memory
        self._max_body = max_body
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises but for the cancellation of an answer that has begun."""
        if scope["type"] != "http":
            return
        scope[LOCAL] = self._local
        scope[WAITED] = waited = asyncio.Event()
        began = time.perf_counter()
        status = 0
        logger = log.get()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        is_file = scope["path"] in FILES and self._max_file > 0
        limit = self._max_file if is_file else self._max_body
        body = _Body(scope, receive, limit=limit, memory=None if is_file else self._memory)
        try:
            if refusal := _refusal(scope):
                await refusal(scope, receive, answer)
                return
            if scope["method"] == "HEAD":
                # RFC 9110 §9.3.2: as GET; uvicorn, which has the scope that came, leaves the content out.
                scope = {**scope, "method": "GET"}
            if not is_file and _LARGE <= body.announced <= limit and not self._memory.fits(body.announced * _COPIES):
                await problem.of_error(MemoryShort(_SHORT))(scope, receive, answer)
                return
            await self._inner(scope, body.receive, answer)
        except asyncio.CancelledError:
            if status:
                raise
            # The daemon ends before the answer is known, which is no bug; uvicorn would log it as one and answer 500.
            await problem.of_error(Unavailable(_STOPPING))(scope, receive, answer)
        except Exception:
            logger.exception("request.failed", method=scope["method"], path=scope["path"])
            if not status:
                await problem.internal()(scope, receive, answer)
        finally:
            body.give_back()
            metrics.http_requests.labels(f"{status // 100 if 200 <= status < 600 else 5}xx").inc()
            if not waited.is_set():
                metrics.http_seconds.observe(time.perf_counter() - began)


def _refusal(scope: Scope) -> Response | None:
    """What is answered to a request that nobody should have to read."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        return problem.response(400, "The address has a NUL character")
    if _packed(scope):
        return problem.response(415, "The body has a Content-Encoding; send it as it is, nothing is unpacked here")
    return None


def _packed(scope: Scope) -> bool:
    """Whether the body would have to be unpacked: who sends a kilobyte must not get a gigabyte of our memory (W08)."""
    named = [value.strip().lower() for name, value in scope["headers"] if name == b"content-encoding"]
    return any(value not in (b"", b"identity") for value in named)


class _Body:
    """A request's body, cut off where it is too large or too slow."""

    def __init__(self, scope: Scope, receive: Receive, *, limit: int, memory: Memory | None) -> None:
        self._memory = memory
        self._receive = receive
        self._limit = limit
        self._left = limit
        self._ended = False
        self._taken = 0
        self._waited = 0.0
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        self.announced = int(announced) if announced.isdigit() else 0
        """Its size, as far as that was said."""

    async def receive(self) -> Message:
        """The next message. Raises HTTPException 413 or 408, which every reader of a body passes on."""
        if self._ended:
            return await self._receive()  # waits for the client to go
        if self.announced > self._limit:
            raise self._too_large()
        began = time.monotonic()
        patience = _SLOWEST_PIECE + (self._limit - self._left) / _SLOWEST_PACE - self._waited
        try:
            async with asyncio.timeout(min(_SLOWEST_PIECE, patience)):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "The request's body came too slowly", {"Connection": "close"}) from None
        self._waited += time.monotonic() - began
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if self._left < 0:
                raise self._too_large()
            self._take_room(self._limit - self._left)
        return message

    def give_back(self) -> None:
        """Nobody has it any more."""
        if self._memory is not None:
            self._memory.give_back(self._taken)
            self._taken = 0

    def _take_room(self, received: int) -> None:
        """For what has come, not for what was announced: who sends nothing takes nothing from others."""
        more = received * _COPIES - self._taken
        if self._memory is None or received <= _LARGE or more <= 0:
            return
        if not self._memory.take(more, mine=self._taken):
            raise HTTPException(503, _SHORT, {"Connection": "close", "Retry-After": "5"})
        self._taken += more

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"The request's body is over {self._limit} bytes", {"Connection": "close"})
