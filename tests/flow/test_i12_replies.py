"""I12: a person's answer marks the delivery that it answers, is filed where that is, and carries its new text."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import ArrivalState, Channel
from mailrelay.model.message import Kind
from mailrelay.model.settings import Unknown, UserSettings
from mailrelay.store import deliveries
from tests.support import factory
from tests.support.filing import attach, mail
from tests.support.way_back import DOMAIN, Sent, way_back

BOB, SUE, TOM = "bob@customer.test", "sue@customer.test", "tom@elsewhere.test"
QUOTED = "Yes, please.\r\n\r\nOn Mon, 2 Nov 2026 at 10:00, Anna <anna@acme.test> wrote:\r\n> hello\r\n> body\r\n"


def answering(sent: Sent) -> str:
    return f"In-Reply-To: <{sent.message_id}>\r\nReferences: <{sent.message_id}>\r\n"


async def test_an_answer_to_the_return_path_marks_its_delivery_and_is_filed_on_its_records(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent, other = await post.send_all(BOB, SUE)
        raw = sent.reply(QUOTED)
        arrival = await post.bring(raw, to=sent.return_path, sender=BOB)
        assert (arrival.channel, arrival.state) == (Channel.BOUNCE, ArrivalState.FILED)
        now = await post.now(sent)
        assert (now.replied_at, now.state) == (post.edge.clock.now(), DeliveryState.SENT)
        assert (await post.now(other)).replied_at is None
        (told,) = await post.told(sent, "message.replied")
        assert told == {"reply": arrival.message, "arrival": arrival.id, "text": "Yes, please."}
        stored = await post.message(arrival)
        assert (stored.kind, stored.reply) == (Kind.NORMAL, "Yes, please.")
        assert await post.records(arrival)
        assert await post.told(sent) == []
        again = await post.bring(raw, to=sent.return_path, sender=BOB)
        assert again.state is ArrivalState.DUPLICATE
        assert len(await post.told(sent, "message.replied")) == 1
        assert await post.is_balanced()


async def test_an_answer_elsewhere_marks_the_delivery_to_its_author(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent, other = await post.send_all(BOB, SUE)
        await post.forward(other.reply(QUOTED, headers=answering(other)))
        assert (await post.now(sent)).replied_at is None
        assert (await post.now(other)).replied_at is not None
        (told,) = await post.told(other, "message.replied")
        assert told["text"] == "Yes, please."


async def test_an_inline_forward_of_an_answer_marks_its_delivery(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent, _ = await post.send_all(BOB, SUE)
        address = f"bcc-{post.box.token}@{DOMAIN}"
        body = (
            "FYI\r\n\r\n---------- Forwarded message ---------\r\nFrom: Bob <bob@customer.test>\r\n"
            "Date: Mon, 2 Nov 2026 at 10:00\r\nSubject: Re: hello\r\nTo: Anna <anna@acme.test>\r\n\r\nYes, please.\r\n"
        )
        raw = mail(
            from_="Anna <anna@acme.test>",
            to=address,
            subject="Fwd: hello",
            body=body,
            headers=(f"References: <{sent.message_id}> <answer@customer.test>",),
        )
        await post.bring(raw, to=address, sender="anna@acme.test")
        assert (await post.now(sent)).replied_at is not None


async def test_an_answer_from_another_address_counts_for_the_only_delivery(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        await post.forward(sent.reply(from_="robert@private.test", headers=answering(sent)))
        assert (await post.now(sent)).replied_at is not None


async def test_of_several_recipients_an_unknown_author_marks_the_message_only(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        one, two = await post.send_all(BOB, SUE)
        await post.forward(one.reply(from_=TOM, headers=answering(one)))
        assert [(await post.now(each)).replied_at for each in (one, two)] == [None, None]
        (told,) = [event for event in await post.events(one) if event.type == "message.replied"]
        assert told.delivery == ""


@pytest.mark.parametrize("author", ["anna@acme.test", "anna@home.test", "newcomer@acme.test"])
async def test_our_own_answers_and_copies_mark_nothing(tmp_path: Path, author: str) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        await post.forward(sent.reply(from_=author, headers=answering(sent)))
        await post.bring(sent.reply(from_=author), to=sent.return_path, sender=author)
        follow_up = post.relay.mail(header=answering(sent).encode())
        await post.relay.until(await post.relay.submit(BOB, raw=follow_up))
        await post.worker.drain()
        assert (await post.now(sent)).replied_at is None
        assert await post.told(sent, "message.replied") == []


@pytest.mark.parametrize(
    "header",
    [
        "Auto-Submitted: auto-generated\r\n",
        "Precedence: bulk\r\n",
        "List-Id: <list.customer.test>\r\n",
        "X-Autoreply: yes\r\n",
    ],
)
async def test_what_a_machine_answers_marks_nothing(tmp_path: Path, header: str) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        await post.bring(sent.reply(headers=answering(sent) + header), to=sent.return_path)
        assert (await post.now(sent)).replied_at is None
        assert [one["believed"] for one in await post.told(sent)] in (["false"], ["true"])
        assert await post.suppressed(BOB) == ()


async def test_who_accepts_a_meeting_has_answered(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        raw = mail(
            from_=BOB,
            to="anna@acme.test",
            subject="Accepted: Meeting",
            content_type='text/calendar; method=REPLY; charset="utf-8"',
            body="BEGIN:VCALENDAR\r\nMETHOD:REPLY\r\nEND:VCALENDAR\r\n",
            headers=(f"In-Reply-To: <{sent.message_id}>",),
        )
        arrival = await post.bring(raw, to=sent.return_path, sender=BOB)
        assert (await post.now(sent)).replied_at is not None
        assert (await post.message(arrival)).reply == ""
        assert await post.told(sent, "address.away") == []


async def test_an_invitation_is_no_answer(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        raw = mail(
            from_=BOB,
            to="anna@acme.test",
            content_type='text/calendar; method=REQUEST; charset="utf-8"',
            body="BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n",
        )
        address = f"bcc-{post.box.token}@{DOMAIN}"
        await post.bring(attach(raw, from_="Anna <anna@acme.test>", to=address), to=address, sender="anna@acme.test")
        assert (await post.now(sent)).replied_at is None


async def test_an_answer_to_the_id_that_a_relay_made_finds_its_delivery_and_its_records(tmp_path: Path) -> None:
    made = "0102018f5a7b3c1d-7c9a2f00-000000"
    async with way_back(tmp_path) as post:
        one, two = await post.send_all(BOB, SUE)
        await post.edge.store.write(lambda tx: deliveries.note_relay_ids(tx, two.delivery, [made]))
        header = f"In-Reply-To: <{made}@eu-west-1.amazonses.com>\r\n"
        arrival = await post.forward(one.reply(from_=TOM, headers=header))
        assert (await post.now(one)).replied_at is None
        assert (await post.now(two)).replied_at is not None
        assert len(await post.records(arrival)) >= 2


async def test_a_message_id_that_a_relay_rewrote_is_learnt_from_what_comes_back(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        one, two = await post.send_all(BOB, SUE)
        rewritten = one.content.replace(one.message_id.encode(), b"rewritten@relay.test")
        delayed = Sent(one.delivery, one.return_path, rewritten).dsn("4.4.1", action="delayed")
        await post.bring(delayed, to=one.return_path)
        await post.forward(one.reply(from_=TOM, headers="In-Reply-To: <rewritten@relay.test>\r\n"))
        assert (await post.now(one)).replied_at is not None
        assert (await post.now(two)).replied_at is None


async def test_an_answer_of_somebody_on_no_record_waits_for_a_person_and_still_marks(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        settings = UserSettings(unknown=Unknown.NOTHING)
        user = await factory.user(post.edge.store, post.edge.clock, post.org, settings=settings)
        sent = await post.send(BOB, user=user.id, mail_from=user.primary, raw=post.relay.mail(str(user.primary)))
        arrival = await post.bring(sent.reply(), to=sent.return_path, sender=BOB)
        assert arrival.state is ArrivalState.UNRESOLVED
        assert (await post.now(sent)).replied_at is not None
        assert await post.is_balanced()


async def test_a_person_who_quotes_a_refusal_kills_no_address(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        text = (
            "What is this?\r\n\r\nI'm sorry to have to inform you that your message could not be delivered to one or more "
            f"recipients.\r\n\r\n<{BOB}>: host mx.customer.test said: 550 5.1.1 User unknown (in reply to RCPT TO command)\r\n"
        )
        arrival = await post.bring(
            sent.reply(text, headers=answering(sent), subject="Undelivered?"), to=sent.return_path, sender=BOB
        )
        assert (await post.message(arrival)).kind is Kind.NORMAL
        now = await post.now(sent)
        assert (now.state, now.replied_at is not None) == (DeliveryState.SENT, True)
        assert await post.suppressed(BOB) == ()
