"""O11: an author hears once, by a DSN of ours, that their mail failed or is late (RFC 3461, RFC 3464); B03."""

from __future__ import annotations

import asyncio
import email
import email.policy
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mailrelay import metrics
from mailrelay.config.schema import BrakeLevels, ListenerKind
from mailrelay.ids import QueueId
from mailrelay.mail import automatic
from mailrelay.mail.message import parse
from mailrelay.model.delivery import Delivery, DeliveryState, Notice
from mailrelay.model.envelope import EnvelopeRecipient, MailParams, Notify, Ret
from mailrelay.model.event import EventType
from mailrelay.model.feedback import Action, Category, Fault, Feedback, Tie
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord
from mailrelay.model.message import Direction, Kind
from mailrelay.model.organisation import Right
from mailrelay.model.sending import Scope, Sending
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.suppression import SuppressionReason
from mailrelay.outbound import consequences
from mailrelay.outbound.submission import Submitted
from mailrelay.smtp.address import parse_address
from mailrelay.store import (
    deliveries,
    dkim_keys,
    events,
    feedback,
    ledger,
    messages,
    organisations,
    suppressions,
    suspensions,
)
from mailrelay.store import notices as store_notices
from mailrelay.store.base import Tx
from mailrelay.upkeep import signing
from tests.support import factory
from tests.support.answers import Zone
from tests.support.cli import Cli
from tests.support.clock import FakeClock
from tests.support.edge import PASSWORD, edge
from tests.support.http import serving
from tests.support.notices import notices, notifier
from tests.support.outbound import Relay, relay
from tests.support.remote import Remote, Taken, remote
from tests.support.smtp_client import connected, trusting

HERE = Answer(LookupStatus.FOUND, mx=(MxRecord(10, "localhost"),))
ZONE = Zone({("MX", f"{name}.test"): HERE for name in ("acme", "b", "home")} | {("A", "localhost"): "127.0.0.1"})
BOUNCED, EXPIRED, QUEUED, SENT = (
    DeliveryState.BOUNCED,
    DeliveryState.EXPIRED,
    DeliveryState.QUEUED,
    DeliveryState.SENT,
)
GONE = "550 5.1.1 <bob@b.test>: nobody of that name"


def by_mx(sink: Remote, **more: Any) -> dict[str, Any]:
    return {"route": "mx", "port": sink.port, "answers": ZONE, "connections_per_destination": 1, **more}


def to(text: str, *notify: Notify, orcpt: str | None = None) -> EnvelopeRecipient:
    return EnvelopeRecipient(address=parse_address(text), notify=frozenset(notify), orcpt=orcpt)


async def sent_notice(us: Relay, *, state: DeliveryState = SENT) -> Delivery:
    """The only notice, once it came so far."""
    (found,) = await notices(us)
    submitted = Submitted(queue_id=found.queue_id, message=found.message, deliveries=(found.id,), sent_to=())
    (ended,) = await us.until(submitted, state)
    return ended


async def told(us: Relay, message: str) -> list[dict[str, str]]:
    found = await us.store.read(events.of_message, us.org.id, message)
    return [dict(one.data) for one in found if one.type is EventType.AUTHOR_NOTIFIED]


async def balanced(us: Relay) -> bool:
    return not await us.store.read(ledger.audit) and all(
        one.unaccounted == 0 for one in await us.store.read(ledger.balance)
    )


def dsn(taken: Taken) -> tuple[str, list[dict[str, str]], str]:
    """(text, groups of fields, what came back) of a report, as the standard library reads it."""
    mail = email.message_from_bytes(taken.content, policy=email.policy.default)
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "delivery-status"
    text, status, returned = mail.iter_parts()
    return text.get_content(), [dict(group.items()) for group in status.get_payload()], returned.as_string()


