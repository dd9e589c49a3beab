"""Any bytes are read without an exception, and stay as they are (P14)."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail import addresses, blocks, charset, dates, forwarded, parameters, words
from mailrelay.mail.headers import HeaderBlock
from mailrelay.mail.identity import content_digest
from mailrelay.mail.inspect import inspect
from mailrelay.mail.message import parse
from mailrelay.mail.participants import participants
from mailrelay.mail.reply_text import new_text
from mailrelay.mail.seven_bit import to_seven_bit
from mailrelay.mail.submission import needs_smtputf8
from mailrelay.mail.text import from_html

PIECES = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b"\r\n\r\n",
            b" ",
            b"\t",
            b"\0",
            b"\xe4",
            b"\xff",
            b":",
            b";",
            b"=",
            b'"',
            b"<",
            b">",
            b"--",
            b"--b",
            b"--b--",
        ),
        *(
            b"From: ",
            b"To: ",
            b"Subject: ",
            b"Date: ",
            b"Message-ID: ",
            b"References: ",
            b"Content-Type: ",
            b"Content-Transfer-Encoding: ",
        ),
        *(
            b"multipart/mixed; boundary=b",
            b"multipart/alternative; boundary=bb",
            b"message/rfc822",
            b"text/html",
            b"base64",
            b"quoted-printable",
        ),
        *(
            b"x-uuencode",
            b"begin 644 x",
            b"=?utf-8?q?",
            b"?=",
            b"a@b.example",
            b"(",
            b")",
            b",",
            b"@",
            b"charset=",
            b"utf-7",
            b"utf-16",
            b"name*0*=",
        ),
        *(
            b"<div>",
            b"<!--",
            b"<blockquote>",
            b"&#x110000;",
            b"> ",
            b"On 2 March 2026 x wrote:",
            b"-- ",
            b"Sent: ",
            b"Fwd: ",
            b"multipart/signed",
        ),
    ]
)
MAILS = st.lists(PIECES | st.binary(max_size=6), max_size=60).map(b"".join)
TEXTS = st.text(max_size=200) | MAILS.map(lambda raw: raw.decode("latin-1"))


@given(MAILS)
def test_fault_p14_any_bytes_are_a_mail(raw):
    found = inspect(raw)
    json.dumps([found.text, found.html, found.subject, found.reply, [one.name for one in found.attachments]]).encode()
    for value in (found.text, found.html, found.subject, found.reply):
        value.encode("utf-8")
        assert "\0" not in value
    parsed = parse(raw)
    assert len(content_digest(parsed)) == 64
    participants(parsed)
    _ = parsed.parents
    forwarded.forwarded(parsed)
    forwarded.attached(parsed)
    needs_smtputf8(raw)
    done = to_seven_bit(raw)
    assert done is None or done.isascii()


@given(MAILS)
def test_fault_p14_any_header_comes_back_byte_for_byte(raw):
    block = HeaderBlock.parse(raw)
    assert bytes(block) + raw[block.end :] == raw
    assert HeaderBlock.parse(block.without(["From"]).join(raw)).get("From") is None or "From" not in block


@given(TEXTS)
def test_fault_p14_any_text_is_an_address_list_or_a_parameter_list(value):
    for one in addresses.read(value).mailboxes:
        if one.address is not None:
            assert one.address.domain
            assert one.address.domain.isascii()
            assert not any(char in one.address.domain for char in "@<>()\r\n ,;")
    parameters.read(value)
    words.decode(value).encode("utf-8")
    dates.read(value)
    new_text(value)
    from_html(value).encode("utf-8")
    blocks.find(value.split("\n"))


@given(
    st.binary(max_size=100),
    st.text(max_size=20)
    | st.sampled_from(["utf-7", "utf-16", "utf-32", "hz", "iso-2022-kr", "idna", "punycode", "rot13"]),
)
def test_fault_p14_any_charset_decodes(data, name):
    charset.decode(data, name).encode("utf-8")


@given(
    st.text(min_size=1, max_size=120).filter(lambda text: not any(ord(char) < 32 or char == "\x7f" for char in text))
)
def test_what_is_encoded_is_decoded(value):
    value = value.encode("utf-8", "replace").decode()
    assert words.decode(words.encode(value)) == value.strip(" \t")
