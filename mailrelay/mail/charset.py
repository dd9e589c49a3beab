"""Bytes of any declared charset → text that JSON and every database can hold; nothing raises (P05).

Names are read as browsers do (WHATWG Encoding: `iso-8859-1` means windows-1252); what is unknown or wrong is tried as UTF-8,
then guessed, then read byte for byte.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

_ALIASES = {
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "l1": "cp1252",
    "8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "iso-8859-6-i": "iso-8859-6",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "cp936": "gb18030",
    "x-euc-cn": "gb18030",
    "big5": "big5hkscs",
    "x-big5": "big5hkscs",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "korean": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-2022-cn": "hz",
    "unicode-1-1-utf-7": "utf-7",
    "x-unicode-2-0-utf-7": "utf-7",
    "unicode-1-1-utf-8": "utf-8",
    "unicode": "utf-16",
    "ucs-2": "utf-16",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    "windows-874": "cp874",
}
# Codecs that are text encodings of mail. Python also knows `unicode_escape`, `punycode`, `base64` …: never from a stranger.
_TEXT_CODEC = re.compile(
    r"utf|ascii|iso|latin|cp\d|big5|gb|euc|shift|johab|hz|koi8|mac|kz1048|ptcp|tis|l\d|windows|8859|ibm"
)
_DIALECT = re.compile(r"^(?:x-)?(?:ibm|cp|windows|win|ms|dos)[-_]?(\d{3,5})$")
_UNSTORABLE = re.compile("[\ud800-\udfff\0]")
_GUESS_BYTES = 4_096


@lru_cache(maxsize=256)
def codec(name: str) -> str | None:
    """The Python codec for a charset's name as mail spells it, or None when there is none."""
    name = name.strip().strip("\"'").lower()
    if len(name) > 60 or not name.isascii():
        return None
    candidate = _ALIASES.get(name, name)
    if (dialect := _DIALECT.match(candidate)) and dialect[1] not in ("65001", "1200", "1201"):
        candidate = "cp" + dialect[1]
    elif dialect:
        candidate = {"65001": "utf-8", "1200": "utf-16-le", "1201": "utf-16-be"}[dialect[1]]
    try:
        found = codecs.lookup(candidate).name
    except (LookupError, ValueError):
        return None
    return found if _TEXT_CODEC.match(found) else None


def storable(text: str) -> str:
    """`text` with lone surrogates and NUL as U+FFFD: JSON must be valid, and PostgreSQL takes neither (P05)."""
    # By `replace`: a substitution for each of a million NULs would take a second.
    return _UNSTORABLE.sub("\ufffd", text.replace("\0", "\ufffd"))


def decode(data: bytes, charset: str = "") -> str:
    """`data` as text. `charset` is what the mail claims, "" when it claims nothing; whatever it says, this returns."""
    claimed = codec(charset) if charset else None
    if claimed in ("utf-8", "ascii", None):
        if data.startswith(b"\xef\xbb\xbf"):
            data = data[3:]
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return storable(data.decode("utf-8", "replace") if claimed == "utf-8" else _guess(data))
        # ISO-2022 is 7-bit, so a mail that forgot to say so decodes "well" as ASCII.
        if claimed is None and "\x1b$" in text:
            text = data.decode("iso2022_jp_ext", "replace")
        return storable(text)
    try:
        return storable(data.decode(claimed, "replace"))
    except (UnicodeError, ValueError):  # some codecs raise in spite of "replace"
        return storable(data.decode("latin-1"))


def _guess(data: bytes) -> str:
    """8-bit bytes of no known charset: a capped guess, else windows-1252, which maps nearly every byte."""
    high = sum(byte > 127 for byte in data[:_GUESS_BYTES])
    if high >= 8:
        # Imported here: it costs more than most mails, and few need it.
        from charset_normalizer import from_bytes

        best = from_bytes(data[:_GUESS_BYTES], steps=3, chunk_size=256).best()
        if best is not None and (name := codec(best.encoding)):
            return data.decode(name, "replace")
    return data.decode("cp1252", "replace")
