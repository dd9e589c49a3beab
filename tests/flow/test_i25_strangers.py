"""I25, B01: who is away or gone is believed of whoever we wrote to, and of nobody else by a stranger's word."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailrelay.store import absences, unresolved
from tests.support.edge import DOMAIN
from tests.support.way_back import BOUNCES, Post, Sent, way_back

FOUR = "c4@customer.test"
CEO = "ceo@bigclient.test"
SAID = "I am no longer with the company. Please write to Eve <evil@attacker.test>.\r\n"
AUTOMATIC = "Auto-Submitted: auto-replied\r\n"


def gone(sent: Sent, author: str) -> bytes:
    return sent.reply(SAID, from_=author, subject="Automatic reply: hello", headers=AUTOMATIC)


async def noted(post: Post, address: str) -> bool:
    return bool(await post.edge.store.read(absences.of, post.org.id, [address], post.edge.clock.now()))


async def proposed(post: Post) -> list[str]:
    found = await post.edge.store.read(unresolved.list_open, post.org.id)
    return [one.explanation for one in found if one.reason == "gone"]


async def test_a_stranger_at_a_return_path_says_nothing_of_others(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(FOUR)
        await post.bring(gone(sent, CEO), to=sent.return_path, sender=FOUR)
        assert not await noted(post, CEO)
        assert not await noted(post, FOUR)
        assert await proposed(post) == []
        (told,) = await post.told(sent)
        assert told["kind"] == "auto_reply"


@pytest.mark.parametrize("author", [FOUR, "four@customer.test"])
async def test_whom_we_wrote_to_says_it_of_that_address(tmp_path: Path, author: str) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(FOUR)
        await post.bring(gone(sent, author), to=sent.return_path, sender=author)
        assert await noted(post, FOUR)
        assert author == FOUR or not await noted(post, author)
        assert len(await proposed(post)) == 1


@pytest.mark.parametrize("where", ["dropbox", "feedback", "postmaster"])
async def test_what_nobody_vouches_for_says_nothing_of_anybody(tmp_path: Path, where: str) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(FOUR)
        to = {
            "dropbox": f"bcc-{post.box.token}@{DOMAIN}",
            "feedback": f"feedback@{BOUNCES}",
            "postmaster": f"postmaster@{BOUNCES}",
        }[where]
        arrival = await post.bring(gone(sent, CEO), to=to, sender=CEO)
        assert arrival.state == "unresolved"
        for org in (post.org.id, post.edge.organisation.id):
            assert not await post.edge.store.read(absences.of, org, [CEO], post.edge.clock.now())
            assert {one.reason for one in await post.edge.store.read(unresolved.list_open, org)} <= {
                "unpermitted_sender",
                "unattributed",
                "postmaster",
            }


async def test_what_a_user_forwards_is_believed(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(FOUR)
        await post.forward(gone(sent, CEO))
        assert await noted(post, CEO)
