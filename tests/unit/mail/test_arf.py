"""`mail/arf.py`: complaints by RFC 5965 and their relatives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail import arf, message


def complaint(
    fields: str,
    returned: str = "To: ann@shop.example\nFrom: us@crm.example\nSubject: Offer\n",
    *,
    kind: str = "message/feedback-report",
) -> bytes:
    return (
        "From: fbl@provider.example\nSubject: Abuse report\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
        f"--b\nContent-Type: text/plain\n\nA complaint.\n\n--b\nContent-Type: {kind}\n\n{fields}\n"
        f"--b\nContent-Type: message/rfc822\n\n{returned}\nHi\n--b--\n"
    ).encode()


def read(raw: bytes):
    return arf.read(message.parse(raw))


def test_who_complained_of_what_is_read():
    found = read(
        complaint(
            "Feedback-Type: abuse\nUser-Agent: FBL/1\nVersion: 1\nOriginal-Rcpt-To: <ann@shop.example>\nSource-IP: 192.0.2.1\n"
        )
    )
    assert found == arf.Complaint("abuse", ("ann@shop.example",), "192.0.2.1", "FBL/1")


def test_several_recipients_are_read_once_each():
    found = read(
        complaint(
            "Feedback-Type: opt-out\nOriginal-Rcpt-To: a@x.example\nOriginal-Rcpt-To: b@x.example\nRemoval-Recipient: a@x.example\n"
        )
    )
    assert found is not None
    assert (found.type, found.recipients) == ("opt-out", ("a@x.example", "b@x.example"))


def test_a_redacted_recipient_is_nobody_even_when_the_returned_mail_names_one():
    found = read(complaint("Feedback-Type: abuse\nOriginal-Rcpt-To: redacted@provider.example\n"))
    assert found is not None
    assert found.recipients == ()


def test_the_returned_mail_says_who_when_it_went_to_one_person_only():
    one = read(complaint("Feedback-Type: abuse\n"))
    two = read(complaint("Feedback-Type: abuse\n", "To: a@x.example, b@x.example\nFrom: us@crm.example\nSubject: x\n"))
    assert one is not None
    assert two is not None
    assert (one.recipients, two.recipients) == (("ann@shop.example",), ())


def test_a_report_in_a_text_part_is_read():
    found = read(complaint("Feedback-Type: abuse\nOriginal-Rcpt-To: ann@shop.example\n", kind="text/plain"))
    assert found is not None
    assert found.recipients == ("ann@shop.example",)


def test_a_mail_that_only_mentions_one_is_none():
    assert read(b"From: a@x.example\nSubject: x\n\nFeedback-Type: abuse\n") is None


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(data):
    read(complaint("Feedback-Type: abuse\nOriginal-Rcpt-To: XX\n").replace(b"XX", data))


@pytest.mark.parametrize(
    ("what", "is_one"),
    [
        ("abuse", True),
        ("Fraud ", True),
        ("opt-out", True),
        ("opt-out-list", True),
        ("complaint", True),
        ("miscategorized", True),
        ("other", True),
        ("not-spam", False),
        ("auth-failure", False),
        ("dmarc", False),
        ("virus", False),
        ("something-new", False),
        ("", False),
    ],
)
def test_only_what_a_person_says_against_a_mail_is_a_complaint(what, is_one):
    assert arf.is_complaint(what) is is_one
