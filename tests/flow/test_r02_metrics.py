"""R2: what the operator's tools see moves with the mail, and readiness and liveness say what is so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mailrelay import metrics
from mailrelay.service import Stopping
from mailrelay.store.sqlite import driver
from mailrelay.upkeep.ledger import LedgerKeeper
from tests.support.cli import Relay, relay
from tests.support.outbound import relay as way_out
from tests.support.smtp_client import connected

MAIL = b"From: anna@example.org\r\nTo: bob@customer.example\r\nSubject: Offer\r\n\r\nHello Bob\r\n"


@dataclass(frozen=True)
class House:
    """A daemon with one user, one contact, and somebody who looks at it."""

    relay: Relay
    session: aiohttp.ClientSession
    dropbox: str
    database: Path

    async def ask(self, path: str) -> tuple[int, str]:
        host, port = self.relay.running.ops
        async with self.session.get(f"http://{host}:{port}{path}") as answer:
            return answer.status, await answer.text()

    async def ready(self) -> tuple[int, dict[str, str]]:
        """The status, and the reason of each part that is not ready."""
        status, text = await self.ask("/readyz")
        said: Any = json.loads(text)
        assert said["ready"] is (status == 200)
        return status, {name: part["reason"] for name, part in said["parts"].items() if not part["ready"]}

    async def well(self) -> bool:
        """Whether all of it is ready."""
        return await self.ready() == (200, {})

    async def figures(self) -> dict[str, float]:
        _, text = await self.ask("/metrics")
        samples = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def sql(self, *statements: str) -> None:
        """Do something to the database behind the daemon's back, by the library that it uses itself."""
        with closing(driver.connect(self.database, timeout=10, isolation_level=None)) as connection:
            for statement in ("PRAGMA legacy_alter_table = ON", *statements):
                connection.execute(statement)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with relay(tmp_path) as running, aiohttp.ClientSession() as session:
        cli = running.cli
        await cli.json("organisation", "add", "Example", "--domain", "example.org")
        await cli.json("user", "add", "--name", "Anna", "--address", "anna@example.org")
        box = await cli.json("dropbox", "make", "anna@example.org")

        yield House(running, session, box["address"], tmp_path / "data" / "mailrelay.db")


async def until(look: Callable[[], Any]) -> Any:
    """What `look` gives once it is true."""
    async with asyncio.timeout(30):
        while not (found := await look()):  # noqa: ASYNC110 (a daemon has no event of ours)
            await asyncio.sleep(0.02)
    return found


async def test_rate_errors_and_latency_of_each_stage_move_when_mail_flows(house: House) -> None:
    before = await house.figures()
    async with connected(int(house.relay.port)) as client:
        await client.ehlo()
        assert (await client.mail("nobody@elsewhere.test", MAIL)).code == 550
        await client.say("RSET")
        assert (await client.mail(house.dropbox, MAIL)).code == 250
    said = await house.relay.cli.json(
        *("message", "send", "--from", "anna@example.org", "--to", "bob@customer.example"),
        *("--subject", "Offer", "--text", "Hello"),
    )
    assert said

    def moved(after: dict[str, float], name: str) -> float:
        return after[name] - before[name]

    async def done() -> dict[str, float] | None:
        after = await house.figures()
        filed = moved(after, "mailrelay_filing_duration_seconds_count")
        return after if filed >= 2 and moved(after, 'mailrelay_delivery_ends_total{state="sent"}') >= 1 else None

    after = await until(done)
    for name in (
        'mailrelay_smtp_sessions_total{listener="edge"}',
        'mailrelay_smtp_replies_total{klass="2xx",listener="edge",verb="data"}',
        'mailrelay_smtp_replies_total{klass="5xx",listener="edge",verb="rcpt"}',
        *(
            f'mailrelay_accept_{series}{{channel="{channel}"}}'
            for channel in ("dropbox", "api")
            for series in ("messages_total", "duration_seconds_count", "size_bytes_count")
        ),
        "mailrelay_filing_duration_seconds_count",
        "mailrelay_filing_duration_seconds_sum",
        'mailrelay_delivery_attempts_total{outcome="accepted"}',
        "mailrelay_delivery_attempt_duration_seconds_count",
        'mailrelay_delivery_ends_total{state="sent"}',
        'mailrelay_http_requests_total{klass="2xx"}',
        'mailrelay_store_transactions_total{kind="write",outcome="ok"}',
        "mailrelay_store_commit_duration_seconds_count",
    ):
        assert moved(after, name) > 0, name
    assert moved(after, "mailrelay_filing_errors_total") == 0
    assert moved(after, "mailrelay_delivery_errors_total") == 0


async def test_the_age_of_what_waits_is_told(tmp_path: Path) -> None:
    async with way_out(tmp_path) as us:
        keeper = LedgerKeeper(us.store, us.clock, Stopping())
        await us.submit()
        us.clock.advance(timedelta(seconds=90))
        await keeper.look()
        assert metrics.REGISTRY.get_sample_value("mailrelay_queue_oldest_due_seconds") == 90
        assert metrics.REGISTRY.get_sample_value("mailrelay_filing_oldest_waiting_seconds") == 90
        assert metrics.REGISTRY.get_sample_value("mailrelay_queue_deliveries", {"state": "queued"}) == 1
        us.start()
        await us.until(await us.submit())
        await keeper.look()
        assert metrics.REGISTRY.get_sample_value("mailrelay_queue_oldest_due_seconds") == 0
        assert metrics.REGISTRY.get_sample_value("mailrelay_queue_deliveries", {"state": "queued"}) == 0


async def test_without_the_store_it_lives_and_is_not_ready(house: House) -> None:
    assert await house.ready() == (200, {})
    house.sql("ALTER TABLE ledger RENAME TO gone")
    status, reasons = await house.ready()
    assert status == 503
    assert reasons["store"] == "it failed: OperationalError"
    assert (await house.ask("/healthz"))[0] == 200
    house.sql("ALTER TABLE gone RENAME TO ledger")
    assert await until(house.well)


@pytest.mark.parametrize(
    ("table", "part", "because"),
    [
        ("arrival", "filing", "filing does not run; the log says why"),
        ("destination", "queue", "nothing can be claimed from it; the log says why"),
    ],
)
async def test_a_worker_that_fails_at_its_table_is_not_ready(house: House, table: str, part: str, because: str) -> None:
    assert await house.ready() == (200, {})
    house.sql(f"ALTER TABLE {table} RENAME TO gone")

    async def failed() -> str | None:
        return (await house.ready())[1].get(part)

    assert await until(failed) == because
    assert (await house.ask("/healthz"))[0] == 200
    house.sql(f"ALTER TABLE gone RENAME TO {table}")

    assert await until(house.well)
