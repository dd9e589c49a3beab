"""HTML with its links and pixel: the right links, exact targets, and not one other byte (O9, T15)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborNode

from mailrelay.ids import DeliveryId
from mailrelay.tracking import markup
from mailrelay.tracking.links import LinkPattern, LinkRules
from mailrelay.tracking.rewrite import Splice, apply, plan
from mailrelay.tracking.token import Keys, Kind, Maker, read
from tests.support.html_tree import hrefs, tree

DATA = Path(__file__).parents[2] / "data" / "html"
HOST, BASE = "links.acme.example", "https://links.acme.example"
KEYS = Keys.derive(b"secret")
DELIVERY = DeliveryId("D01JB2C3D4E5F6G7H8J9K")
RULES = LinkRules(
    host=HOST,
    own_hosts=frozenset({"mail.us.example"}),
    patterns=(LinkPattern.parse("shop.example/account"), LinkPattern.parse("https://private.example")),
    listed=frozenset({"https://news.example/leave?u=1"}),
)


class Urls:
    """As `copies` makes them."""

    def __init__(self) -> None:
        self._maker = Maker(KEYS, HOST, DELIVERY)

    def click(self, link: int, target: str) -> str:
        return f"{BASE}/c/{self._maker.make(Kind.CLICK, link=link, target=target)}"

    def pixel(self) -> str:
        return f"{BASE}/o/{self._maker.make(Kind.OPEN)}.gif"

    def decoy(self) -> str:
        return f"{BASE}/c/{self._maker.make(Kind.DECOY)}"


@dataclass(frozen=True)
class Rewritten:
    splices: list[Splice]
    links: int


def go(html: bytes, *, charset: str = "utf-8", rules: LinkRules = RULES) -> Rewritten | None:
    found = plan(html, charset=charset, rules=rules)
    return None if found is None else Rewritten(found.splices(Urls()), found.links)


def done(html: bytes, **more) -> bytes:
    found = go(html, **more)
    assert found is not None
    return apply(html, found.splices)


def target_of(url: str) -> str:
    """Where a link leads, through us or not."""
    if not url.startswith(f"{BASE}/c/"):
        return url
    token = read(url.removeprefix(f"{BASE}/c/"), KEYS, HOST)
    return url if token is None else token.target


def tracked(html: bytes, **more) -> list[str]:
    """The targets that are counted, in order."""
    found = go(html, **more)
    assert found is not None
    return [target_of(one.new.decode()) for one in found.splices if one.end > one.start]


ADDED = re.compile(
    rb'<img src="https://links\.acme\.example/o/[\w-]+\.gif" width="1" height="1" border="0" alt="">'
    rb'(?:<a href="https://links\.acme\.example/c/[\w-]+" style="display:none" tabindex="-1" aria-hidden="true" rel="nofollow"></a>)?'
)
OURS = re.compile(rb"https://links\.acme\.example/c/[\w-]+")


def is_ours(node: LexborNode) -> bool:
    attributes = node.attributes if node.tag in ("img", "a") else {}
    if node.tag == "img":
        return attributes.get("border") == "0" and (attributes.get("src") or "").startswith(f"{BASE}/o/")
    return attributes.get("tabindex") == "-1" and (attributes.get("href") or "").startswith(f"{BASE}/c/")


def browser_target(value: str) -> str:
    """A link as it is followed: blanks around it do not count."""
    return target_of(value).strip("".join(map(chr, range(33))))


def check(html: bytes, *, charset: str = "utf-8", codec: str = "utf-8") -> bool:
    """What must hold of every document; whether it was rewritten."""
    found = go(html, charset=charset)
    if found is None:
        return False
    after = apply(html, found.splices)
    # Every other byte is the same: what was put in, taken out again, and each link, gives the original.
    back, at, moved = [], 0, 0
    for one in found.splices:
        start = one.start + moved
        back.append(after[at:start])
        assert after[start : start + len(one.new)] == one.new
        at = start + len(one.new)
        back.append(html[one.start : one.end])
        moved += len(one.new) - (one.end - one.start)
        if one.end > one.start:
            assert OURS.fullmatch(one.new)
        else:
            assert ADDED.fullmatch(one.new)
    assert b"".join((*back, after[at:])) == html
    # A browser sees the same, and every link leads where it led.
    before_tree = tree(html, codec=codec, href=browser_target)
    assert tree(after, codec=codec, without=is_ours, href=browser_target) == before_tree
    return True


@pytest.mark.parametrize("path", sorted(DATA.glob("*.html")), ids=lambda path: path.name)
def test_only_links_and_the_pixel_change_in_whole_letters(path: Path):
    assert check(path.read_bytes())


def test_every_way_to_write_a_link():
    html = (DATA / "links.html").read_bytes()
    expected = re.findall(rb"<!-- (?:[0-9]+): (\S+) -->", html)
    assert [target.encode() for target in tracked(html)] == expected
    assert check(html)


STAYS = [
    '<a href="mailto:anna@acme.example?subject=https://x.example">write</a>',
    '<a href="tel:+4912345">call</a>',
    '<a href="#top">up</a>',
    '<a href="cid:part1@acme.example">picture</a>',
    '<a href="javascript:alert(1)">x</a>',
    '<a href="java&#x0A;script:alert(1)">x</a>',
    '<a href="data:text/html,https://x.example">x</a>',
    '<a href="/relative">x</a>',
    '<a href="page.html?u=https://x.example">x</a>',
    '<a href="//x.example/">x</a>',
    '<a href="">x</a>',
    "<a href>x</a>",
    "<a href=>x</a>",
    '<a name="https://x.example/">x</a>',
    '<a xlink:href="https://x.example/">x</a>',
    '<link href="https://x.example/style.css" rel="stylesheet">',
    '<img src="https://x.example/y.png">',
    '<form action="https://x.example/"><button formaction="https://x.example/">go</button></form>',
    '<!-- <a href="https://x.example/">x</a> -->',
    '<!--[if mso]><a href="https://x.example/">x</a><![endif]-->',
    "<script>\"<a href='https://x.example/'>\"</script>",
    '<style>/* <a href="https://x.example/"> */</style>',
    '<title><a href="https://x.example/">x</a></title>',
    '<textarea><a href="https://x.example/">x</a></textarea>',
    '<noscript><a href="https://x.example/">x</a></noscript>',
    '<iframe><a href="https://x.example/">x</a></iframe>',
    "<img alt='<a href=\"https://x.example/\">'>",
    '<img alt="<a href=https://x.example/>">',
    '<svg><a href="https://x.example/">x</a></svg>',
    '<a href="https://mail.us.example/c/abc">ours already</a>',
    f'<a href="{BASE}/c/abcdef">tracked already</a>',
    '<a href="https://LINKS.acme.example./x">ours</a>',
    '<a href="https://news.example/leave?u=1">in List-Unsubscribe</a>',
    '<a href="https://news.example/Unsubscribe?u=1">x</a>',
    '<a href="https://news.example/u/opt-out/1">x</a>',
    '<a href="https://news.example/abmelden">x</a>',
    '<a href="https://unsubscribe.news.example/1">x</a>',
    '<a href="https://news.example/u/1">Unsubscribe here</a>',
    '<a href="https://news.example/u/1"><b>Newsletter</b> abbestellen</a>',
    '<a href="https://news.example/u/1">Se d&eacute;sabonner</a>',
    '<a href="https://news.example/u/1" rel="nofollow UNSUBSCRIBE">x</a>',
    '<a href="https://x.example/" data-no-track>x</a>',
    '<a href="https://x.example/" data-no-track="1">x</a>',
    '<a href="https://app.example/login?next=/x">x</a>',
    '<a href="https://app.example/sign-in">x</a>',
    '<a href="https://app.example/#/login">x</a>',
    '<a href="https://login.app.example/">x</a>',
    '<a href="https://accounts.app.example/x">x</a>',
    '<a href="https://app.example/reset_password/abc">x</a>',
    '<a href="https://app.example/password/reset?x=1">x</a>',
    '<a href="https://app.example/x?reset_token=abc">x</a>',
    '<a href="https://app.example/x?a=1&amp;token=abc">x</a>',
    '<a href="https://app.example/verify/abc">x</a>',
    '<a href="https://app.example/oauth2/authorize">x</a>',
    '<a href="https://shop.example/account/orders">x</a>',
    '<a href="https://private.example/anything">x</a>',
    '<a href="https://x.example/">https://bank.example/</a>',
    '<a href="https://x.example/">https://x.example/</a>',
    '<a href="https://x.example/"> www.x.example </a>',
    '<a href="https://x.example/"><b>x.example</b>/offers</a>',
    '<a href="https://user@x.example/">x</a>',
    '<a href="https:x.example">x</a>',
    '<a href="https:/x.example">x</a>',
    '<a href="https:\\\\x.example">x</a>',
    '<a href="https://x.example/a\nb">x</a>',
    '<a href="https://b\u00fccher.example/">x</a>',
    f'<a href="https://x.example/{"y" * 2000}">x</a>',
]


@pytest.mark.parametrize("html", STAYS, ids=lambda html: html[:60])
def test_fault_t15_what_must_not_be_touched_is_not(html: str):
    page = f"<html><body><p>{html}</p></body></html>".encode()
    assert tracked(page) == []
    assert check(page)


GOES = [
    ('<a href="https://x.example/">x</a>', "https://x.example/"),
    ('<a href="https://x.example/">https://www.acme.example/x</a>', "https://x.example/"),
    ('<a href="https://x.example/">see x.example for more</a>', "https://x.example/"),
    ('<a href="https://x.example/">Version 2.0</a>', "https://x.example/"),
    ('<a href="https://x.example/blogin/author">x</a>', "https://x.example/blogin/author"),
    ('<a href="https://shop.example/accounting">x</a>', None),
    ('<a href="https://shop.example/acc">x</a>', "https://shop.example/acc"),
    ('<area href="https://x.example/map">', "https://x.example/map"),
    ('<A HREF="HTTPS://X.example/Y">x</A>', "HTTPS://X.example/Y"),
    ('<a href="https://x.example/\u00e4?q=\u20ac">x</a>', "https://x.example/\u00e4?q=\u20ac"),
    (
        '<a href="https://x.example/?a=1&amp;b=2&c=3&copy=4&amp=5&ampx;&#38;&#x26;d">x</a>',
        "https://x.example/?a=1&b=2&c=3&copy=4&amp=5&ampx;&&d",
    ),
    ('<a href="https://x.example/&lt;&gt &quot;&nbsp;&eacute;">x</a>', 'https://x.example/<> "\u00a0\u00e9'),
    ('<base href="https://base.example/"><a href="https://x.example/">x</a>', "https://x.example/"),
    (
        '<img src="cid:x"><a href="https://x.example/"><img src="cid:y" alt="https://z.example"></a>',
        "https://x.example/",
    ),
    ("<a\n\thref\n=\n'https://x.example/'\nid=x>x</a>", "https://x.example/"),
    ('<a href="https://x.example/a b">x</a>', "https://x.example/a b"),
    ('<a href="  https://x.example/ ">x</a>', "https://x.example/"),
    ('<a href="https://x.example/1" href="https://y.example/2">x</a>', "https://x.example/1"),
    ("<a/href=https://x.example/>x</a>", "https://x.example/"),
    ("<a =\"x>\" href='https://x.example/'>x</a>", None),
    ("<a title=\"x\"href='https://x.example/'>x</a>", "https://x.example/"),
    ("<a title=x'y href='https://x.example/'>x</a>", "https://x.example/"),
    ("<a title='>' href=https://x.example/?a=b&c>x</a>", "https://x.example/?a=b&c"),
]


@pytest.mark.parametrize(("html", "target"), GOES, ids=[html[:60] for html, _ in GOES])
def test_links_of_every_form_lead_where_they_led(html: str, target: str | None):
    page = f"<html><body><p>{html}</p></body></html>".encode()
    assert check(page)
    if target is not None:
        assert tracked(page) == [target]


@given(st.text("&ampltcopyeacute#x;0129=Ff /?é<>\"'\u0000\U0001f600", max_size=40))
def test_references_are_undone_as_a_browser_does_it(text: str):
    quoted = "https://x.example/?" + text.replace('"', "").replace("\0", "")
    page = f'<a href="{quoted}">x</a>'.encode()
    assert [markup.attribute_text(quoted)] == hrefs(page)


@pytest.mark.parametrize(
    "code",
    [
        "0",
        "128",
        "x80",
        "x9f",
        "x81",
        "55296",
        "xD800",
        "1114111",
        "1114112",
        "99999999999999999999",
        "x41",
        "13",
        "x1F600",
    ],
)
def test_numbers_are_undone_as_a_browser_does_it(code: str):
    for semicolon in (";", ""):
        value = f"https://x.example/?&#{code}{semicolon}=z"
        assert [markup.attribute_text(value)] == hrefs(f'<a href="{value}">x</a>'.encode())


UNSAFE = [
    b"<p>an open comment <!-- <a href='https://x.example/'>",
    b"<p><a href='https://x.example/'>x</a><style>",
    b"<title>open",
    b"<p><a href='https://x.example/",
    b"<p><a href='https://x.example/'>x</a><b",
    b"<select><option><a href='https://x.example/'>x</a></select>",
    b"<frameset><frame src='https://x.example/'></frameset>",
    b"<plaintext><a href='https://x.example/'>x</a>",
    b"<script><!-- <script></script> --></script>",
    b"<noscript><!-- </noscript> --></noscript>",
    b"<svg><![CDATA[ <a href='https://x.example/'> ]]></svg>",
    b"<svg><style><a href='https://x.example/'>x</a></style></svg>",
    b"<svg></body><circle/>",
    b"<p>x<svg><desc></svg></body>",
    b"<p>x<svg><foreignObject><p></svg></p></body>",
    b"<math><mi></math></body>",
    b"<p>\0</p>",
]


@pytest.mark.parametrize("html", [b"<p>x<svg></body><circle/></svg>y", b"<p>x<math></body><mspace/></math>y"])
def test_the_pixel_does_not_stand_in_a_drawing(html: bytes):
    page = markup.find(html)
    assert page is not None
    assert page.end == len(html)


def test_the_hidden_link_does_not_stand_in_a_link_that_a_noscript_leaves_open():
    for inside, closed in ((b"<a href='https://x.example/'>x", False), (b"<a href='https://x.example/'>x</a>", True)):
        for end in (b"", b"</body>"):
            page = markup.find(b"<p>x<noscript>" + inside + b"</noscript>y" + end)
            assert page is not None
            assert page.closed is closed


@pytest.mark.parametrize("html", UNSAFE, ids=lambda html: html[:40])
def test_what_is_not_certain_is_left_alone(html: bytes):
    assert go(html) is None


PAGE = "<html><body><a href='https://x.example/'>grüße</a></body></html>"


@pytest.mark.parametrize(
    "charset",
    ["utf-16", "utf-16le", "utf-32", "utf-7", "iso-2022-jp", "iso-2022-kr", "hz", "x-unknown", "ebcdic-cp-us", "johab"],
)
def test_fault_t15_charsets_that_hide_tags_are_left_alone(charset: str):
    assert go(PAGE.encode(), charset=charset) is None
    assert go(PAGE.encode("utf-16"), charset="") is None


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("iso-8859-1", "cp1252"),
        ("Windows-1252", "cp1252"),
        ("ISO-8859-15", "iso8859-15"),
        ("koi8-r", "koi8-r"),
        ("shift_jis", "cp932"),
        ("gbk", "gb18030"),
        ("big5", "big5hkscs"),
        ("euc-jp", "euc_jp"),
        ("us-ascii", "utf-8"),
        ("", "utf-8"),
        ("euc-kr", "cp949"),
        ("macintosh", "mac-roman"),
    ],
)
def test_other_charsets_keep_every_byte(charset: str, codec: str):
    page = "<html><body><p>\u00fc\u042f\u30bd\u8868</p><a href='https://x.example/'>x</a></body></html>".encode(
        codec, "ignore"
    )
    assert check(page, charset=charset, codec=codec)
    assert tracked(page, charset=charset) == ["https://x.example/"]


def test_a_link_beyond_ascii_is_only_certain_in_utf_8():
    page = "<a href='https://x.example/?q=ü'>x</a>"
    assert tracked(page.encode()) == ["https://x.example/?q=ü"]
    assert tracked(page.encode("latin-1"), charset="iso-8859-1") == []
    assert tracked(page.encode("latin-1")) == []
    assert tracked(page.encode("ascii", "xmlcharrefreplace"), charset="iso-8859-1") == []


def test_the_pixel_stands_before_the_last_end_of_the_body():
    after = done(b"<html><body><p>x</p></body><!-- </body> --></html>\r\n")
    assert ADDED.sub(b"*", after) == b"<html><body><p>x</p>*</body><!-- </body> --></html>\r\n"
    assert ADDED.sub(b"*", done(b"<body>a</body>b</BODY >c")) == b"<body>a</body>b*</BODY >c"


def test_without_a_body_s_end_the_pixel_is_the_last_thing():
    assert ADDED.sub(b"*", done(b"<p>x</p>\r\n\r\n")) == b"<p>x</p>*\r\n\r\n"
    assert ADDED.sub(b"*", done(b"")) == b"*"


def test_a_link_that_is_open_at_the_end_gets_no_other_inside():
    after = done(b"<p><a href='https://x.example/'>open</body>")
    assert b"tabindex" not in after
    assert b"/o/" in after


def test_links_keep_their_number_whether_they_are_tracked_or_not():
    html = b"<a href='https://a.example/'>a</a><a href='mailto:x'>m</a><a href='https://b.example/login'>b</a><a href='https://c.example/'>c</a>"
    found = go(html)
    assert found is not None
    numbers = []
    for one in found.splices[:-1]:
        token = read(one.new.decode().removeprefix(f"{BASE}/c/"), KEYS, HOST)
        assert token is not None
        numbers.append(token.link)
    assert (numbers, found.links) == ([1, 3], 3)


def test_the_decoy_and_the_pixel_say_what_they_are():
    found = go(b"<p>x</p>")
    assert found is not None
    urls = re.findall(rb'"(https://[^"]+)"', found.splices[0].new)
    kinds = [read(re.sub(r".*/|\.gif$", "", url.decode()), KEYS, HOST) for url in urls]
    assert [token.kind for token in kinds if token] == [Kind.OPEN, Kind.DECOY]
    assert {token.delivery for token in kinds if token} == {DELIVERY}


ATTRIBUTES = st.sampled_from(
    [
        ' href="https://x.example/?a=1&amp;b=2"',
        " href='https://y.example/ü'",
        " href=https://z.example/",
        " href = 'http://q.example'",
        ' HREF="mailto:x@y.example"',
        " href='#x'",
        " href",
        " href=",
        ' title="a > b"',
        " title='<a href=\"https://n.example/\">'",
        " id=x",
        " =",
        " ='",
        '"',
        "'",
        "/",
        " data-no-track",
        " style=\"x:'y'\"",
        ' class = "a\nb"',
        ' x="',
        " alt=https://w.example/'",
        " rel=unsubscribe",
    ]
)
NAMES = st.sampled_from(
    [
        "a",
        "A",
        "area",
        "b",
        "p",
        "td",
        "table",
        "tr",
        "img",
        "abbr",
        "span",
        "div",
        "br",
        "i",
        "h1",
        "form",
        "input",
        "button",
        "li",
        "ul",
        "center",
        "font",
    ]
)
PIECES = st.one_of(
    st.builds(
        lambda name, attributes, close: f"<{name}{''.join(attributes)}{close}",
        NAMES,
        st.lists(ATTRIBUTES, max_size=4),
        st.sampled_from([">", ">", ">", "/>", " >", ""]),
    ),
    NAMES.map(lambda name: f"</{name}>"),
    st.sampled_from(
        [
            "text ",
            "&amp;",
            "<",
            "< ",
            "</",
            "<!-- c -->",
            "<!-->",
            "<!--->",
            "<!-- <a href='https://x.example/'> -->",
            "<!--",
            "-->",
            "--!>",
            "<!DOCTYPE html>",
            "<?php x ?>",
            "<![if mso]>",
            "</>",
            "</ x>",
            "<style>a{}</style>",
            "<style>",
            "</style>",
            "<script>'<a href=\"https://x.example/\">'</script>",
            "<title>",
            "</title>",
            "<textarea>",
            "</textarea>",
            "<svg>",
            "</svg>",
            "<math>",
            "</body>",
            "</BODY\n>",
            "<body>",
            "</html>",
            "<html>",
            "<head>",
            "</head>",
            "<select>",
            "</select>",
            "<noscript>",
            "</noscript>",
            "https://x.example",
            "\r\n",
            "ü",
        ]
    ),
)


@given(st.lists(PIECES, max_size=14).map("".join))
def test_any_html_keeps_its_bytes_its_tree_and_its_targets(html: str):
    check(html.encode())


@given(st.text("<>/!-ahref='\" =styl\n\r:p.x&;#", max_size=60))
def test_any_text_at_all(text: str):
    check(text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_rewritten_or_left(raw: bytes):
    found = go(b"<a href='https://x.example/'>x</a>" + raw)
    assert found is None or found.splices


@pytest.mark.parametrize(
    "text",
    [
        "<" * 50_000,
        "<!-" * 20_000,
        "<a " * 20_000,
        "<a href='" * 10_000,
        "<a x=" * 10_000,
        "<!--" + "-" * 50_000,
        "<b " + "x=y " * 20_000 + "z='",
        "<a href=https://x.example>" * 3_000,
        "</a" * 20_000,
        "<noscript>" * 5_000,
        "<style>" * 10_000,
        "<b x" + " " * 50_000,
        "<b" + " =" * 20_000,
        "<script><!--" * 5_000,
    ],
)
def test_it_is_linear_in_hostile_input(text: str):
    began = time.process_time()
    go(text.encode())
    assert time.process_time() - began < 2.0


def test_splices_are_applied_in_order():
    assert apply(b"abcdef", [Splice(0, 1, b"X"), Splice(3, 3, b"--"), Splice(5, 6, b"")]) == b"Xbc--de"
