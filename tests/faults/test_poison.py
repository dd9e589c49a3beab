"""Q03 with a real daemon: a mail that ends its process at each attempt is set aside after three deaths; its neighbours go out."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from mailrelay.model.delivery import POISON, DeliveryState
from tests.crash import relay as crash
from tests.crash.clients import Client, content
from tests.crash.relay import Relay, relay
from tests.support import deadly
from tests.support.cli import Cli
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, read_books
from tests.support.sink import world

_NEIGHBOURS = 12


def _id(recipient: str) -> str:
    return f"{recipient.partition('@')[0]}@mail.test"


async def _submit(one: Relay, subject: str, recipient: str) -> None:
    raw = content(_id(recipient), recipient, 1_000)
    head, _, rest = raw.partition(b"\r\nSubject: ")
    raw = head + b"\r\nSubject: " + subject.encode() + b"\r\n" + rest.partition(b"\r\n")[2]
    async with Client(one, Ledger()).session("submissions") as session:
        answer = await session.mail([recipient], raw)
        assert answer.code == 250, answer


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("subject", "deaths", "said"),
    [
        ("kills", 3, "The process ended without a word during an attempt of this delivery."),
        # After the first death it is prepared apart, so that the daemon lives.
        ("dies", 1, "The process that prepared the mail was killed by signal 9 (SIGKILL)."),
    ],
)
async def test_fault_q03_a_mail_that_the_process_dies_of_is_set_aside_and_the_next_start_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subject: str, deaths: int, said: str
) -> None:
    nowhere = {"delivery": {"smart_host": {"host": "127.0.0.1", "port": 1, "tls": "never"}}}
    with world() as around, relay(tmp_path, around, nowhere) as one:
        one.start()
        # All of it waits for a daemon that has this mail to fear.
        neighbours = [f"n{number}@customer{number % 3}.test" for number in range(_NEIGHBOURS)]
        for number, to in enumerate(neighbours):
            if number == _NEIGHBOURS // 2:
                await _submit(one, subject, "bad@customer1.test")
            await _submit(one, "hello", to)
        assert await asyncio.to_thread(one.stop) == 0
        one.settings = {}
        monkeypatch.setattr(crash, "_child", deadly.child)
        for _ in range(deaths):
            one.launch()
            assert await asyncio.to_thread(one.wait, 60) == -signal.SIGKILL
        one.start()
        ask = Cli(tmp_path / "s")

        async def held() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await ask.json("queue", "list", "--held-by", POISON))["items"]
            return found

        async with asyncio.timeout(30):
            while not await held():  # noqa: ASYNC110 (a row)
                await asyncio.sleep(0.1)
        (bad,) = await held()
        shown = (await ask("queue", "show", bad["id"])).out
        await asyncio.to_thread(
            until,
            lambda: all(around.sink.copies[_id(to), to] for to in neighbours),
            "the neighbours go out",
        )
        # A copy may have gone out just before a death: then it goes once more. What is held has not ended.
        await asyncio.to_thread(until, lambda: one.in_flight() == 1, "that is noted")
        assert one.exit_status is None
        assert await asyncio.to_thread(one.stop) == 0
        books = await read_books(one.data_folder)
    assert bad["recipient"] == "bad@customer1.test"
    assert said in shown
    assert around.sink.copies[_id("bad@customer1.test"), "bad@customer1.test"] == 0
    states = dict(books.states)
    assert states.pop((_id("bad@customer1.test"), "bad@customer1.test")) == DeliveryState.HELD
    assert set(states.values()) == {DeliveryState.SENT}
    assert [each for each in books.audit.balances if each.unaccounted] == []
