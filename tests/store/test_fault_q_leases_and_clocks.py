"""Q01, Q03, Q05, D11, M09: clocks that jump, mail that our code fails on, processes that die, and mass mail that was cut off."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mailrelay.config.schema import BrakeLevels
from mailrelay.ids import NodeId
from mailrelay.model.delivery import Delivery, DeliveryState, Interrupted, Stage
from mailrelay.model.event import EventType
from mailrelay.outbound.dispatcher import Dispatcher
from mailrelay.service import Stopping
from mailrelay.store import delivery_counts, events, ledger, nodes, queue
from tests.support.answers import Zone
from tests.support.clock import FakeClock
from tests.support.outbound import Relay, relay, until
from tests.support.remote import CLOSE, SILENCE, Remote, remote

ZONE = Zone({("A", "b.test"): "127.0.0.1", ("A", "c.test"): "127.0.0.1"})
YEAR = timedelta(days=365)


class Running(FakeClock):
    """A clock that goes on by itself, and can be set."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=time.monotonic() - self._began)

    def monotonic(self) -> float:
        return super().monotonic() + time.monotonic() - self._began


def by_mx(sink: Remote, **more):
    return {"route": "mx", "port": sink.port, "answers": ZONE, "lease": 0.3, **more}


def another(us: Relay, node: str = "other") -> Dispatcher:
    """A second process's dispatcher over the same store."""
    first = us.dispatcher
    return Dispatcher(
        us.store,
        first._courier,
        first._batches._letters,
        us.clock,
        first._settings,
        node=NodeId(node),
        stopping=Stopping(),
        brakes=BrakeLevels(),
        poll=0.02,
    )


async def taken_over(us: Relay) -> Delivery:
    """What the only delivery is once another node has taken us for dead and claimed it."""
    us.dispatcher._most_held = 0  # it claims nothing more
    await us.store.write(queue.recover, NodeId("node"), now=us.clock.now())
    (one,) = await us.store.write(queue.claim, node=NodeId("other"), now=us.clock.now(), lease=timedelta(), limit=1)
    return one


async def books_balance(us: Relay) -> bool:
    return all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))


async def held_because(us: Relay) -> list[dict[str, str]]:
    told = await us.store.read(events.last, us.org.id, 1000)
    return [dict(one.data) for one in told if one.type is EventType.DELIVERY_HELD]


# --- Q05: leases ---


async def test_fault_q05_what_a_silent_process_had_taken_is_taken_up_and_a_living_one_is_left_alone(
    store, tmp_path: Path
):
    clock = Running()
    async with remote() as sink, relay(tmp_path, store=store, clock=clock, **by_mx(sink)) as us:
        submitted = await us.submit("bob@b.test", "eve@c.test")
        for name, domain in (("dead", "b.test"), ("alive", "c.test")):
            (held,) = await store.write(
                queue.claim, node=NodeId(name), now=clock.now(), lease=timedelta(), limit=1, only=[domain]
            )
            await store.write(nodes.beat, NodeId(name), at=clock.now())
            await store.write(queue.begin_attempts, [held], host="b.test", at=clock.now())
        us.start()
        bob, eve = [await us.delivery(one) for one in submitted.deliveries]
        async with asyncio.timeout(30):
            while bob.state is not DeliveryState.SENT:
                await store.write(nodes.beat, NodeId("alive"), at=clock.now())
                await asyncio.sleep(0.05)
                bob, eve = [await us.delivery(one) for one in submitted.deliveries]
        assert bob.attempts == 2
        assert (eve.state, eve.attempts) == (DeliveryState.SENDING, 1)
        assert NodeId("dead") not in await store.read(nodes.signs)
        await us.until(submitted)  # it is silent now, too
        assert await books_balance(us)


@pytest.mark.parametrize(
    "jump", [timedelta(), YEAR, timedelta(hours=-2)], ids=["no jump", "a year ahead", "two hours back"]
)
async def test_fault_q05_a_delivery_slower_than_the_lease_is_sent_once_by_one_of_two(store, tmp_path: Path, jump):
    clock = Running()
    async with remote() as sink, relay(tmp_path, store=store, clock=clock, **by_mx(sink)) as us:
        genuine = us.bodies.read

        async def read(ref):
            await asyncio.sleep(1.0)  # more than three leases
            return await genuine(ref)

        us.bodies.read = read  # type: ignore[method-assign]
        second = another(us)
        task = asyncio.create_task(second.run())
        us.start()
        submitted = await us.submit()
        await asyncio.sleep(0.3)
        clock.step(jump)
        (sent,) = await us.until(submitted)
        await asyncio.sleep(0.5)
        second._stopping.set()
        await task
        assert sent.attempts == 1
        assert await books_balance(us)
    assert len(sink.messages) == 1


