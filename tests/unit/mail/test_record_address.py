"""The signed address of a record: what was made is read, in either case, and nothing else is (I21)."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.ids import IdFactory, OrgId
from mailrelay.mail.record_address import MOST, RecordAddressToken, latest_day, make, read
from mailrelay.smtp.address import MAX_LOCAL, parse_address
from tests.fuzz import targets

KEY, OTHER = b"k" * 32, b"o" * 32
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
orgs = st.text(_CROCKFORD, min_size=20, max_size=20).map(lambda text: OrgId("O" + text))
days = st.none() | st.dates(date(2025, 1, 2), latest_day())
tokens = st.builds(RecordAddressToken, orgs, st.integers(0, MOST), days)


@given(tokens, st.sampled_from([str.lower, str.upper, str.title, str.swapcase]), st.booleans())
def test_what_was_made_is_read_in_any_case_under_any_of_the_keys(token, spelled, older) -> None:  # type: ignore[no-untyped-def]
    address = make(token, KEY, "in.test")
    assert len(address.local) == 52 <= MAX_LOCAL
    assert parse_address(str(address)) == address
    assert read(spelled(address.local), (OTHER, KEY) if older else (KEY,)) == token


@given(tokens, st.data())
def test_one_letter_changed_is_nobodys(token, data) -> None:  # type: ignore[no-untyped-def]
    local = make(token, KEY, "in.test").local
    at = data.draw(st.integers(0, len(local) - 1))
    letter = data.draw(st.sampled_from("0123456789abcdefghjkmnpqrstvwxyz.-u"))
    changed = local[:at] + letter + local[at + 1 :]
    assert (read(changed, (KEY,)) is None) is (changed != local)


@given(tokens)
def test_another_installations_is_nobodys(token) -> None:  # type: ignore[no-untyped-def]
    assert read(make(token, OTHER, "in.test").local, (KEY,)) is None
    assert read(make(token, KEY, "in.test").local, ()) is None


@given(st.text() | st.from_regex(r"[rR]-[0-9A-Za-z]{29}\.[0-9A-Za-z]{20}", fullmatch=True))
def test_fault_p14_any_text_is_read_and_is_none(local) -> None:  # type: ignore[no-untyped-def]
    assert read(local, (KEY,)) is None
    targets.TARGETS["local"](local.encode("utf-8", "surrogatepass"))


def test_what_people_read_for_one_and_nought_is_read() -> None:
    token = RecordAddressToken(OrgId("O01010101010101010101"), 33, date(2026, 12, 31))
    local = make(token, KEY, "in.test").local
    head, dot, mac = local.removeprefix("r-").partition(".")
    assert read("r-" + head.replace("0", "o").replace("1", "l") + dot + mac.replace("1", "i"), (KEY,)) == token


def test_it_is_over_when_its_last_day_is() -> None:
    token = RecordAddressToken(IdFactory(lambda: datetime.now(UTC)).org(), 1, date(2026, 12, 31))
    assert token.until == datetime(2027, 1, 1, tzinfo=UTC)
    assert RecordAddressToken(token.org, 1, None).until is None


@pytest.mark.parametrize(
    "token",
    [
        RecordAddressToken(OrgId("O1"), 1, None),
        RecordAddressToken(OrgId("O" + "0" * 20), MOST + 1, None),
        RecordAddressToken(OrgId("O" + "0" * 20), -1, None),
        RecordAddressToken(OrgId("O" + "0" * 20), 1, date(2025, 1, 1)),
        RecordAddressToken(OrgId("O" + "0" * 20), 1, date(2999, 1, 1)),
    ],
)
def test_what_does_not_fit_is_not_made(token: RecordAddressToken) -> None:
    with pytest.raises(ValueError, match=r"no address can be made|is before"):
        make(token, KEY, "in.test")
