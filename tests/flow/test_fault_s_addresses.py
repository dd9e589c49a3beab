"""Faults S13, S21–S24: who a mail is for, and what its header claims."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import pytest
from sqlalchemy import event

from mailrelay.ids import DeliveryId, Digest
from mailrelay.inbound.ended import EndedAddresses
from mailrelay.inbound.recipient import Recipients, Target
from mailrelay.mail import record_address, return_path
from mailrelay.model.address import Address
from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.envelope import Channel, EnvelopeRecipient, MailParams
from mailrelay.model.message import BlobRef
from mailrelay.model.reply import Reply
from mailrelay.smtp import codes
from mailrelay.store import dropboxes, filing_addresses, people, queue
from tests.support import factory
from tests.support.edge import BOUNCES, DOMAIN, MAIL, SECRET, Edge, edge
from tests.support.smtp_client import SmtpClient, connected


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Edge]:
    async with edge(tmp_path, max_errors=1_000) as running:
        yield running


@pytest.fixture
async def client(here: Edge) -> AsyncIterator[SmtpClient]:
    async with connected(here.port()) as connection:
        await connection.ehlo()
        await connection.say("MAIL FROM:<anna@example.com>")
        yield connection


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f'<"bcc-x@y"@{DOMAIN}>', "550 5.7.1"),
        ("<a@[192.0.2.1]>", "550 5.7.1"),
        ("<a@[IPv6:2001:db8::1]>", "550 5.7.1"),
        ("<a@[300.0.0.1]>", "501 5.1.3"),
        (f"<{'a' * 64}@{DOMAIN}>", "550 5.1.1"),
        (f"<{'a' * 65}@{DOMAIN}>", "501 5.1.3"),
        (f"<a@{'d' * 63}.{'d' * 63}.{'d' * 63}.{'d' * 63}>", "550 5.7.1"),
        (f"<a@{'d' * 63}.{'d' * 63}.{'d' * 63}.{'d' * 63}.d>", "501 5.1.3"),
        (f"<a@{DOMAIN}.>", "501 5.1.3"),
        (f"<a(comment)@{DOMAIN}>", "501 5.1.3"),
        (f"<a b@{DOMAIN}>", "501 5.1.3"),
        (f"a@{DOMAIN}", "501 5.5.4"),
        ("<>", "501 5.1.3"),
    ],
)
async def test_fault_s13_addresses_are_read_as_the_rfc_says(client: SmtpClient, path: str, code: str) -> None:
    assert str(await client.say(f"RCPT TO:{path}"))[:9] == code
    assert (await client.say("NOOP")).code == 250


async def test_fault_s13_a_source_route_is_stripped(here: Edge, client: SmtpClient) -> None:
    assert (await client.say(f"RCPT TO:<@relay.test,@other.test:{here.address}>")).code == 250


async def test_fault_s21_unknown_revoked_disabled_and_malformed_dropboxes_are_refused_alike(here: Edge) -> None:
    revoked, revoked_user = await here.second_dropbox()
    await here.store.write(dropboxes.disable, revoked.org, revoked_user.id, now=here.clock.now() - timedelta(seconds=1))
    inactive, inactive_user = await here.second_dropbox()
    await here.store.write(people.deactivate, inactive.org, inactive_user.id)
    locals_ = [
        f"bcc-{revoked.token}",
        f"bcc-{inactive.token}",
        f"bcc-{'a' * 26}",
        "bcc-",
        here.dropbox.token,
        f"bcc_{here.dropbox.token}",
        f"bcc-{here.dropbox.token}x",
        "info",
        "x" * 64,
        "r-",
        forged(here),
        forged(here, secret=b"another secret of thirty-two octets"),
    ]
    answers = set()
    async with connected(here.port()) as client:
        await client.ehlo()
        await client.say("MAIL FROM:<anna@example.com>")
        for local in locals_:
            answers.add(str(await client.say(f"RCPT TO:<{local}@{DOMAIN}>")))
    assert len(answers) == 1
    (answer,) = answers
    assert answer.startswith("550 5.1.1 ")


def forged(here: Edge, secret: bytes = SECRET) -> str:
    """A record's address with a wrong signature (I21)."""
    token = record_address.RecordAddressToken(here.organisation.id, 1, None)
    local = record_address.make(token, secret, DOMAIN).local
    return local[:-1] + ("0" if local[-1] != "0" else "1")


async def revoked_address(here: Edge, ended: EndedAddresses) -> str:
    """A record's address that was revoked, which the door has heard of."""
    await factory.record(here.store, here.clock, here.organisation, "contact/1")
    made = await factory.record_address(here.store, here.clock, here.organisation, "contact/1")
    before = here.clock.now() - timedelta(seconds=1)
    assert await here.store.write(filing_addresses.end, made, until=before, by="U1", at=before)
    await ended.look()
    token = record_address.RecordAddressToken(made.org, made.number, None)
    return record_address.make(token, SECRET, DOMAIN).local


