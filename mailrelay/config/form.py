"""How names, addresses and URLs must be written in the configuration. Each returns the value as the rest of mailrelay uses
it, or raises ValueError with the end of the sentence "setting: …".
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

import idna

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LONGEST_NAME = 253  # RFC 1035 §2.3.4: 255 octets on the wire


def domain(text: str) -> str:
    """A domain name as lower-case A-labels without a final dot (RFC 5890 §2.3.2.1)."""
    name = text.lower().removesuffix(".")
    if not name.isascii():
        try:
            ascii_form = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise ValueError("must be a domain name") from None
        raise ValueError(f"must be in its ASCII form: {ascii_form}")
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise ValueError("must be a domain name")
    return name


def mail_address(text: str) -> str:
    """A plain mail address, ASCII and unquoted, its domain as `domain` has it."""
    local, at, name = text.rpartition("@")
    if not at or not _LOCAL.fullmatch(local):
        raise ValueError("must be a mail address, such as postmaster@example.org")
    return f"{local}@{domain(name)}"


def address(text: str) -> str:
    """An IPv4 or IPv6 address."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("must be an IP address, such as 127.0.0.1 or ::1") from None


def overlap(one: str, other: str) -> bool:
    """Whether listening on both addresses is listening twice: they are the same, or one is all addresses of the other's kind."""
    if one == other or "::" in (one, other):  # Linux takes IPv4 on :: as well
        return True
    return "0.0.0.0" in (one, other) and ":" not in one + other  # noqa: S104 (compared, not listened on)


def host(text: str) -> str:
    """A domain name or an IP address."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return domain(text)
    except ValueError as error:
        raise ValueError(str(error).replace("a domain name", "a host name or an IP address")) from None


def network(text: str) -> str:
    """A network in CIDR form, or one address."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        if "host bits" in str(error):
            raise ValueError(
                f"has bits set after its prefix; write {ipaddress.ip_network(text, strict=False)}"
            ) from None
        raise ValueError("must be a network, such as 192.0.2.0/24") from None


def nameserver(text: str) -> str:
    """`192.0.2.1`, `192.0.2.1:53`, `2001:db8::1` or `[2001:db8::1]:53`."""
    bare, port = text, ""
    if found := re.fullmatch(r"\[([^\]]*)\]:(\d{1,5})|([^:]*):(\d{1,5})", text):
        bare, port = found[1] or found[3], found[2] or found[4]
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        bare = ""
    if not bare or (port and not 0 < int(port) < 65536):
        raise ValueError("must be an address or address:port, such as 192.0.2.53 or [2001:db8::53]:5353")
    return text


def store_url(text: str) -> str:
    """`sqlite`, or `postgresql://user@host:port/database` without a password; never says the URL, which may hold one."""
    if text == "sqlite":
        return text
    url = _split(text)
    if url is None or url.scheme not in ("postgresql", "postgres") or not url.path.strip("/"):
        raise ValueError("must be sqlite or postgresql://user@host:port/database")
    if url.password is not None or "password=" in url.query:
        raise ValueError("holds a password; move it to store.password: {file: path} or {env: NAME}")
    return text


def base_url(text: str) -> str:
    """`https://name` or `https://name:port/path`, without what a base cannot have; no slash at its end."""
    url = _split(text)
    if url is None or url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must be a URL such as https://click.example.org")
    if (
        url.username is not None
        or url.query
        or url.fragment
        or not text.isascii()
        or not text.isprintable()
        or " " in text
    ):
        raise ValueError("must be scheme, name, port and path only, such as https://click.example.org")
    return text.rstrip("/")


def _split(text: str) -> SplitResult | None:
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        return None
    return url
