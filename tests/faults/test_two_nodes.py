"""Two daemons on one PostgreSQL: the work of a dead one is taken up within seconds, and nothing is sent twice (R4, Q05)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.crash import runner
from tests.crash.clients import Client
from tests.crash.relay import relay
from tests.support import postgres
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said
from tests.support.sink import world

MAILS = 30
LEASE = 3.0


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with postgres.database(postgres.server(shared)) as dsn:
        url = make_url(dsn)
        store: dict[str, Any] = {"url": url.set(password=None).render_as_string()}
        if url.password:
            secret = tmp_path_factory.mktemp("secret") / "password"
            secret.write_text(url.password)
            secret.chmod(0o600)
            store["password"] = {"file": str(secret)}
        yield {"store": store, "delivery": {"lease": LEASE}, "filing": {"lease": LEASE}}


async def test_fault_q05_what_a_dead_process_had_claimed_another_sends_within_seconds(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    ledger = Ledger()
    with world() as around, relay(tmp_path / "1", around, settings) as first:
        first.start()
        with relay(tmp_path / "2", around, settings) as second:
            (tmp_path / "2").mkdir()
            runner.write(tmp_path / "2" / "house.json", first.house)
            around.sink.delay = 30  # whoever claims a mail now has it in hand
            client = Client(first, ledger)
            async with client.session("submissions") as session:
                for _ in range(MAILS):
                    assert await client.submission(session) is Said.ACK
            await asyncio.sleep(1)
            second.start()
            first.kill()
            died = time.monotonic()
            around.sink.delay = 0
            places = {(mail.id, mail.correspondent) for mail in ledger.mails}
            await asyncio.to_thread(until, lambda: all(around.sink.copies[one] for one in places), "all are sent")
            took = time.monotonic() - died
            await asyncio.to_thread(until, lambda: not second.in_flight(), "the books close")
            audit = await asyncio.to_thread(second.local, "/api/v1/audit")
            assert second.stop() == 0
    assert audit["balanced"], audit
    # A lease, the claim, the attempt: on a machine with nothing else to do a lease and a second.
    assert took < 10 * LEASE, took
