"""Faults S04, S07, S11–S18, S25–S28: commands that are too long, malformed, out of place, too many, or no SMTP at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailrelay.config.schema import ListenerKind
from tests.support.edge import MAIL, Edge, edge
from tests.support.smtp_client import SmtpClient, connected


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Edge]:
    async with edge(tmp_path, max_errors=1_000) as running:
        yield running


@pytest.fixture
async def client(here: Edge) -> AsyncIterator[SmtpClient]:
    async with connected(here.port()) as connection:
        await connection.ehlo()
        yield connection


def short(answer: object) -> str:
    return str(answer)[:9]


async def test_fault_s04_a_command_line_without_end_is_cut_off(client: SmtpClient) -> None:
    client.send(b"A" * 300_000)
    assert short(await client.reply()) == "500 5.5.2"
    assert await client.closed()


@pytest.mark.parametrize(("length", "code"), [(2_048, "250 2.0.0"), (2_049, "500 5.5.2"), (60_000, "500 5.5.2")])
async def test_fault_s04_a_long_command_line_is_refused_and_the_session_goes_on(
    client: SmtpClient, length: int, code: str
) -> None:
    assert short(await client.say(b"NOOP " + b"x" * (length - 5))) == code
    assert (await client.say("NOOP")).code == 250


async def test_fault_s07_the_hundredth_recipient_is_taken_and_the_rest_put_off(tmp_path: Path) -> None:
    async with edge(tmp_path) as here, connected(here.port()) as client:
        await client.ehlo()
        client.send("MAIL FROM:<anna@example.com>\r\n" + f"RCPT TO:<{here.address}>\r\n" * 1_001)
        answers = await client.replies(1_002)
        assert [short(one) for one in answers[1:101]] == ["250 2.1.5"] * 100
        assert [short(one) for one in answers[101:]] == ["452 4.5.3"] * 901
        assert (await client.say("DATA")).code == 354
        assert (await client.content(MAIL)).code == 250
        assert len(await here.arrivals()) == 1


async def test_fault_s11_a_transaction_leaves_nothing_to_the_next(here: Edge, client: SmtpClient) -> None:
    for end in ("RSET", "EHLO client.test", "HELO client.test"):
        await client.say("MAIL FROM:<anna@example.com>")
        assert (await client.say(f"RCPT TO:<{here.address}>")).code == 250
        assert short(await client.say("MAIL FROM:<other@example.com>")) == "503 5.5.1"
        assert (await client.say(end)).code == 250
        assert short(await client.say("DATA")) == "503 5.5.1"
        assert (await client.say("MAIL FROM:<anna@example.com>")).code == 250
        assert short(await client.say("DATA")) == "554 5.5.1"
        await client.say("RSET")
    assert await here.arrivals() == []


async def test_fault_s11_after_a_mail_the_recipients_are_forgotten(here: Edge, client: SmtpClient) -> None:
    assert (await client.mail(here.address, MAIL)).code == 250
    assert short(await client.say("DATA")) == "503 5.5.1"
    await client.say("MAIL FROM:<anna@example.com>")
    assert short(await client.say("DATA")) == "554 5.5.1"


@pytest.mark.parametrize(
    "line",
    [
        b"NOOP \0",
        b"NOOP \x80",
        b"N\xffOP",
        b"EHLO \xe4.test",
        b"MAIL FROM:<a\0b@example.com>",
        b"MAIL FROM:<\x80@example.com>",
        b"MAIL FROM:<\xc3\xa4@example.com>",
        b"VRFY \xc3\xa4",
        b"NOOP \x1b[2J",
        b"NOOP a\tb",
    ],
)
async def test_fault_s12_octets_that_no_command_may_hold_are_refused(client: SmtpClient, line: bytes) -> None:
    assert short(await client.say(line)) == "501 5.5.2"
    assert (await client.say("NOOP")).code == 250


async def test_fault_s12_a_command_ends_with_crlf_only(client: SmtpClient) -> None:
    client.send(b"MAIL FROM:<a@example.com>\nNOOP\r\n")
    assert [short(one) for one in await client.replies(2)] == ["500 5.5.2", "250 2.0.0"]
    assert (await client.say("RCPT TO:<b@example.com>")).code == 503  # MAIL was not obeyed


@pytest.mark.parametrize(
    "line",
    [
        b"RCPT TO:<a\rRCPT TO:<b>>",
        b"RCPT TO:<a@inbound.test\0>",
        b"RCPT TO:<a@inbound.test> NOTIFY=NEVER\rX",
        b"RCPT TO:<a@inbound.test> ORCPT=rfc822;a+0D+0Ab",
    ],
)
async def test_fault_s14_a_command_is_one_command(client: SmtpClient, line: bytes) -> None:
    await client.say("MAIL FROM:<a@example.com>")
    answer = await client.say(line)
    assert answer.code == 501
    assert (await client.say("NOOP")).code == 250


async def test_fault_s15_the_null_sender_and_the_bare_postmaster_are_accepted(here: Edge, client: SmtpClient) -> None:
    assert (await client.say("MAIL FROM:<>")).code == 250
    assert (await client.say("RCPT TO:<PostMaster>")).code == 250
    assert (await client.say("DATA")).code == 354
    assert (await client.content(MAIL)).code == 250
    (arrival,) = await here.arrivals()
    assert arrival.envelope is not None
    assert arrival.envelope.mail_from is None
    assert arrival.channel.value == "organisation"
    assert (await here.raw(arrival)).startswith(b"Return-Path: <>\r\n")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("MAIL FROM:<a@example.com> FOO=bar", "555 5.5.4"),
        ("MAIL FROM:<a@example.com> REQUIRETLS", "555 5.5.4"),
        ("MAIL FROM:<a@example.com> BODY=BINARYMIME", "555 5.5.4"),
        ("MAIL FROM:<a@example.com> SIZE=x", "501 5.5.4"),
        ("MAIL FROM:<a@example.com> SIZE=99999999999", "552 5.3.4"),
        ("MAIL FROM:<a@example.com> AUTH=<>", "250 2.1.0"),
        ("mail from: <a@example.com> body=8bitmime", "250 2.1.0"),
        ("MAIL FROM:<ä@example.com> SMTPUTF8", "250 2.1.0"),
        ("MAIL TO:<a@example.com>", "501 5.5.4"),
        ("MAIL", "501 5.5.4"),
        ("MAIL FROM:a@example.com", "501 5.5.4"),
    ],
)
async def test_fault_s16_parameters_of_mail(client: SmtpClient, line: str, code: str) -> None:
    answer = await client.say(line)
    assert short(answer) == code


async def test_fault_s16_values_keep_their_case(here: Edge, client: SmtpClient) -> None:
    await client.say("MAIL FROM:<Anna@Example.COM> ENVID=aBc+2Bd RET=HDRS AUTH=<>")
    answer = await client.say(f"RCPT TO:<{here.address}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob@Example.Com")
    assert answer.code == 250
    await client.say("DATA")
    await client.content(MAIL)
    (arrival,) = await here.arrivals()
    assert arrival.envelope is not None
    assert arrival.envelope.params.envid == "aBc+d"
    assert arrival.envelope.rcpt_to[0].orcpt == "rfc822;Bob@Example.Com"
    assert str(arrival.envelope.mail_from) == "Anna@example.com"
    assert here.dropbox.token in arrival.envelope.rcpt_to[0].address.local


async def test_fault_s17_bdat_is_not_offered_and_its_chunk_is_never_a_command(here: Edge, client: SmtpClient) -> None:
    assert "CHUNKING" not in (await client.ehlo()).lines
    await client.say("MAIL FROM:<anna@example.com>")
    await client.say(f"RCPT TO:<{here.address}>")
    client.send(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
    assert [short(one) for one in await client.replies(2)] == ["502 5.5.1", "250 2.0.0"]
    client.send(b"BDAT 0 LAST\r\nNOOP\r\n")
    assert [short(one) for one in await client.replies(2)] == ["502 5.5.1", "250 2.0.0"]
    assert short(await client.say("BDAT x")) == "501 5.5.4"
    client.send(b"BDAT 5\r\nabc")
    assert (await client.reply()).code == 502
    await client.close()
    assert await here.arrivals() == []


async def test_fault_s17_a_chunk_beyond_all_bounds_ends_the_session(client: SmtpClient) -> None:
    assert short(await client.say("BDAT 9223372036854775808")) == "552 5.3.4"
    assert await client.closed()


async def test_fault_s18_a_flood_of_useless_commands_is_slowed_then_ended(tmp_path: Path) -> None:
    async with edge(tmp_path, max_useless=20, error_delay=0.05) as here, connected(here.port()) as client:
        await client.ehlo()
        client.send(b"VRFY a\r\nEXPN b\r\nHELP\r\nNOOP\r\nRSET\r\n" * 5)
        answers = await client.replies(21)
        assert [one.code for one in answers[:5]] == [252, 502, 214, 250, 250]
        assert short(answers[-1]) == "421 4.7.0"
        assert await client.closed()


async def test_fault_s18_a_session_full_of_errors_is_slowed_then_ended(tmp_path: Path) -> None:
    async with edge(tmp_path, error_delay=0.02) as here, connected(here.port()) as client:
        await client.ehlo()
        client.send(b"FOO\r\n" * 30)
        answers = await client.replies(21)
        assert [one.code for one in answers] == [500] * 20 + [421]
        assert await client.closed()


async def test_fault_s18_a_mail_that_is_taken_makes_errors_good(tmp_path: Path) -> None:
    async with edge(tmp_path, max_errors=3) as here, connected(here.port()) as client:
        await client.ehlo()
        for _ in range(4):
            assert [(await client.say("FOO")).code for _ in range(2)] == [500, 500]
            assert (await client.mail(here.address, MAIL)).code == 250


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]"),
        (b"<script>alert(1)</script>", "?script?alert?1???script?"),
        (b"h" * 300, "h" * 100),
        (b"a.test) by evil (b", "a.test??by?evil??b"),
    ],
)
async def test_fault_s25_what_a_client_calls_itself_is_made_harmless(
    here: Edge, client: SmtpClient, name: bytes, shown: str
) -> None:
    assert (await client.say(b"EHLO " + name)).code == 250
    assert (await client.mail(here.address, MAIL)).code == 250
    (arrival,) = await here.arrivals()
    raw = await here.raw(arrival)
    assert f"Received: from {shown} ([127.0.0.1])\r\n".encode() in raw
    assert arrival.peer is not None
    assert len(arrival.peer.helo) <= 255


async def test_fault_s25_a_line_end_in_ehlo_is_the_end_of_it(client: SmtpClient) -> None:
    client.send(b"EHLO a\rb\r\nNOOP\r\n")
    assert [one.code for one in await client.replies(2)] == [501, 250]


async def test_fault_s26_helo_offers_no_extension(here: Edge) -> None:
    async with connected(here.port()) as client:
        answer = await client.say("HELO client.test")
        assert str(answer) == "250 mx.test is ready"
        assert short(await client.say("MAIL FROM:<a@example.com> SIZE=10")) == "555 5.5.4"
        assert (await client.say("MAIL FROM:<a@example.com>")).code == 250
        assert short(await client.say(f"RCPT TO:<{here.address}> NOTIFY=NEVER")) == "555 5.5.4"
        assert (await client.say(f"RCPT TO:<{here.address}>")).code == 250
        assert (await client.say("DATA")).code == 354
        assert (await client.content(MAIL)).code == 250
        assert b" with SMTP\r\n" in await here.raw((await here.arrivals())[0])


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nMAIL FROM:<a@b.test>\r\n\r\n",
        b"POST /x HTTP/1.0\r\n\r\nMAIL FROM:<a@example.com>\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_fault_s28_another_protocol_is_closed_at_once(here: Edge, said: bytes) -> None:
    async with connected(here.port()) as client:
        client.send(said)
        assert await client.closed()


async def test_fault_s28_smtp_where_tls_begins_at_once_is_closed(tmp_path: Path) -> None:
    async with (
        edge(tmp_path) as here,
        connected(here.port(ListenerKind.SUBMISSIONS), banner=False) as client,
    ):
        client.send(b"EHLO client.test\r\n")
        assert await client.closed()


PROXY_V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n"
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11\x00\x0c" + bytes((192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 25))
PROXIES = {
    "v1": PROXY_V1,
    "v1-unknown": b"PROXY UNKNOWN\r\n",
    "v1-too-long": b"PROXY TCP6 " + b"f" * 97,  # 108 bytes and no line end
    "v2": PROXY_V2,
    "v2-longest": PROXY_V2[:14] + b"\xff\xff" + bytes(65_535),
}


@pytest.mark.parametrize("slowly", [False, True], ids=["at-once", "slowly"])
@pytest.mark.parametrize("header", PROXIES.values(), ids=PROXIES)
async def test_fault_s27_a_proxy_header_ends_the_session(here: Edge, header: bytes, slowly: bool) -> None:
    mail = f"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<{here.address}>\r\n".encode()
    async with connected(here.port()) as client:
        with capture_logs() as seen:
            if slowly:
                for octet in header[:108]:
                    client.send(bytes((octet,)))
                    await asyncio.sleep(0.001)  # so that each comes alone
            else:
                client.send(header + mail)
            async with asyncio.timeout(30):
                said = await rest(client)
        # Sent slowly, the first lines of v2 are answered before they are known for what they are; nothing of it is obeyed.
        assert said == [] if not (slowly and header.startswith(b"\r\n")) else [501, 501, 501]
        assert [entry["reason"] for entry in seen if entry["event"] == "session.refused"] == ["PROXY, not SMTP"]
    assert await here.arrivals() == []


async def test_fault_s27_a_proxy_header_behind_other_commands_changes_nobodys_address(here: Edge) -> None:
    async with connected(here.port()) as client:
        await client.ehlo()
        client.send(b"NOOP\r\n" + PROXY_V1 + b"NOOP\r\n")
        assert await rest(client) == [250]


async def rest(client: SmtpClient) -> list[int]:
    """The codes of what is still answered until the server closes."""
    said = []
    with suppress(EOFError, ConnectionError):
        while True:
            said.append((await client.reply()).code)
    return said


async def test_commands_before_their_turn_are_refused(here: Edge) -> None:
    async with connected(here.port()) as client:
        assert short(await client.say("MAIL FROM:<a@example.com>")) == "503 5.5.1"
        assert short(await client.say("RCPT TO:<a@example.com>")) == "503 5.5.1"
        assert short(await client.say("DATA")) == "503 5.5.1"
        assert short(await client.say("STARTTLS")) == "503 5.5.1"
        assert short(await client.say("EHLO")) == "501 5.5.4"
        assert short(await client.say("HELO")) == "501 5.5.4"
        assert short(await client.say("VRFY")) == "501 5.5.4"
        assert short(await client.say("QUIT now")) == "501 5.5.4"
        assert short(await client.say("RSET now")) == "501 5.5.4"
        assert short(await client.say("AUTH PLAIN AGEAYg==")) == "502 5.5.1"
        assert short(await client.say("QUIT")) == "221 2.0.0"
        assert await client.closed()


async def test_ehlo_offers_what_is_there_and_no_more(client: SmtpClient) -> None:
    offers = (await client.ehlo()).lines[1:]
    assert set(offers) == {
        "PIPELINING",
        "SIZE 26214400",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "DSN",
        "STARTTLS",
    }
    await client.starttls()
    offers = (await client.ehlo()).lines[1:]
    assert not {one for one in offers if one.startswith(("STARTTLS", "AUTH"))}
