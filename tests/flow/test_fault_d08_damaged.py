"""D08: a blob that is torn, bit-flipped or cut is found by its checksum and stops nothing but its own mail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import ArrivalState
from tests.support.filing import mail, office
from tests.support.outbound import relay

_LONG = "a line of text\r\n" * 10_000


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def harm(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    """Change every blob there is."""
    blobs = [path for path in (folder / "blobs").rglob("*") if path.is_file()]
    assert blobs
    for path in blobs:
        path.write_bytes(damage(path.read_bytes()))


@pytest.mark.parametrize(
    "damage", [flipped, lambda data: data[:-100], lambda data: bytes(len(data))], ids=["flipped", "cut", "zeroed"]
)
async def test_fault_d08_a_damaged_arrival_waits_for_a_person_and_the_others_are_filed(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    async with office(tmp_path) as desk:
        bad = await desk.accept(mail(body=_LONG))
        harm(tmp_path, damage)
        good = await desk.accept(mail())
        await desk.worker.drain()
        assert (await desk.arrival(bad)).state is ArrivalState.UNRESOLVED
        (entry,) = [one for one in await desk.waiting() if one.arrival == bad]
        assert "does not have the content" in entry.explanation
        assert (await desk.arrival(good)).state is not ArrivalState.WORKING
        assert await desk.is_balanced()


async def test_fault_d08_a_damaged_delivery_is_put_off_and_the_others_leave(tmp_path: Path) -> None:
    async with relay(tmp_path) as us:
        bad = await us.submit(raw=us.mail(body=_LONG.encode()))
        harm(tmp_path, flipped)
        good = await us.submit("eve@b.test")
        us.start()
        await us.until(good)
        (held,) = await us.until(bad, DeliveryState.QUEUED, attempts=1)
        assert held.last_reply
