"""The link and the header fields by which a recipient of mass mail leaves it, each copy's its own (O15; RFC 2369, RFC 8058).

`{{unsubscribe}}` in a text or HTML part is where the link stands. A part without it gets a line at its end. As in `copies` nothing is
written anew, and what is signed or encrypted keeps every byte: there the header fields are all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape

from mailrelay.mail import charset as charsets
from mailrelay.mail.headers import HeaderBlock, encode_field
from mailrelay.mail.structure import Part, find_parts
from mailrelay.tracking import encoded, markup
from mailrelay.tracking.copies import LARGEST_KEPT, Edit, body_of, edited, is_sealed, shown
from mailrelay.tracking.rewrite import Splice, safe_charset

ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""What a mail program posts (RFC 8058 §3.1)."""
SENTENCE = "Unsubscribe from these mails"
"""What the link shows unless an organisation says otherwise."""

_FIELDS = ("List-Unsubscribe", "List-Unsubscribe-Post")
# As it is written, and as editors write it into an href.
_PLACE = re.compile(
    rb"\{\{[ \t]{0,8}unsubscribe[ \t]{0,8}\}\}|%7b%7b(?:%20){0,8}unsubscribe(?:%20){0,8}%7d%7d", re.IGNORECASE
)
_LETTERS = ("text/html", "text/plain", "text/x-amp-html")
_CHARSET = re.compile(rb"(;\s*charset\s*=\s*)\"?(?:us-ascii|utf-8|ascii)\"?(?=\s*(?:;|$))", re.IGNORECASE)
_HTML = '<p style="font-size:small"><a href="'


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribing:
    """How the recipient of one delivery leaves what it is part of."""

    page: str
    """The page that asks; "" where there is none that people reach."""
    mailto: str
    """The address that a mail to does it."""
    one_click: bool
    """The page takes the POST of RFC 8058, which is for https only (§3.1)."""
    sentence: str = SENTENCE
    list_id: str = ""
    """List-Id of the mailing list (RFC 2919), "" for none."""

    @property
    def link(self) -> str:
        """What stands in the text."""
        return self.page or f"mailto:{self.mailto}?subject=unsubscribe"


def unsubscribe_edits(raw: bytes, how: Unsubscribing) -> tuple[Sequence[Edit], Sequence[Splice]]:
    """What puts the link into the parts of a mail, and what changes in parts' headers with it; nothing where no byte may change."""
    planned = (_kept if len(raw) <= LARGEST_KEPT else _planned)(raw, how.sentence)
    link = how.link.encode("ascii")
    edits = [
        Edit(
            one.start,
            one.end,
            one.body,
            [Splice(spot.start, spot.end, spot.before + link + spot.after) for spot in one.spots],
        )
        for one in planned
    ]
    return edits, [one.header for one in planned if one.header is not None]


def with_link(raw: bytes, how: Unsubscribing) -> bytes:
    """The mail with its link alone. Never raises for what a mail holds."""
    return edited(raw, *unsubscribe_edits(raw, how))


def with_fields(raw: bytes, how: Unsubscribing) -> bytes:
    """The mail with the header fields in place of its author's: one https URI at most, first (RFC 8058 §3.1)."""
    block = HeaderBlock.parse(raw).without(_FIELDS)
    ways = [f"<{how.page}>"] if how.one_click else []
    # Not folded behind its name, as a long URL would be: not everybody reads that.
    said = ",\r\n ".join((*ways, f"<mailto:{how.mailto}?subject=unsubscribe>"))
    fields = [f"{_FIELDS[0]}: {said}\r\n".encode("ascii")]
    if how.one_click:
        fields.append(encode_field(_FIELDS[1], "=".join(ONE_CLICK)))
    if how.list_id and "List-Id" not in block:
        fields.append(encode_field("List-Id", how.list_id))
    return block.append(fields).join(raw)


def form_url(url: str, *, list_: str, delivery: str) -> str:
    """The URL of an organisation's own form, for a delivery of a list."""
    return url.replace("{list}", list_).replace("{delivery}", delivery)


@dataclass(frozen=True, slots=True)
class _Spot:
    """Bytes of a part in whose place the link stands, between two others."""

    start: int
    end: int
    before: bytes = b""
    after: bytes = b""


