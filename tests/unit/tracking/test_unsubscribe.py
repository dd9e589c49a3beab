"""The link to unsubscribe in the text of a mail, and its header fields: nothing else is changed (O15)."""

from __future__ import annotations

import base64
import email
import email.policy
import quopri
import re
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.ids import DeliveryId
from mailrelay.mail.compose import Draft, Person, base64_lines, compose, quoted_printable
from mailrelay.mail.structure import find_parts
from mailrelay.model.address import Address
from mailrelay.tracking.copies import Tracking, edited, tracking_edits
from mailrelay.tracking.links import LinkRules
from mailrelay.tracking.token import Keys
from mailrelay.tracking.unsubscribe import SENTENCE, Unsubscribing, unsubscribe_edits, with_fields, with_link

URL = "https://links.acme.example/u/" + "Ab-_" * 15
MAILTO = "u-0123456789abcdefghjk.0123456789abcdefghjkmnpqrs@bounce.us.test"
HOW = Unsubscribing(page=URL, mailto=MAILTO, one_click=True)
GERMAN = "Möchten Sie diese Mails nicht mehr?"
HEAD = b"From: Anna <anna@acme.example>\r\nTo: bob@b.example\r\nSubject: hi\r\nMIME-Version: 1.0\r\n"
PLACES = ("{{unsubscribe}}", "{{ unsubscribe }}", "%7B%7Bunsubscribe%7D%7D", "%7b%7bUnsubscribe%7d%7d")


def how(**more: object) -> Unsubscribing:
    fields = {"page": URL, "mailto": MAILTO, "one_click": True, **more}
    return Unsubscribing(**fields)  # type: ignore[arg-type]


def single(body: bytes, *, type_: str = "text/html; charset=utf-8", encoding: str = "") -> bytes:
    cte = f"Content-Transfer-Encoding: {encoding}\r\n" if encoding else ""
    return HEAD + f"Content-Type: {type_}\r\n{cte}\r\n".encode() + body


def encoded(data: bytes, encoding: str) -> bytes:
    if encoding == "quoted-printable":
        return quoted_printable(data)
    return base64_lines(data) if encoding == "base64" else data


def decoded(raw: bytes, encoding: str) -> bytes:
    body = raw.partition(b"\r\n\r\n")[2]
    if encoding == "quoted-printable":
        return quopri.decodestring(body)
    return base64.b64decode(body) if encoding == "base64" else body


def message(raw: bytes) -> EmailMessage:
    read = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return read


ENCODINGS = ("", "8bit", "quoted-printable", "base64")
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="{}%<>&"), max_size=300)


@given(
    pieces=st.lists(st.lists(WORDS, min_size=1, max_size=3).map("\r\n".join), min_size=2, max_size=5),
    places=st.lists(st.sampled_from(PLACES), min_size=4, max_size=4),
    type_=st.sampled_from(("text/plain", "text/html")),
    encoding=st.sampled_from(ENCODINGS),
)
def test_the_placeholder_is_the_link_and_every_other_byte_is_the_same(
    pieces: list[str], places: list[str], type_: str, encoding: str
) -> None:
    texts = [piece.encode() for piece in pieces]
    written = texts[0]
    expected = texts[0]
    for text, place in zip(texts[1:], places, strict=False):
        written += place.encode() + text
        expected += URL.encode() + text
    raw = single(encoded(written, encoding), type_=f"{type_}; charset=utf-8", encoding=encoding)
    changed = with_link(raw, HOW)
    assert changed.partition(b"\r\n\r\n")[0] == raw.partition(b"\r\n\r\n")[0]
    assert decoded(changed, encoding) == decoded(raw, encoding).replace(written, expected) == expected
    if encoding == "quoted-printable":
        # What is not beside a place keeps its spelling too.
        assert changed.partition(b"\r\n\r\n")[2].startswith(
            raw.partition(b"\r\n\r\n")[2][:20].split(b"{")[0].split(b"%")[0].split(b"=")[0]
        )
        assert all(len(line) <= 76 for line in changed.partition(b"\r\n\r\n")[2].split(b"\r\n"))


