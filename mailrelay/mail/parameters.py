"""Parameters of Content-Type and Content-Disposition: RFC 2045 §5.1 with RFC 2231, and what mailers write instead.

Linear and capped (P01). Names split over `name*0`, `name*1` are joined, `name*` is decoded; `=?…?=` in a value is decoded
although RFC 2047 §5 forbids it, because many send it.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from mailrelay.mail import charset, words

MAX_PARAMETERS = 200
MAX_CHARS = 64 * 1024

_HEAD = re.compile(r"[ \t]*([^;\s\"(]*)")
_BETWEEN = re.compile(r"[;\s]*")
_NAME = re.compile(r"([^\s=;\"]{1,100})[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BARE = re.compile(r"[^;]*")
_ESCAPED = re.compile(r"\\([\"\\])")
_SECTION = re.compile(r"(.+?)\*(\d{1,4})(\*?)")


def read(value: str) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """`(head, parameters, defects)`: `text/plain; charset=x` gives `("text/plain", {"charset": "x"}, ())`; keys lower-case."""
    defects: tuple[str, ...] = ()
    if len(value) > MAX_CHARS:
        value, defects = value[:MAX_CHARS], ("parameters too long",)
    head = _HEAD.match(value)
    at = head.end() if head else 0
    pairs: list[tuple[str, str]] = []
    while 0 <= at < len(value):
        between = _BETWEEN.match(value, at)
        at = between.end() if between else at  # for good: a run of `;` is passed over once, not once for each of them
        match = _NAME.match(value, at)
        if match is None:
            at = value.find(";", at + 1)  # not `name=`: on to the next one
            continue
        if len(pairs) >= MAX_PARAMETERS:
            return (head[1].lower() if head else ""), _join(pairs), (*defects, "too many parameters")
        text, at = _value(value, match.end())
        pairs.append((match[1].lower(), text))
    return (head[1].lower() if head else ""), _join(pairs), defects


def _value(value: str, at: int) -> tuple[str, int]:
    quoted = _QUOTED.match(value, at)
    if quoted:
        # Only \" and \\ are unescaped: Windows clients write paths (`C:\file.txt`) without escaping.
        return _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    bare = _BARE.match(value, at)
    text = bare[0] if bare else ""
    return text.strip().removeprefix('"').strip(), at + len(text)


def _join(pairs: list[tuple[str, str]]) -> dict[str, str]:
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[bool, str]]] = {}
    for name, text in pairs:
        section = _SECTION.fullmatch(name)
        if section:
            sections.setdefault(section[1], {}).setdefault(int(section[2]), (bool(section[3]), text))
        elif name.endswith("*"):
            sections.setdefault(name[:-1], {}).setdefault(0, (True, text))
        else:
            plain.setdefault(name, words.decode(text) if "=?" in text else charset.storable(text))
    for name, parts in sections.items():
        # RFC 2231 §3: numbered from 0 without gaps; what is missing is left out.
        plain[name] = _extended([parts[number] for number in sorted(parts)])
    return plain


def _extended(parts: list[tuple[bool, str]]) -> str:
    """Join sections; the first extended one may begin with `charset'language'` (RFC 2231 §4)."""
    name = ""
    data = b""
    for number, (is_extended, text) in enumerate(parts):
        if is_extended and number == 0 and text.count("'") >= 2:
            name, _, text = text.split("'", 2)
        raw = text.encode("utf-8", "replace")
        data += unquote_to_bytes(raw) if is_extended else raw
    text = charset.decode(data, name)
    return words.decode(text) if "=?" in text else text
