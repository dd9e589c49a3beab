"""What the pages of the public door may use, and how one is added: a module of `web.public` with a function `paths`.

`paths(door)` gives an ASGI application for each first part of a path: `{"c": Path(…)}` for `/c/…`. It gets the whole scope. What
reads a body says so, and is then behind the guards of `web.face`: small bodies only, and no slow ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.types import ASGIApp, Scope

from mailrelay.model.hit import RawHit
from mailrelay.tracking.token import Keys, Token, read
from mailrelay.web.application import Application
from mailrelay.web.public.client import Clients
from mailrelay.web.public.link import token_in


class HitSink(Protocol):
    """Where hits go: see `outbound.hits.Hits`."""

    def put(self, hit: RawHit) -> None:
        """Take a hit. Never waits, never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Path:
    """What answers below one first part of a path."""

    app: ASGIApp
    reads_body: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What a page may use. Whoever asks is nobody that we know: only a token says what may be done."""

    application: Application
    keys: Keys
    hits: HitSink
    clients: Clients
    strange: Callable[[Scope], bool]
    """Called for each request that names nothing of ours: whether its sender may go on asking (T03)."""

    def token(self, scope: Scope, part: str, *, suffix: str = "") -> Token | None:
        """The token in `/part/TOKEN`, made by us for the host that was asked; None for anything else. See `token_in`."""
        text = token_in(scope["path"], part, suffix=suffix)
        return None if text is None else read(text, self.keys, host_of(scope))


def host_of(scope: Scope) -> str:
    """The Host field as it came; "" for none or more than one, which no token is for."""
    found = [value for name, value in scope["headers"] if name == b"host"]
    return found[0].decode("latin-1") if len(found) == 1 else ""
