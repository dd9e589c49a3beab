"""Suppressions: they hold for one organisation, each reason by itself, until lifted (O10, I11)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from mailrelay.model.event import EventType
from mailrelay.model.suppression import SuppressionReason
from mailrelay.store import events, suppressions
from mailrelay.store.base import Store
from tests.support import factory
from tests.support.clock import FakeClock

BOUNCE, OPTED_OUT = SuppressionReason.HARD_BOUNCE, SuppressionReason.OPTED_OUT


async def test_a_suppression_holds_with_its_reason_and_evidence(store: Store, clock: FakeClock) -> None:
    org, other = await factory.org(store, clock), await factory.org(store, clock)
    assert await store.write(
        suppressions.suppress, org=org.id, key="a@x.test", reason=BOUNCE, evidence="550 5.1.1", now=clock.now()
    )
    (one,) = await store.read(suppressions.holding, org.id, ["a@x.test", "b@x.test"])
    assert (one.key, one.reason, one.since, one.evidence) == ("a@x.test", BOUNCE, clock.now(), "550 5.1.1")
    assert await store.read(suppressions.holding, other.id, ["a@x.test"]) == ()


async def test_the_same_reason_twice_is_one(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    for first in (True, False):
        assert first is await store.write(
            suppressions.suppress, org=org.id, key="a@x.test", reason=BOUNCE, evidence="", now=clock.now()
        )
    assert len(await store.read(events.after, org.id, 0, limit=10)) == 1


async def test_two_reasons_at_one_moment_are_lifted_apart(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    for reason in (BOUNCE, OPTED_OUT):
        await store.write(
            suppressions.suppress, org=org.id, key="a@x.test", reason=reason, evidence="", now=clock.now()
        )
    lifted = await store.write(suppressions.lift, org.id, "a@x.test", by="U1", now=clock.now(), reason=BOUNCE)
    assert [one.reason for one in lifted] == [BOUNCE]
    assert [one.reason for one in await store.read(suppressions.holding, org.id, ["a@x.test"])] == [OPTED_OUT]
    assert len(await store.write(suppressions.lift, org.id, "a@x.test", by="U1", now=clock.now())) == 1
    assert await store.write(suppressions.lift, org.id, "a@x.test", by="U1", now=clock.now()) == ()
    assert await store.read(suppressions.holding, org.id, ["a@x.test"]) == ()
    journal = [event.type for event in await store.read(events.after, org.id, 0, limit=10)]
    assert journal == [EventType.ADDRESS_SUPPRESSED] * 2 + [EventType.SUPPRESSION_LIFTED] * 2


async def test_a_lifted_address_can_be_suppressed_again_and_its_history_stays(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    for _ in range(2):
        await store.write(
            suppressions.suppress, org=org.id, key="a@x.test", reason=BOUNCE, evidence="", now=clock.now()
        )
        await store.write(suppressions.lift, org.id, "a@x.test", by="U1", now=clock.now())
        clock.advance(timedelta(days=1))
    kept = await store.read(suppressions.history, org.id, "a@x.test")
    assert [one.lifted_at is None for one in kept] == [False, False]


async def test_suppressing_at_once_is_refused_by_none(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    await asyncio.gather(
        *(
            store.write(suppressions.suppress, org=org.id, key="a@x.test", reason=reason, evidence="", now=clock.now())
            for reason in SuppressionReason
        )
    )
    held = await store.read(suppressions.holding, org.id, ["a@x.test"])
    assert {one.reason for one in held} == set(SuppressionReason)


async def test_the_list_is_paged_and_searched(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    for key in ("c_1@x.test", "a@x.test", "b@y.test", "c%1@x.test"):
        await store.write(suppressions.suppress, org=org.id, key=key, reason=BOUNCE, evidence="", now=clock.now())
    await store.write(suppressions.suppress, org=org.id, key="a@x.test", reason=OPTED_OUT, evidence="", now=clock.now())
    seen = []
    after = None
    while page := await store.read(suppressions.list_suppressions, org.id, after=after, limit=2):
        seen += [(one.key, one.reason) for one in page]
        after = (page[-1].key, page[-1].since)
    assert len(seen) == len(set(seen)) == 5
    assert seen[:3] == [("a@x.test", BOUNCE), ("a@x.test", OPTED_OUT), ("b@y.test", BOUNCE)]
    found = await store.read(suppressions.list_suppressions, org.id, search="@Y.test")
    assert [one.key for one in found] == ["b@y.test"]
    found = await store.read(suppressions.list_suppressions, org.id, search="c_1")
    assert [one.key for one in found] == ["c_1@x.test"]
