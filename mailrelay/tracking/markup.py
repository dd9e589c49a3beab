"""Where the links of an HTML document stand in its bytes, and where it ends: a tokeniser as browsers have it, and no tree (O9).

WHATWG HTML §13.2.5. It finds less than a browser where the two could disagree: what is not found is not changed. One regular
expression passes over all that is no link, in linear time; where it gets stuck (an open comment, tag or `<style>`) nothing is found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.entities import html5

_WS = rb"[ \t\n\f\r]"
_NAME = rb"[^ \t\n\f\r/>][^ \t\n\f\r/>=]*+"
_VALUE = rb"\"[^\"]*+\"|'[^']*+'|[^ \t\n\f\r>\"'][^ \t\n\f\r>]*+|(?=>)"
_ATTRIBUTES = (
    rb"(?:(?:[^>\"'=]*+(?<=[a-z0-9-])=\"[^\"]*+\")*+[^>\"'=]*+>"  # what most are; the rest says all that there may be
    rb"|(?:[ \t\n\f\r/]++|" + _NAME + rb"(?:" + _WS + rb"*+=" + _WS + rb"*+(?:" + _VALUE + rb")|(?!" + _WS + rb"*+=)))*+>)"
)  # fmt: skip
_RAW = ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "noscript")
"""Elements whose content is text; of `noscript` some say so, and some not."""
_FOREIGN = ("svg", "math")
"""Elements in which some of `_RAW` are none, and links are others'."""
_NEVER = ("select", "frameset", "plaintext")
"""Elements in which tags are dropped, or are text to the end: no letter has them."""


def _any(*names: str) -> bytes:
    """One of these names, tried by their first letter."""
    by_letter: dict[str, list[str]] = {}
    for name in names:
        by_letter.setdefault(name[0], []).append(name[1:])
    return "|".join(f"{letter}(?:{'|'.join(rest)})" for letter, rest in sorted(by_letter.items())).encode()


_WANTED = rb"(?:" + _any("a", "area", "body", *_RAW, *_FOREIGN, *_NEVER) + rb")(?=[ \t\n\f\r/>])"
# On lower-case bytes.
_SCAN = re.compile(
    rb"(?:[^<]*+<(?:"
    rb"/?(?:[c-eghj-loq-ru-wyz]|(?!" + _WANTED + rb")[a-z])[^ \t\n\f\r/>]*+" + _ATTRIBUTES
    + rb"|!--(?:-?>|(?:[^-]++|-(?!-!?>))*+--!?>)"
    rb"|(?:!(?!--)|\?|/(?![a-z]))[^>]*+>"
    rb"|(?![a-z/!?])"
    rb"))*+[^<]*+"
    rb"(?:\Z|<(?P<end>/?)(?P<name>" + _WANTED + rb")(?P<attributes>" + _ATTRIBUTES + rb"))"
)  # fmt: skip
_ATTRIBUTE = re.compile(
    rb"(?P<name>" + _NAME + rb")(?:" + _WS + rb"*+=" + _WS
    + rb"*+(?:\"(?P<double>[^\"]*+)\"|'(?P<single>[^']*+)'|(?P<bare>[^ \t\n\f\r>\"'][^ \t\n\f\r>]*+)|(?=>)))?+"
)  # fmt: skip
_ENDS = {name: re.compile(rb"</" + name.encode() + rb"(?=[ \t\n\f\r/>])") for name in _RAW}
_HTML_INSIDE = re.compile(rb"<(?:foreignobject|desc|m[inos]|mtext|annotation-xml)(?=[ \t\n\f\r/>])")
"""Elements of `_FOREIGN` whose content is HTML again (§13.2.6: integration points); of `title` see `_RAW`."""
_REFERENCE = re.compile(
    r"&(?:#[xX](?P<hex>[0-9a-fA-F]+);?|#(?P<decimal>[0-9]+);?|(?P<name>[A-Za-z][A-Za-z0-9]*;?))(?P<after>=?)"
)
_WINDOWS_1252 = {
    at: char
    for at, char in zip(range(0x80, 0xA0), bytes(range(0x80, 0xA0)).decode("cp1252", "replace"), strict=True)
    if char != "\ufffd"
}
_LARGEST = 0x10FFFF
_WIDEST_NUMBER = 10


@dataclass(frozen=True, slots=True)
class Link:
    """An `<a>` or `<area>` with an href, whose value stands at `start` to `end`."""

    start: int
    end: int
    value: bytes
    """As it stands."""
    rel: bytes
    untracked: bool
    """It has the attribute `data-no-track`."""
    inside: tuple[int, int]
    """Where what it shows stands."""


@dataclass(frozen=True, slots=True)
class Page:
    """What is found of a document."""

    links: tuple[Link, ...]
    end: int
    """Before the last `</body>`; where there is none, behind all but white space."""
    closed: bool
    """No link is open there, so that another may begin."""


def find(html: bytes) -> Page | None:
    """The links of a document in bytes that ASCII is a part of. None when browsers could read it differently from us. Never raises."""
    if b"\0" in html or b"<![CDATA[" in html:
        return None
    reader = _Reader(html)
    return reader.page() if reader.read(html.lower()) else None


