"""Mails taken apart: structure, bodies, attachments, and what hostile ones cost."""

from __future__ import annotations

import hashlib
import json

import pytest

from mailrelay.mail import structure
from mailrelay.mail.message import parse
from tests.support.cost import cpu

MIXED = b"""\
From: Ann <ann@example.com>
To: bob@example.com
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
Message-ID: <1@example.com>
Content-Type: multipart/mixed; boundary="outer"

for old readers
--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe=
, Bob
--inner
Content-Type: text/html; charset=utf-8

<p>Hello <b>Bob</b>
--inner--
--outer
Content-Type: application/pdf; name="x.pdf"
Content-Disposition: attachment; filename*=utf-8''%C3%BCbersicht.pdf
Content-Transfer-Encoding: base64

JVBE
Rg==
--outer
Content-Type: message/rfc822

Subject: inside
From: carol@example.com

An inner text
--outer--
after
"""


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_a_mail_is_read_alike_with_any_line_end(newline):
    parsed = parse(MIXED.replace(b"\n", newline))
    assert parsed.defects == ()
    assert parsed.subject == "Grüße"
    assert parsed.message_id == "1@example.com"
    assert parsed.text == "Grüße, Bob"
    assert "<b>Bob</b>" in parsed.html
    assert [(one.name, one.type, one.size) for one in parsed.attachments][:1] == [
        ("übersicht.pdf", "application/pdf", 4)
    ]
    assert parsed.attachments[0].sha256 == hashlib.sha256(b"%PDF").hexdigest()
    assert parsed.attached_messages == (
        b"Subject: inside\nFrom: carol@example.com\n\nAn inner text".replace(b"\n", newline),
    )
    assert [part.path for part in parsed.root.walk()] == ["", "1", "1.1", "1.2", "2", "3", "3.1"]


def test_html_only_mail_has_a_text():
    parsed = parse(
        b"Content-Type: text/html\n\n<head><title>no</title></head><style>no</style>Hello<br>there<p>you &amp; me</p><ul><li>x</ul>"
    )
    assert parsed.text == "Hello\nthere\n\nyou & me\n\n- x"


def test_an_empty_plain_part_does_not_hide_the_html():
    raw = b"Content-Type: multipart/alternative; boundary=b\n\n--b\n\n\n--b\nContent-Type: text/html\n\nshown\n--b--\n"
    assert parse(raw).text == "shown"
    assert parse(raw).attachments == ()


def test_an_empty_last_form_does_not_hide_what_there_is():
    raw = (
        b"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>shown</p>\n"
        b"--b\n\n--b\nContent-Type: text/plain\n\n\n--b--\n"
    )
    parsed = parse(raw)
    assert (parsed.text, parsed.html, parsed.attachments) == ("shown", "<p>shown</p>", ())


def test_an_empty_file_is_still_a_file():
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\nContent-Type: text/plain; name=a.txt\n\n\n"
        b"--b\nContent-Disposition: attachment\n\n\n--b--\n"
    )
    assert [(one.name, one.size) for one in parse(raw).attachments] == [("a.txt", 0), ("", 0)]


def test_a_text_without_mail_fields_is_all_body():
    parsed = parse(b"Note: this is no mail\nOn Monday we met.\n")
    assert parsed.text == "Note: this is no mail\nOn Monday we met.\n"


@pytest.mark.parametrize(
    ("encoding", "body", "decoded"),
    [
        ("base64", b"aGVs\nbG8", b"hello"),
        ("base64", b"aGVs!!bG8=", b"hello"),
        ("BASE64 ", b"aGk=aGk=", b"hihi"),
        ("base64", b"a", b""),
        ("quoted-printable", b"a=3D=\nb=ZZ \nc=", b"a=b=ZZ\nc"),
        ("x-uuencode", b"begin 644 x\n%:&5L;&\\\n`\nend\n", b"hello"),
        ("x-unknown", b"as it is", b"as it is"),
    ],
)
def test_transfer_encodings_are_undone_as_far_as_they_go(encoding, body, decoded):
    raw = b"From: a@b.c\nContent-Type: application/x\nContent-Transfer-Encoding: %s\n\n%s" % (encoding.encode(), body)
    assert parse(raw).root.decoded() == decoded


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        ("x-none", b"caf\xe9"),
        ("utf-8", b"\xff\xfe\x80"),
        ("utf-7", b"+2AA-"),
        ("utf-16", b"\x00\xd8\x00\x00a"),
        ("unicode_escape", b"\\ud800"),
        ("base64", b"aGk="),
        ("iso-2022-jp", b"\x1b$B$"),
        ("utf-8", b"nul\0"),
        ("us-ascii", b"\xe4\xf6\xfc\xdf caf\xe9 na\xefve \xe0 la carte " * 10),
        ("x" * 500, b"x"),
    ],
)
def test_fault_p05_any_charset_gives_valid_json(charset, body):
    parsed = parse(b"From: a@b.c\nContent-Type: text/plain; charset=%s\n\n%s" % (charset.encode(), body))
    text = json.dumps(parsed.text).encode("ascii")
    assert json.loads(text) == parsed.text
    assert "\0" not in parsed.text
    parsed.text.encode("utf-8")


def test_fault_p05_a_soft_line_break_at_the_end_is_nothing():
    assert parse(b"From: a@b.c\nContent-Transfer-Encoding: quoted-printable\n\nend=").text == "end"


