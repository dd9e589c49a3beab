"""The parameters of MAIL and RCPT: known ones decoded with their case, the rest refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.model.address import Address
from mailrelay.model.envelope import BodyType, EnvelopeRecipient, MailParams, Notify, Ret
from mailrelay.model.reply import Reply
from mailrelay.smtp.address import BadAddress
from mailrelay.smtp.params import (
    BadParameter,
    decode_xtext,
    encode_xtext,
    parse_mail,
    parse_mail_params,
    parse_rcpt,
    parse_rcpt_params,
)
from mailrelay.smtp.reply import to_wire


def code_of(bad: pytest.ExceptionInfo[BadParameter]) -> str:
    return f"{bad.value.reply.code} {bad.value.reply.status}"


def test_nothing_said_is_nothing_assumed() -> None:
    assert parse_mail_params("") == MailParams()
    assert parse_rcpt_params(" ") == (frozenset(), None)


def test_reads_every_parameter_of_mail() -> None:
    text = "size=1000 Body=8bitmime SMTPUTF8 RET=hdrs ENVID=QQ+2B314159 AUTH=e+3Dmc2@example.com REQUIRETLS"
    assert parse_mail_params(text) == MailParams(
        size=1000,
        body=BodyType.EIGHT_BIT,
        smtputf8=True,
        ret=Ret.HEADERS,
        envid="QQ+314159",
        auth="e=mc2@example.com",
        requiretls=True,
    )


def test_reads_every_parameter_of_rcpt() -> None:
    assert parse_rcpt_params("NOTIFY=Success,FAILURE ORCPT=rfc822;Bob+2BCrm@Example.org") == (
        frozenset({Notify.SUCCESS, Notify.FAILURE}),
        "rfc822;Bob+Crm@Example.org",
    )


def test_fault_s16_envid_in_lower_case_keeps_its_case() -> None:
    assert parse_mail_params("envid=aBcD-e").envid == "aBcD-e"
    assert parse_rcpt_params("orcpt=RFC822;aB@c")[1] == "RFC822;aB@c"


@pytest.mark.parametrize("value", ["<>", "ann@example.org", "+3C+3E"])
def test_fault_s16_auth_is_accepted(value: str) -> None:
    assert parse_mail_params(f"AUTH={value}").auth in ("<>", "ann@example.org")


@given(st.text(st.characters(codec="ascii"), max_size=40))
def test_rfc4865_any_hold_is_a_time_or_malformed(value: str) -> None:
    for name in ("HOLDFOR", "HOLDUNTIL"):
        try:
            params = parse_mail_params(f"{name}={value}")
        except BadParameter as bad:
            assert bad.reply.code in (501, 555)  # noqa: PT017 (both ends are well)
        else:
            assert params.hold_until is None or params.hold_until.tzinfo is not None
            assert params.hold_for is None or 0 <= params.hold_for <= 999_999_999


def test_rfc4865_holds_are_read() -> None:
    assert parse_mail_params("HOLDFOR=3600").hold_for == 3600
    until = parse_mail_params("holduntil=2026-12-01t08:00:00.5+01:00").hold_until
    assert until == datetime(2026, 12, 1, 7, 0, 0, 500_000, tzinfo=UTC)
    assert parse_mail_params("HOLDUNTIL=2026-12-31T23:59:60Z").hold_until == datetime(2027, 1, 1, tzinfo=UTC)
    assert not parse_mail_params("SIZE=10").held


@pytest.mark.parametrize(
    "text", ["X=1", "FOO", "XCLIENT=a", "BODY=BINARYMIME", "MT-PRIORITY=3", "NOTIFY=NEVER", "BY=1;R"]
)
def test_fault_s16_an_unknown_parameter_of_mail_is_555(text: str) -> None:
    with pytest.raises(BadParameter) as bad:
        parse_mail_params(text)
    assert code_of(bad) == "555 5.5.4"


@pytest.mark.parametrize("text", ["X=1", "SIZE=10", "RET=FULL", "SMTPUTF8"])
def test_fault_s16_an_unknown_parameter_of_rcpt_is_555(text: str) -> None:
    with pytest.raises(BadParameter) as bad:
        parse_rcpt_params(text)
    assert code_of(bad) == "555 5.5.4"


@pytest.mark.parametrize(
    "text",
    [
        "SIZE=",
        "SIZE",
        "SIZE=-1",
        "SIZE=1e9",
        "SIZE=٣",
        "SIZE=" + "9" * 21,
        "SIZE=1 SIZE=1",
        "SIZE=1 size=2",
        "SMTPUTF8=yes",
        "REQUIRETLS=1",
        "RET=BODY",
        "RET",
        "BODY",
        "ENVID=+",
        "ENVID=+2b",
        "ENVID=a=b",
        "ENVID=" + "x" * 101,
        "ENVID=+0D+0ARCPT",
        "ENVID=+00",
        "ENVID=+FF",
        "ENVID=é",
        "AUTH=a+0Ab",
        "AUTH=é",
        "=",
        "=x",
        "-X=1",
        "é=1",
    ],
)
def test_malformed_parameters_of_mail_are_501(text: str) -> None:
    with pytest.raises(BadParameter) as bad:
        parse_mail_params(text)
    assert code_of(bad) == "501 5.5.4"
    assert to_wire(bad.value.reply).count(b"\r\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "NOTIFY=NEVER,DELAY",
        "NOTIFY=NEVER,NEVER",
        "NOTIFY=",
        "NOTIFY=SOMETIMES",
        "NOTIFY=SUCCESS,",
        "ORCPT=ann@example.org",
        "ORCPT=rfc822;",
        "ORCPT=;ann@example.org",
        "ORCPT=rfc 822;a",
        "ORCPT=rfc822;a+0D+0Ab",
        "ORCPT=utf-8;\\x{0A}",
        "ORCPT=utf-8;\\x{D800}",
        "ORCPT=utf-8;\\x{FFFFFF}",
        "ORCPT=utf-8;é@example.org",
        "ORCPT=rfc822;" + "x" * 500,
        "NOTIFY=DELAY NOTIFY=DELAY",
    ],
)
def test_malformed_parameters_of_rcpt_are_refused(text: str) -> None:
    with pytest.raises(BadParameter) as bad:
        parse_rcpt_params(text)
    assert bad.value.reply.is_permanent


def test_orcpt_of_type_utf8() -> None:
    assert parse_rcpt_params("ORCPT=utf-8;pel\\x{E9}@example.org")[1] == "utf-8;pelé@example.org"
    assert parse_rcpt_params("ORCPT=utf-8;pelé@example.org", smtputf8=True)[1] == "utf-8;pelé@example.org"


@pytest.mark.parametrize("control", ["\r", "\n", "\0", "\x1b", "\x7f"])
def test_fault_s14_a_control_byte_in_a_parameter_is_501(control: str) -> None:
    for text in (f"ENVID=a{control}b", f"SIZE=1{control}", f"EN{control}VID=1"):
        with pytest.raises(BadParameter) as bad:
            parse_mail_params(text)
        assert bad.value.reply.code == 501
    with pytest.raises(BadAddress) as caught:
        parse_mail(f"<a@b.example> ENVID=a{control}b")
    assert f"{caught.value.reply.code} {caught.value.reply.status}" == "501 5.5.2"


def test_the_whole_argument_of_mail() -> None:
    assert parse_mail(b"<Ann@Example.org> SIZE=12") == (Address("Ann", "example.org"), MailParams(size=12))
    assert parse_mail(b"<>") == (None, MailParams())
    assert parse_mail("<é@example.org> SMTPUTF8".encode()) == (Address("é", "example.org"), MailParams(smtputf8=True))
    with pytest.raises(BadAddress):
        parse_mail("<é@example.org>".encode())


def test_the_whole_argument_of_rcpt() -> None:
    found = parse_rcpt(b"<bob@example.net> NOTIFY=NEVER", smtputf8=False, local_domain="crm.example")
    assert found == EnvelopeRecipient(address=Address("bob", "example.net"), notify=frozenset({Notify.NEVER}))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_xtext_read_after_written_is_identity(text: str) -> None:
    written = encode_xtext(text)
    assert decode_xtext(written) == text
    assert " " not in written
    assert "=" not in written


WORDS = st.lists(
    st.sampled_from(
        ["SIZE=", "ENVID=", "ORCPT=", "NOTIFY=", "AUTH=", "SMTPUTF8", "utf-8;", "rfc822;", "\\x{", "}", "+", "41"]
    )
    | st.sampled_from(["é", " ", "NEVER", ",", "=", "\0", "9", "110000", "D8"])
).map("".join)


def refusal(read: Callable[[], object]) -> Reply | None:
    try:
        read()
    except (BadAddress, BadParameter) as bad:
        return bad.reply
    return None


@given(WORDS | st.text(), st.booleans())
def test_any_text_is_parameters_or_a_bad_parameter(text: str, smtputf8: bool) -> None:
    for read in (lambda: parse_mail_params(text), lambda: parse_rcpt_params(text, smtputf8=smtputf8)):
        refused = refusal(read)
        assert refused is None or (refused.is_permanent and to_wire(refused).endswith(b"\r\n"))


@given(st.binary() | WORDS.map(lambda words: b"<a@b.example> " + words.encode()))
def test_any_argument_is_read_or_refused(argument: bytes) -> None:
    for read in (
        lambda: parse_mail(argument),
        lambda: parse_rcpt(argument, smtputf8=True, local_domain="crm.example"),
    ):
        refused = refusal(read)
        assert refused is None or refused.is_permanent
