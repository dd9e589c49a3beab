"""One selection for lists, counts and actions: it finds what it says, page by page in both orders, on both databases (R3)."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from sqlalchemy import update

from mailrelay.clock import to_micros
from mailrelay.ids import DeliveryId, MessageId, OrgId, QueueId, first_delivery
from mailrelay.model.address import Address
from mailrelay.model.delivery import IN_FLIGHT_DELIVERIES, Delivery, DeliveryState, DeliveryStatus
from mailrelay.model.operation import Selection, states_in
from mailrelay.store import queue, selections
from mailrelay.store.base import Store, Tx
from mailrelay.store.tables import delivery
from tests.store.explain import AnyStore, watched
from tests.support.clock import START, FakeClock
from tests.support.delivery import a_delivery

ORG, OTHER = OrgId("O1"), OrgId("O2")
S = DeliveryState


def fits(one: Delivery, said: Selection) -> bool:
    """What a selection means, word by word."""
    sender = "<>" if one.mail_from is None else str(one.mail_from)
    return (
        one.org == ORG
        and (not said.deliveries or one.id in said.deliveries)
        and (said.message is None or one.message == said.message)
        and (said.queue_id is None or one.queue_id == said.queue_id)
        and said.destination in ("", one.address.domain)
        and said.recipient in ("", one.address.key)
        and (
            not said.sender
            or said.sender == (sender if "@" in said.sender or said.sender == "<>" else one.sender_domain)
        )
        and said.job in ("", one.job)
        and (not said.held_by or (one.state is S.HELD and one.held_by == said.held_by))
        and (not said.states or one.state in said.states)
        and (not said.statuses or one.status in said.statuses)
        and (said.created_before is None or one.created_at < said.created_before)
        and (said.created_from is None or one.created_at >= said.created_from)
    )


@pytest.fixture
async def everything(store: AnyStore, clock: FakeClock) -> list[Delivery]:
    """Deliveries of all kinds, over some hours."""
    chance = random.Random(7)
    made = []
    for _ in range(120):
        clock.advance(timedelta(minutes=chance.choice([0, 1, 7])))
        state = chance.choice(sorted(S))
        sent = state in (S.SENT, S.DELIVERED)
        made.append(
            replace(
                a_delivery(clock, f"{chance.choice('bcd')}@{chance.choice(['b.test', 'c.test'])}"),
                org=chance.choice([ORG, ORG, ORG, OTHER]),
                message=MessageId(f"M{chance.randint(1, 9)}"),
                queue_id=QueueId(f"Q{chance.randint(1, 9)}"),
                mail_from=chance.choice(
                    [Address("anna", "a.test"), Address("olga", "a.test"), Address("x", "y.test"), None]
                ),
                state=state,
                attempts=chance.choice([0, 1]),
                job=chance.choice(["", "spring"]),
                held_by=chance.choice(["hand", "job:spring"]) if state is S.HELD else "",
                replied_at=START if sent and chance.random() < 0.5 else None,
            )
        )
    await store.write(put, made)
    return made


def put(tx: Tx, made: list[Delivery]) -> None:
    queue.enqueue(tx, made)
    for one in made:
        replied = None if one.replied_at is None else to_micros(one.replied_at)
        tx.execute(update(delivery).where(delivery.c.id == one.id).values(held_by=one.held_by, replied_at=replied))


def some_selections(made: list[Delivery]) -> list[Selection]:
    chance = random.Random(11)
    middle = made[60].created_at
    said: dict[str, list[object]] = {
        "deliveries": [(), (), (), tuple(one.id for one in made[::9])],
        "message": [None, None, None, MessageId("M3")],
        "queue_id": [None, None, None, QueueId("Q4")],
        "destination": ["", "", "b.test"],
        "recipient": ["", "", "", "c@c.test"],
        "sender": ["", "", "anna@a.test", "a.test", "<>"],
        "job": ["", "", "spring"],
        "held_by": ["", "", "", "hand", "job:spring"],
        "states": [
            frozenset(),
            frozenset(),
            IN_FLIGHT_DELIVERIES,
            frozenset({S.QUEUED}),
            frozenset({S.SENT, S.HELD}),
            frozenset({S.BOUNCED, S.DELIVERED, S.QUEUED}),
        ],
        "statuses": [
            frozenset(),
            frozenset(),
            frozenset({DeliveryStatus.DEFERRED}),
            frozenset({DeliveryStatus.DEFERRED, DeliveryStatus.DELIVERED, DeliveryStatus.BOUNCED}),
            frozenset({DeliveryStatus.REPLIED, DeliveryStatus.QUEUED}),
            frozenset({DeliveryStatus.HELD, DeliveryStatus.SENT}),
        ],
        "created_before": [None, None, middle],
        "created_from": [None, None, made[30].created_at],
    }
    alone = [Selection(**{name: value}) for name, values in said.items() for value in values]  # type: ignore[arg-type]
    mixed = [Selection(**{name: chance.choice(values) for name, values in said.items()}) for _ in range(30)]  # type: ignore[arg-type]
    pairs = [
        Selection(**{first: said[first][-1], second: said[second][-1]})  # type: ignore[arg-type]
        for first, second in product(said, said)
        if first < second
    ]
    return alone + mixed + pairs


@pytest.mark.parametrize("window", [selections.LOOKED_AT, 7])
async def test_r03_a_selection_finds_counts_and_pages_what_it_says(
    store: AnyStore, everything: list[Delivery], window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selections, "LOOKED_AT", window)
    found_some = 0
    for said in some_selections(everything):
        expected = sorted(one.id for one in everything if fits(one, said))
        found_some += bool(expected)
        assert await paged(store, said, oldest_first=True) == expected, said
        assert await paged(store, said, oldest_first=False) == expected[::-1], said
        counted = await store.read(selections.count, ORG, said)
        if counted.complete:
            by = Counter((one.status, one.held_by) for one in everything if fits(one, said))
            assert (counted.number, counted.by) == (len(expected), by), said
        else:
            assert window == 7
            assert counted.number <= len(expected)
        locked = await store.write(selections.locked, ORG, said, [one.id for one in everything])
        assert [one.id for one in locked] == expected
    assert found_some > 45


async def paged(store: Store, said: Selection, *, oldest_first: bool) -> list[DeliveryId]:
    ids: list[DeliveryId] = []
    after: DeliveryId | None = None
    for _ in range(200):
        page = await store.read(selections.find, ORG, said, after=after, oldest_first=oldest_first, limit=13)
        assert len(page.deliveries) <= 13
        ids += [one.id for one in page.deliveries]
        if page.next is None:
            return ids
        after = page.next
    raise AssertionError("the pages have no end")


async def test_r03_what_is_counted_stops_at_its_bound(
    store: AnyStore, everything: list[Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selections, "COUNTED", 10)
    counted = await store.read(selections.count, ORG, Selection())
    assert (counted.number, counted.complete, sum(counted.by.values())) == (10, False, 10)
    few = await store.read(selections.count, ORG, Selection(deliveries=(everything[0].id, everything[1].id)))
    assert few.complete


async def test_r03_a_selection_that_contradicts_itself_finds_nothing(
    store: AnyStore, everything: list[Delivery]
) -> None:
    said = Selection(held_by="hand", states=frozenset({S.SENT}))
    assert states_in(said) == frozenset()
    assert (await store.read(selections.find, ORG, said)).deliveries == ()
    assert (await store.read(selections.count, ORG, said)).number == 0
    assert await store.write(selections.locked, ORG, said, [everything[0].id]) == ()


WAYS = {
    "in flight": Selection(states=IN_FLIGHT_DELIVERIES),
    "a state": Selection(states=frozenset({S.QUEUED})),
    "a status": Selection(statuses=frozenset({DeliveryStatus.DEFERRED})),
    "ended": Selection(states=frozenset({S.BOUNCED})),
    "ended, of a destination": Selection(destination="b.test", states=frozenset({S.BOUNCED})),
    "destination": Selection(destination="b.test", states=IN_FLIGHT_DELIVERIES),
    "sender": Selection(sender="anna@a.test", states=IN_FLIGHT_DELIVERIES),
    "sender domain": Selection(sender="a.test", states=IN_FLIGHT_DELIVERIES),
    "nobody": Selection(sender="<>", states=IN_FLIGHT_DELIVERIES),
    "job": Selection(job="spring"),
    "held": Selection(held_by="hand"),
    "recipient": Selection(recipient="b@b.test"),
    "message": Selection(message=MessageId("M1")),
    "submission": Selection(queue_id=QueueId("Q1")),
    "named": Selection(deliveries=(DeliveryId("D1"), DeliveryId("D2"))),
    "old": Selection(created_before=START, states=IN_FLIGHT_DELIVERIES),
    "ended too": Selection(created_from=START),
    "two fields": Selection(destination="b.test", sender="anna@a.test", statuses=frozenset({DeliveryStatus.DEFERRED})),
}
OF = {
    "in flight": "ix_delivery_by_state",
    "a state": "ix_delivery_by_state",
    "a status": "ix_delivery_deferred",
    "ended": "ix_delivery_ended",
    "ended, of a destination": "ix_delivery_ended",
    "destination": "ix_delivery_by_destination",
    "sender": "ix_delivery_by_sender",
    "sender domain": "ix_delivery_by_sender_domain",
    "nobody": "ix_delivery_by_sender",
    "job": "ix_delivery_job",
    "held": "ix_delivery_held",
    "recipient": "ix_delivery_recipient",
    "message": "ix_delivery_message",
    "submission": "ix_delivery_queue_id",
    "old": "ix_delivery_by_state",
    "ended too": "ix_delivery_org",
    "two fields": "ix_delivery_by_sender",
}


@pytest.mark.parametrize("name", WAYS)
async def test_r03_each_filter_has_its_index(store: AnyStore, everything: list[Delivery], name: str) -> None:
    after = everything[60].id
    for oldest_first in (True, False):
        async with watched(store) as watch:
            await store.read(selections.find, ORG, WAYS[name], after=after, oldest_first=oldest_first, limit=10)
        watch.check()
        if name in OF and watch.dialect == "sqlite":  # PostgreSQL's choice depends on what it has counted
            plans = [plan for statement, plan in watch.plans if "LIMIT" in statement]
            assert plans
            assert all(OF[name] in plan for plan in plans), plans
    async with watched(store) as watch:
        await store.read(selections.count, ORG, WAYS[name])
    watch.check()


def test_ids_stand_in_the_order_of_their_time(clock: FakeClock) -> None:
    before = a_delivery(clock).id
    clock.advance(timedelta(milliseconds=1))
    assert before < first_delivery(clock.now()) <= a_delivery(clock).id