@pytest.mark.parametrize(
    "name",
    ["../../etc/x", "a\0b", "invoice\u202efdp.exe", "CON", "x" * 65_536, "C:\\x", "a\r\nBcc: b"],
)
def test_fault_p04_an_attachment_name_is_only_data(name):
    raw = b"From: a@b.c\nContent-Type: application/x\nContent-Disposition: attachment; filename*=utf-8''" + b"".join(
        b"%%%02X" % byte for byte in name.encode()
    )
    (one,) = parse(raw + b"\n\nx").attachments
    assert len(one.name) <= structure.MAX_NAME_CHARS
    assert one.name[:5] == name.replace("\0", "\ufffd")[:5]


def nested(depth: int) -> bytes:
    return b"From: a@b.c\n" + b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level) for level in range(depth)
    )


@pytest.mark.parametrize(
    "raw",
    [
        nested(10_000),
        b"From: a@b.c\nContent-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 20_000,
        b"From: a@b.c\nContent-Type: multipart/mixed; boundary=b\n\n" + b"--b1\n" * 300_000,
        b"From: a@b.c\nContent-Type: multipart/mixed; boundary=b\n\n" + b"--\n" * 1_000_000,
        b"From: a@b.c\n" + b"Content-Type: message/rfc822\n\n" * 20_000,
        b"From: a@b.c\nContent-Type: text/plain" + b"; a=b" * 16_000 + b"\n\nx",
        b"From: a@b.c\nSubject: " + b"=?utf-8?q?a?= " * 4_000 + b"\n\nx",
        b"From: a@b.c\nTo: " + b",\n ".join(b"User <u%d@example.com>" % number for number in range(8_000)) + b"\n\nx",
        b"From: a@b.c\nSubject: x\n" + b" y\n" * 33_000 + b"\nx",
        b"From: a@b.c\nTo: " + b"a@" * 500_000 + b"\n\nx",
        b"From: a@b.c\nContent-Type: text/html\n\n" + b"<div>" * 200_000,
        b"From: a@b.c\nContent-Type: text/html\n\n" + b'<a "' * 200_000,
        b"From: a@b.c\nContent-Type: text/html\n\n" + b"<!--" * 200_000,
        b"From: a@b.c\nContent-Transfer-Encoding: quoted-printable\n\n" + b" " * 1_000_000,
    ],
)
def test_fault_p01_p02_hostile_structure_costs_little_and_loses_nothing(raw):
    def read():
        parsed = parse(raw)
        return parsed, (parsed.text, parsed.html, parsed.attachments, parsed.subject, parsed.defects)

    (parsed, _), seconds = cpu(read)
    assert seconds < 0.2
    assert parsed.raw is raw
    assert len(parsed.parts) <= structure.MAX_PARTS


def test_fault_p02_caps_are_said():
    assert "nested too deep" in parse(nested(100)).defects
    assert "too many parts" in parse(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 2_000).defects


def test_fault_p02_a_boundary_that_begins_another_is_told_apart():
    raw = (
        b"Content-Type: multipart/mixed; boundary=ab\n\n--ab\nContent-Type: multipart/mixed; boundary=abc\n\n"
        b"--abc\n\none\n--abc\n\ntwo\n--abc--\n--ab\n\nthree\n--ab--\n"
    )
    assert parse(raw).text == "one\ntwo\nthree"


def test_fault_p02_a_missing_end_is_flagged_and_the_text_kept():
    parsed = parse(b"From: a@b.c\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nkept")
    assert parsed.text == "kept"
    assert parsed.defects == ("multipart without an end",)


def test_fault_p06_mails_in_mails_stop_at_the_cap():
    raw = b"From: a@b.c\n" + b"Content-Type: message/rfc822\n\n" * 200 + b"end"
    parsed = parse(raw)
    assert sum(1 for _ in parsed.root.walk()) <= structure.MAX_DEPTH + 2
    assert parsed.attached_messages[0] == raw[len(b"From: a@b.c\nContent-Type: message/rfc822\n\n") :]


@pytest.mark.parametrize(
    ("raw", "defect"),
    [
        (b"Subject: x\n\n", "no From"),
        (b"From: a@b.c\nFrom: d@e.f\n\n", "several From"),
        (b"From:\n\n", "empty From"),
        (b"From: nobody at all\n\n", "From: no address"),
    ],
)
def test_fault_p08_an_odd_from_is_flagged(raw, defect):
    assert defect in parse(raw).defects


@pytest.mark.parametrize(
    "raw",
    [
        b"From: a@b.c\nContent-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\neJ8+Ig==",
        b"From: a@b.c\nContent-Type: application/pkcs7-mime; smime-type=signed-data\n\n\x30\x80\x06",
        b"From: a@b.c\nContent-Type: multipart/encrypted; boundary=b\n\n--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--b--",
        b"From: a@b.c\n\nbegin 644 x.bin\n#86)C\n`\nend\n",
        b"From: a@b.c\n\n=ybegin line=128 size=3 name=x\n\x8b\x8c\x8d\n=yend size=3\n",
        b"From: a@b.c\nContent-Type: message/partial; id=x; number=1; total=2\n\nSubject: half\n\nof it",
    ],
)
def test_fault_p12_foreign_formats_pass_through(raw):
    parsed = parse(raw)
    assert isinstance(parsed.text, str)
    assert parsed.raw == raw
