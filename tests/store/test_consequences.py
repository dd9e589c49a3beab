"""What follows an answer, on both databases: counted once however many come at once, suspended and resumed without a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mailrelay import metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import BounceBrake, BrakeLevels, ComplaintBrake, UnsubscribeBrake
from mailrelay.errors import Unknown
from mailrelay.filing import reading
from mailrelay.ids import Digest, MessageId, NodeId, OrgId, QueueId
from mailrelay.model.delivery import (
    Accepted,
    Deferred,
    Delivery,
    DeliveryState,
    DeliveryStatus,
    Interrupted,
    Notice,
    Outcome,
    Refused,
    Stage,
)
from mailrelay.model.envelope import Arrival, ArrivalState, Channel
from mailrelay.model.event import Event, EventType
from mailrelay.model.feedback import Action, Category, Fault, Feedback, Tie
from mailrelay.model.message import BlobRef, Kind
from mailrelay.model.reply import Reply, reply
from mailrelay.model.sending import Counts, Scope, Sending
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.suppression import SuppressionReason
from mailrelay.model.way import Way as Route
from mailrelay.outbound import batch, consequences
from mailrelay.outbound.consequences import Answered
from mailrelay.outbound.courier.base import OUR_FAULT
from mailrelay.outbound.verdict import reported
from mailrelay.store import (
    deliveries,
    events,
    feedback,
    ledger,
    messages,
    organisations,
    queue,
    records,
    suppressions,
    suspensions,
    tallies,
)
from mailrelay.store.base import Tx
from mailrelay.store.queue import Settlement
from mailrelay.store.records import Change
from tests.store.explain import AnyStore, counted, watched
from tests.support import factory
from tests.support.clock import FakeClock
from tests.support.delivery import a_delivery
from tests.support.filing import mail

LEVELS = BrakeLevels()
ANY = Route("mx.test")
JOB, DOMAIN = Sending(Scope.JOB, "spring"), Sending(Scope.DOMAIN, "a.test")
YES = Accepted(reply=reply(250, "2.0.0", "Ok: queued as 4Xb1Yz0Qk3z9rTq1"))
DEAD = Refused(reply=reply(550, "5.1.1", "No such user here"), stage=Stage.RCPT)
FULL = Refused(reply=reply(552, "5.2.2", "Mailbox full"), stage=Stage.RCPT)
LATER = Deferred(reply=reply(450, "4.2.0", "later"), stage=Stage.RCPT)
UNPROVED = Refused(reply=reply(550, "5.7.26", "Unauthenticated mail is not accepted"), stage=Stage.DOT)
ARRIVAL = Arrival(
    id=QueueId("Q1"),
    org=OrgId("O1"),
    channel=Channel.BOUNCE,
    state=ArrivalState.WORKING,
    envelope=None,
    target=None,
    peer=None,
    raw=BlobRef(digest=Digest("1" * 64), size=1),
    received_at=FakeClock().now(),
    attempts=1,
    lease=None,
    message=None,
)
ENDS = {Accepted: DeliveryState.SENT, Refused: DeliveryState.BOUNCED}


class Way:
    """An organisation's way out, driven by hand."""

    def __init__(self, store: AnyStore, clock: FakeClock, org: OrgId, levels: BrakeLevels = LEVELS) -> None:
        self.store = store
        self.clock = clock
        self.org = org
        self.levels = levels

    async def queued(self, number: int = 1, **more: Any) -> list[Delivery]:
        made = [
            a_delivery(self.clock, **{"recipient": f"bob{n}@b.test", "org": self.org, **more}) for n in range(number)
        ]
        await self.store.write(queue.enqueue, made)
        return sorted(made, key=lambda one: one.id)

    async def begun(self, limit: int = 1000) -> list[Delivery]:
        held = await self.store.write(
            queue.claim, node=NodeId("here"), now=self.clock.now(), lease=timedelta(minutes=5), limit=limit
        )
        begun, _ = await self.store.write(batch._begin, held, way=ANY, host="mx", now=self.clock.now())
        return begun

    async def settle(self, held: Sequence[Delivery], outcome: Outcome, state: DeliveryState | None = None, **more: Any):
        due = self.clock.now() + timedelta(minutes=5)
        ends = [
            Settlement(
                held=one,
                state=state or ENDS.get(type(outcome), DeliveryState.QUEUED),
                outcome=outcome,
                host="mx.b.test",
                due_at=None if state or type(outcome) in ENDS else due,
            )
            for one in held
        ]
        return await self.store.write(
            consequences.settle,
            ends,
            at=self.clock.now(),
            **{"brakes": self.levels, "delay_after": timedelta(hours=4), **more},
        )

    async def answered(self, outcome: Outcome, state: DeliveryState | None = None, **more: Any) -> Delivery:
        """A delivery that came to this outcome."""
        (made,) = await self.queued(**more)
        await self.settle(await self.begun(), outcome, state)
        return await self.now(made)

    async def now(self, one: Delivery) -> Delivery:
        return await self.store.read(deliveries.get, self.org, one.id)

    async def report(self, one: Delivery, **more: Any) -> None:
        fields: dict[str, Any] = {
            "delivery": one,
            "category": Category.USER_UNKNOWN,
            "hard": True,
            "fault": Fault.RECIPIENT,
            "action": Action.FAILED,
            "said": "550 5.1.1 No such user here",
            "source": "report Q1",
            "by": "Q1",
        }
        answer = Answered(**{**fields, **more})
        await self.store.write(consequences.returned, [answer], at=self.clock.now(), brakes=self.levels)

    async def suppressed(self, key: str = "bob0@b.test") -> list[SuppressionReason]:
        return [one.reason for one in await self.store.read(suppressions.holding, self.org, [key])]

    async def suspended(self) -> list[Sending]:
        return [one.sending for one in await self.store.read(suspensions.list_standing, self.org)]

    async def counts(self, sending: Sending) -> Counts:
        return await self.store.read(tallies.since, self.org, sending, 0)

    async def events(self, type: EventType) -> list[Event]:  # noqa: A002
        return [one for one in await self.store.read(events.after, self.org, 0, limit=10_000) if one.type is type]

    async def balanced(self) -> bool:
        return all(one.unaccounted == 0 for one in await self.store.read(ledger.balance))


