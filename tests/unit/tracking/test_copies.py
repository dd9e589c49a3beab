"""A whole mail's tracked copy: only its HTML letter changes, in whatever transfer encoding, and what is sealed does not (O9, T10, T15)."""

from __future__ import annotations

import base64
import binascii
import email
import email.policy
import quopri
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.ids import DeliveryId
from mailrelay.mail import transfer
from mailrelay.mail.compose import quoted_printable
from mailrelay.model.tracking import Tracked
from mailrelay.tracking import encoded
from mailrelay.tracking.copies import Tracking, tracked_copy
from mailrelay.tracking.links import LinkRules
from mailrelay.tracking.rewrite import Splice, apply
from mailrelay.tracking.token import Keys, Kind, read

HOST = "links.acme.example"
BASE = f"https://{HOST}"
KEYS = Keys.derive(b"secret")
DELIVERY = DeliveryId("D01JB2C3D4E5F6G7H8J9K")
TRACKING = Tracking(delivery=DELIVERY, base=BASE, rules=LinkRules(host=HOST), keys=KEYS)
HEAD = b"From: Anna <anna@acme.example>\r\nTo: bob@b.example\r\nSubject: hi\r\nMIME-Version: 1.0\r\n"
HTML = b'<html><body><p>Hallo <a href="https://x.example/?a=1&amp;b=2">hier</a></p></body></html>\r\n'
PLAIN = b"Hallo https://x.example/?a=1\r\n"
OURS = re.compile(rb"https://links\.acme\.example/c/[\w-]+")
ADDED = re.compile(rb'<img src="https://links\.acme\.example/o/[\w-]+\.gif"[^>]*>(?:<a [^>]*></a>)?')


def go(raw: bytes) -> tuple[bytes, Tracked]:
    return tracked_copy(raw, TRACKING)


def undone(html: bytes) -> bytes:
    """The HTML as it was: what was added is taken out, and what was changed is what its token says."""

    def target(match: re.Match[bytes]) -> bytes:
        token = read(match[0].rpartition(b"/")[2].decode(), KEYS, HOST)
        assert token is not None
        assert (token.kind, token.delivery) == (Kind.CLICK, DELIVERY)
        return token.target.replace("&", "&amp;").encode()

    return OURS.sub(target, ADDED.sub(b"", html))


def single(
    body: bytes, *, encoding: str = "", fields: bytes = b"", type_: bytes = b"text/html; charset=utf-8"
) -> bytes:
    cte = f"Content-Transfer-Encoding: {encoding}\r\n".encode() if encoding else b""
    return HEAD + b"Content-Type: " + type_ + b"\r\n" + cte + fields + b"\r\n" + body


def multipart(kind: str, *parts: bytes, fields: bytes = b"") -> bytes:
    body = b"".join(b"--xyz\r\n" + part + b"\r\n" for part in parts) + b"--xyz--\r\n"
    return HEAD + f'Content-Type: multipart/{kind}; boundary="xyz"\r\n'.encode() + fields + b"\r\n" + body


def part(type_: str, body: bytes, *fields: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (f"Content-Type: {type_}", *fields)).encode() + b"\r\n" + body


def test_everything_but_the_links_and_the_pixel_is_the_same_byte_for_byte():
    raw = single(HTML)
    copy, said = go(raw)
    assert said is Tracked.LINKS
    assert copy != raw
    assert undone(copy) == raw


def test_in_a_multipart_only_the_html_letter_changes():
    raw = multipart(
        "mixed",
        part(
            'multipart/alternative; boundary="abc"',
            b"--abc\r\n" + part("text/plain", PLAIN) + b"\r\n--abc\r\n" + part("text/x-amp-html", HTML) + b"\r\n--abc\r\n"
            + part('multipart/related; boundary="rel"', b"--rel\r\n" + part("text/html", HTML) + b"\r\n--rel\r\n"
                   + part("text/html", HTML, "Content-ID: <frame@x>") + b"\r\n--rel--") + b"\r\n--abc--",
        ),
        part("text/html", HTML, "Content-Disposition: attachment; filename=offer.html"),
        part("text/html; name=offer.html", HTML),
        part("message/rfc822", b"Subject: inner\r\nContent-Type: text/html\r\n\r\n" + HTML),
    )  # fmt: skip
    copy, said = go(raw)
    assert said is Tracked.LINKS
    assert undone(copy) == raw
    assert len(OURS.findall(copy)) == 2  # the link and the decoy
    assert copy.index(b"/o/") > copy.index(b'boundary="rel"')


def test_several_html_letters_have_one_pixel_and_numbers_that_go_on():
    raw = multipart("mixed", part("text/html", HTML), part("image/png", b"x"), part("text/html", HTML))
    copy, _ = go(raw)
    assert undone(copy) == raw
    assert copy.count(b"/o/") == 1
    links = [read(found.rpartition(b"/")[2].decode(), KEYS, HOST) for found in OURS.findall(ADDED.sub(b"", copy))]
    assert [link.link for link in links if link] == [1, 2]