async def refused_addresses(here: Edge, ended: EndedAddresses) -> list[Address]:
    """A revoked dropbox, one of an inactive user, a well-formed one that never was, what is no dropbox at all; and of records."""
    revoked, revoked_user = await here.second_dropbox()
    await here.store.write(dropboxes.disable, revoked.org, revoked_user.id, now=here.clock.now() - timedelta(seconds=1))
    inactive, inactive_user = await here.second_dropbox()
    await here.store.write(people.deactivate, inactive.org, inactive_user.id)
    locals_ = (f"bcc-{revoked.token}", f"bcc-{inactive.token}", f"bcc-{'a' * 26}", "info")
    locals_ += (forged(here), await revoked_address(here, ended))
    return [Address(local, DOMAIN) for local in locals_]


def recipients_of(here: Edge, ended: EndedAddresses, kind: type[Recipients] = Recipients) -> Recipients:
    return kind(
        here.store,
        here.clock,
        hostname="mx.test",
        domains=(DOMAIN,),
        bounce_domain=BOUNCES,
        secrets=(SECRET,),
        ended=ended,
    )


class Telling(Recipients):
    """Asks once more about a dropbox that was there: what the two tests below must notice."""

    async def resolve(self, address: Address) -> Target | Reply:
        found = await super().resolve(address)
        if address.local.startswith("bcc-") and not address.local.endswith("aaa"):
            await super().resolve(address)
        return found


@pytest.mark.parametrize(("kind", "alike"), [(Recipients, True), (Telling, False)])
async def test_fault_s21_unknown_and_revoked_ask_the_store_the_same(
    here: Edge, kind: type[Recipients], alike: bool
) -> None:
    asked: list[str] = []
    ended = EndedAddresses(here.store, here.clock)
    recipients, addresses = recipients_of(here, ended, kind), await refused_addresses(here, ended)

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    event.listen(here.store.engine, "before_cursor_execute", note)
    seen = set()
    for address in addresses:
        asked.clear()
        assert await recipients.resolve(address) is codes.NO_SUCH_DROPBOX
        assert asked
        seen.add(tuple(asked))
    event.remove(here.store.engine, "before_cursor_execute", note)
    assert (len(seen) == 1) is alike


async def test_fault_s21_unknown_and_revoked_take_the_same_time(here: Edge) -> None:
    ended = EndedAddresses(here.store, here.clock)
    addresses = await refused_addresses(here, ended)
    assert await apart(recipients_of(here, ended), addresses) < 1.4
    assert await apart(recipients_of(here, ended, Telling), addresses) > 1.4  # the measure can tell


async def apart(recipients: Recipients, addresses: list[Address], *, rounds: int = 50) -> float:
    """How many times longer the slowest address takes than the quickest: medians, taken in turns, the best of three."""
    ratios = []
    for _ in range(3):
        took: dict[str, list[float]] = {address.local: [] for address in addresses}
        for _ in range(rounds):
            for address in addresses:
                began = perf_counter()
                await recipients.resolve(address)
                took[address.local].append(perf_counter() - began)
        medians = [median(times) for times in took.values()]
        ratios.append(max(medians) / min(medians))
    return min(ratios)


RELAYS = [
    "a@elsewhere.test",
    f"a%elsewhere.test@{DOMAIN}",
    f"elsewhere.test!a@{DOMAIN}",
    f'"a@elsewhere.test"@{DOMAIN}',
    f'"a%elsewhere.test"@{DOMAIN}',
    f'"elsewhere.test!a"@{DOMAIN}',
    f"a@elsewhere.test@{DOMAIN}",
    f"@{DOMAIN}:a@elsewhere.test",
    f"@{DOMAIN},@other.test:a@elsewhere.test",
    f"elsewhere.test!a%b@{DOMAIN}",
    "a%elsewhere.test",
    "elsewhere.test!a",
    '"a@elsewhere.test"',
    "a@[192.0.2.1]",
    f"a%elsewhere.test@{BOUNCES}",
    f'"a@elsewhere.test"@{BOUNCES}',
    f"a%elsewhere.test%{DOMAIN}@{DOMAIN}",
    "a%elsewhere.test@[127.0.0.1]",
    "a@mx.test",
    "a@localhost",
    f"a@x.{DOMAIN}",
    f"a@{DOMAIN}.elsewhere.test",
    "anna@example.com",
]


