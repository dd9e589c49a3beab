"""O10: a suppressed address is never sent to, and the answer says which and why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailrelay.config.schema import ListenerKind, Route
from mailrelay.errors import Suppressed
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.lookup import Answer, LookupStatus, Question
from mailrelay.model.suppression import SuppressionReason
from mailrelay.store import deliveries, ledger, queue, suppressions
from mailrelay.store.base import Store
from tests.support.edge import MAIL, PASSWORD, edge
from tests.support.factory import open_store
from tests.support.outbound import Relay, relay
from tests.support.smtp_client import connected


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


async def test_over_smtp_the_refusal_names_address_reason_and_day_and_nothing_is_queued(tmp_path: Path):
    async with edge(tmp_path) as server:
        await server.store.write(
            suppressions.suppress,
            org=server.organisation.id,
            key="eve@b.test",
            reason=SuppressionReason.HARD_BOUNCE,
            evidence="550 5.1.1 no such user",
            now=server.clock.now(),
        )
        async with connected(server.port(ListenerKind.SUBMISSION)) as client:
            await client.ehlo()
            await client.starttls()
            await client.ehlo()
            assert (await client.log_in("anna@example.com", PASSWORD)).code == 235
            refused = await client.mail(["bob@b.test", "Eve@b.test"], MAIL)
            today = f"{server.clock.now():%Y-%m-%d}"
            assert str(refused) == (
                f"550 5.7.1 Eve@b.test is suppressed (hard bounce) since {today}; lift the suppression to send to it"
            )
            assert await server.store.read(ledger.balance) == []
            assert await server.store.read(deliveries.list_deliveries, server.organisation.id) == ()
            assert (await client.mail("bob@b.test", MAIL)).code == 250  # the same session goes on


async def test_what_is_suppressed_while_it_is_deferred_is_not_tried_again(tmp_path: Path):
    def away(question: Question) -> Answer:
        return Answer(LookupStatus.TEMPORARY)

    async with relay(tmp_path, answers=away, route=Route.MX, first_retry=60) as us:
        submitted = await us.submit("bob@b.test")
        us.start()
        await us.until(submitted, DeliveryState.QUEUED, attempts=1)
        await suppress(us, "bob@b.test")
        us.clock.advance(timedelta(hours=1))
        (bob,) = await us.until(submitted, DeliveryState.SUPPRESSED)
        assert bob.attempts == len(await us.history(bob.id)) == 1
        assert "bob@b.test is suppressed (unsubscribed)" in bob.last_reply


class SuppressedOnceClaimed:
    """A store in which an address is suppressed right after the dispatcher claimed its mail."""

    def __init__(self, store: Store, then: Callable[[], Awaitable[None]]) -> None:
        self.bells = store.bells
        self._store = store
        self._then = then

    async def read(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await self._store.read(fn, *args, **kwargs)

    async def write(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = await self._store.write(fn, *args, **kwargs)
        if fn is queue.claim and result:
            await self._then()
        return result

    async def close(self) -> None:
        await self._store.close()


async def test_what_is_suppressed_between_claim_and_attempt_is_not_sent(tmp_path: Path):
    async def then() -> None:
        await suppress(us, "eve@b.test")

    async with open_store(tmp_path) as store, relay(tmp_path, store=SuppressedOnceClaimed(store, then)) as us:
        submitted = await us.submit("bob@b.test", "eve@b.test")
        us.start()
        bob, eve = await us.until(submitted, DeliveryState.SENT, DeliveryState.SUPPRESSED)
        assert (bob.state, eve.state) == (DeliveryState.SENT, DeliveryState.SUPPRESSED)
        assert await us.history(eve.id) == ()
