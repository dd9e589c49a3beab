"""One mail, once: the same content by every way gives the same digest (I8)."""

from __future__ import annotations

import pytest

from mailrelay.mail import identity, message_ids
from mailrelay.mail.message import parse
from mailrelay.mail.participants import header_sender, participants
from mailrelay.model.message import ParticipantRole

MAIL = (
    "From: Ann <ann@example.com>\r\nTo: Bob <bob@example.net>\r\nCc: carol@example.net\r\nSubject: Grüße aus Köln\r\n"
    "Date: Mon, 02 Mar 2026 10:00:00 +0100\r\nMessage-ID: <1@example.com>\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n\r\nSchöne Grüße,\r\nAnn\r\n"
).encode()

COPIES = {
    "with trace": b"Return-Path: <x@y.z>\r\nReceived: from a by b; now\r\nDKIM-Signature: v=1; b=x\r\n" + MAIL,
    "with LF": MAIL.replace(b"\r\n", b"\n"),
    "as quoted-printable": MAIL.replace(b"8bit", b"quoted-printable").replace(
        "Schöne Grüße".encode(), b"Sch=C3=B6ne Gr=C3=BC=C3=9Fe"
    ),
    "in another charset": MAIL.partition(b"\r\n\r\n")[0].replace(b"charset=utf-8", b"charset=iso-8859-1")
    + b"\r\n\r\n"
    + "Schöne Grüße,\r\nAnn\r\n".encode("latin-1"),
    "with encoded subject": MAIL.replace(
        "Subject: Grüße aus Köln".encode(),
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?_aus?=\r\n =?utf-8?q?_K=C3=B6ln?=",
    ),
    "with blanks at line ends": MAIL.replace(b",\r\nAnn", b",  \r\nAnn") + b"\r\n\r\n",
    "with list fields": MAIL.replace(
        b"Subject", b"List-Id: <l.example>\r\nList-Unsubscribe: <mailto:x@y.z>\r\nSubject"
    ),
    "with Bcc": MAIL.replace(b"Subject", b"Bcc: secret@example.com\r\nSubject"),
    "with the date in another zone": MAIL.replace(b"10:00:00 +0100", b"09:00:00 +0000"),
    "with folded To": MAIL.replace(b"To: Bob <bob@example.net>", b'To:\r\n "Bob"\r\n <BOB@example.net>'),
}
OTHERS = {
    "body": MAIL.replace(b"Ann\r\n", b"Ann!\r\n"),
    "subject": MAIL.replace("Köln".encode(), b"Bonn"),
    "date": MAIL.replace(b"10:00:00", b"10:00:01"),
    "sender": MAIL.replace(b"ann@example.com", b"eve@example.com"),
    "recipient": MAIL.replace(b"bob@example.net", b"bo@example.net"),
    "type": MAIL.replace(b"text/plain", b"text/html"),
}


@pytest.mark.parametrize("copy", COPIES)
def test_the_digest_is_the_same_for_a_copy(copy):
    assert identity.content_digest(parse(COPIES[copy])) == identity.content_digest(parse(MAIL))


@pytest.mark.parametrize("other", OTHERS)
def test_the_digest_differs_for_another_content(other):
    assert identity.content_digest(parse(OTHERS[other])) != identity.content_digest(parse(MAIL))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"<a@b>", "a@b"),
        (b" <a@\r\n b> ", "a@b"),
        (b"a@b", "a@b"),
        (b"<a b@c>", "ab@c"),
        (b"<nodomain>", "nodomain"),
        (b"(comment) <a@b> trailing", "a@b"),
        (b"", None),
        (b"two words", None),
    ],
)
def test_message_ids_are_read_as_mailers_write_them(value, expected):
    assert parse(b"From: a@b.c\r\nMessage-ID: %s\r\n\r\n" % value).message_id == expected


def test_parents_come_nearest_first_and_once():
    parsed = parse(
        b"From: a@b.c\r\nMessage-ID: <me@x>\r\nIn-Reply-To: <3@x>\r\nReferences: <1@x> <2@x>\r\n <3@x> <me@x>\r\n\r\n"
    )
    assert parsed.parents == ("3@x", "2@x", "1@x")


def test_parents_are_capped_at_the_near_end():
    many = b" ".join(b"<%d@x>" % number for number in range(500))
    parents = parse(b"From: a@b.c\r\nReferences: " + many + b"\r\n\r\n").parents
    assert len(parents) == message_ids.MAX_PARENTS
    assert parents[0] == "499@x"


def test_participants_come_by_role_and_once():
    parsed = parse(
        b"From: Ann <ann@x.example>\r\nReply-To: r@x.example\r\nTo: Bob <bob@y.example>, BOB@y.example, nonsense\r\nCc: c@z.example\r\n\r\n"
    )
    assert [(one.role, str(one.address), one.name) for one in participants(parsed)] == [
        (ParticipantRole.FROM, "ann@x.example", "Ann"),
        (ParticipantRole.REPLY_TO, "r@x.example", ""),
        (ParticipantRole.TO, "bob@y.example", "Bob"),
        (ParticipantRole.CC, "c@z.example", ""),
    ]


@pytest.mark.parametrize(
    ("raw", "sender"),
    [
        (b"From: a@b.example\r\n\r\n", "a@b.example"),
        (b"From: a@b.example, A <A@b.example>\r\n\r\n", "a@b.example"),
        (b"From: a@b.example, c@d.example\r\n\r\n", None),
        (b"From: a@b.example\r\nFrom: c@d.example\r\n\r\n", None),
        (b'From: "ceo@corp.example" <evil@x.example>\r\n\r\n', "evil@x.example"),
        (b"From: ceo@corp.example evil@x.example\r\n\r\n", None),
        (b"\r\n", None),
    ],
)
def test_fault_p08_the_header_sender_is_one_certain_address_or_nobody(raw, sender):
    found = header_sender(parse(raw))
    assert (str(found) if found else None) == sender
