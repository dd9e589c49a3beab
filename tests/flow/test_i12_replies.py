"""I12: a person's answer marks the delivery that it answers, is filed where that is, and carries its new text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import ArrivalState, Channel
from mailrelay.model.message import Kind
from mailrelay.model.settings import Unknown, UserSettings
from mailrelay.store import deliveries, links
from tests.support import factory
from tests.support.edge import DOMAIN
from tests.support.filing import attach, mail
from tests.support.way_back import Sent, way_back

BOB, SUE, TOM = "bob@customer.test", "sue@customer.test", "tom@elsewhere.test"
TIM = "tim@customer.test"  # to whom nothing was sent
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
        arrival = await post.forward(one.reply(from_=TIM, headers=header))
        assert (await post.now(one)).replied_at is None
        assert (await post.now(two)).replied_at is not None
        assert len(await post.records(arrival)) >= 2


async def test_a_message_id_that_a_relay_rewrote_is_learnt_from_what_comes_back(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        one, two = await post.send_all(BOB, SUE)
        rewritten = one.content.replace(one.message_id.encode(), b"rewritten@relay.test")
        delayed = Sent(one.delivery, one.return_path, rewritten).dsn("4.4.1", action="delayed")
        await post.bring(delayed, to=one.return_path)
        await post.forward(one.reply(from_=TIM, headers="In-Reply-To: <rewritten@relay.test>\r\n"))
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


def steering(sent: Sent, author: str, stolen: str) -> bytes:
    return sent.reply(from_=author, headers=f"In-Reply-To: <{stolen}>\r\n")


async def test_what_somebody_refers_to_does_not_become_a_name_of_our_mail(tmp_path: Path) -> None:
    stolen = "secret-thread-1@partner.test"
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        automatic = sent.reply(
            subject="Automatic reply: hello", headers=f"Auto-Submitted: auto-replied\r\nReferences: <{stolen}>\r\n"
        )
        await post.bring(automatic, to=sent.return_path, sender=BOB)
        assert await post.edge.store.read(deliveries.by_relay_ids, post.org.id, [stolen]) == ()
        report = sent.dsn("4.4.1", action="delayed").replace(
            b"\r\nSubject:", f"\r\nReferences: <{stolen}>\r\nSubject:".encode(), 1
        )
        await post.bring(report, to=sent.return_path)
        assert await post.edge.store.read(deliveries.by_relay_ids, post.org.id, [stolen]) == ()


async def test_a_stolen_name_draws_nobody_elses_thread(tmp_path: Path) -> None:
    stolen = "secret-thread-1@partner.test"
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        renamed = sent.content.replace(sent.message_id.encode(), stolen.encode())
        await post.bring(replace(sent, content=renamed).dsn("4.4.1", action="delayed"), to=sent.return_path)
        assert len(await post.edge.store.read(deliveries.by_relay_ids, post.org.id, [stolen])) == 1
        found = await post.edge.store.read(links.of_messages, post.org.id, [sent.delivery.message])
        leads = {str(link.record) for link in found}
        assert leads
        box = f"bcc-{post.box.token}@{DOMAIN}"
        copied = mail(from_="anna@acme.test", to="cfo@partner.test", headers=(f"References: <{stolen}>",))
        by_anna = await post.bring(copied, to=box, sender="anna@acme.test")
        assert not leads & await post.records(by_anna)
        by_cfo = await post.forward(steering(sent, "cfo@partner.test", stolen))
        assert not leads & await post.records(by_cfo)
        assert (await post.now(sent)).replied_at is None
        await post.forward(steering(sent, TIM, stolen))
        assert (await post.now(sent)).replied_at is not None


async def test_a_delivery_has_three_names_at_most_and_never_that_of_a_stored_mail(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent, other = await post.send_all(BOB, SUE)
        third = await post.send(TOM)
        names = [*(f"name-{number}@relay.test" for number in range(9)), third.message_id]
        for name in reversed(names):
            renamed = sent.content.replace(sent.message_id.encode(), name.encode())
            await post.bring(replace(sent, content=renamed).dsn("4.4.1", action="delayed"), to=sent.return_path)
        known = await post.edge.store.read(deliveries.relayed_as, post.org.id, names)
        assert sorted(known) == [f"name-{number}@relay.test" for number in (6, 7, 8)]
        assert {one.id for found in known.values() for one in found} == {sent.delivery.id}
        await post.edge.store.write(lambda tx: deliveries.note_relay_ids(tx, other.delivery, ["its-own@relay.test"]))
        assert len(await post.edge.store.read(deliveries.by_relay_ids, post.org.id, ["its-own@relay.test"])) == 1
