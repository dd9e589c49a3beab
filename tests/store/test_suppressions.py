"""Suppressions: they hold for one organisation, each reason by itself, until lifted (O10, I11)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from mailrelay.ids import OrgId
from mailrelay.model.event import EventType
from mailrelay.model.record import RecordRef
from mailrelay.model.suppression import BOUNCED, Suppression, SuppressionReason
from mailrelay.store import events, records, suppressions
from mailrelay.store.base import Store
from mailrelay.store.records import Change
from mailrelay.store.suppressions import Taken
from tests.store.explain import AnyStore, watched
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


async def test_a_lift_says_who_and_why(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    await store.write(
        suppressions.suppress, org=org.id, key="a@x.test", reason=BOUNCE, evidence="", now=clock.now(), by="D1"
    )
    clock.advance(timedelta(hours=1))
    (lifted,) = await store.write(
        suppressions.lift, org.id, "a@x.test", by="U1", now=clock.now(), note="has a new mailbox"
    )
    assert await store.read(suppressions.history, org.id, "a@x.test") == (lifted,)
    assert (lifted.by, lifted.lifted_at, lifted.lifted_by, lifted.note) == (
        "D1",
        clock.now(),
        "U1",
        "has a new mailbox",
    )
    told = (await store.read(events.after, org.id, 0, limit=10))[-1]
    assert dict(told.data) == {"address": "a@x.test", "reason": BOUNCE, "by": "U1", "note": "has a new mailbox"}


async def test_the_same_reason_from_many_at_once_stands_once(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    await asyncio.gather(
        *(
            store.write(
                suppressions.suppress,
                org=org.id,
                key="a@x.test",
                reason=BOUNCE,
                evidence=str(number),
                now=clock.now() + timedelta(seconds=number),
            )
            for number in range(8)
        )
    )
    assert len(await store.read(suppressions.history, org.id, "a@x.test")) == 1


async def test_the_list_is_of_one_reason_and_with_what_was_lifted(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    for key, reason in (("a@x.test", BOUNCE), ("a@x.test", OPTED_OUT), ("b@x.test", BOUNCE)):
        await store.write(suppressions.suppress, org=org.id, key=key, reason=reason, evidence="", now=clock.now())
    await store.write(suppressions.lift, org.id, "b@x.test", by="U1", now=clock.now())

    async def listed(**how: Any) -> list[tuple[str, str]]:
        found = await store.read(suppressions.list_suppressions, org.id, **how)
        return [(one.key, one.reason) for one in found]

    assert await listed(reason=BOUNCE) == [("a@x.test", BOUNCE)]
    assert await listed(lifted=True, reason=BOUNCE) == [("a@x.test", BOUNCE), ("b@x.test", BOUNCE)]
    assert len(await listed(lifted=True)) == 3


# --- brought in from elsewhere ---


def given(key: str, since: datetime, reason: SuppressionReason = BOUNCE, **more: Any) -> Suppression:
    return Suppression(
        org=OrgId(""), key=key, reason=reason, since=since, evidence="imported", by="U1", lifted_at=None, **more
    )


async def test_what_is_brought_in_keeps_its_dates_and_comes_once(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    old = clock.now() - timedelta(days=900)
    lifted = replace(given("c@x.test", old), lifted_at=old + timedelta(days=1), lifted_by="U9", note="called")
    # Two reasons at one moment, a doubled line, and one that is history only.
    lines = [given("a@x.test", old), given("a@x.test", old, OPTED_OUT), given("a@x.test", old), lifted]
    for expected in (
        (Taken.ADDED, Taken.ADDED, Taken.UNCHANGED, Taken.ADDED),
        (Taken.UNCHANGED,) * 4,
    ):
        assert await store.write(suppressions.take, org.id, lines, by="U1", now=clock.now()) == expected
        held = await store.read(suppressions.holding, org.id, ["a@x.test", "b@x.test", "c@x.test"])
        assert [(one.key, one.reason) for one in held] == [("a@x.test", BOUNCE), ("a@x.test", OPTED_OUT)]
        assert held[0].since == old
        assert held[1].since - old == timedelta(microseconds=1)
    assert await store.read(suppressions.history, org.id, "c@x.test") == (replace(lifted, org=org.id),)
    journal = await store.read(events.after, org.id, 0, limit=10)
    assert [(one.type, one.at) for one in journal] == [(EventType.ADDRESS_SUPPRESSED, clock.now())] * 2


async def test_what_was_lifted_since_stays_lifted(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    line = given("a@x.test", clock.now() - timedelta(days=30))
    await store.write(suppressions.take, org.id, [line], by="U1", now=clock.now())
    clock.advance(timedelta(days=1))
    await store.write(suppressions.lift, org.id, "a@x.test", by="U2", now=clock.now())
    clock.advance(timedelta(days=1))
    assert await store.write(suppressions.take, org.id, [line], by="U1", now=clock.now()) == (Taken.LIFTED,)
    assert await store.read(suppressions.holding, org.id, ["a@x.test"]) == ()
    newer = replace(line, since=clock.now())
    assert await store.write(suppressions.take, org.id, [newer], by="U1", now=clock.now()) == (Taken.ADDED,)


async def test_the_same_file_twice_at_once_is_there_once(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    lines = [given(f"a{number}@x.test", clock.now()) for number in range(20)]
    took = await asyncio.gather(
        *(store.write(suppressions.take, org.id, lines, by="U1", now=clock.now()) for _ in range(3))
    )
    assert sum(became is Taken.ADDED for every in took for became in every) == 20
    assert len(await store.read(suppressions.list_suppressions, org.id, lifted=True)) == 20


# --- a record whose address changes (I11) ---


@pytest.fixture
async def bob(store: Store, clock: FakeClock) -> tuple[OrgId, RecordRef]:
    """A contact with old@x.test; every reason stands against old@x.test and new@x.test."""
    org = await factory.org(store, clock)
    one = await factory.record(store, clock, org, "contact/1", addresses=("old@x.test",))
    for key in ("old@x.test", "new@x.test"):
        for reason in SuppressionReason:
            await store.write(suppressions.suppress, org=org.id, key=key, reason=reason, evidence="", now=clock.now())
    clock.advance(timedelta(days=1))
    return org.id, one.ref


async def change(store: Store, clock: FakeClock, ref: tuple[OrgId, RecordRef], *addresses: str) -> Change:
    old = await store.read(records.get, *ref)
    fields = ("email", "secondary_email")
    gained = tuple(factory.address(text, field) for text, field in zip(addresses, fields, strict=False))
    return await store.write(records.upsert, replace(old, addresses=gained, updated_at=clock.now()))


async def test_i11_an_address_that_a_record_gains_starts_clean_of_bounces_only(
    store: Store, clock: FakeClock, bob: tuple[OrgId, RecordRef]
) -> None:
    assert await change(store, clock, bob, "old@x.test", "NEW@x.test") is Change.UPDATED
    kept = {one.reason for one in await store.read(suppressions.holding, bob[0], ["new@x.test"])}
    assert kept == set(SuppressionReason) - BOUNCED
    assert len(await store.read(suppressions.holding, bob[0], ["old@x.test"])) == len(SuppressionReason)
    lifted = [one for one in await store.read(suppressions.history, bob[0], "new@x.test") if one.lifted_at]
    assert [(one.lifted_at, one.lifted_by, one.note) for one in lifted] == [
        (clock.now(), "record changed", "contact/1 has this address now")
    ] * 2
    told = (await store.read(events.last, bob[0], 2))[0]
    assert (told.type, dict(told.data)["by"]) == (EventType.SUPPRESSION_LIFTED, "record changed")


async def test_i11_a_record_that_is_new_or_keeps_its_addresses_lifts_nothing(
    store: Store, clock: FakeClock, bob: tuple[OrgId, RecordRef]
) -> None:
    org, ref = bob
    assert await change(store, clock, bob, "old@x.test") is Change.UNCHANGED
    old = await store.read(records.get, *bob)
    await store.write(records.upsert, replace(old, name="Robert", updated_at=clock.now()))
    # The address moves to another field, and goes; and a new record has it.
    await store.write(records.upsert, replace(old, addresses=(factory.address("old@x.test", "secondary_email"),)))
    new = replace(old, ref=factory.ref("lead/1"))
    assert await store.write(records.upsert_many, [new, replace(new, name="Again")]) == (Change.CREATED, Change.UPDATED)
    assert await store.write(records.upsert, replace(old, ref=ref, addresses=())) is Change.UPDATED
    assert len(await store.read(suppressions.holding, org, ["old@x.test"])) == len(SuppressionReason)


async def test_i11_an_address_that_comes_back_to_its_record_is_not_clean(
    store: Store, clock: FakeClock, bob: tuple[OrgId, RecordRef]
) -> None:
    org, ref = bob
    everything = len(SuppressionReason)
    for blanked in ([], ["other@x.test"]):
        clock.advance(timedelta(minutes=1))
        assert await change(store, clock, bob, *blanked) is Change.UPDATED
        assert await change(store, clock, bob, "old@x.test") is Change.UPDATED
        assert len(await store.read(suppressions.holding, org, ["old@x.test"])) == everything
    # It comes to a record that never had it: somebody says anew that it is good.
    other = replace(await store.read(records.get, org, ref), ref=factory.ref("contact/2"), addresses=())
    await store.write(records.upsert, other)
    await change(store, clock, (org, other.ref), "old@x.test")
    assert {one.reason for one in await store.read(suppressions.holding, org, ["old@x.test"])}.isdisjoint(BOUNCED)
    # What is suppressed after the record has lost it is another's doing.
    await change(store, clock, (org, ref))
    clock.advance(timedelta(days=1))
    await store.write(suppressions.suppress, org=org, key="old@x.test", reason=BOUNCE, evidence="", now=clock.now())
    clock.advance(timedelta(days=1))
    await change(store, clock, (org, ref), "old@x.test")
    assert {one.reason for one in await store.read(suppressions.holding, org, ["old@x.test"])}.isdisjoint(BOUNCED)
    # A record that is forgotten is forgotten with what it had.
    await store.write(records.remove, org, ref, at=clock.now())
    await store.write(records.upsert, replace(other, ref=ref))
    await store.write(suppressions.suppress, org=org, key="other@x.test", reason=BOUNCE, evidence="", now=clock.now())
    await change(store, clock, (org, ref), "other@x.test")
    assert {one.reason for one in await store.read(suppressions.holding, org, ["other@x.test"])}.isdisjoint(BOUNCED)


async def test_i11_a_bulk_of_changes_asks_once(store: AnyStore, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    old = [factory.a_record(clock, org, f"lead/{number}", addresses=("x@x.test",)) for number in range(50)]
    await store.write(records.upsert_many, old)
    new = [
        replace(one, addresses=(factory.address(f"a{number}@x.test"),), updated_at=clock.now())
        for number, one in enumerate(old)
    ]
    for number in range(5):
        await store.write(
            suppressions.suppress, org=org.id, key=f"a{number}@x.test", reason=BOUNCE, evidence="", now=clock.now()
        )
    async with watched(store) as watch:
        await store.write(records.upsert_many, new)
    watch.check()
    about = [statement for statement, _ in watch.plans if "suppression" in statement]
    assert len(about) == 2, about  # what stands is read, what is found is lifted
    assert await store.read(suppressions.list_suppressions, org.id) == ()
