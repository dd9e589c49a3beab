"""Quotas on both databases: never one over, whoever asks at once, on which day, and whatever the clock does (O6, O7, A12, Q01)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailrelay.errors import QuotaSpent, Suppressed
from mailrelay.ids import OrgId
from mailrelay.model.envelope import Channel
from mailrelay.model.quota import QuotaKind
from mailrelay.model.schedule import Wish
from mailrelay.model.settings import OrganisationSettings, Plan
from mailrelay.model.suppression import SuppressionReason
from mailrelay.outbound import allowance
from mailrelay.store import deliveries, ledger, organisations, people, quotas, suppressions
from mailrelay.store.base import Store, Tx
from tests.store.explain import AnyStore, watched
from tests.support.clock import FakeClock
from tests.support.outbound import Relay, relay

ORG, DAY = OrgId("O"), date(2026, 11, 2)
SINGLE, MASS = QuotaKind.SINGLE, QuotaKind.MASS


async def spend(store: Store, number: int = 1, *, limit: int = 10, kind: QuotaKind = SINGLE, day: date = DAY) -> bool:
    return await store.write(quotas.spend, ORG, kind, day, number, limit=limit)


async def used(store: Store, *, kind: QuotaKind = SINGLE, day: date = DAY) -> int:
    return await store.read(quotas.used, ORG, kind, day)


async def test_fault_a12_fifty_at_once_take_just_what_is_there(store: Store) -> None:
    took = await asyncio.gather(*(spend(store, limit=33) for _ in range(50)))
    assert took.count(True) == 33
    assert await used(store) == 33


async def test_many_units_are_taken_whole_or_not_at_all(store: Store) -> None:
    took = await asyncio.gather(*(spend(store, 3, limit=10) for _ in range(20)))
    assert took.count(True) == 3
    assert await used(store) == 9
    assert not await spend(store, 2)
    assert await spend(store, 1)
    assert not await spend(store, 11, day=DAY + timedelta(days=1))
    assert await used(store, day=DAY + timedelta(days=1)) == 0


async def test_kinds_and_days_are_counted_apart(store: Store) -> None:
    assert await spend(store, 10)
    assert await spend(store, 10, kind=MASS)
    assert await spend(store, 10, day=DAY + timedelta(days=1))
    assert not await spend(store, 1)


async def test_a_limit_that_is_changed_in_mid_day_counts_with_what_is_used(store: Store) -> None:
    assert await spend(store, 10, limit=10)
    assert await spend(store, 5, limit=15)
    assert not await spend(store, 1, limit=12)
    assert await used(store) == 15


async def test_what_is_given_back_can_be_taken_again_and_is_never_below_nothing(store: Store) -> None:
    await spend(store, 10)
    await store.write(quotas.give_back, ORG, SINGLE, DAY, 4)
    assert not await spend(store, 5)
    assert await spend(store, 4)
    await store.write(quotas.give_back, ORG, SINGLE, DAY, 99)
    assert await used(store) == 0


async def test_the_history_is_paged_by_whole_days(store: Store) -> None:
    for offset in (0, 1, 3):
        await spend(store, offset + 1, day=DAY + timedelta(days=offset))
    await spend(store, 7, kind=MASS, day=DAY + timedelta(days=1))
    first = await store.read(quotas.history, ORG, before=date.max, limit=2)
    assert [(one.day - DAY, one.kind, one.used) for one in first] == [
        (timedelta(days=3), SINGLE, 4),
        (timedelta(days=1), MASS, 7),
        (timedelta(days=1), SINGLE, 2),
    ]
    rest = await store.read(quotas.history, ORG, before=first[-1].day, limit=2)
    assert [(one.day, one.used) for one in rest] == [(DAY, 1)]


async def test_every_question_uses_an_index(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us, watched(store) as watch:
        await spend(store)
        await used(store)
        await store.write(quotas.give_back, ORG, SINGLE, DAY, 1)
        await store.read(quotas.history, ORG, before=date.max, limit=5)
        await store.read(people.count_confirmed, us.org.id)
    watch.check()


# --- through the one door out


async def limit_to(us: Relay, **settings: Any) -> None:
    changed = replace(us.org, settings=OrganisationSettings(**settings))
    await us.store.write(organisations.update_organisation, changed)


async def confirmed(us: Relay, *, bob: bool) -> None:
    await us.store.write(people.update_user, replace(us.bob, confirmed=bob))


async def used_of(us: Relay, kind: QuotaKind = SINGLE) -> int:
    organisation = await us.store.read(organisations.get, us.org.id)

    def read(tx: Tx) -> int:
        return allowance.quota(tx, organisation, kind, at=us.clock.now()).used

    return await us.store.read(read)


async def test_fault_a12_fifty_submissions_at_once_never_go_one_over(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await limit_to(us, plan=Plan.FREE)
        await confirmed(us, bob=False)  # one user counts: 50
        await us.submit(*(f"r{number}@b.test" for number in range(20)))
        ended = await asyncio.gather(
            *(us.submit(f"a{n}@b.test", idempotency_key=f"k{n}") for n in range(50)), return_exceptions=True
        )
        assert sum(isinstance(one, QuotaSpent) for one in ended) == 20
        assert await used_of(us) == 50
        assert len(await store.read(deliveries.list_deliveries, us.org.id, limit=1000)) == 50
        assert all(one.unaccounted == 0 for one in await store.read(ledger.balance))


async def test_a_mail_to_ten_with_five_left_is_refused_whole_and_costs_nothing(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await limit_to(us, plan=Plan.FREE)
        await us.submit(*(f"r{number}@b.test" for number in range(95)))
        with pytest.raises(QuotaSpent, match="has 5 left") as spent:
            await us.submit(*(f"x{number}@b.test" for number in range(10)))
        assert (spent.value.limit, spent.value.used, spent.value.asked) == (100, 95, 10)
        assert len(await store.read(deliveries.list_deliveries, us.org.id, limit=1000)) == 95
        await us.submit(*(f"y{number}@b.test" for number in range(5)))
        assert await used_of(us) == 100


async def test_a_repeat_costs_nothing_and_is_answered_when_all_is_used(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await limit_to(us, plan=Plan.FREE)
        first = await us.submit(*(f"r{number}@b.test" for number in range(100)), idempotency_key="k")
        again = await us.submit(*(f"r{number}@b.test" for number in range(100)), idempotency_key="k")
        assert (again.queue_id, again.repeated) == (first.queue_id, True)
        assert await used_of(us) == 100
        # Under the same key at once: one is first, the others cost nothing.
        clock.advance(timedelta(days=1))
        made = await asyncio.gather(*(us.submit("a@b.test", idempotency_key="new") for _ in range(10)))
        assert len({one.queue_id for one in made}) == 1
        assert await used_of(us) == 1


async def test_what_fails_for_another_reason_costs_nothing(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await store.write(
            suppressions.suppress,
            org=us.org.id,
            key="bob@b.test",
            reason=SuppressionReason.BY_HAND,
            evidence="",
            now=clock.now(),
        )
        with pytest.raises(Suppressed):
            await us.submit("eve@b.test", "bob@b.test")
        assert await used_of(us) == 0


async def test_single_and_mass_are_kept_apart(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await limit_to(us, plan=Plan.FREE, mass_quota=250)
        await us.submit("a@b.test", "b@b.test")
        await us.submit("a@b.test", job="spring")
        await us.submit("a@b.test", schedule=Wish(at=clock.now() + timedelta(hours=1)))
        await us.submit("a@b.test", channel=Channel.NOTICE, mail_from=None)
        assert (await used_of(us), await used_of(us, MASS)) == (2, 3)
        with pytest.raises(QuotaSpent, match="quota of 250 recipients of mass mail"):
            await us.submit(*(f"r{number}@b.test" for number in range(248)), job="spring")


async def test_users_and_plan_count_as_they_are_now(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await limit_to(us, plan=Plan.FREE)
        await us.submit(*(f"r{number}@b.test" for number in range(60)))
        await confirmed(us, bob=False)
        with pytest.raises(QuotaSpent, match=r"quota of 50 .* has 0 left \(60 are used\)"):
            await us.submit("a@b.test")
        await limit_to(us, plan=Plan.PAID)
        await us.submit("a@b.test")
        assert await used_of(us) == 61
        await store.write(people.deactivate, us.org.id, us.bob.id)
        with pytest.raises(QuotaSpent, match="quota of 300 "):
            await us.submit(*(f"r{number}@b.test" for number in range(240)))


BERLIN_DAYS = [
    (datetime(2026, 3, 28, 23, tzinfo=UTC), 23),
    (datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
    (datetime(2026, 11, 21, 23, tzinfo=UTC), 24),
]


@pytest.mark.parametrize(("begins", "hours"), BERLIN_DAYS)
async def test_fault_a12_the_day_is_the_organisations_to_the_microsecond(
    store: AnyStore, tmp_path: Path, begins: datetime, hours: int
) -> None:
    clock = FakeClock(begins - timedelta(microseconds=1))
    async with relay(tmp_path, store=store, clock=clock) as us:
        us.org = replace(us.org, time_zone="Europe/Berlin")
        await limit_to(us, plan=Plan.FREE)
        all_of_it = [f"r{number}@b.test" for number in range(100)]
        await us.submit(*all_of_it)
        clock.advance(timedelta(microseconds=1))
        await us.submit(*all_of_it)
        clock.advance(timedelta(hours=hours) - timedelta(microseconds=1))
        with pytest.raises(QuotaSpent) as spent:
            await us.submit("one@b.test")
        assert spent.value.resets_at == begins + timedelta(hours=hours)
        clock.advance(timedelta(microseconds=1))
        await us.submit(*all_of_it)


async def test_fault_q01_a_clock_that_jumps_gives_nothing_anew(
    store: AnyStore, clock: FakeClock, tmp_path: Path
) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await limit_to(us, plan=Plan.FREE)
        all_of_it = [f"r{number}@b.test" for number in range(100)]
        await us.submit(*all_of_it)
        for jump in (timedelta(hours=-2), timedelta(hours=3), timedelta(days=365), timedelta(days=-365)):
            clock.advance(jump)
            if jump < timedelta(days=365):
                with pytest.raises(QuotaSpent):
                    await us.submit("one@b.test")
            else:
                await us.submit(*all_of_it)
        clock.advance(timedelta(days=365))
        with pytest.raises(QuotaSpent):
            await us.submit("one@b.test")


async def test_an_installation_may_hold_nobody_to_a_quota(store: AnyStore, clock: FakeClock, tmp_path: Path) -> None:
    async with relay(tmp_path, store=store, clock=clock) as us:
        await limit_to(us, plan=Plan.FREE)
        us.submitter.terms = replace(us.submitter.terms, quotas=False)
        await us.submit(*(f"r{number}@b.test" for number in range(300)))
        await us.submit(*(f"r{number}@b.test" for number in range(300)), job="spring")
        assert await used_of(us) == 0
