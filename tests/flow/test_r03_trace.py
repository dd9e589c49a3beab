"""R3: `mailrelay smtp trace` shows a live dialogue with one destination; no mail is sent, nothing secret or harmful is shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mailrelay.config.schema import Config
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.config.secret import Secret
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord
from tests.support import factory
from tests.support.answers import Zone
from tests.support.certs import certificate
from tests.support.cli import Cli
from tests.support.http import Api, ZoneResolver, serving
from tests.support.outbound import until
from tests.support.remote import CLOSE, SILENCE, Remote, remote

ZONE = Zone(
    {
        ("MX", "b.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(10, "localhost"),)),
        ("A", "localhost"): "127.0.0.1",
        ("MX", "null.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(0, ""),)),
    }
)


def by_mx(folder: Path, sink: Remote, **more: Any) -> dict[str, Any]:
    given = {"route": "mx", "port": sink.port, "allow_private": True, "ca_file": certificate().authority, **more}
    return {"config": Config(data=folder, delivery=DeliverySettings(**given)), "resolver": ZoneResolver(ZONE)}


async def traced(api: Api, **query: str) -> list[dict[str, Any]]:
    answer = await api.local.post("/api/v1/smtp/trace", params=query)
    assert answer.status == 200, answer.body
    return answer.lines


def notes(lines: list[dict[str, Any]]) -> str:
    return "\n".join(one["text"] for one in lines if one["direction"] == "note")


def dialogue(lines: list[dict[str, Any]]) -> list[str]:
    return [one["text"] for one in lines if one["direction"] == "out"]


async def test_r03_a_destination_is_talked_to_as_far_as_rcpt(tmp_path: Path) -> None:
    async with (
        remote(certificate=certificate().server_context()) as sink,
        serving(tmp_path, **by_mx(tmp_path, sink)) as api,
    ):
        await factory.org(api.store, api.clock)
        lines = await traced(api, destination="b.test", rcpt="bob@b.test", **{"from": "anna@acme.test"})
    said = dialogue(lines)
    assert said[:3] == ["EHLO relay.example", "STARTTLS", "EHLO relay.example"]
    assert said[3].startswith("MAIL FROM:<anna@acme.test>")
    assert said[4:] == ["RCPT TO:<bob@b.test>", "RSET", "QUIT"]
    assert sink.messages == []
    assert "DATA" not in sink.verbs()
    assert {"direction": "in", "text": "220 remote.test ESMTP"}.items() <= lines[3].items() or any(
        one["text"] == "220 remote.test ESMTP" and one["direction"] == "in" for one in lines
    )
    told = notes(lines)
    assert "DNS: 10 localhost: 127.0.0.1" in told
    assert "connected from 127.0.0.1" in told
    assert "certificate: for localhost, 127.0.0.1" in told
    assert "certificate: TLSA 3 1 1 " in told
    assert "verified" in told
    assert lines[-1]["text"] == "done: bob@b.test would be accepted, as far as RCPT"


async def test_r03_a_second_connection_is_told_with_its_reason(tmp_path: Path) -> None:
    async with (
        remote(certificate=certificate().server_context()) as sink,
        serving(tmp_path, **by_mx(tmp_path, sink)) as api,
    ):
        sink.handshakes_fail = True
        lines = await traced(api, destination="b.test")
    told = [one["text"] for one in lines if one["direction"] == "note"]
    connected = [at for at, text in enumerate(told) if text.startswith("connected from")]
    assert len(connected) == 2
    (again,) = [at for at, text in enumerate(told) if text.startswith("given up, since TLS failed: ")]
    assert connected[0] < again < connected[1]
    assert told[again].endswith("; once more")


async def test_r03_it_needs_no_organisation_where_there_are_several_or_none(tmp_path: Path) -> None:
    async with remote() as sink, serving(tmp_path, **by_mx(tmp_path, sink)) as api:
        cli = Cli(api.server.unix_socket)
        assert (await cli("smtp", "trace", "b.test")).status == 0
        await factory.org(api.store, api.clock)
        await factory.org(api.store, api.clock, name="Other")
        said = await cli("smtp", "trace", "b.test")
        assert (said.status, said.error) == (0, "")
        assert (await cli("smtp", "trace", "b.test", "--organisation", "Other")).status == 0
        assert (await cli("smtp", "trace", "b.test", "--organisation", "nobody")).status == 66
        # What does need one says how to name it.
        said = await cli("route", "bob@b.test")
        assert said.status == 65
        assert said.error.startswith("mailrelay: --organisation: say which organisation: ")


async def test_r03_a_refused_recipient_is_told(tmp_path: Path) -> None:
    async with remote() as sink, serving(tmp_path, **by_mx(tmp_path, sink)) as api:
        await factory.org(api.store, api.clock)
        sink.say("RCPT", "550 5.1.1 nobody")
        lines = await traced(api, rcpt="bob@b.test")
    assert lines[-1]["text"] == "done: bob@b.test would be refused: 550 5.1.1 nobody"
    assert "in clear" in notes(lines)


async def test_r03_one_host_is_talked_to_by_name_and_port(tmp_path: Path) -> None:
    async with remote() as sink, serving(tmp_path, **by_mx(tmp_path, sink, port=1)) as api:
        await factory.org(api.store, api.clock)
        lines = await traced(api, host="127.0.0.1", port=str(sink.port))
        assert dialogue(lines) == ["EHLO relay.example", "QUIT"]
        assert lines[-1]["text"] == "done: the host takes connections"


async def test_fault_n05_hostile_bytes_are_shown_harmless_and_bounded(tmp_path: Path) -> None:
    async with remote() as sink, serving(tmp_path, **by_mx(tmp_path, sink)) as api:
        await factory.org(api.store, api.clock)
        sink.say("CONNECT", b"220 \x1b[2J\xe2\x80\xae\xff hello\r\n")
        sink.say("EHLO", "250-" + "x" * 3_000 + "\r\n250 ok")
        lines = await traced(api, destination="b.test")
    assert all(len(one["text"]) <= 4_000 and one["text"].isprintable() for one in lines)
    assert any("\\x1b[2J" in one["text"] for one in lines)


@pytest.mark.parametrize(("verb", "act"), [("CONNECT", CLOSE), ("EHLO", CLOSE), ("CONNECT", "554 5.7.1 go away")])
async def test_r03_a_host_that_fails_is_told_as_it_was(tmp_path: Path, verb: str, act: Any) -> None:
    async with remote() as sink, serving(tmp_path, **by_mx(tmp_path, sink)) as api:
        await factory.org(api.store, api.clock)
        sink.say(verb, act)
        lines = await traced(api, destination="b.test")
    assert lines[-1]["text"].startswith("failed: no host could be used")
    assert lines[-1]["direction"] == "note"


async def test_r03_where_nothing_would_go_the_reason_is_the_end(tmp_path: Path) -> None:
    async with remote() as sink, serving(tmp_path, **by_mx(tmp_path, sink)) as api:
        await factory.org(api.store, api.clock)
        lines = await traced(api, destination="null.test")
        assert lines[-1]["text"].startswith("failed: 556")
        assert sink.sessions == 0


async def test_r03_credentials_are_never_shown(tmp_path: Path) -> None:
    leaf = certificate("relay.test", "localhost", "127.0.0.1")
    async with remote(certificate=leaf.server_context()) as sink:
        sink.extensions.append("AUTH PLAIN")
        host = {
            "host": "localhost",
            "port": sink.port,
            "user": "us",
            "password": Secret("password", "open sesame"),
            "ca_file": leaf.authority,
        }
        config = Config(data=tmp_path, delivery=DeliverySettings(route="smart_host", smart_host=host))
        async with serving(tmp_path, config=config, resolver=ZoneResolver(ZONE)) as api:
            await factory.org(api.store, api.clock)
            answer = await api.local.post("/api/v1/smtp/trace", params={"destination": "b.test"})
    assert "AUTH PLAIN ***" in dialogue(answer.lines)
    assert "mail for b.test goes to the smart host localhost" in notes(answer.lines)
    (given,) = sink.arguments("AUTH PLAIN")
    assert given.encode() not in answer.body
    assert b"open sesame" not in answer.body


def tracing() -> bool:
    return any(task.get_name() == "trace" for task in asyncio.all_tasks())


async def test_r03_lines_come_while_it_happens_and_who_goes_ends_it(tmp_path: Path) -> None:
    async with remote() as sink, serving(tmp_path, **by_mx(tmp_path, sink)) as api:
        await factory.org(api.store, api.clock)
        sink.say("EHLO", SILENCE)
        reader, writer = await asyncio.open_unix_connection(str(api.server.unix_socket))
        writer.write(b"POST /api/v1/smtp/trace?destination=b.test HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        async with asyncio.timeout(30):
            await reader.readuntil(b"220 remote.test ESMTP")
        assert tracing()
        writer.close()
        await writer.wait_closed()
        await until(lambda: not tracing())


async def test_r03_it_is_the_operators_and_its_questions_are_checked(tmp_path: Path) -> None:
    async with remote() as sink, serving(tmp_path, **by_mx(tmp_path, sink)) as api:
        org = await factory.org(api.store, api.clock)
        _, secret = await factory.api_token(api.store, api.clock, org)
        there = api.web.bearing(secret)
        assert (await there.post("/api/v1/smtp/trace", params={"destination": "b.test"})).status == 403
        for query in (
            {},
            {"destination": "b.test", "host": "localhost"},
            {"destination": "no domain"},
            {"destination": "b.test", "source": "nine"},
            {"destination": "b.test", "rcpt": "bob"},
        ):
            assert (await api.local.post("/api/v1/smtp/trace", params=query)).status == 422, query
        assert sink.sessions == 0


async def test_r03_the_command_prints_the_dialogue_with_arrows(tmp_path: Path) -> None:
    async with remote() as sink, serving(tmp_path, **by_mx(tmp_path, sink)) as api:
        await factory.org(api.store, api.clock)
        cli = Cli(api.server.unix_socket)
        said = await cli("smtp", "trace", "b.test", "--rcpt", "bob@b.test")
        assert said.status == 0, said
        assert " <- 220 remote.test ESMTP" in said.out
        assert " -> RCPT TO:<bob@b.test>" in said.out
        assert said.out.splitlines()[-1].endswith("-- done: bob@b.test would be accepted, as far as RCPT")
        said = await cli("smtp", "trace", f"127.0.0.1:{sink.port}", "--json")
        assert said.status == 0
        sink.say("CONNECT", "554 no")
        said = await cli("smtp", "trace", "127.0.0.1", "--from", "anna@acme.test")
        assert said.status == 69
