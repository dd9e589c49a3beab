"""N14: very much mail for somebody who is dead, slow or cannot be found delays nobody else, and memory stays bounded (O11)."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from mailrelay.model.delivery import DeliveryState, DeliveryStatus
from mailrelay.model.lookup import Answer, Question
from mailrelay.model.way import Way
from mailrelay.outbound import backlog
from mailrelay.store import delivery_counts, ledger
from mailrelay.store.base import Tx
from tests.support.answers import Zone
from tests.support.many import multiply
from tests.support.outbound import Relay, relay, until
from tests.support.remote import Remote, remote

DEAD = "127.0.0.77"
ZONE = Zone({("A", "b.test"): "127.0.0.1", ("A", "dead.test"): DEAD, ("A", "slow.test"): DEAD})
MANY = 20_000


@dataclass
class Nobody:
    """A host whose connections lead nowhere: it hangs up, or says nothing for ever."""

    silent: bool
    calls: int = 0
    _open: list[asyncio.StreamWriter] = field(default_factory=list)

    async def meet(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        if self.silent:
            self._open.append(writer)
        else:
            writer.close()

    def close(self) -> None:
        for writer in self._open:
            writer.transport.abort()


@asynccontextmanager
async def nobody(port: int, *, silent: bool) -> AsyncIterator[Nobody]:
    """Somebody who takes connections at DEAD, on this port."""
    there = Nobody(silent)
    server = await asyncio.start_server(there.meet, DEAD, port)
    try:
        yield there
    finally:
        server.close()
        there.close()


def waiting_for_the_first_attempt(tx: Tx) -> int:
    (queued,) = [one for one in delivery_counts.status_counts(tx) if one.status is DeliveryStatus.QUEUED]
    return queued.count


async def queue_for(us: Relay, recipient: str, number: int) -> None:
    submitted = await us.submit(recipient)
    await us.store.write(multiply, submitted.deliveries[0], number)


async def latency(us: Relay, sink: Remote, number: int = 20) -> float:
    """Median seconds from the submission of a mail to a living host until it is there."""
    seconds = []
    for n in range(number):
        had, began = len(sink.messages), time.monotonic()
        await us.submit(f"r{n}@b.test")
        await until(lambda had=had: len(sink.messages) > had)  # type: ignore[misc]
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


async def test_fault_n14_much_mail_for_a_dead_domain_delays_nobody_and_takes_few_connections(tmp_path: Path):
    async with remote() as sink, nobody(sink.port, silent=False) as dead:
        async with relay(tmp_path, route="mx", port=sink.port, answers=ZONE) as us:
            us.start()
            await us.until(await us.submit())
            before = await latency(us, sink)
            await queue_for(us, "bob@dead.test", MANY)
            most = 0

            async def watch() -> None:
                nonlocal most
                while True:
                    most = max(most, len(us.dispatcher._held))
                    await asyncio.sleep(0.001)

            watching = asyncio.create_task(watch())
            during = await latency(us, sink)
            # What waits is put off with what one connection met with, many at a time.
            async with asyncio.timeout(60):
                while (left := await us.store.read(waiting_for_the_first_attempt)) > MANY - 2_000:  # noqa: ASYNC110 (a row)
                    await asyncio.sleep(0.1)
            watching.cancel()
            assert left
            await us.stop()
            (count,) = [one for one in await us.store.read(delivery_counts.counts) if one.state is DeliveryState.QUEUED]
            assert count.count == MANY + 1
            assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))
        assert dead.calls < 50
    assert most <= 4 * backlog.ROOM
    assert during < 3 * before + 0.4, (before, during)  # the machine has more to do meanwhile


async def test_fault_n14_somebody_who_may_be_back_is_asked_though_much_is_still_being_put_off(tmp_path: Path):
    async with (
        remote() as sink,
        nobody(sink.port, silent=False) as dead,
        relay(tmp_path, route="mx", port=sink.port, answers=ZONE) as us,
    ):
        await queue_for(us, "bob@dead.test", MANY)
        us.start()
        way = Way("dead.test")
        await until(lambda: us.shaper.met(way) is not None)
        while await us.store.read(waiting_for_the_first_attempt) > MANY - 200:  # noqa: ASYNC110 (a row)
            await asyncio.sleep(0.05)
        asked = dead.calls
        us.clock.advance(timedelta(seconds=31))
        await until(lambda: dead.calls > asked)
        assert await us.store.read(waiting_for_the_first_attempt) > MANY / 2
        await us.stop()
        assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))


async def test_fault_n14_hosts_that_say_nothing_take_their_share_of_connections_and_no_more(tmp_path: Path):
    async with (
        remote() as sink,
        nobody(sink.port, silent=True) as dead,
        relay(tmp_path, route="mx", port=sink.port, answers=ZONE) as us,
    ):
        await queue_for(us, "bob@slow.test", 2_000)
        us.start()
        await until(lambda: dead.calls > 0)
        assert await latency(us, sink) < 1
        held = [one for one in us.dispatcher._held.values() if one.address.domain == "slow.test"]
        assert len(held) <= 3 * backlog.ROOM
        assert dead.calls <= 5
        await us.stop(grace=0.1)


async def test_fault_n14_a_domain_that_dns_is_slow_for_delays_nobody(tmp_path: Path):
    class Slow:
        """DNS that never answers for some."""

        asked = 0

        async def resolve(self, question: Question) -> Answer:
            if question.name.endswith("slow.test"):
                Slow.asked += 1
                await asyncio.Event().wait()
            return ZONE(question)

    async with remote() as sink, relay(tmp_path, route="mx", port=sink.port, answers=ZONE) as us:
        us.resolver.resolve = Slow().resolve  # type: ignore[method-assign]
        await queue_for(us, "bob@slow.test", 1_000)
        await us.submit(*(f"r@{n}.slow.test" for n in range(100)))
        us.start()
        await until(lambda: Slow.asked > 50)
        assert await latency(us, sink) < 1
        assert len(us.dispatcher._held) <= 200
        await us.stop(grace=1)
        (count,) = [one for one in await us.store.read(delivery_counts.counts) if one.state is DeliveryState.QUEUED]
        assert count.count == 1_101


async def test_a_way_that_is_full_is_served_at_full_speed_and_in_turn(tmp_path: Path):
    """Many destinations that share one host: none is left behind, though there is no room for most of them at first."""
    host = {"host": "b.test", "tls": "never"}
    async with remote() as sink:
        settings = {"route": "smart_host", "smart_host": host | {"port": sink.port}, "connections_per_destination": 2}
        async with relay(tmp_path, answers=ZONE, **settings) as us:
            submitted = await us.submit(*(f"r@d{n}.test" for n in range(400)))
            us.start()
            await us.until(submitted, timeout=30)
    assert len(sink.messages) == 400 or sum(len(one.rcpt) for one in sink.messages) == 400