async def test_fault_q05_who_was_taken_for_dead_sends_nothing_more(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink, lease=60.0)) as us:
        reading, go_on = asyncio.Event(), asyncio.Event()
        genuine = us.bodies.read

        async def read(ref):
            reading.set()
            await go_on.wait()
            return await genuine(ref)

        us.bodies.read = read  # type: ignore[method-assign]
        us.start()
        (id_,) = (await us.submit()).deliveries
        await reading.wait()
        taken = await taken_over(us)
        us.clock.advance(timedelta(minutes=2))  # it was frozen
        go_on.set()
        await until(lambda: not us.dispatcher._held)
        assert sink.messages == []
        assert (await us.delivery(id_)).lease == taken.lease


@pytest.mark.parametrize("job", ["spring", ""], ids=["mass mail", "single mail"])
@pytest.mark.parametrize("beats", [True, False], ids=["the heartbeat wakes first", "the batch wakes first"])
async def test_fault_q05_who_was_taken_for_dead_while_the_machine_slept_sends_nothing_more(
    tmp_path: Path, *, beats: bool, job: str
):
    async with remote() as sink, relay(tmp_path, **by_mx(sink, lease=60.0)) as us:
        reading, go_on = asyncio.Event(), asyncio.Event()
        genuine = us.bodies.read

        async def read(ref):
            reading.set()
            await go_on.wait()
            return await genuine(ref)

        us.bodies.read = read  # type: ignore[method-assign]
        us.start()
        (id_,) = (await us.submit(job=job)).deliveries
        await reading.wait()
        taken = await taken_over(us)
        us.clock.sleep(timedelta(minutes=2))
        if beats:
            await us.dispatcher._leases.beat()
            assert us.dispatcher._leases.sure
        go_on.set()
        await until(lambda: not us.dispatcher._held)
        assert sink.messages == []
        assert (await us.delivery(id_)).lease == taken.lease


# --- Q01: clocks ---


