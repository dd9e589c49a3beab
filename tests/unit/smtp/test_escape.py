"""Strangers' text on our screens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailrelay.smtp.escape import HIDDEN, escape, shown


@given(st.text() | st.binary())
def test_fault_n05_nothing_hidden_is_left(text: str | bytes) -> None:
    assert not HIDDEN.search(escape(text))
    escape(text).encode()  # storable: no lone surrogate


def test_text_that_can_be_seen_stays() -> None:
    assert escape("naïve 李 <b>&\\") == "naïve 李 <b>&\\"
    assert escape("a\tb") == "a b"


def test_errors_quote_no_more_than_a_line() -> None:
    assert len(shown("x" * 5_000)) == 80
    assert shown("\x1b") == r"\x1b"
