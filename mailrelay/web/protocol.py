"""HTTP on a connection: uvicorn's, for clients who are in no hurry."""

from __future__ import annotations

import asyncio

from httptools import HttpParserError
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_HEAD_SECONDS = 20.0
_MAX_CONNECTIONS = 500
_SLOWEST_READER = 30.0
"""Seconds in which a client must take some of what we have for it."""
_MOST_QUEUED = 100
"""Requests of a connection that may stand behind the one that is being answered. Each takes kilobytes; no known client queues any."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, for clients who are in no hurry: so many at a time, and each request's head within a time.

    uvicorn itself gives up only on a connection that rests after an answer; silent ones would take every descriptor (D06, W08).
    """

    _answering: RequestResponseCycle | None = None
    _head: asyncio.TimerHandle | None = None
    _in_head = False
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take the connection, unless there are too many."""
        if len(self.connections) >= _MAX_CONNECTIONS:
            transport.abort()
            self.transport = transport
            return
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        self._head_is_here()
        self._is_read()
        if self._answering is not None and not self._answering.response_complete:
            # uvicorn tells only the request that came last.
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read; the rest of a head must come within a time, and so must anything that is no request yet or any longer."""
        super().data_received(data)
        # Mostly a request comes whole, and no clock is set: it is being answered, or was and the clock of the rest after it runs.
        if self._head is None and self.timeout_keep_alive_task is None and (self._in_head or self._is_answered()):
            self._await_head()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole. Raises HttpParserError, which ends the connection, where too many wait to be answered."""
        self._head_is_here()
        if len(self.pipeline) >= _MOST_QUEUED:
            raise HttpParserError("Too many requests at once")
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """The client takes nothing for now; not for long."""
        self._is_read()
        self._unread = self.loop.call_later(_SLOWEST_READER, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """It takes something again."""
        self._is_read()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, unless the connection has ended before."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _is_answered(self) -> bool:
        return getattr(self.cycle, "response_complete", True)  # None before the first request

    def _is_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _await_head(self) -> None:
        self._head = self.loop.call_later(_HEAD_SECONDS, self.transport.abort)

    def _head_is_here(self) -> None:
        self._in_head = False
        if self._head is not None:
            self._head.cancel()
            self._head = None
