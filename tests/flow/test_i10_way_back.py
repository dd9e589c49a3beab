"""I10: what comes back is told apart, tied to its delivery, kept, told, and acted on only where it is to be believed."""

from __future__ import annotations

from pathlib import Path

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import ArrivalState
from mailrelay.model.feedback import Category, Tie
from mailrelay.model.message import Kind
from tests.support.way_back import way_back

BOB = "bob@customer.test"


async def test_a_bounce_to_the_return_path_ends_its_delivery_and_suppresses_its_address(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent, other = await post.send_all(BOB, "sue@customer.test")
        arrival = await post.bring(sent.dsn("5.1.1"), to=sent.return_path)
        assert (arrival.state, arrival.org) == (ArrivalState.FILED, post.org.id)
        assert (await post.now(sent)).state is DeliveryState.BOUNCED
        assert (await post.now(other)).state is DeliveryState.SENT
        (standing,) = await post.suppressed(BOB)
        assert (standing.reason, standing.by) == ("hard_bounce", arrival.id)
        assert "no such user here" in standing.evidence
        (row,) = await post.feedback(arrival)
        assert (row.delivery, row.tie, row.believed) == (sent.delivery.id, Tie.RETURN_PATH, True)
        assert (row.category, row.hard, row.status, row.code) == (Category.USER_UNKNOWN, True, "5.1.1", 550)
        (told,) = await post.told(sent)
        assert told == {
            "returned": arrival.message,
            "kind": "bounce",
            "recipient": BOB,
            "action": "failed",
            "category": "user_unknown",
            "class": "hard",
            "fault": "recipient",
            "status": "5.1.1",
            "code": "550",
            "diagnostic": "550 5.1.1 no such user here",
            "tie": "return_path",
            "believed": "true",
        }
        assert len(await post.told(sent, "delivery.bounced")) == 1
        assert (await post.message(arrival)).kind is Kind.BOUNCE
        assert await post.is_balanced()


async def test_the_same_bounce_again_changes_nothing(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        bounce = sent.dsn()
        await post.bring(bounce, to=sent.return_path)
        again = await post.bring(bounce, to=sent.return_path)
        assert again.state is ArrivalState.DUPLICATE
        assert len(await post.feedback(again)) == 1
        assert len(await post.told(sent)) == len(await post.told(sent, "delivery.bounced")) == 1
        assert await post.is_balanced()


async def test_delay_and_success_are_told_and_suppress_nobody(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        slow, good = await post.send_all(BOB, "sue@customer.test")
        await post.bring(slow.dsn("4.4.1", action="delayed"), to=slow.return_path)
        await post.bring(good.dsn("2.1.5", action="delivered"), to=good.return_path)
        assert [one["kind"] for one in await post.told(slow)] == ["delay"]
        assert (await post.now(slow)).state is DeliveryState.SENT
        assert (await post.now(good)).state is DeliveryState.DELIVERED
        assert len(await post.told(good, "delivery.delivered")) == 1
        assert await post.suppressed(BOB) == ()
        assert await post.is_balanced()


async def test_our_token_inside_a_mail_ties_it_wherever_it_arrives(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        one, two, three = await post.send_all(BOB, "sue@customer.test", "tom@customer.test")
        # Mail systems that write to the author instead, who passes their mails on to the dropbox.
        bare = two.without_tokens()
        by_envid = bare.dsn(to="anna@acme.test", fields=f"Original-Envelope-Id: {two.token}\r\n")
        on = await post.records(await post.forward(one.dsn(to="anna@acme.test")))
        assert len(on) == 4  # the leads of Tom, Sue, Bob, and of the header's recipient
        await post.forward(by_envid)
        await post.forward(three.without_tokens().dsn(to="anna@acme.test"), cc="tom@customer.test")
        assert (await post.told(one))[0]["tie"] == "token"
        assert (await post.now(one)).state is DeliveryState.BOUNCED
        assert (await post.now(two)).state is DeliveryState.BOUNCED
        (told,) = await post.told(three)
        assert (told["tie"], told["believed"]) == ("message_id", "false")
        assert (await post.now(three)).state is DeliveryState.SENT
        assert await post.suppressed("tom@customer.test") == ()
