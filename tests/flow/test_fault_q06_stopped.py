"""Mail that somebody stops while it is being sent: not taken by the other side unless its final dot was out (Q06, R3)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mailrelay.config.schema import BrakeLevels
from mailrelay.ids import IdFactory
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.operation import Control, Operation, Selection
from mailrelay.outbound.operate import Operator
from mailrelay.store import ledger, operations
from tests.flow.test_fault_n_wire import by_mx
from tests.support.fault_proxy import fault_proxy
from tests.support.outbound import Relay, relay, until
from tests.support.remote import remote


async def ask(us: Relay, what: Control) -> Operation:
    return await us.store.write(
        operations.begin,
        IdFactory(us.clock.now).operation(),
        us.org.id,
        what,
        Selection(),
        reason="wrong price",
        again=False,
        by="anna",
        at=us.clock.now(),
    )


@pytest.mark.parametrize("job", ["", "spring"])
@pytest.mark.parametrize(
    ("what", "state"),
    [
        (Control.CANCEL, DeliveryState.CANCELLED),
        (Control.HOLD, DeliveryState.HELD),
        (Control.BOUNCE, DeliveryState.BOUNCED),
    ],
)
async def test_fault_q06_what_is_stopped_before_its_final_dot_is_not_sent(
    tmp_path: Path, what: Control, state: DeliveryState, job: str
) -> None:
    async with remote() as sink, fault_proxy(sink.port) as proxy:
        proxy.to_client.delay = 0.7  # the answer to DATA is on its way
        async with relay(tmp_path, **by_mx(sink, proxy.port)) as us:
            operator = Operator(us.store, us.clock, us.stops, brakes=BrakeLevels(), stopping=us.stopping)
            submitted = await us.submit(job=job)
            us.start()
            await until(lambda: "DATA" in sink.verbs())
            one = await ask(us, what)
            await operator.look()
            assert (await us.store.read(operations.get, us.org.id, one.id)).under_way == submitted.deliveries
            async with asyncio.timeout(30):
                while (await us.store.read(operations.get, us.org.id, one.id)).ended_at is None:
                    await asyncio.sleep(0.02)
                    await operator.look()
            (found,) = [await us.delivery(each) for each in submitted.deliveries]
            assert (found.state, found.faults) == (state, 0)
            assert all(each.unaccounted == 0 for each in await us.store.read(ledger.balance))
    assert sink.messages == []


async def test_fault_q06_what_was_taken_meanwhile_is_sent(tmp_path: Path) -> None:
    async with remote() as sink, fault_proxy(sink.port) as proxy:
        proxy.to_client.delay = 0.3
        async with relay(tmp_path, **by_mx(sink, proxy.port)) as us:
            operator = Operator(us.store, us.clock, us.stops, brakes=BrakeLevels(), stopping=us.stopping)
            submitted = await us.submit()
            us.start()
            await until(lambda: bool(sink.messages))  # its answer is on its way
            one = await ask(us, Control.CANCEL)
            await operator.look()
            await us.until(submitted)
            await operator.look()
            ended = await us.store.read(operations.get, us.org.id, one.id)
            assert (ended.changed, ended.left, ended.ended_at) == (0, {"sent": 1}, us.clock.now())
    assert len(sink.messages) == 1
