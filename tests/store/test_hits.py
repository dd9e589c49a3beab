"""Hits in the store: each once, as the mode and the person's consent now allow, and what they come to (O9, K1)."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from mailrelay.clock import to_micros
from mailrelay.ids import DeliveryId, HitId, IdFactory, MessageId
from mailrelay.model.delivery import Accepted
from mailrelay.model.event import Event, EventType
from mailrelay.model.hit import WINDOW, By, HitKind, RawHit, engagement_of
from mailrelay.model.reply import reply
from mailrelay.model.tracking import Mode
from mailrelay.store import deliveries, events, hit_judging, hit_taking, hits, rows
from mailrelay.store.base import Store, Tx
from mailrelay.store.tables import aggregate_hit, attempt, delivery, engagement, hit, link_hit
from mailrelay.store.visibility import Viewer
from mailrelay.tracking import agent
from tests.support import factory, tracked
from tests.support.clock import FakeClock
from tests.support.tracked import House, a_hit

_SECOND = timedelta(seconds=1)


async def _take(store: Store, clock: FakeClock, *some: RawHit, batch: str = "") -> hit_taking.Taken:
    name = HitId(batch) if batch else IdFactory(clock.now).hit()
    return await store.write(hit_taking.take, name, some, told=(), judge=agent.judge, now=clock.now())


async def _message(store: Store, of: DeliveryId) -> MessageId:
    found = await store.read(deliveries.by_id, of)
    assert found is not None
    return found.message


async def _journal(store: Store, whose: House) -> list[Event]:
    return list(await store.read(events.after, whose.org.id, 0, limit=1000))


@pytest.fixture
async def whose(store: Store, clock: FakeClock) -> House:
    return await tracked.house(store, clock)


async def test_opens_and_clicks_of_a_person_come_to_times_and_links(
    store: Store, clock: FakeClock, whose: House
) -> None:
    (of,) = await tracked.sent(store, clock, whose)
    times = []
    for kind, number in (
        (HitKind.OPEN, 0),
        (HitKind.CLICK, 2),
        (HitKind.OPEN, 0),
        (HitKind.CLICK, 1),
        (HitKind.CLICK, 2),
    ):
        clock.advance(timedelta(minutes=10))
        times.append(clock.now())
        await _take(store, clock, a_hit(clock, of, kind, link=number))
    message = await _message(store, of)
    found = (await store.read(hits.engagements, whose.org.id, message))[of]
    assert (found.opens, found.first_opened_at, found.last_opened_at) == (2, times[0], times[2])
    assert (found.clicks, found.first_clicked_at, found.last_clicked_at) == (3, times[1], times[4])
    assert [(one.link, one.clicks, one.first_at, one.last_at) for one in found.links] == [
        (1, 1, times[3], times[3]),
        (2, 2, times[1], times[4]),
    ]
    kept = await store.read(hits.of_message, Viewer(org=whose.org.id, all=True), message)
    assert [one.raw.at for one in kept] == times
    assert {one.judged.by for one in kept} == {By.PERSON}
    told = [(one.type, dict(one.data), one.user) for one in await _journal(store, whose)]
    assert told[0] == (EventType.DELIVERY_OPENED, {"by": "person", "first": "true"}, whose.user.id)
    assert told[1] == (
        EventType.DELIVERY_CLICKED,
        {"by": "person", "first": "true", "link": "2", "url": tracked.TARGET},
        whose.user.id,
    )
    assert [data["first"] for _, data, _ in told] == ["true", "true", "false", "false", "false"]


async def test_a_batch_that_comes_twice_is_counted_once(store: Store, clock: FakeClock, whose: House) -> None:
    (of,) = await tracked.sent(store, clock, whose)
    counted = await tracked.house(store, clock, tracking=Mode.AGGREGATE)
    (other,) = await tracked.sent(store, clock, counted, agreed=None)
    batch = (a_hit(clock, of), a_hit(clock, other))
    first = await _take(store, clock, *batch, batch="B1")
    again = await _take(store, clock, *batch, batch="B1")
    assert first.kept == {(HitKind.OPEN, By.PERSON): 2}
    assert (dict(again.kept), again.left) == ({}, {"again": 2})
    assert await store.read(lambda tx: tx.execute(select(func.count()).select_from(hit)).scalar()) == 1
    assert await store.read(lambda tx: tx.execute(select(aggregate_hit.c.hits)).scalars().all()) == [1]


async def test_a_scanner_stays_a_scanner_when_the_mail_comes_back(store: Store, clock: FakeClock, whose: House) -> None:
    (of,) = await tracked.sent(store, clock, whose, ago=_SECOND)
    await _take(store, clock, a_hit(clock, of, HitKind.CLICK, link=1))
    at = to_micros(clock.now() - _SECOND)

    def comes_back(tx: Tx) -> None:
        said = Accepted(reply=reply(250, "2.0.0", "ok"))
        values = {
            "delivery": of,
            "number": 1,
            "began_at": at,
            "ended_at": at,
            "host": "mx",
            "outcome": rows.encode_outcome(said),
        }
        tx.execute(attempt.insert().values(values))
        tx.execute(update(delivery).values(state="bounced", ended_at=to_micros(clock.now() + WINDOW), attempts=1))

    await store.write(comes_back)
    again = await store.write(
        hit_judging.judge_again, whose.org.id, [of], judge=agent.judge, now=clock.now(), apply=True
    )
    assert again == []
    await _take(store, clock, a_hit(clock, of, HitKind.CLICK, link=1))
    found = (await store.read(hits.engagements, whose.org.id, await _message(store, of)))[of]
    assert (found.clicks, found.machine_clicks) == (0, 2)


async def test_a_hit_in_two_batches_is_kept_once(store: Store, clock: FakeClock, whose: House) -> None:
    (of,) = await tracked.sent(store, clock, whose)
    one = a_hit(clock, of)
    await _take(store, clock, one)
    await _take(store, clock, one)
    found = (await store.read(hits.engagements, whose.org.id, await _message(store, of)))[of]
    assert found.opens == 1
    assert len(await _journal(store, whose)) == 1


async def test_batches_of_one_delivery_at_the_same_time_lose_nothing(
    store: Store, clock: FakeClock, whose: House
) -> None:
    many = await tracked.sent(store, clock, whose, number=3)
    clock.advance(_SECOND)
    await asyncio.gather(*(_take(store, clock, *(a_hit(clock, of) for of in many)) for _ in range(10)))
    found = await store.read(hits.engagements, whose.org.id, await _message(store, many[0]))
    assert {of: one.opens for of, one in found.items()} == dict.fromkeys(many, 10)
    firsts = [one.delivery for one in await _journal(store, whose) if dict(one.data)["first"] == "true"]
    assert sorted(firsts) == sorted(many)


async def test_fault_t11_after_consent_is_withdrawn_nothing_is_recorded(
    store: Store, clock: FakeClock, whose: House
) -> None:
    (of,) = await tracked.sent(store, clock, whose)
    await tracked.say(store, clock, whose, "bob@customer.test", agreed=False)
    assert (await _take(store, clock, a_hit(clock, of))).left == {"off": 1}
    clock.advance(_SECOND)
    await tracked.say(store, clock, whose, "bob@customer.test", agreed=True)
    assert (await _take(store, clock, a_hit(clock, of))).kept == {(HitKind.OPEN, By.PERSON): 1}


@pytest.mark.parametrize(
    ("organisation", "message", "agreed", "becomes"),
    [
        (Mode.OFF, "", True, "nothing"),
        (Mode.INDIVIDUAL, "off", True, "nothing"),
        (Mode.INDIVIDUAL, "", None, "nothing"),
        (Mode.INDIVIDUAL, "", False, "nothing"),
        (Mode.AGGREGATE, "", False, "nothing"),
        (Mode.AGGREGATE, "individual", True, "a number"),
        (Mode.AGGREGATE, "", None, "a number"),
        (Mode.INDIVIDUAL, "aggregate", None, "a number"),
        (Mode.INDIVIDUAL, "", True, "a person"),
    ],
)
async def test_what_is_kept_is_what_the_mode_allows_now(
    store: Store, clock: FakeClock, organisation: Mode, message: str, agreed: bool | None, becomes: str
) -> None:
    whose = await tracked.house(store, clock, tracking=organisation)
    (of,) = await tracked.sent(store, clock, whose, agreed=agreed, tracking=message)
    await _take(store, clock, a_hit(clock, of, HitKind.CLICK))

    def rows(tx: Tx) -> tuple[int, ...]:
        tables = (hit, engagement, link_hit, aggregate_hit)
        return tuple(tx.execute(select(func.count()).select_from(table)).scalar_one() for table in tables)

    assert (
        await store.read(rows) == {"nothing": (0, 0, 0, 0), "a number": (0, 0, 0, 1), "a person": (1, 1, 1, 0)}[becomes]
    )
    assert len(await _journal(store, whose)) == (becomes == "a person")


def _to_several(tx: Tx) -> None:
    """As if each delivery went to somebody else."""
    tx.execute(update(delivery).values(recipient_key=delivery.c.id))


@pytest.mark.parametrize("several", [False, True])
async def test_numbers_of_a_mail_to_few_would_be_a_person_s_and_are_not_shown(
    store: Store, clock: FakeClock, several: bool
) -> None:
    whose = await tracked.house(store, clock, tracking=Mode.AGGREGATE)
    of, *_ = await tracked.sent(store, clock, whose, agreed=None, number=hits.FEWEST - 1 + several)
    await store.write(_to_several)
    taken = await _take(store, clock, a_hit(clock, of, HitKind.CLICK, url="https://shop.example/?for=bob"))
    assert sum(taken.kept.values()) == 1
    shown = await store.read(hits.counted, whose.org.id, await _message(store, of))
    assert bool(shown) == several
    urls = await store.read(lambda tx: tx.execute(select(aggregate_hit.c.url)).scalars().all())
    assert urls == ["https://shop.example/?for=bob" if several else ""]


async def test_numbers_are_added_by_message_link_and_day(store: Store, clock: FakeClock) -> None:
    whose = await tracked.house(store, clock, tracking=Mode.AGGREGATE)
    several = await tracked.sent(store, clock, whose, agreed=None, number=hits.FEWEST)
    await store.write(_to_several)
    for _ in range(2):
        await _take(store, clock, *(a_hit(clock, of, HitKind.CLICK) for of in several[:2]), a_hit(clock, several[0]))
        clock.advance(timedelta(days=1))
    message = await _message(store, several[0])
    counted = await store.read(hits.counted, whose.org.id, message)
    assert [(one.kind, one.link, one.by, one.hits) for one in counted] == 2 * [
        (HitKind.CLICK, 1, By.PERSON, 2),
        (HitKind.OPEN, 0, By.PERSON, 1),
    ]
    assert len({one.day for one in counted}) == 2


@pytest.mark.parametrize("field", hit_taking.REFUSALS)
@pytest.mark.parametrize("honoured", [True, False])
async def test_fault_t12_a_reader_who_refuses_is_not_recorded_unless_the_organisation_says_so(
    store: Store, clock: FakeClock, field: tuple[str, str], honoured: bool
) -> None:
    whose = await tracked.house(store, clock, honour_dnt=honoured)
    (of,) = await tracked.sent(store, clock, whose)
    taken = await _take(store, clock, a_hit(clock, of, headers=(("accept", "*/*"), field)))
    assert (taken.left == {"refused": 1}, sum(taken.kept.values())) == (honoured, 1 - honoured)


async def test_later_hits_make_machine_s_of_earlier_ones(store: Store, clock: FakeClock, whose: House) -> None:
    (of,) = await tracked.sent(store, clock, whose)
    for number in (1, 2, 3):
        clock.advance(_SECOND * 0.3 if number == 3 else _SECOND)
        await _take(store, clock, a_hit(clock, of, HitKind.CLICK, link=number))
    message = await _message(store, of)
    kept = await store.read(hits.of_message, Viewer(org=whose.org.id, all=True), message)
    assert {one.judged.by for one in kept} == {By.MACHINE}
    found = (await store.read(hits.engagements, whose.org.id, message))[of]
    assert (found.clicks, found.machine_clicks, found.first_clicked_at, found.links) == (0, 3, None, ())
    judged = [dict(one.data) for one in await _journal(store, whose) if one.type is EventType.DELIVERY_JUDGED]
    assert [one["hits"] for one in judged] == ["2"]
    assert (judged[0]["clicks_before"], judged[0]["clicks"]) == ("2", "0")
    held = await store.read(deliveries.by_id, of)
    assert held is not None
    assert held.clicked_at is None


@pytest.mark.parametrize("bound", ["MOST_KEPT", "MOST_AT_ONCE"])
@pytest.mark.parametrize("kind", HitKind)
async def test_hits_of_one_delivery_have_an_end(
    store: Store, clock: FakeClock, whose: House, monkeypatch: pytest.MonkeyPatch, bound: str, kind: HitKind
) -> None:
    monkeypatch.setattr(hit_taking, bound, 5)
    (of,) = await tracked.sent(store, clock, whose)
    first = await _take(store, clock, *(a_hit(clock, of, kind) for _ in range(4)))
    then = await _take(store, clock, *(a_hit(clock, of, kind) for _ in range(4)))
    assert (sum(first.kept.values()), sum(then.kept.values()), then.left) == (4, 1, {"too many": 3})


async def test_judged_again_only_when_it_is_said_to(store: Store, clock: FakeClock, whose: House) -> None:
    many = await tracked.sent(store, clock, whose, number=3)
    for of in many[:2]:
        await _take(store, clock, a_hit(clock, of))

    def harsher(some: object, sent_at: object) -> list[object]:
        from mailrelay.model.hit import Judged

        return [Judged(by=By.MACHINE, reasons=("learnt",), rules=99) for _ in some]  # type: ignore[attr-defined]

    page = await store.read(
        hit_judging.tracked, whose.org.id, since=clock.now() - timedelta(days=1), after=None, limit=10
    )
    assert page == sorted(many[:2])
    late = await store.read(hit_judging.tracked, whose.org.id, since=clock.now() + _SECOND, after=None, limit=10)
    assert late == []
    message = await _message(store, many[0])
    for apply, opens in ((False, 1), (True, 0)):
        changes = await store.write(
            hit_judging.judge_again, whose.org.id, page, judge=harsher, now=clock.now(), apply=apply
        )
        assert [(one.delivery, one.hits, one.was.opens, one.now.opens) for one in changes] == [
            (of, 1, 1, 0) for of in sorted(many[:2])
        ]
        found = await store.read(hits.engagements, whose.org.id, message)
        assert {one.opens for one in found.values()} == {opens}
    other = await tracked.house(store, clock)
    assert (
        await store.write(hit_judging.judge_again, other.org.id, page, judge=agent.judge, now=clock.now(), apply=True)
        == []
    )
    types = [one.type for one in await _journal(store, whose)]
    assert types == [EventType.DELIVERY_OPENED] * 2 + [EventType.DELIVERY_JUDGED] * 2


async def test_fault_t13_erasure_takes_every_hit_of_a_person_and_of_nobody_else(
    store: Store, clock: FakeClock, whose: House
) -> None:
    (bob,) = await tracked.sent(store, clock, whose)
    (eve,) = await tracked.sent(store, clock, whose, "eve@customer.test")
    elsewhere = await tracked.house(store, clock)
    (namesake,) = await tracked.sent(store, clock, elsewhere)
    for of in (bob, eve, namesake):
        await _take(store, clock, a_hit(clock, of), a_hit(clock, of, HitKind.CLICK))
    assert await store.write(hits.forget, [bob]) == 2

    def left(tx: Tx) -> list[set[str]]:
        return [set(tx.execute(select(table.c.delivery)).scalars()) for table in (hit, engagement, link_hit)]

    assert await store.read(left) == [{eve, namesake}] * 3
    for of, opened in ((bob, False), (eve, True)):
        held = await store.read(deliveries.by_id, of)
        assert held is not None
        assert (held.opened_at is not None) is opened


async def test_a_token_for_a_delivery_that_is_gone_changes_nothing(
    store: Store, clock: FakeClock, whose: House
) -> None:
    gone = factory.ids(clock).delivery()
    assert (await _take(store, clock, a_hit(clock, gone))).left == {"unknown": 1}


async def test_what_the_database_counts_is_what_the_hits_come_to(store: Store, clock: FakeClock, whose: House) -> None:
    """Figures are counted by the database; judging again counts all hits itself, and finds nothing to change."""
    many, chance = await tracked.sent(store, clock, whose, number=4), random.Random(7)
    for _ in range(30):
        clock.advance(timedelta(minutes=chance.randrange(1, 30)))
        some = [
            a_hit(
                clock,
                chance.choice(many),
                chance.choice([*HitKind]),
                link=chance.randrange(1, 4),
                agent=chance.choice([tracked.BROWSER, "Mozilla/5.0", "curl/8", "something"]),
                method=chance.choice(["GET", "GET", "GET", "HEAD"]),
            )
            for _ in range(chance.randrange(1, 5))
        ]
        await _take(store, clock, *some)
    message = await _message(store, many[0])
    kept = await store.read(hits.of_message, Viewer(org=whose.org.id, all=True), message, limit=1000)
    found = await store.read(hits.engagements, whose.org.id, message)
    for of in many:
        theirs = [one for one in kept if one.raw.delivery == of]
        assert found[of] == engagement_of([one.raw for one in theirs], [one.judged for one in theirs])
        held = await store.read(deliveries.by_id, of)
        assert held is not None
        assert (held.opened_at, held.clicked_at) == (found[of].first_opened_at, found[of].first_clicked_at)
    again = await store.write(
        hit_judging.judge_again, whose.org.id, many, judge=agent.judge, now=clock.now(), apply=False
    )
    assert again == []


def test_hits_that_are_judged_by_each_other_are_seen_together() -> None:
    assert max(agent.BESIDE, agent.AT_ONCE, agent.A_MOMENT) <= WINDOW
