"""Content-Transfer-Encoding undone (RFC 2045 §6), as tolerantly as readers need and in linear time; nothing raises."""

from __future__ import annotations

import binascii
import re

from mailrelay.mail.words import base64_bytes

_UU_BEGIN = re.compile(rb"(?:\A|\n)begin [0-7]{3,4} [^\r\n]*\r?\n")


def decode(data: bytes, encoding: str) -> bytes:
    """`data` decoded; an encoding that is not known leaves it as it is."""
    original = data
    if encoding == "base64":
        return _base64(data)
    if b"\r" in data and b"\n" not in data:
        data = data.replace(b"\r", b"\n")  # a mail whose lines end in CR; both encodings below go by lines
    if encoding == "quoted-printable":
        return _quoted_printable(data)
    if encoding in ("x-uuencode", "x-uue", "uuencode"):
        return _uuencode(data)
    return original


def _base64(data: bytes) -> bytes:
    try:
        return binascii.a2b_base64(data.translate(None, b"\r\n \t"), strict_mode=True)
    except binascii.Error:
        return base64_bytes(data.decode("latin-1"))


def _quoted_printable(data: bytes) -> bytes:
    if b" \n" in data or b" \r\n" in data or b"\t\n" in data or b"\t\r\n" in data:
        # RFC 2045 §6.7 (3): blanks at the end of a line were added in transport.
        data = b"\n".join(
            line.rstrip(b" \t\r") + (b"\r" if line.endswith(b"\r") else b"") for line in data.split(b"\n")
        )
    return binascii.a2b_qp(data)


def _uuencode(data: bytes) -> bytes:
    begin = _UU_BEGIN.search(data)
    out = []
    for line in data[begin.end() if begin else 0 :].split(b"\n"):
        line = line.rstrip(b"\r")
        if line == b"end":
            break
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:
            # Some encoders count wrongly; take as many bytes as the length character claims.
            claimed = (((line[0] - 32) & 63) * 4 + 5) // 3 if line else 0
            try:
                out.append(binascii.a2b_uu(line[:claimed]))
            except binascii.Error:
                continue
    return b"".join(out)
