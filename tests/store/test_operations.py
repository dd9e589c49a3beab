"""What people do to deliveries, on both databases: exact, in bounded steps, against claims and attempts, with books that agree (R3)."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import Future, wait
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, text, update

from mailrelay.clock import to_micros
from mailrelay.errors import Conflict, Unknown
from mailrelay.ids import IdFactory, NodeId, OrgId
from mailrelay.model.delivery import Delivery, DeliveryState, Notice
from mailrelay.model.event import EventType
from mailrelay.model.feedback import Category
from mailrelay.model.operation import Control, Operation, Selection
from mailrelay.model.sending import Counts, Scope, Sending
from mailrelay.outbound import control
from mailrelay.outbound.operate import Operator, advance
from mailrelay.outbound.policy.control import left_as
from mailrelay.outbound.stops import Stops, Withdrawn
from mailrelay.service import Stopping
from mailrelay.store import deliveries, events, ledger, notices, operations, queue, suspensions, tallies
from mailrelay.store.base import Tx
from mailrelay.store.tables import delivery
from tests.store.explain import AnyStore, watched
from tests.store.test_consequences import DOMAIN, FULL, JOB, LATER, LEVELS, YES, Way
from tests.support import factory
from tests.support.clock import FakeClock

S = DeliveryState


class Desk(Way):
    """An organisation whose queue somebody looks after."""

    def __init__(self, store: AnyStore, clock: FakeClock, org: OrgId) -> None:
        super().__init__(store, clock, org)
        self.ids = IdFactory(clock.now)
        self.stops = Stops()
        self.operator = Operator(store, clock, self.stops, brakes=LEVELS, stopping=Stopping(), poll=0.01)

    async def begin(self, what: Control, reason: str = "", again: bool = False, **selection: Any) -> Operation:
        """Ask for it; the first step is done."""
        new = await self.store.write(
            operations.begin,
            self.ids.operation(),
            self.org,
            what,
            Selection(**selection),
            reason=reason,
            again=again,
            by="anna",
            at=self.clock.now(),
        )
        await self.store.write(advance, new.id, at=self.clock.now(), brakes=LEVELS)
        return await self.get(new)

    async def begun(self, limit: int = 1000) -> list[Delivery]:
        """What is due, with an attempt of each under way."""
        held = await self.store.write(
            queue.claim, node=NodeId("here"), now=self.clock.now(), lease=timedelta(minutes=5), limit=limit
        )
        return await self.store.write(queue.begin_attempts, held, host="mx", at=self.clock.now())

    async def get(self, one: Operation) -> Operation:
        return await self.store.read(operations.get, self.org, one.id)

    async def done(self, what: Control, **more: Any) -> Operation:
        """Do it to its end."""
        one = await self.begin(what, **more)
        await self.operator.look()
        return await self.get(one)

    async def held_by(self, one: Delivery, by: str, **more: Any) -> None:
        """As if it had been held so now."""

        def change(tx: Tx) -> None:
            values = {"state": S.HELD, "held_by": by, "held_at": to_micros(self.clock.now()), **more}
            tx.execute(update(delivery).where(delivery.c.id == one.id).values(values))

        await self.store.write(change)

    async def due(self) -> list[str]:
        """Whom a claim takes now, in the order of their ids."""
        held = await self.store.write(
            queue.claim, node=NodeId("x"), now=self.clock.now(), lease=timedelta(minutes=5), limit=1000
        )
        return sorted(one.id for one in held)

    async def happened(self, one: Delivery) -> list[EventType]:
        return [each.type for each in await self.store.read(events.of_delivery, self.org, one.message, one.id)]

    async def balanced(self) -> bool:
        return all(one.unaccounted == 0 for one in await self.store.read(ledger.balance))


@pytest.fixture
async def desk(store: AnyStore, clock: FakeClock) -> Desk:
    org = await factory.org(store, clock)
    return Desk(store, clock, org.id)


# --- one by one ---


async def test_r03_what_is_held_by_hand_waits_and_gets_its_time_back(desk: Desk) -> None:
    (one,) = await desk.queued()
    operation = await desk.done(Control.HOLD, reason="wrong price")
    held = await desk.now(one)
    assert (held.state, held.held_by, operation.changed) == (S.HELD, "hand", 1)
    assert await desk.due() == []
    desk.clock.advance(timedelta(days=2))
    await desk.done(Control.RELEASE, held_by="hand")
    free = await desk.now(one)
    assert (free.state, free.held_by, free.expires_at - one.expires_at) == (S.QUEUED, "", timedelta(days=2))
    assert await desk.due() == [one.id]
    assert (await desk.happened(one))[1:] == [EventType.DELIVERY_HELD, EventType.DELIVERY_RELEASED]
    (_, event, _) = await desk.store.read(events.of_delivery, desk.org, one.message, one.id)
    assert dict(event.data) == {"by": "anna", "held_by": "hand", "operation": operation.id, "reason": "wrong price"}
    assert await desk.balanced()


async def test_r03_what_was_scheduled_is_scheduled_again(desk: Desk) -> None:
    soon, late = (desk.clock.now() + timedelta(hours=hours) for hours in (1, 9))
    (first,) = await desk.queued(state=S.SCHEDULED, scheduled_for=soon, due_at=soon)
    (second,) = await desk.queued(state=S.SCHEDULED, scheduled_for=late, due_at=late)
    await desk.done(Control.HOLD)
    desk.clock.advance(timedelta(hours=3))
    assert await desk.due() == []
    await desk.done(Control.RELEASE)
    gone, waits = await desk.now(first), await desk.now(second)
    assert (gone.state, gone.expires_at - first.expires_at) == (S.QUEUED, timedelta(hours=2))
    assert (waits.state, waits.due_at, waits.expires_at) == (S.SCHEDULED, late, second.expires_at)
    assert await desk.due() == [first.id]
    desk.clock.advance(timedelta(hours=6))
    assert await desk.due() == [second.id]


async def test_r03_poison_is_released_with_a_clean_sheet(desk: Desk) -> None:
    (one,) = await desk.queued(due_at=desk.clock.now() + timedelta(hours=5))
    await desk.held_by(one, "poison", faults=3)
    await desk.done(Control.RELEASE, held_by="poison")
    assert (await desk.now(one)).faults == 0
    assert await desk.due() == [one.id]


async def test_r03_what_may_have_arrived_is_sent_again_only_when_that_is_said(desk: Desk) -> None:
    (one,) = await desk.queued(job="spring")
    await desk.held_by(one, "unconfirmed")
    left = await desk.done(Control.RELEASE)
    assert (left.changed, left.left) == (0, {"held by unconfirmed": 1})
    assert (await desk.done(Control.RELEASE, again=True)).changed == 1
    assert (await desk.now(one)).state is S.QUEUED


async def test_r03_what_a_suspension_holds_is_left_to_it(desk: Desk) -> None:
    (one,) = await desk.queued(job="spring")
    await desk.store.write(
        suspensions.suspend, org=desk.org, sending=JOB, reason="r", evidence="", by="anna", at=desk.clock.now()
    )
    for what in (Control.RELEASE, Control.RETRY, Control.HOLD, Control.CONFIRM):
        done = await desk.done(what, job="spring")
        assert (done.changed, done.left) == (0, {"held by job:spring": 1})
    assert (await desk.done(Control.CANCEL, job="spring")).changed == 1
    assert (await desk.now(one)).state is S.CANCELLED


async def test_r03_what_is_deferred_is_due_now(desk: Desk) -> None:
    one = await desk.answered(LATER)
    assert await desk.due() == []
    await desk.done(Control.RETRY, recipient=one.address.key)
    assert await desk.due() == [one.id]
    assert (await desk.happened(one))[-1] is EventType.DELIVERY_HASTENED


async def test_r03_what_is_cancelled_ends_and_nobody_is_told(desk: Desk) -> None:
    waits = await desk.answered(LATER)
    held, scheduled = await desk.queued(2)
    await desk.held_by(held, "hand", notice=Notice.DELAYED)
    done = await desk.done(Control.CANCEL, reason="wrong price")
    assert (done.changed, done.left) == (3, {})
    for one in (waits, held, scheduled):
        now = await desk.now(one)
        assert (now.state, now.last_reply, now.notice, now.held_by) == (S.CANCELLED, "wrong price", Notice.NONE, "")
        assert (await desk.happened(one))[-1] is EventType.DELIVERY_CANCELLED
    assert await desk.store.read(notices.waiting) == ()
    assert await desk.due() == []
    assert await desk.balanced()


async def test_r03_what_is_returned_tells_its_author_and_counts_against_nobody(desk: Desk) -> None:
    for _ in range(2):
        await desk.answered(FULL, recipient="bob@b.test")
    (one, other) = await desk.queued(2, recipient="bob@b.test")
    (mass,) = await desk.queued(recipient="bob@b.test", job="spring")
    before = await desk.store.read(deliveries.ends, desk.org, one.address.key, limit=10)
    counts = await desk.store.read(tallies.since, desk.org, DOMAIN, 0)
    await desk.done(Control.BOUNCE, reason="This partner has moved.", deliveries=(one.id, mass.id))
    await desk.done(Control.BOUNCE, deliveries=(other.id,))
    now = await desk.now(one)
    assert (now.state, now.last_reply, now.category) == (S.BOUNCED, "This partner has moved.", Category.BY_HAND)
    assert (now.notice, (await desk.now(mass)).notice) == (Notice.FAILED, Notice.NONE)
    assert (await desk.now(other)).last_reply == "returned by those who run the mail"
    assert await desk.store.read(deliveries.ends, desk.org, one.address.key, limit=10) == before
    assert await desk.store.read(deliveries.soft_ends, desk.org, [one.address.key]) == {one.address.key: 2}
    assert await desk.store.read(tallies.since, desk.org, DOMAIN, 0) == counts
    assert await desk.balanced()


async def test_r03_what_is_confirmed_is_sent_and_counts(desk: Desk) -> None:
    (one,) = await desk.queued(job="spring")
    await desk.held_by(one, "unconfirmed")
    done = await desk.done(Control.CONFIRM, reason="their log has it", deliveries=(one.id,))
    assert done.changed == 1
    now = await desk.now(one)
    assert (now.state, now.held_by, now.ended_at) == (S.SENT, "", desk.clock.now())
    assert await desk.store.read(tallies.since, desk.org, Sending(Scope.JOB, "spring"), 0) == Counts(sent=1)
    assert await desk.balanced()
    again = await desk.done(Control.CONFIRM, deliveries=(one.id,))
    assert (again.changed, again.left) == (0, {"sent": 1})


# --- many ---


async def test_r03_much_is_done_in_steps_over_restarts_and_later_mail_is_not_touched(desk: Desk) -> None:
    many = await desk.queued(1200, job="spring")
    one = await desk.begin(Control.CANCEL, job="spring")
    assert (one.changed, one.ended_at) == (control.STEP, None)
    desk.clock.advance(timedelta(seconds=1))
    (later,) = await desk.queued(job="spring")
    # Another process carries on.
    await Desk(desk.store, desk.clock, desk.org).operator.look()
    one = await desk.get(one)
    assert (one.changed, one.left, one.ended_at) == (1200, {}, desk.clock.now())
    assert (await desk.now(many[-1])).state is S.CANCELLED
    assert (await desk.now(later)).state is S.QUEUED
    (told,) = [each for each in await desk.store.read(events.last, desk.org, 5) if each.type is EventType.QUEUE_CHANGED]
    assert dict(told.data)["changed"] == "1200"
    assert await desk.balanced()


async def test_r03_an_operation_is_stopped_where_it_is(desk: Desk) -> None:
    await desk.queued(700)
    one = await desk.begin(Control.HOLD)
    stopped = await desk.store.write(operations.stop, desk.org, one.id, by="olga", at=desk.clock.now())
    await desk.operator.look()
    one = await desk.get(one)
    assert (one.changed, one.stopped_by, one) == (control.STEP, "olga", stopped)
    with pytest.raises(Conflict, match="has ended"):
        await desk.store.write(operations.stop, desk.org, one.id, by="olga", at=desk.clock.now())
    with pytest.raises(Unknown):
        await desk.store.read(operations.get, OrgId("O2"), one.id)
    assert [each.id for each in await desk.store.read(operations.list_operations, desk.org)] == [one.id]
    assert await desk.store.read(operations.standing) == ()


async def test_r03_a_plan_counts_what_would_be_done_and_does_nothing(desk: Desk) -> None:
    sent = await desk.answered(YES, recipient="x@c.test")
    await desk.queued(3)
    await desk.begun()
    held, _ = await desk.queued(2, job="spring")
    await desk.held_by(held, "job:spring")

    async def plan(what: Control, **selection: Any) -> control.Plan:
        return await desk.store.read(control.plan, desk.org, what, Selection(**selection), again=False)

    before = await desk.store.read(events.last, desk.org, 100)
    assert await plan(Control.HOLD) == control.Plan(1, {"sending": 3, "held by job:spring": 1}, complete=True)
    assert await plan(Control.CANCEL) == control.Plan(2, {"sending": 3}, complete=True)
    assert await plan(Control.CANCEL, deliveries=(sent.id,)) == control.Plan(0, {"sent": 1}, complete=True)
    assert await plan(Control.CANCEL, destination="nowhere.test") == control.Plan(0, {}, complete=True)
    assert await desk.store.read(events.last, desk.org, 100) == before


async def test_r03_one_that_our_own_code_fails_on_keeps_no_other_from_its_turn(desk: Desk) -> None:
    many = await desk.queued(8)

    def spoil(tx: Tx) -> None:
        tx.execute(text("UPDATE delivery SET recipient = '{}' WHERE id = :id"), {"id": many[3].id})

    await desk.store.write(spoil)
    one = await desk.store.write(
        operations.begin,
        desk.ids.operation(),
        desk.org,
        Control.HOLD,
        Selection(),
        reason="",
        again=False,
        by="anna",
        at=desk.clock.now(),
    )
    await desk.operator.look()
    one = await desk.get(one)
    assert (one.changed, one.left, one.ended_at) == (7, {"failed": 1}, desk.clock.now())


# --- against attempts (Q06) ---


async def test_fault_q06_a_claim_that_has_not_begun_is_void(desk: Desk) -> None:
    made = await desk.queued(3)
    held = await desk.store.write(
        queue.claim, node=NodeId("here"), now=desk.clock.now(), lease=timedelta(minutes=5), limit=10
    )
    done = await desk.done(Control.CANCEL, deliveries=(made[0].id, made[1].id))
    assert (done.changed, done.under_way) == (2, ())
    begun = await desk.store.write(queue.begin_attempts, held, host="mx", at=desk.clock.now())
    assert [one.id for one in begun] == [made[2].id]
    assert await desk.balanced()


async def test_fault_q06_what_is_under_way_is_stopped_when_its_attempt_ends(desk: Desk) -> None:
    made = await desk.queued(3)
    begun = {one.id: one for one in await desk.begun()}
    one = await desk.done(Control.CANCEL, reason="wrong")
    assert (one.changed, one.ended_at, sorted(one.under_way)) == (0, None, [each.id for each in made])
    with pytest.raises(Withdrawn):
        desk.stops.check([made[1].id])
    await desk.settle([begun[made[0].id]], YES)
    await desk.settle([begun[made[1].id]], LATER)
    await desk.operator.look()
    one = await desk.get(one)
    assert (one.changed, one.left, one.under_way) == (1, {"sent": 1}, (made[2].id,))
    assert (await desk.now(made[1])).state is S.CANCELLED
    desk.stops.check([made[1].id])
    await desk.settle([begun[made[2].id]], LATER)
    await desk.operator.look()
    one = await desk.get(one)
    assert (one.changed, one.left, one.ended_at) == (2, {"sent": 1}, desk.clock.now())
    desk.stops.check([each.id for each in made])
    assert await desk.balanced()


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
async def test_fault_q06_what_another_node_is_at_is_stopped_here_too(desk: Desk) -> None:
    (one,) = await desk.queued(1)
    await desk.begun()
    operation = await desk.begin(Control.CANCEL)
    with desk.store.engine.begin() as there:
        there.execute(text("SELECT id FROM operation WHERE id = :id FOR UPDATE"), {"id": operation.id})
        await desk.operator.look()
        with pytest.raises(Withdrawn):
            desk.stops.check([one.id])


async def test_fault_q06_what_need_not_stop_is_not_waited_for(desk: Desk) -> None:
    await desk.queued()
    await desk.begun()
    one = await desk.done(Control.RETRY)
    assert (one.changed, one.left, one.ended_at) == (0, {"sending": 1}, desk.clock.now())
    desk.stops.check([(await desk.store.read(deliveries.list_deliveries, desk.org))[0].id])


async def test_fault_q06_a_cancellation_among_attempts_is_exact(desk: Desk) -> None:
    """Each ends as sent or as cancelled, never both, while claims, attempts and the cancellation run at once."""
    made = await desk.queued(160)
    sent: list[str] = []

    async def deliver(node: str) -> None:
        for _ in range(40):
            held = await desk.store.write(
                queue.claim, node=NodeId(node), now=desk.clock.now(), lease=timedelta(minutes=5), limit=6
            )
            begun = await desk.store.write(queue.begin_attempts, held, host="mx", at=desk.clock.now())
            await asyncio.sleep(0.002)
            sent.extend(one.id for one in begun[::2])
            await desk.settle(begun[::2], YES)
            await desk.settle(begun[1::2], LATER)

    async def cancel() -> Operation:
        one = await desk.store.write(
            operations.begin,
            desk.ids.operation(),
            desk.org,
            Control.CANCEL,
            Selection(),
            reason="",
            again=False,
            by="anna",
            at=desk.clock.now(),
        )
        for _ in range(200):
            await desk.store.write(advance, one.id, at=desk.clock.now(), brakes=LEVELS, limit=7)
            await asyncio.sleep(0.001)
        return one

    _, _, one = await asyncio.gather(deliver("a"), deliver("b"), cancel())
    await desk.operator.look()
    one = await desk.get(one)
    states = {each.id: (await desk.now(each)).state for each in made}
    assert {id_ for id_, state in states.items() if state is S.SENT} == set(sent)
    assert len(sent) == len(set(sent))
    assert set(states.values()) <= {S.SENT, S.CANCELLED}
    assert one.ended_at is not None
    assert one.changed == sum(state is S.CANCELLED for state in states.values())
    assert await desk.balanced()


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@pytest.mark.parametrize("moment", range(1, 9))
async def test_fault_q06_an_attempt_that_ends_between_two_looks_is_not_missed(desk: Desk, moment: int) -> None:
    """Each statement sees a moment of its own there: what goes from one state to another must be seen in one of them."""
    made = await desk.queued(1)
    begun = await desk.begun()
    one = await desk.store.write(
        operations.begin,
        desk.ids.operation(),
        desk.org,
        Control.CANCEL,
        Selection(),
        reason="",
        again=False,
        by="anna",
        at=desk.clock.now(),
    )
    loop, statements, settled = asyncio.get_running_loop(), itertools.count(1), list[Future[Any]]()

    def first_step(tx: Tx) -> None:
        def meanwhile(connection: Connection, *_: Any) -> None:
            if connection is tx.connection and next(statements) == moment:
                settled.append(asyncio.run_coroutine_threadsafe(desk.settle(begun, LATER), loop))
                wait(settled, timeout=0.5)  # it has the row locked from some statement on

        event.listen(desk.store.engine, "after_cursor_execute", meanwhile)
        try:
            advance(tx, one.id, at=desk.clock.now(), brakes=LEVELS)
        finally:
            event.remove(desk.store.engine, "after_cursor_execute", meanwhile)

    await desk.store.write(first_step)
    if not settled:
        await desk.settle(begun, LATER)
    await asyncio.gather(*map(asyncio.wrap_future, settled))
    await desk.operator.look()
    one = await desk.get(one)
    assert ((await desk.now(made[0])).state, one.changed) == (S.CANCELLED, 1)
    assert one.ended_at is not None


# --- how it is found ---


async def test_r03_an_operation_reads_no_large_table(desk: Desk) -> None:
    await desk.queued(3)
    async with watched(desk.store) as watch:
        one = await desk.done(Control.HOLD)
        for what in Control:
            await desk.done(what, destination="b.test", again=True)
        await desk.store.read(operations.list_operations, desk.org, before=one.id)
    watch.check()


@pytest.mark.parametrize("what", Control)
def test_r03_what_has_ended_is_never_changed(what: Control) -> None:
    for state in S:
        left = left_as(what, state, "", again=True)
        assert left in ("", state)
        if state not in (S.QUEUED, S.SCHEDULED, S.HELD):
            assert left == state
