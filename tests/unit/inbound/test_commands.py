"""Command lines, AUTH exchanges and limits without a socket: any bytes are read one way or refused by a reply."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.inbound import commands, sasl
from mailrelay.inbound.commands import Command
from mailrelay.inbound.limits import Connections, Failures, Patience, client_key
from mailrelay.model.reply import Reply
from mailrelay.smtp import codes


@given(st.binary(max_size=300))
def test_any_line_is_a_command_or_a_refusal(line: bytes) -> None:
    read = commands.read_command(line)
    if isinstance(read, Reply):
        assert read.is_permanent
    else:
        assert read.verb.isalpha()
        assert not set(read.argument) & set(range(32))


@given(st.binary(max_size=200), st.booleans())
def test_any_argument_of_mail_and_rcpt_is_read_or_refused(argument: bytes, extended: bool) -> None:
    for read in (
        commands.read_mail(b"FROM:" + argument, extended=extended),
        commands.read_rcpt(b"TO:" + argument, extended=extended, smtputf8=extended, local_domain="here.test"),
    ):
        if isinstance(read, Reply):
            assert read.is_permanent


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (b"noop", Command("NOOP", b"")),
        (b"EHLO  a.test ", Command("EHLO", b"a.test")),
        (b"MAIL FROM:<\xc3\xa4@a.test>", Command("MAIL", b"FROM:<\xc3\xa4@a.test>")),
        (b"EHLO \xc3\xa4", codes.LINE_SYNTAX),
        (b"", codes.COMMAND_UNKNOWN),
        (b" NOOP", codes.COMMAND_UNKNOWN),
        (b"NO-OP", codes.COMMAND_UNKNOWN),
        (b"NOOP\r", codes.LINE_SYNTAX),
    ],
)
def test_lines_and_what_they_are(line: bytes, read: object) -> None:
    assert commands.read_command(line) == read


def run(argument: bytes, *responses: bytes) -> sasl.Credentials:
    exchange = sasl.begin(argument)
    try:
        next(exchange)
        for response in responses:
            exchange.send(sasl.decode(response))
    except StopIteration as ended:
        found: sasl.Credentials = ended.value
        return found
    raise AssertionError("the exchange wants more")


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20), st.data())
def test_both_mechanisms_give_back_what_was_sent(user: str, data: st.DataObject) -> None:
    password = data.draw(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20))
    message = base64.b64encode(f"\0{user}\0{password}".encode())
    expected = sasl.Credentials(user, password)
    assert run(b"PLAIN " + message) == run(b"plain", message) == expected
    name, secret = (base64.b64encode(text.encode()) for text in (user, password))
    assert run(b"LOGIN", name, secret) == run(b"LOGIN " + name, secret) == expected


@given(st.sampled_from([b"PLAIN", b"LOGIN", b"X"]), st.lists(st.binary(max_size=40), max_size=4))
def test_any_exchange_ends_in_credentials_or_a_refusal(mechanism: bytes, said: list[bytes]) -> None:
    refusals = []
    try:
        run(mechanism, *said, b"*")
    except sasl.BadExchange as bad:
        refusals.append(bad.reply)
    assert all(refusal.is_permanent for refusal in refusals)


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(sasl.Credentials("anna", "hunter2"))


def test_four_hundreds_are_no_fault_of_the_client() -> None:
    patience = Patience(max_errors=2, max_useless=5, delay=1.0)
    for _ in range(100):
        assert patience.note("RCPT", codes.TOO_MANY_RECIPIENTS) == 0
    assert not patience.is_over
    assert patience.note("RCPT", codes.NO_SUCH_DROPBOX) == 1.0
    patience.note("RCPT", codes.NO_SUCH_DROPBOX)
    assert patience.is_over


def test_failures_fade_by_half() -> None:
    failures = Failures(half_life=100)
    for _ in range(8):
        failures.note("a", now=0)
    assert failures.count("a", now=100) == pytest.approx(4)
    assert failures.count("b", now=100) == 0


def test_one_ipv6_network_and_one_mapped_address_are_one_client() -> None:
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff:1") != client_key("2001:db8:0:1::1")
    assert client_key("::ffff:192.0.2.1") == client_key("192.0.2.1")
    assert client_key("fe80::1%eth0") == client_key("fe80::2")


def test_a_released_connection_makes_room_and_a_minute_passes() -> None:
    limits = Connections(total=10, per_ip=1, per_minute=2, trusted=())
    assert limits.admit("192.0.2.1", now=0) is None
    assert limits.admit("192.0.2.1", now=1) is codes.TOO_MANY_CONNECTIONS
    limits.release("192.0.2.1")
    assert limits.admit("192.0.2.1", now=2) is None
    limits.release("192.0.2.1")
    assert limits.admit("192.0.2.1", now=3) is codes.TOO_MANY_CONNECTIONS
    assert limits.admit("192.0.2.1", now=61) is None
