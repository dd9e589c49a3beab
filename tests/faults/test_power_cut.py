"""Power cuts: the disk's image is copied at the instant, mounted (which plays its journal back), and read (D01, D02).

It shows whether something was left in the page cache; it does not show torn sectors. Under eatmydata, which makes every sync a
lie, the same test has to fail, or it would prove nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import time
from pathlib import Path

import pytest

from mailrelay.model.envelope import Channel
from tests.crash import runner
from tests.crash.clients import Client
from tests.crash.disk import cut, make_image, mounted
from tests.crash.relay import Relay, relay
from tests.support.ledger_oracle import Ledger, Said, kept_messages
from tests.support.peers import need
from tests.support.postfix import free_port
from tests.support.sink import World, world

# With MAILRELAY_TEST_EVERY_WRITE=1 fifty copies and all hundred moments, which take minutes.
_LONG = "MAILRELAY_TEST_EVERY_WRITE" in os.environ
MAILS, COPIES = (500, 50) if _LONG else (250, 25)
MOMENTS, STARTS = (100, 10) if _LONG else (12, 3)
RECOVERY_SECONDS = 10.0
_IMAGE_MB = 96
_SETTINGS = {"store": {"small_body": 8_000}, "inbound": {"max_size": 100_000}}


async def _lost(folder: Path, mails: int, copies: int, wrapper: tuple[str, ...] = ()) -> list[str]:
    """Mails that were acknowledged and are not whole in the image of that instant, looked at after every (mails / copies)-th 250."""
    ledger, lost = Ledger(), []
    image = folder / "disk"
    make_image(image, _IMAGE_MB)
    with (
        world() as around,
        mounted(image, folder / "m") as disk,
        relay(folder, around, _SETTINGS, data=disk / "data") as one,
    ):
        one.start(wrapper)
        client = Client(one, ledger)
        around.sink.delay = 3600  # only what was acknowledged matters here
        async with client.session("edge") as edge, client.session("submissions") as submissions:
            for number in range(1, mails + 1):
                size = 30_000 if number % 3 == 2 else 2_000  # a blob now and then
                send = client.submission(submissions, size=size) if number % 2 else client.edge(edge, size=size)
                assert await send is Said.ACK, ledger.mails[-1]
                if number % (mails // copies):
                    continue
                copy = cut(image, folder / "cut", one.freeze, one.thaw)
                with mounted(copy, folder / "c") as found:
                    kept = await kept_messages(found / "data")
                lost += [mail.id for mail in ledger.mails if mail.said is Said.ACK and kept[mail.id] != 1]
        one.kill()
    return lost


@pytest.mark.timeout(300)
async def test_fault_d01_power_cut_after_each_250(tmp_path: Path) -> None:
    assert await _lost(tmp_path, MAILS, COPIES) == []


async def test_fault_d01_without_syncs_the_same_test_sees_the_loss(tmp_path: Path) -> None:
    assert await _lost(tmp_path, 5, 5, wrapper=(str(need("eatmydata")),))


@pytest.mark.timeout(300)
async def test_fault_d02_power_cut_at_random_moments_under_load(tmp_path: Path) -> None:
    """Each copy holds all that was acknowledged; some are also started, is ready in time, and has no half mail."""
    ledger, problems = Ledger(), list[str]()
    image = tmp_path / "disk"
    make_image(image, _IMAGE_MB)
    moments = random.Random()
    with (
        world() as around,
        mounted(image, tmp_path / "m") as disk,
        relay(tmp_path / "1", around, _SETTINGS, data=disk / "data") as one,
    ):
        one.start()
        around.sink.delay = 0.2
        client = Client(one, ledger)
        over = asyncio.Event()
        sending = asyncio.create_task(client.load(over.is_set, edge=3, submission=2, api=1))
        try:
            for moment in range(MOMENTS):
                await asyncio.sleep(moments.uniform(0.01, 0.15))
                acknowledged = {mail.id for mail in ledger.mails if mail.said is Said.ACK}
                # Blocking on purpose: no answer is noted between the freeze and the copy.
                cut(image, tmp_path / "cut", one.freeze, one.thaw)
                with mounted(tmp_path / "cut", tmp_path / "c") as found:
                    if moment % (MOMENTS // STARTS) == 0:
                        problems += await _start_on(tmp_path / f"on-{moment}", around, one, found / "data")
                    kept = await kept_messages(found / "data")
                problems += [
                    f"moment {moment}: {id_} is kept {kept[id_]} times" for id_ in acknowledged if kept[id_] != 1
                ]
        finally:
            over.set()
            await sending
        one.kill()
    assert not problems, problems[:20]
    for channel in (Channel.DROPBOX, Channel.SUBMISSION, Channel.API):
        assert ledger.count(Said.ACK, channel), channel


async def _start_on(folder: Path, around: World, cut_off: Relay, data: Path) -> list[str]:
    """Start a daemon on what a power cut left, where nothing can be sent to; what is wrong with it."""
    nowhere = dataclasses.replace(around, sink=dataclasses.replace(around.sink, port=free_port()))
    folder.mkdir()  # noqa: ASYNC240
    runner.write(folder / "house.json", cut_off.house)
    with relay(folder, nowhere, _SETTINGS, data=data) as one:
        began = time.monotonic()
        await asyncio.to_thread(one.start)
        took = time.monotonic() - began
        audit = await asyncio.to_thread(one.local, "/api/v1/audit")
        one.kill()
    found = [f"{folder.name}: {each}" for each in audit["discrepancies"]]
    return found + ([f"{folder.name}: ready after {took:.1f} s"] if took > RECOVERY_SECONDS else [])
