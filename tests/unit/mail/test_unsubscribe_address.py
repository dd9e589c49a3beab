"""The address that a mail to unsubscribes from (O15, T09)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.ids import DeliveryId
from mailrelay.mail import return_path
from mailrelay.mail.unsubscribe_address import make, read
from mailrelay.smtp.address import MAX_LOCAL, parse_address

SECRET, OTHER = b"a secret of some length", b"another secret of some length"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
DELIVERIES = st.text(alphabet=CROCKFORD, min_size=20, max_size=20).map(lambda text: DeliveryId("D" + text))


@given(DELIVERIES)
def test_it_names_its_delivery_and_fits_on_the_wire(delivery: DeliveryId) -> None:
    address = make(delivery, SECRET, "bounce.us.test")
    assert len(address.local) <= MAX_LOCAL
    assert parse_address(str(address)) == address
    assert read(address.local, (OTHER, SECRET)) == delivery
    assert read(address.local.upper(), (SECRET,)) == delivery
    assert read(address.local, (OTHER,)) is None
    assert read(address.local, ()) is None


@given(DELIVERIES, st.integers(2, 48), st.sampled_from("0123456789abcdefghjkmnpqrstvwxyz"))
def test_fault_t09_a_character_changed_is_forged(delivery: DeliveryId, at: int, char: str) -> None:
    local = make(delivery, SECRET, "x.test").local
    changed = local[:at] + char + local[at + 1 :]
    assert read(changed, (SECRET,)) == (delivery if changed == local else None)


@given(st.text(max_size=80) | st.from_regex(r"u-[0-9a-z]{20}\.[0-9a-z]{26}", fullmatch=True))
def test_anything_else_is_none(local: str) -> None:
    assert read(local, (SECRET,)) is None


@pytest.mark.parametrize("sign", ["-", "+", "=", "_"])
def test_a_rewritten_sign_is_read(sign: str) -> None:
    delivery = DeliveryId("D" + "7" * 20)
    local = make(delivery, SECRET, "x.test").local
    assert read(local.replace("-", sign, 1), (SECRET,)) == delivery


def test_a_return_path_is_none_and_it_is_no_return_path() -> None:
    now = datetime(2026, 11, 2, tzinfo=UTC)
    delivery = DeliveryId("D" + "7" * 20)
    assert read(return_path.make(delivery, SECRET, "x.test", now=now).local, (SECRET,)) is None
    assert return_path.read(make(delivery, SECRET, "x.test").local, (SECRET,), now=now) in return_path.NoReturnPath
