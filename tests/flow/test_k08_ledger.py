"""The books are watched: metrics say what is in flight, and a difference is named and logged once (K8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import generate_latest
from sqlalchemy import delete

from mailrelay import metrics
from mailrelay.ids import QueueId
from mailrelay.model.settings import Unknown, UserSettings
from mailrelay.service import Stopping
from mailrelay.store.base import Tx
from mailrelay.store.tables import arrival, body
from mailrelay.upkeep.ledger import LedgerKeeper, audit
from tests.support.filing import Desk, mail, office


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with office(tmp_path, user_settings=UserSettings(unknown=Unknown.NOTHING)) as one:
        yield one


def _value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(name, labels)


async def test_what_waits_is_in_the_metrics(desk: Desk) -> None:
    keeper = LedgerKeeper(desk.store, desk.clock, Stopping())
    await desk.post(mail(to="eve@nowhere.test"))
    await desk.accept(mail(to="eve@nowhere.test"))
    desk.clock.advance(timedelta(seconds=90))
    await keeper.look()
    assert _value("mailrelay_filing_arrivals_waiting", state="accepted") == 1
    assert _value("mailrelay_filing_oldest_waiting_seconds") == 90
    assert _value("mailrelay_unresolved_entries") == 1
    assert _value("mailrelay_unaccounted_messages", channel="dropbox") == 0
    await desk.worker.drain()
    await keeper.look()
    assert _value("mailrelay_filing_arrivals_waiting", state="accepted") == 0
    assert _value("mailrelay_filing_oldest_waiting_seconds") == 0
    assert _value("mailrelay_queue_oldest_due_seconds") == 0


async def test_a_mail_that_vanishes_is_counted_named_and_logged_once(desk: Desk) -> None:
    keeper = LedgerKeeper(desk.store, desk.clock, Stopping())
    lost = await desk.accept(mail(to="eve@nowhere.test"))
    assert (await audit(desk.store, desk.bodies)).balanced

    def vanish(tx: Tx, id_: QueueId) -> None:
        tx.execute(delete(arrival).where(arrival.c.id == id_))

    await desk.store.write(vanish, lost)
    with structlog.testing.capture_logs() as logged:
        await keeper.look()
        await keeper.look()
    assert [(line["event"], line["channel"], line["unaccounted"]) for line in logged] == [
        ("audit.unbalanced", "dropbox", 1)
    ]
    assert _value("mailrelay_unaccounted_messages", channel="dropbox") == 1
    found = await audit(desk.store, desk.bodies)
    assert not found.balanced
    assert lost in {one.id for one in found.discrepancies}


async def test_bytes_that_are_gone_are_named_by_the_audit(desk: Desk) -> None:
    waiting = await desk.accept(mail(to="eve@nowhere.test"))

    def lose(tx: Tx) -> None:
        tx.execute(delete(body))

    await desk.store.write(lose)
    found = await audit(desk.store, desk.bodies)
    assert [(one.id, one.channel) for one in found.discrepancies] == [(waiting, "dropbox")]


async def test_the_service_looks_until_it_is_stopped(desk: Desk) -> None:
    stopping = Stopping()
    running = asyncio.create_task(LedgerKeeper(desk.store, desk.clock, stopping, interval=0.01).run())
    await desk.accept(mail(to="eve@nowhere.test"))
    async with asyncio.timeout(30):
        while _value("mailrelay_filing_arrivals_waiting", state="accepted") != 1:  # noqa: ASYNC110 (a metric rings no bell)
            await asyncio.sleep(0.01)
        stopping.set()
        await running


async def test_looking_takes_a_fiftieth_of_the_time_however_much_waits(desk: Desk) -> None:
    keeper = LedgerKeeper(desk.store, desk.clock, Stopping())
    read = desk.store.read
    took = [0.0]

    async def slowly(*call: Any) -> Any:
        desk.clock.advance(timedelta(seconds=took[0]))
        return await read(*call)

    desk.store.read = slowly  # type: ignore[method-assign, assignment]
    for seconds, pause in ((0.01, 5.0), (0.5, 24.5), (3.0, 147.0), (60.0, 300.0)):
        took[0] = seconds
        await keeper.look()
        assert keeper.pause == pytest.approx(pause)


async def test_what_waits_is_not_said_to_be_nought_before_anybody_has_looked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics._shown, "looked", False)
    await desk.accept(mail(to="eve@nowhere.test"))
    known = 'mailrelay_filing_arrivals_waiting{state="accepted"}'
    before = generate_latest(metrics.SHOWN).decode()
    assert known not in before
    assert "mailrelay_smtp_sessions_total" in before
    await LedgerKeeper(desk.store, desk.clock, Stopping()).look()
    assert f"{known} 1.0" in generate_latest(metrics.SHOWN).decode()
