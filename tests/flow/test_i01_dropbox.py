"""I1: mail to a dropbox is taken, durable and as sent, before it is answered 250."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from mailrelay.model.envelope import ArrivalState, Channel
from mailrelay.store import dropboxes
from tests.support import factory
from tests.support.edge import DOMAIN, MAIL, Edge, digest, edge
from tests.support.smtp_client import connected


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Edge]:
    async with edge(tmp_path) as running:
        yield running


async def test_a_mail_to_a_dropbox_is_durable_once_it_is_answered_250(here: Edge) -> None:
    async with connected(here.port()) as client:
        await client.ehlo()
        answer = await client.mail(here.address, MAIL)
    (arrival,) = await here.arrivals()
    assert str(answer) == f"250 2.0.0 queued as {arrival.id}"
    assert (arrival.org, arrival.channel, arrival.state) == (
        here.organisation.id,
        Channel.DROPBOX,
        ArrivalState.ACCEPTED,
    )
    assert arrival.target is not None
    assert arrival.target.user == here.user.id
    assert arrival.target.dropbox == here.dropbox.id
    assert arrival.envelope is not None
    assert str(arrival.envelope.mail_from) == "anna@example.com"
    assert arrival.peer is not None
    assert (arrival.peer.ip, arrival.peer.helo, arrival.peer.esmtp, arrival.peer.tls) == (
        "127.0.0.1",
        "client.test",
        True,
        "",
    )
    raw = await here.raw(arrival)
    assert raw.endswith(MAIL)
    trace = raw[: -len(MAIL)].decode()
    assert trace.startswith(
        "Return-Path: <anna@example.com>\r\nReceived: from client.test ([127.0.0.1])\r\n by mx.test with ESMTP"
    )
    assert f" id {arrival.id};" in trace
    assert here.dropbox.token not in trace


async def test_i21_a_mail_that_was_taken_says_when_its_dropbox_was_used(here: Edge) -> None:
    began = here.clock.now()
    async with connected(here.port()) as client:
        await client.ehlo()
        assert (await client.mail(here.address, MAIL)).code == 250
    (box,) = await here.store.read(dropboxes.of_user, here.organisation.id, here.user.id)
    assert box.last_used_at is not None
    assert began <= box.last_used_at <= here.clock.now()


async def test_a_large_mail_is_kept_byte_for_byte(here: Edge) -> None:
    body = b"".join(b"%07d %s\r\n" % (number, b"x" * 60) for number in range(50_000))
    async with connected(here.port()) as client:
        await client.ehlo()
        assert (await client.mail(here.address, MAIL + body)).code == 250
    (arrival,) = await here.arrivals()
    raw = await here.raw(arrival)
    assert digest(raw[raw.index(b"From:") :]) == digest(MAIL + body)


@pytest.mark.parametrize("spelled", [str.upper, str.title, str.swapcase])
async def test_the_token_is_read_in_any_case(here: Edge, spelled: object) -> None:
    async with connected(here.port()) as client:
        await client.ehlo()
        assert (await client.mail(spelled(here.address), MAIL)).code == 250  # type: ignore[operator]


async def test_several_dropboxes_of_a_mail_are_an_arrival_each_and_one_body(here: Edge) -> None:
    box, user = await here.second_dropbox()
    async with connected(here.port()) as client:
        await client.ehlo()
        answer = await client.mail([here.address, f"bcc-{box.token}@{DOMAIN}", here.address.upper()], MAIL)
    first, second = await here.arrivals()
    assert answer.text == f"queued as {first.id}, {second.id}" or answer.text == f"queued as {second.id}, {first.id}"
    assert {one.target.user for one in (first, second) if one.target} == {here.user.id, user.id}
    assert first.raw == second.raw


async def test_a_regenerated_address_stops_at_once(here: Edge) -> None:
    old = here.address
    new = await factory_again(here)
    async with connected(here.port()) as client:
        await client.ehlo()
        assert (await client.mail(old, MAIL)).code == 550
        await client.say("RSET")
        assert (await client.mail(new, MAIL)).code == 250


async def factory_again(here: Edge) -> str:
    token = "a" * 26
    new = factory_dropbox(here, token)
    await here.store.write(dropboxes.regenerate, new, old_until=here.clock.now() - timedelta(seconds=1))
    return f"bcc-{token}@{DOMAIN}"


def factory_dropbox(here: Edge, token: str) -> dropboxes.Dropbox:
    return dropboxes.Dropbox(
        id=factory.ids(here.clock).dropbox(),
        org=here.organisation.id,
        user=here.user.id,
        token=token,
        created_at=here.clock.now(),
        valid_until=None,
        last_used_at=None,
    )


@pytest.mark.parametrize("content", [b"", b"\r\n", b"\r\njust text\r\n", b"no header at all\r\n", b"Subject: only\r\n"])
async def test_odd_content_is_taken_as_it_is(here: Edge, content: bytes) -> None:
    async with connected(here.port()) as client:
        await client.ehlo()
        assert (await client.mail(here.address, content)).code == 250
    (arrival,) = await here.arrivals()
    raw = await here.raw(arrival)
    assert raw.endswith(content)
    assert raw.startswith(b"Return-Path:")
