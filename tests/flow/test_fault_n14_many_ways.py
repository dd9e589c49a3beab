"""N14: mail for one domain goes many ways; one that takes nothing now stops nobody's that takes another (O11)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.smart_host import HostScope
from mailrelay.model.way import Way
from mailrelay.outbound import backlog
from mailrelay.store import destinations
from mailrelay.store.base import Tx
from mailrelay.store.tables import delivery
from tests.flow import test_o11_smart_hosts as smart_hosts
from tests.flow import test_o11_sources as sources
from tests.support.many import multiply
from tests.support.outbound import Relay, relay, until
from tests.support.remote import Remote, remote

MANY = 5 * backlog.ROOM
SLOWER = "421 4.7.0 too many, slow down"


def most_claims(tx: Tx) -> int:
    """How often the same delivery was claimed."""
    return tx.execute(select(func.max(delivery.c.fence))).scalar_one()


async def paused(us: Relay, way: Way) -> float:
    """Seconds for which the way takes nothing, once it does."""
    await until(lambda: us.shaper.of(way).paused_until is not None)
    then = us.shaper.of(way).paused_until
    return 0.0 if then is None else (then - us.clock.now()).total_seconds()


async def others_go(us: Relay, sink: Remote, recipient: str) -> None:
    """Bob's mail for the same domain arrives, though time stands still."""
    await us.until(
        await us.submit(recipient, user=us.bob.id, mail_from=us.bob.primary, raw=us.mail("bob@acme.test")), timeout=5
    )
    assert sink.messages[-1].rcpt == [f"<{recipient}>"]
    found = await us.store.read(destinations.get, "b.test")
    assert found is None or found.parked_until is None


async def test_fault_n14_an_organisations_slow_smart_host_stops_nobody_elses_mail_for_the_domain(tmp_path: Path):
    async with (
        remote() as direct,
        smart_hosts.host() as annas,
        relay(tmp_path, **smart_hosts.settings(direct)) as us,
    ):
        annas.say("MAIL", *[SLOWER] * 40)
        made = await smart_hosts.own(us, annas, HostScope.USER, us.anna.id)
        way = Way("localhost", smart_host=made.id, relay=True)
        waiting = await us.submit(*(f"r{n}@b.test" for n in range(MANY)))
        us.start()
        # A short pause: what has no room in the line goes back.
        assert await paused(us, way) == 5
        await others_go(us, direct, "first@b.test")
        # A long one: what is in the line goes back too.
        us.clock.advance(timedelta(seconds=6))
        assert await paused(us, way) == 10
        await others_go(us, direct, "second@b.test")
        assert not annas.messages
        annas.script.clear()
        async with asyncio.timeout(30):
            while not all([(await us.delivery(one)).state is DeliveryState.SENT for one in waiting.deliveries]):
                us.clock.advance(timedelta(minutes=1))
                await asyncio.sleep(0.05)
    assert sum(len(one.rcpt) for one in annas.messages) == MANY
    assert len(direct.messages) == 2


async def test_fault_n14_a_source_that_is_throttled_stops_no_mail_by_another(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **sources.settings(sink, sources.ACME)) as us:
        slow = await us.submit()
        await us.store.write(multiply, slow.deliveries[0], MANY)
        sink.say("MAIL", *[SLOWER] * 40)
        us.start()
        assert await paused(us, Way("localhost", source="acme")) == 5
        us.clock.advance(timedelta(seconds=6))
        assert await paused(us, Way("localhost", source="acme")) == 10
        sink.script.clear()
        home = await us.submit("eve@b.test", mail_from=us.anna.alternates[0], raw=us.mail("anna@home.test"))
        await us.until(home)
        assert [one.rcpt for one in sink.messages] == [["<eve@b.test>"]]
        found = await us.store.read(destinations.get, "b.test")
        assert found is not None
        assert found.parked_until is None


async def test_what_waits_for_its_way_is_not_claimed_over_and_over(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **sources.settings(sink)) as us:
        first = await us.submit()
        await us.store.write(multiply, first.deliveries[0], MANY)
        sink.say("MAIL", *[SLOWER] * 40)
        us.start()
        assert await paused(us, Way("localhost")) == 5
        await asyncio.sleep(0.2)  # there is more than the line has room for
        us.clock.advance(timedelta(seconds=6))
        assert await paused(us, Way("localhost")) == 10
        await asyncio.sleep(0.2)
        before = await us.store.read(most_claims)
        await asyncio.sleep(1.0)
        assert await us.store.read(most_claims) <= before + 1
        parked = await us.store.read(destinations.get, "b.test")
        assert parked is not None
        assert parked.parked_until is not None
        assert parked.parked_until > us.clock.now()
