"""What clients say while the daemon is too busy to listen is heard when it has time again (A02)."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from tests.crash.clients import Client
from tests.crash.relay import relay
from tests.support.ledger_oracle import Ledger, Said
from tests.support.sink import world

SESSIONS = 8  # fewer than A08 allows to log in at the same moment from one address


async def test_fault_a02_a_clienthello_that_came_early_is_a_clienthello(tmp_path: Path) -> None:
    with world() as around, relay(tmp_path, around) as one:
        one.start()
        client = Client(one, Ledger())

        async def submit() -> Said:
            async with client.session("submissions") as session:
                return await client.submission(session)

        one.freeze()
        sessions = [asyncio.create_task(submit()) for _ in range(SESSIONS)]
        await asyncio.sleep(0.2)  # connected by the kernel, each with its ClientHello sent
        os.kill(one.pid, signal.SIGCONT)
        async with asyncio.timeout(30):
            assert await asyncio.gather(*sessions) == [Said.ACK] * SESSIONS
