"""The vCard of a dropbox: RFC 6350, whatever the user is called (I1)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail.vcard import vcard


def test_a_vcard_has_a_name_and_an_address() -> None:
    assert vcard("Ex Ltd, CRM; inbox\\", "bcc-abc@in.example") == (
        b"BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ex Ltd\\, CRM\\; inbox\\\\\r\nEMAIL:bcc-abc@in.example\r\nEND:VCARD\r\n"
    )


def test_a_name_cannot_begin_another_property() -> None:
    assert b"\r\nEMAIL:evil" not in vcard("A\r\nEMAIL:evil@x.test", "a@x.test")


@given(st.text(max_size=300))
def test_lines_are_folded_and_unfold_to_the_name(name: str) -> None:
    card = vcard(name, "a@x.test")
    assert all(len(line) <= 75 for line in card.split(b"\r\n"))
    unfolded = card.replace(b"\r\n ", b"").decode().split("\r\n")
    assert len(unfolded) == 6
    read = unfolded[2].removeprefix("FN:").replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\")
    assert len(read) <= len(name)
    if name.isalnum():
        assert read == name
