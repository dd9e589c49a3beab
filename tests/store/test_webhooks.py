"""Webhooks and their calls on both databases: in order, under a lease, and nothing left out (R6)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from mailrelay.errors import Conflict, Invalid, TooMany, Unknown
from mailrelay.ids import EventSeq, IdFactory, NodeId, OrgId, UserId, WebhookId
from mailrelay.model.event import EventType
from mailrelay.model.webhook import CallState, Claimed, Result, Webhook
from mailrelay.store import events, webhook_calls, webhook_journal, webhook_orders, webhooks
from mailrelay.store.base import Tx
from mailrelay.store.tables import webhook
from mailrelay.webhook import retry
from mailrelay.webhook.settle import settle
from tests.store.explain import AnyStore, counted, watched
from tests.support import factory
from tests.support.clock import FakeClock

ORG, OTHER = OrgId("O1"), OrgId("O2")
LIFETIME = timedelta(days=3)
DISABLE_AFTER = timedelta(days=5)
LEASE = timedelta(minutes=2)
TAKEN = Result(status=200, failure="", said="")
FAILED = Result(status=500, failure="it answered 500", said="oh no")
GONE = Result(status=410, failure="it answered 410", said="")
E = EventType


class Desk:
    """A store with webhooks."""

    def __init__(self, store: AnyStore, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.ids = IdFactory(clock.now)

    async def hook(self, org: OrgId = ORG, *, types: Sequence[EventType] = (), user: str = "") -> Webhook:
        """A webhook that has seen all that happened, its own creation too."""
        now = self.clock.now()
        new = Webhook(
            id=self.ids.webhook(),
            org=org,
            user=UserId(user) if user else None,
            url="https://crm.example/hooks",
            types=tuple(types),
            description="the CRM",
            secrets="1:sealed",
            before_until=None,
            active=True,
            because="",
            created_at=now,
            created_by="T1",
            changed_at=now,
            seq=0,  # type: ignore[arg-type]
        )
        made = await self.store.write(webhooks.add, new)
        await self.store.write(_skip_own_creation, made)
        return await self.get(made)

    async def happen(self, message: str = "", what: EventType = E.MESSAGE_FILED, org: OrgId = ORG, **more: Any) -> None:
        def append(tx: Tx) -> None:
            events.append(tx, org=org, at=self.clock.now(), type=what, message=message, **more)

        await self.store.write(append)

    async def expand(self, **more: Any) -> int:
        return await self.store.write(webhook_journal.expand, now=self.clock.now(), lifetime=LIFETIME, **more)

    async def claim(self, node: str = "one", limit: int = 50, each: int = 8) -> list[Claimed]:
        return await self.store.write(
            webhook_calls.claim,
            node=NodeId(node),
            now=self.clock.now(),
            lease=LEASE,
            limit=limit,
            each=each,
            trips=retry.TRIPS,
        )

    async def settle(self, claimed: Claimed, result: Result = TAKEN) -> CallState | None:
        return await self.store.write(
            settle, claimed, result, now=self.clock.now(), disable_after=DISABLE_AFTER, random=0.5
        )

    async def taken(self, number: int) -> list[EventSeq]:
        """So many events of one message that the only webhook took; their numbers."""
        seqs = []
        for _ in range(number):
            await self.happen("M1")
            await self.expand()
            (one,) = await self.claim()
            seqs.append(one.call.seq)
            await self.settle(one)
        return seqs

    async def get(self, one: Webhook) -> Webhook:
        return await self.store.read(webhooks.get, one.org, one.id)

    async def states(self, one: Webhook) -> dict[str, CallState]:
        """By message or type, oldest first."""
        calls = await self.store.read(webhook_calls.list_calls, one)
        return {str(call.seq): call.state for call in reversed(calls)}


def _skip_own_creation(tx: Tx, one: Webhook) -> None:
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(seq=events.newest(tx, one.org)))


@pytest.fixture
def desk(store: AnyStore, clock: FakeClock) -> Desk:
    return Desk(store, clock)


async def test_the_first_thing_that_a_webhook_is_sent_is_that_it_was_made(desk: Desk):
    await desk.happen("M1")
    hook = await desk.hook()
    await desk.store.write(_back, hook)
    await desk.expand()
    assert [one.event.type for one in await desk.claim()] == [E.WEBHOOK_CREATED]


def _back(tx: Tx, one: Webhook) -> None:
    """As `webhooks.add` left it."""
    tx.execute(update(webhook).where(webhook.c.id == one.id).values(seq=one.seq - 1))


async def test_events_are_queued_by_type_and_user_and_organisation(desk: Desk):
    office = await factory.org(desk.store, desk.clock)
    org, anna = office.id, (await factory.user(desk.store, desk.clock, office)).id
    everything = await desk.hook(org)
    typed = await desk.hook(org, types=(E.DELIVERY_BOUNCED, E.MESSAGE_REPLIED))
    annas = await desk.hook(org, user=anna)
    others = await desk.hook(OTHER)
    for hook in (everything, typed, annas):
        await desk.store.write(_skip_own_creation, hook)
    await desk.happen(what=E.TASK_REQUESTED, org=org, user=anna)
    await desk.happen("M2", E.DELIVERY_BOUNCED, org, user="U2")
    await desk.happen("M3", E.MESSAGE_REPLIED, org, user=anna)  # of a mail that the user may not see
    assert await desk.expand()
    assert not await desk.expand()
    assert not await desk.store.read(webhook_journal.any_behind)
    number = {hook.id: len(await desk.states(hook)) for hook in (everything, typed, annas, others)}
    assert number == {everything.id: 3, typed.id: 2, annas.id: 1, others.id: 0}
    assert (await desk.get(everything)).waiting == 3


async def test_the_events_of_a_message_go_one_after_the_other_and_messages_side_by_side(desk: Desk):
    hook = await desk.hook()
    for message in ("M1", "M2", "M1", "M1"):
        await desk.happen(message)
    await desk.expand()
    first = await desk.claim()
    assert [one.event.message for one in first] == ["M1", "M2"]
    assert await desk.claim() == []
    await desk.settle(first[0])
    second = await desk.claim()
    assert [one.event.message for one in second] == ["M1"]
    assert second[0].call.seq > first[0].call.seq
    await desk.settle(second[0], FAILED)
    await desk.settle(first[1])
    assert await desk.claim() == []  # the third event of M1 waits for the second
    desk.clock.advance(timedelta(seconds=5))
    third = await desk.claim()
    assert [one.call.seq for one in third] == [second[0].call.seq]
    await desk.settle(third[0])
    last = await desk.claim()
    await desk.settle(last[0])
    assert set((await desk.states(hook)).values()) == {CallState.TAKEN}
    assert (await desk.get(hook)).waiting == 0


async def test_what_is_about_no_message_goes_in_order_by_record_or_kind(desk: Desk):
    await desk.hook()
    await desk.happen(what=E.RECORD_CREATED, record="contact/1")
    await desk.happen(what=E.RECORD_CHANGED, record="contact/1")
    await desk.happen(what=E.RECORD_CREATED, record="contact/2")
    await desk.happen(what=E.USER_CREATED)
    await desk.happen(what=E.USER_CHANGED)
    await desk.happen(what=E.DOMAIN_CHANGED)
    await desk.expand()
    assert [(one.event.type, one.event.record) for one in await desk.claim()] == [
        (E.RECORD_CREATED, "contact/1"),
        (E.RECORD_CREATED, "contact/2"),
        (E.USER_CREATED, ""),
        (E.DOMAIN_CHANGED, ""),
    ]


async def test_an_event_that_comes_while_one_of_its_message_is_under_way_waits_behind_it(desk: Desk):
    hook = await desk.hook()
    await desk.happen("M1")
    await desk.expand()
    (one,) = await desk.claim()
    await desk.happen("M1")
    await desk.expand()
    assert list((await desk.states(hook)).values()) == [CallState.CALLING, CallState.BEHIND]
    assert await desk.claim() == []
    await desk.settle(one)
    assert len(await desk.claim()) == 1


async def test_no_more_than_so_many_are_under_way_for_one_webhook_whoever_claims(desk: Desk):
    await desk.hook()
    for number in range(20):
        await desk.happen(f"M{number}")
    await desk.expand()
    first = await desk.claim("one", each=3)
    assert len(first) == 3
    assert await desk.claim("two", each=3) == []
    await desk.settle(first[0])
    assert len(await desk.claim("two", each=3)) == 1


async def test_a_webhook_that_is_slow_takes_nothing_from_another(desk: Desk):
    await desk.hook(types=(E.MESSAGE_FILED,))
    await desk.hook(types=(E.DELIVERY_SENT,))
    for number in range(20):
        await desk.happen(f"M{number}")
    await desk.expand()
    assert len(await desk.claim()) == 8
    await desk.happen("M1", E.DELIVERY_SENT)
    await desk.expand()
    (other,) = await desk.claim()
    assert other.event.type is E.DELIVERY_SENT


async def test_fault_q09_only_so_many_wait_outside_the_journal(desk: Desk):
    hook = await desk.hook()
    for number in range(12):
        await desk.happen(f"M{number}")
    while await desk.expand(step=2, window=5):
        pass
    assert (await desk.get(hook)).waiting == 6
    assert not await desk.store.read(webhook_journal.any_behind, window=5)
    for one in await desk.claim():
        await desk.settle(one)
    while await desk.expand(step=2, window=5):
        pass
    assert (await desk.get(hook)).waiting == 6
    assert len(await desk.states(hook)) == 12


async def test_a_receiver_that_only_fails_is_asked_now_and_then_and_gets_all_at_once_when_it_is_back(desk: Desk):
    hook = await desk.hook()
    for number in range(20):
        await desk.happen(f"M{number}")
    await desk.expand()
    for one in await desk.claim(each=retry.TRIPS):
        await desk.settle(one, FAILED)
    desk.clock.advance(timedelta(seconds=4))
    assert await desk.claim() == []
    desk.clock.advance(timedelta(seconds=1))
    (probe,) = await desk.claim()
    await desk.settle(probe, FAILED)
    desk.clock.advance(timedelta(seconds=9))
    assert await desk.claim() == []
    desk.clock.advance(timedelta(seconds=1))
    (probe,) = await desk.claim()
    await desk.settle(probe)
    assert (await desk.get(hook)).failures == 0
    assert len(await desk.claim()) == 8


async def test_retries_end_with_the_lifetime_in_a_dead_letter_and_the_next_of_the_message_goes(desk: Desk):
    hook = await desk.hook()
    await desk.happen("M1")
    await desk.happen("M1")
    await desk.expand()
    began, tries = desk.clock.now(), 0
    while True:
        (one,) = await desk.claim()
        tries += 1
        await desk.happen(f"other {tries}")  # which is taken: the receiver is well
        state = await desk.settle(one, FAILED)
        await desk.expand()
        for other in [each for each in await desk.claim() if each.event.message != "M1"]:
            await desk.settle(other)
        if state is CallState.DEAD:
            break
        call = await desk.store.read(webhook_calls.get, hook, one.call.seq)
        desk.clock.advance(call.due_at - desk.clock.now())
    assert desk.clock.now() - began == LIFETIME
    assert 20 < tries < 40
    states = await desk.states(hook)
    assert list(states.values())[:2] == [CallState.DEAD, CallState.CALLING]
    dead = await desk.store.read(webhook_calls.list_calls, hook, state=CallState.DEAD)
    assert (dead[0].status, dead[0].failure, dead[0].said, dead[0].attempts) == (500, "it answered 500", "oh no", tries)


async def test_a_receiver_that_took_nothing_for_days_is_disabled_and_nothing_is_lost(desk: Desk):
    hook = await desk.hook()
    began = desk.clock.now()
    while (await desk.get(hook)).active:
        await desk.happen(f"M{desk.clock.now()}")
        await desk.expand()
        for one in await desk.claim():
            await desk.settle(one, FAILED)
        desk.clock.advance(timedelta(hours=6))
        assert desk.clock.now() - began < timedelta(days=6)
    assert desk.clock.now() - began > DISABLE_AFTER
    found = await desk.get(hook)
    assert "took nothing since 2026-11-02 09:30 UTC; the last time, it answered 500" in found.because
    assert await desk.store.read(webhooks.failed) == 1
    (told,) = [one for one in await desk.store.read(events.last, ORG, 100) if one.type is E.WEBHOOK_DISABLED]
    assert dict(told.data)["webhook"] == hook.id
    dead = await desk.store.read(webhook_calls.list_calls, hook, state=CallState.DEAD)
    assert dead
    assert await desk.claim() == []
    waiting = found.waiting
    await desk.happen("M-last")
    assert not await desk.expand()  # it waits in the journal

    await desk.store.write(_enable, desk, hook)
    assert await desk.store.read(webhooks.failed) == 0
    await desk.expand()
    sent = 0
    while claimed := await desk.claim():
        for one in claimed:
            await desk.settle(one)
        sent += len(claimed)
    assert sent == waiting + 3  # the last mail, that it was disabled, and that it was enabled
    again = await desk.store.write(_send_again, desk, hook)
    assert again == len(dead)
    while claimed := await desk.claim():
        for one in claimed:
            await desk.settle(one)
    assert set((await desk.states(hook)).values()) == {CallState.TAKEN}


def _enable(tx: Tx, desk: Desk, hook: Webhook) -> None:
    one = webhooks.locked(tx, hook.org, hook.id)
    webhook_orders.enable(tx, one, token="T1", by="T1", now=desk.clock.now(), lifetime=LIFETIME)


def _send_again(tx: Tx, desk: Desk, hook: Webhook, seq: int | None = None) -> int:
    return webhook_orders.send_again(
        tx,
        webhooks.locked(tx, hook.org, hook.id),
        by="T1",
        now=desk.clock.now(),
        lifetime=LIFETIME,
        seq=seq,  # type: ignore[arg-type]
    )


async def test_a_failure_now_and_then_is_no_lasting_one(desk: Desk):
    hook = await desk.hook()
    for day in range(10):
        await desk.happen(f"M{day}")
        await desk.expand()
        for one in await desk.claim():
            await desk.settle(one, FAILED if one.call.attempts == 1 else TAKEN)
        desk.clock.advance(timedelta(days=2))
        for one in await desk.claim():
            await desk.settle(one)
    assert (await desk.get(hook)).active


async def test_a_receiver_that_asks_for_time_each_time_is_disabled_as_any_other_that_takes_nothing(desk: Desk):
    hook = await desk.hook()
    began = desk.clock.now()
    hours = retry.wish("86400", began)
    assert hours is not None
    assert hours <= timedelta(hours=4)
    while (await desk.get(hook)).active:
        await desk.happen("M1")
        await desk.expand()
        for one in await desk.claim():
            await desk.settle(one, Result(status=503, failure="it answered 503", said="", retry_after=86_400))
        desk.clock.advance(timedelta(hours=25))  # whatever a receiver can bring about between two requests
        assert desk.clock.now() - began < timedelta(days=8)


async def test_failures_with_a_silence_between_them_in_which_nothing_waited_are_not_of_one_row(desk: Desk):
    hook = await desk.hook()
    await desk.happen("M1")
    await desk.expand()
    (one,) = await desk.claim()
    desk.clock.advance(LIFETIME)
    assert await desk.settle(one, FAILED) is CallState.DEAD
    desk.clock.advance(timedelta(days=7))
    await desk.happen("M2")
    await desk.expand()
    (two,) = await desk.claim()
    await desk.settle(two, FAILED)
    found = await desk.get(hook)
    assert (found.active, found.failures, found.failing_since) == (True, 1, desk.clock.now())


async def test_fault_w04_a_receiver_that_is_gone_is_disabled_at_once(desk: Desk):
    hook = await desk.hook()
    await desk.happen("M1")
    await desk.expand()
    (one,) = await desk.claim()
    assert await desk.settle(one, GONE) is CallState.WAITING
    found = await desk.get(hook)
    assert (found.active, found.because, found.waiting) == (False, "its receiver answered 410: gone for good", 1)
    assert await desk.store.read(webhooks.failed) == 1
    by_hand = {"because": "switched off by anna", "at": desk.clock.now(), "by": "anna"}
    await desk.store.write(lambda tx: webhooks.disable(tx, found, **by_hand))
    assert await desk.store.read(webhooks.failed) == 0  # somebody knows


async def test_retry_after_is_waited_for(desk: Desk):
    await desk.hook()
    await desk.happen("M1")
    await desk.happen("M2")
    await desk.expand()
    one, two = await desk.claim()
    await desk.settle(one, Result(status=429, failure="it answered 429", said="", retry_after=600))
    desk.clock.advance(timedelta(seconds=599))
    assert await desk.claim() == []
    await desk.settle(two)  # it works all the same: the other need not wait any longer than it said
    desk.clock.advance(timedelta(seconds=1))
    assert len(await desk.claim()) == 1


async def test_a_call_whose_process_died_is_made_again_and_its_late_end_changes_nothing(desk: Desk):
    hook = await desk.hook()
    await desk.happen("M1")
    await desk.expand()
    (lost,) = await desk.claim("dead")
    assert await desk.store.write(webhook_calls.recover, now=desk.clock.now()) == 0
    desk.clock.advance(LEASE)
    assert await desk.store.write(webhook_calls.recover, now=desk.clock.now()) == 1
    (ours,) = await desk.claim("alive")
    assert (ours.call.attempts, ours.event) == (2, lost.event)
    assert await desk.settle(lost, FAILED) is None
    assert await desk.settle(ours) is CallState.TAKEN
    assert await desk.settle(ours) is None
    assert (await desk.get(hook)).waiting == 0


async def test_a_process_that_starts_again_takes_its_own_back_at_once(desk: Desk):
    await desk.hook()
    await desk.happen("M1")
    await desk.expand()
    await desk.claim("one")
    assert await desk.store.write(webhook_calls.recover, now=desk.clock.now(), node=NodeId("two")) == 0
    assert await desk.store.write(webhook_calls.recover, now=desk.clock.now(), node=NodeId("one")) == 1
    assert len(await desk.claim("one")) == 1


async def test_replay_sends_again_from_any_event_in_order(desk: Desk):
    hook = await desk.hook(types=(E.MESSAGE_FILED,))
    start = (await desk.get(hook)).seq
    for number in range(4):
        await desk.happen(f"M{number % 2}")
    await desk.expand()
    while claimed := await desk.claim():
        for one in claimed:
            await desk.settle(one)
    first = [call.seq for call in reversed(await desk.store.read(webhook_calls.list_calls, hook))]

    assert await desk.store.write(_replay, desk, hook, first[0]) == 3
    await desk.expand()
    again = []
    while claimed := await desk.claim():
        for one in claimed:
            again.append((one.call.seq, one.call.attempts))
            await desk.settle(one)
    assert sorted(again) == [(seq, 1) for seq in first[1:]]
    assert (await desk.get(hook)).waiting == 0
    told = await desk.store.read(events.last, ORG, 1)
    assert (told[-1].type, dict(told[-1].data)["after"]) == (E.WEBHOOK_REPLAYED, str(first[0]))
    assert await desk.store.write(_replay, desk, hook, 0) == told[-1].seq
    assert (await desk.get(hook)).seq == 0
    assert start > 0
    with pytest.raises(Invalid, match="at most"):
        await desk.store.write(_replay, desk, hook, first[-1] + 1)


async def test_a_replay_goes_before_what_still_waits_of_the_same_message(desk: Desk):
    hook = await desk.hook()
    await desk.happen("M1")
    await desk.expand()
    (one,) = await desk.claim()
    await desk.settle(one)
    await desk.happen("M1")
    await desk.expand()
    (two,) = await desk.claim()
    await desk.settle(two, FAILED)
    await desk.store.write(_send_again, desk, hook, one.call.seq)
    (first,) = await desk.claim()
    assert first.call.seq == one.call.seq
    desk.clock.advance(timedelta(hours=1))
    assert await desk.claim() == []
    await desk.settle(first)
    assert [each.call.seq for each in await desk.claim()] == [two.call.seq]


async def test_a_replay_while_an_event_is_under_way_sends_that_once_more_behind_those_before_it(desk: Desk):
    hook = await desk.hook(types=(E.MESSAGE_FILED,))
    seqs = await desk.taken(3)
    for result in (TAKEN, FAILED):
        await desk.store.write(_send_again, desk, hook, seqs[-1])
        (under_way,) = await desk.claim()
        await desk.store.write(_replay, desk, hook, seqs[0] - 1)
        await desk.expand()
        assert await desk.claim() == []  # one at a time
        await desk.settle(under_way, result)
        desk.clock.advance(timedelta(minutes=1))
        order = []
        while claimed := await desk.claim():
            order += [each.call.seq for each in claimed]
            for each in claimed:
                await desk.settle(each)
        assert order == seqs
        found = await desk.get(hook)
        assert (found.waiting, found.failures) == (0, 0)


async def test_what_was_under_way_in_a_replay_when_its_process_died_is_sent_once_more_in_order(desk: Desk):
    hook = await desk.hook(types=(E.MESSAGE_FILED,))
    seqs = await desk.taken(2)
    await desk.store.write(_send_again, desk, hook, seqs[-1])
    await desk.claim("dead")
    await desk.store.write(_replay, desk, hook, seqs[0] - 1)
    await desk.expand()
    await desk.store.write(webhook_calls.recover, now=desk.clock.now(), node=NodeId("dead"))
    order = []
    while claimed := await desk.claim():
        order += [each.call.seq for each in claimed]
        for each in claimed:
            await desk.settle(each)
    assert order == seqs
    assert (await desk.get(hook)).waiting == 0


def _replay(tx: Tx, desk: Desk, hook: Webhook, after: int) -> int:
    one = webhooks.locked(tx, hook.org, hook.id)
    return webhook_orders.replay(tx, one, after, by="T1", now=desk.clock.now())


async def test_only_what_has_ended_is_sent_again(desk: Desk):
    hook = await desk.hook()
    await desk.happen("M1")
    await desk.expand()
    (one,) = await desk.claim()
    with pytest.raises(Conflict, match="calling"):
        await desk.store.write(_send_again, desk, hook, one.call.seq)
    with pytest.raises(Unknown, match="Event 99"):
        await desk.store.write(_send_again, desk, hook, 99)
    assert await desk.store.write(_send_again, desk, hook) == 0


async def test_what_is_removed_is_sent_nothing_more(desk: Desk):
    hook = await desk.hook()
    await desk.happen("M1")
    await desk.happen("M2")
    await desk.expand()
    (one,) = await desk.claim(limit=1)

    def remove(tx: Tx) -> None:
        gone = webhooks.locked(tx, ORG, hook.id)
        webhook_orders.drop(tx, gone, at=desk.clock.now(), because="the webhook was removed")
        webhooks.remove(tx, gone, by="T1", at=desk.clock.now())

    await desk.store.write(remove)
    assert await desk.settle(one, FAILED) is None
    assert await desk.claim() == []
    with pytest.raises(Unknown):
        await desk.get(hook)
    assert await desk.store.read(webhooks.list_webhooks, ORG) == []
    assert await desk.store.read(webhook_calls.oldest) == (0, None)


async def test_old_calls_are_forgotten_and_dead_letters_kept_longer(desk: Desk):
    hook = await desk.hook()
    await desk.happen("M1")
    await desk.happen("M2")
    await desk.expand()
    one, two = await desk.claim()
    await desk.settle(one)
    desk.clock.advance(timedelta(days=4))
    await desk.settle(two, FAILED)
    desk.clock.advance(timedelta(days=4))
    assert await desk.store.write(webhook_calls.prune, now=desk.clock.now()) == 1
    assert list((await desk.states(hook)).values()) == [CallState.DEAD]
    desk.clock.advance(timedelta(days=90))
    assert await desk.store.write(webhook_calls.prune, now=desk.clock.now()) == 1


async def test_an_organisation_has_so_many_webhooks_and_lists_them_in_pages(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(webhooks, "MOST", 3)
    made = [(await desk.hook()).id for _ in range(3)]
    with pytest.raises(TooMany):
        await desk.hook()
    await desk.hook(OTHER)
    page = await desk.store.read(webhooks.list_webhooks, ORG, limit=2)
    rest = await desk.store.read(webhooks.list_webhooks, ORG, after=page[-1].id)
    assert sorted(made) == [one.id for one in (*page, *rest)]


async def test_no_statement_reads_a_table_from_end_to_end(desk: Desk, store: AnyStore):
    hook = await desk.hook()
    await desk.happen("M1")
    await desk.happen("M1")
    await desk.happen("M2")
    async with watched(store) as watch:
        await store.read(webhook_journal.any_behind)
        await desk.expand()
        await store.read(webhook_calls.next_wake)
        one, two = await desk.claim()
        await desk.settle(one)
        await desk.settle(two, FAILED)
        (three,) = await desk.claim()
        await desk.settle(three, GONE)
        await store.write(_enable, desk, hook)
        await store.write(webhook_calls.recover, now=desk.clock.now(), node=NodeId("one"))
        await store.read(webhook_calls.oldest)
        await store.write(webhook_calls.prune, now=desk.clock.now())
        await store.read(webhook_calls.list_calls, hook, state=CallState.DEAD, before=100)
        await store.read(webhook_calls.list_calls, hook)
        await store.write(webhook_calls.give_up, hook, now=desk.clock.now(), failure="")
        await store.write(_send_again, desk, hook)
        await store.read(webhooks.list_webhooks, ORG, of=UserId("U1"), after=WebhookId("W"))
    watch.check()


async def test_without_webhooks_a_look_is_one_read_of_an_empty_index(desk: Desk, store: AnyStore):
    await desk.happen("M1")
    with counted(store) as ran:
        assert not await store.read(webhook_journal.any_behind)
        assert await store.read(webhook_calls.next_wake) is None
    assert len([one for one in ran if one.lstrip().upper().startswith("SELECT")]) == 2
    assert not [one for one in ran if one.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))]
