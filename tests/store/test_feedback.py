"""What came back is kept once, and is found by its mail, its delivery and its address, on either database (I10)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mailrelay.filing import reading
from mailrelay.ids import DeliveryId, OrgId, QueueId
from mailrelay.model.envelope import Arrival, ArrivalState, Channel
from mailrelay.model.feedback import Action, Category, Fault, Feedback, Tie
from mailrelay.model.message import BlobRef, Kind, Message
from mailrelay.store import feedback, messages
from tests.store.explain import AnyStore, watched
from tests.support import factory
from tests.support.clock import FakeClock
from tests.support.filing import mail


@pytest.fixture
async def returned(store: AnyStore, clock: FakeClock) -> Message:
    org = await factory.org(store, clock)
    arrival = Arrival(
        id=QueueId("Q1"),
        org=org.id,
        channel=Channel.BOUNCE,
        state=ArrivalState.WORKING,
        envelope=None,
        target=None,
        peer=None,
        raw=BlobRef(digest=factory.ids(clock).message(), size=1),  # type: ignore[arg-type]
        received_at=clock.now(),
        attempts=1,
        lease=None,
        message=None,
    )
    message = reading.read(mail(), arrival, new_id=factory.ids(clock).message).case.message
    await store.write(messages.insert, message)
    return message


def said(message: Message, position: int = 0, **more: object) -> Feedback:
    one = Feedback(
        org=message.org,
        message=message.id,
        position=position,
        arrival=QueueId("Q1"),
        delivery=DeliveryId("D1"),
        kind=Kind.BOUNCE,
        recipient="Bob@customer.test",
        key="bob@customer.test",
        status="5.1.1",
        code=550,
        diagnostic="550 5.1.1 no such user",
        action=Action.FAILED,
        category=Category.USER_UNKNOWN,
        hard=True,
        fault=Fault.RECIPIENT,
        tie=Tie.MESSAGE_ID,
        believed=False,
        at=message.received_at,
    )
    return replace(one, **more)  # type: ignore[arg-type]


async def test_what_came_back_is_found_by_mail_delivery_and_address(store: AnyStore, returned: Message) -> None:
    rows = [said(returned), said(returned, 1, key="eve@customer.test", delivery=None)]
    assert await store.write(feedback.add, rows) == {0, 1}
    org = returned.org
    assert await store.read(feedback.of_message, org, returned.id) == tuple(rows)
    assert await store.read(feedback.of_deliveries, org, [DeliveryId("D1"), DeliveryId("D2")]) == (rows[0],)
    assert await store.read(feedback.of_address, org, "bob@customer.test") == (rows[0],)
    other = OrgId("O2")
    assert await store.read(feedback.of_message, other, returned.id) == ()
    assert await store.read(feedback.of_deliveries, other, [DeliveryId("D1")]) == ()
    assert await store.read(feedback.of_address, other, "bob@customer.test") == ()


async def test_the_same_mail_again_adds_nothing_unless_it_is_believed_only_now(
    store: AnyStore, returned: Message
) -> None:
    first, later = said(returned), returned.received_at + timedelta(hours=1)
    again = replace(first, arrival=QueueId("Q2"), at=later)
    assert await store.write(feedback.add, [first]) == {0}
    assert await store.write(feedback.add, [again]) == frozenset()
    believed = replace(again, tie=Tie.RETURN_PATH, believed=True)
    assert await store.write(feedback.add, [believed]) == {0}
    assert await store.write(feedback.add, [believed]) == frozenset()
    assert await store.write(feedback.add, [first]) == frozenset()
    assert await store.read(feedback.of_message, returned.org, returned.id) == (believed,)


async def test_an_addresses_pages_are_newest_first_and_leave_nothing_out(store: AnyStore, returned: Message) -> None:
    rows = [said(returned, place, at=returned.received_at + timedelta(seconds=place // 3)) for place in range(10)]
    assert len(await store.write(feedback.add, rows)) == 10
    seen: list[Feedback] = []
    while page := await store.read(
        feedback.of_address,
        returned.org,
        "bob@customer.test",
        before=(seen[-1].at, seen[-1].message, seen[-1].position) if seen else None,
        limit=3,
    ):
        seen += page
    assert seen == sorted(rows, key=lambda one: (one.at, one.position), reverse=True)


async def test_statements_of_feedback_use_indexes(store: AnyStore, returned: Message) -> None:
    org = returned.org
    async with watched(store) as watch:
        await store.write(feedback.add, [said(returned), said(returned, 1)])
        await store.read(feedback.of_message, org, returned.id)
        await store.read(feedback.of_deliveries, org, [DeliveryId("D1")])
        await store.read(feedback.of_address, org, "bob@customer.test", before=(returned.received_at, returned.id, 1))
    watch.check()