@pytest.fixture
async def way(store: AnyStore, clock: FakeClock) -> Way:
    org = await factory.org(store, clock, settings=OrganisationSettings(soft_bounces=3, soft_bounce_days=30))
    return Way(store, clock, org.id)


# --- in the dialogue ---


async def test_a_dead_address_is_suppressed_with_the_words_it_was_refused_with(way: Way) -> None:
    bounced = await way.answered(DEAD)
    assert (bounced.state, bounced.category, bounced.hard, bounced.fault) == (
        DeliveryState.BOUNCED,
        Category.USER_UNKNOWN,
        True,
        Fault.RECIPIENT,
    )
    assert bounced.notice is Notice.FAILED
    (one,) = await way.store.read(suppressions.holding, way.org, ["bob0@b.test"])
    assert one.reason is SuppressionReason.HARD_BOUNCE
    assert one.evidence == "550 5.1.1 No such user here (mx.b.test in the dialogue, 2026-11-02 09:30 UTC)"
    assert one.by == bounced.id
    assert await way.counts(DOMAIN) == Counts(refused=1, hard=1)
    assert await way.balanced()


@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.MAIL])
async def test_an_answer_before_rcpt_is_never_the_recipients_end(way: Way, stage: Stage) -> None:
    bounced = await way.answered(replace(DEAD, stage=stage))
    assert not bounced.hard
    assert await way.suppressed() == []


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        (reply(550, "5.1.2", "There is no domain b.test"), Category.HOST_UNKNOWN),
        (reply(556, "5.1.10", "b.test takes no mail"), Category.NO_MAIL_HOST),
    ],
)
async def test_a_domain_that_is_none_is_dead(way: Way, answer: Reply, category: Category) -> None:
    failed = await way.answered(Refused(reply=answer, stage=Stage.RESOLVE, by_us=True), DeliveryState.FAILED)
    assert (failed.category, failed.hard) == (category, True)
    assert await way.suppressed() == [SuppressionReason.HARD_BOUNCE]
    assert await way.counts(DOMAIN) == Counts(refused=1, hard=1)


async def test_what_we_cannot_offer_says_nothing_of_the_recipient(way: Way) -> None:
    refusal = Refused(reply=reply(554, "5.6.3", "Conversion is not possible"), stage=Stage.MAIL, by_us=True)
    failed = await way.answered(refusal, DeliveryState.FAILED)
    assert not failed.hard
    assert await way.suppressed() == []
    assert await way.counts(DOMAIN) == Counts()


@pytest.mark.parametrize(
    ("outcome", "category"),
    [
        (Deferred(reply=reply(452, "4.2.2", "Mailbox full"), stage=Stage.RCPT), Category.MAILBOX_FULL),
        (Interrupted(stage=Stage.CONNECT, detail="nobody answered"), Category.TIMEOUT),
    ],
)
async def test_what_expires_is_judged_by_its_last_answer(way: Way, outcome: Outcome, category: Category) -> None:
    expired = await way.answered(outcome, DeliveryState.EXPIRED)
    assert (expired.category, expired.hard) == (category, False)
    assert await way.counts(DOMAIN) == Counts(refused=1, soft=1)


async def test_what_expires_of_our_own_fault_says_nothing_of_the_recipient_nor_blames_the_sender(way: Way) -> None:
    before = metrics.sender_blamed.labels("transient")._value.get()
    for _ in range(4):
        expired = await way.answered(OUR_FAULT, DeliveryState.EXPIRED)
    assert (expired.category, expired.fault) == (Category.SYSTEM, Fault.SENDER)
    assert await way.suppressed() == []
    assert await way.counts(DOMAIN) == Counts()
    assert metrics.sender_blamed.labels("transient")._value.get() == before


@pytest.mark.parametrize(
    "outage",
    [
        Interrupted(stage=Stage.CONNECT, detail="nobody answered"),
        Deferred(reply=reply(421, "4.3.2", "Down for maintenance"), stage=Stage.CONNECT),
    ],
)
async def test_an_outage_of_our_smart_host_costs_no_recipient_and_no_sender_anything(way: Way, outage: Outcome) -> None:
    (made,) = await way.queued()
    await way.settle(await way.begun(), outage, DeliveryState.EXPIRED, relayed=True)
    assert (await way.now(made)).fault is Fault.SENDER
    assert await way.counts(DOMAIN) == Counts()
    assert await way.suspended() == []
    (refused,) = await way.queued()
    await way.settle(await way.begun(), Refused(reply=FULL.reply, stage=Stage.RCPT), relayed=True)
    assert (await way.now(refused)).fault is Fault.RECIPIENT


