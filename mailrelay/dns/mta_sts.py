"""Fetches MTA-STS policies: over verified HTTPS only, no redirects, bounded in size and time (RFC 8461 §3.3)."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import aiohttp

from mailrelay.dns.pinned import PinnedResolver
from mailrelay.dns.resolver import Resolver
from mailrelay.model.sts import BadPolicy, Policy, read_policy
from mailrelay.model.tls_report import ResultType

_MAX_BYTES = 65_536
_TIMEOUT = 60.0
_PATH = "/.well-known/mta-sts.txt"


class NotFetched(Exception):
    """There is no policy to be had; `result` says for the report of what kind the failure is."""

    def __init__(self, because: str, result: ResultType = ResultType.STS_POLICY_FETCH_ERROR) -> None:
        super().__init__(because)
        self.result = result


class PolicyFetcher:
    """Fetches policies; one for the life of the process."""

    def __init__(
        self,
        resolver: Resolver,
        context: ssl.SSLContext,
        *,
        allows: Callable[[str], bool],
        agent: str,
        port: int = 443,
        timeout: float = _TIMEOUT,
    ) -> None:
        """`context` verifies the policy hosts' certificates; `allows` says whether an address may be connected to (W02)."""
        self._resolver = PinnedResolver(resolver, allows)
        self._context = context
        self._port = port
        self._timeout = timeout
        self._headers = {"User-Agent": agent, "Accept": "text/plain", "Accept-Encoding": "identity"}

    async def fetch(self, domain: str) -> Policy:
        """The policy of `domain` (A-labels). Raises NotFetched."""
        host = f"mta-sts.{domain}"
        try:
            return read_policy(await self._get(host))
        except BadPolicy as error:
            raise NotFetched(
                f"the policy of {domain} cannot be used: {error}", ResultType.STS_POLICY_INVALID
            ) from error
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or "its certificate is not valid"
            raise NotFetched(f"{host} could not prove its name: {why}", ResultType.STS_WEBPKI_INVALID) from error
        except TimeoutError as error:
            raise NotFetched(f"{host} did not answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotFetched(f"{host} gave no policy: {_sentence(error)}") from error

    async def _get(self, host: str) -> bytes:
        port = "" if self._port == 443 else f":{self._port}"
        connector = aiohttp.TCPConnector(
            resolver=self._resolver, ssl=self._context, use_dns_cache=False, limit=1, force_close=True
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            ) as session,
            # RFC 8461 §3.3: redirects are not followed, caches not asked.
            session.get(f"https://{host}{port}{_PATH}", allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise NotFetched(f"{host} answered {response.status} instead of a policy")
            if response.content_type != "text/plain":
                raise NotFetched(f"{host} answered with a {response.content_type[:80]!r}, not a text/plain")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise NotFetched(f"{host} answered in a content encoding that was not asked for")
            data = b""
            async for chunk in response.content.iter_chunked(8192):
                data += chunk
                if len(data) > _MAX_BYTES:
                    raise NotFetched(f"{host} answered with more than {_MAX_BYTES} bytes")
            return data


def _sentence(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error) or "no connection"
    return str(error)[:200] or type(error).__name__