@given(body=WORDS.map(str.encode), encoding=st.sampled_from(ENCODINGS), ended=st.booleans(), german=st.booleans())
def test_a_text_without_it_gets_a_line_at_its_end(body: bytes, encoding: str, ended: bool, german: bool) -> None:
    body += b"\r\n" * ended
    sentence = GERMAN if german else SENTENCE
    raw = single(encoded(body, encoding), type_="text/plain; charset=utf-8", encoding=encoding)
    changed = decoded(with_link(raw, how(sentence=sentence)), encoding)
    assert changed.startswith(decoded(raw, encoding))
    lines = changed[len(decoded(raw, encoding)) :].decode()
    said = SENTENCE if encoding == "" and not body.isascii() else sentence
    assert lines.strip("\r\n") == f"{said}: {URL}"
    assert lines.startswith("\r\n")
    assert lines.endswith("\r\n") is (ended or not body)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("sentence", [SENTENCE, GERMAN, 'A & <b> "x"'])
def test_html_without_it_gets_a_line_before_its_body_ends(encoding: str, sentence: str) -> None:
    html = "<html><body><p>Grüße</p></body></html>\r\n".encode()
    raw = single(encoded(html, encoding), encoding=encoding)
    changed = decoded(with_link(raw, how(sentence=sentence)), encoding)
    line = re.search(rb'<p style="font-size:small"><a href="([^"]*)">([^<]*)</a></p></body>', changed)
    assert line is not None
    assert line[1].decode() == URL
    assert changed.replace(line[0].removesuffix(b"</body>"), b"") == html
    read = message(with_link(raw, how(sentence=sentence))).get_content()
    import html as entities

    assert sentence in entities.unescape(read)


def test_a_link_that_is_not_ended_is_not_gone_on_with() -> None:
    changed = with_link(single(b'<body><a href="x">open</body>'), HOW)
    assert changed.endswith(f"<p>{SENTENCE}: {URL}</p></body>".encode())


def alternative(text: bytes, html: bytes) -> bytes:
    return (
        HEAD + b'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text + b"\r\n"
        b"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html + b"\r\n--b--\r\n"
    )


def test_each_kind_of_text_has_it_where_its_author_put_it_or_at_its_end() -> None:
    parts = list(message(with_link(alternative(b"a {{unsubscribe}}", b"<p>b</p>"), HOW)).iter_parts())
    assert parts[0].get_content() == f"a {URL}"
    assert parts[1].get_content() == f'<p>b</p><p style="font-size:small"><a href="{URL}">{SENTENCE}</a></p>'


def test_an_amp_part_gets_it_only_where_its_author_put_it() -> None:
    amp = b"--b\r\nContent-Type: text/x-amp-html; charset=utf-8\r\n\r\n<html amp4email>%s</html>\r\n--b--\r\n"
    raw = alternative(b"a", b"b").removesuffix(b"--b--\r\n")
    assert amp % b"" in with_link(raw + amp % b"", HOW)
    assert amp % URL.encode() in with_link(raw + amp % b"{{unsubscribe}}", HOW)


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b'Content-Type: multipart/signed; boundary="b"\r\n\r\n--b\r\n\r\n{{unsubscribe}}\r\n'
        b"--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n",
        single(b"-----BEGIN PGP MESSAGE-----\r\n{{unsubscribe}}\r\n", type_="text/plain"),
        single(b"x", type_="application/pkcs7-mime", encoding="base64"),
        b"DKIM-Signature: v=1\r\n" + single(b"x", type_="text/plain"),
        single(b"<a href='{{unsubscribe}}", type_="text/html; charset=utf-16"),
        single(b"no =zz encoding {{unsubscribe}}", type_="text/plain", encoding="quoted-printable"),
        single(b"%PDF", type_="application/pdf"),
        single(b"{{unsubscribe}}", type_='text/plain; name="list.txt"'),
        HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n'
        b"Subject: x\r\n\r\n{{unsubscribe}}\r\n--b--\r\n",
    ],
)
def test_what_may_not_change_keeps_every_byte_and_has_its_header_fields(raw: bytes) -> None:
    assert with_link(raw, HOW) == raw
    assert b"\r\nList-Unsubscribe: <https://" in with_fields(raw, HOW)
    assert with_fields(raw, HOW).partition(b"\r\n\r\n")[2] == raw.partition(b"\r\n\r\n")[2]


def test_a_text_in_ascii_says_it_in_another_language_as_utf_8() -> None:
    anna = Person("Anna", Address("anna", "acme.example"))
    draft = Draft(
        from_=anna, to=(anna,), subject="hi", text="Hallo\nBob\n", html="<p>x</p>", date=None, message_id=None
    )
    changed = with_link(compose(draft), how(sentence=GERMAN))
    text, html = message(changed).iter_parts()
    assert text.get_content().replace("\r\n", "\n") == f"Hallo\nBob\n\n{GERMAN}: {URL}\n"
    assert (text.get_content_charset(), text["Content-Transfer-Encoding"]) == ("utf-8", "8bit")
    assert html.get_content().count(URL) == 1
    _, defects = find_parts(changed)
    assert defects == ()


