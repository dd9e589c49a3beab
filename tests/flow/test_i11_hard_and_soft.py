"""I11: a hard answer suppresses at once and says so at the next send; soft ones do when they come in a row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mailrelay.errors import Suppressed
from mailrelay.model.delivery import Delivery, DeliveryState, DeliveryStatus, Notice
from mailrelay.model.feedback import Category, Fault
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.suppression import SuppressionReason
from mailrelay.outbound import brake, settle
from mailrelay.outbound.submission import Submitted
from mailrelay.store import ledger, organisations, suppressions
from tests.support.answers import Zone
from tests.support.outbound import Relay, relay
from tests.support.remote import Remote, remote

ZONE = Zone(
    {
        ("MX", "b.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(10, "localhost"),)),
        ("MX", "null.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(0, ""),)),
        ("A", "localhost"): "127.0.0.1",
    }
)


def by_mx(sink: Remote, **more):
    return {"route": "mx", "port": sink.port, "answers": ZONE, **more}


async def send(us: Relay, *states: DeliveryState, to: str = "bob@b.test", **more) -> Delivery:
    submitted = await us.submit(to, **more)
    (one,) = await us.until(submitted, *(states or (DeliveryState.BOUNCED,)))
    return one


async def later(us: Relay, one: Delivery, *states: DeliveryState, attempts: int = 0) -> Delivery:
    """The delivery, once it has come to one of these states."""
    alone = Submitted(queue_id=one.queue_id, message=one.message, deliveries=(one.id,), sent_to=(one.address,))
    (found,) = await us.until(alone, *states, attempts=attempts)
    return found


async def reasons(us: Relay, key: str = "bob@b.test") -> list[SuppressionReason]:
    return [one.reason for one in await us.store.read(suppressions.holding, us.org.id, [key])]


async def test_i11_a_hard_answer_suppresses_and_the_next_send_says_why(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        us.start()
        sink.say("RCPT", "550 5.1.1 <bob@b.test>: no such user")
        bounced = await send(us)
        assert (bounced.category, bounced.hard) == (Category.USER_UNKNOWN, True)
        with pytest.raises(Suppressed) as refused:
            await us.submit("Bob@b.test")
        assert "Bob@b.test is suppressed (hard bounce) since 2026-11-02" in str(refused.value)
        (one,) = await us.store.read(suppressions.holding, us.org.id, ["bob@b.test"])
        assert f"550 5.1.1 <bob@b.test>: no such user (localhost[127.0.0.1]:{sink.port} in the dialogue" in one.evidence
        await us.store.write(suppressions.lift, us.org.id, "bob@b.test", by="anna", now=us.clock.now())
        assert (await send(us, DeliveryState.SENT)).category is None
        assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))


@pytest.mark.parametrize(
    ("to", "category"),
    [("eve@gone.test", Category.HOST_UNKNOWN), ("eve@null.test", Category.NO_MAIL_HOST)],
)
async def test_i11_a_domain_that_is_none_or_takes_no_mail_is_hard(tmp_path: Path, to: str, category: Category):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        us.start()
        failed = await send(us, DeliveryState.FAILED, to=to)
        assert (failed.category, failed.hard) == (category, True)
        assert await reasons(us, to) == [SuppressionReason.HARD_BOUNCE]


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("MAIL", "550 5.1.1 no such user"),  # it speaks of the sender, whatever it says
        ("CONNECT", "554 5.1.1 no such user"),
        ("RCPT", "552 5.2.2 mailbox full"),
        ("DOT", "552 5.3.4 message too big"),
        ("DOT", "554 5.7.1 looks like spam"),
    ],
)
async def test_i11_what_is_not_the_address_being_dead_is_soft(tmp_path: Path, verb: str, answer: str):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        us.start()
        sink.say(verb, answer)
        ended = await send(us, DeliveryState.BOUNCED, DeliveryState.QUEUED)
        assert not ended.hard
        assert await reasons(us) == []


async def test_i11_a_transient_answer_is_never_hard(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink, first_retry=1)) as us:
        us.start()
        sink.say("RCPT", "450 4.1.1 user unknown", "451 4.7.1 greylisted")
        submitted = await us.submit()
        (put_off,) = await us.until(submitted, DeliveryState.QUEUED, attempts=1)
        assert (put_off.status, put_off.category, put_off.hard) == (
            DeliveryStatus.DEFERRED,
            Category.USER_UNKNOWN,
            False,
        )
        for _ in range(2):
            us.clock.advance(timedelta(seconds=5))
            await us.until(submitted, DeliveryState.QUEUED, DeliveryState.SENT, attempts=2)
        await us.until(submitted)
        assert await reasons(us) == []


async def test_i11_so_many_soft_bounces_in_a_row_within_the_window_suppress(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        settings = OrganisationSettings(soft_bounces=3, soft_bounce_days=10)
        await us.store.write(organisations.update_organisation, replace(us.org, settings=settings))
        us.start()
        for accepted in (False, False, True, False, False):
            if not accepted:
                sink.say("RCPT", "552 5.2.2 mailbox full")
            await send(us, DeliveryState.SENT if accepted else DeliveryState.BOUNCED)
            us.clock.advance(timedelta(days=2))
        assert await reasons(us) == []
        sink.say("RCPT", "552 5.2.2 mailbox full")
        await send(us)
        assert await reasons(us) == [SuppressionReason.SOFT_BOUNCES]
        with pytest.raises(Suppressed, match="soft bounces"):
            await us.submit()


async def test_i11_an_answer_whose_consequences_fail_is_kept_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Our own fault in what follows must not make a mail that was taken go out again."""

    def fails(*given: object, **more: object) -> None:
        raise RuntimeError("a fault of ours")

    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        monkeypatch.setattr(settle.consequences.brake, "count", fails)
        us.start()
        submitted = await us.submit("bob@b.test", "eve@b.test")
        await us.until(submitted)
        assert len(sink.messages) == 2
        assert all([len(await us.history(one)) == 1 for one in submitted.deliveries])
        assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))
        sink.say("RCPT", "550 5.1.1 no such user")
        bounced = await send(us)
        assert (bounced.state, bounced.category, bounced.hard) == (
            DeliveryState.BOUNCED,
            Category.USER_UNKNOWN,
            True,
        )
        assert (bounced.fault, bounced.notice) == (Fault.RECIPIENT, Notice.FAILED)
    assert brake.count is fails


async def test_i11_an_answer_that_cannot_be_judged_is_kept_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(*given: object, **more: object) -> None:
        raise RuntimeError("a fault of ours")

    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        monkeypatch.setattr(settle.consequences, "judged", fails)
        us.start()
        sink.say("RCPT", "550 5.1.1 no such user")
        bounced = await send(us)
        assert (bounced.state, bounced.category, bounced.attempts) == (DeliveryState.BOUNCED, None, 1)
        assert bounced.last_reply == "550 5.1.1 no such user"
