"""O11: load is spread: what is put off together comes back at different times, and hosts of equal preference share the mail."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord
from tests.support.answers import Zone
from tests.support.outbound import relay
from tests.support.remote import remote

EQUAL = (MxRecord(10, "one.b.test"), MxRecord(10, "two.b.test"))
ZONE = Zone(
    {
        ("MX", "b.test"): Answer(LookupStatus.FOUND, mx=EQUAL),
        ("A", "one.b.test"): "127.0.0.1",
        ("A", "two.b.test"): "127.0.0.2",
    }
)


async def test_what_is_put_off_together_comes_back_within_a_tenth_of_its_pause_but_not_together(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, route="mx", port=sink.port, answers=ZONE, first_retry=600) as us:
        sink.say("RCPT", *["450 4.2.0 not now"] * 20)
        submitted = await us.submit(*(f"r{number}@b.test" for number in range(20)))
        us.start()
        found = await us.until(submitted, DeliveryState.QUEUED, attempts=1)
        pauses = [one.due_at - us.clock.now() for one in found]
    assert len(set(pauses)) == 20
    assert timedelta(seconds=540) <= min(pauses)
    assert max(pauses) <= timedelta(seconds=660)
    assert max(pauses) - min(pauses) > timedelta(seconds=20)  # of 120


async def test_mx_hosts_of_equal_preference_are_both_used(tmp_path: Path):
    async with (
        remote() as one,
        remote(host="127.0.0.2", port=one.port) as two,
        relay(tmp_path, route="mx", port=one.port, answers=ZONE) as us,
    ):
        us.start()
        for number in range(30):
            await us.until(await us.submit(f"r{number}@b.test"))
    assert len(one.messages) + len(two.messages) == 30
    assert one.messages
    assert two.messages
