"""O2: nobody sends as another, and until its domain has proved itself mail leaves on its behalf."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mailrelay.errors import Invalid, NotPermitted
from mailrelay.mail.dkim import KeyAlgorithm, SigningKey, verify
from mailrelay.mail.headers import HeaderBlock
from mailrelay.model.message import Verdict
from mailrelay.model.organisation import Role
from mailrelay.outbound import keys
from mailrelay.smtp.address import parse_address
from mailrelay.store import dkim_keys, domains, ledger
from tests.support import factory
from tests.support.answers import Zone, ask_sync
from tests.support.outbound import Relay, relay, until


async def make_keys(us: Relay, domain: str) -> dict[tuple[str, str], str]:
    """Keys of both algorithms for a domain; the zone that publishes them."""
    zone = {}
    for algorithm, selector in ((KeyAlgorithm.RSA, "r"), (KeyAlgorithm.ED25519, "e")):
        pair = keys.generate(domain, selector, algorithm)
        key = dkim_keys.DkimKey(
            key=SigningKey(domain, selector, algorithm, pair.private_pem),
            public_b64=pair.public,
            created_at=us.clock.now(),
            active_from=us.clock.now(),
            retired_at=None,
        )
        await us.store.write(dkim_keys.add, key)
        zone["TXT", pair.dns_name] = pair.dns_text
    return zone


async def sent(us: Relay, **more) -> bytes:
    submitted = await us.submit(**more)
    us.start()
    await us.until(submitted)
    return (us.sent / f"{submitted.deliveries[0]}.eml").read_bytes()


@pytest.mark.parametrize(
    ("header", "mail_from"),
    [
        ("bob@acme.test", "anna@acme.test"),
        ("anna@acme.test", "bob@acme.test"),
        ("x@else.test", "anna@acme.test"),
        ("ceo@acme.test", "anna@acme.test"),
        ("anna@acme.test", "ceo@acme.test"),
    ],
)
async def test_fault_a09_another_sender_is_refused_and_nothing_is_queued(tmp_path: Path, header: str, mail_from: str):
    async with relay(tmp_path) as us:
        with pytest.raises(NotPermitted) as refused:
            await us.submit(raw=us.mail(header), mail_from=parse_address(mail_from))
        assert str(refused.value.reply).startswith("553 5.7.1")
        assert await us.store.read(ledger.balance) == []


@pytest.mark.parametrize("own", ["anna@acme.test", "anna@home.test", "anna+news@acme.test"])
async def test_one_may_send_as_ones_own_addresses(tmp_path: Path, own: str):
    async with relay(tmp_path) as us:
        assert (await us.submit(raw=us.mail(own), mail_from=parse_address(own))).deliveries


async def test_an_administrator_may_send_as_what_no_user_has_and_as_nobody_else(tmp_path: Path):
    async with relay(tmp_path) as us:
        cleo = await factory.user(us.store, us.clock, us.org, "cleo@acme.test", role=Role.ADMINISTRATOR)
        info = parse_address("info@acme.test")
        assert (await us.submit(user=cleo.id, raw=us.mail(str(info)), mail_from=info)).deliveries
        for other in ("bob@acme.test", "anna@home.test", "info@else.test"):
            with pytest.raises(NotPermitted, match=r"cleo@acme\.test, what no user has of acme\.test"):
                await us.submit(user=cleo.id, raw=us.mail(other), mail_from=cleo.primary)


async def test_a_sender_field_of_another_is_refused_too(tmp_path: Path):
    async with relay(tmp_path) as us:
        with pytest.raises(NotPermitted):
            await us.submit(raw=us.mail(header=b"Sender: bob@acme.test\r\n"))


async def test_fault_a09_a_sub_address_that_is_another_users_own_is_refused(tmp_path: Path):
    async with relay(tmp_path) as us:
        await factory.user(us.store, us.clock, us.org, "anna+eu@acme.test")
        with pytest.raises(NotPermitted):
            await us.submit(raw=us.mail("anna+eu@acme.test"))


@pytest.mark.parametrize("name", ["Resent-From", "Resent-Sender"])
async def test_nobody_resends_as_another(tmp_path: Path, name: str):
    async with relay(tmp_path) as us:
        with pytest.raises(NotPermitted):
            await us.submit(raw=us.mail(header=f"{name}: bob@acme.test\r\n".encode()))


@pytest.mark.parametrize(
    "author",
    [
        "<bob@acme.test> <anna@acme.test>",
        "Bob <bob@acme.test> <anna@acme.test>",
        "bob@acme.test <anna@acme.test>",
        "bob@acme.test (Bob) <anna@acme.test>",
        "<@acme.test,@bob.test:anna@acme.test>",
        ", ".join([*(f"anna+{number}@acme.test" for number in range(1000)), "bob@acme.test"]).replace(", ", ",\r\n "),
    ],
    ids=["two-angles", "name-two-angles", "bare-name", "comment", "route", "behind-the-last-that-is-read"],
)
async def test_fault_a09_a_from_that_others_may_read_as_another_is_refused(tmp_path: Path, author: str):
    async with relay(tmp_path) as us:
        raw = f"From: {author}\r\nSender: anna@acme.test\r\nTo: bob@b.test\r\nSubject: hello\r\n\r\nbody\r\n".encode()
        with pytest.raises(Invalid, match="From"):
            await us.submit(raw=raw)


@pytest.mark.parametrize(
    "author", ['"Anna @ Acme" <anna@acme.test>', "anna@acme.test (Anna)", '"Anna \\"A@\\" B" <anna@acme.test>']
)
async def test_a_from_that_can_be_read_one_way_only_is_well(tmp_path: Path, author: str):
    async with relay(tmp_path) as us:
        raw = f"From: {author}\r\nTo: bob@b.test\r\nSubject: hello\r\n\r\nbody\r\n".encode()
        assert (await us.submit(raw=raw)).deliveries


async def test_before_the_proof_mail_leaves_as_the_installation_signed_by_it(tmp_path: Path):
    async with relay(tmp_path) as us:
        zone = await make_keys(us, "us.test")
        await make_keys(us, "acme.test")
        mail = await sent(us)
        results = ask_sync(verify(mail, now=us.clock.now()), Zone(zone))
    block = HeaderBlock.parse(mail)
    assert block.get("From") == "Anna <anna=acme.test@us.test>"
    assert block.get("Reply-To") == "Anna <anna@acme.test>"
    assert [(one.verdict, one.domain) for one in results] == [(Verdict.PASS, "us.test")] * 2


async def test_once_proved_mail_leaves_as_its_own_domain_signed_by_it(tmp_path: Path):
    async with relay(tmp_path) as us:
        zone = await make_keys(us, "acme.test")
        await us.store.write(domains.note_proof, us.org.id, "acme.test", proved_at=us.clock.now(), proof="ok")
        mail = await sent(us)
        results = ask_sync(verify(mail, now=us.clock.now()), Zone(zone))
    block = HeaderBlock.parse(mail)
    assert block.get("From") == "Anna <anna@acme.test>"
    assert "Reply-To" not in block
    assert [(one.verdict, one.domain) for one in results] == [(Verdict.PASS, "acme.test")] * 2


async def test_the_proof_of_another_organisation_is_nobody_elses(tmp_path: Path):
    async with relay(tmp_path) as us:
        await make_keys(us, "home.test")
        mail = await sent(us, raw=us.mail("anna@home.test"), mail_from=parse_address("anna@home.test"))
    assert HeaderBlock.parse(mail).get("From") == "Anna <anna=home.test@us.test>"


async def test_an_alternate_at_the_installations_domain_does_not_pass_for_somebody_it_stands_in_for(tmp_path: Path):
    async with relay(tmp_path) as us:
        org = await factory.org(us.store, us.clock, domains=("other.test",))
        eve = await factory.user(us.store, us.clock, org, "eve@other.test", alternates=("anna=acme.test@us.test",))
        raw = us.mail("anna=acme.test@us.test")
        submitted = await us.submit(org=org.id, user=eve.id, mail_from=eve.primary, raw=raw)
        us.start()
        letter = us.sent / f"{submitted.deliveries[0]}.eml"
        await until(letter.exists)
        author = HeaderBlock.parse(letter.read_bytes()).get("From") or ""
        assert "anna=acme.test@us.test" not in author
        assert "@us.test" in author


async def test_the_wire_shows_our_return_path_and_the_envelope_file_the_author(tmp_path: Path):
    async with relay(tmp_path) as us:
        submitted = await us.submit()
        us.start()
        await us.until(submitted)
        envelope = json.loads((us.sent / f"{submitted.deliveries[0]}.json").read_text())
    assert envelope["mail_from"].startswith("b+")
    assert envelope["mail_from"].endswith("@bounce.us.test")
    assert envelope["author"] == "anna@acme.test"
    assert envelope["rcpt_to"] == "bob@b.test"