def test_plain_text_is_left_and_said_to_be():
    raw = single(PLAIN, type_=b"text/plain")
    assert go(raw) == (raw, Tracked.PLAIN)
    raw = multipart("mixed", part("text/plain", PLAIN), part("text/html", HTML, "Content-Disposition: attachment"))
    assert go(raw) == (raw, Tracked.PLAIN)
    assert go(HEAD + b"\r\n" + HTML) == (HEAD + b"\r\n" + HTML, Tracked.PLAIN)


SEALED = {
    "signed": multipart("signed; protocol=x", part("text/html", HTML), part("application/pgp-signature", b"sig")),
    "signed inside": multipart(
        "mixed",
        part("text/html", HTML),
        part("multipart/signed; boundary=i", b"--i\r\n" + part("text/html", HTML) + b"\r\n--i--"),
    ),
    "encrypted": multipart("encrypted", part("application/pgp-encrypted", b"Version: 1"), part("text/html", HTML)),
    "s/mime": multipart(
        "mixed", part("text/html", HTML), part("application/pkcs7-mime; smime-type=enveloped-data", b"MIIB")
    ),
    "s/mime alone": single(b"MIIB", type_=b"application/x-pkcs7-mime; smime-type=signed-data"),
    "detached": multipart(
        "mixed", part("text/html", HTML), part("application/pkcs7-signature; name=smime.p7s", b"MIIB")
    ),
    "inline pgp": multipart(
        "alternative", part("text/plain", b"-----BEGIN PGP SIGNED MESSAGE-----\r\n"), part("text/html", HTML)
    ),
    "inline pgp, encoded": multipart(
        "alternative",
        part("text/plain", base64.b64encode(b"-----BEGIN PGP MESSAGE-----"), "Content-Transfer-Encoding: base64"),
        part("text/html", HTML),
    ),
    "signed by the author's own system": single(
        HTML, fields=b"DKIM-Signature: v=1; a=rsa-sha256; d=acme.example; s=x; bh=; b=\r\n"
    ),
    "sealed": single(HTML, fields=b"ARC-Seal: i=1; a=rsa-sha256\r\n"),
}


@pytest.mark.parametrize("raw", SEALED.values(), ids=SEALED)
def test_fault_t15_what_is_signed_or_encrypted_keeps_every_byte(raw: bytes):
    assert go(raw) == (raw, Tracked.SIGNED)


UNSAFE = {
    "two encodings": single(HTML, encoding="7bit", fields=b"Content-Transfer-Encoding: base64\r\n"),
    "a digest": single(HTML, fields=b"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\n"),
    "unknown encoding": single(HTML, encoding="x-uuencode"),
    "broken base64": single(b"PGh0bWw+!!!!", encoding="base64"),
    "broken quoted-printable": single(b"<a href=3D'https://x.example/'>=zz</a>", encoding="quoted-printable"),
    "blanks before the end of a line": single(b"<p> \r\n</p>", encoding="quoted-printable"),
    "utf-16": single(
        base64.encodebytes(HTML.decode().encode("utf-16")), encoding="base64", type_=b"text/html; charset=utf-16"
    ),
    "an open comment": single(b"<p><!-- " + HTML),
    "a multipart without an end": multipart("mixed", part("text/html", HTML)).replace(b"--xyz--", b""),
    "enormous": single(b"<p>" + b"x" * 2_100_000),
}


@pytest.mark.parametrize("raw", UNSAFE.values(), ids=UNSAFE)
def test_what_cannot_be_done_safely_is_sent_as_it_is(raw: bytes):
    assert go(raw) == (raw, Tracked.UNSAFE)


def test_links_of_list_fields_stay():
    raw = single(HTML, fields=b"List-Unsubscribe: <mailto:x@y.example>,\r\n <https://x.example/?a=1&b=2>\r\n")
    copy, said = go(raw)
    assert said is Tracked.LINKS
    assert OURS.findall(ADDED.sub(b"", copy)) == []
    assert b"https://x.example/?a=1&amp;b=2" in copy


LETTER = (
    '<html><body style="color:#123">\r\n<p>Grüße, dies ist ein langer Satz = mit Zeichen, der über eine Zeile geht und weiter: '
    '<a href="https://x.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/?a=1&amp;b=2" title="x">hier</a></p>\r\n'
    "</body></html>\r\n"
).encode()


def test_quoted_printable_is_spliced_as_it_is_spelled():
    body = quoted_printable(LETTER).replace(b"=C3=BC", b"=c3=bc")
    raw = single(body, encoding="quoted-printable")
    copy, said = go(raw)
    assert said is Tracked.LINKS
    after = copy.partition(b"\r\n\r\n")[2]
    assert undone(quopri.decodestring(after)) == LETTER
    assert max(len(line) for line in after.split(b"\r\n")) <= 76
    # All lines but those of the link and the end are the same.
    old, new = body.split(b"\r\n"), after.split(b"\r\n")
    assert b"=c3=bc" in after
    assert old[:2] == new[:2]
    assert old[-2:] == new[-2:]
    parsed = email.message_from_bytes(copy, policy=email.policy.default)
    assert undone(parsed.get_payload(decode=True)) == LETTER


