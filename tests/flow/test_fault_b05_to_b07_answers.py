"""Automatic answers: at most one each between two responders, none where RFC 3834 forbids it, one to whoever writes much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.errors import NotPermitted, Unknown
from mailrelay.ids import MessageId
from mailrelay.mail import automatic
from mailrelay.mail.message import ParsedMessage, parse
from mailrelay.model.delivery import Delivery, Notice
from mailrelay.model.envelope import ArrivalState, Channel, Notify
from mailrelay.model.quota import QuotaKind
from mailrelay.model.settings import OrganisationSettings, Plan
from mailrelay.model.suppression import SuppressionReason
from mailrelay.outbound.answer import Answerer, AnswerRequest, Sent
from mailrelay.outbound.policy.answer import NoAnswer, Withheld
from mailrelay.outbound.submit import Submitter
from mailrelay.smtp.address import parse_address
from mailrelay.store import deliveries, quotas, suppressions
from tests.support.cli import Cli
from tests.support.filing import BOUNCES, DOMAIN, Desk, mail, office
from tests.support.http import serving

ANNA, BOB = "anna@example.com", "bob@customer.test"


@dataclass
class Responder:
    """A desk whose mail is all answered automatically."""

    desk: Desk
    answerer: Answerer
    outbox: list[Delivery] = field(default_factory=list)

    async def get(self, raw: bytes, *, mail_from: str | None = BOB, **how: Any) -> Sent | Withheld:
        """A mail comes in, and is answered as far as it may be."""
        arrival = await self.desk.post(raw, channel=Channel.MAILBOX, mail_from=mail_from)
        assert arrival.message is not None
        return await self.answer(MessageId(arrival.message), **how)

    async def answer(self, message: MessageId, **how: Any) -> Sent | Withheld:
        fields: dict[str, Any] = {"from_": None, "subject": None, "text": "We have your mail."}
        became = await self.answerer.answer(
            AnswerRequest(org=self.desk.org.id, message=message, user=self.desk.anna, **(fields | how))
        )
        await self.desk.worker.drain()
        if isinstance(became, Sent):
            self.outbox += await self.desk.store.read(deliveries.of_queue_id, became.queue_id)
        return became

    async def sent(self) -> tuple[Delivery, ParsedMessage]:
        """The last answer, as it was queued."""
        one = self.outbox[-1]
        return one, parse(await self.desk.bodies.read(one.raw))


@asynccontextmanager
async def responder(folder: Path, **settings: Any) -> AsyncIterator[Responder]:
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 (a test)
    async with office(folder, settings=OrganisationSettings(**settings)) as desk:
        submitter = Submitter(
            desk.store,
            desk.bodies,
            desk.ids,
            desk.clock,
            DeliverySettings(),
            hostname="relay.test",
            max_recipients=100,
            domains=(DOMAIN,),
        )
        own = (DOMAIN, BOUNCES, "relay.test")
        yield Responder(desk, Answerer(desk.store, desk.bodies, desk.clock, submitter, own_domains=own))


@pytest.fixture
async def anna(tmp_path: Path) -> AsyncIterator[Responder]:
    async with responder(tmp_path) as one:
        yield one


def from_bob(*headers: str, to: str = ANNA, from_: str = f"Bob <{BOB}>", **more: Any) -> bytes:
    return mail(from_=from_, to=to, headers=headers, **more)


async def test_an_answer_goes_to_the_envelope_sender_from_the_null_path_and_says_what_it_is(anna: Responder) -> None:
    contact = await anna.desk.record("contact/1", "other@customer.test")
    arrival_raw = from_bob("References: <a@x.test> <b@x.test>", message_id="c@x.test", subject="Zoë's offer")
    became = await anna.get(arrival_raw, mail_from="other@customer.test")
    assert isinstance(became, Sent)
    one, read = await anna.sent()
    assert str(one.address) == "other@customer.test"
    assert one.mail_from is None
    assert one.channel is Channel.NOTICE
    assert one.recipient.notify == {Notify.NEVER}
    assert one.notice is Notice.NONE
    assert read.subject == "Auto: Zoë's offer"
    assert [str(address) for address in read.addresses("From").addresses] == [ANNA]
    assert read.headers.get("In-Reply-To") == "<c@x.test>"
    assert read.headers.get("References") == "<a@x.test> <b@x.test> <c@x.test>"
    assert read.headers.get("Auto-Submitted") == "auto-replied"
    assert not automatic.may_reply(read)
    assert not automatic.may_reply(read, envelope_from_null=True)
    sent = await anna.desk.arrival(became.queue_id)
    assert sent.state is ArrivalState.RELAYED
    assert await anna.desk.links(became.message) == {str(contact.ref)}  # it is mail of hers like any other
    assert await anna.desk.is_balanced()


async def test_an_answer_is_not_stopped_by_a_strangers_broken_message_id(anna: Responder) -> None:
    raw = from_bob("References: <a b@x.test> <fine@x.test>", message_id="not an id")
    assert isinstance(await anna.get(raw, subject="Thank you"), Sent)
    _, read = await anna.sent()
    assert read.subject == "Thank you"
    assert "not an id" not in (read.headers.get("References") or "")


# --- B05 ---


@pytest.mark.parametrize(("as_from", "reason"), [(None, NoAnswer.NULL_PATH), (ANNA, NoAnswer.AUTOMATIC)])
async def test_fault_b05_two_responders_that_answer_everything_send_one_message_at_most(
    tmp_path: Path, as_from: str | None, reason: NoAnswer
) -> None:
    """Anna's answer to Bob comes to a responder of his; also where a gateway between them lost the null reverse-path."""
    async with responder(tmp_path / "a") as ours, responder(tmp_path / "b") as theirs:
        theirs.desk.anna = await theirs.desk.user(BOB)
        assert isinstance(await ours.get(from_bob()), Sent)
        one, _ = await ours.sent()
        assert one.mail_from is None
        became = await theirs.get(await ours.desk.bodies.read(one.raw), mail_from=as_from)
        assert isinstance(became, Withheld)
        assert became.reason is reason
        assert (len(ours.outbox), len(theirs.outbox)) == (1, 0)


