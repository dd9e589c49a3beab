"""Who left which list, kept by both databases (O15)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mailrelay.config.schema import BrakeLevels
from mailrelay.errors import Conflict
from mailrelay.model.delivery import Delivery
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.suppression import SuppressionReason
from mailrelay.outbound import unsubscribe
from mailrelay.store import deliveries, events, organisations, suppressions
from mailrelay.store.base import Store, Tx
from tests.support import factory, tracked
from tests.support.clock import FakeClock
from tests.support.tracked import House
from tests.support.unsubscribing import BOB, a_list


async def a_delivery(store: Store, clock: FakeClock, list_: str = "news") -> Delivery:
    org = await factory.org(store, clock)
    whose = House(org, await factory.user(store, clock, org))
    (of,) = await tracked.sent(store, clock, whose, BOB)
    found = await store.read(deliveries.by_id, of)
    assert found is not None
    return replace(found, job="spring", list=list_)


def left(tx: Tx, one: Delivery, list_: str, clock: FakeClock) -> bool:
    return unsubscribe.leave(tx, one, list_, way="page", evidence="page", at=clock.now(), brakes=BrakeLevels())


async def test_a_list_is_left_apart_from_all_mail(store: Store, clock: FakeClock) -> None:
    one = await a_delivery(store, clock)
    assert await store.write(left, one, "news", clock)
    assert not await store.write(left, one, "news", clock)

    async def holding(*lists: str) -> list[str]:
        found = await store.read(suppressions.holding, one.org, [BOB], lists=lists)
        return sorted(each.list for each in found)

    assert await holding() == await holding("", "offers") == []
    assert await holding("news") == ["news"]
    assert await store.write(left, one, "", clock)
    assert (await holding(), await holding("news")) == ([""], ["", "news"])
    assert {each.list for each in await store.read(unsubscribe.left, one)} == {"", "news"}
    # A bounce that is lifted by a record's change leaves both as they are.
    assert await store.write(suppressions.start_clean, one.org, {BOB: factory.ref("contact/1")}, now=clock.now()) == ()
    lifted = await store.write(unsubscribe.come_back, one, evidence="page", at=clock.now())
    assert sorted(each.list for each in lifted) == ["", "news"]
    assert await store.write(unsubscribe.come_back, one, evidence="page", at=clock.now()) == ()


async def test_who_comes_back_comes_back_to_their_list_alone(store: Store, clock: FakeClock) -> None:
    one = await a_delivery(store, clock)
    for list_ in ("news", "offers"):
        await store.write(left, one, list_, clock)
    await store.write(unsubscribe.come_back, one, evidence="page", at=clock.now())
    stood = await store.read(suppressions.history, one.org, BOB)
    assert {each.list: each.lifted_at is None for each in stood} == {"news": False, "offers": True}


async def test_many_clicks_at_once_are_one(store: Store, clock: FakeClock) -> None:
    one = await a_delivery(store, clock)
    new = await asyncio.gather(*(store.write(left, one, "news", clock) for _ in range(12)))
    assert sorted(new) == [False] * 11 + [True]
    told = await store.read(events.after, one.org, 0, limit=100)
    assert [each.type for each in told].count("address.unsubscribed") == 1
    assert [each.type for each in told].count("address.suppressed") == 1


async def test_unsubscriptions_are_paged_by_list(store: Store, clock: FakeClock) -> None:
    one = await a_delivery(store, clock)
    await a_list(store, clock, one.org)
    for number in range(5):
        await store.write(
            suppressions.suppress,
            org=one.org,
            key=f"r{number}@b.test",
            reason=SuppressionReason.UNSUBSCRIBED,
            evidence="x",
            now=clock.now(),
            list_="news" if number % 2 else "",
        )
    page = await store.read(suppressions.list_suppressions, one.org, list_="news", limit=1)
    rest = await store.read(
        suppressions.list_suppressions, one.org, list_="news", after=(page[0].key, page[0].since), limit=9
    )
    assert [each.key for each in (*page, *rest)] == ["r1@b.test", "r3@b.test"]
    assert len(await store.read(suppressions.list_suppressions, one.org)) == 5


async def test_of_organisations_that_want_one_host_at_once_one_gets_it(store: Store, clock: FakeClock) -> None:
    orgs = [await factory.org(store, clock) for _ in range(6)]

    def take(tx: Tx, number: int) -> None:
        organisations.one_at_a_time(tx)
        tx.steady()
        organisations.check_host(tx, orgs[number].id, "links.acme.test")
        settings = OrganisationSettings(tracking_host="links.acme.test")
        organisations.update_organisation(tx, replace(orgs[number], settings=settings))

    done = await asyncio.gather(*(store.write(take, number) for number in range(6)), return_exceptions=True)
    assert [type(one) for one in done].count(Conflict) == 5
    with pytest.raises(Conflict, match="another organisation's"):
        await store.write(take, next(number for number, one in enumerate(done) if one is not None))
