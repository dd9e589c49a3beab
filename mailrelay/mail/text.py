"""HTML → the text a reader sees, for matching, search, forwards and replies; lines break where a browser breaks them.

Our own tokeniser, because a browser's tree builder is not linear in hostile input: lexbor takes half a minute for 100,000
nested `<div>`, and what is needed here is text in order, not a tree.
"""

from __future__ import annotations

import html as entities
import re
from collections.abc import Callable, Iterator

from mailrelay.mail import charset

MAX_CHARS = 2 * 1024 * 1024
MAX_TAGS = 10_000
"""More than any letter has; what follows is not read."""
MAX_QUOTE_DEPTH = 20

_META = re.compile(rb"<meta[^>]{0,200}?charset\s{0,5}=\s{0,5}[\"']?([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_NAME = re.compile(r"/?([A-Za-z][A-Za-z0-9:_-]*)")
_REST = re.compile(r"""(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""")
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_RAW = frozenset(("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes"))
"""Elements whose content is not markup; all of them are hidden here but `textarea` and `xmp`, which mails do not use."""
_BLOCKS = frozenset(
    "address article aside blockquote body center dd details div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 "  # noqa: SIM905
    "header hr li main nav ol p pre section table tbody tfoot thead tr ul".split()
)
_SPACED = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "pre", "dl", "blockquote"))
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)

Drop = Callable[[str, str], bool]
"""Whether the element with this lower-case name and attribute text is to be left out with all it holds."""


def declared_charset(data: bytes) -> str:
    """The charset that an HTML body names in its first kilobyte, or ""; never UTF-16, which could not be read here."""
    found = _META.search(data[:1024])
    name = found[1].decode("ascii") if found else ""
    return "" if (charset.codec(name) or "").startswith("utf-16") else name


def from_html(html: str, drop: Drop | None = None, *, tags: int = MAX_TAGS) -> str:
    """The visible text: a line per block, at most one empty line in a row, `> ` before quoted lines. Never raises.

    What follows the first `tags` tags is not read.
    """
    page = _Page()
    skip = ""  # name of the element being left out
    depth = 0
    for kind, name, rest in tokens(html[:MAX_CHARS], most=tags):
        if skip:
            if name == skip:
                depth += 1 if kind == "open" and not rest.endswith("/") else -1 if kind == "close" else 0
                if depth == 0:
                    skip = ""
        elif kind == "text":
            page.write(entities.unescape(rest))
        elif kind == "open":
            if name in ("head", "template") or (drop is not None and name not in _VOID and drop(name, rest)):
                skip, depth = name, 1
            page.open(name)
        else:
            page.close(name)
    return page.finish()


def tokens(html: str, *, most: int) -> Iterator[tuple[str, str, str]]:
    """`("text", "", text)`, `("open", name, attributes)`, `("close", name, "")`, in order, in linear time."""
    at = 0
    failures = 0  # tags with an open quote: after a few, quotes are no longer trusted, or this would be quadratic
    tags = 0
    while at < len(html):
        start = html.find("<", at)
        if start < 0 or tags > most:
            if start < 0:
                yield "text", "", html[at:]
            return
        if start > at:
            yield "text", "", html[at:start]
        tags += 1
        if html.startswith("<!--", start):
            end = html.find("-->", start + 4)
            if end < 0:
                return
            at = end + 3
            continue
        name = _NAME.match(html, start + 1)
        if name is None:
            if html.startswith(("<!", "<?", "</"), start):
                end = html.find(">", start)
                at = len(html) if end < 0 else end + 1
            else:
                yield "text", "", "<"
                at = start + 1
            continue
        rest = _REST.match(html, name.end()) if failures < 20 else None
        end = rest.end() if rest else html.find(">", name.end()) + 1
        failures += rest is None
        if end <= 0:
            return  # a tag without an end hides what follows it, as in a browser
        key = name[1].lower()
        at = end
        if html[start + 1] == "/":
            yield "close", key, ""
            continue
        if key in _RAW:
            end = _raw_end(html, at, key)
            at = len(html) if end < 0 else end
            continue
        yield "open", key, html[name.end() : end - 1]


def _raw_end(html: str, at: int, name: str) -> int:
    closing = re.compile(rf"</{name}[^>]*>", re.IGNORECASE)
    found = closing.search(html, at)
    return found.end() if found else -1


class _Page:
    """Lines in the making."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._quotes = 0
        self._pre = 0
        self._parts: list[str] = []

    def write(self, text: str) -> None:
        if self._pre:
            first, *others = text.split("\n")
            self._parts.append(first)
            for line in others:
                self._end_line()
                self._parts.append(line)
            return
        text = _BLANKS.sub(" ", text)
        if text.startswith(" ") and (not self._parts or self._parts[-1].endswith((" ", "\t"))):
            text = text[1:]
        if text:
            self._parts.append(text)

    def open(self, name: str) -> None:
        if name == "br":
            self._end_line()
        elif name in _BLOCKS:
            self._break(name)
            if name == "blockquote":
                self._quotes += 1
            elif name == "pre":
                self._pre += 1
            elif name == "li":
                self._parts.append("- ")
        elif name in ("td", "th") and self._parts:
            self._parts.append(" ")

    def close(self, name: str) -> None:
        if name in _BLOCKS:
            self._break(name)
            if name == "blockquote":
                self._quotes = max(0, self._quotes - 1)
            elif name == "pre":
                self._pre = max(0, self._pre - 1)

    def _break(self, name: str) -> None:
        if "".join(self._parts).strip():
            self._end_line()
        self._parts.clear()
        if name in _SPACED and self._lines and self._lines[-1].strip("> "):
            self._lines.append("")

    def _end_line(self) -> None:
        line = "".join(self._parts).replace("\u00a0", " ").rstrip()
        self._parts.clear()
        quotes = min(self._quotes, MAX_QUOTE_DEPTH)
        self._lines.append("> " * quotes + line if quotes and line else ">" * quotes + line)

    def finish(self) -> str:
        self._break("")
        out: list[str] = []
        for line in self._lines:
            if line.strip() or (out and out[-1].strip()):
                out.append(line)
        return charset.storable("\n".join(out).strip("\n"))
