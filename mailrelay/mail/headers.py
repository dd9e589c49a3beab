"""The header block as ordered raw fields; edits leave everything else byte for byte (RFC 5322 §2.2).

The standard library's parser is not used: it re-folds, and hostile headers make it slow (P01) or raise. One linear scan,
capped at `MAX_FIELDS` fields and `MAX_BYTES` bytes; what lies beyond is kept, opaque, as the last entry.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from mailrelay.errors import Invalid
from mailrelay.mail import charset, words

MAX_FIELDS = 1_000
MAX_BYTES = 256 * 1024
FOLD_AT = 78
"""RFC 5322 §2.1.1: lines SHOULD be no longer than this, without CRLF."""
LINE_LIMIT = 998

_TOP = (b"\xef\xbb\xbf", b"From ", b">From ")
# RFC 5322 §4.5.8 (obsolete): white space may stand before the colon.
_NAME = re.compile(rb"([!-9;-~]{1,997})[ \t]*:")
_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")
_FOLD = re.compile(r"[\r\n]+(?=[ \t])|[\r\n]+")


@dataclass(frozen=True, slots=True)
class Field:
    """One field as it stood: `raw` with folds and line ends; `name` as written, "" for a line that is no field."""

    name: str
    raw: bytes

    @property
    def key(self) -> str:
        """The name to compare."""
        return self.name.lower()

    @property
    def value(self) -> str:
        """Unfolded, without outer white space; 8-bit as UTF-8, else as windows-1252. Encoded words are left."""
        return unfold(self.raw[:MAX_BYTES].partition(b":")[2])

    @property
    def text(self) -> str:
        """The value for a reader: encoded words decoded (RFC 2047), no control characters."""
        return words.decode(self.value)


def unfold(raw: bytes) -> str:
    """A field's body as one line of text (RFC 5322 §2.2.3); never raises."""
    if b"\r" in raw or b"\n" in raw:
        raw = raw.replace(b"\r", b"").replace(b"\n", b"") if raw.isascii() else raw
    text = raw.decode("ascii") if raw.isascii() else charset.decode(raw)
    return charset.storable(_FOLD.sub("", text)).strip(" \t")


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """The fields of one entity in order; `bytes(block)` gives back exactly what was read, separator included."""

    fields: tuple[Field, ...]
    separator: bytes
    """The empty line after the fields; b"" when the header ran into the end or into a line that is no field."""
    start: int
    end: int
    """Offset of the body in what was parsed."""
    defects: tuple[str, ...] = ()
    _index: dict[str, list[Field]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def parse(cls, raw: bytes, start: int = 0, limit: int | None = None) -> HeaderBlock:
        """Read the header at `start`, not beyond `limit`. Never raises; what is odd is named in `defects`.

        Lines may end in CRLF, LF, or (when the mail has no other) CR. The header ends at an empty line, or before the first
        line that is not a field, as in Postfix. An mbox `From ` line at the top is kept as an entry without a name.
        """
        limit = len(raw) if limit is None else limit
        newline = b"\r" if only_cr(raw, start, limit) else b"\n"
        fields: list[Field] = []
        defects: list[str] = []
        separator = b""
        at = begun = start  # `begun`: where the field that is being read started
        name: str | None = None
        if raw.startswith(_TOP, start):
            # An mbox line, or the byte order mark of an editor: kept, and no part of the first field's name.
            at = begun = start + 3 if raw.startswith(_TOP[0], start) else _after_line(raw, start, limit, newline)
            fields.append(Field("", raw[start:at]))

        def close() -> None:
            if name is not None and at > begun:
                fields.append(Field(name, raw[begun:at]))

        while at < limit:
            stop = _after_line(raw, at, limit, newline)
            first = raw[at]
            if first in b" \t" and name is not None and raw[at:stop].strip():
                at = stop
                continue
            match = _NAME.match(raw, at, stop)
            if match is None:
                close()
                begun, name = at, None
                if raw[at:stop].strip():
                    defects.append("header ended by a line that is no field")
                    break
                # A line of blanks only, every reader takes for the empty line.
                separator, at = raw[at:stop], stop
                if separator.strip(b"\r\n"):
                    defects.append("header ended by a line of blanks")
                break
            close()
            begun = at
            if len(fields) >= MAX_FIELDS or at - start > MAX_BYTES:
                at = _end_of_header(raw, at, limit, newline)
                fields.append(Field("", raw[begun:at]))
                defects.append("header too large")
                name = None
                stop = raw.find(newline, at, limit)
                if stop >= 0:
                    separator, at = raw[at : stop + 1], stop + 1
                break
            name, at = match[1].decode("ascii"), stop
        else:
            close()
        index: dict[str, list[Field]] = {}
        for entry in fields:
            index.setdefault(entry.key, []).append(entry)
        return cls(tuple(fields), separator, start, at, tuple(defects), index)

    def __bytes__(self) -> bytes:
        return b"".join(entry.raw for entry in self.fields) + self.separator

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    @property
    def newline(self) -> bytes:
        """How this block ends its lines, for fields that are added."""
        first = next((entry.raw for entry in self.fields if entry.name), self.separator)
        return b"\r\n" if first.endswith(b"\r\n") or not first else first[-1:] if first[-1:] in b"\r\n" else b"\r\n"

    def fields_named(self, name: str) -> tuple[Field, ...]:
        """All fields of that name, in order, any case."""
        return tuple(self._index.get(name.lower(), ()))

    def get(self, name: str) -> str | None:
        """The value of the first field of that name (`Field.value`), or None."""
        found = self._index.get(name.lower())
        return found[0].value if found else None

    def all(self, name: str) -> tuple[str, ...]:
        """The values of all fields of that name, in order."""
        return tuple(entry.value for entry in self._index.get(name.lower(), ()))

    def text(self, name: str) -> str:
        """The first field of that name for a reader (`Field.text`), or ""."""
        found = self._index.get(name.lower())
        return found[0].text if found else ""

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._index

    def without(self, names: Collection[str]) -> HeaderBlock:
        """This block without the fields of these names; the others byte for byte."""
        keys = {name.lower() for name in names}
        return self.keep(entry for entry in self.fields if not entry.name or entry.key not in keys)

    def prepend(self, fields: Iterable[bytes]) -> HeaderBlock:
        """This block with `fields` (from `encode_field`) on top, below an mbox `From ` line, in this block's line ends."""
        new = [self._own(raw) for raw in fields]
        top = 1 if self.fields and not self.fields[0].name else 0
        return self.keep((*self.fields[:top], *new, *self.fields[top:]))

    def append(self, fields: Iterable[bytes]) -> HeaderBlock:
        """This block with `fields` after the last one."""
        return self.keep((*self._closed(), *(self._own(raw) for raw in fields)))

    def replace(self, name: str, raw: bytes) -> HeaderBlock:
        """This block with its first field of that name as `raw`, further ones removed; appended when there was none."""
        mine = self.fields_named(name)
        if not mine:
            return self.append((raw,))
        new = self._own(raw)
        kept = (
            new if entry is mine[0] else entry for entry in self.fields if entry is mine[0] or entry.key != name.lower()
        )
        return self.keep(kept)

    def swap(self, old: Field, raw: bytes) -> HeaderBlock:
        """This block with `raw` in the place of `old`, which is one of its entries; others of that name stay."""
        return self.keep(self._own(raw) if entry is old else entry for entry in self.fields)

    def join(self, raw: bytes) -> bytes:
        """These fields before the body of `raw`, which is what this block was parsed from."""
        body = raw[self.end :]
        separator = self.separator or (self.newline if body or self.fields else b"")
        return b"".join(entry.raw for entry in self._closed()) + separator + body

    def _closed(self) -> tuple[Field, ...]:
        """The fields, the last one surely ended by a newline."""
        if not self.fields or self.fields[-1].raw.endswith((b"\n", b"\r")):
            return self.fields
        last = self.fields[-1]
        return (*self.fields[:-1], Field(last.name, last.raw + self.newline))

    def _own(self, raw: bytes) -> Field:
        name = raw.partition(b":")[0].decode("ascii").strip()
        return Field(name, raw.replace(b"\r\n", self.newline))

    def keep(self, fields: Iterable[Field]) -> HeaderBlock:
        """This block with these fields instead, at the same place of the same mail."""
        kept = tuple(fields)
        index: dict[str, list[Field]] = {}
        for entry in kept:
            index.setdefault(entry.key, []).append(entry)
        return HeaderBlock(kept, self.separator, self.start, self.end, self.defects, index)


def only_cr(raw: bytes, start: int = 0, limit: int | None = None) -> bool:
    """Whether lines end in a lone CR, as old Macs wrote them: an empty CR line comes before any LF, or there is no LF."""
    limit = len(raw) if limit is None else limit
    first = raw.find(b"\r", start, limit)
    if first < 0 or raw.startswith((b"\r\n", b"\r\r\n"), first):
        return False
    line_feed = raw.find(b"\n", start, limit)
    if line_feed < 0:
        return True
    blank = raw.find(b"\r\r", start, line_feed)
    return blank >= 0 and blank + 2 != line_feed


def _after_line(raw: bytes, at: int, limit: int, newline: bytes) -> int:
    found = raw.find(newline, at, limit)
    return limit if found < 0 else found + 1


def _end_of_header(raw: bytes, at: int, limit: int, newline: bytes) -> int:
    """Where the empty line stands, from `at`; `limit` when there is none."""
    blanks = (b"\r\r",) if newline == b"\r" else (b"\n\n", b"\n\r\n")
    return min((found + 1 for blank in blanks if (found := raw.find(blank, at, limit)) >= 0), default=limit)


def encode_field(name: str, value: str, *, structured: bool = False) -> bytes:
    """`name: value` as a folded field ending in CRLF; what is not ASCII becomes encoded words (RFC 2047).

    In a `structured` value it stays UTF-8 (RFC 6532), because encoded words may not stand in an address or a parameter.
    Raises Invalid for CR, LF, NUL or another control character in either (P09), and for a value that cannot be folded below
    998 characters a line.
    """
    if not _FIELD_NAME.fullmatch(name):
        raise Invalid(name[:40], "not a header field name")
    if bad := next((char for char in value if (char < " " and char != "\t") or char == "\x7f"), None):
        raise Invalid(name, f"control character U+{ord(bad):04X} in a header value")
    if not value.isascii() and not structured:
        value = words.encode(value, first=FOLD_AT - len(name) - 2)
    folded = fold(f"{name}: {value}")
    if any(len(line) > LINE_LIMIT for line in folded.split("\r\n")):
        raise Invalid(name, f"a word of more than {LINE_LIMIT} characters cannot be folded")
    return folded.encode("utf-8") + b"\r\n"


def fold(line: str) -> str:
    """`line` broken with CRLF before white space so that lines keep to 78 characters where they can (RFC 5322 §2.2.3)."""
    if len(line) <= FOLD_AT:
        return line
    lines: list[str] = []
    current = ""
    for chunk in re.findall(r"[ \t]*[^ \t]+|[ \t]+", line):
        # A folded line of blanks only would be an empty line to some readers, so blanks at the end stay where they are.
        if (
            current
            and len(current) + len(chunk) > FOLD_AT
            and ":" in (lines[0] if lines else current)
            and chunk.strip()
        ):
            lines.append(current)
            current = chunk
        else:
            current += chunk
    return "\r\n".join([*lines, current])
