"""O11: a destination, an MX site or a source is suspended and resumed, by an administrator for one organisation, by the operator for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.organisation import Organisation, User
from mailrelay.outbound.release import Releaser
from mailrelay.store import tallies
from tests.flow.test_i11_hard_and_soft import later
from tests.support import factory
from tests.support.answers import Zone
from tests.support.cli import Cli
from tests.support.http import Client, serving
from tests.support.outbound import Relay, relay
from tests.support.remote import Remote, remote

V1 = "/api/v1"
ZONE = Zone(
    {
        ("MX", "b.test"): "mx1.provider.test",
        ("MX", "c.test"): "mx2.provider.test",
        ("MX", "d.test"): "mx.d.test",
        ("A", "mx1.provider.test"): "127.0.0.1",
        ("A", "mx2.provider.test"): "127.0.0.1",
        ("A", "mx.d.test"): "127.0.0.1",
    }
)


@dataclass
class World:
    """A relay, its API as an administrator sees it, and the operator's command line."""

    us: Relay
    boss: Client
    cli: Cli
    sink: Remote
    other: Organisation
    eve: User

    async def send(self, to: str, *states: DeliveryState, **more: object) -> Delivery:
        submitted = await self.us.submit(to, **more)
        (one,) = await self.us.until(submitted, *(states or (DeliveryState.SENT,)))
        return one

    async def of_other(self, to: str, state: DeliveryState) -> Delivery:
        """Mail of another organisation."""
        raw = self.us.mail(author="eve@other.test")
        more = {"org": self.other.id, "user": self.eve.id, "mail_from": self.eve.primary, "raw": raw}
        mine, self.us.org = self.us.org, self.other
        try:
            return await self.send(to, state, **more)
        finally:
            self.us.org = mine

    async def let_go(self) -> None:
        """What the service does within a second."""
        await Releaser(self.us.store, self.us.clock, stopping=self.us.stopping).look()


@asynccontextmanager
async def world(tmp_path: Path, **settings: object) -> AsyncIterator[World]:
    with structlog.testing.capture_logs():
        async with (
            remote() as sink,
            serving(tmp_path) as api,
            relay(
                tmp_path, store=api.store, clock=api.clock, route="mx", port=sink.port, answers=ZONE, **settings
            ) as us,
        ):
            other = await factory.org(api.store, api.clock, name="Other", domains=("other.test",))
            eve = await factory.user(api.store, api.clock, other, "eve@other.test")
            _, admin = await factory.api_token(api.store, api.clock, us.org)
            us.start()
            yield World(us, api.web.bearing(admin), Cli(api.server.unix_socket), sink, other, eve)


async def test_o11_an_administrator_suspends_a_destination_for_the_organisation(tmp_path: Path):
    async with world(tmp_path) as at:
        put_off = "450 4.2.0 not now"
        at.sink.say("RCPT", put_off)
        waits = await at.send("bob@b.test", DeliveryState.QUEUED, DeliveryState.SENDING)
        await later(at.us, waits, DeliveryState.QUEUED, attempts=1)
        given = {"scope": "destination", "name": "B.test", "reason": "their host is on fire"}
        made = await at.boss.post(f"{V1}/suspensions", json=given)
        assert (made.status, made.json["name"], made.json["held"], made.json["installation"]) == (
            201,
            "b.test",
            1,
            False,
        )
        assert (await at.boss.post(f"{V1}/suspensions", json=given)).status == 409
        assert (await at.us.delivery(waits.id)).held_by == "destination:b.test"
        new = await at.send("eva@b.test", DeliveryState.HELD)
        assert (new.held_by, new.attempts) == ("destination:b.test", 0)
        await at.send("bob@c.test")
        await at.of_other("bob@b.test", DeliveryState.SENT)
        (listed,) = (await at.boss.get(f"{V1}/suspensions")).json["items"]
        assert (listed["scope"], listed["name"], listed["held"]) == ("destination", "b.test", 2)
        at.us.clock.advance(timedelta(days=7))  # longer than a mail lives
        resumed = await at.boss.post(f"{V1}/suspensions/destination/b.test/resume")
        assert resumed.status == 200
        await later(at.us, waits, DeliveryState.SENT)
        await later(at.us, new, DeliveryState.SENT)
        (past,) = (await at.boss.get(f"{V1}/suspensions/destination/b.test")).json["items"]
        assert past["resumed_at"] is not None
        # No brake counts it.
        found = await at.us.store.read(tallies.list_sendings, at.us.org.id, domains_since=0, after=None, limit=10)
        assert [str(sending) for sending, _ in found] == ["domain:acme.test"]


async def test_o11_what_waits_for_an_mx_site_is_held_whatever_its_domain(tmp_path: Path):
    async with world(tmp_path) as at:
        given = {"scope": "destination", "name": "provider.test"}
        assert (await at.boss.post(f"{V1}/suspensions", json=given)).json["held"] == 0
        held = [await at.send(to, DeliveryState.HELD) for to in ("bob@b.test", "bob@c.test")]
        assert {one.held_by for one in held} == {"destination:provider.test"}
        await at.send("bob@d.test")
        assert (await at.boss.post(f"{V1}/suspensions/destination/provider.test/resume")).status == 200
        for one in held:
            await later(at.us, one, DeliveryState.SENT)


