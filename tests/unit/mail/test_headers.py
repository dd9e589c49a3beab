"""The header block: read tolerantly, edited without touching anything else."""

from __future__ import annotations

import pytest

from mailrelay.errors import Invalid
from mailrelay.mail import words
from mailrelay.mail.headers import MAX_FIELDS, Field, HeaderBlock, encode_field
from tests.support.cost import cpu

MAIL = b"Received: from a\r\n\tby b;\r\n  today\r\nSubject:  one\r\n two\r\nX-Odd : \r\nsubject: other\r\n\r\nbody\r\n"


def test_fields_come_unfolded_in_order_and_any_case():
    block = HeaderBlock.parse(MAIL)
    assert [field.name for field in block] == ["Received", "Subject", "X-Odd", "subject"]
    assert block.get("received") == "from a\tby b;  today"
    assert block.all("Subject") == ("one two", "other")
    assert block.get("X-Odd") == ""
    assert block.get("Date") is None
    assert MAIL[block.end :] == b"body\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        MAIL,
        MAIL.replace(b"\r\n", b"\n"),
        MAIL.replace(b"\r\n", b"\r"),
        b"From ann Mon Jan  1 00:00:00 2026\n" + MAIL.replace(b"\r\n", b"\n"),
        b"\xef\xbb\xbfSubject: x\r\n\r\nbody",
        b"Subject: x\r\nno field at all\r\nmore",
        b"Subject: x\r\n \t\r\nbody",
        b"Subject: no end",
        b"",
        b"\r\n\r\n",
    ],
)
def test_reading_and_joining_gives_the_same_bytes(raw):
    block = HeaderBlock.parse(raw)
    assert bytes(block) + raw[block.end :] == raw


def test_line_ends_of_all_three_kinds_read_the_same():
    expected = [(field.name, field.value) for field in HeaderBlock.parse(MAIL)]
    for newline in (b"\n", b"\r"):
        raw = MAIL.replace(b"\r\n", newline)
        block = HeaderBlock.parse(raw)
        assert [(field.name, field.value) for field in block] == expected
        assert raw[block.end :] == b"body" + newline


def test_a_line_that_is_no_field_ends_the_header():
    block = HeaderBlock.parse(b"Subject: x\r\nthis is prose\r\nTo: hidden@example.com\r\n\r\n")
    assert "To" not in block
    assert block.defects == ("header ended by a line that is no field",)


def test_edits_leave_every_other_byte():
    block = HeaderBlock.parse(MAIL)
    assert (
        block.without(["SUBJECT"]).join(MAIL) == b"Received: from a\r\n\tby b;\r\n  today\r\nX-Odd : \r\n\r\nbody\r\n"
    )
    assert block.prepend([b"X-New: 1\r\n"]).join(MAIL) == b"X-New: 1\r\n" + MAIL
    assert block.append([b"X-New: 1\r\n"]).join(MAIL) == MAIL.replace(b"\r\n\r\n", b"\r\nX-New: 1\r\n\r\n")
    replaced = block.replace("Subject", b"Subject: new\r\n").join(MAIL)
    assert replaced == b"Received: from a\r\n\tby b;\r\n  today\r\nSubject: new\r\nX-Odd : \r\n\r\nbody\r\n"


def test_edits_use_the_line_ends_that_are_there():
    raw = MAIL.replace(b"\r\n", b"\n")
    assert HeaderBlock.parse(raw).prepend([b"A: b\r\n c\r\n"]).join(raw) == b"A: b\n c\n" + raw


def test_a_field_goes_below_the_mbox_line():
    raw = b"From ann Mon\nSubject: x\n\nbody"
    assert HeaderBlock.parse(raw).prepend([b"A: b\r\n"]).join(raw) == b"From ann Mon\nA: b\nSubject: x\n\nbody"


def test_eight_bit_values_are_utf8_or_western():
    block = HeaderBlock.parse("A: Grüße\r\n".encode() + "B: Grüße\r\n".encode("latin-1") + b"\r\n")
    assert block.get("A") == block.get("B") == "Grüße"


def test_a_long_value_is_folded_at_blanks_and_comes_back():
    value = " ".join(f"<part{number}@example.com>" for number in range(40))
    raw = encode_field("References", value)
    assert all(len(line) <= 78 for line in raw.split(b"\r\n"))
    assert Field("References", raw).value == value


def test_text_beyond_ascii_becomes_encoded_words_and_comes_back():
    value = "Angebot für Zürich – 見積書 " * 8 + "🙂"
    raw = encode_field("Subject", value)
    assert raw.isascii()
    assert all(len(line) <= 78 for line in raw.split(b"\r\n"))
    assert Field("Subject", raw).text == value.strip()


@pytest.mark.parametrize("value", ["a\r\nBcc: x@example.com", "a\nb", "a\rb", "a\0b", "a\x1bb"])
def test_fault_p09_line_ends_in_a_value_are_refused(value):
    with pytest.raises(Invalid) as refused:
        encode_field("Subject", value)
    assert refused.value.path == "Subject"


@pytest.mark.parametrize("name", ["", "A B", "A:", "A\r\nB", "Ä"])
def test_fault_p09_a_name_that_is_none_is_refused(name):
    with pytest.raises(Invalid):
        encode_field(name, "x")


def test_a_word_that_cannot_be_folded_is_refused():
    with pytest.raises(Invalid, match="998"):
        encode_field("X-Long", "x" * 1_000)


def test_fault_p01_many_and_long_fields_cost_little_and_are_flagged():
    for raw in (b"A: b\r\n" * 20_000 + b"\r\nbody", b"A: b\r\n" + b" c\r\n" * 80_000 + b"B: c\r\n\r\nbody"):
        block, seconds = cpu(lambda raw=raw: HeaderBlock.parse(raw))
        assert seconds < 0.2
        assert len(block.fields) <= MAX_FIELDS + 1
        assert block.defects == ("header too large",)
        assert raw[block.end :] == b"body"
        assert bytes(block) + raw[block.end :] == raw


def test_encoded_words_split_inside_a_character_are_joined():
    assert words.decode("=?utf-8?b?w6Q=?= =?utf-8?q?=C3?=\t=?UTF-8?Q?=BC?=") == "äü"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?iso-8859-1?Q?Gr=FC=DFe?= an alle", "Grüße an alle"),
        ("=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        ("=?utf-8*de?q?=C3=A4?=", "ä"),
        ("=?ISO-2022-JP?B?GyRCJDMkcyRLJEEkTxsoQg==?=", "こんにちは"),
        ("=?gb2312?B?xOO6ww==?=", "你好"),
        ("=?unknown-x?q?=E4?=", "ä"),
        ("=?utf-8?b?w6Q?=", "ä"),
        ("=?utf-8?q?half", "=?utf-8?q?half"),
        ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        ("=?utf-8?q?with blanks and ??=", "with blanks and ?"),
        ("plain", "plain"),
    ],
)
def test_encoded_words_are_read_as_mailers_write_them(value, text):
    assert words.decode(value) == text


def test_fault_p09_an_encoded_line_end_never_becomes_one():
    shown = words.decode("=?utf-8?q?=0ABcc:_x=00=0D?=")
    assert shown == "Bcc: x\ufffd"
    assert encode_field("Subject", shown).count(b"\r\n") == 1


def test_fault_p01_thousands_of_encoded_words_are_linear():
    for value in ("=?utf-8?q?a?= " * 20_000, "=?" * 200_000, "=?utf-8?q?" * 40_000, "=?a?b?" * 50_000 + "?="):
        _, seconds = cpu(lambda value=value: words.decode(value))
        assert seconds < 0.2
