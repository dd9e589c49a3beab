"""`/robots.txt`: nothing here is for search engines (T16)."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope

from mailrelay.web.at_once import Answer
from mailrelay.web.public.door import Door, Path

_TEXT = ((b"content-type", b"text/plain; charset=utf-8"),)


def paths(door: Door) -> Mapping[str, Path]:
    """See `web.public.door`."""

    def robots(scope: Scope) -> Answer:
        return door.answer(200, b"User-agent: *\nDisallow: /\n", fields=_TEXT, html=False)

    return {"robots.txt": Path(at_once=robots)}
