"""I10, I12, seen by people and programs: what came back about a delivery, and what a mail that came back says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.cli import Relay, relay
from tests.support.clock import FakeClock
from tests.support.delivery import a_delivery
from tests.support.smtp_client import connected
from tests.support.way_back import Sent

BOB = "bob@customer.example"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Relay]:
    async with relay(tmp_path) as running:
        await running.cli.json("organisation", "add", "Example", "--domain", "example.org")
        await running.cli.json("user", "add", "--name", "Anna Example", "--address", "anna@example.org")
        yield running


async def sent_by(house: Relay, folder: Path) -> tuple[str, Sent]:
    """The id of a delivery, and what left."""
    queued = await house.cli.json("message", "send", "--from", "anna@example.org", "--to", BOB, "--text", "Hello")
    delivery = queued["deliveries"][0]["id"]
    async with asyncio.timeout(30):
        while True:
            if (await house.cli.json("queue", "show", delivery))["state"] == "sent":
                return delivery, kept(folder, delivery)
            await asyncio.sleep(0.05)


def kept(folder: Path, delivery: str) -> Sent:
    (envelope,) = folder.rglob(f"{delivery}.json")
    content = envelope.with_suffix(".eml").read_bytes()
    return Sent(a_delivery(FakeClock(), BOB), json.loads(envelope.read_text(encoding="utf-8"))["mail_from"], content)


async def bring(house: Relay, raw: bytes, to: str, sender: str = "") -> str:
    async with connected(int(house.port)) as client:
        await client.ehlo()
        answer = await client.mail(to, raw, sender=sender)
        assert answer.code == 250, answer
    return answer.text.split()[-1]


async def test_a_bounce_is_shown_at_its_delivery_and_at_itself(house: Relay, tmp_path: Path) -> None:
    delivery, sent = await sent_by(house, tmp_path)
    queue_id = await bring(house, sent.dsn("5.1.1"), sent.return_path)
    shown = await house.cli("message", "show", queue_id)
    assert "What it says of mail of ours" in shown.out, shown
    assert f"  {BOB}  bounce, failed: user unknown, hard, fault of recipient: 550 5.1.1 no such user here" in shown.out
    assert f"    about delivery {delivery}, by return path; believed" in shown.out
    back = await house.cli.json("message", "show", queue_id)
    assert (back["kind"], back["feedback"][0]["delivery"], back["feedback"][0]["believed"]) == (
        "bounce",
        delivery,
        True,
    )
    found = await house.cli.json("queue", "show", delivery)
    assert (found["state"], found["returned"]) == ("bounced", back["feedback"])
    said = await house.cli("queue", "show", delivery)
    assert f"{back['id']}  bounce, failed: user unknown, hard" in said.out
    assert "not believed" not in said.out
    refused = await house.cli("message", "send", "--from", "anna@example.org", "--to", BOB, "--text", "Again")
    assert refused.status != 0
    assert "no such user here" in (await house.cli("suppression", "show", BOB)).out + refused.error


async def test_an_answer_is_shown_without_what_it_quotes(house: Relay, tmp_path: Path) -> None:
    delivery, sent = await sent_by(house, tmp_path)
    text = "Gladly.\r\n\r\n-- \r\nBob\r\n\r\nOn Mon, 2 Nov 2026 at 10:00, Anna wrote:\r\n> Hello\r\n"
    queue_id = await bring(house, sent.reply(text), sent.return_path, BOB)
    shown = await house.cli("message", "show", queue_id)
    assert "What it answers\n  Gladly.\n" in shown.out
    assert (await house.cli.json("message", "show", queue_id))["reply"] == "Gladly."
    found = await house.cli.json("queue", "show", delivery)
    assert (found["status"], found["replied_at"] is not None) == ("replied", True)
