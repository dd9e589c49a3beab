"""`/robots.txt`: nothing here is for search engines (T16)."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from mailrelay.web.public.door import Door, Path

_TEXT = ((b"content-type", b"text/plain; charset=utf-8"),)


def paths(door: Door) -> Mapping[str, Path]:
    """See `web.public.door`."""

    async def robots(scope: Scope, receive: Receive, send: Send) -> None:
        await door.answer(scope, send, 200, b"User-agent: *\nDisallow: /\n", fields=_TEXT, html=False)

    return {"robots.txt": Path(robots)}