async def test_o11_one_delivery_waits(tmp_path: Path):
    async with world(tmp_path) as at:
        at.sink.say("RCPT", "450 4.2.0 not now")
        waits = await at.send("bob@b.test", DeliveryState.QUEUED, DeliveryState.SENDING)
        await later(at.us, waits, DeliveryState.QUEUED, attempts=1)
        said = await at.cli("suspension", "add", "destination", "b.test", "--installation")
        assert said.out == "The destination b.test is suspended for all organisations; 1 delivery waits.\n"


async def test_o11_the_operator_suspends_a_destination_for_all_organisations(tmp_path: Path):
    async with world(tmp_path) as at:
        said = await at.cli("suspension", "add", "destination", "b.test", "--installation", "--reason", "they asked")
        assert said.out == "The destination b.test is suspended for all organisations; 0 deliveries wait.\n"
        assert "time that it waited is not counted" in (await at.cli("suspension", "resume", "--help")).out
        mine = await at.send("bob@b.test", DeliveryState.HELD)
        theirs = await at.of_other("bob@b.test", DeliveryState.HELD)
        (listed,) = (await at.boss.get(f"{V1}/suspensions")).json["items"]
        assert (listed["name"], listed["installation"], listed["held"]) == ("b.test", True, 1)
        assert "b.test" in (await at.cli("suspension", "list", "--installation")).out
        shown = await at.cli("suspension", "show", "destination", "b.test", "--installation")
        assert "they asked" in shown.out
        # Nobody else may let it go, nor does their own resumption.
        assert (await at.boss.post(f"{V1}/suspensions/destination/b.test/resume")).status == 404
        assert (await at.boss.get(f"{V1}/installation/suspensions")).status == 403
        own = {"scope": "destination", "name": "b.test"}
        assert (await at.boss.post(f"{V1}/suspensions", json=own)).status == 201
        both = (await at.boss.get(f"{V1}/suspensions", params={"limit": "1"})).json
        assert [one["installation"] for one in both["items"]] == [False]
        rest = (await at.boss.get(f"{V1}/suspensions", params={"limit": "1", "after": both["next"]})).json
        assert [one["installation"] for one in rest["items"]] == [True]
        last = (await at.boss.get(f"{V1}/suspensions", params={"limit": "1", "after": rest["next"]})).json
        assert last == {"items": [], "next": None}
        assert (await at.boss.post(f"{V1}/suspensions/destination/b.test/resume")).status == 200
        await at.let_go()
        assert (await at.us.delivery(mine.id)).state is DeliveryState.HELD
        said = await at.cli("suspension", "resume", "destination", "b.test", "--installation")
        assert said.out == "The destination b.test is resumed for all organisations.\n"
        await at.let_go()
        await later(at.us, mine, DeliveryState.SENT)
        at.us.org = at.other
        await later(at.us, theirs, DeliveryState.SENT)


async def test_o11_one_organisation_holds_on_when_the_operator_resumes(tmp_path: Path):
    async with world(tmp_path) as at:
        assert (await at.boss.post(f"{V1}/suspensions", json={"scope": "destination", "name": "b.test"})).status == 201
        await at.cli("suspension", "add", "destination", "b.test", "--installation")
        mine = await at.send("bob@b.test", DeliveryState.HELD)
        theirs = await at.of_other("bob@b.test", DeliveryState.HELD)
        await at.cli("suspension", "resume", "destination", "b.test", "--installation")
        await at.let_go()
        assert (await at.us.delivery(mine.id)).state is DeliveryState.HELD
        at.us.org = at.other
        await later(at.us, theirs, DeliveryState.SENT)


async def test_o11_the_operator_alone_suspends_sources(tmp_path: Path):
    sources = [{"name": "one", "address": "127.0.0.1", "domains": ["acme.test"]}]
    async with world(tmp_path, sources=sources) as at:
        refused = await at.boss.post(f"{V1}/suspensions", json={"scope": "source", "name": "one"})
        assert refused.status == 403
        assert "the operator" in refused.json["detail"]
        assert (await at.boss.post(f"{V1}/suspensions/source/one/resume")).status == 403
        assert "There is no source of this name" in (await at.cli("suspension", "add", "source", "two")).error
        wrong = await at.cli("suspension", "add", "job", "spring", "--installation")
        assert "must be destination or source" in wrong.error


async def test_o11_what_leaves_by_a_suspended_source_waits_when_there_is_no_other(tmp_path: Path):
    async with world(tmp_path) as at:
        assert "suspended for all" in (await at.cli("suspension", "add", "source", "default")).out
        held = await at.send("bob@b.test", DeliveryState.HELD)
        assert held.held_by == "source:default"
        assert "source" in (await at.cli("suspension", "list", "--installation")).out
        assert "resumed" in (await at.cli("suspension", "resume", "source", "default")).out
        await at.let_go()
        await later(at.us, held, DeliveryState.SENT)
