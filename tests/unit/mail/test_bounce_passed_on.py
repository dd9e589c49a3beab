"""Reports inside something else: a forward that holds a whole one, a mailbox file that holds several (I10)."""

from __future__ import annotations

import pytest

from mailrelay.mail import bounce, message
from mailrelay.model.message import Kind

REPORT = """From: Mail Delivery System <MAILER-DAEMON@mx.example>
Date: Mon, 2 Mar 2026 09:00:00 +0000
To: us@crm.example
Subject: Undelivered Mail Returned to Sender

I could not deliver your mail.

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; {to}
Action: failed
Status: 5.1.1
"""


def forward(note: str = "", subject: str = "Fwd: Undelivered Mail", report: str = REPORT, mark: str = "> ") -> str:
    quoted = "".join(f"{mark}{line}\n" for line in report.format(to="ann@shop.example").split("\n"))
    return f"From: Bob <bob@crm.example>\nTo: us@crm.example\nSubject: {subject}\n\n{note}\n\nBegin forwarded message:\n\n{quoted}"


def classify(text: str):
    return bounce.classify(message.parse(text.encode()))


@pytest.mark.parametrize("note", ["", "For your information.", "Bitte ansehen"])
def test_a_forward_of_a_whole_report_is_that_report(note):
    report = classify(forward(note))
    assert report is not None
    assert report.kind is Kind.BOUNCE
    assert [(one.recipient, str(one.status), one.hard) for one in report.recipients] == [
        ("ann@shop.example", "5.1.1", True)
    ]


@pytest.mark.parametrize(
    "text",
    [
        forward("Why did it fail?"),
        forward("Hi,\n\nthis came back.\n\nCould you look into it\n\nBob"),
        forward(subject="Re: Undelivered Mail"),
        forward(subject="Something came back"),
        forward(report=REPORT.replace("Status: 5.1.1\n", "")),
        forward(report=REPORT.replace("MAILER-DAEMON@mx.example", "carl@mx.example")),
        forward(mark=""),
    ],
    ids=["a question", "a letter", "an answer", "no forward", "only a part", "of a person", "not quoted"],
)
def test_a_person_who_says_something_about_a_report_wrote_a_mail(text):
    assert classify(text) is None


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_report_of_a_mailbox_file_is_read(newline):
    names = [f"ann{number}@shop.example" for number in range(4)]
    one = "From MAILER-DAEMON Mon Mar  2 09:00:00 2026\nReturn-Path: <>\n" + REPORT + "\n"
    report = classify("".join(one.format(to=name) for name in names).replace("\n", newline))
    assert report is not None
    assert [row.recipient for row in report.recipients] == names


def test_a_mail_with_a_line_that_begins_with_from_is_one_mail():
    one = REPORT.format(to="ann@shop.example")
    report = classify(f"{one}\n\nFrom x Mon Mar  2 09:00:00 2026\n{one.replace('ann@', 'bob@')}")
    assert report is not None
    assert report.recipients[0].recipient == "ann@shop.example"


def test_fault_b09_a_mailbox_file_has_an_end():
    one = "From MAILER-DAEMON Mon Mar  2 09:00:00 2026\n" + REPORT + "\n"
    report = classify("".join(one.format(to=f"a{number}@shop.example") for number in range(500)))
    assert report is not None
    assert len(report.recipients) == 20
