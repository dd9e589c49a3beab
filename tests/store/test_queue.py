"""The queue on both databases: claimed once, fenced, written down before dialling, never without an end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mailrelay.clock import Clock
from mailrelay.errors import Conflict, Unknown
from mailrelay.ids import DeliveryId, Digest, IdFactory, MessageId, NodeId, OrgId, QueueId
from mailrelay.model.address import Address
from mailrelay.model.delivery import Accepted, Deferred, Delivery, DeliveryState, Interrupted, Refused, Stage, TlsProof
from mailrelay.model.envelope import Channel, EnvelopeRecipient, MailParams, Notify
from mailrelay.model.message import BlobRef
from mailrelay.model.reply import reply
from mailrelay.model.sending import Scope, Sending
from mailrelay.store import deliveries, delivery_counts, ledger, queue, suspensions
from mailrelay.store.base import Store
from mailrelay.store.queue import Settlement
from tests.support.clock import FakeClock

ORG = OrgId("O1")
HERE, THERE = NodeId("here"), NodeId("there")
LEASE = timedelta(seconds=300)
YES = Accepted(reply=reply(250, "2.0.0", "taken"))
LATER = Deferred(reply=reply(451, "4.2.0", "later"), stage=Stage.RCPT)
NO = Refused(reply=reply(550, "5.1.1", "no such user"), stage=Stage.RCPT)


def make(clock: Clock, number: int = 1, domain: str = "b.test", **more: object) -> list[Delivery]:
    ids = IdFactory(clock.now)
    return [
        replace(
            Delivery(
                id=ids.delivery(),
                org=ORG,
                message=MessageId("M1"),
                queue_id=QueueId("Q1"),
                channel=Channel.API,
                mail_from=Address("anna", "a.test"),
                params=MailParams(envid="E"),
                recipient=EnvelopeRecipient(
                    address=Address(f"Bob{n}", domain), notify=frozenset({Notify.FAILURE}), orcpt="rfc822;x@y"
                ),
                state=DeliveryState.QUEUED,
                raw=BlobRef(digest=Digest("0" * 64), size=10),
                created_at=clock.now(),
                due_at=clock.now(),
                expires_at=clock.now() + timedelta(days=5),
                attempts=0,
                last_reply="",
                lease=None,
            ),
            **more,
        )
        for n in range(number)
    ]


async def claim(store: Store, clock: Clock, *, node: NodeId = HERE, limit: int = 50, skip: tuple[str, ...] = ()):
    return await store.write(queue.claim, node=node, now=clock.now(), lease=LEASE, limit=limit, skip=skip)


async def begin(store: Store, clock: Clock, held: list[Delivery]):
    return await store.write(queue.begin_attempts, held, host="mx.b.test", at=clock.now())


async def balanced(store: Store) -> bool:
    return all(one.unaccounted == 0 for one in await store.read(ledger.balance))


async def test_a_delivery_comes_back_as_it_was_written(store: Store, clock: FakeClock):
    (new,) = make(clock)
    await store.write(queue.enqueue, [new])
    assert await store.read(deliveries.get, ORG, new.id) == new
    assert await store.read(deliveries.of_queue_id, new.queue_id) == (new,)
    assert await store.read(deliveries.of_message, ORG, new.message) == (new,)
    assert await store.read(deliveries.by_id, new.id) == new
    with pytest.raises(Unknown):
        await store.read(deliveries.get, OrgId("O2"), new.id)
    assert await balanced(store)


async def test_an_attempt_is_written_down_settled_and_shown(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, make(clock))
    held = await begin(store, clock, await claim(store, clock))
    (open_attempt,) = await store.read(deliveries.history, held[0].id)
    assert (open_attempt.number, open_attempt.host, open_attempt.outcome) == (1, "mx.b.test", None)
    clock.advance(timedelta(seconds=3))
    tls = TlsProof(protocol="TLSv1.3", cipher="X", verified=True, detail="")
    ended = Settlement(held=held[0], state=DeliveryState.SENT, outcome=YES, host="mx1.b.test", tls=tls)
    assert await store.write(queue.settle, [ended], at=clock.now()) == []
    found = await store.read(deliveries.get, ORG, held[0].id)
    assert (found.state, found.last_reply, found.attempts, found.lease) == (
        DeliveryState.SENT,
        "250 2.0.0 taken",
        1,
        None,
    )
    (attempt,) = await store.read(deliveries.history, held[0].id)
    assert (attempt.host, attempt.tls, attempt.outcome, attempt.ended_at) == ("mx1.b.test", tls, YES, clock.now())
    assert await balanced(store)


async def test_a_deferred_delivery_is_due_again_and_keeps_its_history(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, make(clock))
    for number in (1, 2):
        held = await begin(store, clock, await claim(store, clock))
        assert held[0].attempts == number
        due = clock.now() + timedelta(minutes=5)
        await store.write(
            queue.settle,
            [Settlement(held=held[0], state=DeliveryState.QUEUED, outcome=LATER, host="h", due_at=due)],
            at=clock.now(),
        )
        assert await claim(store, clock) == []
        assert await store.read(deliveries.next_due) == due
        clock.advance(timedelta(minutes=5))
    history = await store.read(deliveries.history, held[0].id)
    assert [one.number for one in history] == [1, 2]
    assert history[0].outcome == LATER


async def test_claims_take_the_longest_due_first_and_skip_busy_domains(store: Store, clock: FakeClock):
    late = make(clock, 1, "late.test", due_at=clock.now() - timedelta(hours=1))
    future = make(clock, 1, "future.test", due_at=clock.now() + timedelta(seconds=1))
    await store.write(queue.enqueue, [*make(clock, 2), *late, *future])
    first = await claim(store, clock, limit=1)
    assert [one.address.domain for one in first] == ["late.test"]
    assert await claim(store, clock, skip=("b.test",)) == []
    assert len(await claim(store, clock)) == 2


async def test_two_nodes_never_claim_the_same_delivery(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, [one for n in range(12) for one in make(clock, 5, f"b{n % 4}.test")])
    ids: list[DeliveryId] = []
    while len(ids) < 60:
        taken = await asyncio.gather(*(claim(store, clock, node=NodeId(f"node{n % 2}"), limit=7) for n in range(4)))
        assert any(taken)
        ids += [one.id for batch in taken for one in batch]
    assert len(set(ids)) == 60


async def test_a_lost_lease_changes_nothing(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, make(clock))
    slow = await begin(store, clock, await claim(store, clock))
    assert await store.write(queue.recover, HERE, now=clock.now()) == 1  # taken for dead
    quick = await begin(store, clock, await claim(store, clock, node=THERE))
    late = Settlement(held=slow[0], state=DeliveryState.BOUNCED, outcome=NO, host="h")
    assert await store.write(queue.settle, [late], at=clock.now()) == [slow[0].id]
    assert await store.write(queue.lost, slow) == [slow[0].id]
    with pytest.raises(queue.LeaseLost):
        await store.write(queue.dot, slow)
    assert await begin(store, clock, slow) == []
    await store.write(queue.release, slow)
    assert (await store.read(deliveries.get, ORG, slow[0].id)).state is DeliveryState.SENDING
    await store.write(
        queue.settle, [Settlement(held=quick[0], state=DeliveryState.SENT, outcome=YES, host="h")], at=clock.now()
    )
    history = await store.read(deliveries.history, slow[0].id)
    assert [one.outcome for one in history] == [queue.CUT_OFF, YES]
    assert await balanced(store)


async def test_the_work_of_a_dead_process_is_taken_up_at_its_next_start(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, make(clock))
    await begin(store, clock, await claim(store, clock))
    assert await claim(store, clock) == []
    assert await store.write(queue.recover, THERE, now=clock.now()) == 0
    assert await store.write(queue.recover, HERE, now=clock.now()) == 1
    assert await store.write(queue.recover, HERE, now=clock.now()) == 0
    (again,) = await claim(store, clock)
    assert (again.attempts, again.faults) == (1, 1)
    (attempt,) = await store.read(deliveries.history, again.id)
    assert isinstance(attempt.outcome, Interrupted)
    assert attempt.outcome.stage is Stage.DOT


async def test_a_renewed_lease_holds_and_a_released_delivery_is_due(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, make(clock))
    held = await claim(store, clock)
    assert await store.write(queue.lost, held) == []
    clock.advance(timedelta(days=365))  # a clock that jumps ends no lease (Q01)
    assert await claim(store, clock, node=THERE) == []
    await store.write(queue.release, held)
    (again,) = await claim(store, clock, node=THERE)
    assert again.attempts == 0


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (DeliveryState.BOUNCED, NO),
        (DeliveryState.FAILED, replace(NO, by_us=True)),
        (DeliveryState.EXPIRED, LATER),
        (DeliveryState.SUPPRESSED, None),
    ],
)
async def test_every_end_is_in_the_books(store: Store, clock: FakeClock, state: DeliveryState, outcome):
    await store.write(queue.enqueue, make(clock, 3))
    held = await begin(store, clock, await claim(store, clock))
    ends = [Settlement(held=one, state=state, outcome=outcome, host="h", reason="why") for one in held]
    await store.write(queue.settle, ends, at=clock.now())
    assert {one.state for one in await store.read(deliveries.list_deliveries, ORG)} == {state}
    assert await balanced(store)
    assert await store.read(deliveries.next_due) is None


async def test_lists_are_paged_newest_first(store: Store, clock: FakeClock):
    new = sorted(make(clock, 5), key=lambda one: one.id, reverse=True)
    await store.write(queue.enqueue, new)
    first = await store.read(deliveries.list_deliveries, ORG, limit=2)
    rest = await store.read(deliveries.list_deliveries, ORG, before=first[-1].id, states={DeliveryState.QUEUED})
    assert [one.id for one in (*first, *rest)] == [one.id for one in new]
    assert await store.read(deliveries.list_deliveries, ORG, states={DeliveryState.SENT}) == ()


async def test_counts_name_every_state_in_flight(store: Store, clock: FakeClock):
    await store.write(queue.enqueue, make(clock, 3))
    await claim(store, clock, limit=1)
    found = {one.state: (one.count, one.oldest_due) for one in await store.read(delivery_counts.counts)}
    assert found == {
        DeliveryState.SCHEDULED: (0, None),
        DeliveryState.HELD: (0, None),
        DeliveryState.QUEUED: (2, clock.now()),
        DeliveryState.SENDING: (1, clock.now()),
    }


async def test_what_a_held_delivery_waits_for_is_said(store: Store, clock: FakeClock):
    (new,) = make(clock, job="spring sale")
    await store.write(queue.enqueue, [new])
    sending = Sending(Scope.JOB, "spring sale")
    await store.write(suspensions.suspend, org=ORG, sending=sending, reason="", evidence="", by="", at=clock.now())
    with pytest.raises(Conflict) as refused:
        await store.write(queue.retry_now, ORG, new.id, now=clock.now())
    because = "is held by job:spring sale; resume it with mailrelay suspension resume job 'spring sale'"
    assert str(refused.value) == f"{new.id} {because}"


async def test_a_waiting_delivery_can_be_tried_at_once(store: Store, clock: FakeClock):
    (new,) = make(clock, due_at=clock.now() + timedelta(hours=1))
    await store.write(queue.enqueue, [new])
    await store.write(queue.retry_now, ORG, new.id, now=clock.now())
    assert len(await claim(store, clock)) == 1
    with pytest.raises(Conflict):
        await store.write(queue.retry_now, ORG, new.id, now=clock.now())
    with pytest.raises(Unknown):
        await store.write(queue.retry_now, ORG, DeliveryId("D0"), now=clock.now())
