"""N01 to N03 against Postfix's smtp-sink, which fails at the command that it is told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailrelay.model.delivery import DeliveryState, Interrupted, Stage
from mailrelay.store import ledger
from tests.support.answers import Zone
from tests.support.outbound import relay
from tests.support.smtp_sink import SmtpSink, smtp_sink

ZONE = Zone({("MX", "b.test"): ["localhost"], ("A", "localhost"): "127.0.0.1"})
QUEUED, SENT, BOUNCED = DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.BOUNCED


def by_mx(sink: SmtpSink, **more: Any) -> dict[str, Any]:
    return {
        "route": "mx",
        "port": sink.port,
        "answers": ZONE,
        "connect_timeout": 1.0,
        "command_timeout": 1.0,
        "data_timeout": 2.0,
        "idle": 0.01,
        **more,
    }


@pytest.mark.parametrize(
    ("flag", "command", "state"),
    [
        *(("-f", command, BOUNCED) for command in ("MAIL", "RCPT", "DATA", ".")),
        *(("-f", command, QUEUED) for command in ("CONNECT",)),
        ("-f", "EHLO", SENT),  # HELO works
        ("-f", "QUIT", SENT),
        *(("-r", command, QUEUED) for command in ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", ".")),
        ("-r", "QUIT", SENT),
        *(("-q", command, QUEUED) for command in ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", ".")),
        ("-q", "QUIT", SENT),
        *(("-Q", command, QUEUED) for command in ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", ".")),
        ("-Q", "QUIT", SENT),
    ],
)
async def test_fault_n01_a_sink_that_fails_at_a_command(tmp_path: Path, flag: str, command: str, state: DeliveryState):
    with smtp_sink(flag, command) as sink:
        async with relay(tmp_path, **by_mx(sink)) as us:
            submitted = await us.submit("a@b.test", "b@b.test", mail_from=None)
            us.start()
            await us.until(submitted, state, attempts=1)
            await us.stop()
            assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))


async def test_fault_n02_a_sink_that_answers_the_dot_too_late(tmp_path: Path):
    with smtp_sink("-W", ".:30") as sink:
        async with relay(tmp_path, **by_mx(sink)) as us:
            submitted = await us.submit()
            us.start()
            (one,) = await us.until(submitted, QUEUED, attempts=1)
            (attempt,) = await us.history(one.id)
            assert isinstance(attempt.outcome, Interrupted)
            assert (attempt.outcome.stage, attempt.outcome.detail) == (Stage.DOT, "no answer within 2 s")


async def test_fault_n02_mass_mail_without_an_answer_to_the_dot_waits_for_a_person(tmp_path: Path):
    with smtp_sink("-W", ".:30") as sink:
        async with relay(tmp_path, **by_mx(sink)) as us:
            submitted = await us.submit(job="spring")
            us.start()
            (one,) = await us.until(submitted, DeliveryState.HELD)
            assert one.held_by == "unconfirmed"


@pytest.mark.parametrize(
    ("flags", "states"),
    [
        (("-A", "0"), {QUEUED, BOUNCED}),  # it aborts as soon as the content begins
        (("-A", "100"), {QUEUED, BOUNCED}),
        (("-H", "2"), {SENT}),  # it begins to read late
        (("-T", "100"), {SENT}),  # a tiny window
        (("-T", "1024"), {SENT}),
    ],
)
async def test_fault_n03_a_sink_that_reads_badly(tmp_path: Path, flags: tuple[str, ...], states: set[DeliveryState]):
    with smtp_sink(*flags) as sink:
        async with relay(tmp_path, **by_mx(sink, command_timeout=10.0, data_timeout=10.0)) as us:
            submitted = await us.submit(raw=us.mail(body=b"a line of a mail\r\n" * 3_000))
            us.start()
            await us.until(submitted, *states, attempts=1, timeout=40)
