"""P01, P02, P05, P08 as filing meets them: a hostile mail is kept, told of, and costs little."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mailrelay.model.envelope import ArrivalState
from tests.support.filing import mail, office


async def test_fault_p01_eight_thousand_recipients_cost_little_and_create_nobody(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "p7@many.test")
        crowd = ", ".join(f"P {number} <p{number}@many.test>" for number in range(8000))
        raw = mail(to=crowd)
        began = time.process_time()
        arrival = await desk.post(raw)
        assert time.process_time() - began < 1.0  # 0.1 s on an idle machine
        assert arrival.state is ArrivalState.FILED
        assert await desk.links(arrival) == {"contact/1"}
        assert await desk.all_records("lead") == ()
        assert await desk.bodies.read(arrival.raw) == raw


@pytest.mark.parametrize(
    "raw",
    [
        mail(headers=("X-Long: " + "a\r\n " * 30_000,)),
        mail(subject="=?utf-8?q?a?= " * 4_000),
        mail(content_type="multipart/mixed" + "; a=b" * 16_000),
        mail(
            body="\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), content_type="text/plain; charset=utf-7"
        ),
        mail(from_='"anna@example.com" <anna@example.com>', to="undisclosed-recipients:;, bob@customer.test"),
        mail(to="bob@customer.test", subject="a\x00b"),
    ],
    ids=["folded", "words", "parameters", "charset", "group", "NUL"],
)
async def test_fault_p01_p05_p08_odd_mails_are_filed_or_held_and_kept(tmp_path: Path, raw: bytes) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        arrival = await desk.post(raw)
        assert arrival.state in (ArrivalState.FILED, ArrivalState.UNRESOLVED)
        assert {entry.reason for entry in await desk.waiting()} <= {"unparsed", "unpermitted_sender", "no_match"}
        assert arrival.message is not None
        assert await desk.bodies.read(arrival.raw) == raw
