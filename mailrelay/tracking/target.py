"""Which links may be redirected to: what every browser reads as one host, and nothing that leads elsewhere (T02)."""

from __future__ import annotations

import re

MAX_TARGET = 2_000
"""Bytes of UTF-8. Longer ones are left in the mail as they are."""

# ASCII only, so that nobody has to fold, map or guess a name: what an IDN shows and where it leads may be two things.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = rf"(?:{_LABEL}\.)*{_LABEL}\.?|\[[0-9a-f:.]{{2,45}}\]"
# RFC 3986 §3: after the authority a path, a query, a fragment or nothing. No userinfo: `https://bank@evil`.
_SAFE = re.compile(rf"(?:https?)://(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?(?=[/?#]|\Z)", re.IGNORECASE | re.ASCII)
# C0, DEL, C1, and what a browser drops or takes for a slash (WHATWG URL §4.4); surrogates have no bytes.
_NEVER = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\ud800-\udfff]")
_MAX_HOST = 253
_MAX_PORT = 65_535


def target_host(url: str) -> str | None:
    """The host of a link that may be redirected to, lower-case without a final dot; None when it may not be.

    http and https with an authority, without userinfo, backslash or control characters, at most MAX_TARGET bytes. Its host is
    ASCII: one beyond it may look like another's, or be turned into another's by what reads it.
    """
    if not url.isascii() and (_NEVER.search(url) or len(url.encode("utf-8")) > MAX_TARGET):
        return None
    match = _SAFE.match(url)
    if match is None or len(url) > MAX_TARGET or _NEVER.search(url):
        return None
    host = match["host"]
    if len(host) > _MAX_HOST or int(match["port"] or 0) > _MAX_PORT:
        return None
    return host.lower().removesuffix(".")


def location(target: str) -> str:
    """A safe target as a Location field has it: what is not a visible ASCII character percent-encoded, as browsers do it."""
    if target.isascii() and " " not in target:
        return target
    return "".join(
        char if "!" <= char <= "~" else "".join(f"%{byte:02X}" for byte in char.encode("utf-8")) for char in target
    )
