"""O10: a suppressed address is never sent to, and the answer says which and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailrelay.errors import Suppressed
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.suppression import SuppressionReason
from mailrelay.store import ledger, suppressions
from tests.support.outbound import Relay, relay


async def suppress(us: Relay, key: str) -> None:
    await us.store.write(
        suppressions.suppress,
        org=us.org.id,
        key=key,
        reason=SuppressionReason.UNSUBSCRIBED,
        evidence="link",
        now=us.clock.now(),
    )


async def test_a_submission_to_a_suppressed_address_is_refused_by_name(tmp_path: Path):
    async with relay(tmp_path) as us:
        await suppress(us, "eve@b.test")
        with pytest.raises(Suppressed) as refused:
            await us.submit("bob@b.test", "Eve@b.test")
        assert "Eve@b.test is suppressed (unsubscribed) since 2026-11-02" in str(refused.value)
        assert str(refused.value.reply).startswith("550 5.7.1")
        assert await us.store.read(ledger.balance) == []
        assert (await us.submit("bob@b.test")).deliveries


async def test_once_lifted_it_is_sent_to_again(tmp_path: Path):
    async with relay(tmp_path) as us:
        await suppress(us, "bob@b.test")
        await us.store.write(suppressions.lift, us.org.id, "bob@b.test", by="anna", now=us.clock.now())
        assert (await us.submit("bob@b.test")).deliveries


async def test_fault_q06_what_is_suppressed_after_it_was_queued_is_not_sent(tmp_path: Path):
    async with relay(tmp_path) as us:
        submitted = await us.submit("bob@b.test", "eve@b.test")
        await suppress(us, "eve@b.test")
        us.start()
        bob, eve = await us.until(submitted, DeliveryState.SENT, DeliveryState.SUPPRESSED)
        assert (bob.state, eve.state) == (DeliveryState.SENT, DeliveryState.SUPPRESSED)
        assert "eve@b.test is suppressed (unsubscribed)" in eve.last_reply
        assert await us.history(eve.id) == ()
        assert [path.stem for path in us.sent.glob("*.eml")] == [bob.id]
        assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))