async def test_a_transient_answer_costs_nothing_and_a_success_clears_it(way: Way) -> None:
    deferred = await way.answered(Deferred(reply=reply(550 - 100, "4.1.1", "No such user"), stage=Stage.RCPT))
    assert (deferred.status, deferred.category, deferred.hard) == (
        DeliveryStatus.DEFERRED,
        Category.USER_UNKNOWN,
        False,
    )
    assert await way.suppressed() == []
    assert await way.counts(DOMAIN) == Counts()
    way.clock.advance(timedelta(minutes=6))
    await way.settle(await way.begun(), YES)
    sent = await way.now(deferred)
    assert (sent.state, sent.category, sent.fault) == (DeliveryState.SENT, None, None)
    assert await way.counts(DOMAIN) == Counts(sent=1)


async def test_soft_bounces_in_a_row_suppress_and_one_that_arrived_breaks_the_row(way: Way) -> None:
    for outcome in (FULL, FULL, YES, FULL, FULL):
        await way.answered(outcome)
        way.clock.advance(timedelta(days=2))
    assert await way.suppressed() == []
    await way.answered(UNPROVED, job="another")  # the sender's fault: it neither counts nor breaks
    await way.answered(FULL)
    (one,) = await way.store.read(suppressions.holding, way.org, ["bob0@b.test"])
    assert one.reason is SuppressionReason.SOFT_BOUNCES
    assert one.evidence.startswith("3 soft bounces in a row from 2026-11-08 to 2026-11-12, nothing arrived in between")
    assert "552 5.2.2 Mailbox full" in one.evidence


async def test_after_a_lift_soft_bounces_are_counted_anew(way: Way) -> None:
    for _ in range(3):
        await way.answered(FULL)
        way.clock.advance(timedelta(hours=1))
    await way.store.write(suppressions.lift, way.org, "bob0@b.test", by="anna", now=way.clock.now())
    for expected in ([], [], [SuppressionReason.SOFT_BOUNCES]):
        way.clock.advance(timedelta(hours=1))
        await way.answered(FULL)
        assert await way.suppressed() == expected


async def test_old_soft_bounces_do_not_count(way: Way) -> None:
    for _ in range(4):
        await way.answered(FULL)
        way.clock.advance(timedelta(days=11))
    assert await way.suppressed() == [SuppressionReason.SOFT_BOUNCES]
    fresh = Way(way.store, way.clock, (await factory.org(way.store, way.clock)).id)  # 5 within 30 days
    for _ in range(7):
        await fresh.answered(FULL)
        fresh.clock.advance(timedelta(days=11))
    assert await fresh.suppressed() == []


async def test_concurrent_settles_of_one_job_count_exactly(way: Way) -> None:
    await way.queued(60, job="spring")
    begun = await way.begun()
    ends = [YES if n % 3 else DEAD for n in range(60)]
    await asyncio.gather(*(way.settle([one], end) for one, end in zip(begun, ends, strict=True)))
    assert await way.counts(JOB) == await way.counts(DOMAIN) == Counts(sent=40, refused=20, hard=20)
    assert await way.balanced()


async def test_a_lost_lease_has_no_consequences(way: Way) -> None:
    await way.queued()
    slow = await way.begun()
    await way.store.write(queue.recover, NodeId("here"), now=way.clock.now())  # its process was taken for dead
    quick = await way.begun()
    assert await way.settle(slow, DEAD) == [slow[0].id]
    assert await way.suppressed() == []
    assert await way.counts(DOMAIN) == Counts()
    await way.settle(quick, YES)
    assert await way.counts(DOMAIN) == Counts(sent=1)


async def test_an_author_who_was_told_meanwhile_of_the_delay_is_not_told_again(way: Way) -> None:
    (one,) = await way.queued()
    way.clock.advance(timedelta(hours=5))
    for told, owed in ((Notice.NONE, Notice.DELAYED), (Notice.DELAYED, Notice.NONE)):
        held = await way.begun()
        # The notifier wrote while the attempt was under way.
        await way.store.write(deliveries.change, one.id, {"noticed": told, "notice": Notice.NONE})
        await way.settle(held, LATER)
        assert (await way.now(one)).notice is owed
        way.clock.advance(timedelta(minutes=6))


async def test_a_relays_name_for_a_mail_finds_its_deliveries(way: Way) -> None:
    await way.queued(2)
    held = await way.begun()
    await way.settle(held, YES, relayed=True)
    found = await way.store.read(deliveries.by_relay_ids, way.org, ["4Xb1Yz0Qk3z9rTq1", "another-name-of-2026"])
    assert {one.id for one in found} == {one.id for one in held}
    assert await way.store.read(deliveries.by_relay_ids, OrgId("O0"), ["4Xb1Yz0Qk3z9rTq1"]) == ()
    assert await way.store.read(deliveries.by_relay_ids, way.org, []) == ()


async def test_what_is_told_afterwards_is_told_once_and_only_when_it_is_durable(way: Way) -> None:
    told: list[str] = []

    def write(tx: Tx, word: str, *, fails: bool = False) -> None:
        tx.afterwards(lambda: told.append(word))
        if fails:
            raise LookupError(word)

    async def failing() -> None:
        with pytest.raises(LookupError):
            await way.store.write(write, "lost", fails=True)

    await asyncio.gather(way.store.write(write, "one"), failing(), way.store.write(write, "two"))
    assert sorted(told) == ["one", "two"]


@pytest.mark.parametrize("outcome", [YES, FULL, DEAD], ids=["taken", "soft", "hard"])
async def test_answers_of_a_batch_cost_no_statements_of_their_own(way: Way, outcome: Outcome) -> None:
    numbers = []
    for size in (2, 50):
        await way.queued(size, job=f"spring {size}")
        held = await way.begun()
        with counted(way.store) as ran:
            await way.settle(held, outcome)
        numbers.append(len(ran))
    few, many = numbers
    assert many == few
    assert many <= 30


