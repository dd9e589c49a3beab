"""I24: what can't be taken is refused in the dialogue, with a sentence that its author can act on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import pytest

from mailrelay.clock import Clock
from mailrelay.mail import dkim
from mailrelay.mail.dkim import KeyAlgorithm, SigningKey
from mailrelay.model.settings import OrganisationSettings, SenderCheck, Unpermitted
from mailrelay.outbound.keys import KeyPair, generate
from tests.support.edge import DOMAIN, MAIL, Edge, edge
from tests.support.smtp_client import connected
from tests.support.zone import DnsServer, Fault, dns_server

REFUSE = {"unpermitted": Unpermitted.REFUSE}
STRANGER = MAIL.replace(b"anna@example.com", b"eve@example.com")


@cache
def key() -> KeyPair:
    return generate("example.com", "s1", KeyAlgorithm.ED25519)


@pytest.fixture
async def zone() -> AsyncIterator[DnsServer]:
    async with dns_server(f'example.com. 300 IN TXT "v=spf1 -all"\n{key().dns_line}') as server:
        yield server


@pytest.fixture
async def refusing(tmp_path: Path) -> AsyncIterator[Edge]:
    async with edge(tmp_path, settings=OrganisationSettings(unpermitted=Unpermitted.REFUSE)) as here:
        yield here


async def test_an_unknown_dropbox_says_where_to_find_the_right_one(refusing: Edge) -> None:
    async with connected(refusing.port()) as client:
        await client.ehlo()
        answer = await client.mail(f"bcc-{'a' * 26}@{DOMAIN}", MAIL)
        assert str(answer).startswith("550 5.1.1 No such dropbox address here; copy your current address")


async def test_a_mail_that_is_too_large_says_how_large_it_may_be(tmp_path: Path) -> None:
    async with edge(tmp_path, max_size=1_000) as here, connected(here.port()) as client:
        await client.ehlo()
        answer = await client.mail(here.address, MAIL, params=" SIZE=2000")
        assert str(answer).startswith(
            "552 5.3.4 The message has 2000 bytes, more than the 1000 bytes this server takes"
        )
        answer = await client.mail(here.address, MAIL + b"x\r\n" * 400)
        assert "larger than the 1000 bytes this server takes" in str(answer)


async def test_a_sender_who_is_not_the_users_is_refused_by_name(refusing: Edge) -> None:
    async with connected(refusing.port()) as client:
        await client.ehlo()
        answer = await client.mail(refusing.address, STRANGER)
        assert str(answer).startswith(
            "550 5.7.1 eve@example.com is not an address of this dropbox's user; send from one of"
        )
        answer = await client.mail(refusing.address, MAIL.replace(b"From: anna@example.com\r\n", b""))
        assert str(answer).startswith("550 5.7.1 The message names no single author")
        for author in (
            b"anna@example.com",
            b"ANNA@Example.com",
            b"anna@home.test",
            b'"eve@example.com" <anna@home.test>',
        ):
            assert (await client.mail(refusing.address, MAIL.replace(b"anna@example.com", author))).code == 250
    assert len(await refusing.arrivals()) == 4


async def test_where_the_organisation_holds_or_asks_for_the_token_alone_nobody_is_refused(tmp_path: Path) -> None:
    async with edge(tmp_path) as here, connected(here.port()) as client:
        await client.ehlo()
        assert (await client.mail(here.address, STRANGER)).code == 250
        box, _ = await here.second_dropbox(unpermitted=Unpermitted.REFUSE, sender_check=SenderCheck.TOKEN)
        assert (await client.mail(f"bcc-{box.token}@{DOMAIN}", STRANGER)).code == 250


async def test_a_mail_that_another_dropbox_takes_is_taken_for_both(refusing: Edge) -> None:
    box, _ = await refusing.second_dropbox(unpermitted=Unpermitted.HOLD)
    strict, _ = await refusing.second_dropbox(**REFUSE)
    async with connected(refusing.port()) as client:
        await client.ehlo()
        both = [refusing.address, f"bcc-{box.token}@{DOMAIN}"]
        assert (await client.mail(both, STRANGER)).code == 250
        assert (await client.mail([refusing.address, f"bcc-{strict.token}@{DOMAIN}"], STRANGER)).code == 550
    assert len(await refusing.arrivals()) == 2


async def test_with_strict_checks_only_a_verified_sender_is_taken(tmp_path: Path, zone: DnsServer) -> None:
    signed = dkim.sign(
        MAIL, [SigningKey("example.com", "s1", KeyAlgorithm.ED25519, key().private_pem)], now=Clock().now()
    )
    strict = OrganisationSettings(unpermitted=Unpermitted.REFUSE, sender_check=SenderCheck.AUTHENTICATED)
    async with edge(tmp_path, settings=strict, zone=zone.address) as here, connected(here.port()) as client:
        await client.ehlo()
        answer = await client.mail(here.address, MAIL)
        assert str(answer).startswith("550 5.7.1 anna@example.com could not be verified: neither SPF nor DKIM passes")
        assert (await client.mail(here.address, signed)).code == 250
        assert (await client.mail(here.address, signed + b"changed\r\n")).code == 550
        assert len(await here.arrivals()) == 1


async def test_with_strict_checks_a_domain_that_cannot_be_asked_is_put_off(tmp_path: Path, zone: DnsServer) -> None:
    zone.fault("example.com", Fault.SERVFAIL)
    strict = OrganisationSettings(unpermitted=Unpermitted.REFUSE, sender_check=SenderCheck.AUTHENTICATED)
    async with edge(tmp_path, settings=strict, zone=zone.address) as here, connected(here.port()) as client:
        await client.ehlo()
        answer = await client.mail(here.address, MAIL)
        assert str(answer)[:9] == "451 4.4.3"
        assert await here.arrivals() == []
