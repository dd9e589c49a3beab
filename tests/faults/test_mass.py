"""Mass mail: each recipient gets it once or not at all, never twice, however often the process dies (M09, D11)."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from mailrelay.model.delivery import DeliveryState
from tests.crash.clients import Client, content
from tests.crash.relay import Relay, relay
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, read_books
from tests.support.sink import world

# With MAILRELAY_TEST_EVERY_WRITE=1 some thousands.
MAILS, RECIPIENTS, KILLS = (50, 100, 5) if "MAILRELAY_TEST_EVERY_WRITE" in os.environ else (6, 100, 3)
_CONNECTIONS = 5
_UNCERTAIN = 2 * _CONNECTIONS
"""What one death may leave unconfirmed: a mail behind its dot on each connection, and one whose answer is not written down yet."""
# Q03: what the process dies on three times is set aside. Here it is the test that ends it, more often.
_SETTINGS = {
    "filing": {"max_attempts": 100},
    "delivery": {"max_faults": 100, "connections_per_destination": _CONNECTIONS},
}
_JOB = b"X-Mailrelay-Job: spring\r\n"


async def _submit(one: Relay, number: int, recipients: list[str]) -> None:
    """A mail of the job; whoever is told nothing does not try again here."""
    client = Client(one, Ledger())
    async with client.session("submissions") as session:
        answer = await session.mail(recipients, _JOB + content(f"job-{number}@mail.test", recipients[0], 1_000))
        assert answer.code == 250, answer


def _waiting(one: Relay) -> int:
    """Deliveries that nobody holds and that have not ended, as the store has them now."""
    with closing(sqlite3.connect(f"file:{one.data_folder}/mailrelay.db?mode=ro", uri=True, timeout=10)) as store:
        (number,) = store.execute("SELECT count(*) FROM delivery WHERE state IN ('queued', 'sending')").fetchone()
    return int(number)


async def test_fault_d11_a_mass_mail_cut_off_after_the_dot_is_held_and_never_sent_again(tmp_path: Path) -> None:
    with world() as around, relay(tmp_path, around) as one:
        one.start()

        def frozen_then_killed() -> None:
            one.freeze()
            os.kill(one.pid, signal.SIGKILL)

        around.sink.on_dot = frozen_then_killed
        await _submit(one, 1, ["one@customer.test"])
        assert await asyncio.to_thread(one.wait) == -signal.SIGKILL
        one.start()
        await _submit(one, 2, ["two@customer.test"])
        await asyncio.to_thread(
            until, lambda: around.sink.copies["job-2@mail.test", "two@customer.test"], "the next goes"
        )
        await asyncio.sleep(3)  # longer than a retry
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    assert around.sink.copies["job-1@mail.test", "one@customer.test"] == 1
    assert books.states["job-1@mail.test", "one@customer.test"] == DeliveryState.HELD
    assert [one for one in books.audit.balances if one.unaccounted] == []


@pytest.mark.timeout(300)
async def test_fault_m09_a_job_that_is_killed_over_and_over_reaches_each_recipient_at_most_once(tmp_path: Path) -> None:
    moments = random.Random()
    addressed = Counter[tuple[str, str]]()
    with world() as around, relay(tmp_path, around, _SETTINGS) as one:
        one.start()
        around.sink.delay = 0.03
        for number in range(MAILS):
            recipients = [f"p{number}-{each}@customer{each % 7}.test" for each in range(RECIPIENTS)]
            await _submit(one, number, recipients)
            addressed.update((f"job-{number}@mail.test", recipient) for recipient in recipients)
            if number % (MAILS // KILLS) == 0:
                await asyncio.sleep(moments.uniform(0.1, 0.8))
                one.kill()
                one.start()
        for _ in range(KILLS):
            await asyncio.sleep(moments.uniform(0.2, 1.5))
            one.kill()
            one.start()
        around.sink.delay = 0
        taken = around.sink.copies.total()
        # Q05: our own death is nobody's pause.
        await asyncio.to_thread(
            until,
            lambda: around.sink.copies.total() > taken or not _waiting(one),
            "it goes on within seconds",
            seconds=15,
        )
        await asyncio.to_thread(until, lambda: not _waiting(one), "nothing waits", seconds=90, pause=0.2)
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    copies = around.sink.copies
    assert set(books.states) == set(addressed)
    assert set(copies) <= set(addressed)
    assert max(copies.values()) == 1, [place for place, number in copies.items() if number > 1]
    states = Counter(books.states.values())
    assert set(states) <= {DeliveryState.SENT, DeliveryState.HELD}, states
    assert all(copies[place] == 1 for place, state in books.states.items() if state == DeliveryState.SENT)
    assert states[DeliveryState.HELD] <= 2 * KILLS * _UNCERTAIN, states
    assert [one for one in books.audit.balances if one.unaccounted] == []
