"""O11: mail leaves by the sources of the configuration, each with its own address and name."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.sending import EVERYBODY, Scope, Sending
from mailrelay.store import suspensions
from tests.support.answers import Zone
from tests.support.outbound import Relay, relay
from tests.support.remote import Remote, remote

ZONE = Zone(
    {
        ("MX", "b.test"): ["localhost"],
        ("A", "localhost"): "127.0.0.1",
        ("MX", "six.test"): ["host6.test"],
        ("AAAA", "host6.test"): "::1",
    }
)
ONE = {"name": "one", "address": "127.0.0.11", "helo": "one.us.test"}
TWO = {"name": "two", "address": "127.0.0.12", "helo": "two.us.test"}
ACME = {"name": "acme", "address": "127.0.0.13", "domains": ("acme.test",)}
QUEUED, SENT = DeliveryState.QUEUED, DeliveryState.SENT


def settings(sink: Remote, *sources: dict[str, Any]) -> dict[str, Any]:
    return {"route": "mx", "port": sink.port, "answers": ZONE, "sources": sources}


async def sources_of(us: Relay, *deliveries: Any) -> set[str]:
    return {(await us.history(one.id))[-1].source for one in deliveries}


async def test_each_source_connects_from_its_address_under_its_name(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **settings(sink, ONE, TWO)) as us:
        us.start()
        for number in range(12):
            await us.until(await us.submit(f"r{number}@b.test"))
        said = set(zip(sink.peers, sink.arguments("EHLO"), strict=True))
    assert said == {("127.0.0.11", "one.us.test"), ("127.0.0.12", "two.us.test")}


async def test_the_source_of_an_attempt_is_written_down_and_all_of_a_message_leave_by_one(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **settings(sink, ONE, TWO)) as us:
        us.start()
        seen = set()
        for _ in range(8):
            found = await us.until(await us.submit("a@b.test", "c@b.test", "d@b.test"))
            (name,) = await sources_of(us, *found)
            seen.add(name)
        assert seen <= {"one", "two"}


async def test_a_domain_leaves_by_the_source_that_serves_it_and_others_by_the_systems_own(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **settings(sink, ACME)) as us:
        us.start()
        acme = await us.until(await us.submit())
        home = await us.until(await us.submit(mail_from=us.anna.alternates[0], raw=us.mail("anna@home.test")))
        assert await sources_of(us, *acme) == {"acme"}
        assert await sources_of(us, *home) == {""}
    assert sink.peers[0] == "127.0.0.13"
    assert sink.arguments("EHLO") == ["us.test", "us.test"]


async def suspend(us: Relay, name: str) -> None:
    await us.store.write(
        suspensions.suspend,
        org=EVERYBODY,
        sending=Sending(Scope.SOURCE, name),
        reason="blocked",
        evidence="by hand",
        by="operator",
        at=us.clock.now(),
    )


async def test_mail_of_a_suspended_source_goes_by_the_others_and_waits_where_there_is_none(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **settings(sink, ONE, TWO)) as us:
        await suspend(us, "one")
        us.start()
        found = [(await us.until(await us.submit(f"r{n}@b.test")))[0] for n in range(6)]
        assert await sources_of(us, *found) == {"two"}
        await suspend(us, "two")
        us.clock.advance(timedelta(seconds=2))
        (held,) = await us.until(await us.submit("late@b.test"), DeliveryState.HELD)
        assert held.held_by in ("source:one", "source:two")
        assert len(sink.messages) == 6


async def test_mail_whose_source_is_suspended_after_it_was_chosen_goes_by_the_others(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **settings(sink, ONE, TWO)) as us:
        us.start()
        await us.until(await us.submit())
        await suspend(us, "one")  # which is not known here for a second
        submitted = [await us.submit(f"r{n}@b.test") for n in range(12)]
        ids = [id_ for each in submitted for id_ in each.deliveries]
        while True:  # until those of the suspended source were given back
            all_ = [await us.delivery(id_) for id_ in ids]
            if all(one.state is SENT or one.due_at > us.clock.now() for one in all_):
                break
            await asyncio.sleep(0.01)
        us.clock.advance(timedelta(seconds=2))
        found = [one for each in submitted for one in await us.until(each)]
        assert await sources_of(us, *found) == {"two"}


async def test_a_source_without_an_address_of_the_kind_puts_off_and_says_so(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **settings(sink, ONE)) as us:
        submitted = await us.submit("bob@six.test")
        us.start()
        (one,) = await us.until(submitted, QUEUED, attempts=1)
        assert "source one has no IPv6 address" in one.last_reply
    assert not sink.sessions


async def test_a_source_whose_address_is_not_here_puts_off_and_other_mail_goes(tmp_path: Path):
    gone = {"name": "gone", "address": "192.0.2.77", "domains": ("home.test",)}
    async with remote() as sink, relay(tmp_path, **settings(sink, gone, ONE)) as us:
        us.start()
        stuck = await us.submit(mail_from=us.anna.alternates[0], raw=us.mail("anna@home.test"))
        (one,) = await us.until(stuck, QUEUED, attempts=1)
        assert "assign" in one.last_reply
        await us.until(await us.submit("eve@b.test"))
        await asyncio.sleep(0)
    assert len(sink.messages) == 1
