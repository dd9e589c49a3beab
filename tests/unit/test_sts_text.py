"""MTA-STS records and policies as text (RFC 8461 §3)."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.model.network import is_public
from mailrelay.model.sts import BadPolicy, Mode, Policy, read_policy, read_record

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


def test_a_policy_is_read():
    assert read_policy(POLICY) == Policy(
        mode=Mode.ENFORCE, max_age=timedelta(days=7), mx=("mail.example.com", "*.example.net")
    )


@pytest.mark.parametrize(
    "text",
    [
        POLICY.replace(b"\r\n", b"\n"),
        POLICY.removesuffix(b"\r\n"),
        POLICY + b"later: unknown\r\n",
        POLICY + b"mode: none\r\n",  # what stands twice counts once
        POLICY.replace(b": ", b":"),
        POLICY.replace(b": ", b" :\t "),
        POLICY.replace(b"mail.", b"MAIL."),
    ],
)
def test_the_same_policy_written_otherwise(text: bytes):
    assert read_policy(text) == read_policy(POLICY)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>not found</html>",
        POLICY.replace(b"STSv1", b"STSv2"),
        POLICY.replace(b"enforce", b"maybe"),
        POLICY.replace(b"604800", b"-1"),
        POLICY.replace(b"604800", b"12345678901"),
        POLICY.replace(b"604800", "٣".encode()),
        POLICY.replace(b"*.example.net", b"a.*.example.net"),
        POLICY.replace(b"*.example.net", b"*"),
        POLICY.replace(b"*.example.net", b"ex ample.net"),
        POLICY.replace(b"mx: mail.example.com\r\nmx: *.example.net\r\n", b""),
        POLICY.replace(b"version", b"no colon here\r\nversion"),
        POLICY + b"\xff",
        POLICY + b"mx: a.example\r\n" * 300,
    ],
)
def test_what_is_no_policy_is_refused(text: bytes):
    with pytest.raises(BadPolicy):
        read_policy(text)


def test_mode_none_needs_no_mx_and_an_age_has_an_end():
    policy = read_policy(b"version: STSv1\nmode: none\nmax_age: 9999999999\n")
    assert policy.mode is Mode.NONE
    assert policy.max_age == timedelta(seconds=31_557_600)


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("mail.example.com", True),
        ("MAIL.Example.com.", True),
        ("mx.example.net", True),
        ("example.net", False),
        ("a.b.example.net", False),
        ("xmail.example.com", False),
        ("example.com", False),
        ("net", False),
        ("", False),
    ],
)
def test_a_wildcard_stands_for_one_label_on_the_left(host: str, covered: bool):
    assert read_policy(POLICY).covers(host) is covered


@pytest.mark.parametrize(
    ("records", "id_"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=STSv1;id=1"], "1"),
        ([b"v=STSv1; other=x; id=7; more"], "7"),
        ([b"something else", b"v=STSv1; id=1;"], "1"),
        ([b"v=STSv1; id=1;", b"v=STSv1; id=2;"], None),
        ([b"v=STSv1;"], None),
        ([b"v=STSv1; id=not-alphanumeric;"], None),
        ([b"v=STSv1; id=" + b"1" * 33], None),
        ([b"v=STSv10; id=1"], None),
        ([], None),
    ],
)
def test_a_record_announces_a_policy(records: list[bytes], id_: str | None):
    assert read_record(records) == id_


@given(st.binary(max_size=400), st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_read_or_refused(data: bytes, records: list[bytes]):
    with suppress(BadPolicy):
        read_policy(b"version: STSv1\nmode: testing\nmx: a.example\nmax_age: 1\n" + data)
    with suppress(BadPolicy):
        read_policy(data)
    read_record([b"v=STSv1;" + one for one in records])
    read_record(records)


@given(st.sampled_from(list(Mode)), st.integers(0, 31_557_600), st.lists(st.sampled_from(["a.b.test", "*.c.test"])))
def test_the_text_that_reports_give_says_the_same(mode: Mode, age: int, mx: list[str]):
    policy = Policy(mode=mode, max_age=timedelta(seconds=age), mx=tuple(mx) or ("d.test",))
    assert read_policy("\n".join(policy.lines).encode()) == policy


@pytest.mark.parametrize(
    ("ip", "public"),
    [
        ("192.0.43.7", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:192.0.43.7", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("no address", False),
        ("", False),
    ],
)
def test_what_is_the_world_s_and_what_is_not(ip: str, public: bool):
    assert is_public(ip) is public