async def test_fault_b05_a_responder_that_marks_nothing_gets_one_answer(anna: Responder) -> None:
    """It answers every mail to its From, from its own address, like a person: only our memory ends that."""
    answered = []
    raw = from_bob()
    for _ in range(10):
        became = await anna.get(raw)
        answered.append(became)
        if isinstance(became, Sent):
            _, ours = await anna.sent()
            raw = from_bob(f"In-Reply-To: {ours.headers.get('Message-ID')}", subject=f"Re: {ours.subject}")
        anna.desk.clock.advance(timedelta(minutes=1))
        raw = raw.replace(b"Message-ID: <", b"Message-ID: <x")
    assert [isinstance(one, Sent) for one in answered].count(True) == 1
    refused = answered[-1]
    assert isinstance(refused, Withheld)
    # Its subject is that of an automatic reply by then; a cleverer one is stopped by the window.
    assert refused.reason in (NoAnswer.AUTOMATIC, NoAnswer.ALREADY)
    again = await anna.get(from_bob(subject="Something else"))
    assert isinstance(again, Withheld)
    assert again.reason is NoAnswer.ALREADY


# --- B06 ---


@pytest.mark.parametrize(
    ("raw", "mail_from", "reason"),
    [
        (from_bob(), None, NoAnswer.NULL_PATH),
        (from_bob("List-Id: <news.customer.test>"), BOB, NoAnswer.AUTOMATIC),
        (from_bob("List-Unsubscribe: <mailto:leave@customer.test>"), BOB, NoAnswer.AUTOMATIC),
        (from_bob("Precedence: bulk"), BOB, NoAnswer.AUTOMATIC),
        (from_bob("Precedence: junk"), BOB, NoAnswer.AUTOMATIC),
        (from_bob("Auto-Submitted: auto-generated"), BOB, NoAnswer.AUTOMATIC),
        (from_bob("Auto-Submitted: auto-replied (vacation)"), BOB, NoAnswer.AUTOMATIC),
        (from_bob(from_="noreply@customer.test"), BOB, NoAnswer.AUTOMATIC),
        (from_bob(from_="Mail Delivery System <MAILER-DAEMON@customer.test>"), BOB, NoAnswer.AUTOMATIC),
        (from_bob(from_="postmaster@customer.test"), BOB, NoAnswer.AUTOMATIC),
        (from_bob(), "owner-news@customer.test", NoAnswer.AUTOMATIC),
        (from_bob(), "news-request@customer.test", NoAnswer.AUTOMATIC),
        (from_bob(), "no-reply@customer.test", NoAnswer.AUTOMATIC),
        (from_bob("X-Spam-Flag: YES"), BOB, NoAnswer.SPAM),
        (from_bob("X-Spam-Status: Yes, score=9.1 required=5.0"), BOB, NoAnswer.SPAM),
        (from_bob("X-MS-Exchange-Organization-SCL: 6"), BOB, NoAnswer.SPAM),
        (from_bob(to="undisclosed-recipients:;"), BOB, NoAnswer.NOT_NAMED),
        (from_bob(to="somebody@example.com"), BOB, NoAnswer.NOT_NAMED),
        (from_bob(from_=ANNA), "anna+x@home.test", NoAnswer.OURSELVES),
        (from_bob(), f"bcc-abc@{DOMAIN}", NoAnswer.OURSELVES),
        (from_bob(), f"b+x@{BOUNCES}", NoAnswer.OURSELVES),
        (from_bob(), "info@relay.test", NoAnswer.OURSELVES),
    ],
)
async def test_fault_b06_what_must_not_be_answered_is_not(
    anna: Responder, raw: bytes, mail_from: str | None, reason: NoAnswer
) -> None:
    became = await anna.get(raw, mail_from=mail_from)
    assert isinstance(became, Withheld)
    assert became.reason is reason
    assert became.because
    assert anna.outbox == []