@pytest.mark.parametrize(
    "raw",
    [
        single(b"x", type_="text/plain; charset=iso-8859-5", encoding="8bit"),
        single(b"x", type_='text/plain; charset*0="us-"; charset*1=ascii', encoding="7bit"),
        HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n",
    ],
)
def test_where_a_text_cannot_say_it_the_sentence_is_ours(raw: bytes) -> None:
    assert with_link(raw, how(sentence=GERMAN)).count(f"{SENTENCE}: {URL}".encode()) == 1


def test_a_header_alone_gets_its_line_as_its_body() -> None:
    changed = with_link(b"From: a@b.example\r\nSubject: x\r\n", HOW)
    assert message(changed)["Subject"] == "x"
    assert message(changed).get_content().strip() == f"{SENTENCE}: {URL}"


@pytest.mark.parametrize("one_click", [True, False])
def test_the_header_fields_are_ours_and_one_https_uri_comes_first(one_click: bool) -> None:
    theirs = (
        b"List-Unsubscribe: <https://a.example/1>, <https://a.example/2>\r\nlist-unsubscribe: <mailto:a@b.example>\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nList-Unsubscribe-Post: x\r\nX-Other: kept\r\n"
    )
    raw = theirs + single(b"x")
    read = message(with_fields(raw, how(one_click=one_click, list_id="<news.o1.bounce.us.test>")))
    mailto = f"<mailto:{MAILTO}?subject=unsubscribe>"
    assert read.get_all("List-Unsubscribe") == [f"<{URL}>, {mailto}" if one_click else mailto]
    assert read.get_all("List-Unsubscribe-Post", []) == ["List-Unsubscribe=One-Click"] * one_click
    assert (read["List-Id"], read["X-Other"]) == ("<news.o1.bounce.us.test>", "kept")


def test_an_author_s_list_id_stays() -> None:
    read = message(with_fields(b"List-Id: <own.acme.example>\r\n" + single(b"x"), how(list_id="<news.o1.us.test>")))
    assert read.get_all("List-Id") == ["<own.acme.example>"]


def test_without_a_page_the_link_is_a_mail() -> None:
    changed = with_link(single(b"{{unsubscribe}}", type_="text/plain"), how(page="", one_click=False))
    assert changed.endswith(f"mailto:{MAILTO}?subject=unsubscribe".encode())


TRACKING = Tracking(
    delivery=DeliveryId("D01JB2C3D4E5F6G7H8J9K"),
    base="https://links.acme.example",
    rules=LinkRules(host="links.acme.example"),
    keys=Keys.derive(b"secret"),
)


def test_beside_tracking_the_link_stays_ours_and_the_others_are_counted() -> None:
    html = (
        b'<body><a href="https://x.example/">x</a><a href="{{unsubscribe}}">leave</a>'
        b'<a href="https://own.example/?to={{unsubscribe}}">own</a></body>'
    )
    raw = single(html)
    leaving, headers = unsubscribe_edits(raw, HOW)
    counted, _ = tracking_edits(raw, TRACKING)
    changed = edited(raw, [*leaving, *counted], headers).partition(b"\r\n\r\n")[2]
    assert changed.count(b"/c/") == 2  # the first link, and the hidden one
    assert f'<a href="{URL}">leave</a><a href="https://own.example/?to={URL}">own</a>'.encode() in changed
    assert b'src="https://links.acme.example/o/' in changed


def test_beside_tracking_the_line_stands_before_the_pixel() -> None:
    raw = single(b"<body>x</body>")
    leaving, headers = unsubscribe_edits(raw, HOW)
    counted, _ = tracking_edits(raw, TRACKING)
    changed = edited(raw, [*leaving, *counted], headers)
    assert re.search(rb"<body>x<p [^>]*><a href=[^>]*>[^<]*</a></p><img [^>]*>.*</body>", changed)


@given(st.binary(max_size=400), st.sampled_from((*ENCODINGS, "7bit", "x-other")), st.text(max_size=30))
def test_fault_p_whatever_a_mail_holds_nothing_is_raised_and_its_header_stays(
    body: bytes, encoding: str, charset: str
) -> None:
    raw = single(body, type_=f"text/html; charset={charset!r}", encoding=encoding).replace(b"\r\n\r\n\r\n", b"\r\n\r\n")
    with_fields(with_link(raw, HOW), HOW)
    with_link(body, HOW)
    with_fields(body, HOW)
