"""Scheduled mail on both databases: changed by its author until it is claimed, and never both (O5, I25, Q01, Q02)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mailrelay.config.schema import BrakeLevels
from mailrelay.errors import Conflict, Invalid, NotPermitted, Outdated, QuotaSpent, Unknown
from mailrelay.ids import DeliveryId, IdFactory, MessageId, NodeId
from mailrelay.model.absence import Absence
from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.event import EventType
from mailrelay.model.operation import Control, Selection
from mailrelay.model.quota import QuotaKind
from mailrelay.model.schedule import Preset, Wish
from mailrelay.outbound import control, scheduled
from mailrelay.outbound.scheduled import Change
from mailrelay.outbound.submit import Submitted
from mailrelay.store import absences, controls, deliveries, events, ledger, operations, queue, quotas, schedules
from mailrelay.store.base import Tx
from tests.store.explain import AnyStore, watched
from tests.support.clock import FakeClock
from tests.support.outbound import Relay, relay

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LEASE = timedelta(seconds=60)


def change(us: Relay, submitted: Submitted, **more: Any) -> Change:
    fields: dict[str, Any] = {"org": us.org.id, "id": submitted.queue_id, "by": us.anna.id, "now": us.clock.now()}
    return Change(**{**fields, **more})


async def schedule(us: Relay, *recipients: str, after: timedelta = HOUR, **more: Any) -> Submitted:
    return await us.submit(*recipients, schedule=Wish(at=us.clock.now() + after), **more)


async def move(us: Relay, submitted: Submitted, wish: Wish, **more: Any) -> Any:
    return await us.store.write(scheduled.move, change(us, submitted, **more), wish, us.submitter.terms)


async def send_now(us: Relay, submitted: Submitted, **more: Any) -> Any:
    return await us.store.write(scheduled.send, change(us, submitted, **more), us.submitter.terms)


async def cancel(us: Relay, submitted: Submitted, **more: Any) -> Any:
    return await us.store.write(scheduled.cancel, change(us, submitted, **more))


async def edit(us: Relay, submitted: Submitted, *recipients: str, **more: Any) -> Submitted:
    known, wish, _ = await us.store.read(scheduled.kept, change(us, submitted))
    seen = change(us, submitted, version=known.version)
    fields = {"schedule": wish, **more}
    return await us.submitter.submit(
        replace(await submission(us, *recipients), revises=known, **fields),
        provided=lambda tx: scheduled.end_old(tx, seen),
    )


async def submission(us: Relay, *recipients: str) -> Any:
    """What `Relay.submit` would hand in."""
    caught: list[Any] = []

    class Door:
        async def submit(self, given: Any) -> None:
            caught.append(given)

    real, us.submitter = us.submitter, Door()  # type: ignore[assignment]
    try:
        await us.submit(*recipients, raw=us.mail(body=b"better\r\n"))
    finally:
        us.submitter = real
    return caught[0]


async def claim(us: Relay, limit: int = 100) -> Sequence[Delivery]:
    return await us.store.write(queue.claim, node=NodeId("n"), now=us.clock.now(), lease=LEASE, limit=limit)


async def end_by_hand(us: Relay, what: Control, *ids: DeliveryId) -> int:
    """What `mailrelay queue` does; how many were changed."""

    def done(tx: Tx) -> int:
        one = operations.begin(
            tx,
            IdFactory(us.clock.now).operation(),
            us.org.id,
            what,
            Selection(deliveries=ids),
            reason="",
            again=False,
            by="olga",
            at=us.clock.now(),
        )
        return control.step(tx, one, at=us.clock.now(), brakes=BrakeLevels()).changed

    return await us.store.write(done)


async def states(us: Relay, submitted: Submitted) -> list[DeliveryState]:
    return [one.state for one in await us.store.read(deliveries.of_queue_id, submitted.queue_id)]


async def mass(us: Relay, days: int = 0) -> int:
    day = (us.clock.now() + days * DAY).date()
    return await us.store.read(quotas.used, us.org.id, QuotaKind.MASS, day)


async def told(us: Relay, submitted: Submitted, *types: EventType) -> list[Any]:
    found = await us.store.read(events.after, us.org.id, 0, limit=1000)
    return [one for one in found if one.queue_id == submitted.queue_id and one.type in types]


async def check_books(us: Relay) -> None:
    assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))
    assert await us.store.read(ledger.audit) == []


async def test_it_waits_for_its_time_and_then_goes(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us, "a@b.test", "c@d.test")
        assert made.schedule is not None
        assert made.schedule.due_at == clock.now() + HOUR
        found = await store.read(deliveries.of_queue_id, made.queue_id)
        assert {one.expires_at - one.due_at for one in found} == {timedelta(days=5)}
        clock.advance(HOUR - timedelta(seconds=1))
        assert await claim(us) == []
        assert await states(us, made) == [DeliveryState.SCHEDULED] * 2
        await check_books(us)
        clock.advance(timedelta(seconds=1))
        assert {one.id for one in await claim(us)} == set(made.deliveries)
        assert [one.type for one in await told(us, made, EventType.DELIVERY_SCHEDULED)] == ["delivery.scheduled"] * 2


async def test_what_is_moved_goes_at_its_new_time_only(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us, "a@b.test", "c@d.test")
        moved = await move(us, made, Wish(at=clock.now() + 3 * HOUR))
        assert (moved.version, moved.due_at) == (2, clock.now() + 3 * HOUR)
        clock.advance(2 * HOUR)
        assert await claim(us) == []
        sooner = await move(us, made, Wish(at=clock.now() + timedelta(minutes=5)))
        clock.advance(timedelta(minutes=5))
        got = await claim(us)
        assert {one.due_at for one in got} == {sooner.due_at} == {clock.now()}
        assert {one.expires_at for one in got} == {clock.now() + timedelta(days=5)}
        assert len(await told(us, made, EventType.DELIVERY_SCHEDULED)) == 6


async def test_a_move_is_in_the_zone_that_it_was_scheduled_in(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        wish = Wish(preset=Preset.TOMORROW_MORNING, zone=ZoneInfo("Asia/Tokyo"))
        made = await us.submit(schedule=wish)
        assert made.schedule is not None
        assert (made.schedule.due_at, made.schedule.preset) == (datetime(2026, 11, 2, 23, tzinfo=UTC), wish.preset)
        moved = await move(us, made, Wish(at=datetime(2026, 11, 4, 9, 30)))  # noqa: DTZ001
        assert (moved.zone, moved.preset) == ("Asia/Tokyo", None)
        assert moved.due_at == datetime(2026, 11, 4, 0, 30, tzinfo=UTC)


async def test_sent_now_it_is_queued_mail_and_counts_today(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us, "a@b.test", "c@d.test", after=3 * DAY)
        assert (await mass(us), await mass(us, 3)) == (0, 2)
        assert (await send_now(us, made)).hastened
        assert (await mass(us), await mass(us, 3)) == (2, 0)
        assert await states(us, made) == [DeliveryState.QUEUED] * 2
        got = await claim(us)
        assert {one.expires_at for one in got} == {clock.now() + timedelta(days=5)}
        assert len(await told(us, made, EventType.DELIVERY_HASTENED)) == 2
        with pytest.raises(Conflict, match="It is going out"):
            await send_now(us, made)


async def test_cancelled_it_ends_with_its_reason_and_gives_its_day_back(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us, "a@b.test", "c@d.test", after=2 * DAY)
        await cancel(us, made)
        assert await states(us, made) == [DeliveryState.CANCELLED] * 2
        assert await mass(us, 2) == 0
        clock.advance(3 * DAY)
        assert await claim(us) == []
        found = await store.read(deliveries.of_queue_id, made.queue_id)
        assert {one.last_reply for one in found} == {"cancelled by its author before it went"}
        assert len(await told(us, made, EventType.DELIVERY_CANCELLED)) == 2
        with pytest.raises(Conflict, match="It has ended unsent"):
            await cancel(us, made)
        assert await mass(us, -1) == 0
        await check_books(us)


async def test_edited_it_is_another_mail_at_the_same_time_under_the_same_name(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us, "a@b.test", "c@d.test")
        new = await edit(us, made, "a@b.test", "e@f.test", "g@h.test")
        assert new.schedule is not None
        assert (new.schedule.id, new.schedule.version) == (made.queue_id, 2)
        assert new.schedule.queue_id == new.queue_id != made.queue_id
        assert new.schedule.due_at == clock.now() + HOUR
        assert await states(us, made) == [DeliveryState.CANCELLED] * 2
        assert await mass(us) == 3
        (told_once, *_) = await told(us, new, EventType.DELIVERY_EDITED)
        assert dict(told_once.data)["replaces"] == made.queue_id
        await check_books(us)
        clock.advance(HOUR)
        assert {str(one.address) for one in await claim(us)} == {"a@b.test", "e@f.test", "g@h.test"}
        assert (await store.read(schedules.get, us.org.id, made.queue_id)).queue_id == new.queue_id


async def test_an_edit_is_checked_like_a_new_mail_and_changes_nothing_when_it_fails(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us, "a@b.test")
        await schedule(us, *(f"r{number}@b.test" for number in range(248)))
        with pytest.raises(QuotaSpent, match="has 2 left"):  # the old content's unit is free again for the new
            await edit(us, made, *(f"x{number}@b.test" for number in range(3)))
        with pytest.raises(NotPermitted):
            await edit(us, made, "a@b.test", raw=us.mail(author="eve@evil.test"))
        with pytest.raises(Invalid):
            await edit(us, made, "a@b.test", raw=b"\r\nno header\r\n")
        assert await states(us, made) == [DeliveryState.SCHEDULED]
        assert await mass(us) == 249
        assert await told(us, made, EventType.DELIVERY_CANCELLED) == []
        await check_books(us)
        await edit(us, made, "x@b.test", "y@b.test")
        assert await mass(us) == 250


async def test_only_its_author_may_change_it(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us)
        for by_bob in (
            move(us, made, Wish(at=clock.now() + DAY), by=us.bob.id),
            send_now(us, made, by=us.bob.id),
            cancel(us, made, by=us.bob.id),
        ):
            with pytest.raises(NotPermitted, match=r"Only its author, Anna \(anna@acme.test\), may change"):
                await by_bob
        with pytest.raises(Unknown):
            await cancel(us, made, org="other")
        assert await states(us, made) == [DeliveryState.SCHEDULED]


async def test_who_saw_an_older_version_changes_nothing(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us)
        await move(us, made, Wish(at=clock.now() + DAY), version=1)
        with pytest.raises(Outdated, match="version 2 now, not 1"):
            await cancel(us, made, version=1)
        moves = [move(us, made, Wish(at=clock.now() + n * HOUR), version=2) for n in range(1, 9)]
        ended = await asyncio.gather(*moves, return_exceptions=True)
        assert sum(isinstance(one, Outdated) for one in ended) == 7


async def test_what_is_claimed_cannot_be_changed(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us, "a@b.test", "c@d.test")
        clock.advance(HOUR)
        assert len(await claim(us, limit=1)) == 1  # one of the two is enough: they change together or not at all
        for late in (move(us, made, Wish(at=clock.now() + DAY)), send_now(us, made), cancel(us, made), edit(us, made)):
            with pytest.raises(Conflict, match="It is going out, and cannot be changed any more"):
                await late
        assert sorted(await states(us, made)) == [DeliveryState.SCHEDULED, DeliveryState.SENDING]
        await check_books(us)


@pytest.mark.parametrize("kind", ["cancel", "move", "edit"])
async def test_a_change_that_races_with_the_claim_wins_or_is_refused(
    store: AnyStore, clock: FakeClock, tmp_path: Path, kind: str
) -> None:
    """What was changed is never sent as it was, and what is sent was not changed."""
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = [await schedule(us, f"a{number}@b{number}.test", f"c{number}@d.test") for number in range(12)]
        clock.advance(HOUR)

        async def change_it(one: Submitted) -> bool:
            try:
                if kind == "cancel":
                    await cancel(us, one)
                elif kind == "move":
                    await move(us, one, Wish(at=clock.now() + DAY))
                else:
                    await edit(us, one, "new@b.test", schedule=Wish(at=clock.now() + DAY))
            except Conflict:
                return False
            return True

        async def claim_all() -> list[DeliveryId]:
            got: list[DeliveryId] = []
            for _ in range(12):
                got += [one.id for one in await claim(us, limit=2)]
                await asyncio.sleep(0.002)
            return got

        changed, claimed, more = await asyncio.gather(
            asyncio.gather(*(change_it(one) for one in made)), claim_all(), claim_all()
        )
        sent = {*claimed, *more}
        assert len(sent) == len(claimed) + len(more)
        for one, was_changed in zip(made, changed, strict=True):
            assert not (was_changed and sent & set(one.deliveries)), (one, was_changed)
        rest = {one.id for one in await claim(us)}
        for one, was_changed in zip(made, changed, strict=True):
            assert was_changed or set(one.deliveries) <= sent | rest
        await check_books(us)


async def test_held_by_who_looks_after_the_queue_it_is_not_its_authors_to_change(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us)
        await store.write(deliveries.change, made.deliveries[0], {"state": DeliveryState.HELD, "held_by": "hand"})
        with pytest.raises(Conflict, match="held by somebody who looks after the queue"):
            await cancel(us, made)


async def test_a_recipient_who_was_cancelled_by_hand_does_not_keep_the_rest_from_being_moved(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us, "a@b.test", "c@d.test", after=DAY)
        one = await us.delivery(made.deliveries[0])
        because = {"by": "operator", "reason": "", "operation": ""}
        await store.write(controls.cancel, [one], at=clock.now(), because=because)
        assert await mass(us, 1) == 1
        await move(us, made, Wish(at=clock.now() + HOUR))
        assert (await mass(us), await mass(us, 1)) == (1, 0)
        assert await states(us, made) == [DeliveryState.CANCELLED, DeliveryState.SCHEDULED]


@pytest.mark.parametrize("what", [Control.CANCEL, Control.BOUNCE])
async def test_ended_by_who_looks_after_the_queue_each_gives_its_unit_back_once(
    store: AnyStore, clock: FakeClock, tmp_path: Path, what: Control
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us, "a@b.test", "c@d.test", "e@f.test", after=DAY)
        assert await end_by_hand(us, what, made.deliveries[0]) == 1
        assert await mass(us, 1) == 2
        assert await end_by_hand(us, what, made.deliveries[0]) == 0
        assert await mass(us, 1) == 2
        await cancel(us, made)
        assert await mass(us, 1) == 0
        await check_books(us)


async def test_its_author_gives_what_is_cancelled_back_once(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us, "a@b.test", "c@d.test", after=DAY)
        await schedule(us, "e@f.test", "g@h.test", "i@j.test", after=DAY)
        await cancel(us, made)
        assert await mass(us, 1) == 3
        with pytest.raises(Conflict):
            await cancel(us, made)
        await end_by_hand(us, Control.CANCEL, *made.deliveries)
        assert await mass(us, 1) == 3


async def test_what_was_scheduled_uncounted_gives_nothing_back(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        counted = us.submitter.terms
        us.submitter.terms = replace(counted, quotas=False)
        free = [await schedule(us, "a@b.test", "c@d.test", after=DAY) for _ in range(4)]
        us.submitter.terms = counted
        await schedule(us, *(f"r{number}@b.test" for number in range(5)), after=DAY)
        await cancel(us, free[0])
        await end_by_hand(us, Control.CANCEL, *free[1].deliveries)
        assert await mass(us, 1) == 5
        # A move counts it: it is a mail of that day.
        await move(us, free[2], Wish(at=clock.now() + 2 * DAY))
        assert (await mass(us, 1), await mass(us, 2)) == (5, 2)
        us.submitter.terms = replace(counted, quotas=False)
        await move(us, free[2], Wish(at=clock.now() + 3 * DAY))
        assert (await mass(us, 2), await mass(us, 3)) == (0, 0)
        us.submitter.terms = counted
        await cancel(us, free[2])
        await edit(us, free[3], "a@b.test", "c@d.test", "e@f.test")
        assert await mass(us, 1) == 8


async def test_moving_to_a_full_day_is_refused_and_nothing_is_lost(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us, "a@b.test", "c@d.test", after=DAY)
        await schedule(us, *(f"r{number}@b.test" for number in range(249)), after=2 * DAY)
        with pytest.raises(QuotaSpent, match=r"has 1 left on 2026-11-04 .* choose another day"):
            await move(us, made, Wish(at=clock.now() + 2 * DAY))
        assert (await mass(us, 1), await mass(us, 2)) == (2, 249)
        await move(us, made, Wish(at=clock.now() + DAY + HOUR))
        assert await mass(us, 1) == 2


async def test_a_schedule_of_the_past_or_too_far_ahead_is_refused(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        for after in (-HOUR, 366 * DAY):
            with pytest.raises(Invalid):
                await schedule(us, after=after)
            made = await schedule(us)
            with pytest.raises(Invalid):
                await move(us, made, Wish(at=clock.now() + after))
            assert await states(us, made) == [DeliveryState.SCHEDULED]


async def test_what_is_listed_goes_first_first_in_pages(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = [await schedule(us, "a@b.test", "c@d.test", after=n * HOUR) for n in (3, 1, 2)]
        async with watched(store) as watch:
            first = await store.read(schedules.list_waiting, us.org.id, limit=2)
            after = (first[-1].due_at, str(first[-1].schedule.queue_id))
            rest = await store.read(schedules.list_waiting, us.org.id, after=after, limit=2)
            await move(us, made[0], Wish(at=clock.now() + DAY))
            await send_now(us, made[1])
            await cancel(us, made[2])
        watch.check()
        listed = [(one.schedule.queue_id, one.recipients) for one in (*first, *rest)]
        assert listed == [(made[n].queue_id, 2) for n in (1, 2, 0)]
        (left,) = await store.read(schedules.list_waiting, us.org.id, author=us.anna.id)
        assert left.schedule.queue_id == made[0].queue_id
        assert await store.read(schedules.list_waiting, us.org.id, author=us.bob.id) == []


async def test_under_a_key_a_schedule_is_one_mail(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        wish = Wish(preset=Preset.TOMORROW_MORNING)
        made = await us.submit(schedule=wish, idempotency_key="k")
        clock.advance(timedelta(hours=20))
        again = await us.submit(schedule=wish, idempotency_key="k")
        assert (again.queue_id, again.repeated, again.schedule) == (made.queue_id, True, made.schedule)
        with pytest.raises(Conflict):
            await us.submit(schedule=Wish(preset=Preset.TOMORROW_EVENING), idempotency_key="k")


# --- I25


async def away(us: Relay, key: str, until: datetime | None, *, gone: bool = False) -> None:
    noted = Absence(
        org=us.org.id,
        key=key,
        until=until,
        since=None,
        gone=gone,
        noted_at=us.clock.now(),
        message=MessageId("M"),
        instead=(),
    )
    await us.store.write(absences.note, noted)


async def park(us: Relay, held: Sequence[Delivery]) -> list[str]:
    parked = await us.store.write(scheduled.park_absent, held, us.clock.now())
    return [str(one.address) for one in parked]


async def test_i25_scheduled_mail_waits_for_who_is_away_and_goes_to_the_others(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        back = clock.now() + 14 * DAY
        await away(us, "a@b.test", back)
        await away(us, "gone@b.test", None, gone=True)
        await away(us, "soon@b.test", clock.now() + timedelta(minutes=30))
        made = await schedule(us, "a@b.test", "c@d.test", "gone@b.test", "soon@b.test")
        clock.advance(HOUR)
        held = await claim(us)
        async with watched(store) as watch:
            assert await park(us, held) == ["a@b.test"]
        watch.check()
        parked = await us.delivery(made.deliveries[0])
        assert (parked.state, parked.due_at, parked.lease) == (DeliveryState.SCHEDULED, back, None)
        assert parked.expires_at == back + timedelta(days=5)  # it is not late before it went
        last = (await told(us, made, EventType.DELIVERY_SCHEDULED))[-1]
        assert dict(last.data)["because"] == "a@b.test is away until 2026-11-16, by an automatic reply"
        clock.advance(13 * DAY)
        assert await claim(us) == []
        clock.advance(DAY)
        again = await claim(us)
        assert [one.id for one in again] == [parked.id]
        assert await park(us, again) == []
        await check_books(us)


async def test_i25_it_is_parked_once_for_each_absence(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await away(us, "a@b.test", clock.now() + 3 * DAY)
        made = await schedule(us, "a@b.test")
        clock.advance(HOUR)
        assert await park(us, await claim(us)) == ["a@b.test"]
        # Its author wants it to go nevertheless, at a time when she is away still.
        await move(us, made, Wish(at=clock.now() + DAY))
        clock.advance(DAY)
        held = await claim(us)
        assert await park(us, held) == []
        # A longer absence is another one.
        await away(us, "a@b.test", clock.now() + 9 * DAY)
        assert await park(us, held) == ["a@b.test"]
        assert await park(us, held) == []  # nobody's claim any more


async def test_i25_sent_now_it_goes_whoever_is_away(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await away(us, "a@b.test", clock.now() + 3 * DAY)
        made = await schedule(us, "a@b.test")
        await send_now(us, made)
        assert await park(us, await claim(us)) == []


async def test_i25_mail_that_was_not_scheduled_or_was_tried_is_not_parked(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await away(us, "a@b.test", clock.now() + 3 * DAY)
        await us.submit("a@b.test")
        await schedule(us, "a@b.test", after=timedelta())
        held = await claim(us)
        assert len(held) == 2
        assert await park(us, [replace(one, attempts=1) for one in held]) == []
        assert len(await park(us, held)) == 1


async def test_i25_what_waits_alone_can_be_moved_and_sent_but_not_replaced(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await away(us, "a@b.test", clock.now() + 3 * DAY)
        made = await schedule(us, "a@b.test", "c@d.test")
        clock.advance(HOUR)
        await park(us, await claim(us))
        with pytest.raises(Conflict, match="It is going out"):
            await edit(us, made, "x@b.test")
        await send_now(us, made)
        assert sorted(await states(us, made)) == [DeliveryState.QUEUED, DeliveryState.SENDING]


async def test_i25_a_claim_that_was_lost_is_not_parked(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await away(us, "a@b.test", clock.now() + 3 * DAY)
        made = await schedule(us, "a@b.test", after=timedelta())
        (held,) = await claim(us)
        assert held.lease is not None
        stale = replace(held, lease=replace(held.lease, fence=held.lease.fence - 1))
        assert await park(us, [stale]) == []
        assert await states(us, made) == [DeliveryState.SENDING]


# --- clocks


@pytest.mark.parametrize("jump", [timedelta(hours=-2), timedelta(minutes=30)])
async def test_fault_q01_a_clock_that_is_set_sends_nothing_twice_and_nothing_early_by_its_own_time(
    store: AnyStore, clock: FakeClock, tmp_path: Path, jump: timedelta
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        made = await schedule(us)
        due = clock.now() + HOUR
        clock.advance(jump)
        assert await claim(us) == []
        clock.advance(due - clock.now())
        assert [one.id for one in await claim(us)] == list(made.deliveries)
        clock.advance(-HOUR)
        assert await claim(us) == []


@pytest.mark.parametrize("year", [2038, 2100])
async def test_fault_q02_times_beyond_2038_are_kept(store: AnyStore, tmp_path: Path, year: int) -> None:
    clock = FakeClock(datetime(year, 1, 18, 12, tzinfo=UTC))
    async with relay(tmp_path, store=store, clock=clock) as us:
        wall = datetime(year, 6, 1, 8)  # noqa: DTZ001
        made = await us.submit(schedule=Wish(at=wall, zone=ZoneInfo("Europe/Berlin")))
        assert made.schedule is not None
        assert made.schedule.due_at == datetime(year, 6, 1, 6, tzinfo=UTC)
        clock.advance(made.schedule.due_at - clock.now() - timedelta(microseconds=1))
        assert await claim(us) == []
        clock.advance(timedelta(microseconds=1))
        assert len(await claim(us)) == 1


async def test_fault_q02_the_zone_of_the_process_does_not_matter(
    store: AnyStore, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    async with relay(tmp_path, store=store, clock=clock) as us:
        for zone in ("Pacific/Kiritimati", "America/New_York", None):
            if zone is None:
                monkeypatch.delenv("TZ", raising=False)
            else:
                monkeypatch.setenv("TZ", zone)
            time.tzset()
            made = await us.submit(schedule=Wish(preset=Preset.TOMORROW_MORNING))
            assert made.schedule is not None
            assert made.schedule.due_at == datetime(2026, 11, 3, 8, tzinfo=UTC)
    monkeypatch.undo()
    time.tzset()
