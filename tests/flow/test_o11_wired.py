"""O11: what the daemon makes of its configuration, from end to end: DANE, MTA-STS, private addresses, suspended sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.envelope import Channel, EnvelopeRecipient
from mailrelay.model.organisation import Organisation, User
from mailrelay.model.sts import KeptPolicy, Mode, Policy
from mailrelay.outbound.policy.route import Target
from mailrelay.outbound.submit import Submission
from mailrelay.smtp.address import parse_address
from mailrelay.store import deliveries, sts_policies
from tests.support import factory
from tests.support.cli import Relay, relay
from tests.support.remote import Remote, remote
from tests.support.tls_peers import shown

ZONE = """
plain.test. IN MX 10 mx.plain.test.
mx.plain.test. IN A 127.0.0.1
dane.test. IN MX 10 mx.dane.test.
mx.dane.test. IN A 127.0.0.1
sts.test. IN MX 10 mx.sts.test.
mx.sts.test. IN A 127.0.0.1
_mta-sts.sts.test. IN TXT "v=STSv1; id=1;"
_mta-sts.hostile.test. IN TXT "v=STSv1; id=1;"
mta-sts.hostile.test. IN A 127.0.0.1
"""
QUEUED, SENT = DeliveryState.QUEUED, DeliveryState.SENT


@dataclass
class World:
    at: Relay
    sink: Remote
    org: Organisation
    anna: User

    async def send(self, to: str, true: Callable[[Delivery], bool]) -> Delivery:
        """A mail, once it is as it should be."""
        app = self.at.running.application
        raw = f"From: {self.anna.primary}\r\nTo: {to}\r\nSubject: hello\r\n\r\nbody\r\n"
        submitted = await app.submitter.submit(
            Submission(
                org=self.org.id,
                user=self.anna.id,
                channel=Channel.API,
                mail_from=self.anna.primary,
                recipients=(EnvelopeRecipient(address=parse_address(to)),),
                raw=raw.encode(),
            )
        )
        async with asyncio.timeout(30):
            while not true(  # noqa: ASYNC110 (what is waited for has no event)
                found := await app.store.read(deliveries.get, self.org.id, submitted.deliveries[0])
            ):
                await asyncio.sleep(0.01)
        return found


def sent(one: Delivery) -> bool:
    return one.state is SENT


def put_off(one: Delivery) -> bool:
    return one.state is QUEUED and one.attempts == 1


@asynccontextmanager
async def world(folder: Path, sink: Remote, *, trust_ad: bool = False, **delivery: Any) -> AsyncIterator[World]:
    settings = {"route": "mx", "port": sink.port, "allow_private": True, **delivery}
    async with relay(folder, zone=ZONE, trust_ad=trust_ad, delivery=settings) as at:
        app = at.running.application
        org = await factory.org(app.store, app.clock, domains=("acme.test",))
        yield World(at, sink, org, await factory.user(app.store, app.clock, org, "anna@acme.test"))


async def test_mail_waits_for_hosts_that_are_not_what_tlsa_records_and_mta_sts_policies_demand(tmp_path: Path) -> None:
    # Its certificate is of an authority that nobody trusts: good enough where nothing is demanded.
    async with remote(certificate=shown("mx.sts.test").context()) as sink, world(tmp_path, sink, trust_ad=True) as us:
        us.at.dns.add(f"_{sink.port}._tcp.mx.dane.test. IN TLSA {shown('mx.dane.test').tlsa(3, 1, 1)}")
        us.at.dns.secure.add("*")
        app = us.at.running.application
        now = app.clock.now()
        policy = Policy(mode=Mode.ENFORCE, max_age=timedelta(days=7), mx=("mx.sts.test",))
        kept = KeptPolicy(domain="sts.test", id="1", policy=policy, fetched_at=now)
        await app.store.write(sts_policies.put, kept, now=now)

        by_dane = await us.send("bob@dane.test", put_off)
        assert "TLSA records of" in by_dane.last_reply
        by_sts = await us.send("bob@sts.test", put_off)
        assert "MTA-STS: the policy of sts.test" in by_sts.last_reply
        assert sink.messages == []
        assert "MAIL" not in sink.verbs()
        await us.send("bob@plain.test", sent)
        assert sink.messages[0].tls


async def test_without_a_resolver_to_believe_tlsa_records_demand_nothing(tmp_path: Path) -> None:
    async with remote(certificate=shown("mx.dane.test").context()) as sink, world(tmp_path, sink) as us:
        us.at.dns.add(f"_{sink.port}._tcp.mx.dane.test. IN TLSA {shown('mx.dane.test').tlsa(3, 1, 1)}")
        us.at.dns.secure.add("*")
        await us.send("bob@dane.test", sent)


async def test_fault_w02_no_policy_is_fetched_from_a_private_address_unless_allowed(tmp_path: Path) -> None:
    public = (Target(host="mx.hostile.test", ip="198.41.0.4"),)
    said: dict[bool, str] = {}
    async with remote() as sink:
        for allowed in (False, True):
            async with world(tmp_path / str(allowed), sink, allow_private=allowed) as us:
                await us.at.running.application.demands.for_destination("hostile.test", public)
                (said[allowed],) = (one["because"] for one in us.at.log if one["event"] == "policy.not-fetched")
    assert "private address, which is not allowed" in said[False]
    assert "private address" not in said[True]


async def test_the_sources_of_the_configuration_serve_but_not_one_that_is_suspended(tmp_path: Path) -> None:
    sources = [
        {"name": "one", "address": "127.0.0.11", "helo": "one.relay.test"},
        {"name": "two", "address": "127.0.0.12", "helo": "two.relay.test"},
    ]
    async with remote() as sink, world(tmp_path, sink, sources=sources, idle=0.1) as us:
        said = await us.at.cli("suspension", "add", "source", "one")
        assert said.status == 0, said
        for number in range(8):
            await us.send(f"r{number}@plain.test", sent)
        assert set(sink.peers) == {"127.0.0.12"}
        assert (await us.at.cli("suspension", "resume", "source", "one")).status == 0
        assert (await us.at.cli("suspension", "add", "source", "two")).status == 0
        await asyncio.sleep(1.1)  # so long what is suspended is kept in mind
        await us.send("later@plain.test", sent)
        assert sink.peers[-1] == "127.0.0.11"