async def test_fault_s22_nothing_is_relayed_in_any_disguise(here: Edge, client: SmtpClient) -> None:
    for path in RELAYS:
        assert str(await client.say(f"RCPT TO:<{path}>"))[:9] == "550 5.7.1", path
    assert str(await client.say("DATA"))[:9] == "554 5.5.1"


async def test_fault_b03_only_a_return_path_that_we_signed_for_a_delivery_is_taken(
    here: Edge, client: SmtpClient
) -> None:
    now = here.clock.now()
    ours = return_path.make(DeliveryId("D" + "0" * 20), SECRET, BOUNCES, now=now)
    forged = return_path.make(DeliveryId("D" + "0" * 20), b"another secret", BOUNCES, now=now)
    old = return_path.make(DeliveryId("D" + "0" * 20), SECRET, BOUNCES, now=now - timedelta(days=90))
    for address in (ours, forged, old, Address("mailer-daemon", BOUNCES)):  # `ours` names a delivery that never was
        assert str(await client.say(f"RCPT TO:<{address}>"))[:9] == "550 5.1.1"
    assert (await client.say(f"RCPT TO:<postmaster@{BOUNCES}>")).code == 250


async def test_a_valid_return_path_is_an_arrival_of_its_delivery(here: Edge, client: SmtpClient) -> None:
    delivery = await factory_delivery(here)
    path = return_path.make(delivery, SECRET, BOUNCES, now=here.clock.now())
    assert (await client.say(f"RCPT TO:<{str(path).upper()}>")).code == 250
    await client.say("DATA")
    assert (await client.content(MAIL)).code == 250
    (arrival,) = await here.arrivals()
    assert arrival.channel.value == "bounce"
    assert arrival.org == here.organisation.id
    assert arrival.target is not None
    assert arrival.target.delivery == delivery


async def factory_delivery(here: Edge) -> DeliveryId:
    """A delivery as `outbound` writes it."""
    ids, now = factory.ids(here.clock), here.clock.now()
    new = Delivery(
        id=ids.delivery(),
        org=here.organisation.id,
        message=ids.message(),
        queue_id=ids.queue(),
        channel=Channel.API,
        mail_from=here.user.primary,
        params=MailParams(),
        recipient=EnvelopeRecipient(address=Address("bob", "customer.test")),
        state=DeliveryState.QUEUED,
        raw=BlobRef(digest=Digest("0" * 64), size=1),
        created_at=now,
        due_at=now,
        expires_at=now + timedelta(days=5),
        attempts=0,
        last_reply="",
        lease=None,
    )
    await here.store.write(queue.enqueue, [new])
    return new.id


async def test_fault_s23_a_mail_that_goes_round_is_refused(here: Edge, client: SmtpClient) -> None:
    loops = [
        b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n" * 60 + MAIL,
        f"Delivered-To: {here.address}\r\n".encode() + MAIL,
        f"DELIVERED-TO: <{here.address.upper()}>\r\n".encode() + MAIL,
    ]
    await client.say("RSET")
    for content in loops:
        answer = await client.mail(here.address, content)
        assert str(answer)[:9] == "554 5.4.6"
    fifty = b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n" * 50 + MAIL
    assert (await client.mail(here.address, fifty)).code == 250
    assert (await client.mail(here.address, b"Delivered-To: anna@example.com\r\n" + MAIL)).code == 250


async def test_fault_s24_what_only_we_may_say_is_removed(here: Edge, client: SmtpClient) -> None:
    forged = (
        b"Authentication-Results: mx.test; spf=pass\r\n smtp.mailfrom=example.com\r\n"
        b"authentication-results: (c) MX.Test 1; dkim=pass\r\n"
        b"Authentication-Results: elsewhere.test; spf=pass\r\n"
        b"X-Mailrelay-Queue-Id: Q1\r\nX-MAILRELAY-user: U1\r\n\tfolded\r\n"
        b"Return-Path: <ceo@example.com>\r\n"
    )
    await client.say("RSET")
    assert (await client.mail(here.address, forged + MAIL)).code == 250
    (arrival,) = await here.arrivals()
    raw = await here.raw(arrival)
    assert raw.endswith(b"\r\nAuthentication-Results: elsewhere.test; spf=pass\r\n" + MAIL)
    assert raw.lower().count(b"authentication-results") == 1
    assert b"mailrelay-" not in raw.lower()
    assert raw.count(b"Return-Path:") == 1


async def test_fault_s24_our_words_in_the_body_are_only_words(here: Edge, client: SmtpClient) -> None:
    await client.say("RSET")
    body = b"X-Mailrelay-User: U1\r\nDelivered-To: " + here.address.encode() + b"\r\n"
    assert (await client.mail(here.address, MAIL + body)).code == 250
    (arrival,) = await here.arrivals()
    assert (await here.raw(arrival)).endswith(MAIL + body)