@pytest.mark.parametrize(
    "raw",
    [
        from_bob("Auto-Submitted: no", "X-Spam-Flag: NO", "X-Spam-Status: No, score=0.1"),
        from_bob(to="team@example.com", cc="Anna <ANNA@example.com>"),
        from_bob(to="anna+offers@example.com"),
        from_bob(to="anna@home.test"),
    ],
)
async def test_mail_of_a_person_to_one_of_her_addresses_is_answered(anna: Responder, raw: bytes) -> None:
    assert isinstance(await anna.get(raw), Sent)


async def test_fault_b06_a_suppressed_address_is_not_answered(anna: Responder) -> None:
    desk = anna.desk
    await desk.store.write(
        suppressions.suppress,
        org=desk.org.id,
        key=BOB,
        reason=SuppressionReason.UNSUBSCRIBED,
        evidence="",
        now=desk.clock.now(),
    )
    became = await anna.get(from_bob())
    assert isinstance(became, Withheld)
    assert became.reason is NoAnswer.SUPPRESSED
    assert became.because.startswith(f"{BOB} is suppressed (unsubscribed) since ")


async def test_fault_b06_our_own_mail_out_is_not_answered(anna: Responder) -> None:
    became = await anna.get(from_bob())
    assert isinstance(became, Sent)
    again = await anna.answer(became.message)
    assert isinstance(again, Withheld)
    assert again.reason is NoAnswer.OUTGOING


# --- B07 ---


