"""O11: a site that asks for less gets less until it recovers, a dead one is left alone, and nobody else notices (N12, N14)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from structlog.typing import EventDict

from mailrelay.model.delivery import Deferred, DeliveryState, Stage
from mailrelay.model.reply import reply
from mailrelay.model.way import Way
from mailrelay.outbound.policy.shaping import Condition
from mailrelay.outbound.shaper import Shaper, WayState
from tests.support.answers import Zone
from tests.support.cli import Cli
from tests.support.http import serving
from tests.support.outbound import Relay, relay, until
from tests.support.remote import Remote, remote

SLOW, FAST, DEAD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
ZONE = Zone(
    {
        ("MX", "slow.test"): "mx.slow.test",
        ("MX", "also-slow.test"): "mx2.slow.test",
        ("MX", "fast.test"): "mx.fast.test",
        ("MX", "dead.test"): "mx.dead.test",
        ("A", "mx.slow.test"): SLOW,
        ("A", "mx2.slow.test"): SLOW,
        ("A", "mx.fast.test"): FAST,
        ("A", "mx.dead.test"): DEAD,
    }
)
THROTTLE = "421 4.7.28 Our system has detected an unusual rate of mail"


@dataclass
class World:
    """A relay, a site that says what a test tells it, one that takes all, and one where nobody is."""

    us: Relay
    slow: Remote
    fast: Remote
    shaper: Shaper
    logged: list[EventDict]

    def way(self, site: str) -> WayState:
        return self.shaper.of(Way(site))

    def said(self, event: str) -> list[EventDict]:
        return [line for line in self.logged if line["event"] == event]


@asynccontextmanager
async def world(tmp_path: Path, **settings: object) -> AsyncIterator[World]:
    with structlog.testing.capture_logs() as logged:
        async with remote(host=SLOW) as slow, remote(host=FAST, port=slow.port) as fast:
            given = {"route": "mx", "port": slow.port, "answers": ZONE, "connect_timeout": 2.0, **settings}
            async with relay(tmp_path, **given) as us:
                yield World(us, slow, fast, us.shaper, logged)


def attempted(remote: Remote) -> int:
    return remote.verbs().count("MAIL")


async def test_fault_n12_a_throttled_site_gets_less_and_recovers_while_others_go_on(tmp_path: Path):
    async with world(tmp_path, first_retry=60.0) as at:
        for _ in range(3):
            await at.us.submit("bob@slow.test")
        at.slow.say("MAIL", *["250 ok"] * 3, *[THROTTLE] * 50)
        at.us.start()
        await until(lambda: len(at.slow.messages) == 3)
        waiting = [await at.us.submit(f"bob@{name}.test") for name in ("slow", "also-slow") * 6]
        await until(lambda: at.way("slow.test").condition is Condition.SLOWED)
        asked = attempted(at.slow)
        first = await at.us.submit("bob@fast.test")
        await at.us.until(first)  # nobody else is held up
        await asyncio.sleep(0.1)
        assert attempted(at.slow) <= asked + 1  # what was under way
        state = at.way("slow.test")
        assert (state.allowed, state.because) == (1, THROTTLE)
        assert 0 < state.rate <= 90  # three mails were taken in a second at the most
        assert state.paused_until is not None
        assert at.way("fast.test").condition is Condition.FLOWS
        (said, *_) = at.said("way.slowed")
        assert (said["site"], said["because"], said["log_level"]) == ("slow.test", THROTTLE, "warning")

        at.slow.script["MAIL"].clear()  # it takes mail again
        async with asyncio.timeout(30):
            while len(at.slow.messages) < 15 or at.way("slow.test").condition is not Condition.FLOWS:
                at.us.clock.advance(timedelta(seconds=15))
                await asyncio.sleep(0.02)
        assert len(at.slow.messages) == 15
        for one in waiting:
            await at.us.until(one)
        assert at.way("slow.test").rate == 0
        assert at.way("slow.test").paused_until is None
        await at.us.until(await at.us.submit("bob@slow.test"))
        assert [line["was"] for line in at.said("way.recovered")] == ["slowed"]


async def test_o11_greylisting_is_no_throttle(tmp_path: Path):
    async with world(tmp_path) as at:
        at.us.start()
        at.slow.say("RCPT", "450 4.7.1 Recipient address rejected: Greylisted, come back in 5 minutes")
        grey = await at.us.submit("bob@slow.test")
        await at.us.until(grey, DeliveryState.QUEUED, attempts=1)
        await at.us.until(await at.us.submit("eva@slow.test"))
        assert at.way("slow.test").condition is Condition.FLOWS


async def test_fault_n14_a_dead_site_takes_one_connection_now_and_then_and_delays_nobody(tmp_path: Path):
    async with world(tmp_path, first_retry=5.0, longest_retry=5.0) as at:
        hopeless = [await at.us.submit("bob@dead.test") for _ in range(60)]
        at.us.start()
        await at.us.until(await at.us.submit("bob@fast.test"))
        for one in hopeless:  # each is told what the one that was tried met with
            await at.us.until(one, DeliveryState.QUEUED, attempts=1)
        state = at.way("dead.test")
        assert (state.condition, state.allowed, state.used) == (Condition.DEAD, 1, 0)
        assert "no connection" in state.because
        failed = len(at.said("hop.failed"))
        at.us.clock.advance(timedelta(seconds=10))  # all of them are due, and the site is not to be tried yet
        for one in hopeless:
            await at.us.until(one, DeliveryState.QUEUED, attempts=2)
        await asyncio.sleep(0.2)  # whoever put them off looks whether there are more
        assert len(at.said("hop.failed")) == failed
        at.us.clock.advance(timedelta(seconds=25))
        for one in hopeless:
            await at.us.until(one, DeliveryState.QUEUED, attempts=3)
        await asyncio.sleep(0.2)
        assert len(at.said("hop.failed")) == failed + 1
        async with remote(host=DEAD, port=at.slow.port) as alive:
            at.us.clock.advance(timedelta(seconds=65))
            for one in hopeless:
                await at.us.until(one)
            assert len(alive.messages) == 60
        assert at.way("dead.test").condition is Condition.FLOWS


async def test_o11_a_site_with_limits_of_its_own(tmp_path: Path):
    limits = {"sites": [{"site": "slow.test", "connections": 1, "rate": 30}]}
    async with world(tmp_path, shaping=limits) as at:
        for _ in range(12):
            await at.us.submit("bob@slow.test")
        at.us.start()
        await until(lambda: len(at.slow.messages) == 5)  # ten seconds of its rate at once
        await asyncio.sleep(0.1)
        assert len(at.slow.messages) == 5
        for second in range(1, 15):
            at.us.clock.advance(timedelta(seconds=1))
            await asyncio.sleep(0.05)
            assert len(at.slow.messages) <= 5 + second / 2
        await until(lambda: len(at.slow.messages) >= 11)
        assert at.way("slow.test").connections == 1


async def test_o11_the_operator_sees_it(tmp_path: Path):
    with structlog.testing.capture_logs():
        async with serving(tmp_path) as api:
            cli = Cli(api.server.unix_socket)
            assert (await cli("shaping", "list")).out == "No mail has gone to any site since the daemon started.\n"
            assert (await cli("shaping", "list", "--troubled")).out == "No site is slowed, dead or shut.\n"
            assert (await api.web.get("/api/v1/shaping")).status == 403
            shaper = api.application.shaper
            for site in ("google.com", "b.test"):
                shaper.ask(Way(site, "second"))
            rude = reply(421, "4.7.0", "\x1b[31mtoo many connections")
            shaper.ended(Way("b.test", "second"), [Deferred(reply=rude, stage=Stage.CONNECT)])
            one, other = (await api.local.get("/api/v1/shaping")).json["items"]
            assert (one["site"], one["source"], one["condition"]) == ("b.test", "second", "slowed")
            assert one["because"] == "421 4.7.0 \\x1b[31mtoo many connections"
            assert (other["site"], other["used"], other["allowed"], other["connections"]) == ("google.com", 1, 2, 20)
            shown = (await cli("shaping", "list", "--troubled")).out
            assert "b.test" in shown
            assert "google.com" not in shown
            text = (await api.ops.get("/metrics")).body.decode()
            assert 'mailrelay_shaping_ways{state="slowed"} 1.0' in text
            assert 'mailrelay_shaping_ways{state="flows"} 1.0' in text
