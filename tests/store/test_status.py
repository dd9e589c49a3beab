"""K1 in both databases: what was put off is counted and listed apart from what waits for its first attempt."""

from __future__ import annotations

from mailrelay.model.delivery import DeliveryState, DeliveryStatus, MessageStatus
from mailrelay.store import deliveries, queue
from mailrelay.store.base import Store
from mailrelay.store.queue import Settlement
from tests.store.test_queue import LATER, ORG, begin, claim, make
from tests.support.clock import FakeClock


async def test_k01_deferred_is_a_status_of_queued_deliveries(store: Store, clock: FakeClock) -> None:
    await store.write(queue.enqueue, make(clock, 4))
    put_off, sending = await begin(store, clock, await claim(store, clock, limit=2))
    settled = Settlement(held=put_off, state=DeliveryState.QUEUED, outcome=LATER, host="h", due_at=clock.now())
    await store.write(queue.settle, [settled], at=clock.now())

    counts = {one.status: one.count for one in await store.read(deliveries.status_counts)}
    assert counts == {"scheduled": 0, "held": 0, "queued": 2, "deferred": 1, "sending": 1}
    for status, ids in ((DeliveryStatus.DEFERRED, {put_off.id}), (DeliveryStatus.SENDING, {sending.id})):
        found = await store.read(deliveries.list_deliveries, ORG, statuses={status})
        assert {one.id for one in found} == ids
        assert {one.status for one in found} == {status}
    assert len(await store.read(deliveries.list_deliveries, ORG, statuses={DeliveryStatus.QUEUED})) == 2
    statuses = await store.read(deliveries.of_messages, ORG, [put_off.message])
    assert statuses == {put_off.message: MessageStatus.DEFERRED}
