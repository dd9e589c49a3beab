"""Power cut right after each 250 (D01): the disk's image is copied at that instant, and holds every mail acknowledged until then.

It shows whether something was left in the page cache; it does not show torn sectors. Under eatmydata, which makes every sync a
lie, the same test has to fail, or it would prove nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.clients import Client
from tests.crash.disk import copied, make_image, mounted
from tests.crash.relay import relay
from tests.support.ledger_oracle import Ledger, Said, kept_messages
from tests.support.peers import need
from tests.support.sink import world

MAILS = 50
_IMAGE_MB = 96
_SETTINGS = {"store": {"small_body": 8_000}, "inbound": {"max_size": 100_000}}


async def _lost(folder: Path, mails: int, wrapper: tuple[str, ...] = ()) -> list[str]:
    """Mails that were acknowledged and are not whole in the image of that instant."""
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
            for number in range(mails):
                size = 30_000 if number % 3 == 2 else 2_000  # a blob now and then
                send = client.submission(submissions, size=size) if number % 2 else client.edge(edge, size=size)
                assert await send is Said.ACK, ledger.mails[-1]
                cut = copied(image, folder / "cut")
                with mounted(cut, folder / "c") as found:
                    kept = await kept_messages(found / "data")
                lost += [mail.id for mail in ledger.mails if mail.said is Said.ACK and mail.id not in kept]
        one.kill()
    return lost


@pytest.mark.timeout(300)
async def test_fault_d01_power_cut_after_each_250(tmp_path: Path) -> None:
    assert await _lost(tmp_path, MAILS) == []


async def test_fault_d01_without_syncs_the_same_test_sees_the_loss(tmp_path: Path) -> None:
    assert await _lost(tmp_path, 5, wrapper=(str(need("eatmydata")),))
