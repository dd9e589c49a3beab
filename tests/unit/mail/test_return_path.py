from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.ids import DeliveryId, IdFactory
from mailrelay.mail.return_path import LIFETIME, NoReturnPath, ReturnPathToken, find, make, read, token
from tests.support.clock import START

SECRET, OLD = b"s" * 32, b"o" * 32
DELIVERY = DeliveryId("D01KC2M0ABCDEFGHJKMNP")
LOCAL = make(DELIVERY, SECRET, "bounce.example.com", now=START).local


def test_i10_a_return_path_says_its_delivery_and_day() -> None:
    address = make(DELIVERY, SECRET, "bounce.example.com", now=START)
    assert address.domain == "bounce.example.com"
    assert address.local.startswith("b+")
    assert len(address.local) <= 64
    assert address.local == address.local.lower()
    assert read(address.local, [SECRET], now=START) == ReturnPathToken(DELIVERY, date(2026, 11, 2))


@pytest.mark.parametrize(
    "rewritten",
    [LOCAL.upper(), LOCAL[2:], LOCAL[1:], "b" + LOCAL[2:], "b=" + LOCAL[2:], "B+" + LOCAL[2:].upper(),
     LOCAL.replace("0", "O", 3)],
)  # fmt: skip
def test_fault_b01_a_rewritten_return_path_is_still_read(rewritten: str) -> None:
    assert read(rewritten, [SECRET], now=START) == ReturnPathToken(DELIVERY, date(2026, 11, 2))


@pytest.mark.parametrize(
    "text",
    [
        token(DELIVERY, SECRET, now=START),
        f"{LOCAL}@bounce.example.com",
        f"{LOCAL[:1]}{LOCAL[2:]}@bounce.example.com",
        f"SRS0=Zx1y=TT=bounce.example.com={LOCAL}@forwarder.test",
        f"prvs=1234567890={LOCAL.upper()}@bounce.example.com",
        f"{LOCAL[:-1]}x {LOCAL}",
    ],
)
def test_i10_a_token_is_found_in_whatever_a_forwarder_makes_of_it(text: str) -> None:
    assert find(text, [SECRET], now=START) == ReturnPathToken(DELIVERY, date(2026, 11, 2))


def test_fault_b01_a_token_inside_a_text_is_judged_as_an_address_is() -> None:
    assert find("no token", [SECRET], now=START) is NoReturnPath.UNSIGNED
    assert find(f"x{LOCAL[2:]}", [SECRET], now=START) is NoReturnPath.UNSIGNED
    assert find(f"{LOCAL}@b.test", [b"x" * 32], now=START) is NoReturnPath.FORGED
    assert find(LOCAL, [SECRET], now=START + LIFETIME + timedelta(days=1)) is NoReturnPath.EXPIRED


def test_fault_b01_every_changed_character_is_a_forgery() -> None:
    for place in range(2, len(LOCAL)):
        if LOCAL[place] == ".":
            continue
        other = "a" if LOCAL[place] != "a" else "b"
        assert read(LOCAL[:place] + other + LOCAL[place + 1 :], [SECRET], now=START) is NoReturnPath.FORGED


def test_fault_b01_another_secret_is_a_forgery() -> None:
    assert read(LOCAL, [b"x" * 32], now=START) is NoReturnPath.FORGED
    assert read(LOCAL, [], now=START) is NoReturnPath.FORGED


def test_fault_b01_an_expired_return_path_is_not_counted() -> None:
    assert isinstance(read(LOCAL, [SECRET], now=START + LIFETIME), ReturnPathToken)
    assert read(LOCAL, [SECRET], now=START + LIFETIME + timedelta(days=1)) is NoReturnPath.EXPIRED
    assert isinstance(read(LOCAL, [SECRET], now=START - timedelta(days=1)), ReturnPathToken)
    assert read(LOCAL, [SECRET], now=START - timedelta(days=2)) is NoReturnPath.EXPIRED


@pytest.mark.parametrize(
    "local", ["", "b", "b+", "postmaster", LOCAL + "x", LOCAL[:-1], "x" + LOCAL, LOCAL.replace(".", "")]
)
def test_fault_b01_what_is_not_of_our_form_is_unsigned(local: str) -> None:
    assert read(local, [SECRET], now=START) is NoReturnPath.UNSIGNED


def test_a_rotated_secret_is_still_read() -> None:
    local = make(DELIVERY, OLD, "bounce.example.com", now=START).local
    assert isinstance(read(local, [SECRET, OLD], now=START), ReturnPathToken)


@given(bits=st.integers(0, 2**50 - 1), days=st.integers(0, 20_000), secret=st.binary(min_size=16, max_size=64))
def test_read_after_make_is_identity(bits: int, days: int, secret: bytes) -> None:
    now = START + timedelta(days=days)
    delivery = IdFactory(lambda: now, lambda _: bits).delivery()
    local = make(delivery, secret, "b.test", now=now).local
    assert read(local, [secret], now=now) == ReturnPathToken(delivery, now.date())


@given(st.text() | st.from_regex(r"(b\+)?[0-9a-z]{23}\.[0-9a-z]{16}", fullmatch=True))
def test_fault_p14_reading_never_raises_and_guessing_never_passes(local: str) -> None:
    assert isinstance(read(local, [SECRET], now=START), NoReturnPath)
