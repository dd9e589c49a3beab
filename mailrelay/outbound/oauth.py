"""Access tokens for smart hosts that are logged in to with OAuth 2: a refresh token is changed into one (RFC 6749 §6, RFC 7628)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.dns.outgoing import NoAnswer, Outgoing
from mailrelay.dns.resolver import Resolver
from mailrelay.errors import Unavailable
from mailrelay.ids import SmartHostId
from mailrelay.model.reach import BadUrl, Reach
from mailrelay.model.smart_host import Secrets, SmartHost
from mailrelay.outbound.trust import trusting
from mailrelay.smtp.escape import escape

_MAX_BYTES = 65_536
_TIMEOUT = 30.0
_LONGEST_TOKEN = 8_192
_EARLY = 60.0
"""Seconds before its end that a token is no longer used: it must last until the server has looked at it."""
_USUAL_LIFE = 300.0  # RFC 6749 §5.1 only recommends to say how long a token lives
_MAX_KEPT = 10_000
_MAX_SAID = 200
_logger = log.get()

Keep = Callable[[SmartHost, Secrets], Awaitable[None]]
"""Writes down the secrets of a smart host, when whoever gives out tokens changed the refresh token."""


class NoToken(Exception):
    """There is no access token to be had; the sentence says why."""


class _Answer(msgspec.Struct):
    """RFC 6749 §5.1 and §5.2."""

    access_token: str = ""
    expires_in: float | None = None
    refresh_token: str = ""
    error: str = ""
    error_description: str = ""


@dataclass(frozen=True, slots=True)
class _Kept:
    token: str
    until: float
    secret: str
    """The sealed secrets that it was got with; with others it is not used."""


class Tokens:
    """Gets access tokens, and keeps them in memory until shortly before they end."""

    def __init__(
        self,
        resolver: Resolver,
        clock: Clock,
        *,
        reach: Reach,
        agent: str,
        keep: Keep,
        ca_file: Path | None = None,
    ) -> None:
        """`reach`: where token endpoints may be. `ca_file`: authorities to trust, too."""
        self._outgoing = Outgoing(resolver, reach, trusting(ca_file), agent=agent)
        self._clock = clock
        self._reach = reach
        self._keep = keep
        self._kept: OrderedDict[SmartHostId, _Kept] = OrderedDict()
        self._under_way: dict[SmartHostId, asyncio.Lock] = {}

    async def token(self, host: SmartHost, secrets: Secrets, *, not_this: str = "") -> str:
        """An access token for the host, the one kept unless it is `not_this`, which was refused. Raises NoToken.

        Many may ask at once; the endpoint is asked once.
        """
        lock = self._under_way.setdefault(host.id, asyncio.Lock())
        try:
            async with lock:
                kept = self._kept.get(host.id)
                if (
                    kept is not None
                    and kept.secret == host.secret
                    and kept.token != not_this
                    and self._clock.monotonic() < kept.until
                ):
                    return kept.token
                answer = await self._ask(host, secrets)
                life = _USUAL_LIFE if answer.expires_in is None else answer.expires_in
                until = self._clock.monotonic() + max(0.0, life - _EARLY)
                if answer.refresh_token and answer.refresh_token != secrets.refresh_token:
                    await self._kept_new(host, replace(secrets, refresh_token=answer.refresh_token))
                self._remember(host.id, _Kept(answer.access_token, until, host.secret))
                return answer.access_token
        finally:
            if not lock.locked():
                self._under_way.pop(host.id, None)

    async def _kept_new(self, host: SmartHost, secrets: Secrets) -> None:
        try:
            await self._keep(host, secrets)
        except Unavailable as error:  # the old one mostly holds for a while, and the token that came with it is good
            _logger.warning("smart-host.unsaved", smart_host=host.id, reason=str(error))

    def _remember(self, id_: SmartHostId, kept: _Kept) -> None:
        self._kept[id_] = kept
        self._kept.move_to_end(id_)
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)

    async def _ask(self, host: SmartHost, secrets: Secrets) -> _Answer:
        where = urlsplit(host.token_url).hostname or ""
        if (because := bad_endpoint(host.token_url, self._reach)) is not None:
            raise NoToken(f"the token endpoint {because}")
        try:
            status, body = await self._post(host, secrets)
            answer = msgspec.json.decode(body, type=_Answer)
        except NoAnswer as error:
            raise NoToken(f"{where} gave no token: {_said(str(error))}") from error
        except msgspec.MsgspecError as error:
            raise NoToken(f"{where} answered what is no token") from error
        except ValueError as error:
            raise NoToken(f"{where} gave no token: {_said(str(error))}") from error
        if status != 200 or answer.error:
            why = " ".join(filter(None, (answer.error, answer.error_description))) or "no reason given"
            raise NoToken(f"{where} answered {status}: {_said(why)}")
        if not 0 < len(answer.access_token) <= _LONGEST_TOKEN or not answer.access_token.isprintable():
            raise NoToken(f"{where} answered without a usable access token")
        return answer

    async def _post(self, host: SmartHost, secrets: Secrets) -> tuple[int, bytes]:
        form = {"grant_type": "refresh_token", "refresh_token": secrets.refresh_token, "client_id": host.client_id}
        if secrets.client_secret:
            form["client_secret"] = secrets.client_secret
        if host.token_scope:
            form["scope"] = host.token_scope
        # A redirect would carry the refresh token to somebody else; none is followed.
        answer = await self._outgoing.post(
            host.token_url, form, {"Accept": "application/json"}, timeout=_TIMEOUT, most=_MAX_BYTES
        )
        if not answer.whole:
            raise ValueError(f"the answer is larger than {_MAX_BYTES} bytes")
        if answer.status != 200 and not answer.body.lstrip().startswith(b"{"):
            raise ValueError(f"it answered {answer.status}")
        return answer.status, answer.body

    async def close(self) -> None:
        """Let go of all connections."""
        await self._outgoing.close()


def bad_endpoint(url: str, reach: Reach) -> str | None:
    """What is wrong with the URL of a token endpoint, as the end of a sentence; None when nothing is."""
    try:
        found = reach.url(url)
    except BadUrl as error:
        return str(error)
    if reach.everywhere:
        return None
    if found.is_address:
        return "must be at a host name, not at an address"
    return None if found.port == 443 else "must be at port 443"


def _said(text: str) -> str:
    text = escape(" ".join(text.split()))
    return text if len(text) <= _MAX_SAID else text[: _MAX_SAID - 1] + "…"
