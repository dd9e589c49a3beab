"""K1 in both databases: what was put off is counted and listed apart from what waits for its first attempt."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from mailrelay.clock import to_micros
from mailrelay.model.delivery import DeliveryState, DeliveryStatus, MessageStatus
from mailrelay.model.operation import Selection
from mailrelay.store import deliveries, delivery_counts, queue, selections
from mailrelay.store.base import Store, Tx
from mailrelay.store.queue import Settlement
from mailrelay.store.tables import delivery
from mailrelay.store.visibility import Viewer
from tests.store.test_queue import LATER, ORG, begin, claim, make
from tests.support.clock import FakeClock


async def test_k01_deferred_is_a_status_of_queued_deliveries(store: Store, clock: FakeClock) -> None:
    await store.write(queue.enqueue, make(clock, 4))
    put_off, sending = await begin(store, clock, await claim(store, clock, limit=2))
    settled = Settlement(held=put_off, state=DeliveryState.QUEUED, outcome=LATER, host="h", due_at=clock.now())
    await store.write(queue.settle, [settled], at=clock.now())

    counts = {one.status: one.count for one in await store.read(delivery_counts.status_counts)}
    assert counts == {"scheduled": 0, "held": 0, "queued": 2, "deferred": 1, "sending": 1}
    for status, ids in ((DeliveryStatus.DEFERRED, {put_off.id}), (DeliveryStatus.SENDING, {sending.id})):
        found = await store.read(deliveries.list_deliveries, ORG, statuses={status})
        assert {one.id for one in found} == ids
        assert {one.status for one in found} == {status}
    assert len(await store.read(deliveries.list_deliveries, ORG, statuses={DeliveryStatus.QUEUED})) == 2
    statuses = await store.read(deliveries.of_messages, Viewer(org=ORG, all=True), [put_off.message], now=clock.now())
    assert statuses == {put_off.message: MessageStatus.DEFERRED}


async def test_k01_what_was_sent_three_days_ago_is_selected_as_delivered(store: Store, clock: FakeClock) -> None:
    await store.write(queue.enqueue, make(clock, 2))
    (one, other) = await begin(store, clock, await claim(store, clock, limit=2))
    at = to_micros(clock.now())

    def end(tx: Tx) -> None:
        tx.execute(update(delivery).where(delivery.c.id == one.id).values(state="sent", ended_at=at))
        tx.execute(update(delivery).where(delivery.c.id == other.id).values(state="bounced", ended_at=at))

    await store.write(end)

    async def found(status: DeliveryStatus, days: int) -> set[str]:
        selection = Selection(statuses=frozenset({status}), as_of=clock.now() + timedelta(days=days))
        page = await store.read(selections.find, ORG, selection)
        counted = await store.read(selections.count, ORG, selection)
        assert counted.by == ({(status, ""): len(page.deliveries)} if page.deliveries else {})
        return {each.id for each in page.deliveries}

    assert (await found(DeliveryStatus.SENT, 2), await found(DeliveryStatus.DELIVERED, 2)) == ({one.id}, set())
    assert (await found(DeliveryStatus.SENT, 3), await found(DeliveryStatus.DELIVERED, 3)) == (set(), {one.id})