async def test_only_who_had_enough_soft_bounces_is_looked_at_one_by_one(way: Way) -> None:
    numbers = []
    for _ in range(3):
        await way.queued(20, job="spring")
        held = await way.begun()
        with counted(way.store) as ran:
            await way.settle(held, FULL)
        numbers.append(len(ran))
    assert numbers[0] == numbers[1]
    assert numbers[2] <= numbers[1] + 20 + 3
    assert {await _first(way, n) for n in range(20)} == {SuppressionReason.SOFT_BOUNCES}


async def _first(way: Way, number: int) -> SuppressionReason:
    (one,) = await way.suppressed(f"bob{number}@b.test")
    return one


async def test_no_soft_bounces_are_counted_where_none_suppress(store: AnyStore, clock: FakeClock) -> None:
    org = await factory.org(store, clock, settings=OrganisationSettings(soft_bounces=0))
    way = Way(store, clock, org.id)
    for _ in range(3):
        await way.queued()
        held = await way.begun()
        with counted(store) as ran:
            await way.settle(held, FULL)
        assert not [one for one in ran if "recipient_key" in one and one.startswith("SELECT count")]
    assert await way.suppressed() == []


async def test_after_a_record_gained_an_address_its_soft_bounces_are_counted_anew(way: Way) -> None:
    """Too few to suppress, and yet of whoever had the address before (I11)."""
    for _ in range(2):
        await way.answered(FULL)
        way.clock.advance(timedelta(hours=1))
    old = await factory.record(
        way.store, way.clock, await way.store.read(organisations.get, way.org), "contact/1", addresses=("old@b.test",)
    )
    for address in ("bob0@b.test", "old@b.test"):
        new = replace(old, addresses=(factory.address(address),), updated_at=way.clock.now())
        assert await way.store.write(records.upsert, new) is Change.UPDATED
    (row,) = await way.store.read(suppressions.history, way.org, "bob0@b.test")
    assert (row.since, row.lifted_at, row.lifted_by) == (way.clock.now(), way.clock.now(), "record changed")
    assert (row.evidence, row.note) == ("2 soft bounces until then", "contact/1 has this address now")
    assert await way.store.read(suppressions.history, way.org, "old@b.test") == ()
    assert await way.events(EventType.SUPPRESSION_LIFTED) == []
    for expected in ([], [], [SuppressionReason.SOFT_BOUNCES]):
        way.clock.advance(timedelta(hours=1))
        await way.answered(FULL)
        assert await way.suppressed() == expected


async def test_no_consequence_reads_a_table_from_end_to_end(way: Way) -> None:
    way.levels = BrakeLevels(bounces=BounceBrake(warn=0.1, stop=0.2, sample=3))
    sent = await way.answered(YES, recipient="a@b.test", job="spring")
    told = await way.answered(YES, recipient="b@b.test")
    async with watched(way.store) as watch:
        await way.answered(UNPROVED, recipient="e@b.test", job="summer")
        await way.answered(FULL, recipient="c@b.test", job="spring")
        await way.answered(LATER, recipient="d@b.test", job="spring")
        await way.report(sent)
        for _ in range(3):
            await way.answered(FULL, recipient="f@b.test", job="autumn")
        await way.queued(recipient="g@b.test")
        await way.settle(await way.begun(), YES)
        await way.store.write(consequences.replied, told, message=MessageId("M2"), by="Q", at=way.clock.now())
        await way.store.write(
            consequences.complained, told, type="abuse", evidence="", by="Q", at=way.clock.now(), brakes=way.levels
        )
    watch.check()
    assert await way.suspended() == [DOMAIN, Sending(Scope.JOB, "summer")]


# --- by a report ---


async def test_a_report_ends_what_was_sent_and_is_counted_once(way: Way) -> None:
    sent = await way.answered(YES)
    way.clock.advance(timedelta(days=1))
    for _ in range(2):
        await way.report(sent)
    bounced = await way.now(sent)
    assert (bounced.state, bounced.category, bounced.hard) == (DeliveryState.BOUNCED, Category.USER_UNKNOWN, True)
    assert bounced.notice is Notice.FAILED
    assert await way.suppressed() == [SuppressionReason.HARD_BOUNCE]
    assert await way.counts(DOMAIN) == Counts(sent=1, hard=1)
    assert await way.store.read(tallies.since, way.org, DOMAIN, tallies.day_of(way.clock.now())) == Counts(hard=1)
    (event,) = await way.events(EventType.DELIVERY_BOUNCED)
    data = dict(event.data)
    assert (data["category"], data["class"], data["source"], data["by"]) == ("user_unknown", "hard", "report Q1", "Q1")
    assert await way.balanced()


@pytest.mark.parametrize(
    ("action", "state"),
    [
        (Action.DELIVERED, DeliveryState.DELIVERED),
        (Action.DELAYED, DeliveryState.SENT),
        (Action.RELAYED, DeliveryState.SENT),
        (Action.EXPANDED, DeliveryState.SENT),
    ],
)
async def test_a_report_of_no_failure_suppresses_nobody(way: Way, action: Action, state: DeliveryState) -> None:
    sent = await way.answered(YES)
    await way.report(sent, action=action)  # hard by its category, and yet no failure
    assert (await way.now(sent)).state is state
    assert await way.suppressed() == []
    assert len(await way.events(EventType.DELIVERY_DELIVERED)) == (state is DeliveryState.DELIVERED)
    assert await way.balanced()