class _Reader:
    """Goes through a document from link to link."""

    def __init__(self, html: bytes) -> None:
        self._html = html
        self._links: list[Link] = []
        self._open: int | None = None  # the place of the link whose end has not come yet
        self._anchors = 0  # started and not ended
        self._foreign = 0  # `<svg>` and `<math>` that we are in
        self._odd = False  # there was one of `_FOREIGN`
        self._left_open = False  # who runs no scripts reads a link in a `<noscript>` that does not end there
        self._end: tuple[int, bool] | None = None

    def read(self, lower: bytes) -> bool:
        """Go through all of it, given in lower case too; False when it is not certain what it says."""
        at = 0
        while (match := _SCAN.match(lower, at)) is not None:
            at = match.end()
            name, starts = match["name"], not match["end"]
            if name is None:
                # In these HTML goes on, and the end of what is around them is none there.
                return self._foreign == 0 and not (self._odd and _HTML_INSIDE.search(lower))
            if name in (b"a", b"area"):
                self._anchor(match, starts=starts)
            elif name == b"body":
                self._body(match, starts=starts)
            elif name.decode() in _FOREIGN:
                self._odd = True
                self._foreign = max(0, self._foreign + (1 if starts else -1))
            elif starts:
                behind = -1 if self._odd else _behind(lower, name.decode(), at)
                if behind < 0:
                    return False
                if name == b"noscript" and (inside := find(lower[at:behind])) is not None and not inside.closed:
                    self._left_open = True
                at = behind
        return False

    def page(self) -> Page:
        """What was found."""
        self._shown(len(self._html))
        end, closed = self._end or (len(self._html.rstrip(b" \t\n\f\r")), self._closed())
        return Page(tuple(self._links), end, closed)

    def _body(self, match: re.Match[bytes], *, starts: bool) -> None:
        if not starts and not self._foreign:
            self._end = match.start("name") - 2, self._closed()

    def _closed(self) -> bool:
        return self._anchors == 0 and not self._left_open

    def _anchor(self, match: re.Match[bytes], *, starts: bool) -> None:
        if match["name"] == b"a":
            self._shown(match.start("name") - (1 if starts else 2))
            # A start tag ends the link before it, where that is not hidden behind a table.
            self._anchors = self._anchors + 1 if starts else 0
        if not starts or self._foreign:
            return
        attributes = self._html[match.start("attributes") : match.end("attributes")]
        link = _link(attributes, match.start("attributes"), match.end())
        if link is not None:
            if match["name"] == b"a":
                self._open = len(self._links)
            self._links.append(link)

    def _shown(self, until: int) -> None:
        """The open link, if any, shows what stands before `until`."""
        if self._open is not None:
            link = self._links[self._open]
            self._links[self._open] = Link(
                link.start, link.end, link.value, link.rel, link.untracked, (link.inside[0], until)
            )
            self._open = None


def _behind(lower: bytes, element: str, at: int) -> int:
    """Where the end tag of an element whose content is text begins; -1 where that is not certain."""
    found = _ENDS[element].search(lower, at) if element in _ENDS else None
    if found is None:
        return -1
    content = lower[at : found.start()]
    # §13.2.5.20: between `<!--` and `-->` a script may hold scripts with ends of their own.
    if element == "script" and b"<!--" in content:
        return -1
    if element == "noscript" and find(content) is None:
        return -1  # who runs no scripts reads it as markup, which goes on behind the end
    return found.start()


def _link(attributes: bytes, at: int, behind: int) -> Link | None:
    """The link of a start tag with these attributes, which stand at `at`; None without an href."""
    found: dict[bytes, re.Match[bytes]] = {}
    for attribute in _ATTRIBUTE.finditer(attributes):
        found.setdefault(attribute["name"].lower(), attribute)  # §13.2.5.33: the first one counts
    href, rel = found.get(b"href"), found.get(b"rel")
    if href is None or href.lastgroup in (None, "name"):
        return None
    start, end = href.span(href.lastgroup or 0)
    return Link(
        start=at + start,
        end=at + end,
        value=href[href.lastgroup or 0],
        rel=b"" if rel is None or rel.lastgroup in (None, "name") else rel[rel.lastgroup or 0].lower(),
        untracked=b"data-no-track" in found,
        inside=(behind, behind),
    )


def attribute_text(value: str) -> str:
    """The value of an attribute with its character references undone, as browsers do it in attributes (§13.2.5.72 to 80).

    A name without `;` before a letter, a digit or `=` is none there: `?a=1&copy=2` means what it says.
    """
    return _REFERENCE.sub(_referred, value) if "&" in value else value


def _referred(match: re.Match[str]) -> str:
    if name := match["name"]:
        known = html5.get(name)
        if known is None or (match["after"] and not name.endswith(";")):
            return match[0]
        return known + match["after"]
    digits, base = (match["hex"], 16) if match["hex"] else (match["decimal"], 10)
    digits = digits.lstrip("0")
    number = int(digits or "0", base) if len(digits) <= _WIDEST_NUMBER else _LARGEST + 1
    if number == 0 or number > _LARGEST or 0xD800 <= number <= 0xDFFF:
        return "\ufffd" + match["after"]
    return _WINDOWS_1252.get(number, chr(number)) + match["after"]
