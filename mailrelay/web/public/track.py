"""The pixel and the links: `/o/TOKEN.gif` and `/c/TOKEN` (O9).

Nothing is looked up: the token says all that the answer needs, and the hit is put where it waits for the store. What is recorded of
it, if anything, is decided when it is written down. So the answer takes the same time whatever the store does (T14).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from starlette.types import Scope

from mailrelay import metrics
from mailrelay.ids import HitId
from mailrelay.model.hit import HitKind, RawHit
from mailrelay.tracking.target import location, target_host
from mailrelay.tracking.token import Kind, Token
from mailrelay.web.at_once import Answer, Fields
from mailrelay.web.public.door import Door, Path

GIF: Final = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
"""One transparent dot, 43 octets."""
_GIF: Final = ((b"content-type", b"image/gif"),)
_METHODS: Final = frozenset({"GET", "HEAD"})
_ALLOW: Final = b"GET, HEAD, OPTIONS"
_AGENT: Final = b"user-agent"
# What tells people from machines, and what a reader wants of us; nothing that says more of who they are.
_TELLING: Final = {
    name: name.decode("ascii")
    for name in (
        *(b"accept", b"accept-language", b"via", b"x-requested-with", b"from"),
        *(b"purpose", b"sec-purpose", b"x-purpose", b"x-moz", b"sec-fetch-purpose"),
        *(b"sec-fetch-mode", b"sec-fetch-dest", b"sec-fetch-site", b"sec-fetch-user"),
        *(b"dnt", b"sec-gpc"),
    )
}
_LONGEST: Final = 256
_KINDS: Final = {Kind.OPEN: HitKind.OPEN, Kind.CLICK: HitKind.CLICK, Kind.DECOY: HitKind.DECOY}


def paths(door: Door) -> Mapping[str, Path]:
    """See `web.public.door`."""
    track = _Track(door)
    return {"o": Path(at_once=track.pixel), "c": Path(at_once=track.link)}


class _Track:
    def __init__(self, door: Door) -> None:
        self._door = door
        self._now = door.application.clock.now
        self._ids = itertools.count()
        self._name = door.application.ids.hit()
        """What no other start has; a hit is the start's so many-th."""
        self._pixel = door.answer(200, GIF, fields=_GIF, html=False, counted=False)
        self._received = {kind: metrics.hits_received.labels(kind) for kind in HitKind}

    def pixel(self, scope: Scope) -> Answer:
        """The pixel, whatever will be recorded (T11)."""
        if scope["method"] not in _METHODS:
            return self._door.other_method(scope, _ALLOW)
        token = self._door.token(scope, "o", suffix=".gif")
        if token is None or token.kind is not Kind.OPEN:
            return self._door.nothing(scope)
        self._put(token, scope)
        return self._pixel

    def link(self, scope: Scope) -> Answer:
        """Off to the link's target, which is exactly what was signed, and checked again (T01, T02)."""
        if scope["method"] not in _METHODS:
            return self._door.other_method(scope, _ALLOW)
        token = self._door.token(scope, "c")
        if token is None or token.kind not in (Kind.CLICK, Kind.DECOY):
            return self._door.nothing(scope)
        self._put(token, scope)
        if token.kind is Kind.DECOY and target_host(token.target) is None:
            return self._door.answer(204, html=False, counted=False)  # nobody sees it
        return self._door.answer(302, fields=_location(token.target), html=False, counted=False)

    def _put(self, token: Token, scope: Scope) -> None:
        kind, agent = _KINDS[token.kind], ""
        telling = []
        for name, value in scope["headers"]:
            if name in _TELLING:
                telling.append((_TELLING[name], value[:_LONGEST].decode("latin-1")))
            elif name == _AGENT:
                agent = value[:_LONGEST].decode("latin-1")
        self._door.hits.put(
            RawHit(
                id=HitId(f"{self._name}{next(self._ids):010x}"),
                kind=kind,
                delivery=token.delivery,
                link=token.link,
                url=token.target,
                at=self._now(),
                ip=self._door.clients.of(scope),
                agent=agent,
                method=scope["method"],
                headers=tuple(telling),
            )
        )
        self._received[kind].inc()


@lru_cache(maxsize=1024)
def _location(target: str) -> Fields:
    """Where a link leads. Remembered, since one stands in many mails."""
    return ((b"location", location(target).encode("ascii")),)
