"""Q03: whatever a mail does to the code that prepares it, it does it to a process that may die of it, and says what it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mailrelay.mail.dkim import KeyAlgorithm, SigningKey
from mailrelay.model.delivery import Refused
from mailrelay.model.envelope import Channel
from mailrelay.outbound import isolate
from mailrelay.outbound.isolate import Bounds
from mailrelay.outbound.prepare import Leave, Prepared, Trace, prepare
from tests.support import poison

RAW = "From: Anna <anna@acme.test>\r\nTo: bob@b.test\r\nSubject: hello\r\n\r\ngrüße\r\n".encode()
NOW = datetime(2026, 3, 1, tzinfo=UTC)
CALL: dict[str, Any] = {
    "leave": Leave(on_behalf_at="us.test", keys=()),
    "trace": Trace(hostname="us.test", queue_id="Q1", channel=Channel.API, at=NOW),
    "eight_bit": True,
    "smtputf8": True,
    "now": NOW,
}


async def test_the_same_comes_out_as_without_a_process():
    assert await isolate.run(partial(prepare, RAW, **CALL)) == prepare(RAW, **CALL)


async def test_a_large_mail_passes():
    raw = RAW + b"x" * 60 + b"\r\n" + (b"y" * 70 + b"\r\n") * 200_000
    made = await isolate.run(partial(prepare, raw, **CALL))
    assert isinstance(made, Prepared)
    assert len(made.content) > 14_000_000


async def test_a_refusal_comes_back_as_one():
    raw = "From: Anna <anna@acme.test>\r\nTo: <böb@b.test>\r\nSubject: x\r\n\r\nx\r\n".encode()
    hop = {"eight_bit": False, "smtputf8": False}
    made = await isolate.run(partial(prepare, raw, **CALL | hop))
    assert isinstance(made, Refused)
    assert made == prepare(raw, **CALL | hop)


@pytest.mark.parametrize(
    ("target", "bounds", "said"),
    [
        (poison.raises, Bounds(), "ValueError: the mail is a poem"),
        (poison.loops, Bounds(seconds=1.2), "Preparing the mail took more than 1.2 s."),
        (poison.sleeps, Bounds(seconds=1.0), "Preparing the mail took more than 1 s."),
        (poison.eats, Bounds(memory=200_000_000), "Preparing the mail needed more than 200 MB."),
        (poison.dies, Bounds(), "The process that prepared the mail was killed by signal 11 (SIGSEGV)."),
        (poison.leaves, Bounds(), "The process that prepared the mail ended with status 3 and no answer."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_fault_q03_what_a_mail_does_to_the_process_is_said(
    target: Callable[..., Prepared], bounds: Bounds, said: str
):
    with pytest.raises(isolate.Failed) as failed:
        await isolate.run(partial(target, RAW, **CALL), bounds=bounds)
    assert str(failed.value) == said
    if target is poison.raises:
        assert "Traceback" in failed.value.trace
        assert "tests/support/poison.py" in failed.value.trace


async def test_what_is_printed_is_no_part_of_the_answer():
    assert await isolate.run(partial(poison.prints, RAW, **CALL)) == prepare(RAW, **CALL)


async def test_the_process_knows_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MAILRELAY_PASSWORD", "open sesame")
    made = await isolate.run(partial(poison.tells, RAW, **CALL))
    assert isinstance(made, Prepared)
    assert b"sesame" not in made.content


async def test_a_key_that_is_none_is_said():
    key = SigningKey(domain="us.test", selector="s", algorithm=KeyAlgorithm.RSA, private_pem=b"no key")
    with pytest.raises(isolate.Failed) as failed:
        await isolate.run(partial(prepare, RAW, **CALL | {"leave": Leave(on_behalf_at="", keys=(key,))}))
    assert "CannotSign" in str(failed.value)


async def test_who_is_cancelled_leaves_no_process():
    before = _children()
    task = asyncio.create_task(isolate.run(partial(poison.sleeps, RAW, **CALL)))
    while _children() <= before:  # noqa: ASYNC110 (the kernel has no event)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _children() == before


def _children() -> set[str]:
    return set(Path("/proc/self/task").joinpath(_main(), "children").read_text(encoding="ascii").split())


def _main() -> str:
    return Path("/proc/self").resolve().name
