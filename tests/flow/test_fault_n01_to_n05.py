"""N01 to N05 and A03, through the whole way out: what a hostile or broken server does, and what the queue says then."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailrelay.model.delivery import DeliveryState, Interrupted, Stage
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord
from mailrelay.store import ledger
from tests.support.answers import Zone
from tests.support.certs import certificate
from tests.support.outbound import Relay, relay, until
from tests.support.remote import CLOSE, SILENCE, Remote, remote

ZONE = Zone(
    {("MX", "b.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(10, "localhost"),)), ("A", "localhost"): "127.0.0.1"}
)
QUEUED, SENT, BOUNCED = DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.BOUNCED
NEVER = "550 5.7.1 never"
LATER = "451 4.3.0 later"


def by_mx(sink: Remote, **more):
    return {"route": "mx", "port": sink.port, "answers": ZONE, "command_timeout": 0.3, "data_timeout": 0.3, **more}


async def books_balance(us: Relay) -> bool:
    return all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))


@pytest.mark.parametrize(
    ("verb", "answer", "state", "taken"),
    [
        ("CONNECT", LATER, QUEUED, 0),
        ("CONNECT", NEVER, QUEUED, 0),
        ("CONNECT", CLOSE, QUEUED, 0),
        ("EHLO", LATER, QUEUED, 0),
        ("EHLO", NEVER, SENT, 1),  # HELO works
        ("EHLO", CLOSE, QUEUED, 0),
        ("MAIL", LATER, QUEUED, 0),
        ("MAIL", NEVER, BOUNCED, 0),
        ("MAIL", CLOSE, QUEUED, 0),
        ("RCPT", LATER, QUEUED, 0),
        ("RCPT", NEVER, BOUNCED, 0),
        ("RCPT", CLOSE, QUEUED, 0),
        ("DATA", LATER, QUEUED, 0),
        ("DATA", NEVER, BOUNCED, 0),
        ("DATA", CLOSE, QUEUED, 0),
        ("DOT", LATER, QUEUED, 0),
        ("DOT", NEVER, BOUNCED, 0),
        ("DOT", CLOSE, QUEUED, 1),
        ("QUIT", LATER, SENT, 1),
        ("QUIT", NEVER, SENT, 1),
        ("QUIT", CLOSE, SENT, 1),
    ],
)
async def test_fault_n01_a_delivery_ends_exactly_as_the_code_says(tmp_path: Path, verb, answer, state, taken: int):
    async with remote() as sink, relay(tmp_path, **by_mx(sink, idle=0.01)) as us:
        # In the middle of a segment of commands it may not be able to read that: it gets them again, one by one (N15).
        sink.say(verb, *[answer] * (2 if answer is CLOSE and verb in ("RCPT", "DATA") else 1))
        submitted = await us.submit()
        us.start()
        (one,) = await us.until(submitted, state, attempts=1)
        await us.stop()
        if answer in (LATER, NEVER) and state is not SENT:
            assert one.last_reply == answer
        assert len(sink.messages) == taken
        assert await books_balance(us)


async def test_fault_n02_no_answer_to_the_dot_ends_as_unconfirmed_and_is_tried_again(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("DOT", SILENCE)
        submitted = await us.submit()
        us.start()
        (one,) = await us.until(submitted, QUEUED, attempts=1)
        (attempt,) = await us.history(one.id)
        assert isinstance(attempt.outcome, Interrupted)
        assert (attempt.outcome.stage, attempt.outcome.detail) == (Stage.DOT, "no answer within 0.3 s")


async def test_fault_n03_a_refusal_in_the_middle_of_the_content_counts(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("DATA", b"354 go\r\n550 5.7.1 not that\r\n")
        submitted = await us.submit(raw=us.mail(body=b"x" * 70 + b"\r\n" + b"line\r\n" * 300_000))
        us.start()
        (one,) = await us.until(submitted, BOUNCED)
        assert one.last_reply == "550 5.7.1 not that"


async def test_fault_n04_one_transaction_three_answers_three_states(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", "250 2.1.5 ok", "450 4.2.1 greylisted", "550 5.1.1 no such user")
        submitted = await us.submit("a@b.test", "b@b.test", "c@b.test", mail_from=None)
        us.start()
        found = await us.until(submitted, SENT, QUEUED, BOUNCED, attempts=1)
        await us.stop()
        assert [(await us.delivery(one.id)).state for one in found] == [SENT, QUEUED, BOUNCED]
        assert await books_balance(us)
    assert [one.rcpt for one in sink.messages] == [["<a@b.test>"]]


@pytest.mark.parametrize(
    "banner", ["421 4.3.2 full", "554 5.7.1 not here", b"2xx what\r\n", b"HTTP/1.1 400 no\r\n\r\n"]
)
async def test_fault_n05_a_bad_banner_sends_us_to_the_next_host(tmp_path: Path, banner):
    zone = Zone(
        {
            ("MX", "b.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(1, "bad.test"), MxRecord(2, "good.test"))),
            ("A", "bad.test"): "127.0.0.2",
            ("A", "good.test"): "127.0.0.1",
        }
    )
    async with remote() as good, remote(host="127.0.0.2", port=good.port) as bad:
        bad.say("CONNECT", banner)
        async with relay(tmp_path, **by_mx(good, answers=zone)) as us:
            submitted = await us.submit()
            us.start()
            await us.until(submitted)
    assert (bad.sessions, len(good.messages)) == (1, 1)


async def test_fault_n05_an_endless_reply_ends_and_a_hostile_one_is_harmless(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        # Twice: what cannot be read may be a host that lost its way, which then gets the commands one by one (N15).
        sink.say("RCPT", *[b"250-more\r\n" * 20_000] * 2, "550 5.1.1 \x1b[2J<b>\u202egone")
        endless = await us.submit()
        us.start()
        (one,) = await us.until(endless, QUEUED, attempts=1)
        assert "longer than 65536" in one.last_reply
        hostile = await us.submit("eve@b.test")
        (one,) = await us.until(hostile, BOUNCED)
        assert one.last_reply == r"550 5.1.1 \x1b[2J<b>\u202egone"


async def test_fault_a03_plaintext_injected_before_tls_puts_off_and_nothing_goes_in_clear(tmp_path: Path):
    async with remote(certificate=certificate().server_context()) as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("STARTTLS", b"220 ok\r\n250 AUTH PLAIN\r\n")
        submitted = await us.submit()
        us.start()
        (one,) = await us.until(submitted, QUEUED, attempts=1)
        assert "injected" in one.last_reply
        await until(lambda: not sink.open)
    assert "MAIL" not in sink.verbs()
    assert sink.sessions == 1
