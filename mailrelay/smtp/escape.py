"""Strangers' text made harmless for logs, terminals and reports (S25, N05)."""

from __future__ import annotations

import re

HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Characters that act instead of showing: controls, line and paragraph separators, text direction, lone surrogates."""


_SHOWN = 80


def _spelled(match: re.Match[str]) -> str:
    point = ord(match[0])
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}"


def escape(text: bytes | str) -> str:
    r"""`text` on one line with what cannot be shown spelled out: `\x1b`, `\u202e`; of bytes, those not UTF-8 as `\xNN`."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    return HIDDEN.sub(_spelled, text.replace("\t", " "))


def shown(text: str) -> str:
    """`text` as an error may quote it: escaped, and cut when it is long."""
    return escape(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
