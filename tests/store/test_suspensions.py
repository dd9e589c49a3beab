"""Brakes and suspensions in the long run, on both databases: exact with several jobs, domains and resumptions, and for much mail."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from mailrelay.config.schema import BounceBrake, BrakeLevels
from mailrelay.errors import Unknown
from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.event import EventType
from mailrelay.model.feedback import Category, Fault
from mailrelay.model.sending import EVERYBODY, Counts, Scope, Sending
from mailrelay.model.way import Way as Route
from mailrelay.outbound import brake, consequences
from mailrelay.outbound.release import Releaser
from mailrelay.service import Stopping
from mailrelay.store import deliveries, suspensions
from mailrelay.store.base import Tx
from mailrelay.store.tables import delivery, tally
from tests.store.explain import AnyStore, watched
from tests.store.test_consequences import DOMAIN, FULL, JOB, LATER, UNPROVED, YES, Way
from tests.support import factory
from tests.support.clock import FakeClock
from tests.support.delivery import a_delivery

BLAMES: dict[str, Any] = {"hard": False, "category": Category.POLICY, "fault": Fault.SENDER, "said": "550 5.7.26 no"}


@pytest.fixture
async def way(store: AnyStore, clock: FakeClock) -> Way:
    org = await factory.org(store, clock)
    return Way(store, clock, org.id)


async def counted(way: Way, number: int, counts: Counts, **more: Any) -> None:
    """As if as many mails had come to this."""
    one = a_delivery(way.clock, org=way.org, **more)
    await way.store.write(brake.count, [(one, counts)] * number, at=way.clock.now())


async def suspend(way: Way, sending: Sending) -> None:
    await way.store.write(
        suspensions.suspend, org=way.org, sending=sending, reason="r", evidence="e", by="anna", at=way.clock.now()
    )


async def resume(way: Way, sending: Sending) -> None:
    await way.store.write(suspensions.resume, way.org, sending, by="anna", at=way.clock.now())


async def judged(way: Way, sending: Sending) -> Counts:
    """What counts for or against it now."""

    def read(tx: Tx) -> Counts:
        last = suspensions.latest(tx, way.org, [sending]).get(sending)
        return suspensions.counted(tx, way.org, sending, last=last, at=way.clock.now())

    return await way.store.read(read)


SENT, REFUSED = Counts(sent=1), Counts(refused=1, soft=1)


# --- rates ---


async def test_a_stopped_job_of_one_domain_says_nothing_of_another(way: Way) -> None:
    other: dict[str, Any] = {"mail_from": replace(a_delivery(way.clock).address, domain="other.test"), "job": "spring"}
    await counted(way, 1000, SENT, **other)
    await counted(way, 150, REFUSED, **other)
    await suspend(way, JOB)
    await counted(way, 700, SENT)
    await counted(way, 100, SENT, job="spring")
    await counted(way, 150, REFUSED)
    assert await judged(way, DOMAIN) == Counts(sent=700, refused=150, soft=150)
    assert await judged(way, Sending(Scope.DOMAIN, "other.test")) == Counts()
    assert await judged(way, JOB) == Counts(sent=1100, refused=150, soft=150)


async def test_what_a_job_did_before_its_domain_was_resumed_is_taken_out_once(way: Way) -> None:
    await counted(way, 1000, SENT, job="spring")
    await counted(way, 200, REFUSED, job="spring")
    await suspend(way, JOB)
    await suspend(way, DOMAIN)
    for _ in range(2):  # the last resumption of the day is what counts
        await resume(way, DOMAIN)
        await counted(way, 7, SENT)
        await suspend(way, DOMAIN)
    await resume(way, DOMAIN)
    await counted(way, 760, SENT)
    await counted(way, 140, REFUSED)
    await counted(way, 5, REFUSED, job="spring")  # what was under way
    assert await judged(way, DOMAIN) == Counts(sent=760, refused=140, soft=140)
    way.clock.advance(timedelta(days=1))
    await counted(way, 10, SENT)
    await counted(way, 10, SENT, job="spring")
    assert await judged(way, DOMAIN) == Counts(sent=770, refused=140, soft=140)


async def test_a_job_that_stops_after_its_domain_was_resumed_is_taken_out_with_what_it_did_since(way: Way) -> None:
    await counted(way, 100, REFUSED, job="spring")
    await suspend(way, DOMAIN)
    await resume(way, DOMAIN)
    await counted(way, 50, REFUSED, job="spring")
    await counted(way, 20, SENT)
    assert await judged(way, DOMAIN) == Counts(sent=20, refused=50, soft=50)
    await suspend(way, JOB)
    assert await judged(way, DOMAIN) == Counts(sent=20)


async def test_late_bounces_of_mail_from_before_the_resumption_stop_nothing(way: Way) -> None:
    old = [await way.answered(YES, recipient=f"old{n}@b.test") for n in range(12)]
    unhappy = await way.answered(YES, recipient="unhappy@b.test")
    await suspend(way, DOMAIN)
    way.clock.advance(timedelta(minutes=1))
    await resume(way, DOMAIN)
    way.clock.advance(timedelta(minutes=1))
    await counted(way, 99, SENT)
    new = await way.answered(YES, recipient="new@b.test")
    for one in old:
        await way.report(one)
    assert await way.suspended() == []
    assert await judged(way, DOMAIN) == Counts(sent=100)
    await way.report(new)
    await way.store.write(
        consequences.complained, unhappy, type="abuse", evidence="", by="Q", at=way.clock.now(), brakes=way.levels
    )
    assert await judged(way, DOMAIN) == Counts(sent=100, hard=1)


async def test_late_bounces_of_mail_from_before_anything_was_counted_stop_nothing(way: Way) -> None:
    old = [await way.answered(YES, recipient=f"old{n}@b.test") for n in range(16)]
    await way.store.write(lambda tx: tx.execute(tally.delete()))  # as an older version left it
    way.clock.advance(timedelta(minutes=1))
    await counted(way, 100, SENT)
    for one in old:
        await way.report(one)
    assert await way.suspended() == []
    assert await judged(way, DOMAIN) == Counts(sent=100)


async def test_what_is_forgiven_a_job_is_not_held_against_its_domain_and_what_a_domain_is_forgiven_stays_with_its_job(
    way: Way,
) -> None:
    one, two = [await way.answered(YES, recipient=f"{n}@b.test", job="spring") for n in range(2)]
    for sending, late in ((DOMAIN, one), (JOB, two)):
        await suspend(way, sending)
        way.clock.advance(timedelta(minutes=1))
        await resume(way, sending)
        await way.report(late)
        assert (await judged(way, DOMAIN)).bounced == 0
    assert await way.counts(DOMAIN) == Counts(sent=2)
    assert await way.counts(JOB) == Counts(sent=2, hard=1)
    await counted(way, 1, REFUSED)
    assert await judged(way, DOMAIN) == Counts(refused=1, soft=1)  # nothing of the job's is taken off it


async def test_a_domain_that_is_resumed_stops_again_by_a_sample_that_is_as_bad(way: Way) -> None:
    way.levels = BrakeLevels(bounces=BounceBrake(warn=0.1, stop=0.5, sample=4))
    await counted(way, 100, REFUSED, job="spring")
    await suspend(way, JOB)
    await suspend(way, DOMAIN)
    await resume(way, DOMAIN)
    for n in range(4):
        assert await way.suspended() == [JOB]
        await way.answered(FULL, recipient=f"r{n}@b.test")
    assert await way.suspended() == [DOMAIN, JOB]


# --- blame ---


async def test_reports_by_mail_suspend_only_when_two_recipient_domains_say_so(way: Way) -> None:
    sent = [await way.answered(YES, recipient=to) for to in ("a@b.test", "b@b.test", "a@c.test", "a@d.test")]
    for one in sent[:2]:
        await way.report(one, **BLAMES)
    assert await way.suspended() == []
    way.clock.advance(timedelta(minutes=61))
    await way.report(sent[2], **BLAMES)
    assert await way.suspended() == []
    await way.report(sent[3], **BLAMES)
    assert await way.suspended() == [DOMAIN]
    assert len(await way.events(EventType.SENDER_BLAMED)) == 4


async def test_an_answer_in_the_dialogue_suspends_by_itself_and_makes_a_report_count(way: Way) -> None:
    way.levels = BrakeLevels(blames=2)
    sent = await way.answered(YES, recipient="a@b.test")
    await way.report(sent, **BLAMES)
    await way.answered(UNPROVED, recipient="b@b.test")
    assert await way.suspended() == [DOMAIN]


# --- much mail ---


def releaser(way: Way) -> Releaser:
    return Releaser(way.store, way.clock, stopping=Stopping())


async def test_ten_thousand_that_wait_are_held_and_released_piece_by_piece(way: Way) -> None:
    made = await way.queued(10_000, recipient="bob@b.test")
    await suspend(way, DOMAIN)
    assert await way.store.read(deliveries.count_held, way.org, DOMAIN) == 2_000  # one transaction holds no more
    for _ in range(4):
        assert await way.begun(limit=2_000) == []  # nothing of it is attempted
    assert await way.store.read(deliveries.count_held, way.org, DOMAIN) == 10_000
    await releaser(way).look()
    assert await way.store.read(deliveries.count_held, way.org, DOMAIN) == 10_000  # it is suspended
    await resume(way, DOMAIN)
    assert await way.store.read(deliveries.count_held, way.org, DOMAIN) == 8_000
    await releaser(way).look()
    assert await way.store.read(deliveries.count_held, way.org, DOMAIN) == 0
    states = [one.state for one in await way.store.read(deliveries.list_deliveries, way.org, limit=20_000)]
    assert states == [DeliveryState.QUEUED] * len(made)
    assert await way.balanced()


async def test_what_a_person_holds_or_a_suspension_that_stands_is_never_released(way: Way) -> None:
    summer = Sending(Scope.JOB, "summer")
    (late,) = await way.queued(recipient="late@b.test", job="summer")
    (stands,) = await way.queued(recipient="stands@b.test", job="spring")
    words = {
        "": "no@b.test",
        "anna": "anna@b.test",
        "job:": "empty@b.test",
        "job:never": "never@b.test",
        "x:y": "x@b.test",
    }
    held = {by: (await way.queued(recipient=to))[0] for by, to in words.items()}

    def hold(tx: Tx, one: Delivery, by: str) -> None:
        tx.execute(update(delivery).where(delivery.c.id == one.id).values(state=DeliveryState.HELD, held_by=by))

    await suspend(way, summer)
    await resume(way, summer)
    await suspend(way, JOB)
    for by, one in held.items():
        await way.store.write(hold, one, by)
    await way.store.write(hold, late, "job:summer")  # by whoever did not know of the resumption
    async with watched(way.store) as watch:
        await releaser(way).look()
    watch.check()
    assert ((await way.now(late)).state, (await way.now(late)).held_by) == (DeliveryState.QUEUED, "")
    for one in (stands, *held.values()):
        assert (await way.now(one)).state is DeliveryState.HELD


async def test_a_suspension_while_it_is_released_holds_the_rest(way: Way) -> None:
    await way.queued(1, job="spring")
    await suspend(way, JOB)
    assert await way.store.write(suspensions.release, way.org, JOB, at=way.clock.now()) == 0
    assert await way.store.read(deliveries.count_held, way.org, JOB) == 1


# --- the time that a hold took ---


async def test_what_was_queued_late_in_a_hold_gets_only_the_time_back_that_it_was_held(way: Way) -> None:
    (early,) = await way.queued(job="spring")
    await suspend(way, JOB)
    way.clock.advance(timedelta(days=30))
    (late,) = await way.queued(recipient="late@b.test", job="spring")
    assert await way.begun() == []
    way.clock.advance(timedelta(hours=2))
    await resume(way, JOB)
    assert (await way.now(early)).expires_at == early.expires_at + timedelta(days=30, hours=2)
    assert (await way.now(late)).expires_at == late.expires_at + timedelta(hours=2)


async def test_what_job_and_domain_hold_gets_the_time_back_once(way: Way) -> None:
    (one,) = await way.queued(job="spring")
    for sending in (JOB, DOMAIN):
        await suspend(way, sending)
    way.clock.advance(timedelta(days=1))
    await resume(way, JOB)
    assert await way.begun() == []  # now its domain holds it
    await resume(way, DOMAIN)
    assert (await way.now(one)).expires_at == one.expires_at + timedelta(days=1)


async def test_what_is_put_off_while_it_is_suspended_is_held_from_then_on(way: Way) -> None:
    (one,) = await way.queued(job="spring")
    begun = await way.begun()
    await suspend(way, JOB)
    way.clock.advance(timedelta(hours=1))
    await way.settle(begun, LATER)
    way.clock.advance(timedelta(hours=1))
    await resume(way, JOB)
    assert (await way.now(one)).expires_at == one.expires_at + timedelta(hours=1)


# --- destinations and sources ---

DESTINATION = Sending(Scope.DESTINATION, "b.test")


async def everybodys(way: Way, sending: Sending = DESTINATION) -> None:
    await way.store.write(
        suspensions.suspend, org=EVERYBODY, sending=sending, reason="r", evidence="e", by="operator", at=way.clock.now()
    )


async def go(way: Way, sending: Sending = DESTINATION) -> None:
    await way.store.write(suspensions.resume, EVERYBODY, sending, by="operator", at=way.clock.now())


async def test_a_destination_of_one_organisation_is_held_among_the_mail_of_others(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspensions, "_AT_ONCE", 20)
    other = await factory.org(way.store, way.clock, name="Other")
    await way.queued(30, recipient="bob@b.test", org=other.id)
    way.clock.advance(timedelta(seconds=1))
    (mine,) = await way.queued(recipient="bob@b.test")
    (elsewhere,) = await way.queued(recipient="bob@c.test")
    async with watched(way.store) as watch:
        await suspend(way, DESTINATION)
    watch.check()
    # One transaction looks at no more than so many of all organisations; the others are held at their attempt.
    assert (await way.now(mine)).state is DeliveryState.QUEUED
    begun = [one.id for one in await way.begun()]
    assert len(begun) == 31
    assert (await way.now(mine)).held_by == "destination:b.test"
    assert elsewhere.id in begun
    await resume(way, DESTINATION)
    assert (await way.now(mine)).state is DeliveryState.QUEUED
    assert await way.balanced()


async def test_what_is_suspended_for_all_is_held_and_let_go_for_each(way: Way) -> None:
    other = await factory.org(way.store, way.clock, name="Other")
    (mine,) = await way.queued(recipient="bob@b.test")
    (theirs,) = await way.queued(recipient="bob@b.test", org=other.id)
    await everybodys(way)
    both = Way(way.store, way.clock, other.id)
    assert ((await way.now(mine)).held_by, (await both.now(theirs)).held_by) == ("destination:b.test",) * 2
    assert await way.store.read(suspensions.count_held, EVERYBODY, DESTINATION) == 2
    assert await way.store.read(suspensions.count_held, way.org, DESTINATION) == 1
    await everybodys(way)  # a second time changes nothing
    assert len(await way.store.read(suspensions.history, EVERYBODY, DESTINATION)) == 1
    way.clock.advance(timedelta(days=9))
    await suspend(way, DESTINATION)
    await go(way)
    await releaser(way).look()
    assert (await way.now(mine)).state is DeliveryState.HELD
    freed = await both.now(theirs)
    assert (freed.state, freed.expires_at) == (DeliveryState.QUEUED, theirs.expires_at + timedelta(days=9))
    await resume(way, DESTINATION)
    assert (await way.now(mine)).state is DeliveryState.QUEUED
    with pytest.raises(Unknown, match="is not suspended for the whole installation"):
        await go(way)


async def test_no_tally_is_begun_for_what_is_not_counted(way: Way) -> None:
    await suspend(way, DESTINATION)
    await resume(way, DESTINATION)
    await everybodys(way, Sending(Scope.SOURCE, "one"))
    await go(way, Sending(Scope.SOURCE, "one"))
    assert await way.store.read(lambda tx: tx.execute(select(func.count()).select_from(tally)).scalar()) == 0


async def test_the_site_and_the_source_of_a_way_are_looked_at(way: Way) -> None:
    site, source = Sending(Scope.DESTINATION, "provider.test"), Sending(Scope.SOURCE, "default")
    (one,) = await way.queued(recipient="bob@b.test")

    async def suspended(**more: Any) -> Sending | None:
        return (await way.store.write(brake.suspended_by, [one], **more)).get(one.id)

    await suspend(way, site)
    assert await suspended() is None
    assert await suspended(way=Route("provider.test", "two")) == site
    await resume(way, site)
    await everybodys(way, source)
    assert await suspended(way=Route("provider.test", "two")) is None
    assert await suspended(way=Route("provider.test")) == source


async def test_two_that_suspend_at_once_do_it_once(way: Way) -> None:
    made = await asyncio.gather(
        *(
            way.store.write(
                suspensions.suspend,
                org=org,
                sending=DESTINATION,
                reason="",
                evidence="",
                by="",
                at=way.clock.now(),
            )
            for org in (way.org, EVERYBODY)
            for _ in range(5)
        )
    )
    assert sum(one is not None for one in made) == 2
