"""Every HTTP request to a URL that a user named goes out here, and gets nowhere that it may not (W02, W04).

The URL is looked at, its name is looked up by our own resolver, each address is judged, and the very addresses that were judged are
dialled: an answer that changes in between changes nothing. Redirects are not followed, proxies and cookies unknown; the answer has
a deadline as a whole, and of its body no more is read than is wanted.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from mailrelay.dns.pinned import PinnedResolver
from mailrelay.dns.resolver import Resolver
from mailrelay.model.reach import BadUrl, Reach, Url
from mailrelay.smtp.escape import escape

_HEADERS = 64
_LINE = 4096
_CHUNK = 4096


class NoAnswer(Exception):
    """There was none, and the sentence says why."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer: `body` is its beginning, `whole` whether there was no more of it."""

    status: int
    body: bytes = field(repr=False)
    whole: bool
    retry_after: str
    """The header as it came, "" without one."""


class Outgoing:
    """A client for requests of one kind."""

    def __init__(
        self, resolver: Resolver, reach: Reach, context: ssl.SSLContext, *, agent: str, connections: int = 100
    ) -> None:
        """`context` verifies certificates; `connections` at once at most."""
        self._resolver = PinnedResolver(resolver, reach.allows)
        self._reach = reach
        self._context = context
        self._headers = {"User-Agent": agent, "Accept-Encoding": "identity"}
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def check(self, text: str) -> Url:
        """The URL, if it may be reached now. Raises BadUrl, also where its name has no address that may be."""
        url = self._reach.url(text)
        if not url.is_address:
            try:
                await self._resolver.resolve(url.host, url.port, socket.AF_UNSPEC)
            except OSError as error:
                raise BadUrl(f"cannot be reached: {error}") from error
        return url

    async def post(
        self,
        text: str,
        data: bytes | Mapping[str, str],
        headers: Mapping[str, str],
        *,
        timeout: float,  # noqa: ASYNC109 (of the whole exchange, which aiohttp watches over)
        most: int,
        success_alone: bool = False,
    ) -> Answered:
        """The answer to a POST, with at most `most` bytes of its body. Raises NoAnswer, after `timeout` seconds at the latest.

        With `success_alone` the body of a success is not waited for.
        """
        try:
            url = self._reach.url(text)
        except BadUrl as error:
            raise NoAnswer(f"the URL {error}") from error
        where = URL(url.text, encoded=True)
        if (where.host or "").lower() != url.host or where.port != url.port:
            raise NoAnswer("the URL can be read in two ways")
        try:
            async with self._client().post(
                where, data=data, headers=headers, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=timeout)
            ) as response:
                if success_alone and 200 <= response.status < 300:
                    body, whole = b"", False
                    response.release()  # to be used again where the body is here already, else closed
                else:
                    body, whole = await _beginning(response, most)
                    if not whole:
                        response.close()
                return Answered(response.status, body, whole, response.headers.get("Retry-After", "")[:100])
        except TimeoutError as error:
            raise NoAnswer(f"no whole answer within {timeout:g} s") from error
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or "it is not valid"
            raise NoAnswer(f"the certificate of {url.host} was not accepted: {why}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(_sentence(error)) from error

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=self._resolver,
                    socket_factory=self._socket,
                    ssl=self._context,
                    use_dns_cache=False,
                    limit=self._connections,
                    # Servers close idle connections after a few seconds: one that is used at that moment gets no answer.
                    keepalive_timeout=2,
                ),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                read_bufsize=_CHUNK,
                max_line_size=_LINE,
                max_field_size=_LINE,
                max_headers=_HEADERS,
            )
        return self._session

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The last word: whatever led here, an address that may not be reached gets no socket. Raises OSError."""
        family, kind, protocol, _, address = info
        if not self._reach.allows(address[0]):
            raise OSError(f"{address[0]} is a private address, which is not allowed here")
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        return sock


async def _beginning(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    body = b""
    while len(body) <= most:
        chunk = await response.content.read(min(_CHUNK, most + 1 - len(body)))
        if not chunk:
            return body, True
        body += chunk
    return body[:most], False


def _sentence(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        said = error.os_error.strerror or str(error.os_error) or "no connection"
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        said = "the connection was closed without an answer"
    else:
        said = str(error) or type(error).__name__
    return escape(" ".join(said.split()))[:200]
