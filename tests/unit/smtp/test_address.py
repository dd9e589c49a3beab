"""Addresses and paths: exactly the RFC's result, and nothing that could be read in two ways."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailrelay.model.address import Address, ReversePath
from mailrelay.model.reply import Reply
from mailrelay.smtp import codes
from mailrelay.smtp.address import (
    BadAddress,
    format_address,
    format_path,
    parse_address,
    parse_domain,
    parse_forward_path,
    parse_reverse_path,
    relay_disguise,
)
from mailrelay.smtp.reply import to_wire
from tests.support.cost import cpu

US = "crm.example"
LABELS = ".".join(["d" * 63] * 4)  # 255 octets


def forward(argument: bytes | str, *, smtputf8: bool = False) -> tuple[Address, str]:
    return parse_forward_path(argument, smtputf8=smtputf8, local_domain=US)


def _forward(argument: bytes | str, *, smtputf8: bool = False) -> Address | Reply:
    try:
        return forward(argument, smtputf8=smtputf8)[0]
    except BadAddress as bad:
        return bad.reply


def _reverse(argument: bytes | str, *, smtputf8: bool = False) -> ReversePath | Reply:
    try:
        return parse_reverse_path(argument, smtputf8=smtputf8)[0]
    except BadAddress as bad:
        return bad.reply


def refusal_of(argument: bytes | str, *, smtputf8: bool = False) -> str:
    with pytest.raises(BadAddress) as caught:
        forward(argument, smtputf8=smtputf8)
    return f"{caught.value.reply.code} {caught.value.reply.status}"


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("ann@example.org", "ann", "example.org"),
        ("Ann.Lee+crm@Example.ORG", "Ann.Lee+crm", "example.org"),
        ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~", "example.org"),
        ("a@b", "a", "b"),
        ("a@my_host.example.org", "a", "my_host.example.org"),
        ('"ann lee"@example.org', "ann lee", "example.org"),
        ('"a@b"@example.org', "a@b", "example.org"),
        ('"a>b"@example.org', "a>b", "example.org"),
        (r'"a\"b\\c"@example.org', r'a"b\c', "example.org"),
        (r'"\a\n\n"@example.org', "ann", "example.org"),
        ('"a..b"@example.org', "a..b", "example.org"),
        ('""@example.org', "", "example.org"),
        ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
        ("a@[IPv6:2001:DB8::1]", "a", "[IPv6:2001:db8::1]"),
        ("a@[ipv6:2001:db8:0:0:0:0:0:1]", "a", "[IPv6:2001:db8::1]"),
        ("a@bücher.example", "a", "xn--bcher-kva.example"),
        ("a@BÜCHER。example", "a", "xn--bcher-kva.example"),
        ("a@straße.example", "a", "xn--strae-oqa.example"),
        ("a@XN--BCHER-KVA.example", "a", "xn--bcher-kva.example"),
        ("李@例子.example", "李", "xn--fsqu00a.example"),
        ("pelé@example.org", "pelé", "example.org"),
        ('"pe lé"@example.org', "pe lé", "example.org"),
    ],
)
def test_fault_s13_reads_what_the_rfcs_allow(text: str, local: str, domain: str) -> None:
    assert parse_address(text) == Address(local, domain)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ann",
        "ann@",
        "@example.org",
        ".ann@example.org",
        "ann.@example.org",
        "an..n@example.org",
        "ann lee@example.org",
        "ann @example.org",
        "ann@ example.org",
        "ann@example.org ",
        " ann@example.org",
        "ann@example.org.",
        "ann@.example.org",
        "ann@example..org",
        "ann@-example.org",
        "ann@example-.org",
        "ann@exam ple.org",
        "ann@example.org(comment)",
        "(comment)ann@example.org",
        "ann(comment)@example.org",
        "alice@example.org)bob@evil.example",
        "ann@example.org,bob@example.org",
        "ann@example.org;bob@example.org",
        "a@b@c",
        '"ann@example.org',
        'ann"@example.org',
        '"ann"lee@example.org',
        '"ann\\"@example.org',
        "ann\\@example.org",
        "<ann@example.org>",
        "ann@<example.org>",
        "ann@[192.0.2.256]",
        "ann@[192.0.2]",
        "ann@[192.0.2.01]",
        "ann@192.0.2.1]",
        "ann@[192.0.2.1",
        "ann@[IPv6:::1%eth0]",
        "ann@[2001:db8::1]",
        "ann@[IPv6:192.0.2.1]",
        "ann@[x400:C=us]",
        "ann@[]",
        "ann@" + "d" * 64 + ".example",
        "ann@a℀b.example",
        "ann@ex＠mple.org",
        "ann@\u2488com",
        "ann@é\u200d.example",
        "ann@" + "é" * 300 + ".example",
        "ann\u202e@example.org",
        "ann\x85@example.org",
        "ann\ud800@example.org",
        "ann\n@example.org",
        '"ann\r\nlee"@example.org',
        '"ann\\\nlee"@example.org',
        "ann\0@example.org",
        "ann@example.org\n",
        "ann@exam\0ple.org",
        "ann\t@example.org",
    ],
    ids=repr,
)
def test_fault_s13_refuses_the_rest_with_a_sentence(text: str) -> None:
    with pytest.raises(BadAddress) as caught:
        parse_address(text)
    assert str(caught.value)[0].isprintable()
    assert caught.value.reply.is_permanent
    assert to_wire(caught.value.reply).count(b"\r\n") == 1


@pytest.mark.parametrize("local", ["{}", '"{}"', '"\\{}"'])
def test_fault_s13_a_local_part_has_at_most_64_octets(local: str) -> None:
    assert parse_address(local.format("x" * 64) + "@example.org").local == "x" * 64
    with pytest.raises(BadAddress, match="64"):
        parse_address(local.format("x" * 65) + "@example.org")


def test_fault_s13_octets_are_counted_not_characters() -> None:
    assert parse_address("é" * 32 + "@example.org").local == "é" * 32
    with pytest.raises(BadAddress, match="64"):
        parse_address("é" * 33 + "@example.org")
    with pytest.raises(BadAddress, match="64"):
        parse_address('"' + "x" * 62 + ' "@example.org')  # 65 with the quotes that it cannot do without


def test_fault_s13_a_domain_has_at_most_255_octets() -> None:
    assert len(LABELS) == 255
    assert forward(f"<a@{LABELS}>") == (Address("a", LABELS), "")
    assert forward(f"<{'l' * 64}@{LABELS}>")[0].local == "l" * 64
    assert refusal_of(f"<a@{LABELS}d>") == "501 5.1.3"
    with pytest.raises(BadAddress, match="255"):
        parse_domain("a." * 128 + "b")


def test_fault_s13_confusables_are_different_addresses() -> None:
    latin, cyrillic = parse_address("ann@apple.example"), parse_address("ann@аpple.example")
    assert latin.key != cyrillic.key
    assert cyrillic.domain.startswith("xn--")
    assert parse_address("аnn@example.org").key != parse_address("ann@example.org").key


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("<@a.example,@b.example:ann@example.org>", "ann@example.org"),
        ("<@a.example:ann@example.org>", "ann@example.org"),
        ("<@a.example:@evil.example>", None),
        ("<@a.example>", None),
        ("<@a.example,bb.example:ann@example.org>", None),
        ("<@a.example:>", None),
        ("<@:ann@example.org>", None),
    ],
)
def test_fault_s13_source_routes_are_stripped(argument: str, address: str | None) -> None:
    if address is None:
        assert refusal_of(argument).startswith("501")
    else:
        assert str(forward(argument)[0]) == address


ATOM = st.text(st.sampled_from("abzXYZ019!#$%&'*+-/=?^_`{|}~"), min_size=1, max_size=9)
DOT_STRING = st.lists(ATOM, min_size=1, max_size=3).map(".".join)
LOCAL = DOT_STRING | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30) | st.text(max_size=12)
DOMAIN = st.sampled_from(
    ["example.org", "b", "xn--bcher-kva.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "[IPv6:::ffff:c000:201]"]
)


@given(LOCAL, DOMAIN)
@example('\\"', "example.org")
@example("", "example.org")
@example('a" <b>', "example.org")
def test_fault_s13_parse_after_format_is_identity(local: str, domain: str) -> None:
    address = Address(local, domain)
    try:
        text = format_address(address)
    except BadAddress:
        assert not local.isprintable()
        return
    assert parse_address(text) == address
    assert forward(format_path(address) + " NOTIFY=NEVER", smtputf8=True) == (address, "NOTIFY=NEVER")


@given(st.text(st.characters(max_codepoint=0x2FF)) | st.text(st.sampled_from('a@.b"\\<>[]:, %!é\0\n('), max_size=30))
def test_any_text_is_an_address_or_bad_address(text: str) -> None:
    try:
        address = parse_address(text)
    except BadAddress:
        return
    assert parse_address(format_address(address)) == address
    assert "@" not in address.domain
    assert address.domain == address.domain.lower() or address.domain.startswith("[IPv6:")


@given(
    st.binary()
    | st.lists(st.sampled_from([b"<", b">", b'"', b"\\", b"a", b"@", b"b", b" ", b":", b"\xff", b"\r\n"])).map(b"".join)
)
def test_any_bytes_are_a_path_or_bad_address(argument: bytes) -> None:
    for smtputf8 in (False, True):
        for path in (_reverse(argument, smtputf8=smtputf8), _forward(argument, smtputf8=smtputf8)):
            if isinstance(path, Reply):
                assert path.is_permanent
            else:
                assert path is None or smtputf8 or path.local.isascii()
                assert format_path(path)


def test_fault_s15_the_null_reverse_path_is_none() -> None:
    assert parse_reverse_path("<>", smtputf8=False) == (None, "")
    assert parse_reverse_path(b" <> SIZE=12 ", smtputf8=False) == (None, "SIZE=12")
    assert format_path(None) == "<>"
    assert refusal_of("<>") == "501 5.1.3"


@pytest.mark.parametrize("name", ["postmaster", "Postmaster", "POSTMASTER"])
def test_fault_s15_bare_postmaster_is_ours(name: str) -> None:
    assert forward(f"<{name}>") == (Address("postmaster", US), "")


def test_only_postmaster_goes_without_a_domain() -> None:
    assert refusal_of("<ann>") == "501 5.1.3"
    with pytest.raises(BadAddress) as caught:
        parse_reverse_path("<postmaster>", smtputf8=False)
    assert str(caught.value.reply.status) == "5.1.7"


def test_the_brackets_end_where_quoting_says() -> None:
    assert forward(r'<"a> SIZE=1\" <b"@example.org> NOTIFY=NEVER') == (
        Address('a> SIZE=1" <b', "example.org"),
        "NOTIFY=NEVER",
    )


@pytest.mark.parametrize(
    "argument",
    [
        "ann@example.org",
        "<ann@example.org",
        "ann@example.org>",
        "<<ann@example.org>>",
        "<ann@example.org>>",
        "<ann@example.org>NOTIFY=NEVER",
        "<ann@example.org><bob@example.org>",
        "  <ann@example.org>",
        "< ann@example.org>",
        "<ann@example.org >",
        "Ann <ann@example.org>",
        '<"ann@example.org>',
        "",
        " ",
    ],
)
def test_a_path_needs_its_brackets(argument: str) -> None:
    assert refusal_of(argument) in ("501 5.5.4", "501 5.1.3")


@pytest.mark.parametrize(
    "argument",
    [
        b"<a\rRCPT TO:<b>>",
        b"<a@b.example>\rRCPT TO:<c@d.example>",
        b"<a@b.example>\nRCPT TO:<c@d.example>",
        b"<a@b.example> NOTIFY=NEVER\r",
        b"<a@b.example> ORCPT=rfc822;a\0b",
        b'<"a\r\nb"@b.example>',
        b"<a\0@b.example>",
        b"<a@b.example\0>",
        b"<a@b.example>\t",
        b"<a\x7f@b.example>",
    ],
    ids=repr,
)
def test_fault_s14_control_bytes_anywhere_are_501(argument: bytes) -> None:
    assert refusal_of(argument) == "501 5.5.2"
    with pytest.raises(BadAddress) as caught:
        parse_reverse_path(argument, smtputf8=True)
    assert caught.value.reply is codes.LINE_SYNTAX


@pytest.mark.parametrize(
    "argument", [b"<\xff@example.org>", b"<\x80>", "<é@example.org>".encode(), "<a@é.example>".encode()], ids=repr
)
def test_fault_s12_eight_bit_without_smtputf8_is_501(argument: bytes) -> None:
    assert refusal_of(argument) == "501 5.5.2"


def test_smtputf8_lets_utf8_in() -> None:
    assert forward("<é@é.example>".encode(), smtputf8=True) == (Address("é", "xn--9ca.example"), "")
    assert refusal_of(b"<\xc3@example.org>", smtputf8=True) == "501 5.5.2"


@pytest.mark.parametrize(
    "path",
    [
        "<victim@foreign.example>",
        "<victim%foreign.example@{us}>",
        '<"victim%foreign.example"@{us}>',
        "<victim%foreign.example@[192.0.2.1]>",
        "<victim%foreign.example>",
        '<"victim%foreign.example">',
        "<foreign.example!victim>",
        '<"foreign.example!victim">',
        "<foreign.example!victim@{us}>",
        '<"foreign.example!victim"@{us}>',
        "<foreign.example!victim@[192.0.2.1]>",
        "<{us}!victim@foreign.example>",
        '<"victim@foreign.example">',
        '<"victim@foreign.example"@{us}>',
        '<"victim@foreign.example"@[192.0.2.1]>',
        r'<"victim\@foreign.example"@{us}>',
        "<victim@foreign.example@{us}>",
        "<victim@foreign.example@[192.0.2.1]>",
        "<@{us}:victim@foreign.example>",
        '<@{us}:"victim@foreign.example">',
        "<@{us},@foreign.example:victim@foreign.example>",
        "<victim@[198.51.100.7]>",
    ],
)
def test_fault_s22_each_open_relay_form_is_seen(path: str) -> None:
    """Either the parser itself answers 550 5.7.1, or what it returns is foreign or disguised, as the edge then asks."""
    found = _forward(path.format(us=US))
    if isinstance(found, Address):
        assert found.domain != US or relay_disguise(found.local)
    else:
        assert found is codes.RELAY_DENIED


def test_fault_s22_ordinary_locals_are_no_disguise() -> None:
    assert not any(map(relay_disguise, ["ann", "bcc-0abc", "b+x.y", "ann.lee", "ann lee", ""]))


@pytest.mark.parametrize(
    "address",
    [
        Address("a\r\nRCPT TO:<b", "example.org"),
        Address("a\0", "example.org"),
        Address("a", "example.org>\r\nDATA"),
        Address("a", "example.org> SIZE=1"),
        Address("a", "é.example"),
        Address("a", ""),
        Address("a", "[x]"),
    ],
    ids=repr,
)
def test_fault_s14_what_no_path_can_carry_is_never_written(address: Address) -> None:
    with pytest.raises(BadAddress):
        format_path(address)


@pytest.mark.parametrize(
    "text",
    [
        "a@" * 500_000,
        "a." * 500_000,
        '"' * 1_000_000,
        '"\\' * 500_000,
        "a@" + "b-" * 500_000,
        "a@" + "é" * 500_000,
        "@a," * 300_000,
    ],
    ids=lambda text: text[:6],
)
def test_a_megabyte_is_refused_at_once(text: str) -> None:
    def refuse() -> None:
        with pytest.raises(BadAddress):
            parse_address(text)
        with pytest.raises(BadAddress):
            forward(f"<{text}>", smtputf8=True)

    _, seconds = cpu(refuse)
    assert seconds < 0.5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no an address", 'After "no" an @ must follow, not " an address"'),
        ("Name <n@x.example>", 'After "Name" an @ must follow, not " <n@x.example>"'),
        (" a@x.example", '" a@x.example" is not an address'),
        ("a@x y", '"x y" is not a domain'),
    ],
)
def test_what_is_wrong_with_an_address_is_one_clear_sentence(text: str, why: str) -> None:
    with pytest.raises(BadAddress) as refused:
        parse_address(text)
    assert str(refused.value) == why
