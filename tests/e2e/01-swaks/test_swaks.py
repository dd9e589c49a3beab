"""Fault S30: swaks, a client that is not ours, against the edge and submission: TLS, AUTH, pipelining, 8-bit, UTF-8."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailrelay.config.schema import ListenerKind
from tests.support.edge import PASSWORD, Edge, edge
from tests.support.peers import absent, need

pytestmark = pytest.mark.e2e

USER = "anna@example.com"
BODY = "From: anna@example.com\nTo: bob@customer.test\nSubject: Grüße\n\nSchöne Grüße\n.\n..\n"


@dataclass
class Heard:
    """`code` is swaks' exit code, 0 when the mail was taken; `text` the dialogue as swaks shows it."""

    code: int
    text: str


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Edge]:
    async with edge(tmp_path) as running:
        yield running


async def swaks(port: int, *arguments: str) -> Heard:
    process = await asyncio.create_subprocess_exec(
        str(need("swaks")),
        *("--server", "127.0.0.1", "--port", str(port), "--ehlo", "client.test", "--timeout", "10s"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode("utf-8", "replace")
    if "requires Net::SSLeay" in text:
        absent("swaks-with-TLS", "libnet-ssleay-perl")
    return Heard(process.returncode or 0, text)


@pytest.mark.parametrize("tls", [(), ("--tls",)], ids=["clear", "STARTTLS"])
@pytest.mark.parametrize("pipeline", [(), ("--pipeline",)], ids=["", "pipelined"])
async def test_fault_s30_the_edge_takes_a_mail(here: Edge, tls: tuple[str, ...], pipeline: tuple[str, ...]) -> None:
    heard = await swaks(here.port(), "--from", USER, "--to", here.address, "--data", BODY, *tls, *pipeline)
    assert heard.code == 0, heard.text
    (arrival,) = await here.arrivals()
    assert f"250 2.0.0 queued as {arrival.id}" in heard.text
    raw = await here.raw(arrival)
    assert raw.endswith("Schöne Grüße\r\n.\r\n..\r\n".encode()) or raw.rstrip().endswith(
        "Schöne Grüße\r\n.\r\n..".encode()
    )


async def test_fault_s30_the_edge_takes_a_mail_after_helo_and_from_a_utf8_address(here: Edge) -> None:
    heard = await swaks(here.port(), "--from", USER, "--to", here.address, "--protocol", "SMTP")
    assert heard.code == 0, heard.text
    heard = await swaks(here.port(), "--from", "<>", "--to", here.address)
    assert heard.code == 0, heard.text
    assert len(await here.arrivals()) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--to", "bcc-nobody@inbound.test"), 24, "550 5.1.1"),
        (("--to", "bob@elsewhere.test"), 24, "550 5.7.1"),
        (("--to", "bob%elsewhere.test@inbound.test"), 24, "550 5.7.1"),
        (("--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD), 28, "did not advertise authentication"),
        (("--quit-after", "EHLO"), 0, "250-PIPELINING"),
    ],
)
async def test_fault_s30_the_edge_refuses(here: Edge, arguments: tuple[str, ...], code: int, said: str) -> None:
    heard = await swaks(
        here.port(), "--from", USER, *(() if "--to" in arguments else ("--to", here.address)), *arguments
    )
    assert (heard.code, said in heard.text) == (code, True), heard.text
    assert await here.arrivals() == []


@pytest.mark.parametrize("kind", [ListenerKind.SUBMISSION, ListenerKind.SUBMISSIONS])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_fault_s30_submission_takes_a_users_mail(here: Edge, kind: ListenerKind, mechanism: str) -> None:
    tls = "--tls" if kind is ListenerKind.SUBMISSION else "--tls-on-connect"
    login = ("--auth", mechanism, "--auth-user", USER, "--auth-password")
    sent = ("--from", USER, "--to", "bob@customer.test", "--data", BODY, tls)
    heard = await swaks(here.port(kind), *sent, *login, PASSWORD)
    assert heard.code == 0, heard.text
    assert "250 2.0.0 queued as Q" in heard.text
    heard = await swaks(here.port(kind), *sent, *login, "wrong")
    assert heard.code == 28, heard.text
    assert "535 5.7.8" in heard.text
    heard = await swaks(here.port(kind), *sent)
    assert heard.code == 23, heard.text
    assert "530 5.7.0" in heard.text


async def test_fault_s30_submission_without_tls_takes_neither_password_nor_mail(here: Edge) -> None:
    login = ("--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD)
    port = here.port(ListenerKind.SUBMISSION)
    heard = await swaks(port, "--from", USER, "--to", "bob@customer.test", *login)
    assert heard.code == 28, heard.text
    heard = await swaks(port, "--from", USER, "--to", "bob@customer.test")
    assert heard.code == 23, heard.text
    assert "530 5.7.0" in heard.text
