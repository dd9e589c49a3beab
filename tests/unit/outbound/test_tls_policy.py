"""What a destination demands of TLS, as values (RFC 6698, RFC 7671, RFC 7672, RFC 8689 §5)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.model.sts import Mode, Policy
from mailrelay.model.tls_report import PolicyType
from mailrelay.outbound.policy.tls import (
    NO_DEMAND,
    DemandMode,
    bears,
    by_dane,
    by_nobody,
    by_sts,
    dane_unknown,
    read_tlsa,
    relaxed,
)

A, B = "aa" * 32, "bb" * 64


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        (f"3 1 1 {A}", True),
        (f"2 0 2 {B}", True),
        ("3 0 0 30820122", True),
        (f"3 1 1 {A[:10]} {A[10:]}", True),
        (f"0 1 1 {A}", False),
        (f"1 1 1 {A}", False),
        (f"4 1 1 {A}", False),
        (f"3 2 1 {A}", False),
        (f"3 1 3 {A}", False),
        (f"3 1 1 {A}aa", False),
        (f"3 1 2 {A}", False),
        ("3 1 0", False),
        ("3 1 1 not-hex", False),
        ("", False),
    ],
)
def test_which_records_can_be_used(text: str, usable: bool):
    assert bool(read_tlsa([text])) is usable


def test_of_two_digests_the_strong_one_counts():
    assert [str(one) for one in read_tlsa([f"3 1 1 {A}", f"3 1 2 {B}"])] == [f"3 1 2 {B}"]
    assert len(read_tlsa([f"3 1 1 {A}", f"3 0 2 {B}", f"2 1 2 {B}"])) == 3


@given(st.lists(st.text(max_size=80), max_size=100))
def test_any_text_is_read(texts: list[str]):
    assert len(read_tlsa(texts)) <= 50


@pytest.mark.parametrize(
    ("presented", "wanted", "proved"),
    [
        (["mx.b.test"], ["mx.b.test"], True),
        (["MX.B.test."], ["mx.b.test"], True),
        (["*.b.test"], ["mx.b.test"], True),
        (["*.b.test"], ["b.test"], False),
        (["*.b.test"], ["a.mx.b.test"], False),
        (["*.test"], ["b.test"], False),
        (["m*.b.test"], ["mx.b.test"], False),
        (["b.test"], ["mx.b.test", "b.test"], True),
        ([], ["mx.b.test"], False),
    ],
)
def test_which_names_a_certificate_proves(presented: list[str], wanted: list[str], proved: bool):
    assert bears(presented, wanted) is proved


def test_demands_are_equal_when_they_ask_the_same_proof():
    policy = Policy(mode=Mode.ENFORCE, max_age=timedelta(1), mx=("*.b.test",))
    assert by_sts("one.test", policy, "mx.b.test") == by_sts("two.test", policy, "mx.b.test")
    assert by_nobody("one.test") == by_nobody("two.test") == NO_DEMAND
    assert by_sts("one.test", policy, "mx.b.test") != by_nobody("one.test")
    assert by_sts("one.test", policy, "mx.b.test") != by_sts("one.test", policy, "mx.other.test")
    ee = f"3 1 1 {A}"
    assert by_dane("one.test", base="mx.b.test", records=[ee], names=("mx.b.test", "one.test")) == by_dane(
        "two.test", base="mx.b.test", records=[ee], names=("mx.b.test", "two.test")
    )


def test_dane_without_a_usable_record_asks_for_encryption_only():
    demand = by_dane("b.test", base="mx.b.test", records=[f"1 1 1 {A}"], names=("mx.b.test",))
    assert demand.mode is DemandMode.DANE
    assert demand.binding
    assert demand.tlsa == ()
    assert "proves nobody" in demand.reason
    assert demand.policy.type is PolicyType.TLSA


def test_a_mail_that_puts_delivery_first_is_bound_by_nothing():
    for demand in (
        dane_unknown("b.test", base="mx.b.test", because="no answer in time"),
        by_sts("b.test", Policy(mode=Mode.ENFORCE, max_age=timedelta(1), mx=("x.test",)), "mx.b.test"),
    ):
        assert demand.barred is not None
        assert relaxed(demand) == NO_DEMAND
        assert "TLS-Required: No" in relaxed(demand).reason
    assert relaxed(NO_DEMAND) is NO_DEMAND


def test_a_policy_under_test_binds_nothing():
    demand = by_sts("b.test", Policy(mode=Mode.TESTING, max_age=timedelta(1), mx=("x.test",)), "mx.b.test")
    assert not demand.binding
    assert demand.barred is not None
    assert not by_sts("b.test", Policy(mode=Mode.NONE, max_age=timedelta(1), mx=()), "mx.b.test").binding
