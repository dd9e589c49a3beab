"""How long what tells whose a hit was is kept (O9)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from mailrelay.ids import DeliveryId, IdFactory
from mailrelay.model.hit import By, Engagement, Hit, HitKind, Judged, RawHit
from mailrelay.service import Stopping
from mailrelay.store import deliveries, hit_judging, hit_keeping, hit_taking, hits
from mailrelay.store.base import Store
from mailrelay.store.visibility import Viewer
from mailrelay.tracking import agent
from mailrelay.upkeep.hits import HitKeeper
from tests.store.explain import AnyStore, watched
from tests.support import tracked
from tests.support.clock import FakeClock
from tests.support.tracked import House, a_hit

_DAYS = 10


@pytest.fixture
async def whose(store: Store, clock: FakeClock) -> House:
    return await tracked.house(store, clock, raw_hit_days=_DAYS)


async def _take(store: Store, clock: FakeClock, *some: RawHit) -> None:
    name = IdFactory(clock.now).hit()
    await store.write(hit_taking.take, name, some, told=(), judge=agent.judge, now=clock.now())


async def _kept(store: Store, whose: House, of: DeliveryId) -> list[Hit]:
    found = await store.read(deliveries.by_id, of)
    assert found is not None
    return await store.read(hits.of_message, Viewer(org=whose.org.id, all=True), found.message)


async def _come_to(store: Store, whose: House, of: DeliveryId) -> Engagement:
    found = await store.read(deliveries.by_id, of)
    assert found is not None
    return (await store.read(hits.engagements, whose.org.id, found.message))[of]


async def test_what_tells_whose_a_hit_was_goes_in_time_and_what_it_was_stays(
    store: Store, clock: FakeClock, whose: House
) -> None:
    (of,) = await tracked.sent(store, clock, whose)
    keeper = HitKeeper(store, clock, stopping=Stopping())
    await _take(store, clock, a_hit(clock, of), a_hit(clock, of, HitKind.CLICK))
    clock.advance(timedelta(days=_DAYS, seconds=-1))
    await keeper.look()
    assert all(one.raw.ip and one.raw.agent and one.raw.method for one in await _kept(store, whose, of))
    before = [(one.raw.id, one.raw.kind, one.raw.at, one.raw.url, one.judged) for one in await _kept(store, whose, of)]
    figures = await _come_to(store, whose, of)
    clock.advance(timedelta(seconds=2))
    with capture_logs() as logs:
        await keeper.look()
        await keeper.look()
    assert [said["hits"] for said in logs] == [2]
    kept = await _kept(store, whose, of)
    assert [(one.raw.ip, one.raw.agent, one.raw.method, one.raw.headers) for one in kept] == [("", "", "", ())] * 2
    assert [(one.raw.id, one.raw.kind, one.raw.at, one.raw.url, one.judged) for one in kept] == before
    assert await _come_to(store, whose, of) == figures


async def test_another_organisation_s_hits_are_kept_as_long_as_it_says(
    store: Store, clock: FakeClock, whose: House
) -> None:
    usual = await tracked.house(store, clock)
    (ours,), (theirs,) = await tracked.sent(store, clock, whose), await tracked.sent(store, clock, usual)
    await _take(store, clock, a_hit(clock, ours), a_hit(clock, theirs))
    clock.advance(timedelta(days=_DAYS + 1))
    await HitKeeper(store, clock, stopping=Stopping()).look()
    assert (await _kept(store, whose, ours))[0].raw.stripped
    assert not (await _kept(store, usual, theirs))[0].raw.stripped
    clock.advance(timedelta(days=90))
    await HitKeeper(store, clock, stopping=Stopping()).look()
    assert (await _kept(store, usual, theirs))[0].raw.stripped


async def test_many_go_in_pieces(store: Store, clock: FakeClock, whose: House) -> None:
    (of,) = await tracked.sent(store, clock, whose)
    await _take(store, clock, *(a_hit(clock, of) for _ in range(5)))
    clock.advance(timedelta(days=_DAYS + 1))
    assert [await store.write(hit_keeping.strip, whose.org.id, now=clock.now(), limit=2) for _ in range(4)] == [
        2,
        2,
        1,
        0,
    ]


async def test_what_cannot_be_judged_any_more_stays_what_it_was(store: Store, clock: FakeClock, whose: House) -> None:
    """Nor can what came close behind it, which was judged by it as well."""
    (of,) = await tracked.sent(store, clock, whose)
    await _take(store, clock, a_hit(clock, of), a_hit(clock, of, HitKind.DECOY))
    clock.advance(timedelta(minutes=14))
    await _take(store, clock, a_hit(clock, of))
    clock.advance(timedelta(minutes=14))
    await _take(store, clock, a_hit(clock, of))
    clock.advance(timedelta(days=_DAYS) - timedelta(minutes=20))
    assert await store.write(hit_keeping.strip, whose.org.id, now=clock.now()) == 2
    before = [one.judged for one in await _kept(store, whose, of)]

    def other(some: object, sent_at: object) -> list[Judged]:
        return [Judged(by=By.UNKNOWN, reasons=("learnt",), rules=99) for _ in some]  # type: ignore[attr-defined]

    changes = await store.write(hit_judging.judge_again, whose.org.id, [of], judge=other, now=clock.now(), apply=True)
    assert [one.hits for one in changes] == [1]
    judged = [one.judged for one in await _kept(store, whose, of)]
    assert judged[:3] == before[:3]
    assert judged[3].by is By.UNKNOWN
    figures = await _come_to(store, whose, of)
    assert (figures.opens, figures.machine_opens, figures.unknown_opens) == (1, 1, 1)


async def test_a_late_hit_changes_no_verdict_that_cannot_be_made_again(
    store: Store, clock: FakeClock, whose: House
) -> None:
    (of,) = await tracked.sent(store, clock, whose)
    first, late = a_hit(clock, of, HitKind.CLICK), a_hit(clock, of, HitKind.DECOY)
    await _take(store, clock, first)
    clock.advance(timedelta(days=_DAYS + 1))
    await store.write(hit_keeping.strip, whose.org.id, now=clock.now())
    await _take(store, clock, late)  # it had waited on the disk
    assert (await _come_to(store, whose, of)).clicks == 1


async def test_what_is_too_old_is_found_by_an_index(store: AnyStore, clock: FakeClock, whose: House) -> None:
    async with watched(store) as watch:
        await store.read(hit_keeping.overdue, now=clock.now())
        await store.write(hit_keeping.strip, whose.org.id, now=clock.now())
    shown = [said for statement, said in watch.plans if "FROM hit" in statement]
    assert shown
    index = r"ix_hit_with_signal \(org=\? AND at<\?\)|ix_hit_with_signal.*?Index Cond:.*?\bat <"
    assert all(re.search(index, one, re.DOTALL) for one in shown)
