"""Access tokens for smart hosts that are logged in to with OAuth 2: a refresh token is changed into one (RFC 6749 §6, RFC 7628)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import msgspec

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.dns.pinned import PinnedResolver
from mailrelay.dns.resolver import Resolver
from mailrelay.errors import Unavailable
from mailrelay.ids import SmartHostId
from mailrelay.model.network import is_public
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
        allow_private: bool,
        agent: str,
        keep: Keep,
        ca_file: Path | None = None,
    ) -> None:
        """`allow_private`: token endpoints may be at private addresses, and in clear. `ca_file`: authorities to trust, too."""
        self._resolver = PinnedResolver(resolver, lambda ip: allow_private or is_public(ip))
        self._clock = clock
        self._allow_private = allow_private
        self._context = trusting(ca_file)
        self._headers = {"User-Agent": agent, "Accept": "application/json", "Accept-Encoding": "identity"}
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
        if (because := bad_endpoint(host.token_url, allow_private=self._allow_private)) is not None:
            raise NoToken(f"the token endpoint {because}")
        try:
            status, body = await self._post(host, secrets)
            answer = msgspec.json.decode(body, type=_Answer)
        except TimeoutError as error:
            raise NoToken(f"{where} gave no token within {_TIMEOUT:g} s") from error
        except msgspec.MsgspecError as error:
            raise NoToken(f"{where} answered what is no token") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoToken(f"{where} gave no token: {_said(str(error) or type(error).__name__)}") from error
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
        connector = aiohttp.TCPConnector(
            resolver=self._resolver, ssl=self._context, use_dns_cache=False, limit=1, force_close=True
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            ) as session,
            # A redirect would carry the refresh token to somebody else.
            session.post(host.token_url, data=form, allow_redirects=False) as response,
        ):
            data = b""
            async for chunk in response.content.iter_chunked(8192):
                data += chunk
                if len(data) > _MAX_BYTES:
                    raise ValueError(f"the answer is larger than {_MAX_BYTES} bytes")
            if response.status != 200 and not data.lstrip().startswith(b"{"):
                raise ValueError(f"it answered {response.status}")
            return response.status, data


def bad_endpoint(url: str, *, allow_private: bool) -> str | None:
    """What is wrong with the URL of a token endpoint, as the end of a sentence; None when nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be an https URL"
    host = parts.hostname or ""
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_private):
        return "must be an https URL"
    if not host or parts.username is not None or parts.fragment or not url.isascii() or not url.isprintable():
        return "must be an https URL of a host, without a user name or a fragment"
    if host.replace(".", "").isdigit() or ":" in host:
        # No name was looked up, so nobody would judge the address.
        return None if allow_private else "must be at a host name, not at an address"
    if port not in (None, 443) and not allow_private:
        return "must be at port 443"
    return None


def _said(text: str) -> str:
    text = escape(" ".join(text.split()))
    return text if len(text) <= _MAX_SAID else text[: _MAX_SAID - 1] + "…"
