"""HTML bytes → what to put in their place so that links and a pixel are counted; every other byte stays as it is (O9, T15)."""

from __future__ import annotations

import html as entities
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mailrelay.mail import charset as charsets
from mailrelay.mail.text import declared_charset
from mailrelay.tracking import markup
from mailrelay.tracking.links import LinkRules
from mailrelay.tracking.target import target_host
from mailrelay.tracking.token import MAX_LINK

# Charsets in which no byte of a longer character is one of `<>"'=&`, white space or a letter of a tag's name after `<`.
_WITH_ASCII = re.compile(
    r"utf-8|ascii|iso8859-\d+|cp(?:125\d|437|85\d|86\d|874|932|949|1131)|koi8-[rut]|mac-\w+|shift_jis\w*|euc_\w+|gb2312|gbk|gb18030"
    r"|big5\w*|latin_1|tis-620|hp-roman8|kz1048|ptcp154"
)
_TAG = re.compile(rb"<[^>]*+>?")
_BLANKS = re.compile(r"[\s\u200b-\u200d\u2060\ufeff]+")
_AROUND = "".join(map(chr, range(0x21)))
_NO_TRACK = frozenset((b"unsubscribe", b"no-track", b"notrack"))
"""Link types that keep a link as it is."""


class Urls(Protocol):
    """Makes the URLs of one delivery; ASCII without white space, quotes, `<`, `>`, `&`, `=` and backquote."""

    def click(self, link: int, target: str) -> str:
        """That counts a click, and leads to `target`."""
        ...

    def pixel(self) -> str:
        """Of the pixel."""
        ...

    def decoy(self) -> str:
        """Of the link that nobody sees."""
        ...


@dataclass(frozen=True, slots=True)
class Splice:
    """Bytes in place of those from `start` to `end`."""

    start: int
    end: int
    new: bytes


@dataclass(frozen=True, slots=True)
class Spot:
    """Where something is put in a document: the URL of a link, or at its end the pixel."""

    start: int
    end: int
    link: int
    """The link's number; 0 for the end of the document."""
    target: str
    decoy: bool = False
    """At the end: the link that nobody sees may stand there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to change, in order, and how many links with http and https have been met, changed or not."""

    spots: tuple[Spot, ...]
    links: int

    def splices(self, urls: Urls) -> list[Splice]:
        """The changes for one delivery."""
        return [
            Splice(
                one.start, one.end, urls.click(one.link, one.target).encode("ascii") if one.link else _end(urls, one)
            )
            for one in self.spots
        ]


def plan(html: bytes, *, charset: str, rules: LinkRules, first: int = 1, with_pixel: bool = True) -> Plan | None:
    """How a document is tracked, for whomever; None where that cannot be done without a risk to the rest of it. Never raises.

    `charset` is what its part declares, "" nothing. Links are numbered from `first` in the order of the document, those that stay
    counted too, so that a number means the same link in every copy.
    """
    name = safe_charset(html, charset)
    page = markup.find(html) if name else None
    if page is None:
        return None
    spots: list[Spot] = []
    number = first - 1
    for link in page.links:
        target = _target(link.value, name)
        if target is None:
            continue
        number += 1
        host = target_host(target)
        if host is None or number > MAX_LINK or link.untracked or not _NO_TRACK.isdisjoint(link.rel.split()):
            continue
        shown = _text(html[slice(*link.inside)], name)
        if rules.may_change(target, host) and rules.may_change_by_text(shown):
            spots.append(Spot(link.start, link.end, number, target))
    if with_pixel:
        spots.append(Spot(page.end, page.end, 0, "", decoy=page.closed))
    # What follows the last `</body>` still counts, and may hold links.
    return Plan(tuple(sorted(spots, key=lambda one: (one.start, one.end))), number)


def apply(data: bytes, splices: Sequence[Splice]) -> bytes:
    """`data` with these in place, which are in order and do not overlap."""
    out: list[bytes] = []
    at = 0
    for splice in splices:
        out.extend((data[at : splice.start], splice.new))
        at = splice.end
    return b"".join((*out, data[at:]))


def safe_charset(html: bytes, declared: str) -> str:
    """The codec of a document in which tags and ASCII stand for themselves; "" where they may not."""
    named = declared or declared_charset(html)
    name = charsets.codec(named) if named else ""
    if name is None or html.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ""
    if not name:
        # Undeclared, so a guess of each reader; ISO-2022 hides in ASCII behind an escape.
        return "" if b"\x1b" in html or b"~{" in html else "ascii"
    return name if _WITH_ASCII.fullmatch(name.lower()) else ""


def _target(value: bytes, charset: str) -> str | None:
    """Where an href leads, as a browser reads it; None for what is not http or https, or is read differently by different readers."""
    try:
        # Beyond UTF-8 a browser writes the query of a link in the charset of its page, and we would not.
        text = value.decode("utf-8" if charset == "utf-8" else "ascii")
    except UnicodeDecodeError:
        return None
    target = markup.attribute_text(text).strip(_AROUND)
    if charset != "utf-8" and not target.isascii():
        return None
    return target if target[:5].lower() == "http:" or target[:6].lower() == "https:" else None


def _text(inside: bytes, charset: str) -> str:
    """What a link shows, roughly: for what it says of itself."""
    text = _TAG.sub(b"", inside).decode(charset, "replace") if b"<" in inside else inside.decode(charset, "replace")
    if "&" in text:
        text = entities.unescape(text)
    return _BLANKS.sub(" ", text).strip()


def _end(urls: Urls, spot: Spot) -> bytes:
    """The pixel, and the link that no person sees and no screen reader reads."""
    pixel = f'<img src="{urls.pixel()}" width="1" height="1" border="0" alt="">'
    if not spot.decoy:
        return pixel.encode("ascii")
    hidden = f'<a href="{urls.decoy()}" style="display:none" tabindex="-1" aria-hidden="true" rel="nofollow"></a>'
    return (pixel + hidden).encode("ascii")
