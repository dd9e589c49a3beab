"""Requests that wait for the journal to grow: long polls (K9) and server-sent events (I19).

While they wait they hold no reader of the store. They are woken by the bell of their organisation, look again by themselves for what other
nodes wrote, and end when their client goes and when the daemon stops.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Literal

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from mailrelay import metrics
from mailrelay.errors import Overloaded
from mailrelay.ids import OrgId
from mailrelay.service import Stopping
from mailrelay.store.base import Bell, Listener, Store

MEDIA_TYPE = "text/event-stream"
WAITED = "mailrelay.waited"
"""Key of the ASGI scope with an Event that is set once the request waits: how long it takes then says nothing of us."""


class Waits:
    """How many requests may wait, altogether and of each caller, and how often they look up."""

    def __init__(
        self, *, most: int = 200, most_each: int = 20, look: float = 2.0, heartbeat: float = 15.0, check: float = 2.0
    ) -> None:
        """`look`, `heartbeat` and `check` in seconds: for what other nodes wrote, to be heard of, and whether the caller still may."""
        self.most = most
        self.most_each = most_each
        self.look = look
        self.heartbeat = heartbeat
        self.check = check
        metrics.http_waiting_limit.set(most)
        self._waiting: Counter[tuple[str, str]] = Counter()

    @property
    def number(self) -> int:
        """How many wait."""
        return self._waiting.total()

    @contextmanager
    def place(self, request: Request, kind: Literal["poll", "stream"], whose: str) -> Iterator[None]:
        """A place for a request to wait, of this caller's; each kind has places of its own. Raises Overloaded."""
        key = (kind, whose)
        if self.number >= self.most:
            metrics.http_waiting_refused.labels("all").inc()
            raise Overloaded("Too many requests wait already; ask again later, or without waiting")
        if self._waiting[key] >= self.most_each:
            metrics.http_waiting_refused.labels("caller").inc()
            raise Overloaded(f"{self.most_each} requests of this caller wait already; end one, or ask without waiting")
        request.scope[WAITED].set()
        self._waiting[key] += 1
        metrics.http_waiting.labels(kind).inc()
        try:
            yield
        finally:
            metrics.http_waiting.labels(kind).dec()
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]


class Watch:
    """One request that waits."""

    def __init__(self, bell: Listener, *ends: asyncio.Task[object]) -> None:
        self._bell = bell
        self._ends = ends

    async def pause(self, seconds: float) -> bool:
        """Until the journal grows, or so long; False when there is nobody to answer any more, or the daemon stops."""
        heard = asyncio.ensure_future(self._bell.heard(timeout=max(0.0, seconds)))
        try:
            await asyncio.wait({heard, *self._ends}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            heard.cancel()
        return not any(end.done() for end in self._ends)


@asynccontextmanager
async def watching(store: Store, stopping: Stopping, request: Request, org: OrgId) -> AsyncIterator[Watch]:
    """Watch an organisation's journal for a request; look at it inside, then pause: nothing is missed in between."""
    ends: tuple[asyncio.Task[object], ...] = (
        asyncio.create_task(_gone(request)),
        asyncio.create_task(stopping.wait()),
    )
    try:
        with store.bells.listening(Bell.EVENTS, org) as bell:
            yield Watch(bell, *ends)
    finally:
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def _gone(request: Request) -> None:
    """Until the client has hung up."""
    with suppress(HTTPException):  # a body that does not come
        while (await request.receive())["type"] != "http.disconnect":
            pass


class EventStream(StreamingResponse):
    """Server-sent events (WHATWG HTML §9.2). Whoever makes the pieces sees by itself when the client goes.

    `place` is given back at the end.
    """

    def __init__(self, pieces: AsyncIterator[bytes], place: ExitStack) -> None:
        self._place = place
        super().__init__(
            pieces, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces as they come."""
        try:
            await self.stream_response(send)
        finally:
            self._place.close()
            closing = getattr(self.body_iterator, "aclose", None)
            if closing is not None:
                await closing()


def message(*, seq: int, event: str, data: str) -> bytes:
    """One event: `data` is one line, so that nothing in it can end the field."""
    return f"id: {seq}\nevent: {event}\ndata: {data}\n\n".encode()
