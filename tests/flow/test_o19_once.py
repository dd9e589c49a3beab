"""O19: a repeated idempotency key is one message; with another body it is refused (Q04)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from mailrelay.errors import Conflict
from mailrelay.model.suppression import SuppressionReason
from mailrelay.store import deliveries, suppressions
from mailrelay.store.tables import idempotency
from tests.support.outbound import relay


async def test_fault_q04_the_same_key_and_body_is_the_same_message(tmp_path: Path):
    async with relay(tmp_path) as us:
        first = await us.submit("bob@b.test", "eve@b.test", idempotency_key="k")
        again = await us.submit("bob@b.test", "eve@b.test", idempotency_key="k")
        assert again == replace(first, repeated=True)
        assert len(await us.store.read(deliveries.list_deliveries, us.org.id)) == 2


async def test_fault_q04_in_parallel_one_is_first_and_all_hear_of_it(tmp_path: Path):
    async with relay(tmp_path) as us:
        all_of_them = await asyncio.gather(*(us.submit(idempotency_key="k") for _ in range(20)))
        assert len({one.queue_id for one in all_of_them}) == 1
        assert [one.repeated for one in all_of_them].count(False) == 1
        assert len(await us.store.read(deliveries.list_deliveries, us.org.id)) == 1


async def test_fault_q04_another_body_or_recipient_is_refused(tmp_path: Path):
    async with relay(tmp_path) as us:
        await us.submit(idempotency_key="k")
        for other in ({"raw": us.mail(body=b"other\r\n")}, {"mail_from": None}):
            with pytest.raises(Conflict) as refused:
                await us.submit(idempotency_key="k", **other)
            assert refused.value.status == 409
        with pytest.raises(Conflict):
            await us.submit("eve@b.test", idempotency_key="k")
        assert len(await us.store.read(deliveries.list_deliveries, us.org.id)) == 1


async def test_a_repeat_is_answered_as_before_whatever_changed_since(tmp_path: Path):
    async with relay(tmp_path) as us:
        first = await us.submit(idempotency_key="k")
        await us.store.write(
            suppressions.suppress,
            org=us.org.id,
            key="bob@b.test",
            reason=SuppressionReason.BY_HAND,
            evidence="",
            now=us.clock.now(),
        )
        assert (await us.submit(idempotency_key="k")).queue_id == first.queue_id


async def test_without_a_key_two_requests_are_two(tmp_path: Path):
    async with relay(tmp_path) as us:
        assert (await us.submit()).queue_id != (await us.submit()).queue_id


async def test_a_key_is_its_owners_and_another_hears_nothing_of_what_it_stands_for(tmp_path: Path):
    async with relay(tmp_path) as us:
        first = await us.submit(idempotency_key="k")
        his = {"user": us.bob.id, "mail_from": us.bob.primary, "raw": us.mail(str(us.bob.primary))}
        bobs = await us.submit(idempotency_key="k", **his)
        assert not bobs.repeated
        assert bobs.queue_id != first.queue_id
        machine = await us.submit(by="T1", idempotency_key="k")  # for the same user, and not by them
        assert not machine.repeated
        assert (await us.submit(by="T1", idempotency_key="k")).queue_id == machine.queue_id
        with pytest.raises(Conflict, match=bobs.queue_id):
            await us.submit("eve@b.test", idempotency_key="k", **his)


async def test_a_key_of_an_earlier_release_stands_for_its_request_and_for_nothing_else(tmp_path: Path):
    async with relay(tmp_path) as us:
        first = await us.submit(idempotency_key="k")
        await us.store.write(lambda tx: tx.execute(update(idempotency).values(by="")))
        assert (await us.submit(idempotency_key="k")).queue_id == first.queue_id
        other = await us.submit("eve@b.test", idempotency_key="k")
        assert not other.repeated
