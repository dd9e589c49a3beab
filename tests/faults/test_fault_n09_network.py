"""N09 on a wire of its own: packets get lost, or none comes through any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from mailrelay.model.delivery import DeliveryState, Interrupted, Stage
from mailrelay.outbound import connection
from tests.support.answers import Zone
from tests.support.daemon import until
from tests.support.netns import Network, network
from tests.support.outbound import relay
from tests.support.smtp_sink import SmtpSink, smtp_sink

QUEUED, SENT = DeliveryState.QUEUED, DeliveryState.SENT
MAIL = b"a line of a mail\r\n" * 20


def settings(net: Network, port: int, **more: Any) -> dict[str, Any]:
    zone = Zone({("MX", "b.test"): ["far.test"], ("A", "far.test"): net.far.address})
    return {"route": "mx", "port": port, "answers": zone, "connect_timeout": 20.0, "idle": 0.01, **more}


def rcpt(sink: SmtpSink) -> list[bytes]:
    """The recipients of all that it took."""
    lines = (line for message in sink.messages() for line in message.splitlines())
    return [line.split(b" ")[1] for line in lines if line.startswith(b"X-Rcpt-Args:")]


def there(net: Network, work: Coroutine[Any, Any, None]) -> None:
    net.near.call(asyncio.run, work)


def test_fault_n09_a_wire_that_loses_three_packets_of_ten_carries_each_mail_once(tmp_path: Path):
    kept = tmp_path / "kept"
    unsure: list[bool] = []

    async def send(net: Network, port: int) -> None:
        async with relay(tmp_path, **settings(net, port, command_timeout=15.0, data_timeout=15.0)) as us:
            submitted = await us.submit("a@b.test", "b@b.test", "c@b.test", raw=us.mail(body=MAIL))
            net.lose(30)
            us.start()
            found = await us.until(submitted, SENT, QUEUED, attempts=1, timeout=100)
            net.heal()
            for one in found:
                last = (await us.history(one.id))[-1].outcome
                unsure.append(isinstance(last, Interrupted) and last.stage is Stage.DOT)
            late = [one for one in found if one.state is QUEUED]
            if late:
                us.clock.advance(max(one.due_at for one in late) - us.clock.now())
            await us.until(submitted, timeout=30)

    with (
        network() as net,
        smtp_sink(keep=kept, host=net.far.address, wrapper=net.far.wrapper) as sink,
    ):
        there(net, send(net, sink.port))
        # What may have been taken before its answer was lost comes once more (D11); nothing else does.
        everybody = {b"<a@b.test>", b"<b@b.test>", b"<c@b.test>"}
        until(lambda: set(rcpt(sink)) >= everybody, "the sink has written down all that it took")
        taken = rcpt(sink)
        assert set(taken) == everybody
        assert len(taken) <= 3 + sum(unsure)


def test_fault_n09_when_nothing_comes_through_any_more_the_system_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = (("TCP_USER_TIMEOUT", 3_000), ("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 2))
    monkeypatch.setattr(connection, "_TCP_OPTIONS", options)

    async def send(net: Network, port: int) -> None:
        async with relay(tmp_path, **settings(net, port)) as us:  # five minutes for an answer
            submitted = await us.submit()
            us.start()
            await asyncio.sleep(1.5)  # it waits for the answer to MAIL
            net.black_hole()
            began = time.monotonic()
            (one,) = await us.until(submitted, QUEUED, attempts=1, timeout=40)
            assert time.monotonic() - began < 30
            (attempt,) = await us.history(one.id)
            assert isinstance(attempt.outcome, Interrupted)
            assert "no answer within" not in attempt.outcome.detail

    with (
        network() as net,
        smtp_sink("-W", "MAIL:60", host=net.far.address, wrapper=net.far.wrapper) as sink,
    ):
        there(net, send(net, sink.port))


def test_fault_n08_a_host_that_is_a_black_hole_costs_less_than_thirty_seconds(tmp_path: Path):
    async def send(net: Network, port: int) -> None:
        zone = Zone(
            {
                ("MX", "b.test"): ["a-dead.test", "b-good.test"],
                ("A", "a-dead.test"): ["10.203.0.77", "10.203.0.78"],
                ("A", "b-good.test"): net.far.address,
            }
        )
        async with relay(tmp_path, **settings(net, port, answers=zone, connect_timeout=30.0)) as us:
            submitted = await us.submit()
            us.start()
            began = time.monotonic()
            await us.until(submitted, timeout=40)
            assert time.monotonic() - began < 30

    with (
        network() as net,
        smtp_sink(host=net.far.address, wrapper=net.far.wrapper) as sink,
    ):
        there(net, send(net, sink.port))
