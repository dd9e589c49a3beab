"""No mail costs over 100 ms of one core, whatever its bytes (P14): what is repeated, nested, and put where readers look."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import returned
from mailrelay.mail import away, bounce, message, reply_text
from tests.support.cost import cpu

LIMIT = 0.2
"""Twice what a mail may cost: on a core whose neighbours are busy, the same work takes up to twice as long."""
SMALL, LARGE = 12_000, 100_000
"""What is quadratic is dear at twelve thousand bytes already; a hundred thousand is as large as mail without a file gets."""
REPORTS = tuple(returned.mails(26))

WORDS = (
    *(
        b" ",
        b"\t",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\r\n ",
        b"\0",
        b"\xff",
        b"-",
        b"--",
        b"> ",
        b">",
        b"|",
        b"*",
        b"=",
        b"_",
    ),
    *(
        b"a",
        b"a@",
        b"@",
        b"a@b.example",
        b"<a@b.example>",
        b"<a@b.example>:\r\n",
        b"a@b.example, ",
        b'"',
        b"<",
        b">(",
        b"((",
        b";",
    ),
    *(
        b"a:",
        b": ",
        b"1",
        b"5.1.1",
        b"550 ",
        b"550-",
        b"5.",
        b"host x said: ",
        b"said: 550 ",
        b"not ",
        b"user unknown ",
    ),
    *(
        b"--b\r\n",
        b"\r\n--b\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
    ),
    *(
        b"Final-Recipient: rfc822; a@b.example\r\n",
        b"Action: failed\r\n\r\n",
        b"Status: 5.1.1\r\n",
        b"Diagnostic-Code: smtp; 550 \r\n ",
    ),
    *(
        b"Original-Rcpt-To: <a@b.example>\r\n",
        b"Feedback-Type: abuse\r\n",
        b"X-Failed-Recipients: a@b.example\r\n",
        b"Subject: x\r\n",
    ),
    *(
        b"<div>",
        b"<br>",
        b"<blockquote>",
        b"<!--",
        b"<a href='",
        b"&",
        b"&amp;",
        b"&#",
        b"</",
        b"<td>x",
        b"<script>",
        b"<style>",
    ),
    *(
        b"=?utf-8?q?a?= ",
        b"=?",
        b"?=",
        b"=E4",
        b"=\r\n",
        b"QUJD",
        b"On x wrote:\r\n",
        b"From: a\r\n",
        b"wrote:\r\n> a\r\n",
        b"-- \r\n",
    ),
    *(
        b"10 December 2026. ",
        b"10.12.2026 ",
        b"until ",
        b"bis 10. ",
        b"until until 1 ",
        b"\xe5\xb9\xb4",
        b"2026\xe5\xb9\xb41\xe6\x9c\x88",
        b"1-",
        b"+1 ",
    ),
    *(b"return to office on ", b"please write to a@b.example. ", b"a. ", b". A", b"! ", b"Tel. 1 ", b"0 (", b"10:30 "),
)
"""What the readers' patterns begin and go on with."""

REPORT = b"Return-Path: <>\r\nFrom: MAILER-DAEMON@b.example\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n"
FIELDS = b"Content-Type: multipart/report; report-type=%b; boundary=z\r\n\r\n--z\r\nContent-Type: %b\r\n\r\n"
PLACES: dict[str, Callable[[bytes], bytes]] = {
    "everything": lambda filling: filling,
    "a field": lambda filling: REPORT + b"X: " + filling + b"\r\n\r\nbody\r\n",
    "from": lambda filling: b"From: " + filling + b"\r\nSubject: Undeliverable\r\n\r\nbody\r\n",
    "type": lambda filling: REPORT + b"Content-Type: " + filling + b"\r\n\r\nbody\r\n",
    "text": lambda filling: REPORT + b"\r\n" + filling,
    "text after a notice": lambda filling: REPORT + b"\r\nYour mail could not be delivered to:\r\n\r\n" + filling,
    "Exim's text": lambda filling: (
        REPORT
        + b"\r\nA message that you sent could not be delivered to one or more of its\r\nrecipients.\r\n\r\n  "
        + filling
    ),
    "qmail's text": lambda filling: REPORT + b"\r\nHi. This is the qmail-send program at b.example.\r\n\r\n<" + filling,
    "Postfix's text": lambda filling: REPORT + b"\r\nThis is the mail system at host b.example.\r\n\r\n<" + filling,
    "html": lambda filling: REPORT + b"Content-Type: text/html\r\n\r\n" + filling,
    "status": lambda filling: REPORT + FIELDS % (b"delivery-status", b"message/delivery-status") + filling,
    "one diagnostic": lambda filling: (
        REPORT
        + FIELDS % (b"delivery-status", b"message/delivery-status")
        + b"Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; "
        + filling
    ),
    "complaint": lambda filling: REPORT + FIELDS % (b"feedback-report", b"message/feedback-report") + filling,
    "returned": lambda filling: REPORT + FIELDS % (b"delivery-status", b"message/rfc822") + filling,
    "a person's": lambda filling: (
        b"From: a@b.example\r\nSubject: Re: x\r\nIn-Reply-To: <x@y.example>\r\n\r\n" + filling
    ),
    "absent": lambda filling: b"From: a@b.example\r\nSubject: Away\r\nAuto-Submitted: auto-replied\r\n\r\n" + filling,
    "absent since": lambda filling: (
        b"From: a@b.example\r\nSubject: Automatic reply: "
        + filling[:900].replace(b"\r", b"").replace(b"\n", b"")
        + b"\r\nAuto-Submitted: auto-replied\r\n\r\nI am out of the office until "
        + filling
    ),
}
"""Where a hostile filling may stand."""


READERS: dict[str, Callable[[bytes], object]] = {
    "classify": lambda raw: bounce.classify(message.parse(raw), envelope_from_null=True),
    "reply": lambda raw: reply_text.reply(message.parse(raw)),
    "away": lambda raw: away.read(message.parse(raw), received=date(2026, 11, 21)),
}


def dear(raw: bytes) -> list[str]:
    """The readers that take too long for this mail, with their times; measured well only where a first look says so."""
    slow = []
    for name, read in READERS.items():
        began = time.thread_time()
        read(raw)
        if time.thread_time() - began >= LIMIT and (best := cpu(partial(read, raw))[1]) >= LIMIT:
            slow.append(f"{name}: {best * 1000:.0f} ms for {len(raw)} bytes")
    return slow


@pytest.mark.parametrize("place", PLACES)
def test_no_word_repeated_anywhere_costs_much(place: str) -> None:
    slow = {word: dear(PLACES[place](word * (SMALL // len(word)))) for word in WORDS}
    assert {word: found for word, found in slow.items() if found} == {}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.sampled_from(sorted(PLACES)),
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_no_words_repeated_together_cost_much(place: str, parts: list[list[bytes]]) -> None:
    words = [b"".join(part) for part in parts]
    assert dear(PLACES[place](b"".join(word * (LARGE // len(words) // len(word)) for word in words))) == []


@settings(max_examples=60)
@given(st.sampled_from(REPORTS), st.floats(0, 1), st.sampled_from(WORDS), st.integers(1, 2_000))
def test_no_report_with_something_put_into_it_costs_much(report: bytes, where: float, word: bytes, times: int) -> None:
    at = int(where * len(report))
    assert dear(report[:at] + word * times + report[at:]) == []
