"""`outbound/policy/notices.py` and `notice_words.py`: what an author is owed to hear, and in which words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailrelay.ids import DeliveryId, Digest, MessageId, OrgId, QueueId
from mailrelay.mail import bounce, dsn_write
from mailrelay.mail.compose import Person
from mailrelay.mail.message import parse
from mailrelay.model.address import Address
from mailrelay.model.delivery import (
    Accepted,
    Attempt,
    Deferred,
    Delivery,
    DeliveryState,
    Interrupted,
    Notice,
    Outcome,
    Refused,
    Stage,
)
from mailrelay.model.envelope import Channel, EnvelopeRecipient, MailParams, Notify
from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.message import BlobRef
from mailrelay.model.reply import EnhancedStatus, reply
from mailrelay.outbound.courier.base import OUR_FAULT
from mailrelay.outbound.policy import notice_words, notices

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOURS_4 = timedelta(hours=4)
BOUNCED, EXPIRED, FAILED, SUPPRESSED = (
    DeliveryState.BOUNCED,
    DeliveryState.EXPIRED,
    DeliveryState.FAILED,
    DeliveryState.SUPPRESSED,
)
QUEUED = DeliveryState.QUEUED


def delivery(*notify: Notify, **more: Any) -> Delivery:
    fields: dict[str, Any] = {
        "id": DeliveryId("D1"),
        "org": OrgId("O1"),
        "message": MessageId("M1"),
        "queue_id": QueueId("Q1"),
        "channel": Channel.SUBMISSION,
        "mail_from": Address("anna", "acme.test"),
        "params": MailParams(),
        "recipient": EnvelopeRecipient(address=Address("bob", "b.test"), notify=frozenset(notify)),
        "state": DeliveryState.SENDING,
        "raw": BlobRef(digest=Digest(""), size=1),
        "created_at": T0,
        "due_at": T0,
        "expires_at": T0 + timedelta(days=5),
        "attempts": 1,
        "last_reply": "",
        "lease": None,
    }
    return Delivery(**{**fields, **more})


def owed(one: Delivery, state: DeliveryState, *, after: timedelta = HOURS_4, delay: timedelta = HOURS_4) -> Notice:
    return notices.owed(one, state, now=T0 + after, delay_after=delay)


@pytest.mark.parametrize("state", list(DeliveryState))
def test_an_end_without_arrival_is_told_unless_somebody_wanted_it(state: DeliveryState):
    told = owed(delivery(), state, after=timedelta(0)) is Notice.FAILED
    assert told is (state in (BOUNCED, EXPIRED, FAILED, SUPPRESSED))


def test_a_delay_is_told_once_it_was_tried_and_is_long():
    assert owed(delivery(), QUEUED) is Notice.DELAYED
    assert owed(delivery(), QUEUED, after=HOURS_4 - timedelta(seconds=1)) is Notice.NONE
    assert owed(delivery(attempts=0), QUEUED) is Notice.NONE
    assert owed(delivery(noticed=Notice.DELAYED), QUEUED) is Notice.NONE
    assert owed(delivery(), QUEUED, delay=timedelta(0), after=timedelta(days=4)) is Notice.NONE
    assert owed(delivery(), DeliveryState.HELD) is Notice.NONE


def test_a_delay_that_nobody_was_told_of_is_taken_back_when_the_mail_is_sent():
    assert owed(delivery(notice=Notice.DELAYED), DeliveryState.SENT) is Notice.NONE


def test_a_failure_is_told_after_a_delay_and_only_once():
    assert owed(delivery(noticed=Notice.DELAYED), EXPIRED) is Notice.FAILED
    assert owed(delivery(noticed=Notice.FAILED), BOUNCED) is Notice.NONE


@pytest.mark.parametrize(
    ("notify", "failed", "delayed"),
    [
        ((), True, True),
        ((Notify.NEVER,), False, False),
        ((Notify.FAILURE,), True, False),
        ((Notify.DELAY,), False, True),
        ((Notify.SUCCESS,), False, False),
        ((Notify.SUCCESS, Notify.FAILURE, Notify.DELAY), True, True),
    ],
)
def test_notify_is_obeyed(notify: tuple[Notify, ...], failed: bool, delayed: bool):
    one = delivery(*notify)
    assert (owed(one, BOUNCED) is Notice.FAILED, owed(one, QUEUED) is Notice.DELAYED) == (failed, delayed)


@pytest.mark.parametrize(
    "more",
    [{"mail_from": None}, {"channel": Channel.NOTICE}, {"channel": Channel.MASS}, {"job": "spring"}],
    ids=["null reverse-path", "a notice", "mass mail", "part of a job"],
)
@pytest.mark.parametrize("state", list(DeliveryState))
def test_some_mail_is_never_told_of(state: DeliveryState, more: dict[str, Any]):
    assert owed(delivery(**more), state, after=timedelta(days=9)) is Notice.NONE


def test_what_was_overtaken_is_not_true_any_more():
    late = delivery(state=QUEUED, notice=Notice.DELAYED)
    assert notices.still_true(late)
    assert not notices.still_true(replace(late, state=DeliveryState.SENT))
    assert not notices.still_true(replace(late, state=DeliveryState.CANCELLED))
    assert not notices.still_true(replace(late, noticed=Notice.DELAYED))  # settled with a claim from before it was told
    lost = delivery(state=BOUNCED, notice=Notice.FAILED, noticed=Notice.DELAYED)
    assert notices.still_true(lost)
    assert not notices.still_true(replace(lost, noticed=Notice.FAILED))


# --- words ---


def told(one: Delivery, outcome: Outcome | None = None, report: notice_words.CameBack | None = None) -> dsn_write.Told:
    attempt = Attempt(
        delivery=one.id,
        number=one.attempts,
        began_at=T0,
        ended_at=T0,
        host="mx.b.test[192.0.2.1]:25",
        tls=None,
        outcome=outcome,
    )
    return notice_words.told(notice_words.Facts(delivery=one, attempt=attempt if outcome else None, came_back=report))


def test_a_refusal_says_who_refused_with_which_words():
    found = told(
        delivery(state=BOUNCED, notice=Notice.FAILED, category=Category.USER_UNKNOWN, fault=Fault.RECIPIENT),
        Refused(reply=reply(550, "5.1.1", "no such user", "try another"), stage=Stage.RCPT),
    )
    assert found.happened == "The mail server mx.b.test refused it, and said:"
    assert found.said == ("550 5.1.1 no such user", "try another")
    assert (found.by_remote, found.remote, str(found.status)) == (True, "mx.b.test", "5.1.1")
    assert found.last_attempt == T0
    assert found.retry_until is None


def test_our_own_refusal_is_not_put_into_anybodys_mouth():
    found = told(
        delivery(state=FAILED, notice=Notice.FAILED),
        Refused(reply=reply(550, "5.1.2", "The domain b.test does not exist"), stage=Stage.RESOLVE, by_us=True),
    )
    assert (found.by_remote, found.remote) == (False, "")
    assert found.said == ("550 5.1.2 The domain b.test does not exist",)


def test_an_expiry_has_the_status_of_what_stood_in_the_way():
    one = delivery(state=EXPIRED, notice=Notice.FAILED)
    assert str(told(one, Deferred(reply=reply(452, "4.2.2", "full"), stage=Stage.RCPT)).status) == "4.2.2"
    broken = told(one, Interrupted(stage=Stage.CONNECT, detail="no connection"))
    assert (str(broken.status), broken.said, broken.by_remote) == ("4.4.2", ("no connection",), False)
    assert str(told(one).status) == "4.4.7"


def test_a_reply_without_a_status_says_its_class():
    bare = replace(reply(550, "5.0.0", "go away"), status=None)
    found = told(delivery(state=BOUNCED, notice=Notice.FAILED), Refused(reply=bare, stage=Stage.DATA))
    assert (str(found.status), found.said) == ("5.0.0", ("550 go away",))


def test_a_delay_says_until_when_it_is_tried():
    found = told(
        delivery(state=QUEUED, notice=Notice.DELAYED), Deferred(reply=reply(450, "4.2.1", "later"), stage=Stage.RCPT)
    )
    assert (found.action, found.retry_until) == (Action.DELAYED, T0 + timedelta(days=5))
    assert "2026-03-06" in found.happened


def test_a_report_that_came_back_is_told_with_its_words():
    found = told(
        delivery(state=BOUNCED, notice=Notice.FAILED),
        Accepted(reply=reply(250, "2.0.0", "taken")),
        notice_words.CameBack(status=EnhancedStatus(5, 2, 2), diagnostic="552 5.2.2 over quota"),
    )
    assert (str(found.status), found.said, found.by_remote) == ("5.2.2", ("552 5.2.2 over quota",), True)


def test_a_suppression_is_told_with_its_reason():
    one = delivery(
        state=SUPPRESSED, notice=Notice.FAILED, last_reply="bob@b.test is suppressed (complaint) since 2026-01-01"
    )
    assert told(one).said == (one.last_reply,)


def test_whoever_blames_the_sender_is_no_fault_of_the_address():
    one = delivery(state=BOUNCED, notice=Notice.FAILED, category=Category.POLICY, fault=Fault.SENDER)
    found = told(one, Refused(reply=reply(550, "5.7.26", "unauthenticated"), stage=Stage.DATA))
    assert "The address is not the reason" in found.advice


@pytest.mark.parametrize(
    "outcome",
    [
        Refused(reply=reply(554, "5.7.1", "Your host has no name"), stage=Stage.CONNECT),
        Deferred(reply=reply(421, "4.7.0", "Unusual rate of unsolicited mail from your address"), stage=Stage.MAIL),
    ],
)
def test_a_sender_is_blamed_in_a_notice_only_where_the_other_side_did(outcome: Outcome):
    found = told(delivery(state=EXPIRED, notice=Notice.FAILED, category=Category.POLICY, fault=Fault.SENDER), outcome)
    assert "not trusted there" in found.advice


@pytest.mark.parametrize(
    "outcome",
    [
        Interrupted(stage=Stage.CONNECT, detail="nobody answered"),
        Deferred(reply=reply(421, "4.3.2", "Down for maintenance"), stage=Stage.CONNECT),
        Deferred(reply=reply(454, "4.7.0", "The certificate is another host's"), stage=Stage.TLS),
        Deferred(reply=reply(535, "5.7.8", "Authentication credentials invalid"), stage=Stage.AUTH),
        OUR_FAULT,
    ],
    ids=["unreachable", "closed", "tls", "log-in", "our fault"],
)
def test_an_outage_of_our_smart_host_is_told_as_our_own_trouble(outcome: Outcome):
    one = delivery(state=EXPIRED, notice=Notice.FAILED, category=Category.TIMEOUT, fault=Fault.SENDER)
    found = told(one, outcome)
    assert "what sends your mail has trouble of its own" in found.advice
    assert "trusted" not in found.advice


@pytest.mark.parametrize("what", list(Category))
def test_our_words_for_people_condemn_nobody(what: Category):
    """Readers look at them where the diagnostic says nothing: no address is dead and no sender to blame for our advice."""
    one = delivery(state=BOUNCED, notice=Notice.FAILED, category=what, fault=Fault.NEITHER)
    found = told(one, Refused(reply=reply(550, "5.0.0", "zxcv"), stage=Stage.RCPT))
    raw = dsn_write.write(
        [found],
        dsn_write.Original(
            subject="x", message_id=None, parents=(), arrived=T0, queue_id="Q1", envid=None, full=False, raw=None
        ),
        to=Address("anna", "acme.test"),
        from_=Person("", Address("MAILER-DAEMON", "relay.test")),
        hostname="relay.test",
        message_id="Q2@relay.test",
        at=T0,
    )
    report = bounce.classify(parse(raw), envelope_from_null=True)
    assert report is not None
    assert not report.recipients[0].hard
    assert report.recipients[0].fault is not Fault.SENDER
