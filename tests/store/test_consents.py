"""Consents: every word is kept, the newest holds, for one organisation (O9)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from mailrelay.model.event import EventType
from mailrelay.model.organisation import Organisation
from mailrelay.model.tracking import Consent
from mailrelay.store import consents, events
from mailrelay.store.base import Store
from tests.store.explain import AnyStore, watched
from tests.support import factory
from tests.support.clock import FakeClock


def says(org: Organisation, clock: FakeClock, key: str = "bob@b.test", *, given: bool = True) -> Consent:
    return Consent(org=org.id, key=key, given=given, at=clock.now(), by="U1", evidence="form")


async def test_the_newest_holds_and_all_are_kept(store: Store, clock: FakeClock) -> None:
    org, other = await factory.org(store, clock), await factory.org(store, clock)
    assert await store.read(consents.standing, org.id, ["bob@b.test"]) == {}
    assert await store.read(consents.standing, org.id, []) == {}
    for given in (True, False, True, False):
        await store.write(consents.record, says(org, clock, given=given))  # all at the same moment
    await store.write(consents.record, says(org, clock, "eve@b.test"))
    assert await store.read(consents.standing, org.id, ["bob@b.test", "eve@b.test", "x@b.test"]) == {
        "bob@b.test": False,
        "eve@b.test": True,
    }
    assert [one.given for one in await store.read(consents.history, org.id, "bob@b.test")] == [False, True, False, True]
    assert await store.read(consents.standing, other.id, ["bob@b.test"]) == {}
    told = await store.read(events.after, org.id, 0, limit=10)
    assert [one.type for one in told] == [EventType.CONSENT_CHANGED] * 5


async def test_what_a_clock_that_went_back_says_later_still_holds(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    await store.write(consents.record, says(org, clock))
    said = replace(says(org, clock, given=False), at=clock.now() - timedelta(hours=2))
    assert (await store.write(consents.record, said)).at > clock.now()
    assert await store.read(consents.standing, org.id, ["bob@b.test"]) == {"bob@b.test": False}


async def test_many_who_write_at_once_are_all_kept(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    await asyncio.gather(*(store.write(consents.record, says(org, clock, given=n % 2 == 0)) for n in range(12)))
    assert len(await store.read(consents.history, org.id, "bob@b.test")) == 12


async def test_what_holds_is_listed_by_address(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    for n in range(5):
        await store.write(consents.record, says(org, clock, f"r{n}@b.test", given=False))
        if n % 2:
            await store.write(consents.record, says(org, clock, f"r{n}@b.test"))

    async def keys(**more) -> list[str]:
        return [one.key[:2] for one in await store.read(consents.list_consents, org.id, **more)]

    assert await keys() == ["r0", "r1", "r2", "r3", "r4"]
    assert await keys(given=True) == ["r1", "r3"]
    assert await keys(given=False, limit=2) == ["r0", "r2"]
    assert await keys(after="r1@b.test", limit=2) == ["r2", "r3"]
    assert await store.write(consents.forget, org.id, "r1@b.test") == 2
    assert await keys(given=True) == ["r3"]


async def test_no_statement_reads_all_consents(store: AnyStore, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    await store.write(consents.record, says(org, clock))
    async with watched(store) as watch:
        await store.read(consents.standing, org.id, ["bob@b.test"])
        await store.read(consents.history, org.id, "bob@b.test")
        await store.read(consents.list_consents, org.id, limit=10)
        await store.write(consents.record, says(org, clock))
    watch.check()
