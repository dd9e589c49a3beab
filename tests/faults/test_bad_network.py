"""A peer that crawls, a connection that goes dead (N09): an end by deadline, no duplicate, the others unharmed."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

from mailrelay.model.delivery import DeliveryState
from mailrelay.outbound.submit import Submitted
from tests.support.fault_proxy import Cut, fault_proxy
from tests.support.outbound import Relay, relay
from tests.support.remote import remote


def _smart_host(host: str, port: int) -> dict[str, object]:
    return {
        "route": "smart_host",
        "smart_host": {"host": host, "port": port, "tls": "never"},
        "first_retry": 0.5,
        "longest_retry": 1.0,
    }


async def _time_passes(one: Relay) -> None:
    """Pauses of retries and of ways that were dead go by."""
    while True:
        await asyncio.sleep(0.5)
        one.clock.advance(timedelta(seconds=10))


async def _later(one: Relay, submitted: Submitted) -> None:
    passing = asyncio.create_task(_time_passes(one))
    try:
        await one.until(submitted, timeout=40)
    finally:
        passing.cancel()


async def test_fault_n09_a_peer_that_answers_a_byte_a_second_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    async with remote() as sink, fault_proxy(sink.port) as slow:
        slow.to_client.bytes_per_second = 1
        async with relay(
            tmp_path, **_smart_host("127.0.0.1", slow.port), command_timeout=3.0, connect_timeout=3.0
        ) as one:
            submitted = await one.submit("bob@b.test")
            one.start()
            began = time.monotonic()
            await one.until(submitted, DeliveryState.QUEUED, attempts=1, timeout=30)
            assert time.monotonic() - began < 20
            assert not sink.messages
            slow.to_client.bytes_per_second = 0
            await _later(one, submitted)
            assert len(sink.messages) == 1


async def test_fault_n09_a_connection_that_goes_dead_amid_the_content_is_given_up_and_the_mail_goes_later(
    tmp_path: Path,
) -> None:
    async with remote() as sink, fault_proxy(sink.port) as wire:
        wire.to_server.cut_at, wire.to_server.cut = 20_000, Cut.RESET
        async with relay(tmp_path, **_smart_host("127.0.0.1", wire.port)) as one:
            submitted = await one.submit("bob@b.test", raw=one.mail(body=b"a line\r\n" * 20_000))
            one.start()
            await one.until(submitted, DeliveryState.QUEUED, attempts=1, timeout=20)
            wire.to_server.cut_at = None
            await _later(one, submitted)
            assert len(sink.messages) == 1
