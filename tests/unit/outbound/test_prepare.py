"""What leaves: on behalf, seven bits, signatures, trace, in this order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailrelay.mail.dkim import KeyAlgorithm, SigningKey, verify
from mailrelay.mail.headers import HeaderBlock
from mailrelay.model.delivery import Refused
from mailrelay.model.envelope import Channel
from mailrelay.model.message import Verdict
from mailrelay.outbound import keys
from mailrelay.outbound.prepare import Leave, Prepared, Trace, author_domain, on_behalf, prepare, stand_in
from mailrelay.smtp.address import parse_address
from tests.support.answers import Zone, ask_sync

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
TRACE = Trace(hostname="us.test", queue_id="Q1", channel=Channel.API, at=NOW)
PAIR = keys.generate("acme.test", "mr1e", KeyAlgorithm.ED25519)
KEY = SigningKey("acme.test", "mr1e", KeyAlgorithm.ED25519, PAIR.private_pem)
OWN = Leave(on_behalf_at="", keys=(KEY,))
RAW = b"From: Anna <anna@acme.test>\r\nTo: bob@b.test\r\nSubject: hi\r\nDate: Mon, 02 Nov 2026 09:30:00 +0000\r\n\r\nbody\r\n"


def go(raw: bytes, *, leave: Leave = OWN, eight_bit: bool = True, smtputf8: bool = True) -> Prepared | Refused:
    return prepare(raw, leave=leave, trace=TRACE, eight_bit=eight_bit, smtputf8=smtputf8, now=NOW)


def content(raw: bytes, **more) -> bytes:
    found = go(raw, **more)
    assert isinstance(found, Prepared)
    return found.content


def verdicts(mail: bytes) -> list[Verdict]:
    zone = Zone({("TXT", PAIR.dns_name): PAIR.dns_text})
    return [one.verdict for one in ask_sync(verify(mail, now=NOW), zone)]


def test_the_mail_itself_leaves_byte_for_byte_under_received_and_signature():
    mail = content(RAW)
    assert mail.endswith(RAW)
    names = [field.name for field in HeaderBlock.parse(mail)]
    assert names[:3] == ["Received", "DKIM-Signature", "From"]
    assert verdicts(mail) == [Verdict.PASS]


def test_our_received_field_says_where_and_not_from_whom():
    received = HeaderBlock.parse(content(RAW)).get("Received") or ""
    assert received == "by us.test with HTTP id Q1; Mon, 02 Nov 2026 09:30:00 +0000"


def test_without_keys_it_leaves_unsigned():
    assert b"DKIM-Signature" not in content(RAW, leave=Leave(on_behalf_at="", keys=()))


@pytest.mark.parametrize(
    ("raw", "hop"),
    [
        (RAW.replace(b"body", "grüße".encode()), {"eight_bit": False}),
        (RAW.replace(b"hi", "Grüße".encode()), {"smtputf8": False}),
        (RAW.replace(b"body", b"x" * 2000), {}),
    ],
    ids=["8-bit body", "8-bit header", "long line"],
)
def test_what_the_hop_cannot_take_is_converted_before_it_is_signed(raw: bytes, hop: dict[str, bool]):
    mail = content(raw, **hop)
    assert mail.isascii()
    assert max(len(line) for line in mail.split(b"\r\n")) <= 998
    assert verdicts(mail) == [Verdict.PASS]


def test_eight_bits_stay_where_the_hop_takes_them():
    raw = RAW.replace(b"body", "grüße".encode())
    assert content(raw).endswith(raw)


def test_a_header_in_utf8_asks_for_smtputf8():
    found = go(RAW.replace(b"hi", "Grüße".encode()))
    assert isinstance(found, Prepared)
    assert found.utf8


def test_what_may_not_be_changed_is_refused():
    signed = RAW.replace(
        b"\r\n\r\nbody\r\n",
        b'\r\nContent-Type: multipart/signed; boundary=x; protocol="application/pgp-signature"\r\n\r\n'
        b"--x\r\n\r\n"
        + "grüße".encode()
        + b"\r\n--x\r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n--x--\r\n",
    )
    found = go(signed, eight_bit=False)
    assert isinstance(found, Refused)
    assert (found.by_us, str(found.reply.status)) == (True, "5.6.3")


def test_bare_newlines_of_an_import_leave_as_crlf():
    assert content(RAW.replace(b"body\r\n", b"one\ntwo\rthree\r\n")).endswith(b"one\r\ntwo\r\nthree\r\n")


def test_on_behalf_the_address_is_ours_the_name_the_authors_and_answers_go_to_them():
    mail = HeaderBlock.parse(on_behalf(RAW, "us.test"))
    assert mail.get("From") == "Anna <anna=acme.test@us.test>"
    assert mail.get("Reply-To") == "Anna <anna@acme.test>"
    assert mail.get("Subject") == "hi"


def test_on_behalf_keeps_the_authors_own_reply_to_and_body():
    raw = RAW.replace(b"Subject", b"Reply-To: desk@acme.test\r\nSender: x@acme.test\r\nSubject")
    changed = on_behalf(raw, "us.test")
    mail = HeaderBlock.parse(changed)
    assert mail.all("Reply-To") == ("desk@acme.test",)
    assert "Sender" not in mail
    assert changed.endswith(b"\r\n\r\nbody\r\n")


def test_on_behalf_of_a_name_beyond_ascii():
    raw = RAW.replace(b"Anna", "Änna, GmbH".encode())
    mail = HeaderBlock.parse(on_behalf(raw, "us.test"))
    assert bytes(mail).isascii()
    assert mail.text("From").startswith("Änna, GmbH <anna=acme.test@us.test>")


@pytest.mark.parametrize("author", [f"{'x' * 60}@acme.test", "jörg@acme.test", "a@[192.0.2.1]"])
def test_a_stand_in_always_has_a_wire_form_and_is_stable(author: str):
    found = stand_in(parse_address(author), "us.test")
    assert found == stand_in(parse_address(author.upper().replace("ACME.TEST", "acme.test")), "us.test")
    assert len(found.local) <= 64
    assert found.local.isascii()
    assert parse_address(str(found)) == found


def test_the_domain_that_signs_is_the_first_authors():
    assert author_domain(RAW) == "acme.test"
    assert author_domain(b"Subject: x\r\n\r\n") == ""
