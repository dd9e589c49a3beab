"""Address lists: what is certain is read, what is not names nobody."""

from __future__ import annotations

import pytest

from mailrelay.mail import addresses, parameters
from tests.support.cost import cpu


def entries(value):
    return [(one.name, str(one.address) if one.address else None) for one in addresses.read(value).mailboxes]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ann@example.com", [("", "ann@example.com")]),
        ("Ann Example <Ann@Example.COM>", [("Ann Example", "Ann@example.com")]),
        (
            '"Example, Ann" <ann@example.com>, bob@example.com',
            [("Example, Ann", "ann@example.com"), ("", "bob@example.com")],
        ),
        ("ann@example.com (Ann (the one) Example)", [("Ann (the one) Example", "ann@example.com")]),
        ("=?utf-8?q?J=C3=BCrgen=2C_A?= <j@example.com>", [("Jürgen, A", "j@example.com")]),
        (
            "Team: ann@example.com, Bob <bob@example.com>;, c@example.com",
            [("", "ann@example.com"), ("Bob", "bob@example.com"), ("", "c@example.com")],
        ),
        ("undisclosed-recipients:;", []),
        ("<@relay.example,@two.example:ann@example.com>", [("", "ann@example.com")]),
        ("ann . example @ example . com", [("", "ann.example@example.com")]),
        ('"ann example"@example.com', [("", "ann example@example.com")]),
        ("Example, Ann <ann@example.com>", [("Example, Ann", "ann@example.com")]),
        ("Ann ann@example.com", [("Ann", "ann@example.com")]),
        ("ann@example.com; bob@example.com", [("", "ann@example.com"), ("", "bob@example.com")]),
        ('"left open <ann@example.com>', [("left open", "ann@example.com")]),
        ("<ann@example.com", [("", "ann@example.com")]),
        ("ann@[192.0.2.1]", [("", "ann@[192.0.2.1]")]),
        ("ann@example.com.", [("", "ann@example.com")]),
        ("ann@exämple.com", [("", "ann@xn--exmple-cua.com")]),
        ("", []),
        (" , ;, ", []),
    ],
)
def test_lists_are_read_as_mailers_write_them(value, expected):
    assert entries(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "alice@good.com)bob@evil.com",
        "user@good.com(x)evil.com",
        "a@b@c",
        "<a@good.com b@evil.com>",
        "alice@good.com bob",
        "@example.com",
        "ann@",
        "ann@exa mple.com",
        "ann@-bad-.com",
        "ann\x00@example.com",
        "<ann>",
        "a@\u202eexample.com",
    ],
)
def test_fault_p10_what_could_mean_two_addresses_means_none(value):
    found = addresses.read(value)
    assert found.addresses == ()
    assert "no address" in found.defects


def test_fault_p10_the_domain_judged_is_the_domain_delivered_to():
    assert entries('"a@evil.com x"@good.example') == [("", "a@evil.com x@good.example")]
    # Full-width letters, capitals and A-labels are one domain.
    assert {address.domain for address in addresses.read("a@ｅxample.com, b@EXAMPLE.com, c@example.com").addresses} == {
        "example.com"
    }
    assert {address.domain for address in addresses.read("a@bücher.example, b@XN--BCHER-KVA.example").addresses} == {
        "xn--bcher-kva.example"
    }


def test_fault_p08_a_display_name_is_never_an_address():
    assert entries('"ceo@corp.example" <evil@x.example>') == [("ceo@corp.example", "evil@x.example")]
    assert entries("ceo@corp.example <evil@x.example>") == [("ceo@corp.example", "evil@x.example")]
    assert entries("<ceo@corp.example> <evil@x.example>")[-1][1] == "evil@x.example"


@pytest.mark.parametrize(
    "value",
    [
        "a@" * 500_000,
        '"\\' * 100_000,
        "(" * 200_000,
        "(\\)" * 80_000,
        "<" * 200_000,
        "a b@c.d " * 30_000,
        ":" * 200_000,
        ", ".join(f"User {number} <u{number}@example.com>" for number in range(8_000)),
    ],
)
def test_fault_p01_p07_hostile_lists_cost_linear_time(value):
    found, seconds = cpu(lambda: addresses.read(value))
    assert seconds < 0.2
    assert len(found.mailboxes) <= addresses.MAX_MAILBOXES
    assert found.defects


def test_what_is_written_is_read_back():
    for name in ("Ann", "Example, Ann", 'Say "hi" \\ there', "Jürgen Ünal", "=?utf-8?q?x?=", "", "a@b"):
        for local in ("ann", "ann example", 'a"b', "a.b+c"):
            address = addresses.Address(local, "example.com")
            (one,) = addresses.read(addresses.format_mailbox(name, address)).mailboxes
            assert (one.name, one.address) == (name if "=?" not in name else "x", address)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('text/plain; charset="utf-8"; format=flowed', {"charset": "utf-8", "format": "flowed"}),
        ("a/b; name*=utf-8''%C3%A4.pdf", {"name": "ä.pdf"}),
        ("a/b; name*0*=iso-8859-1'de'a%E4; name*1=\"b c\"; name*2=.pdf", {"name": "aäb c.pdf"}),
        ('a/b; name="=?utf-8?q?=C3=A4=2Epdf?="', {"name": "ä.pdf"}),
        ('a/b; name="C:\\files\\x.txt"', {"name": "C:\\files\\x.txt"}),
        ("a/b name=x.pdf", {"name": "x.pdf"}),
        ("a/b; name=two words.pdf; x=y", {"name": "two words.pdf", "x": "y"}),
        ('a/b; name="open', {"name": "open"}),
        ("a/b; ; junk; x=y", {"x": "y"}),
    ],
)
def test_parameters_are_read_as_mailers_write_them(value, expected):
    assert parameters.read(value)[1] == expected


def test_fault_p01_sixteen_thousand_parameters():
    for value in (
        "a/b" + "; x=y" * 16_000,
        "a/b" + ";" * 60_000,
        "a/b" + "; " * 30_000 + "x",
        "a/b;" + '"\\' * 30_000,
        "a/b" + ';x="' * 16_000,
        "a/b;" + " " * 60_000,
        "a/b;" + "a" * 60_000,
    ):
        (_, found, _), seconds = cpu(lambda value=value: parameters.read(value))
        assert seconds < 0.2
        assert len(found) <= parameters.MAX_PARAMETERS