@pytest.mark.parametrize("last", ["x" * 76, "x" * 73 + "=3D", "x" * 75])
def test_a_last_line_without_room_for_a_soft_break_stays_within_76(last: str):
    body = b"<p>a</p>\r\n" + last.encode()
    read = encoded.read(body, "quoted-printable")
    assert read is not None
    end = len(read.decoded)
    after = read.spliced([Splice(end, end, b'<img src="https://links.example/o/x.gif">')])
    assert max(len(line) for line in after.split(b"\r\n")) <= 76
    assert quopri.decodestring(after) == read.decoded + b'<img src="https://links.example/o/x.gif">'


def test_base64_is_encoded_anew_and_decodes_to_the_same_but_for_the_links():
    raw = single(base64.encodebytes(LETTER).replace(b"\n", b"\r\n"), encoding="base64")
    copy, said = go(raw)
    assert said is Tracked.LINKS
    after = copy.partition(b"\r\n\r\n")[2]
    assert undone(base64.b64decode(after)) == LETTER
    assert max(len(line) for line in after.split(b"\r\n")) <= 76
    assert after.endswith(b"\r\n")
    assert copy.partition(b"\r\n\r\n")[0] == raw.partition(b"\r\n\r\n")[0]


def test_eight_bits_are_spliced_in_place():
    raw = single(LETTER, encoding="8bit")
    copy, _ = go(raw)
    assert undone(copy) == raw


def decoded(body: bytes, encoding: str) -> bytes | None:
    found = encoded.read(body, encoding)
    return None if found is None else found.decoded


def test_what_cannot_be_decoded_like_everybody_does_is_not():
    assert decoded(b"a=\r\nb=3D", "quoted-printable") == b"ab="
    for odd in (b"=", b"=3", b"= \r\n", b"x \r\n", b"x\t", b"a\nb", b"a\rb", b"==", b"=zz"):
        assert decoded(odd, "quoted-printable") is None
    assert decoded(b"YQ==\r\n", "base64") == b"a"
    for odd in (b"YQ", b"Y Q==", b"YQ==YQ==", b"!"):
        assert decoded(odd, "base64") is None
    assert decoded(b"x", "x-uuencode") is None


texts = st.text("aäß= \r\n.<>\"'-\U0001f600\t\x00", max_size=250).map(
    lambda text: re.sub(r"\r\n|\r|\n", "\r\n", text).encode()
)
changes = st.lists(
    st.tuples(
        st.integers(0, 260),
        st.integers(0, 12),
        st.sampled_from(
            [b"", b"x", b"https://links.example/c/" + b"a" * 190, b'<img src="https://x/" alt=""> <b>', b"=" * 100]
        ),
    ),
    max_size=6,
)


@given(texts, changes, st.booleans())
def test_any_change_to_what_is_encoded_is_that_change_when_decoded(data: bytes, wanted: list, lower: bool):
    splices, at = [], -1
    for start, size, new in sorted(wanted):
        start = min(max(start, at + 1), len(data))
        if start <= at:
            break  # links do not touch
        end = min(start + size, len(data))
        splices.append(Splice(start, end, new))
        at = end
    body = quoted_printable(data)
    if lower:
        body = re.sub(rb"=[0-9A-F]{2}", lambda match: match[0].lower(), body)
    found = encoded.read(body, "quoted-printable")
    if found is None:
        return
    assert found.decoded == data == transfer.decode(body, "quoted-printable")
    after = found.spliced(splices)
    assert binascii.a2b_qp(after) == apply(data, splices)
    assert quopri.decodestring(after) == apply(data, splices)
    assert max(map(len, after.split(b"\r\n"))) <= 77
    found = encoded.read(base64.encodebytes(data), "base64")
    assert found is not None
    assert base64.b64decode(found.spliced(splices)) == apply(data, splices)


@given(st.binary(max_size=300))
def test_any_mail_at_all_leaves_as_it_is_or_tracked(raw: bytes):
    copy, said = go(single(raw))
    assert said is not Tracked.LINKS or undone(copy) == undone(single(raw))
    copy, said = go(raw)
    assert said is Tracked.LINKS or copy == raw


def test_every_delivery_has_a_copy_of_its_own():
    other = Tracking(delivery=DeliveryId("D01JB2C3D4E5F6G7H8J9M"), base=BASE, rules=TRACKING.rules, keys=KEYS)
    raw = single(HTML)
    assert tracked_copy(raw, other)[0] != go(raw)[0]
    assert len(tracked_copy(raw, other)[0]) == len(go(raw)[0])
    assert go(raw) == go(raw)  # the same at each attempt
