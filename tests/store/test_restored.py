"""D14: what a restored queue holds, since it may have gone out after the copy was made."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import update

from mailrelay.clock import to_micros
from mailrelay.ids import DeliveryId
from mailrelay.model.delivery import UNCONFIRMED, DeliveryState
from mailrelay.model.event import EventType
from mailrelay.store import controls, events, restored
from mailrelay.store.base import Tx
from mailrelay.store.tables import delivery
from tests.support.outbound import Relay, relay


async def _as(us: Relay, **values: object) -> DeliveryId:
    """A delivery in this state."""
    (id_,) = (await us.submit()).deliveries
    if values:
        await us.store.write(lambda tx: tx.execute(update(delivery).where(delivery.c.id == id_).values(**values)))
    return id_


async def test_all_mass_mail_that_had_not_ended_is_held_and_single_mail_is_not(store, tmp_path: Path):
    async with relay(tmp_path, store=store) as us:
        now = us.clock.now()
        later = to_micros(now + timedelta(days=7))
        scheduled = {"state": DeliveryState.SCHEDULED, "due_at": later, "scheduled_for": later}
        held = [
            await _as(us, job="spring"),
            await _as(us, job="spring", **scheduled),
            await _as(us, job="spring", attempts=1, due_at=to_micros(now + timedelta(hours=2))),
            await _as(us, job="spring", state=DeliveryState.HELD, held_by="job:spring", held_at=to_micros(now)),
            await _as(us, job="spring", category="a-word-of-a-later-release"),
        ]
        left = {
            await _as(us, job="spring", state=DeliveryState.HELD, held_by="poison"): DeliveryState.HELD,
            await _as(us, job="spring", state=DeliveryState.SENT): DeliveryState.SENT,
            await _as(us): DeliveryState.QUEUED,
            await _as(us, **scheduled): DeliveryState.SCHEDULED,
        }
        pieces = [await store.write(restored.hold_mass_mail, now=now, limit=2) for _ in range(4)]
        assert pieces == [2, 2, 1, 0]
        await store.write(lambda tx: tx.execute(update(delivery).where(delivery.c.id == held[-1]).values(category="")))
        for id_ in held:
            one = await us.delivery(id_)
            assert (one.state, one.held_by) == (DeliveryState.HELD, UNCONFIRMED)
        for id_, state in left.items():
            assert (await us.delivery(id_)).state is state
        told = [one for one in await store.read(events.last, us.org.id, 100) if one.type is EventType.DELIVERY_HELD]
        assert sorted(str(one.delivery) for one in told) == sorted(held)


async def test_what_is_released_goes_when_it_was_to_go(store, tmp_path: Path):
    async with relay(tmp_path, store=store) as us:
        now = us.clock.now()
        later = now + timedelta(days=7)
        waits = {"state": DeliveryState.SCHEDULED, "due_at": to_micros(later), "scheduled_for": to_micros(later)}
        ids = [await _as(us, job="spring", **waits), await _as(us, job="spring")]
        await store.write(restored.hold_mass_mail, now=now)
        ours = [await us.delivery(id_) for id_ in ids]

        def release(tx: Tx) -> None:
            controls.release(tx, ours, at=now + timedelta(minutes=5), because={"reason": ""})

        await store.write(release)
        planned, due = [await us.delivery(id_) for id_ in ids]
        assert (planned.state, planned.due_at) == (DeliveryState.SCHEDULED, later)
        assert (due.state, due.due_at) == (DeliveryState.QUEUED, now + timedelta(minutes=5))
