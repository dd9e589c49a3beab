"""Answers that wait for nothing, on uvicorn's connections: no task is made for them, and those of a turn of the loop leave together.

Both halve what a small answer costs: whoever is written to is woken, which is dearer than the answer, while one who has another
answer to read already need not be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from mailrelay.web.protocol import Protocol

Fields = Sequence[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """A whole answer. Where only the head is asked for, the body is left out and its length stands (RFC 9110 §9.3.2).

    The head is the fields as they are sent, see `lines`. They say the length of the body, but for a 204, and nothing of the connection.
    Nobody looks at them again before they are sent: what a stranger chose must have no control characters.
    """

    status: int
    head: bytes
    body: bytes

    @property
    def fields(self) -> Fields:
        """The head as ASGI has it."""
        return [(name, value) for name, _, value in (line.partition(b": ") for line in self.head.splitlines())]


def lines(fields: Fields) -> bytes:
    """Fields as they are sent, each a line."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


AnswerAtOnce = Callable[[Scope], Answer | None]
"""The answer to a request of which only the head was read. None where that takes longer: the ASGI application is asked then, with the
same scope. Never raises."""


class Outgoing:
    """What is written at the end of this turn of the loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes, bool]] = []

    def put(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, octets: bytes, *, last: bool) -> None:
        """Take what is to be written; the `last` of a connection ends it."""
        if not self._waiting:
            loop.call_soon(self.flush)
        self._waiting.append((transport, octets, last))

    def holds(self, transport: asyncio.Transport) -> bool:
        """Whether what was taken last is for this connection."""
        return bool(self._waiting) and self._waiting[-1][0] is transport

    def flush(self) -> None:
        """Write it."""
        waiting, self._waiting = self._waiting, []
        for transport, octets, last in waiting:
            if not transport.is_closing():  # else whoever asked has gone
                transport.write(octets)
                if last:
                    transport.close()


class AtOnceProtocol(Protocol):
    """Our protocol, for an application that answers most requests at once."""

    def __init__(self, *given: Any, at_once: AnswerAtOnce, outgoing: Outgoing, **named: Any) -> None:
        """`outgoing` is one for all connections of a loop; all else is uvicorn's."""
        super().__init__(*given, **named)
        self._at_once = at_once
        self._outgoing = outgoing

    def shutdown(self) -> None:
        """End, after what was answered has been written."""
        self._outgoing.flush()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, after what was answered before it has been written."""
        self._outgoing.flush()
        super().send_400_response(msg)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # Who does not read what we write waits as uvicorn has it. So does whatever else is asked for in the same turn of the loop:
        # a stranger could make the turn as long as they like. (And each answer starts the next request: they would lie one in the
        # other.)
        waits = self.flow.write_paused or self._outgoing.holds(self.transport)
        answer = None if waits else self._at_once(cast("Scope", cycle.scope))
        if answer is None:
            super()._start_asgi_task(cycle, app)
            return
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        body = answer.body if cycle.scope["method"] != "HEAD" else b""
        octets = b"".join((STATUS_LINE[answer.status], lines(cycle.default_headers), answer.head, end, body))
        self._outgoing.put(self.loop, self.transport, octets, last=not cycle.keep_alive)
        cycle.response_started = cycle.response_complete = True
        # As after uvicorn's tasks: else a connection would be the collector's, when it has ended.
        cycle.on_response = _nothing
        self.on_response_complete()


def _nothing() -> None:
    """What is left to do after an answer."""
