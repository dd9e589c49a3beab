"""What authors are owed is told once, whoever comes first, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from mailrelay.ids import QueueId
from mailrelay.model.delivery import Delivery, DeliveryState, Notice
from mailrelay.model.sending import Scope, Sending
from mailrelay.store import ledger, notices, suspensions
from tests.store.explain import AnyStore, watched
from tests.support.clock import FakeClock
from tests.support.notices import notices as queued
from tests.support.notices import notifier
from tests.support.outbound import Relay, relay


@asynccontextmanager
async def failing(store: AnyStore, clock: FakeClock, folder: Path, *, mails: int = 1) -> AsyncIterator[Relay]:
    """A relay of whose mails to two recipients each none could be sent."""
    async with relay(folder, store=store, clock=clock, route="mx") as us:
        submitted = [
            await us.submit("a@nowhere.test", "b@gone.test", raw=us.mail(body=b"%d\r\n" % number))
            for number in range(mails)
        ]
        us.start()
        for one in submitted:
            await us.until(one, DeliveryState.FAILED, DeliveryState.SUPPRESSED)
        await us.stop()  # the author's domain does not exist either
        yield us


async def test_an_owed_notice_is_found_with_what_is_known_of_it(store: AnyStore, clock: FakeClock, tmp_path: Path):
    async with failing(store, clock, tmp_path) as us:
        (queue_id,) = await store.read(notices.waiting)
        owed = await store.read(notices.owed, queue_id)
        assert owed is not None
        assert owed.organisation.id == us.org.id
        assert [one.notice for one in owed.deliveries] == [Notice.FAILED] * 2
        assert set(owed.attempts) == {one.id for one in owed.deliveries}
        assert owed.message is not None
        assert (owed.message.subject, owed.suppressed, owed.came_back) == ("hello", None, {})
        assert await store.read(notices.waiting, skip={queue_id}) == ()
        assert await store.read(notices.owed, QueueId("Q0")) is None


async def test_what_is_held_and_untold_is_found_by_its_index_and_owed_once(
    store: AnyStore, clock: FakeClock, tmp_path: Path
):
    async with relay(tmp_path, store=store, clock=clock, route="mx") as us:
        submitted = [await us.submit(raw=us.mail(body=b"%d\r\n" % number)) for number in range(2)]
        first, second = sorted(one.deliveries[0] for one in submitted)  # of one moment
        for sending in (Sending(Scope.DOMAIN, "acme.test"), Sending(Scope.JOB, "spring")):
            await store.write(
                suspensions.suspend, org=us.org.id, sending=sending, reason="", evidence="", by="", at=clock.now()
            )
        async with watched(store) as watch:
            held = await store.read(notices.held_untold, before=clock.now())
            assert [one.id for one in held] == [first, second]
            assert [one.id for one in await store.read(notices.held_untold, before=clock.now(), after=held[0])] == [
                second
            ]
            assert await store.read(notices.held_untold, before=clock.now() - timedelta(seconds=1)) == ()
            assert await store.write(notices.owe_delayed, [first]) == 1
            assert await store.write(notices.owe_delayed, [first]) == 0
        watch.check()
        assert [one.id for one in await store.read(notices.held_untold, before=clock.now())] == [second]


async def test_taking_is_once_and_all_or_nothing(store: AnyStore, clock: FakeClock, tmp_path: Path):
    async with failing(store, clock, tmp_path):
        (queue_id,) = await store.read(notices.waiting)
        owed = await store.read(notices.owed, queue_id)
        assert owed is not None
        first, second = owed.deliveries
        assert await store.write(notices.take, [first], noticed=True)
        assert not await store.write(notices.take, [first, second], noticed=True)
        left = await store.read(notices.owed, queue_id)
        assert left is not None
        assert left.deliveries == (second,)
        assert await store.write(notices.take, [second], noticed=False)
        assert await store.read(notices.waiting) == ()


async def test_what_is_taken_is_noted_as_told_or_not(store: AnyStore, clock: FakeClock, tmp_path: Path):
    async with failing(store, clock, tmp_path) as us:
        (queue_id,) = await store.read(notices.waiting)
        owed = await store.read(notices.owed, queue_id)
        assert owed is not None
        told, untold = owed.deliveries
        await store.write(notices.take, [told], noticed=True)
        await store.write(notices.take, [untold], noticed=False)

        async def noted(one: Delivery) -> tuple[Notice, Notice]:
            found = await us.delivery(one.id)
            return found.notice, found.noticed

        assert await noted(told) == (Notice.NONE, Notice.FAILED)
        assert await noted(untold) == (Notice.NONE, Notice.NONE)


async def test_several_services_at_once_queue_one_notice_for_each_mail(
    store: AnyStore, clock: FakeClock, tmp_path: Path
):
    async with failing(store, clock, tmp_path, mails=6) as us:
        async with watched(store) as watch:
            await asyncio.gather(*(notifier(us).look() for _ in range(4)))
        watch.check()
        assert len(await queued(us)) == 6
        assert await store.read(notices.waiting) == ()
        assert await store.read(ledger.audit) == []
        assert all(one.unaccounted == 0 for one in await store.read(ledger.balance))