async def test_a_report_about_what_is_in_flight_does_not_move_it_and_stops_it_at_its_next_attempt(way: Way) -> None:
    deferred = await way.answered(LATER)
    await way.report(deferred)
    assert (await way.now(deferred)).state is DeliveryState.QUEUED
    assert await way.suppressed() == [SuppressionReason.HARD_BOUNCE]
    way.clock.advance(timedelta(minutes=6))
    assert await way.begun() == []


SOFT: dict[str, Any] = {
    "hard": False,
    "category": Category.MAILBOX_FULL,
    "status": "5.2.2",
    "diagnostic": "552 5.2.2 full",
}


async def came_back(way: Way, one: Delivery, arrival: str = "Q1", **more: Any) -> Callable[[], Awaitable[None]]:
    """A believed report, ready to be kept and acted on as the return side does."""
    arrived = replace(ARRIVAL, id=QueueId(arrival), org=way.org, received_at=way.clock.now())
    message = reading.read(mail(), arrived, new_id=factory.ids(way.clock).message).case.message
    await way.store.write(messages.insert, message)
    fields: dict[str, Any] = {
        "org": way.org,
        "message": message.id,
        "position": 0,
        "arrival": QueueId(arrival),
        "delivery": one.id,
        "kind": Kind.BOUNCE,
        "recipient": str(one.address),
        "key": one.address.key,
        "status": "5.1.1",
        "code": 550,
        "diagnostic": "550 5.1.1 No such user here",
        "action": Action.FAILED,
        "category": Category.USER_UNKNOWN,
        "hard": True,
        "fault": Fault.RECIPIENT,
        "tie": Tie.RETURN_PATH,
        "believed": True,
        "at": way.clock.now(),
    }
    row = Feedback(**{**fields, **more})

    def keep(tx: Tx) -> None:
        feedback.add(tx, [row])
        if row.believed:
            consequences.returned(tx, [reported(row, one)], at=way.clock.now(), brakes=way.levels)

    return lambda: way.store.write(keep)


ORDERS: dict[str, Callable[[Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]], Awaitable[Any]]] = {}


def order(run: Any) -> Any:
    ORDERS[run.__name__] = run
    return run


@order
async def report_first(report: Callable[[], Awaitable[Any]], settle: Callable[[], Awaitable[Any]]) -> None:
    await report()
    await settle()


@order
async def settle_first(report: Callable[[], Awaitable[Any]], settle: Callable[[], Awaitable[Any]]) -> None:
    await settle()
    await report()


@order
async def both_at_once(report: Callable[[], Awaitable[Any]], settle: Callable[[], Awaitable[Any]]) -> None:
    await asyncio.gather(report(), settle())


