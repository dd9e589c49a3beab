"""Names of files from strangers: what is offered to whoever saves one (P04). Nothing here is ever called by such a name.

RFC 6266 with RFC 8187; RFC 6266 §4.3: only the last part of a path, nothing that a system takes for something else.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from urllib.parse import quote

MAX_BYTES = 180
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*;%]')
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_LONGEST_LOOKED_AT = 10_000
_LONGEST_END = 20
_NO_TEXT = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def safe(name: str, type: str = "") -> str:  # noqa: A002 (the field's name)
    """A name to save a file under: no path, no control or direction characters, no device, at most `MAX_BYTES` in UTF-8; never ""."""
    name = re.split(r"[/\\]", name[-_LONGEST_LOOKED_AT:])[-1]
    name = "".join(char for char in name if unicodedata.category(char) not in _NO_TEXT)
    name = _FORBIDDEN.sub("_", " ".join(name.split())).strip(". ")
    if not name.strip("_"):
        name = "attachment" + (mimetypes.guess_extension(media_type(type), strict=True) or "")
    name = _cut(name)
    return f"_{name}" if _RESERVED.match(name) else name


def _cut(name: str) -> str:
    """At most `MAX_BYTES`; the end that says what it is stays."""
    stem, dot, end = name.rpartition(".")
    if not stem or len(end) > _LONGEST_END:
        stem, dot, end = name, "", ""
    room = MAX_BYTES - 1 - len((dot + end).encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(". ") + dot + end


def disposition(name: str, type: str = "") -> str:  # noqa: A002
    """The value of a Content-Disposition that has the file saved and never shown."""
    known = safe(name, type)
    plain = known.encode("ascii", "replace").decode().replace("?", "_").replace("'", "_")
    # RFC 6266 appendix D: both forms, the old one first; it has no character that would have to be escaped.
    extended = "" if plain == known else f"; filename*=UTF-8''{quote(known, safe='')}"
    return f'attachment; filename="{plain}"{extended}'


def media_type(said: str) -> str:
    """The media type that a mail says a file has, if it is one; else `application/octet-stream`."""
    kind = said.strip().lower()
    return kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream"
