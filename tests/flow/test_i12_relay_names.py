"""I12: what a smart host calls a mail in its 250 is noted, since some put it in the place of the Message-ID."""

from __future__ import annotations

from pathlib import Path

from mailrelay.store import deliveries
from tests.support.answers import Zone
from tests.support.outbound import relay
from tests.support.remote import remote

NAME = "0102018f3a9b2c4d-1a2b3c4d-5e6f-7081-92a3-b4c5d6e7f809-000000"
ZONE = Zone({("A", "localhost"): "127.0.0.1"})


async def test_i12_what_the_smart_host_calls_a_mail_finds_its_delivery(tmp_path: Path) -> None:
    async with remote() as sink:
        host = {"host": "localhost", "port": sink.port, "tls": "never"}
        async with relay(tmp_path, route="smart_host", smart_host=host, answers=ZONE) as us:
            sink.say("DOT", f"250 Ok {NAME}", "250 2.0.0 taken, thank you very much indeed")
            us.start()
            named = await us.until(await us.submit("bob@b.test"))
            await us.until(await us.submit("eve@b.test"))
            assert list(await us.store.read(deliveries.by_relay_ids, us.org.id, [NAME, "indeed"])) == named