async def test_fault_b07_many_mails_of_one_sender_are_answered_once_also_at_once(anna: Responder) -> None:
    desk = anna.desk
    came = [await desk.post(from_bob(), channel=Channel.MAILBOX, mail_from=BOB) for _ in range(20)]
    became = await asyncio.gather(*(anna.answer(MessageId(one.message or "")) for one in came))
    assert sum(isinstance(one, Sent) for one in became) == 1
    assert {one.reason for one in became if isinstance(one, Withheld)} == {NoAnswer.ALREADY}
    desk.clock.advance(timedelta(days=7))
    assert isinstance(await anna.get(from_bob()), Sent)
    assert await desk.is_balanced()


async def test_fault_b07_an_organisation_answers_so_many_an_hour(tmp_path: Path) -> None:
    async with responder(tmp_path, answers_per_hour=2, answer_days=1) as anna:
        for number, expected in ((1, True), (2, True), (3, False)):
            became = await anna.get(from_bob(), mail_from=f"bob{number}@customer.test")
            assert isinstance(became, Sent) is expected
        assert isinstance(became, Withheld)
        assert became.reason is NoAnswer.TOO_MANY
        anna.desk.clock.advance(timedelta(hours=1))
        assert isinstance(await anna.get(from_bob(), mail_from="bob3@customer.test"), Sent)


async def test_an_answer_that_the_quota_has_nothing_left_for_is_withheld(tmp_path: Path) -> None:
    async with responder(tmp_path / "here", plan=Plan.FREE) as anna:
        desk = anna.desk
        day = desk.clock.now().date()
        assert await desk.store.write(quotas.spend, desk.org.id, QuotaKind.MASS, day, 250, limit=250)
        became = await anna.get(from_bob())
        assert isinstance(became, Withheld)
        assert became.reason is NoAnswer.TOO_MANY
        assert "mass mail a day has 0 left" in became.because
        # Nobody was answered, so tomorrow Bob can be.
        desk.clock.advance(timedelta(days=1))
        assert isinstance(await anna.get(from_bob()), Sent)


# --- asked for wrongly ---


async def test_nobody_answers_in_anothers_name(anna: Responder) -> None:
    await anna.desk.user("carl@example.com")
    carl = parse_address("carl@example.com")
    with pytest.raises(NotPermitted):
        await anna.get(from_bob(to="carl@example.com"), from_=carl)
    with pytest.raises(Unknown):
        await anna.answer(MessageId("M0"))
    assert isinstance(await anna.get(from_bob()), Sent)  # what was refused counts for nothing


async def test_an_answer_is_asked_for_by_api_and_command(tmp_path: Path) -> None:
    with structlog.testing.capture_logs():  # commands run in this process, and standard output is theirs
        await _asked_for(tmp_path)


async def _asked_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as api, office(tmp_path, store=api.store) as desk:
        cli = Cli(api.server.unix_socket)
        came = await desk.post(from_bob(subject="Offer"), channel=Channel.MAILBOX, mail_from=BOB)
        path = f"/api/v1/messages/{came.message}/answer"
        assert (await api.local.post(path, json={})).json["detail"] == "text: an answer needs a text or an HTML body"
        answer = await api.local.post(path, json={"text": "We have your mail.", "html": "<p>We have your mail."})
        assert answer.status == 200, answer.body
        assert answer.json["sent"] is True
        said = await cli("message", "answer", came.id, "--text", "Again.")
        assert said.status == 0
        assert said.out.startswith(
            f"Not answered: {BOB} was answered on 2026-11-02 09:30 UTC, and is not again within 7"
        )
        unnamed = await desk.post(from_bob(to="x@example.com"), channel=Channel.MAILBOX, mail_from="eve@customer.test")
        found = await cli.json("message", "answer", str(unnamed.message), "--text", "-", stdin="We have your mail.")
        assert (found["sent"], found["reason"]) == (False, "not_named")
        third = await desk.post(from_bob(), channel=Channel.MAILBOX, mail_from="carl@customer.test")
        said = await cli("message", "answer", str(third.message), "--from", ANNA, "--text", "Hi", "--subject", "Away")
        assert said.out.startswith("Queued as Q")
        assert (await api.local.post("/api/v1/messages/M0/answer", json={"text": "x"})).status == 404
