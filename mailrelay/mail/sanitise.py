"""A stranger's HTML → HTML that can do nothing: no script, no form, no style sheet, nothing loaded from elsewhere (P11).

nh3 (ammonia, a browser's own parser) says what stays. Its tree grows faster than the mail where elements are nested without an end,
so it is given what our own tokeniser has made of it: a bounded number of tags, a bounded depth, every attribute in quotes.
"""

from __future__ import annotations

import html as entities
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

import nh3

from mailrelay.mail import charset, text

MAX_CHARS = 1_000_000
MAX_TAGS = 20_000
MAX_DEPTH = 200
MAX_ALIKE = 100
"""Elements of one name inside each other."""
MAX_FORMATTING = 20
"""Open elements of one kind that a browser opens again in each block: `<b>`, `<font>`, …"""
MAX_REMOTE = 1_000
_MAX_URL = 4_000

_VOID = frozenset(("br", "col", "hr", "img", "wbr"))
_FORMATTING = frozenset("a b big code em font i s small strike strong tt u".split())  # noqa: SIM905
_TAGS = frozenset(
    "a abbr address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del details dfn div dl dt "  # noqa: SIM905
    "em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav ol p pre q s samp section small "
    "span strike strong sub summary sup table tbody td tfoot th thead time tr tt u ul var wbr".split()
)
_GONE = frozenset(
    "applet audio canvas embed frame frameset head iframe math noembed noframes noscript object plaintext script select style "  # noqa: SIM905
    "svg template textarea title video xmp".split()
)
"""Elements that go with all they hold; what is in others that are not known stays, without them."""
_EVERYWHERE = frozenset(("align", "bgcolor", "dir", "height", "lang", "style", "title", "valign", "width"))
_ATTRIBUTES: dict[str, set[str]] = {
    "*": set(_EVERYWHERE),
    "a": {"href"},
    "img": {"src", "alt", "border", "hspace", "vspace"},
    "font": {"color", "face", "size"},
    "table": {"border", "cellpadding", "cellspacing", "summary"},
    "td": {"colspan", "rowspan", "nowrap"},
    "th": {"colspan", "rowspan", "nowrap", "scope"},
    "col": {"span"},
    "colgroup": {"span"},
    "ol": {"start", "type", "reversed"},
    "ul": {"type"},
    "li": {"value"},
    "hr": {"size", "color", "noshade"},
    "br": {"clear"},
    "bdo": set(),
    "time": {"datetime"},
}
_PROPERTIES = frozenset(
    "background-color border border-bottom border-bottom-color border-bottom-style border-bottom-width border-collapse border-color "  # noqa: SIM905
    "border-left border-left-color border-left-style border-left-width border-radius border-right border-right-color "
    "border-right-style border-right-width border-spacing border-style border-top border-top-color border-top-style border-top-width "
    "border-width box-sizing caption-side clear color direction display empty-cells float font font-family font-size font-style "
    "font-variant font-weight height letter-spacing line-height list-style-position list-style-type margin margin-bottom margin-left "
    "margin-right margin-top max-height max-width min-height min-width opacity overflow-wrap padding padding-bottom padding-left "
    "padding-right padding-top table-layout text-align text-decoration text-indent text-transform vertical-align visibility "
    "white-space width word-break word-spacing word-wrap".split()
)
_LINKS = ("http:", "https:", "mailto:", "tel:")
_SCHEMES = {"http", "https", "mailto", "tel", "cid", "data"}
# CSS Values §4.5: what loads is a function with one of these names; and an escape may spell any of them.
_LOADS = re.compile(r"\\|url|image|src|element|expression|paint|attr\(|var\(|import|/\*|@|<", re.IGNORECASE)
_PICTURE = re.compile(r"data:image/(?:png|gif|jpe?g|webp);base64,[A-Za-z0-9+/=\s]*", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([^\s"'<>/=]++)(?:\s*+=\s*+("[^"]*+"|'[^']*+'|[^\s"'>]++))?+""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sanitised:
    """What is left of an HTML body."""

    html: str
    remote: tuple[str, ...]
    """The images that it would have loaded from elsewhere: none of them is in it any more."""
    shortened: bool
    """It was longer, or deeper nested, than any letter is, and is not all here."""