@dataclass(frozen=True, slots=True)
class _Letter:
    """A part with its spots, where its body stands in the mail, and its header where that has to say more."""

    start: int
    end: int
    body: encoded.Body
    spots: tuple[_Spot, ...]
    header: Splice | None = None


def _planned(raw: bytes, sentence: str) -> tuple[_Letter, ...]:
    """Where the link stands in a mail, for whomever."""
    root, defects = find_parts(raw)
    if defects or is_sealed(root):
        return ()
    return tuple(_letters(root, sentence))


_kept = lru_cache(maxsize=8)(_planned)


def _letters(root: Part, sentence: str) -> Iterator[_Letter]:
    """The parts that have the placeholder; of a kind that has it nowhere, the first one with a line at its end."""
    without: dict[str, tuple[Part, encoded.Body]] = {}
    placed = set()
    for part in shown(root):
        body = body_of(part) if part.type in _LETTERS else None
        if body is None or not safe_charset(body.decoded, part.parameters.get("charset", "")):
            continue
        found = tuple(_Spot(*match.span()) for match in _PLACE.finditer(body.decoded))
        if found:
            placed.add(part.type)
            yield _Letter(part.start, part.end, body, found)
        else:
            without.setdefault(part.type, (part, body))
    for kind, (part, body) in without.items():
        made = None
        if kind == "text/html" and kind not in placed:
            made = _html_line(part, body, sentence)
        elif kind == "text/plain" and kind not in placed:
            made = _text_line(root, part, body, sentence)
        if made is not None:
            yield made


def _html_line(part: Part, body: encoded.Body, sentence: str) -> _Letter | None:
    page = markup.find(body.decoded)
    if page is None:
        return None
    said = escape(sentence).encode("ascii", "xmlcharrefreplace")
    if page.closed:
        spot = _Spot(page.end, page.end, _HTML.encode("ascii"), b'">' + said + b"</a></p>")
    else:  # within a link that is not ended there can be no other
        spot = _Spot(page.end, page.end, b"<p>" + said + b": ", b"</p>")
    return _Letter(part.start, part.end, body, (spot,))


def _text_line(root: Part, part: Part, body: encoded.Body, sentence: str) -> _Letter:
    said, header = _in_charset(root, part, body, sentence)
    at = len(body.decoded)
    ended = body.decoded.endswith(b"\n") or not at
    spot = _Spot(at, at, (b"\r\n" if ended else b"\r\n\r\n") + said + b": ", b"\r\n" if ended else b"")
    return _Letter(part.start, part.end, body, (spot,), header)


def _in_charset(root: Part, part: Part, body: encoded.Body, sentence: str) -> tuple[bytes, Splice | None]:
    """A sentence as a part can say it, and the part's header where it must say another charset or encoding for that.

    Where it cannot the sentence is ours, which is ASCII.
    """
    if sentence.isascii():
        return sentence.encode("ascii"), None
    declared = part.parameters.get("charset", "")
    if part.encoding not in ("", "7bit"):
        try:
            return sentence.encode(charsets.codec(declared or "us-ascii") or "ascii"), None
        except (UnicodeEncodeError, LookupError):
            return SENTENCE.encode("ascii"), None
    header = _eight_bit(root, part) if body.decoded.isascii() else None
    if header is None:
        return SENTENCE.encode("ascii"), None
    return sentence.encode("utf-8"), header


def _eight_bit(root: Part, part: Part) -> Splice | None:
    """The header of a part in ASCII as one of UTF-8 in 8 bits; None where that, or what it stands in, does not allow it."""
    # RFC 2045 §6.4: what holds an 8-bit part is none of 7 bits; nothing said is taken for nothing known.
    if any(outer.children and outer.encoding == "7bit" for outer in root.walk()):
        return None
    block = part.headers
    field = next(iter(block.fields_named("Content-Type")), None)
    if field is None:
        new = block.append((b"Content-Type: text/plain; charset=utf-8\r\n",))
    else:
        raw, number = _CHARSET.subn(rb"\g<1>utf-8", field.raw.rstrip(b"\r\n"))
        if number != 1:
            return None
        new = block.swap(field, raw + b"\r\n")
    new = new.replace("Content-Transfer-Encoding", b"Content-Transfer-Encoding: 8bit\r\n")
    if "MIME-Version" not in root.headers and part is root:
        new = new.append((b"MIME-Version: 1.0\r\n",))
    return Splice(block.start, block.end, bytes(new))
