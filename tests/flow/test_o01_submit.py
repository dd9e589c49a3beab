"""O1: accepted means durable: message, arrival, deliveries, journal and books in one transaction."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from mailrelay.errors import Invalid, TooMany
from mailrelay.mail.headers import HeaderBlock
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import ArrivalState, Channel
from mailrelay.model.event import EventType
from mailrelay.model.message import Direction
from mailrelay.store import arrivals, deliveries, events, ledger, messages
from mailrelay.store.base import Bell, Tx
from tests.support.outbound import relay


async def test_everything_is_there_when_submit_returns(tmp_path: Path):
    async with relay(tmp_path) as us:
        raw = us.mail(header=b"Bcc: eve@b.test\r\n")
        submitted = await us.submit("bob@b.test", "eve@b.test", raw=raw)
        message = await us.store.read(messages.get, us.org.id, submitted.message)
        assert message.direction is Direction.OUT
        assert message.queue_id == submitted.queue_id
        assert message.message_id == f"{submitted.queue_id}@us.test"
        arrival = await us.store.read(arrivals.get, submitted.queue_id)
        assert arrival is not None
        assert (arrival.state, arrival.message, arrival.channel) == (
            ArrivalState.ACCEPTED,
            submitted.message,
            Channel.API,
        )
        assert arrival.target is not None
        assert arrival.target.user == us.anna.id
        found = [await us.delivery(one) for one in submitted.deliveries]
        assert [str(one.address) for one in found] == ["bob@b.test", "eve@b.test"]
        assert {one.state for one in found} == {DeliveryState.QUEUED}
        kinds = [one.type for one in await us.store.read(events.of_message, us.org.id, submitted.message)]
        assert kinds == [EventType.ARRIVAL_ACCEPTED, EventType.DELIVERY_QUEUED, EventType.DELIVERY_QUEUED]
        assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))
        assert await us.store.bells.heard(Bell.QUEUE, timeout=0.1)
        assert await us.store.bells.heard(Bell.FILING, timeout=0.1)


async def test_what_is_stored_is_complete_and_without_bcc(tmp_path: Path):
    async with relay(tmp_path) as us:
        raw = us.mail(header=b"Bcc: eve@b.test\r\nX-Mailrelay-Anything: forged\r\n")
        submitted = await us.submit(raw=raw)
        stored = await us.bodies.read((await us.delivery(submitted.deliveries[0])).raw)
    block = HeaderBlock.parse(stored)
    assert "Bcc" not in block
    assert "X-Mailrelay-Anything" not in block
    assert "Date" in block
    assert stored.endswith(b"\r\n\r\nbody\r\n")


async def test_a_large_mail_is_kept_like_a_small_one(tmp_path: Path):
    async with relay(tmp_path) as us:
        submitted = await us.submit(raw=us.mail(body=b"line of text\r\n" * 20_000))
        stored = await us.bodies.read((await us.delivery(submitted.deliveries[0])).raw)
    assert stored.endswith(b"line of text\r\n" * 20_000)


async def test_the_same_mail_sent_twice_is_one_message_with_all_its_deliveries(tmp_path: Path):
    async with relay(tmp_path) as us:
        raw = us.mail(header=b"Message-ID: <one@acme.test>\r\nDate: Mon, 02 Nov 2026 09:00:00 +0000\r\n")
        first, second = await asyncio.gather(us.submit(raw=raw), us.submit("eve@b.test", raw=raw))
        assert first.message == second.message
        assert first.queue_id != second.queue_id
        assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))
        assert await us.store.read(ledger.audit) == []


async def test_fault_p13_what_cannot_be_mended_is_refused_and_nothing_is_queued(tmp_path: Path):
    async with relay(tmp_path) as us:
        for raw in (
            us.mail(header=b"From: eve@acme.test\r\n"),
            us.mail().replace(b"From: ", b"X: "),
            us.mail(header=b"Date: x\r\nDate: y\r\n"),
            us.mail(header=b"X: " + b"y" * 999 + b"\r\n"),
            us.mail(body=b"one\ntwo\r\n"),
            us.mail(body=b"nul\0\r\n"),
            b"no header at all",
        ):
            with pytest.raises(Invalid) as refused:
                await us.submit(raw=raw)
            assert refused.value.status == 422
        assert await us.store.read(messages.list_messages, us.org.id) == ()
        assert await us.store.read(ledger.balance) == []


async def test_fault_p13_a_missing_date_and_message_id_are_added_and_a_long_line_leaves_encoded(tmp_path: Path):
    async with relay(tmp_path) as us:
        submitted = await us.submit(raw=us.mail(body=b"x" * 5000 + b"\r\n"))
        us.start()
        await us.until(submitted)
        sent = (us.sent / f"{submitted.deliveries[0]}.eml").read_bytes()
    assert max(len(line) for line in sent.split(b"\r\n")) <= 998
    assert f"Message-ID: <{submitted.queue_id}@us.test>".encode() in sent
    assert b"Date: Mon, 02 Nov 2026 09:30:00 +0000" in sent


async def test_there_must_be_recipients_and_not_too_many(tmp_path: Path):
    async with relay(tmp_path) as us:
        with pytest.raises(Invalid):
            await us.submit(recipients=())
        with pytest.raises(TooMany) as refused:
            await us.submit(*(f"r{n}@b.test" for n in range(1001)))
        assert (refused.value.limit, refused.value.count) == (1000, 1001)


async def test_fault_d10_a_submission_whose_client_was_told_to_try_again_is_not_sent_as_well(tmp_path: Path):
    async with relay(tmp_path) as us:
        disk = threading.Event()

        def hang(tx: Tx) -> None:
            disk.wait(10)

        hung = asyncio.create_task(us.store.write(hang))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await us.submit()
        disk.set()
        await hung
        await us.submit("eve@b.test")
        found = await us.store.read(deliveries.list_deliveries, us.org.id)
        assert [str(one.address) for one in found] == ["eve@b.test"]
