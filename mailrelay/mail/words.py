"""Encoded words (RFC 2047) read and written. Reading is tolerant of what mailers really write and linear in what they send (P01).

Adjacent words of one charset are joined as bytes before they are decoded, because senders split inside a character.
"""

from __future__ import annotations

import binascii
import re

from mailrelay.mail import charset

_MAX_DECODED = 64 * 1024
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_QUOTED = re.compile(rb"=([0-9A-Fa-f]{2})")
_CHARSET = re.compile(r"[!-<>@-~]{1,60}")
_BETWEEN = re.compile(r"[ \t\r\n]*")


def decode(value: str) -> str:
    """`value` with its encoded words decoded; control characters, also decoded ones, are spaces (P09). Never raises."""
    if "=?" in value:
        value = value[:_MAX_DECODED]
        value = _decode(value)
    return _CONTROL.sub(" ", charset.storable(value)).strip(" \t")


def _decode(value: str) -> str:
    out: list[str] = []
    run: list[tuple[str, str, str]] = []  # adjacent words, waiting to be joined
    at = 0  # up to here everything is in `out` or `run`
    look = 0
    closing = -1  # position of the next "?=", remembered so that the search stays linear
    while (start := value.find("=?", look)) >= 0:
        head = _CHARSET.match(value, start + 2)
        kind = value[head.end() + 1 : head.end() + 2] if head else ""
        if (
            head is None
            or kind not in ("b", "B", "q", "Q")
            or value[head.end()] != "?"
            or value[head.end() + 2 : head.end() + 3] != "?"
        ):
            look = start + 2
            continue
        begin = head.end() + 3
        if closing < begin:
            closing = value.find("?=", begin)
            if closing < 0:
                break
        inner = value.find("=?", begin, closing)
        if inner >= 0:  # not ended before the next one begins
            look = inner
            continue
        between = value[at:start]
        # RFC 2047 §6.2: white space between adjacent encoded words is not shown.
        if not run or not _BETWEEN.fullmatch(between):
            _flush(run, out)
            out.append(between)
        run.append((head[0].partition("*")[0], kind.lower(), value[begin:closing]))
        at = look = closing + 2
    _flush(run, out)
    out.append(value[at:])
    return "".join(out)


def _flush(run: list[tuple[str, str, str]], out: list[str]) -> None:
    """Decode the waiting words, neighbours of one charset together."""
    data = b""
    current = ""
    open_base64 = ""  # characters of a word that stopped inside a quantum
    for name, kind, payload in run:
        if name.lower() != current.lower():
            if current:
                out.append(charset.decode(data + base64_bytes(open_base64), current))
            data, open_base64, current = b"", "", name
        if kind == "b":
            payload = open_base64 + payload.strip()
            whole = len(payload) if payload.endswith("=") else len(payload) // 4 * 4
            data += base64_bytes(payload[:whole])
            open_base64 = payload[whole:]
        else:
            data += base64_bytes(open_base64) + quoted_bytes(payload)
            open_base64 = ""
    if current:
        out.append(charset.decode(data + base64_bytes(open_base64), current))
    run.clear()


def base64_bytes(text: str) -> bytes:
    """Base64 as strangers write it: other characters are skipped, padding may be missing or in the middle."""
    raw = text.encode("ascii", "ignore")
    try:
        return binascii.a2b_base64(raw, strict_mode=True)
    except binascii.Error:
        pass
    out = []
    for chunk in re.split(rb"=+", re.sub(rb"[^A-Za-z0-9+/=]", b"", raw)):
        usable = chunk if len(chunk) % 4 != 1 else chunk[:-1]  # six bits make no byte
        out.append(binascii.a2b_base64(usable + b"=" * (-len(usable) % 4)))
    return b"".join(out)


def quoted_bytes(text: str) -> bytes:
    """The Q encoding (RFC 2047 §4.2): `_` is a space, `=XX` a byte; anything else stands for itself."""
    raw = text.replace("_", " ").encode("utf-8", "replace")
    return _QUOTED.sub(lambda match: bytes((int(match[1], 16),)), raw)


def encode(text: str, *, first: int = 60) -> str:
    """`text` as base64 encoded words in UTF-8, each at most 75 characters, split between characters (RFC 2047 §2, §5)."""
    out: list[str] = []
    room = max(15, min(first, 75) - 12) // 4 * 3  # 12: =?utf-8?b??=
    chunk = b""
    for char in text:
        data = char.encode("utf-8", "replace")
        if len(chunk) + len(data) > room:
            out.append(_word(chunk))
            chunk, room = b"", 45
        chunk += data
    if chunk:
        out.append(_word(chunk))
    return " ".join(out)


def _word(chunk: bytes) -> str:
    return f"=?utf-8?b?{binascii.b2a_base64(chunk, newline=False).decode()}?="
