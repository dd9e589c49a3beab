"""Our Authentication-Results field: RFC 8601, written from our own verdicts and nothing else (I2, S24)."""

from __future__ import annotations

import re

from mailrelay.model.address import Address, ReversePath
from mailrelay.model.message import AuthVerdicts

_TOKEN = re.compile(r"[A-Za-z0-9!#$&'*+.^_`{|}~-]+")


def field(authserv_id: str, verdicts: AuthVerdicts, *, mail_from: ReversePath, header_sender: Address | None) -> bytes:
    """The whole field, folded, with its CRLF: to be put on top of a message. One method a line, DKIM once a signature.

    `authserv_id` is our host name. Whatever a stranger could write into a value is quoted or made `?`.
    """
    lines = [_value(authserv_id)]
    identity = "smtp.mailfrom" if mail_from else "smtp.helo"
    lines.append(_method("spf", verdicts.spf.value, verdicts.spf_reason, {identity: verdicts.spf_domain}))
    lines += [
        _method("dkim", one.verdict.value, one.reason, {"header.d": one.domain, "header.s": one.selector})
        for one in verdicts.dkim
    ]
    if not verdicts.dkim:
        lines.append("dkim=none")  # RFC 8601 §2.7.1
    policy = f" (p={verdicts.dmarc_policy})" if verdicts.dmarc_policy else ""
    from_domain = {"header.from": header_sender.domain if header_sender else ""}
    lines.append(_method("dmarc", verdicts.dmarc.value + policy, "", from_domain))
    return ("Authentication-Results: " + ";\r\n\t".join(lines) + "\r\n").encode("ascii")


def _method(name: str, result: str, reason: str, properties: dict[str, str]) -> str:
    parts = [f"{name}={result}"]
    if reason and result != "pass":
        parts.append(f"reason={_value(reason)}")
    parts += [f"{key}={_value(value)}" for key, value in properties.items() if value]
    return "\r\n\t ".join(parts)


def _value(text: str) -> str:
    """A token as it is; anything else as a quoted-string of printable ASCII (RFC 2045 §5.1)."""
    if _TOKEN.fullmatch(text):
        return text
    printable = "".join(char if " " <= char <= "~" else "?" for char in text)[:200]
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
