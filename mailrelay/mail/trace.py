"""Trace fields: our Received, the loops that those of others tell of, and forged ones from outside (RFC 5321 §4.4)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection
from datetime import datetime

from mailrelay.mail import dates
from mailrelay.mail.addresses import parse as parse_address
from mailrelay.mail.headers import HeaderBlock
from mailrelay.model.address import Address
from mailrelay.smtp.address import BadAddress, format_path

MAX_HOPS = 50
"""Received fields of a mail that goes round and round; RFC 5321 §6.3 asks for at least 100 or another way to see loops."""

_UNSAFE = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
_AUTHSERV = re.compile(r"[ \t]*(?:\([^()]*\)[ \t]*)*\"?([^\s;\"()]+)")
_INTERNAL = "x-mailrelay-"
_MAX_HELO = 100


def received(
    *,
    helo: str,
    peer_ip: str,
    by: str,
    protocol: str,
    queue_id: str,
    at: datetime,
    recipient: Address | None = None,
    tls: str = "",
) -> bytes:
    """Our Received field, folded, ended by CRLF (RFC 5321 §4.4).

    `helo` is a stranger's word and only its harmless characters are kept (S25); `peer_ip` is what we saw. `protocol` is of RFC
    3848 (`ESMTPS`); `tls` is `TLSv1.3 TLS_AES_256_GCM_SHA384` or "". `recipient` only where the mail has one: with several,
    `for` would betray a Bcc (RFC 5321 §7.6).
    """
    literal = f"[IPv6:{peer_ip}]" if ":" in peer_ip else f"[{peer_ip}]"
    lines = [
        f"Received: from {clean_helo(helo)} ({_UNSAFE.sub('?', literal)})",
        f" by {_UNSAFE.sub('?', by)} with {_UNSAFE.sub('?', protocol)}" + (f" ({_comment(tls)})" if tls else ""),
        f" id {_UNSAFE.sub('?', queue_id)}",
    ]
    if recipient is not None:
        # A trace without `for` says less; one with a second line in it would say too much.
        with contextlib.suppress(BadAddress):
            lines.append(f" for {format_path(recipient)}")
    lines[-1] += ";"
    lines.append(f" {dates.write(at)}")
    return ("\r\n".join(lines) + "\r\n").encode("utf-8")


def clean_helo(helo: str) -> str:
    """A HELO argument that can stand in a header, a log and a page: other characters are `?`, at most 100; `unknown` for ""."""
    return _UNSAFE.sub("?", helo)[:_MAX_HELO] or "unknown"


def _comment(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._ -]", "?", text)[:100]


def hops(block: HeaderBlock) -> int:
    """How many Received fields there are."""
    return len(block.fields_named("Received"))


def loop(block: HeaderBlock, delivered_to: Collection[Address] = (), *, max_hops: int = MAX_HOPS) -> str:
    """Why this mail goes in circles, as a sentence for the 554 5.4.6, or "" (S23).

    Too many hops, or a Delivered-To of one of `delivered_to`, which are the addresses it is being delivered to now.
    """
    if (count := hops(block)) > max_hops:
        return f"The message has passed {count} hosts, more than {max_hops}: a mail loop"
    ours = {address.key for address in delivered_to}
    for value in block.all("Delivered-To"):
        found = parse_address(value.strip().removeprefix("<").removesuffix(">"))
        if found is not None and found.key in ours:
            return f"The message was already delivered to {found}: a mail loop"
    return ""


def without_forged(block: HeaderBlock, *, authserv_id: str) -> HeaderBlock:
    """The block without what only we may say: Authentication-Results in our name and `X-Mailrelay-…` fields (S24).

    RFC 8601 §5: a field that claims our authserv-id and came from outside is removed, in any case or spelling.
    """
    kept = tuple(
        field
        for field in block
        if not field.key.startswith(_INTERNAL)
        and not (field.key == "authentication-results" and _claims(field.value, authserv_id))
    )
    return block if len(kept) == len(block.fields) else block.keep(kept)


def _claims(value: str, authserv_id: str) -> bool:
    found = _AUTHSERV.match(value)
    return found is None or found[1].rstrip(".").lower() == authserv_id.rstrip(".").lower()
