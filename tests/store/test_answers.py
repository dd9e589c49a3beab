"""Automatic answers are given once, whoever asks at once (RFC 3834 §2, B07)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from mailrelay.ids import MessageId, OrgId
from mailrelay.store import answers
from mailrelay.store.base import Store, Tx
from tests.store.explain import AnyStore, watched
from tests.support.clock import FakeClock

ORG, DAYS = OrgId("O"), timedelta(days=7)


async def take(store: Store, clock: FakeClock, key: str = "bob@x.test", *, answerer: str = "anna@a.test") -> bool:
    now = clock.now()
    return await store.write(
        answers.take, ORG, answerer=answerer, key=key, message=MessageId("M"), now=now, since=now - DAYS
    )


async def test_two_who_ask_at_once_send_one_answer(store: Store, clock: FakeClock) -> None:
    took = await asyncio.gather(*(take(store, clock) for _ in range(12)))
    assert took.count(True) == 1


async def test_an_address_is_answered_again_after_the_window_and_by_others_at_once(
    store: Store, clock: FakeClock
) -> None:
    assert await take(store, clock)
    first = clock.now()
    assert await take(store, clock, answerer="carl@a.test")
    clock.advance(DAYS - timedelta(microseconds=1))
    assert not await take(store, clock)
    assert await store.read(answers.last, ORG, answerer="anna@a.test", key="bob@x.test") == first
    clock.advance(timedelta(microseconds=1))
    assert await take(store, clock)
    assert await store.read(answers.last, ORG, answerer="anna@a.test", key="bob@x.test") == clock.now()
    assert await store.read(answers.last, ORG, answerer="anna@a.test", key="eve@x.test") is None


async def test_answers_of_the_hour_are_counted(store: Store, clock: FakeClock) -> None:
    for number in range(3):
        assert await take(store, clock, f"{number}@x.test")
    assert await store.read(answers.count, ORG, since=clock.now() - timedelta(hours=1)) == 3
    assert await store.read(answers.count, OrgId("P"), since=clock.now() - timedelta(hours=1)) == 0
    clock.advance(timedelta(hours=1))
    assert await store.read(answers.count, ORG, since=clock.now() - timedelta(hours=1)) == 0


async def test_fault_b07_10000_mails_of_one_sender_in_an_hour_are_answered_once(store: Store, clock: FakeClock) -> None:
    def mails(tx: Tx, number: int) -> int:
        sent = 0
        for _ in range(number):
            clock.advance(timedelta(seconds=0.36))
            now = clock.now()
            sent += answers.take(
                tx, ORG, answerer="anna@a.test", key="bob@x.test", message=MessageId("M"), now=now, since=now - DAYS
            )
        return sent

    assert sum([await store.write(mails, 100) for _ in range(100)]) == 1


async def test_every_question_uses_an_index(store: AnyStore, clock: FakeClock) -> None:
    async with watched(store) as watch:
        await take(store, clock)
        await store.read(answers.last, ORG, answerer="anna@a.test", key="bob@x.test")
        await store.read(answers.count, ORG, since=clock.now())
    watch.check()
