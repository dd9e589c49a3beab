"""What a report must never make us believe, and what it must never cost (B02, B09, B10)."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from mailrelay.mail import bounce, message
from mailrelay.mail.bounce.returned import traces
from mailrelay.model.feedback import Action, Category
from mailrelay.model.message import Kind

HEAD = (
    "From: MAILER-DAEMON@mx.example\nTo: us@crm.example\nReturn-Path: <>\nSubject: Undelivered Mail\n"
    "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
)
NOTICE = "--b\n\nYour mail: 550 5.1.1 user unknown, permanent error.\n\n"
STATUS = "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
ANN = "Final-Recipient: rfc822; ann@shop.example\n"


def classify(fields: str, notice: str = NOTICE, after: str = ""):
    report = bounce.classify(message.parse(f"{HEAD}{notice}{STATUS}{fields}\n{after}--b--\n".encode()))
    assert report is not None
    return report


@pytest.mark.parametrize(
    ("fields", "kind", "action", "hard"),
    [
        ("Action: delayed\nStatus: 4.4.1\nDiagnostic-Code: smtp; 550 5.1.1 user unknown\n", Kind.DELAY, Action.DELAYED, False),
        ("Action: delayed\nStatus: 5.1.1\n", Kind.DELAY, Action.DELAYED, False),
        ("Action: relayed\nStatus: 2.0.0\n", Kind.DELIVERED, Action.RELAYED, False),
        ("Action: relayed\nStatus: 5.1.1\n", Kind.DELIVERED, Action.RELAYED, False),
        ("Action: expanded\nStatus: 2.0.0\n", Kind.DELIVERED, Action.EXPANDED, False),
        ("Action: delivered (to mailbox)\nStatus: 2.1.5\n", Kind.DELIVERED, Action.DELIVERED, False),
        ("Action: failed\nStatus: 4.4.7\nDiagnostic-Code: smtp; 451 try again\n", Kind.BOUNCE, Action.FAILED, False),
        ("Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 user unknown\n", Kind.BOUNCE, Action.FAILED, True),
        ("Status: 5.1.1\n", Kind.BOUNCE, Action.FAILED, True),
    ],
)  # fmt: skip
def test_fault_b02_the_fields_say_what_became_of_it_whatever_the_text_says(fields, kind, action, hard):
    report = classify(ANN + fields)
    assert report.kind is kind
    (one,) = report.recipients
    assert (one.recipient, one.action, one.hard) == ("ann@shop.example", action, hard)
    if action in (Action.RELAYED, Action.EXPANDED, Action.DELIVERED):
        assert one.category is Category.DELIVERED


def test_fault_b02_each_of_several_recipients_has_his_own():
    fields = (
        "Final-Recipient: rfc822; gone@shop.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 no such user\n\n"
        "Final-Recipient: rfc822; full@shop.example\nAction: failed\nStatus: 5.2.2\nDiagnostic-Code: smtp; 552 mailbox full\n\n"
        "Final-Recipient: rfc822; late@shop.example\nAction: delayed\nStatus: 4.4.1\n\n"
        "Final-Recipient: rfc822; good@shop.example\nAction: delivered\nStatus: 2.0.0\n"
    )
    report = classify(fields)
    assert report.kind is Kind.BOUNCE
    assert [(one.recipient[:4], one.category, one.hard) for one in report.recipients] == [
        ("gone", Category.USER_UNKNOWN, True),
        ("full", Category.MAILBOX_FULL, False),
        ("late", Category.TIMEOUT, False),
        ("good", Category.DELIVERED, False),
    ]


RETURNED = "--b\nContent-Type: message/rfc822\n\nFrom: us@crm.example\nTo: ann@shop.example\n\n"
MEGABYTES = 50
LINE = "a line of the mail that came back, or of a server that talks much\n"


@pytest.mark.parametrize(
    "raw",
    [
        f"{HEAD}{NOTICE}{STATUS}{ANN}Action: failed\nStatus: 5.1.1\n\n{RETURNED}{LINE * (MEGABYTES * 1_000_000 // len(LINE))}",
        f"{HEAD}{NOTICE}{STATUS}{ANN}Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp;\n {LINE.replace(chr(10), chr(10) + ' ') * 700_000}",
        f"{HEAD}--b\n\n<ann@shop.example>: 550 5.1.1 user unknown\n{LINE * (MEGABYTES * 1_000_000 // len(LINE))}",
    ],
    ids=["the returned mail", "the diagnostic", "the text"],
)
def test_fault_b09_a_report_of_50_mb_costs_no_more_than_its_beginning(raw):
    data = raw.encode()
    began = time.thread_time()
    parsed = message.parse(data)
    report = bounce.classify(parsed)
    traces(parsed)
    # Finding the parts is one scan of the bytes; what is read of them is bounded.
    assert time.thread_time() - began < 1.0
    assert report is not None
    assert [(one.recipient, one.hard) for one in report.recipients] == [("ann@shop.example", True)]
    tracemalloc.start()
    parsed = message.parse(data)
    bounce.classify(parsed)
    traces(parsed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_fault_b09_of_10000_recipients_the_first_hundreds_are_read():
    group = "Final-Recipient: rfc822; user{0}@shop.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 {0} is no user\n\n"
    fields = "".join(group.format(number) for number in range(10_000))
    began = time.thread_time()
    report = classify(fields)
    assert time.thread_time() - began < 0.5
    assert len(report.recipients) == 500
    assert report.recipients[0].recipient == "user0@shop.example"
    assert all(one.hard for one in report.recipients)


@pytest.mark.parametrize(
    "said",
    [
        "550 5.1.1 <carl@other.example>: user unknown",
        "550 no; see mailto:carl@other.example for help",
        "550 5.1.1 gone\r\n Final-Recipient: rfc822; carl@other.example\r\n Action: failed",
        "550 <script>alert(1)</script><a href='mailto:carl@other.example'>carl</a>",
        "550 forwarded to <carl@other.example>: Original-Recipient: rfc822;carl@other.example",
        "550 5.1.1 \x00\x1b[2J\u202ecarl@other.example",
    ],
)
def test_fault_b10_the_remote_host_s_words_change_nothing_but_the_diagnostic(said):
    fields = f"{ANN}Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; {said}\n"
    report = classify(fields, after=RETURNED)
    assert [(one.recipient, one.action) for one in report.recipients] == [("ann@shop.example", Action.FAILED)]
    assert report.recipients[0].diagnostic.startswith("550")
    assert "\n" not in report.recipients[0].diagnostic
    assert "\r" not in report.recipients[0].diagnostic
    assert "\0" not in report.recipients[0].diagnostic


@pytest.mark.parametrize("said", ["<carl@other.example>: user unknown", "ask carl@other.example", "carl@other.example"])
def test_fault_b10_in_plain_words_neither(said):
    head = "From: MAILER-DAEMON@mx.example\nReturn-Path: <>\nSubject: Undelivered Mail\n\n"
    text = f"This is the mail system at host mx.\n\n<ann@shop.example>: host mx said: 550 5.1.1\n    {said}\n    (in reply to RCPT TO)\n"
    report = bounce.classify(message.parse((head + text).encode()))
    assert report is not None
    assert [one.recipient for one in report.recipients] == ["ann@shop.example"]