def sanitise(html: str, inline: Callable[[str], str | None]) -> Sanitised:
    """HTML that can be shown. `inline` says where the part with a Content-ID is to be had, None where there is none. Never raises.

    Links keep http, https, mailto and tel; pictures are parts of the mail, or inside it.
    """
    remote: dict[str, None] = {}

    def attribute(tag: str, name: str, value: str) -> str | None:
        if name == "style":
            return None if _LOADS.search(value) else value
        if name == "href":
            link = value.strip()
            return link if link.lower().startswith(_LINKS) and len(link) <= _MAX_URL else None
        if name == "src":
            return _source(value.strip(), inline, remote)
        return value

    plain, shortened = _plain(html)
    clean = nh3.clean(
        plain,
        tags=set(_TAGS),
        clean_content_tags=set(_GONE),
        attributes=_ATTRIBUTES,
        attribute_filter=attribute,
        url_schemes=_SCHEMES,
        url_relative="pass_through",  # `attribute` says what stays
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        filter_style_properties=set(_PROPERTIES),
        strip_comments=True,
    )
    return Sanitised(html=charset.storable(clean), remote=tuple(remote), shortened=shortened)


def _source(value: str, inline: Callable[[str], str | None], remote: dict[str, None]) -> str | None:
    lower = value[:10].lower()
    if lower.startswith("cid:"):
        return inline(unquote(value[4:]))
    if lower.startswith("data:"):
        return value if _PICTURE.fullmatch(value) else None
    if lower.startswith(("http:", "https:")) and len(value) <= _MAX_URL and len(remote) < MAX_REMOTE:
        remote[value] = None
    return None


def _plain(html: str) -> tuple[str, bool]:
    """The HTML with every attribute in double quotes and within our bounds; whether something was left out for these."""
    plain = _Plain()
    tags = 0
    for kind, name, rest in text.tokens(html[:MAX_CHARS], most=MAX_TAGS):
        if kind == "text":
            plain.write(rest)
        else:
            tags += 1
            plain.tag(name, rest, closes=kind == "close")
    return "".join(plain.out), plain.shortened or len(html) > MAX_CHARS or tags >= MAX_TAGS


class _Plain:
    """HTML in the making."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.shortened = False
        self._opened: Counter[str] = Counter()
        self._depth = 0
        self._skip = ""  # the element that is being left out,
        self._skipped = 0  # and how often it is open

    def write(self, rest: str) -> None:
        if not self._skip:
            self.out.append(rest.replace("<", "&lt;").replace(">", "&gt;"))

    def tag(self, name: str, rest: str, *, closes: bool) -> None:
        empty = rest.endswith("/")
        if self._skip:
            if name == self._skip and (closes or not empty):
                self._skipped += -1 if closes else 1
                self._skip = self._skip if self._skipped else ""
        elif name in _GONE:
            if not closes and not empty:
                self._skip, self._skipped = name, 1
        elif name in _VOID:
            if not closes:
                self.out.append(_tag(name, rest))
        elif name in _TAGS:
            self._end(name) if closes else self._begin(name, rest)

    def _begin(self, name: str, rest: str) -> None:
        alike = MAX_FORMATTING if name in _FORMATTING else MAX_ALIKE
        if self._depth >= MAX_DEPTH or self._opened[name] >= alike:
            self.shortened = self.shortened or name not in _FORMATTING
            return
        if name == "p":  # it ends where the next one begins; most mailers do not say so
            self._depth -= self._opened["p"]
            self._opened["p"] = 0
        self._opened[name] += 1
        self._depth += 1
        self.out.append(_tag(name, rest))

    def _end(self, name: str) -> None:
        if self._opened[name]:
            self._opened[name] -= 1
            self._depth -= 1
            self.out.append(f"</{name}>")


def _tag(name: str, rest: str) -> str:
    given = []
    for found in _ATTRIBUTE.finditer(rest):
        key = found[1].lower()
        if key in _EVERYWHERE or key in _ATTRIBUTES.get(name, ()):
            value = entities.unescape((found[2] or "").strip("\"'"))
            given.append(f' {key}="{entities.escape(value)}"')
    return f"<{name}{''.join(given)}>"