@pytest.mark.parametrize("run", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("hard", [True, False], ids=["hard", "soft"])
async def test_a_failure_has_the_same_end_whether_it_or_its_attempts_note_is_faster(
    way: Way, run: Any, hard: bool
) -> None:
    for number in range(3):
        (made,) = await way.queued()
        held = await way.begun()
        report = await came_back(way, made, f"Q{number}", **({} if hard else SOFT))
        await run(report, lambda held=held: way.settle(held, YES))
        bounced = await way.now(made)
        assert (bounced.state, bounced.hard, bounced.notice) == (DeliveryState.BOUNCED, hard, Notice.FAILED)
        assert bounced.last_reply == ("550 5.1.1 No such user here" if hard else "552 5.2.2 full")
        event = (await way.events(EventType.DELIVERY_BOUNCED))[-1]
        assert (event.delivery, dict(event.data)["source"]) == (made.id, f"report Q{number}")
        assert len(await way.events(EventType.DELIVERY_BOUNCED)) == number + 1
        if hard:
            break
    assert await way.suppressed() == [SuppressionReason.HARD_BOUNCE if hard else SuppressionReason.SOFT_BOUNCES]
    assert await way.counts(DOMAIN) == (Counts(sent=1, hard=1) if hard else Counts(sent=3, soft=3))
    assert await way.balanced()


@pytest.mark.parametrize("run", ORDERS.values(), ids=ORDERS)
async def test_a_success_notice_has_the_same_end_whether_it_or_its_attempts_note_is_faster(way: Way, run: Any) -> None:
    (made,) = await way.queued()
    held = await way.begun()
    success = {"kind": Kind.DELIVERED, "action": Action.DELIVERED, "category": Category.DELIVERED, "hard": False}
    await run(await came_back(way, made, **success), lambda: way.settle(held, YES))
    assert (await way.now(made)).state is DeliveryState.DELIVERED
    assert len(await way.events(EventType.DELIVERY_DELIVERED)) == 1
    assert await way.suppressed() == []


@pytest.mark.parametrize("run", ORDERS.values(), ids=ORDERS)
async def test_a_report_that_blames_the_sender_suspends_whether_it_or_its_attempts_note_is_faster(
    way: Way, run: Any
) -> None:
    (made,) = await way.queued()
    held = await way.begun()
    blames = {"hard": False, "category": Category.POLICY, "fault": Fault.SENDER, "diagnostic": "550 5.7.26"}
    await run(await came_back(way, made, **blames), lambda: way.settle(held, YES))
    assert len(await way.events(EventType.SENDER_BLAMED)) == 1
    assert len(await way.events(EventType.SENDER_BLAMED)) == 1
    assert await way.suppressed() == []


async def test_what_is_not_believed_or_no_report_moves_nothing_when_the_attempt_is_noted(way: Way) -> None:
    (made,) = await way.queued()
    held = await way.begun()
    for arrival, more in (
        ("Q1", {"believed": False}),
        ("Q2", {"believed": False, "org": OrgId("O0")}),
        ("Q3", {"action": Action.DELAYED, "kind": Kind.DELAY}),
    ):
        await (await came_back(way, made, arrival, **more))()
    await way.store.write(feedback.add, [])
    await way.settle(held, YES)
    assert (await way.now(made)).state is DeliveryState.SENT


async def test_a_dead_address_gets_no_second_copy_when_the_note_of_the_first_was_lost(way: Way) -> None:
    (made,) = await way.queued()
    await way.begun()  # and the node dies behind the dot
    await (await came_back(way, made))()
    way.clock.advance(timedelta(minutes=6))
    assert await way.begun() == []
    assert (await way.now(made)).state is DeliveryState.SENDING  # its end is written by who found it suppressed
    assert await way.suppressed() == [SuppressionReason.HARD_BOUNCE]


async def test_a_soft_failure_of_an_attempt_that_was_cut_off_is_not_the_next_ones(way: Way) -> None:
    (made,) = await way.queued()
    await way.settle(await way.begun(), queue.CUT_OFF)
    await (await came_back(way, made, **SOFT))()
    way.clock.advance(timedelta(minutes=6))
    again = await way.begun()
    assert [one.attempts for one in again] == [2]
    await way.settle(again, YES)
    assert (await way.now(made)).state is DeliveryState.SENT
    assert await way.counts(DOMAIN) == Counts(sent=1)


async def test_a_hard_failure_of_an_attempt_that_was_cut_off_stops_the_next(way: Way) -> None:
    (made,) = await way.queued()
    await way.settle(await way.begun(), queue.CUT_OFF)
    await (await came_back(way, made))()
    assert (await way.now(made)).state is DeliveryState.QUEUED
    way.clock.advance(timedelta(minutes=6))
    assert await way.begun() == []


async def test_soft_reports_in_a_row_suppress(way: Way) -> None:
    for _ in range(3):
        sent = await way.answered(YES)
        way.clock.advance(timedelta(hours=1))
        await way.report(sent, hard=False, category=Category.MAILBOX_FULL, said="552 5.2.2 full")
    assert await way.suppressed() == [SuppressionReason.SOFT_BOUNCES]
    assert await way.counts(DOMAIN) == Counts(sent=3, soft=3)


async def test_a_complaint_suppresses_and_counts_once(way: Way) -> None:
    sent = await way.answered(YES, job="spring")
    for by in ("Q1", "Q2"):
        await way.store.write(
            consequences.complained, sent, type="abuse", evidence="fbl.test", by=by, at=way.clock.now(), brakes=LEVELS
        )
    assert (await way.now(sent)).complained_at == way.clock.now()
    assert (await way.now(sent)).state is DeliveryState.SENT
    assert await way.suppressed() == [SuppressionReason.COMPLAINT]
    assert await way.counts(JOB) == await way.counts(DOMAIN) == Counts(sent=1, complaints=1)
    assert len(await way.events(EventType.DELIVERY_COMPLAINED)) == 1


async def test_a_reply_is_noted_with_the_time_of_the_first(way: Way) -> None:
    sent = await way.answered(YES)
    at = way.clock.now()
    for message in ("M2", "M3"):
        await way.store.write(consequences.replied, sent, message=MessageId(message), by="Q2", at=way.clock.now())
        way.clock.advance(timedelta(days=1))
    replied = await way.now(sent)
    assert (replied.replied_at, replied.status) == (at, DeliveryStatus.REPLIED)
    (listed,) = await way.store.read(deliveries.list_deliveries, way.org, statuses={DeliveryStatus.REPLIED})
    assert listed == replied
    assert len(await way.events(EventType.MESSAGE_REPLIED)) == 2


# --- suspended and resumed ---


async def test_fault_of_the_sender_suspends_the_domain_and_nobody_is_suppressed(way: Way) -> None:
    waiting = await way.queued(3, due_at=way.clock.now() + timedelta(hours=1))
    blamed = await way.answered(UNPROVED, recipient="eve@b.test")
    assert (blamed.state, blamed.fault, blamed.hard) == (DeliveryState.BOUNCED, Fault.SENDER, False)
    assert await way.suppressed("eve@b.test") == []
    assert await way.suspended() == [DOMAIN]
    assert {(await way.now(one)).held_by for one in waiting} == {"domain:a.test"}
    assert await way.counts(DOMAIN) == Counts()
    (event,) = await way.events(EventType.SENDER_BLAMED)
    assert "5.7.26" in dict(event.data)["reply"]
    assert len(await way.events(EventType.SENDING_SUSPENDED)) == 1
    assert await way.balanced()


async def test_a_throttle_of_the_sender_suspends_nothing_even_when_it_lasts(way: Way) -> None:
    slowed = Deferred(reply=reply(421, "4.7.28", "Try again later: unusual rate"), stage=Stage.MAIL)
    deferred = await way.answered(slowed)
    expired = await way.answered(slowed, DeliveryState.EXPIRED, recipient="eve@b.test")
    assert deferred.fault is expired.fault is Fault.SENDER
    assert await way.suspended() == []
    assert await way.suppressed("eve@b.test") == []
    assert await way.events(EventType.SENDER_BLAMED) == []


async def test_as_many_blames_as_are_set_within_an_hour_suspend(way: Way) -> None:
    way.levels = BrakeLevels(blames=3)
    for n, minutes in enumerate((0, 61, 10)):
        way.clock.advance(timedelta(minutes=minutes))
        await way.answered(UNPROVED, recipient=f"r{n}@b.test", job="spring")
    assert await way.suspended() == []  # the first is older than an hour
    await way.answered(UNPROVED, recipient="last@b.test", job="spring")
    assert await way.suspended() == [JOB]
    await way.store.write(suspensions.resume, way.org, JOB, by="anna", at=way.clock.now())
    way.clock.advance(timedelta(minutes=1))
    await way.answered(UNPROVED, recipient="more@b.test", job="spring")
    assert await way.suspended() == []  # those before the resumption count no more


async def test_a_suspension_holds_what_is_queued_new_and_deferred_and_resuming_releases_all(way: Way) -> None:
    queued = await way.queued(2, job="spring")
    others = await way.queued(1, recipient="other@b.test")
    under_way = [one for one in await way.begun(limit=1) if one.job]
    made = await way.store.write(
        suspensions.suspend, org=way.org, sending=JOB, reason="r", evidence="e", by="anna", at=way.clock.now()
    )
    assert made is not None
    again = await way.store.write(
        suspensions.suspend, org=way.org, sending=JOB, reason="r", evidence="e", by="anna", at=way.clock.now()
    )
    assert again is None
    new = await way.queued(2, recipient="new@b.test", job="spring")
    await way.settle(under_way, LATER)
    assert [one.id for one in await way.begun()] == [others[0].id]  # the new ones are held at their first attempt
    ours = [await way.now(one) for one in (*queued, *new)]
    assert {(one.state, one.held_by) for one in ours} == {(DeliveryState.HELD, "job:spring")}
    assert await way.store.read(deliveries.count_held, way.org, JOB) == 4
    assert await way.balanced()

    way.clock.advance(timedelta(days=6))
    resumed = await way.store.write(suspensions.resume, way.org, JOB, by="anna", at=way.clock.now())
    assert (resumed.resumed_by, resumed.resumed_at) == ("anna", way.clock.now())
    with pytest.raises(Unknown):
        await way.store.write(suspensions.resume, way.org, JOB, by="anna", at=way.clock.now())
    begun = await way.begun()
    assert {one.id for one in begun} >= {one.id for one in ours}
    assert all(one.expires_at > way.clock.now() for one in begun if one.job)  # it did not expire of being held
    await way.settle([one for one in begun if one.job], YES)
    assert {(await way.now(one)).state for one in ours} == {DeliveryState.SENT}
    assert await way.balanced()
    assert await way.store.read(suspensions.count) == dict.fromkeys(Scope, 0)


async def test_what_two_suspensions_hold_waits_for_both(way: Way) -> None:
    (one,) = await way.queued(job="spring")
    for sending in (JOB, DOMAIN):
        await way.store.write(
            suspensions.suspend, org=way.org, sending=sending, reason="", evidence="", by="", at=way.clock.now()
        )
    await way.store.write(suspensions.resume, way.org, JOB, by="anna", at=way.clock.now())
    assert await way.begun() == []
    assert (await way.now(one)).held_by == "domain:a.test"
    await way.store.write(suspensions.resume, way.org, DOMAIN, by="anna", at=way.clock.now())
    assert [begun.id for begun in await way.begun()] == [one.id]


async def test_nothing_stays_held_when_it_is_resumed_while_attempts_end(way: Way) -> None:
    """A resumption and settlements that hold for the same suspension, at once: whichever is first, all of it goes again."""
    for _ in range(5):
        await way.queued(10, job="spring")
        held = [one for one in await way.begun() if one.job]
        await way.store.write(
            suspensions.suspend, org=way.org, sending=JOB, reason="", evidence="", by="", at=way.clock.now()
        )
        await asyncio.gather(
            *(way.settle([one], LATER) for one in held),
            way.store.write(suspensions.resume, way.org, JOB, by="anna", at=way.clock.now()),
        )
        assert await way.store.read(deliveries.count_held, way.org, JOB) == 0
        way.clock.advance(timedelta(minutes=6))
    assert await way.balanced()


async def test_a_report_that_comes_again_after_the_resumption_suspends_nothing(way: Way) -> None:
    sent = await way.answered(YES, job="spring")
    elsewhere = await way.answered(YES, recipient="eve@c.test", job="spring")
    blames: dict[str, Any] = {"hard": False, "category": Category.POLICY, "fault": Fault.SENDER, "said": "550 5.7.26"}
    await way.report(sent, **blames)
    await way.report(elsewhere, **blames)
    assert await way.suspended() == [JOB]
    assert await way.suppressed() == []
    await way.store.write(suspensions.resume, way.org, JOB, by="anna", at=way.clock.now())
    await way.report(sent, **blames)
    assert await way.suspended() == []
    assert len(await way.events(EventType.SENDER_BLAMED)) == 2


async def test_suspending_at_once_is_one_suspension(way: Way) -> None:
    await way.queued(20, job="spring")
    await asyncio.gather(*(way.settle([one], UNPROVED) for one in await way.begun()))
    assert len(await way.store.read(suspensions.history, way.org, JOB)) == 1
    assert len(await way.events(EventType.SENDER_BLAMED)) == 20


async def test_a_suspension_is_of_one_organisation(way: Way, clock: Clock) -> None:
    other = Way(way.store, way.clock, (await factory.org(way.store, clock)).id)
    await way.store.write(
        suspensions.suspend, org=way.org, sending=DOMAIN, reason="", evidence="", by="", at=clock.now()
    )
    await other.queued()
    assert len(await other.begun()) == 1


# --- brakes ---


async def test_each_measure_warns_for_itself(way: Way) -> None:
    low = {"warn": 0.1, "stop": 1, "sample": 2}
    way.levels = BrakeLevels(bounces=BounceBrake(**low), complaints=ComplaintBrake(**low))
    sent = await way.answered(YES, recipient="a@b.test")
    await way.answered(YES, recipient="b@b.test")
    await way.report(sent, hard=False)
    await way.store.write(
        consequences.complained, sent, type="abuse", evidence="", by="Q", at=way.clock.now(), brakes=way.levels
    )
    warned = [dict(one.data)["measure"] for one in await way.events(EventType.SENDING_WARNED)]
    assert warned == ["bounces", "complaints"]


async def test_a_rate_warns_once_a_day_then_stops_and_after_a_resumption_needs_a_new_sample(way: Way) -> None:
    way.levels = BrakeLevels(bounces=BounceBrake(warn=0.2, stop=0.5, sample=10))
    await way.queued(20, job="spring")
    begun = await way.begun()
    await way.settle(begun[:8], YES)
    await way.settle(begun[8:9], DEAD)
    assert await way.events(EventType.SENDING_WARNED) == []  # too small a sample
    await way.settle(begun[9:10], DEAD)
    await way.settle(begun[10:11], DEAD)
    warned = [dict(one.data) for one in await way.events(EventType.SENDING_WARNED)]
    assert [(one["scope"], one["name"], one["measure"]) for one in warned] == [
        ("job", "spring", "bounces"),
        ("domain", "a.test", "bounces"),
    ]
    assert await way.suspended() == []
    await way.settle(begun[11:16], DEAD)
    assert await way.suspended() == [JOB]  # and not the domain as well
    (one,) = await way.store.read(suspensions.list_standing, way.org)
    assert one.reason == "Too many bounces: 8 of 16 (50.00%), at or over the level of 50.00%"
    await way.settle(begun[16:], DEAD)  # what was under way ends; it counts, and suspends nothing a second time
    assert len(await way.store.read(suspensions.history, way.org, JOB)) == 1

    await way.store.write(suspensions.resume, way.org, JOB, by="anna", at=way.clock.now())
    await way.queued(10, recipient="x@b.test", job="spring")
    begun = await way.begun()
    for one in begun[:9]:
        await way.settle([one], FULL)
    assert await way.suspended() == []
    way.clock.advance(timedelta(days=3))
    await way.queued(1, recipient="y@b.test", job="spring")
    await way.settle(await way.begun(), FULL)
    assert await way.suspended() == [JOB]
    assert await way.balanced()


async def test_a_domain_is_judged_by_seven_days(way: Way) -> None:
    way.levels = BrakeLevels(bounces=BounceBrake(warn=0.2, stop=0.5, sample=4))
    for _ in range(3):
        await way.answered(FULL, recipient="a@b.test")
    way.clock.advance(timedelta(days=7))
    await way.answered(FULL, recipient="b@b.test")
    assert await way.suspended() == []
    for _ in range(3):
        await way.answered(FULL, recipient="c@b.test")
    assert await way.suspended() == [DOMAIN]


async def test_fault_m07_complaints_of_0_31_percent_stop_the_job(way: Way) -> None:
    sent = [await way.answered(YES, recipient=f"r{n}@b.test", job="spring") for n in range(4)]
    # As if 1,286 more had been sent: with the levels that are set by default.
    await way.store.write(tallies.count, {(way.org, JOB, ""): Counts(sent=1286)}, at=way.clock.now())
    for number, one in enumerate(sent, start=1):
        assert await way.suspended() == []
        await way.store.write(
            consequences.complained, one, type="abuse", evidence="", by="Q", at=way.clock.now(), brakes=LEVELS
        )
        assert len(await way.events(EventType.SENDING_WARNED)) == (number > 1)  # 2 of 1,290 are over 0.1 %
    assert await way.suspended() == [JOB]
    (one,) = await way.store.read(suspensions.list_standing, way.org)
    assert one.reason == "Too many complaints: 4 of 1290 (0.31%), at or over the level of 0.30%"


async def test_unsubscriptions_stop_too(way: Way) -> None:
    way.levels = BrakeLevels(unsubscribes=UnsubscribeBrake(warn=0.2, stop=0.5, sample=2))
    for recipient in ("a@b.test", "b@b.test"):
        await way.answered(YES, recipient=recipient, job="spring")
    await way.store.write(
        consequences.unsubscribed, way.org, [JOB, DOMAIN], by="link", at=way.clock.now(), brakes=way.levels
    )
    assert await way.suspended() == [JOB]
    assert await way.counts(JOB) == await way.counts(DOMAIN) == Counts(sent=2, unsubscribed=1)


async def test_sendings_are_listed_by_pages_with_what_was_counted(way: Way) -> None:
    await way.answered(YES, recipient="a@b.test", job="spring")
    await way.answered(DEAD, recipient="b@b.test", job="summer")
    today = tallies.day_of(way.clock.now())
    page = await way.store.read(tallies.list_sendings, way.org, domains_since=today, limit=2)
    rest = await way.store.read(tallies.list_sendings, way.org, domains_since=today, after=page[-1][0])
    assert [*page, *rest] == [
        (DOMAIN, Counts(sent=1, refused=1, hard=1)),
        (JOB, Counts(sent=1)),
        (Sending(Scope.JOB, "summer"), Counts(refused=1, hard=1)),
    ]
    later = await way.store.read(tallies.list_sendings, way.org, domains_since=today + 1)
    assert [sending.scope for sending, _ in later] == [Scope.JOB, Scope.JOB]
