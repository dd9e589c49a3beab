"""DKIM's canonical forms (RFC 6376 §3.4) in time that grows with the length of their input, whatever it holds (P14)."""

from __future__ import annotations

import re

_PAIRS_BACKWARDS = re.compile(rb"(?:\n\r)*")


def collapse_blanks(content: bytes) -> bytes:
    """Every run of blanks and tabs as one blank."""
    content = content.replace(b"\t", b" ")
    while b"  " in content:  # halves the longest run at each pass
        content = content.replace(b"  ", b" ")
    return content


def strip_line_ends(content: bytes) -> bytes:
    """No blanks before a CRLF, and runs collapsed: for relaxed bodies, where both are done to every line."""
    return collapse_blanks(content).replace(b" \r\n", b"\r\n")


def strip_empty_lines(content: bytes) -> bytes:
    """No empty lines at the end, and exactly one CRLF there."""
    tail = content[len(content.rstrip(b"\r\n")) :][::-1]
    match = _PAIRS_BACKWARDS.match(tail)
    return content[: len(content) - (match.end() if match else 0)] + b"\r\n"
