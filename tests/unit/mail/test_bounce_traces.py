"""`mail/bounce/returned.py: traces`: what ties a mail that came back to one of ours (I10)."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail import message
from mailrelay.mail.bounce.returned import Traces, traces

NOTICE = (
    "From: MAILER-DAEMON@mx.example\nTo: <b+notice@bounce.crm.example>\nSubject: Undelivered\n"
    "Content-Type: multipart/report; boundary=b\n\n--b\n\nSorry.\n\n"
)
FIELDS = (
    "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\nOriginal-Envelope-Id: d1+2Bx\n"
    "X-Original-Message-ID: <gmail@crm.example>\n\nFinal-Recipient: rfc822; ann@shop.example\nAction: failed\n\n"
)
HEADER = (
    "Return-Path: <b+returned@bounce.crm.example>\n"
    "Received: from a by b (envelope-from <b+received@bounce.crm.example>); Mon, 2 Mar 2026 09:00:00 +0000\n"
    "From: us@crm.example\nTo: ann@shop.example\nMessage-ID: <one@crm.example>\nMailrelay-Delivery: D01\n"
)


def read(text: str) -> Traces:
    return traces(message.parse(text.encode()))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("kind", ["message/rfc822", "text/rfc822-headers", "message/global-headers", "text/plain"])
def test_a_report_says_what_it_is_about_in_four_ways(kind, newline):
    found = read(f"{NOTICE}{FIELDS}--b\nContent-Type: {kind}\n\n{HEADER}\nHi\n--b--\n".replace("\n", newline))
    assert found == Traces(
        return_paths=(
            "b+notice@bounce.crm.example",
            "b+returned@bounce.crm.example",
            "b+received@bounce.crm.example",
        ),
        envelope_ids=("d1+2Bx", "d1+x"),
        message_ids=("gmail@crm.example", "one@crm.example"),
        delivery_ids=("D01",),
        returned_ids=("one@crm.example",),
        returned_to="ann@shop.example",
    )


def test_a_report_that_lost_its_types_is_read_all_the_same():
    text = f"From: x@mx.example\nTo: us@crm.example\n\n{FIELDS.partition(chr(10) * 2)[2]}\n{HEADER}"
    found = read(text)
    assert found.envelope_ids == ("d1+2Bx", "d1+x")
    assert found.delivery_ids == ("D01",)
    assert "one@crm.example" in found.message_ids


def test_a_complaint_names_the_sender_of_what_it_is_about():
    fields = "--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Mail-From: <b+arf@bounce.crm.example>\n\n"
    assert "b+arf@bounce.crm.example" in read(NOTICE + fields).return_paths


def test_a_transcript_names_the_sender():
    found = read("From: x@mx.example\n\n>>> MAIL From:<b+smtp@bounce.crm.example> SIZE=9\n<<< 550 no\n")
    assert found.return_paths == ("b+smtp@bounce.crm.example",)


def test_the_mails_that_the_notice_answers_come_last():
    found = read(f"In-Reply-To: <two@crm.example>\n{NOTICE}--b\nContent-Type: message/rfc822\n\n{HEADER}\n\n--b--\n")
    assert found.message_ids == ("one@crm.example", "two@crm.example")


def test_ses_tells_of_a_mail_by_its_fields():
    told = {
        "notificationType": "Complaint",
        "complaint": {"complainedRecipients": [{"emailAddress": "ann@shop.example"}]},
        "mail": {
            "source": "b+ses@bounce.crm.example",
            "headers": [{"name": "Message-ID", "value": "<one@crm.example>"}, {"name": "Mailrelay-Delivery", "value": "D01"}, 1],
        },
    }  # fmt: skip
    found = read(f"From: no-reply@sns.amazonaws.com\nSubject: x\n\n{json.dumps(told)}\n")
    assert found == Traces(("b+ses@bounce.crm.example",), (), ("one@crm.example",), ("D01",), ("one@crm.example",))


def test_a_mail_that_is_about_nothing_has_no_traces():
    assert read("Subject: hi\n\nHello\n") == Traces((), (), (), ())


@pytest.mark.parametrize(
    "line",
    [
        "Original-Envelope-Id: {0}\n",
        "Message-ID: <{0}@x.example>\n",
        "MAIL FROM:<{0}@x.example>\n",
        "Return-Path: <{0}@x.example>\n",
        "Mailrelay-Delivery: {0}\n",
        "To: {0}@x.example, {0}@y.example\n",
        "mail from:<{0}",
    ],
)
def test_fault_b09_no_mail_has_many_traces_or_costs_time(line):
    much = "".join(line.format(number) for number in range(40_000))
    for text in (much, NOTICE + FIELDS + much, f"{NOTICE}--b\nContent-Type: message/rfc822\n\n{HEADER}{much}"):
        parsed = message.parse(text.encode())
        began = time.thread_time()
        found = traces(parsed)
        assert time.thread_time() - began < 0.5
        for values in (found.return_paths, found.envelope_ids, found.message_ids, found.delivery_ids):
            assert len(values) <= 20


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(data):
    traces(message.parse(data))
    traces(message.parse(f"{NOTICE}{FIELDS}--b\nContent-Type: message/rfc822\n\n".encode() + data))
