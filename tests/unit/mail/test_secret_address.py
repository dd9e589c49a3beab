"""What a copy of a mail shows to others than whose it is (I16)."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.ids import OrgId, new_dropbox_token
from mailrelay.mail import record_address, secret_address
from mailrelay.mail.headers import MAX_FIELDS, HeaderBlock
from mailrelay.mail.record_address import RecordAddressToken

TOKEN = "abcdefghijklmnopqrstuvwxyz"
BOX = f"bcc-{TOKEN}@inbound.test"
RECORD = "r-" + "0" * 29 + "." + "z" * 20 + "@inbound.test"
MAIL = (
    f"Received: from a by b for <{BOX}>; Mon, 1 Jun 2026 10:00:00 +0000\r\n"
    f"Delivered-To: {BOX.upper()}\r\n"
    f"To: bob@customer.test,\r\n {RECORD}\r\n"
    "Bcc: eve@rival.test,\r\n\tmallory@rival.test\r\n"
    "Subject: Offer\r\n"
    "\r\n"
    f"Bcc: is a word of the body, as is {BOX}\r\n"
).encode()


def test_others_secrets_and_the_bcc_are_not_there() -> None:
    shown = secret_address.without(MAIL)
    assert (
        shown
        == (
            "Received: from a by b for <hidden@inbound.test>; Mon, 1 Jun 2026 10:00:00 +0000\r\n"
            "Delivered-To: hidden@INBOUND.TEST\r\n"
            "To: bob@customer.test,\r\n hidden@inbound.test\r\n"
            "Subject: Offer\r\n"
            "\r\n"
            f"Bcc: is a word of the body, as is {BOX}\r\n"
        ).encode()
    )


def test_ones_own_stay() -> None:
    shown = secret_address.without(MAIL, keep={TOKEN}, bcc=False)
    assert shown == MAIL.replace(RECORD.partition("@")[0].encode(), b"hidden")


def test_what_other_hosts_made_of_an_address_is_blanked_as_well() -> None:
    raw = f"Return-Path: <SRS0=x=y=inbound.test=bcc-{TOKEN}@relay.test>\r\n\r\n".encode()
    assert TOKEN.encode() not in secret_address.without(raw)


def test_a_bcc_behind_too_many_fields_is_not_shown() -> None:
    raw = b"X: y\r\n" * (MAX_FIELDS + 5) + b"Bcc: eve@rival.test\r\n\r\nbody"
    assert b"rival" not in secret_address.without(raw)
    assert secret_address.without(raw).endswith(b"\r\n\r\nbody")


def test_an_mbox_line_stays() -> None:
    raw = b"From anna Mon Jun  1 10:00:00 2026\nBcc: eve@rival.test\nSubject: x\n\nbody"
    assert secret_address.without(raw) == b"From anna Mon Jun  1 10:00:00 2026\nSubject: x\n\nbody"


@pytest.mark.parametrize("local", ["bob", "bcc-list", "r-2.d2", f"xbcc{TOKEN}", ""])
def test_other_addresses_are_none(local: str) -> None:
    assert secret_address.secret_of(local) == ""


def test_what_we_make_is_one() -> None:
    token = new_dropbox_token()
    assert secret_address.secret_of(f"BCC-{token.upper()}+x") == token
    made = record_address.make(
        RecordAddressToken(OrgId("O" + "1" * 20), 7, date(2027, 1, 1)), b"secret", "inbound.test"
    )
    assert secret_address.secret_of(made.local) == made.local


_LINES = st.lists(
    st.sampled_from(
        [
            b"Bcc: eve@rival.test",
            b"bcc : eve@rival.test",
            b"Resent-Bcc:",
            b" eve@rival.test",
            f"\tfor <{BOX}>".encode(),
            f"To: {RECORD}".encode(),
            b"Subject: x",
            b"From anna Mon Jun",
            b"no field",
            b"",
        ]
    )
    | st.binary(max_size=30),
    max_size=12,
)


@given(_LINES, st.sampled_from([b"\r\n", b"\n", b"\r"]))
def test_whatever_the_mail_its_header_shows_no_secret_and_its_body_is_as_it_was(lines: list[bytes], end: bytes) -> None:
    raw = end.join(lines)
    block = HeaderBlock.parse(raw)
    shown = secret_address.without(raw)
    assert shown.endswith(raw[block.end :])
    header = shown[: len(shown) - len(raw[block.end :])]
    assert not {"bcc", "resent-bcc"} & {one.key for one in HeaderBlock.parse(header).fields}
    assert TOKEN.encode() not in header.lower()
    assert RECORD.partition("@")[0].encode() not in header


@given(st.binary(max_size=300))
def test_what_has_nothing_to_hide_is_as_it_was(raw: bytes) -> None:
    assert secret_address.without(raw, bcc=False) == raw
