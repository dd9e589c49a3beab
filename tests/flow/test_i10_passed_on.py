"""I10, I11: a report about the address to which somebody passes his mail on kills that address, not his own."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailrelay.mail.bounce.report import MAX_RECIPIENTS
from mailrelay.model.delivery import DeliveryState
from tests.support.way_back import way_back

FWD = "fwd@customer.test"
ELSEWHERE = "private.bob@freemail.test"


async def test_a_dead_address_elsewhere_ends_the_delivery_and_leaves_its_own_address_alive(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(FWD)
        arrival = await post.bring(sent.dsn("5.1.1", recipients=(ELSEWHERE,)), to=sent.return_path)
        now = await post.now(sent)
        assert (now.state, now.hard) == (DeliveryState.BOUNCED, False)
        assert await post.suppressed(FWD) == await post.suppressed(ELSEWHERE) == ()
        (row,) = await post.feedback(arrival)
        assert (row.recipient, row.believed, row.hard) == (ELSEWHERE, True, False)
        (told,) = await post.told(sent, "delivery.bounced")
        assert (told["class"], told["said"]) == ("soft", f"<{ELSEWHERE}>: 550 5.1.1 no such user here")
        assert (await post.told(sent))[0]["class"] == "soft"
        assert await post.is_balanced()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (FWD, "FWD@Customer.TEST"),
        (FWD, "robert@customer.test"),
        (FWD, "fwd@mail2.customer.test"),
        (FWD, "fwd"),
        ("fwd@bücher.test", "fwd@xn--bcher-kva.test"),
        ("fwd@xn--bcher-kva.test", "fwd@BÜCHER.test"),
    ],
)
async def test_a_report_about_its_own_house_or_about_nobody_is_about_the_deliverys_address(
    tmp_path: Path, ours: str, theirs: str
) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(ours)
        await post.bring(sent.dsn("5.1.1", recipients=(theirs,)), to=sent.return_path)
        assert [one.reason for one in await post.suppressed(sent.delivery.address.key)] == ["hard_bounce"]


async def test_a_report_that_says_under_which_address_we_wrote_is_about_that(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(FWD)
        raw = sent.dsn("5.1.1", recipients=(ELSEWHERE,)).replace(
            b"Final-Recipient:", f"Original-Recipient: rfc822; {FWD}\r\nFinal-Recipient:".encode()
        )
        await post.bring(raw, to=sent.return_path)
        assert [one.reason for one in await post.suppressed(FWD)] == ["hard_bounce"]


@pytest.mark.parametrize("before", [MAX_RECIPIENTS - 1, MAX_RECIPIENTS, 1_200])
async def test_the_deliverys_own_recipient_is_found_behind_many_others(tmp_path: Path, before: int) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(FWD)
        others = tuple(f"r{number}@customer.test" for number in range(before))
        arrival = await post.bring(sent.dsn("5.1.1", recipients=(*others, FWD)), to=sent.return_path)
        assert (await post.now(sent)).state is DeliveryState.BOUNCED
        assert [one.reason for one in await post.suppressed(FWD)] == ["hard_bounce"]
        kept = await post.feedback(arrival)
        assert [row.position for row in kept if row.believed] == [before]
        assert len(kept) == min(before, MAX_RECIPIENTS) + 1
        again = await post.bring(sent.dsn("5.1.1", recipients=(*others, FWD)), to=sent.return_path)
        assert await post.feedback(again)


async def test_the_deliverys_own_recipient_is_found_behind_many_others_in_plain_words(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(FWD)
        listed = "".join(f"<r{number}@customer.test>:\r\nno such user here\r\n\r\n" for number in range(700))
        raw = (
            f"From: MAILER-DAEMON@mx.customer.test\r\nTo: {sent.return_path}\r\nSubject: failure notice\r\n"
            "Message-ID: <words@reports.test>\r\nContent-Type: text/plain\r\n\r\n"
            "Hi. This is the qmail-send program at mx.customer.test.\r\n"
            "I'm afraid I wasn't able to deliver your message to the following addresses.\r\n"
            "This is a permanent error; I've given up. Sorry it didn't work out.\r\n\r\n"
            f"{listed}<{FWD}>:\r\nSorry, no mailbox here by that name. (#5.1.1)\r\n\r\n"
            "--- Below this line is a copy of the message.\r\n\r\n"
        ).encode() + sent.head
        await post.bring(raw, to=sent.return_path)
        assert [one.reason for one in await post.suppressed(FWD)] == ["hard_bounce"]
