"""`/robots.txt`: nothing here is for search engines (T16)."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from mailrelay.web.public import page
from mailrelay.web.public.door import Door, Path


def paths(door: Door) -> Mapping[str, Path]:
    """See `web.public.door`."""
    return {"robots.txt": Path(_robots)}


async def _robots(scope: Scope, receive: Receive, send: Send) -> None:
    fields = ((b"content-type", b"text/plain; charset=utf-8"),)
    await page.answer(scope, send, 200, b"User-agent: *\nDisallow: /\n", fields=fields, page=False)