async def test_o11_an_author_hears_of_a_refusal_once_with_all_that_belongs_in_it(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        await signing.make_keys(us.store, "us.test", now=us.clock.now(), active_from=us.clock.now(), prefix="mr")
        assert await us.store.read(dkim_keys.list_keys, "us.test")
        sink.say("RCPT", GONE)
        raw = us.mail(header=b"Message-ID: <offer@acme.test>\r\n", body=b"private words\r\n")
        submitted = await us.submit(
            raw=raw,
            recipients=(to("bob@b.test", orcpt="rfc822;Bob@old.test"),),
            params=MailParams(envid="crm 7"),
        )
        us.start()
        await us.until(submitted, BOUNCED)
        service = notifier(us)
        await service.look()
        await service.look()
        one = await sent_notice(us)
        (taken,) = sink.messages
        assert (taken.mail.split(" ")[0], taken.rcpt) == ("<>", ["<anna@acme.test> NOTIFY=NEVER"])
        text, (about, group), returned = dsn(taken)
        assert about["Reporting-MTA"] == "dns; mx.us.test"
        assert about["Original-Envelope-Id"] == "crm 7"
        assert group["Original-Recipient"] == "rfc822; Bob@old.test"
        assert group["Final-Recipient"] == "rfc822; bob@b.test"
        assert (group["Action"], group["Status"]) == ("failed", "5.1.1")
        assert group["Remote-MTA"] == "dns; localhost"
        assert group["Diagnostic-Code"] == f"smtp; {GONE}"
        assert GONE in text
        assert "Subject: hello" in returned
        assert b"private words" not in taken.content
        parsed = parse(taken.content)
        assert parsed.headers.get("From") == "Mail Delivery System <MAILER-DAEMON@us.test>"
        assert parsed.headers.get("In-Reply-To") == "<offer@acme.test>"
        assert "d=us.test" in (parsed.headers.get("DKIM-Signature") or "")
        assert not automatic.may_reply(parsed, envelope_from_null=True)
        # It is a message of ours, and the original knows of it.
        message = await us.store.read(messages.get, us.org.id, one.message)
        assert (message.direction, message.kind, message.subject) == (
            Direction.OUT,
            Kind.BOUNCE,
            "Undelivered: hello",
        )
        (event,) = await told(us, submitted.message)
        assert (event["notice"], event["author"], event["notice_message"]) == ("failed", "anna@acme.test", message.id)
        original = await us.delivery(submitted.deliveries[0])
        assert (original.notice, original.noticed) == (Notice.NONE, Notice.FAILED)
        assert await balanced(us)


async def test_o11_one_dsn_for_three_recipients_who_fail_within_seconds(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", GONE, "250 2.1.5 ok", GONE, "554 5.7.1 no")
        submitted = await us.submit("a@b.test", "b@b.test", "c@b.test", "d@b.test")
        us.start()
        await us.until(submitted, BOUNCED, SENT)
        service = notifier(us, wait=2.0)
        await service.look()
        assert not await notices(us)
        us.clock.advance(timedelta(seconds=2))
        await service.look()
        await sent_notice(us)
        _, (_, *groups), _ = dsn(sink.messages[-1])
        assert [(group["Final-Recipient"], group["Status"]) for group in groups] == [
            ("rfc822; a@b.test", "5.1.1"),
            ("rfc822; c@b.test", "5.1.1"),
            ("rfc822; d@b.test", "5.7.1"),
        ]
        assert len(await told(us, submitted.message)) == 3


async def test_o11_a_mail_that_is_late_is_told_of_once_and_then_delivered(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink, first_retry=3600, longest_retry=3600)) as us:
        submitted = await us.submit()
        service = notifier(us)
        us.start()
        for hour in range(7):
            sink.say("RCPT", "450 4.2.0 greylisted")
            await us.until(submitted, QUEUED, attempts=hour + 1)
            await service.look()
            assert len(await notices(us)) == (hour >= 4), hour
            if hour == 4:
                await sent_notice(us)
            us.clock.advance(timedelta(hours=1.2))
        await us.until(submitted)
        await service.look()
        one = await sent_notice(us)
        (report,) = [taken for taken in sink.messages if taken.mail.startswith("<>")]
        assert parse(report.content).subject == "Delayed: hello"
        text, (_, group), _ = dsn(report)
        assert (group["Action"], group["Status"]) == ("delayed", "4.2.0")
        original = await us.delivery(submitted.deliveries[0])
        assert group["Will-Retry-Until"] == f"{original.expires_at:%a, %d %b %Y %H:%M:%S} +0000"
        assert f"{original.expires_at:%Y-%m-%d}" in text
        assert (original.state, original.noticed) == (SENT, Notice.DELAYED)
        assert (await us.store.read(messages.get, us.org.id, one.message)).kind is Kind.DELAY


async def test_o18_the_author_of_a_mail_that_a_suspension_holds_is_told_once(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        domain = Sending(Scope.DOMAIN, "acme.test")
        submitted, never = await us.submit(), await us.submit(recipients=(to("never@b.test", Notify.NEVER),))
        job = await us.submit(job="spring")
        hold = {"sending": domain, "reason": "our keys changed", "evidence": "by hand", "by": "U1"}
        await us.store.write(suspensions.suspend, org=us.org.id, at=us.clock.now(), **hold)
        us.start()
        for each in (submitted, never, job):
            await us.until(each, DeliveryState.HELD)
        service = notifier(us)
        for hours, expected in ((3.9, 0), (0.2, 1), (24, 1)):
            us.clock.advance(timedelta(hours=hours))
            for _ in range(3):
                await service.look()
            assert len(await notices(us)) == expected, hours
        await sent_notice(us)
        (report,) = sink.messages
        text, (_, group), _ = dsn(report)
        assert parse(report.content).subject == "Delayed: hello"
        assert (group["Action"], group["Status"]) == ("delayed", "4.3.2")
        assert "Will-Retry-Until" not in group
        assert "mail from acme.test is stopped for now" in " ".join(text.split())
        assert (await us.delivery(submitted.deliveries[0])).noticed is Notice.DELAYED
        await us.store.write(suspensions.resume, us.org.id, domain, by="U1", at=us.clock.now())
        await us.until(submitted)
        await service.look()
        assert len(await notices(us)) == 1


async def test_o18_a_held_mail_whose_author_is_not_to_be_told_is_looked_at_once(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        quiet = replace(us.org, settings=OrganisationSettings(notify_authors=False))
        await us.store.write(organisations.update_organisation, quiet)
        (held,) = (await us.submit()).deliveries
        hold = {"sending": Sending(Scope.DOMAIN, "acme.test"), "reason": "", "evidence": "", "by": "U1"}
        await us.store.write(suspensions.suspend, org=us.org.id, at=us.clock.now(), **hold)
        us.clock.advance(timedelta(hours=5))
        await notifier(us).look()
        one = await us.delivery(held)
        assert (one.notice, one.noticed) == (Notice.NONE, Notice.DELAYED)
        assert await us.store.read(store_notices.held_untold, before=us.clock.now()) == ()
        assert not await notices(us)


async def test_fault_q07_an_expired_mail_is_one_dsn_that_says_what_stood_in_the_way(tmp_path: Path) -> None:
    settings = {"lifetime": 7200, "first_retry": 3600, "longest_retry": 3600, "delay_notice": 0}
    async with remote() as sink, relay(tmp_path, **by_mx(sink, **settings)) as us:
        sink.say("RCPT", *["452 4.2.2 over quota"] * 9)
        submitted = await us.submit()
        us.start()
        await us.until(submitted, QUEUED, attempts=1)
        us.clock.advance(timedelta(hours=2))
        await us.until(submitted, EXPIRED)
        sink.script["RCPT"].clear()
        service = notifier(us)
        await service.look()
        await sent_notice(us)
        text, (_, group), _ = dsn(sink.messages[-1])
        assert (group["Action"], group["Status"]) == ("failed", "4.2.2")
        assert "without success" in " ".join(text.split())
        assert len(await told(us, submitted.message)) == 1


async def test_o11_notify_never_is_obeyed(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", GONE, GONE)
        submitted = await us.submit(
            recipients=(to("a@b.test", Notify.NEVER), to("b@b.test", Notify.SUCCESS, Notify.DELAY))
        )
        us.start()
        await us.until(submitted, BOUNCED)
        await notifier(us).look()
        assert not await notices(us)


@pytest.mark.parametrize("ret", [Ret.FULL, Ret.HEADERS])
async def test_o11_ret_says_how_much_comes_back(tmp_path: Path, ret: Ret) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", GONE)
        submitted = await us.submit(raw=us.mail(body=b"private words\r\n"), params=MailParams(ret=ret))
        us.start()
        await us.until(submitted, BOUNCED)
        await notifier(us).look()
        await sent_notice(us)
        assert (b"private words" in sink.messages[-1].content) is (ret is Ret.FULL)


async def test_o11_an_end_that_we_know_ourselves_is_told_in_our_own_name(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        submitted = await us.submit("bob@nowhere.test")
        us.start()
        await us.until(submitted, DeliveryState.FAILED)
        await notifier(us).look()
        await sent_notice(us)
        _, (_, group), _ = dsn(sink.messages[-1])
        assert (group["Status"], "Remote-MTA" in group) == ("5.1.2", False)
        assert group["Diagnostic-Code"].startswith("x-mailrelay; 550 5.1.2 The domain nowhere.test does not exist")


async def test_o10_a_recipient_suppressed_after_it_was_queued_is_told_of_with_the_reason(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        submitted = await us.submit()
        reason = SuppressionReason.COMPLAINT
        await us.store.write(
            suppressions.suppress, org=us.org.id, key="bob@b.test", reason=reason, evidence="", now=us.clock.now()
        )
        us.start()
        await us.until(submitted, DeliveryState.SUPPRESSED)
        await notifier(us).look()
        await sent_notice(us)
        text, (_, group), _ = dsn(sink.messages[-1])
        assert group["Status"] == "5.7.1"
        assert "bob@b.test is suppressed (complaint)" in text


async def test_o11_a_mail_that_was_taken_and_came_back_is_told_of_with_the_words_of_the_report(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        submitted = await us.submit()
        us.start()
        (sent,) = await us.until(submitted)
        await us.store.write(come_back, sent, at=us.clock.now())
        await notifier(us).look()
        await sent_notice(us)
        text, (_, group), _ = dsn(sink.messages[-1])
        assert (group["Action"], group["Status"]) == ("failed", "5.2.1")
        assert group["Diagnostic-Code"] == "smtp; 550 5.2.1 mailbox disabled"
        assert "had taken it, and it came back" in " ".join(text.split())


def come_back(tx: Tx, sent: Delivery, *, at: datetime, action: Action = Action.FAILED) -> None:
    """A believed report of a delivery, as the return side keeps it and acts on it."""
    report = Feedback(
        org=sent.org,
        message=sent.message,
        position=0,
        arrival=QueueId("Q1"),
        delivery=sent.id,
        kind=Kind.BOUNCE,
        recipient=str(sent.address),
        key=sent.address.key,
        status="5.2.1",
        code=550,
        diagnostic="550 5.2.1 mailbox disabled",
        action=action,
        category=Category.INACTIVE,
        hard=False,
        fault=Fault.RECIPIENT,
        tie=Tie.RETURN_PATH,
        believed=True,
        at=at,
    )
    feedback.add(tx, [report])
    answered = consequences.Answered(
        delivery=sent,
        category=report.category,
        hard=report.hard,
        fault=report.fault,
        action=report.action,
        said=report.diagnostic,
        source="report Q1",
        by="Q1",
    )
    consequences.returned(tx, [answered], at=at, brakes=BrakeLevels())


def without_dsn(sink: Remote) -> None:
    sink.extensions.remove("DSN")


async def test_o11_who_asked_for_success_hears_once_that_it_was_relayed_to_a_host_that_will_not_say(
    tmp_path: Path,
) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        without_dsn(sink)
        sink.say("DOT", "250 2.6.0 queued there as 123")
        submitted = await us.submit(
            recipients=(to("bob@b.test", Notify.SUCCESS, orcpt="rfc822;Bob@old.test"),),
            params=MailParams(envid="crm 7", ret=Ret.FULL),
            raw=us.mail(body=b"private words\r\n"),
        )
        us.start()
        await us.until(submitted)
        service = notifier(us)
        await service.look()
        await service.look()
        await sent_notice(us)
        assert sink.messages[0].rcpt == ["<bob@b.test>"]
        text, (about, group), _ = dsn(sink.messages[-1])
        assert about["Original-Envelope-Id"] == "crm 7"
        assert group["Original-Recipient"] == "rfc822; Bob@old.test"
        assert (group["Action"], group["Status"]) == ("relayed", "2.6.0")
        assert group["Remote-MTA"] == "dns; localhost"
        assert group["Diagnostic-Code"] == "smtp; 250 2.6.0 queued there as 123"
        assert "does not report whether it arrives" in " ".join(text.split())
        assert "tried again" not in text
        # RFC 3461 §6.1: of what went well the header alone comes back, whatever RET said.
        assert b"private words" not in sink.messages[-1].content
        assert parse(sink.messages[-1].content).subject == "Relayed: hello"
        original = await us.delivery(submitted.deliveries[0])
        assert (original.notice, original.noticed) == (Notice.NONE, Notice.RELAYED)
        assert await balanced(us)


@pytest.mark.parametrize("asked", [(), (Notify.FAILURE, Notify.DELAY), (Notify.NEVER,)])
async def test_o11_who_did_not_ask_for_success_hears_nothing_of_it(tmp_path: Path, asked: tuple[Notify, ...]) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        without_dsn(sink)
        submitted = await us.submit(recipients=(to("bob@b.test", *asked),))
        us.start()
        await us.until(submitted)
        await notifier(us).look()
        assert not await notices(us)


async def test_o11_a_host_that_knows_dsn_is_left_to_say_that_it_arrived_and_that_is_told(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        submitted = await us.submit(recipients=(to("bob@b.test", Notify.SUCCESS),))
        us.start()
        (sent,) = await us.until(submitted)
        assert sink.messages[0].rcpt == ["<bob@b.test> NOTIFY=SUCCESS"]
        service = notifier(us)
        await service.look()
        assert not await notices(us)
        for _ in range(2):  # the second report changes nothing
            await us.store.write(partial(come_back, action=Action.DELIVERED), sent, at=us.clock.now())
            await service.look()
        await sent_notice(us)
        text, (_, group), _ = dsn(sink.messages[-1])
        assert (group["Action"], group["Status"]) == ("delivered", "2.0.0")
        assert "It arrived" in text


async def test_o11_what_was_passed_on_beyond_dsn_is_told_as_relayed(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        submitted = await us.submit(recipients=(to("bob@b.test", Notify.SUCCESS),))
        us.start()
        (sent,) = await us.until(submitted)
        await us.store.write(partial(come_back, action=Action.RELAYED), sent, at=us.clock.now())
        await notifier(us).look()
        await sent_notice(us)
        _, (_, group), _ = dsn(sink.messages[-1])
        assert group["Action"] == "relayed"


async def test_o11_a_mail_that_was_relayed_and_came_back_is_told_of_again_as_failed(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        without_dsn(sink)
        submitted = await us.submit(recipients=(to("bob@b.test", Notify.SUCCESS, Notify.FAILURE),))
        us.start()
        (sent,) = await us.until(submitted)
        service = notifier(us)
        await service.look()
        await us.store.write(come_back, sent, at=us.clock.now())
        await service.look()
        for one in await notices(us):
            await us.until(Submitted(queue_id=one.queue_id, message=one.message, deliveries=(one.id,), sent_to=()))
        assert [dsn(one)[1][1]["Action"] for one in sink.messages[1:]] == ["relayed", "failed"]


async def test_o11_the_catch_all_keeps_notices_like_any_mail(tmp_path: Path) -> None:
    async with relay(tmp_path) as us:
        submitted = await us.submit()
        reason = SuppressionReason.BY_HAND
        await us.store.write(
            suppressions.suppress, org=us.org.id, key="bob@b.test", reason=reason, evidence="", now=us.clock.now()
        )
        us.start()
        await us.until(submitted, DeliveryState.SUPPRESSED)
        await notifier(us).look()
        one = await sent_notice(us)
        assert parse((us.sent / f"{one.id}.eml").read_bytes()).subject == "Undelivered: hello"


async def test_o11_a_dsn_without_the_mail_when_its_bytes_are_gone(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", GONE)
        submitted = await us.submit(raw=us.mail(body=b"line\r\n" * 20_000))
        us.start()
        await us.until(submitted, BOUNCED)
        for blob in (tmp_path / "blobs").rglob("*"):
            if blob.is_file():
                blob.unlink()
        await notifier(us).look()
        await sent_notice(us)
        assert parse(sink.messages[-1].content).subject == "Undelivered: hello"
        assert len(parse(sink.messages[-1].content).root.children) == 2


async def test_o18_a_job_is_not_told_recipient_by_recipient(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", GONE)
        submitted = await us.submit(job="spring")
        us.start()
        await us.until(submitted, BOUNCED)
        await notifier(us).look()
        assert not await notices(us)


async def test_o11_an_organisation_may_tell_its_people_itself(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        settings = OrganisationSettings(notify_authors=False)
        await us.store.write(organisations.update_organisation, replace(us.org, settings=settings))
        sink.say("RCPT", GONE)
        submitted = await us.submit()
        us.start()
        await us.until(submitted, BOUNCED)
        await notifier(us).look()
        assert not await notices(us)
        assert (await us.delivery(submitted.deliveries[0])).notice is Notice.NONE


async def refused_mail(us: Relay, sink: Remote) -> Submitted:
    sink.say("RCPT", GONE)
    submitted = await us.submit()
    us.start()
    await us.until(submitted, BOUNCED)
    return submitted


async def withheld(us: Relay, submitted: Submitted) -> str:
    """Why nobody was told."""
    assert not await notices(us)
    found = await us.store.read(events.of_message, us.org.id, submitted.message)
    (event,) = [one for one in found if one.type is EventType.NOTICE_WITHHELD]
    assert (await us.delivery(submitted.deliveries[0])).notice is Notice.NONE
    return dict(event.data)["reason"]


async def test_o11_nothing_is_written_to_addresses_of_our_own(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        submitted = await refused_mail(us, sink)
        await notifier(us, own=("acme.test",)).look()
        assert "anna@acme.test is an address of this installation" in await withheld(us, submitted)


async def test_o11_nothing_is_written_to_an_author_who_is_suppressed(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        submitted = await refused_mail(us, sink)
        reason = SuppressionReason.HARD_BOUNCE
        await us.store.write(
            suppressions.suppress, org=us.org.id, key="anna@acme.test", reason=reason, evidence="", now=us.clock.now()
        )
        before = metrics.notices.labels("failed", "withheld")._value.get()
        await notifier(us).look()
        assert "anna@acme.test is suppressed (hard bounce)" in await withheld(us, submitted)
        assert metrics.notices.labels("failed", "withheld")._value.get() == before + 1


async def test_o11_two_workers_tell_once(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", *[GONE] * 8)
        all_submitted = [await us.submit(raw=us.mail(body=b"%d\r\n" % number)) for number in range(8)]
        us.start()
        for submitted in all_submitted:
            await us.until(submitted, BOUNCED, DeliveryState.SUPPRESSED)
        await asyncio.gather(*(notifier(us).look() for _ in range(3)))
        assert len(await notices(us)) == 8
        assert [len(await told(us, one.message)) for one in all_submitted] == [1] * 8
        assert await balanced(us)


async def test_o11_a_fault_of_ours_in_one_notice_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailrelay.outbound import notify

    genuine = notify.dsn_write.write
    broken: list[QueueId] = []

    def write(told: Any, original: Any, **more: Any) -> bytes:
        if original.queue_id in broken:
            raise ZeroDivisionError
        return genuine(told, original, **more)

    monkeypatch.setattr(notify.dsn_write, "write", write)
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", GONE, "554 5.7.1 no")
        bad, good = await us.submit("a@b.test"), await us.submit("b@b.test", raw=us.mail(body=b"other\r\n"))
        broken.append(bad.queue_id)
        us.start()
        await us.until(bad, BOUNCED)
        await us.until(good, BOUNCED)
        service = notifier(us)
        before = metrics.notice_errors._value.get()
        await service.look()
        await service.look()
        assert metrics.notice_errors._value.get() == before + 1
        assert len(await told(us, good.message)) == 1
        broken.clear()
        us.clock.advance(timedelta(minutes=2))
        await service.look()  # seen anew
        await service.look()
        assert len(await told(us, bad.message)) == 1


async def test_k01_a_notice_is_seen_in_the_queue_and_as_a_message_and_can_be_turned_off(tmp_path: Path) -> None:
    async with (
        remote() as sink,
        serving(tmp_path) as api,
        relay(tmp_path, store=api.store, clock=api.clock, **by_mx(sink)) as us,
    ):
        _, secret = await factory.api_token(api.store, api.clock, us.org, Right.ADMIN)
        web = api.web.bearing(secret)
        submitted = await refused_mail(us, sink)
        await notifier(us).look()
        one = await sent_notice(us)
        queue = (await web.get("/api/v1/queue")).json["items"]
        assert [(each["id"], each["channel"]) for each in queue if each["id"] == one.id] == [(one.id, "notice")]
        shown = (await web.get(f"/api/v1/messages/{one.message}")).json
        assert (shown["subject"], shown["status"], shown["links"]) == ("Undelivered: hello", "sent", [])
        original = (await web.get(f"/api/v1/messages/{submitted.message}")).json
        assert "author.notified" in {event["type"] for event in original["events"]}
        assert "Undelivered: hello" in (await Cli(api.server.unix_socket)("message", "show", one.message)).out
        changed = (await web.patch("/api/v1/organisation", json={"settings": {"notify_authors": False}})).json
        assert changed["settings"]["notify_authors"] is False


async def test_o11_the_service_works_until_it_is_stopped(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        await refused_mail(us, sink)
        task = asyncio.create_task(notifier(us).run())
        async with asyncio.timeout(30):
            while not await notices(us):  # noqa: ASYNC110 (what is waited for has no event)
                await asyncio.sleep(0.01)
        us.stopping.set()
        await asyncio.wait_for(task, 30)


async def test_fault_b03_a_dsn_of_ours_that_bounces_makes_no_further_dsn(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", GONE, "550 5.1.1 <anna@acme.test>: gone")
        submitted = await us.submit()
        us.start()
        await us.until(submitted, BOUNCED)
        service = notifier(us)
        await service.look()
        lost = await sent_notice(us, state=BOUNCED)
        assert (lost.notice, lost.mail_from) == (Notice.NONE, None)
        for _ in range(3):
            await service.look()
        assert len(await notices(us)) == 1
        assert not sink.messages
        assert await balanced(us)


async def test_o01_notify_ret_and_envid_of_an_smtp_client_come_back_in_the_dsn(tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        remote() as sink,
        edge(tmp_path, clock=clock) as door,
        relay(tmp_path / "out", store=door.store, clock=clock, **by_mx(sink, answers=DOOR)) as us,
    ):
        sink.say("RCPT", GONE, GONE)
        async with connected(door.port(ListenerKind.SUBMISSION)) as client:
            await client.ehlo()
            await client.starttls(trusting())
            await client.ehlo()
            await client.log_in("anna@example.com", PASSWORD)
            await client.say("MAIL FROM:<anna@home.test> RET=FULL ENVID=QQ+2B31")
            await client.say("RCPT TO:<bob@b.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;Bob+2Bx@old.test")
            await client.say("RCPT TO:<eve@b.test> NOTIFY=NEVER")
            await client.say("DATA")
            answer = await client.content(b"From: anna@example.com\r\nSubject: hi\r\n\r\nall of it\r\n")
            assert answer.code == 250
        us.start()
        us = replace(us, org=door.organisation)
        found = await us.store.read(deliveries.list_deliveries, door.organisation.id)
        submitted = Submitted(
            queue_id=found[0].queue_id, message=found[0].message, deliveries=tuple(one.id for one in found), sent_to=()
        )
        await us.until(submitted, BOUNCED)
        await notifier(us).look()
        await sent_notice(us)
        (taken,) = sink.messages
        assert taken.rcpt[0].startswith("<anna@home.test>")
        _, (about, *groups), returned = dsn(taken)
        assert about["Original-Envelope-Id"] == "QQ+31"
        (group,) = groups
        assert group["Original-Recipient"] == "rfc822; Bob+x@old.test"
        assert "all of it" in returned


DOOR = Zone({("MX", "b.test"): HERE, ("MX", "home.test"): HERE, ("A", "localhost"): "127.0.0.1"})
