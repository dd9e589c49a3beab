"""Destinations on both databases: who has something waiting is found, in turn, and nobody else is read (O11, N14)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, update

from mailrelay.ids import NodeId, OrgId
from mailrelay.model.delivery import Deferred, Delivery, DeliveryState, Stage
from mailrelay.model.reply import reply
from mailrelay.model.sending import Scope, Sending
from mailrelay.store import controls, deliveries, delivery_counts, destinations, ledger, queue, suspensions
from mailrelay.store.base import Store, Tx
from mailrelay.store.queue import Settlement
from mailrelay.store.tables import delivery, destination
from tests.store.explain import AnyStore, counted
from tests.store.test_queue import HERE, ORG, begin, make
from tests.support.clock import FakeClock

LATER = Deferred(reply=reply(451, "4.2.0", "later"), stage=Stage.RCPT)
LONGEST = timedelta(hours=5)


async def claim(store: Store, clock: FakeClock, *, limit: int = 50, chunk: int | None = 10, **more) -> list[Delivery]:
    return await store.write(
        queue.claim, node=HERE, now=clock.now(), lease=timedelta(), limit=limit, chunk=chunk, **more
    )


async def wakes(store: Store, name: str = "b.test") -> datetime | None:
    found = await store.read(destinations.get, name)
    return None if found is None else found.wake_at


async def test_a_destination_wakes_with_its_earliest_mail_and_goes_with_its_last(store: Store, clock: FakeClock):
    for hours in (2, 1, 3):
        await store.write(queue.enqueue, make(clock, due_at=clock.now() + timedelta(hours=hours)))
    assert await wakes(store) == clock.now() + timedelta(hours=1)
    assert await claim(store, clock) == []
    clock.advance(timedelta(hours=2))
    assert len(await claim(store, clock)) == 2
    assert await wakes(store) == clock.now() + timedelta(hours=1)
    clock.advance(timedelta(hours=1))
    (last,) = await claim(store, clock)
    assert await wakes(store) is None
    await store.write(queue.release, [last])
    assert await wakes(store) == last.due_at
    assert await claim(store, clock) == [replace(last, lease=replace(last.lease, fence=2))]


async def test_scheduled_mail_is_claimed_when_it_is_due(store: Store, clock: FakeClock):
    await store.write(
        queue.enqueue, make(clock, state=DeliveryState.SCHEDULED, due_at=clock.now() + timedelta(days=30))
    )
    assert await claim(store, clock) == []
    clock.advance(timedelta(days=30))
    (one,) = await claim(store, clock)
    assert one.state is DeliveryState.SENDING


async def test_those_with_more_go_behind_the_others_and_few_get_more(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, make(clock, 100, "much.test"))
    for name in ("a.test", "z.test"):
        clock.advance(timedelta(seconds=1))
        await store.write(queue.enqueue, make(clock, 2, name))
    first = await claim(store, clock, limit=12)
    assert [one.address.domain for one in first] == ["much.test"] * 10 + ["a.test"] * 2
    clock.advance(timedelta(seconds=1))
    second = await claim(store, clock, limit=12)
    assert {one.address.domain for one in second[:10]} == {"much.test"}
    assert {one.address.domain for one in second[10:]} == {"z.test"}
    assert len(await claim(store, clock, limit=50)) == 50  # nobody else waits


async def test_what_a_process_parked_is_looked_at_once_it_has_ended(store: Store, clock: FakeClock):
    there = NodeId("there")
    for name, by in (("a.test", HERE), ("b.test", there), ("c.test", there)):
        await store.write(queue.enqueue, make(clock, domain=name))
        held = await claim(store, clock)
        until = clock.now() + timedelta(minutes=15)
        await store.write(queue.park, held, until=until, site=name, because="it is dead", by=by)
    steps = [await store.write(destinations.unpark, there, now=clock.now(), limit=1) for _ in range(3)]
    assert steps == [1, 1, 0]
    assert {one.address.domain for one in await claim(store, clock)} == {"b.test", "c.test"}
    assert await wakes(store, "a.test") == clock.now() + timedelta(minutes=15)


async def test_what_is_parked_is_not_looked_at_unless_it_is_named(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, make(clock, 20))
    held = await claim(store, clock, limit=5)
    until = clock.now() + timedelta(minutes=5)
    await store.write(queue.park, held, until=until, site="mx.test", because="it is dead", by=HERE)
    found = await store.read(destinations.get, "b.test")
    assert found is not None
    assert (found.wake_at, found.parked_until, found.site, found.because) == (until, until, "mx.test", "it is dead")
    await store.write(queue.enqueue, make(clock))  # new mail does not wake it
    assert await claim(store, clock) == []
    assert await store.read(destinations.count, now=clock.now()) == (1, 1)
    assert len(await claim(store, clock, only=["b.test"])) == 21
    assert await claim(store, clock) == []
    await store.write(queue.enqueue, make(clock))
    clock.advance(timedelta(minutes=5))
    assert len(await claim(store, clock)) == 1


async def test_a_destination_that_is_left_out_keeps_its_turn(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, [*make(clock, 1), *make(clock, 1, "c.test")])
    assert [one.address.domain for one in await claim(store, clock, skip=("b.test",))] == ["c.test"]
    assert [one.address.domain for one in await claim(store, clock)] == ["b.test"]


@pytest.mark.parametrize("way", ["settled", "released by a suspension", "hastened", "recovered"])
async def test_whoever_makes_mail_due_wakes_its_destination(store: Store, clock: FakeClock, way: str):
    (new,) = make(clock, job="spring", due_at=clock.now() + timedelta(days=way == "hastened"))
    await store.write(queue.enqueue, [new])
    now = clock.now()
    match way:
        case "settled":
            held = await begin(store, clock, await claim(store, clock))
            due = now + timedelta(minutes=5)
            again = Settlement(held=held[0], state=DeliveryState.QUEUED, outcome=LATER, due_at=due)
            await store.write(queue.settle, [again], at=now)
            clock.advance(timedelta(minutes=5))
        case "released by a suspension":
            sending = Sending(Scope.JOB, "spring")
            await store.write(suspensions.suspend, org=ORG, sending=sending, reason="", evidence="", by="", at=now)
            assert await claim(store, clock) == []
            assert await wakes(store) is None
            await store.write(suspensions.resume, ORG, sending, by="", at=now)
        case "hastened":
            await store.write(queue.retry_now, ORG, new.id, now=now)
        case "recovered":
            await claim(store, clock)
            assert await wakes(store) is None
            await store.write(queue.recover, HERE, now=now)
    assert [one.id for one in await claim(store, clock)] == [new.id]


async def test_no_mail_sleeps_whoever_queues_and_claims_at_once(store: Store, clock: FakeClock):
    taken: list[Delivery] = []
    names = [f"d{n}.test" for n in range(4)]

    async def put(turn: int) -> None:
        await store.write(queue.enqueue, [one for name in names[turn % 4 :] for one in make(clock, 1, name)])

    async def take(node: str) -> None:
        taken.extend(
            await store.write(queue.claim, node=NodeId(node), now=clock.now(), lease=timedelta(), limit=7, chunk=3)
        )

    await asyncio.gather(*(work for n in range(60) for work in (put(n), take("here"), take("there"))))
    for _ in range(200):
        await take("here")
    assert len(taken) == len({one.id for one in taken}) == 150
    assert await store.read(destinations.count, now=clock.now()) == (0, 0)


async def test_a_look_finds_what_nothing_would_wake_and_it_is_mended(store: Store, clock: FakeClock):
    names = ("a.test", "b.test", "c.test", "d.test", "e.test")
    await store.write(queue.enqueue, [one for name in names for one in make(clock, 2, name)])
    await store.write(
        queue.enqueue, make(clock, state=DeliveryState.SCHEDULED, due_at=clock.now() + timedelta(days=90))
    )

    def spoil(tx: Tx) -> None:
        tx.execute(delete(destination).where(destination.c.name == "a.test"))
        tx.execute(update(destination).where(destination.c.name == "b.test").values(wake_at=2**60))
        tx.execute(update(destination).where(destination.c.name == "c.test").values(wake_at=2**60, parked_until=2**60))
        tx.execute(update(delivery).where(delivery.c.destination == "d.test").values(due_at=2**52))

    await store.write(spoil)
    wrong: list[str] = []
    after: str | None = ""
    while after is not None:
        found = await store.read(destinations.look, after=after, now=clock.now(), longest=LONGEST, limit=2)
        wrong += found.wrong
        after = found.last
    assert wrong == ["a.test", "b.test", "c.test", "d.test"]
    assert await store.write(destinations.mend, wrong, now=clock.now(), longest=LONGEST) == (3, 2)
    assert (await store.read(destinations.look, after="", now=clock.now(), longest=LONGEST)).wrong == ()
    assert len(await claim(store, clock)) == 10  # and not the scheduled one


async def test_a_backlog_that_waits_for_its_turn_is_not_asleep(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, make(clock, 25))
    clock.advance(timedelta(seconds=30))
    await claim(store, clock, limit=10)
    # The clock of another process may be a little ahead, and this look have begun a little earlier.
    for now in (clock.now(), clock.now() - timedelta(seconds=1)):
        assert (await store.read(destinations.look, after="", now=now, longest=LONGEST)).wrong == ()
        assert await store.write(destinations.mend, ["b.test"], now=now, longest=LONGEST) == (0, 0)
    assert await wakes(store) == clock.now()  # its turn is where it was


@pytest.mark.parametrize("after", [None, timedelta(minutes=5)])
async def test_fault_q01_what_was_claimed_before_its_time_is_scheduled_for_it_again(
    store: Store, clock: FakeClock, after
):
    planned = clock.now() + timedelta(days=30)
    await store.write(queue.enqueue, make(clock, state=DeliveryState.SCHEDULED, due_at=planned, scheduled_for=planned))
    ahead = FakeClock(planned + timedelta(days=300))
    held = await claim(store, ahead)
    assert len(held) == 1
    until = None if after is None else clock.now() + after
    await store.write(queue.release, held, until=until, now=clock.now())
    (one,) = await store.read(deliveries.list_deliveries, OrgId(ORG))
    assert (one.state, one.due_at) == (DeliveryState.SCHEDULED, planned)
    assert await wakes(store) == planned


@pytest.mark.parametrize("after", [None, timedelta(minutes=5)])
async def test_fault_q01_what_was_given_back_under_a_clock_ahead_waits_for_its_time(
    store: Store, clock: FakeClock, after
):
    planned = clock.now() + timedelta(days=30)
    await store.write(
        queue.enqueue,
        make(
            clock,
            state=DeliveryState.SCHEDULED,
            due_at=planned,
            scheduled_for=planned,
            expires_at=planned + timedelta(days=5),
        ),
    )
    ahead = FakeClock(planned + timedelta(hours=1))
    held = await claim(store, ahead)
    until = None if after is None else ahead.now() + after
    await store.write(queue.release, held, until=until, now=ahead.now())
    found = await store.read(destinations.look, after="", now=clock.now(), longest=LONGEST)
    assert found.wrong == ("b.test",)
    assert await store.write(destinations.mend, found.wrong, now=clock.now(), longest=LONGEST) == (0, 1)
    (one,) = await store.read(deliveries.list_deliveries, OrgId(ORG))
    assert (one.state, one.due_at) == (DeliveryState.SCHEDULED, planned)
    assert await claim(store, clock) == []
    clock.advance(timedelta(days=30))
    assert len(await claim(store, clock)) == 1


async def test_what_is_put_off_does_not_sleep_past_its_expiry_and_is_not_due_again_and_again(
    store: Store, clock: FakeClock
):
    expires = clock.now() + timedelta(seconds=1)
    await store.write(queue.enqueue, make(clock, expires_at=expires))
    until = clock.now() + timedelta(minutes=5)
    await store.write(queue.release, await claim(store, clock), until=until, now=clock.now())
    assert await wakes(store) == expires
    clock.advance(timedelta(seconds=1))
    await store.write(queue.release, await claim(store, clock), until=until, now=clock.now())
    assert await wakes(store) == until


async def test_a_claim_costs_the_same_number_of_statements_however_much_waits(store: AnyStore, clock: FakeClock):
    numbers = []
    for more in (20, 400):
        await store.write(queue.enqueue, [one for n in range(4) for one in make(clock, more, f"d{n}.test")])
        with counted(store) as ran:
            assert len(await claim(store, clock, limit=40)) == 40
        numbers.append(len(ran))
    assert numbers[0] == numbers[1]


# --- what a dead process leaves (D11, M09, Q03) ---


async def test_fault_d11_a_job_cut_off_behind_its_dot_is_held_and_before_it_goes_again(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, [*make(clock, 2, job="spring"), *make(clock, 1)])
    begun = await begin(store, clock, await claim(store, clock))
    jobs = [one for one in begun if one.job]
    await store.write(queue.dot, jobs[:1])
    assert await store.write(queue.recover, HERE, now=clock.now()) == 3
    unconfirmed = await store.read(deliveries.get, ORG, jobs[0].id)
    assert (unconfirmed.state, unconfirmed.held_by) == (DeliveryState.HELD, "unconfirmed")
    (attempt,) = await store.read(deliveries.history, jobs[0].id)
    assert attempt.dotted
    assert attempt.outcome == queue.CUT_OFF
    (attempt,) = await store.read(deliveries.history, jobs[1].id)
    assert attempt.outcome == queue.CUT_SHORT
    assert {one.id for one in await claim(store, clock)} == {one.id for one in begun if one.id != jobs[0].id}
    assert (await store.read(delivery_counts.held_counts))["unconfirmed"] == 1
    await store.write(controls.confirm, [unconfirmed], at=clock.now(), because={"by": "anna"})
    assert (await store.read(deliveries.get, ORG, jobs[0].id)).state is DeliveryState.SENT
    assert all(one.unaccounted == 0 for one in await store.read(ledger.balance))


async def test_fault_q03_what_a_process_died_in_three_times_is_set_aside(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, make(clock, 2))
    for number in (1, 2, 3):
        held = await claim(store, clock)
        # The other one was claimed, but no attempt of it was begun: it is no suspect.
        await begin(store, clock, [min(held, key=lambda one: one.id)] if number == 1 else held[:1])
        held = sorted(held, key=lambda one: one.id)
        assert await store.write(queue.recover, HERE, now=clock.now()) == len(held)
        found = [await store.read(deliveries.get, ORG, one.id) for one in held]
        assert sum(one.faults for one in found) == number
        if any(one.faults == 3 for one in found):
            break
    poison = [one for one in found if one.state is DeliveryState.HELD]
    assert [(one.held_by, one.faults, one.trace) for one in poison] == [("poison", 3, queue.DIED)]
    assert len(await claim(store, clock)) == 1


async def test_of_a_process_that_lives_nothing_is_taken_over_by_another_name(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, make(clock))
    await claim(store, clock)
    assert await store.write(queue.recover, NodeId("another"), now=clock.now()) == 0
    assert await claim(store, clock) == []
    assert (await store.read(deliveries.list_deliveries, OrgId(ORG)))[0].state is DeliveryState.SENDING