async def test_fault_q01_a_year_ahead_expires_nothing_and_makes_no_storm(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", *["450 4.2.0 later"] * 50)
        us.start()
        submitted = await us.submit()
        await us.until(submitted, DeliveryState.QUEUED, attempts=1)
        us.clock.step(YEAR)
        (one,) = await us.until(submitted, DeliveryState.QUEUED, attempts=2)
        await asyncio.sleep(0.3)
        (again,) = [await us.delivery(id_) for id_ in submitted.deliveries]
        assert (again.state, again.attempts) == (DeliveryState.QUEUED, 2)
        left = one.expires_at - us.clock.now()
        assert timedelta(days=4, hours=23) < left <= timedelta(days=5)
        us.clock.step(-YEAR)  # somebody put it right: its next attempt is not in a year
        await us.dispatcher._beat()
        (one,) = await us.until(submitted, DeliveryState.QUEUED, attempts=3)
        assert one.due_at < us.clock.now() + timedelta(hours=5)
        assert one.expires_at <= us.clock.now() + timedelta(days=5)
        us.clock.advance(timedelta(days=6))
        await us.until(submitted, DeliveryState.EXPIRED)  # and it still ends


async def test_fault_q01_mail_that_was_queued_before_the_clock_went_back_goes_at_once(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        before = await us.submit()
        us.clock.step(timedelta(hours=-2))
        us.start()
        after = await us.submit("eve@b.test")
        await us.until(before)
        await us.until(after)


async def test_fault_q01_a_clock_that_jumps_each_second_sends_everything_once(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        us.start()
        made = []
        for n in range(40):
            us.clock.step((-1) ** n * timedelta(hours=n))
            made.append(await us.submit(f"r{n}@b.test"))
            await asyncio.sleep(0.01)
        for one in made:
            (sent,) = await us.until(one)
            assert sent.attempts == 1
    assert len(sink.messages) == 40


# --- D11, M09: mass mail that was cut off ---


async def test_fault_m09_mass_mail_without_an_answer_to_its_dot_is_held_and_never_sent_again_by_itself(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("DOT", CLOSE)
        submitted = await us.submit(job="spring")
        us.start()
        (one,) = await us.until(submitted, DeliveryState.HELD)
        assert one.held_by == "unconfirmed"
        (attempt,) = await us.history(one.id)
        assert attempt.dotted
        assert isinstance(attempt.outcome, Interrupted)
        (why,) = await held_because(us)
        assert why["held_by"] == "unconfirmed"
        assert "never goes out twice" in why["why"]
        us.clock.advance(timedelta(days=3))
        await us.until(await us.submit("eve@b.test", job="spring"))
        assert len(sink.messages) == 2  # it was taken, and Eve's
        assert await books_balance(us)


async def test_fault_m09_mass_mail_cut_off_before_its_dot_goes_again(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("DATA", SILENCE)
        submitted = await us.submit(job="spring")
        us.start()
        await until(lambda: bool(sink.verbs()) and sink.verbs()[-1] == "DATA")
        await us.stop(grace=0.05)
        one = await us.delivery(submitted.deliveries[0])
        assert one.state is DeliveryState.QUEUED
        (attempt,) = await us.history(one.id)
        assert (attempt.outcome, attempt.dotted) == (queue.CUT_SHORT, False)
        assert await books_balance(us)


@pytest.mark.parametrize("job", ["spring", ""], ids=["mass mail", "single mail"])
async def test_fault_d11_a_stop_in_the_middle_of_a_dot(tmp_path: Path, job: str):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("DOT", SILENCE)
        submitted = await us.submit(job=job)
        us.start()
        await until(lambda: bool(sink.verbs()) and sink.verbs()[-1] == "DATA" and sink.dialogue[-1].startswith("("))
        await us.stop(grace=0.05)
        one = await us.delivery(submitted.deliveries[0])
        assert one.state is (DeliveryState.HELD if job else DeliveryState.QUEUED)
        (attempt,) = await us.history(one.id)
        assert isinstance(attempt.outcome, Interrupted)
        assert attempt.outcome.stage is Stage.DOT
        assert await books_balance(us)


# --- Q03: poison ---


async def test_fault_q03_what_our_own_code_fails_on_three_times_is_set_aside_and_its_neighbours_go(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        poison = await us.submit("bob@b.test", raw=us.mail(body=b"poison\r\n"))
        bad = (await us.delivery(poison.deliveries[0])).raw
        genuine = us.bodies.read

        async def read(ref):
            if ref == bad:
                raise ValueError("the mail is a poem")
            return await genuine(ref)

        us.bodies.read = read  # type: ignore[method-assign]
        neighbours = await us.submit(*(f"r{n}@b.test" for n in range(20)))
        us.start()
        await us.until(neighbours)
        for attempts in (1, 2):
            (one,) = await us.until(poison, DeliveryState.QUEUED, attempts=attempts)
            assert one.faults == attempts
            us.clock.advance(one.due_at - us.clock.now())
        (one,) = await us.until(poison, DeliveryState.HELD)
        assert (one.held_by, one.faults) == ("poison", 3)
        assert "ValueError: the mail is a poem" in one.trace
        assert one.last_reply.startswith("451 4.3.0")
        (why,) = await held_because(us)
        assert "the mail is a poem" in why["trace"]
        assert (await us.store.read(delivery_counts.held_counts))["poison"] == 1
        assert await books_balance(us)


async def test_fault_q03_a_fault_that_passes_is_forgotten(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        genuine, failures = us.bodies.read, [ValueError("once"), ValueError("twice")]

        async def read(ref):
            if failures:
                raise failures.pop()
            return await genuine(ref)

        us.bodies.read = read  # type: ignore[method-assign]
        sink.say("RCPT", "450 4.2.0 later")
        submitted = await us.submit()
        us.start()
        for attempts, faults in ((1, 1), (2, 2), (3, 0)):
            (one,) = await us.until(submitted, DeliveryState.QUEUED, attempts=attempts)
            assert one.faults == faults
            us.clock.advance(one.due_at - us.clock.now())
        await us.until(submitted)


async def test_fault_q03_what_fails_outside_the_mail_is_no_fault_of_the_mails(tmp_path: Path):
    """A next hop that makes our own code raise must not have every mail to it set aside."""
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        genuine, failures = us.dispatcher._courier.deliver, [ValueError(f"number {n}") for n in range(4)]

        async def deliver(batch):
            if failures:
                raise failures.pop()
            await genuine(batch)

        us.dispatcher._courier.deliver = deliver  # type: ignore[method-assign]
        submitted = await us.submit(job="spring")
        us.start()
        for attempts in range(1, 5):
            (one,) = await us.until(submitted, DeliveryState.QUEUED, attempts=attempts)
            assert (one.faults, one.trace) == (0, "")
            assert one.last_reply.startswith("451 4.3.0")
            us.clock.advance(one.due_at - us.clock.now())
        (one,) = await us.until(submitted)
        assert one.attempts == 5
