"""Q03: a mail that makes our own code fail is set aside after three attempts, with what it did; its neighbours go out."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from sqlalchemy import update

from mailrelay.model.delivery import POISON, Deferred, DeliveryState
from mailrelay.outbound.isolate import Bounds
from mailrelay.outbound.submission import Submitted
from mailrelay.store import ledger
from mailrelay.store.base import Tx
from mailrelay.store.tables import delivery
from tests.support import poison
from tests.support.outbound import Relay, relay

QUICK = {"make": poison.as_told, "bounds": Bounds(seconds=1.5, memory=200_000_000)}


async def submit(us: Relay, subject: str, *recipients: str) -> Submitted:
    raw = us.mail().replace(b"Subject: hello", b"Subject: " + subject.encode())
    return await us.submit(*recipients, raw=raw)


async def failed(us: Relay, one: Submitted, times: int) -> None:
    """Wait until it has failed so often, and let the time pass until it is due again."""
    async with asyncio.timeout(30):
        while True:
            found = await us.delivery(one.deliveries[0])
            if found.faults >= times and found.state is not DeliveryState.SENDING:
                break
            await asyncio.sleep(0.01)
    us.clock.advance(timedelta(hours=1))


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("raises", "ValueError: the mail is a poem"),
        ("loops", "Preparing the mail took more than 1.5 s."),
        ("eats", "Preparing the mail needed more than 200 MB."),
    ],
)
async def test_fault_q03_a_mail_that_raises_loops_or_takes_2_gb_is_set_aside_and_its_neighbours_go_out(
    tmp_path: Path, subject: str, said: str
):
    with structlog.testing.capture_logs() as logged:
        async with relay(tmp_path, letters=QUICK) as us:
            neighbours = [await submit(us, "hello", "eva@b.test")]
            bad = await submit(us, subject, "bob@b.test")
            neighbours.append(await submit(us, "hello", "max@b.test"))
            us.start()
            for times in (1, 2):
                await failed(us, bad, times)
                neighbours.append(await submit(us, "hello", f"n{times}@b.test"))
            (held,) = await us.until(bad, DeliveryState.HELD, timeout=30)
            assert (held.held_by, held.faults) == (POISON, 3)
            assert said in held.trace
            if subject == "raises":
                assert "Traceback" in held.trace
                assert "in raises" in held.trace
            for one in neighbours:
                await us.until(one)
            history = await us.history(held.id)
            assert [isinstance(attempt.outcome, Deferred) for attempt in history] == [True] * 3
            assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))
    assert "attempt.failed" in {line["event"] for line in logged}


async def test_fault_q03_many_suspects_of_two_deaths_go_out_one_by_one_without_a_pause(tmp_path: Path):
    """As many as one death leaves: none of them is put off for the others, and each is tried alone."""
    async with relay(tmp_path) as us:
        submitted = await us.submit(*(f"r{n}@b.test" for n in range(60)))

        def suspect(tx: Tx) -> None:
            tx.execute(update(delivery).values(faults=2))

        await us.store.write(suspect)
        us.start()
        for found in await us.until(submitted, timeout=30):
            assert (found.attempts, found.faults) == (1, 0)
