"""`mail/dsn.py`: the fields of RFC 3464, in whatever wrapping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail import dsn, message
from mailrelay.model.feedback import Action
from mailrelay.model.reply import EnhancedStatus

FIELDS = """Reporting-MTA: dns; mx.relay.example

Original-Recipient: rfc822;ann@shop.example
Final-Recipient: rfc822; <ann@inner.shop.example>
Action: failed
Status: 5.0.0
Remote-MTA: dns; inner.shop.example
Diagnostic-Code: smtp; 550-5.1.1 No such
 550 5.1.1 person here

Final-Recipient: RFC822;bob@shop.example
Action: delayed
Status: 4.4.1
"""


def report(
    fields: str = FIELDS,
    *,
    kind: str = "message/delivery-status",
    outer: str = "multipart/report; report-type=delivery-status",
) -> bytes:
    return (
        "From: MAILER-DAEMON@relay.example\nTo: us@crm.example\nSubject: Undelivered Mail\n"
        f"Content-Type: {outer}; boundary=b\n\n--b\nContent-Type: text/plain\n\nSorry.\n\n"
        f"--b\nContent-Type: {kind}\n\n{fields}\n--b--\n"
    ).encode()


def read(raw: bytes):
    return dsn.read(message.parse(raw))


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_each_recipient_is_read_whatever_the_line_ends(newline):
    ann, bob = read(report().replace(b"\n", newline))
    assert (ann.recipient, ann.status, ann.code) == ("ann@shop.example", EnhancedStatus(5, 1, 1), 550)
    assert ann.diagnostic == "550-5.1.1 No such 550 5.1.1 person here"
    assert (bob.recipient, bob.status, bob.action) == ("bob@shop.example", EnhancedStatus(4, 4, 1), Action.DELAYED)


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "text/plain; name=details.txt"])
@pytest.mark.parametrize("outer", ["multipart/mixed", "multipart/report"])
def test_the_fields_are_found_under_another_type(kind, outer):
    assert [one.recipient for one in read(report(kind=kind, outer=outer))] == ["ann@shop.example", "bob@shop.example"]


def test_a_report_within_a_mail_within_a_notice_is_found_last():
    inner = report().decode()
    raw = "From: gateway@x.example\nSubject: x\nContent-Type: multipart/mixed; boundary=o\n\n"
    raw += f"--o\nContent-Type: message/rfc822\n\n{inner}\n--o--\n"
    parsed = message.parse(raw.encode())
    assert len(dsn.read(parsed)) == 2
    assert dsn.read(parsed, in_text=False) == ()


def test_groups_that_lost_their_empty_lines_are_told_apart():
    squeezed = FIELDS.replace("\n\n", "\n")
    assert [one.action for one in read(report(squeezed))] == [Action.FAILED, Action.DELAYED]


def test_an_empty_line_within_a_group_does_not_split_it():
    (one,) = read(report("Final-Recipient: rfc822; a@x.example\n\nAction: delayed\nStatus: 4.2.2\n"))
    assert (one.action, one.status) == (Action.DELAYED, EnhancedStatus(4, 2, 2))


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822; a@x.example", "a@x.example"),
        ("RFC822;<a@x.example> (unknown)", "a@x.example"),
        ("a@x.example", "a@x.example"),
        (r"utf-8; gr\x{FC}n@x.example", "grün@x.example"),
        ('rfc822; "a b"@x.example', '"a b"@x.example'),
        ("rfc822; a@x.example.", "a@x.example"),
        ("rfc822; root", ""),
        ("unknown;", ""),
        ("", ""),
    ],
)
def test_the_address_of_a_field(value, address):
    assert dsn.address_in(value) == address


def test_what_the_remote_host_said_is_taken_out_of_its_wrapping():
    said = "smtp; 5.1.0 - Unknown address error 550-'5.7.1 Access denied' (delivery attempts: 0)"
    fields = f"Final-Recipient: rfc822; a@x.example\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: {said}\n"
    (one,) = read(report(fields))
    assert (one.diagnostic, one.code) == ("550 5.7.1 Access denied", 550)


@pytest.mark.parametrize(
    "fields",
    [
        "Final-Recipient: rfc822; ann@shop.example\n\nAction: failed\n\nStatus: 5.1.1\n",
        "Status: 5.1.1\nAction: FAILURE\nFinal-Recipient: ann@shop.example\n",
        "Final-Recipient: rfc822; &lt;ann@shop.example&gt;\nAction: failed\nStatus: 5.1.1 (nobody)\n",
        "Original-Recipient: rfc822;ann@shop.example\nFinal-Recipient: X400; /S=ann/O=shop/\nAction: failed\nStatus: 5.1.1\n",
        "X-Display-Name: Ann\nFinal-Recipient: rfc822;ann@shop.example.\nAction: undeliverable\nStatus: 5.1.1\n",
    ],
)
def test_fields_are_read_as_they_come(fields):
    (one,) = read(report(f"Reporting-MTA: dns; mx.example\n\n{fields}"))
    assert (one.recipient, str(one.status), one.action) == ("ann@shop.example", "5.1.1", Action.FAILED)


def test_an_alias_is_not_dead_when_one_of_those_behind_it_is():
    gone = "Original-Recipient: rfc822;team@shop.example\nFinal-Recipient: rfc822;ann@shop.example\nAction: failed\nStatus: 5.1.1\n"
    full = gone.replace("ann@", "bob@").replace("5.1.1", "5.2.2")
    for fields in (f"{gone}\n{full}", f"{full}\n{gone}"):
        (one,) = read(report(f"Reporting-MTA: dns; mx.example\n\n{fields}"))
        assert (one.recipient, str(one.status)) == ("team@shop.example", "5.2.2")


def test_two_reports_in_one_mail_do_not_mix():
    fields = "Final-Recipient: rfc822; ann@shop.example\n\nReporting-MTA: dns; b\nStatus: 5.1.1\nAction: failed\n"
    (one,) = read(report(f"Reporting-MTA: dns; mx.example\n\n{fields}"))
    assert (one.recipient, one.status) == ("ann@shop.example", None)


@pytest.mark.parametrize("word", ["delayed", "Delayed (retrying)", "deferred"])
def test_what_is_still_being_tried_is_delayed(word):
    (one,) = read(
        report(f"Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; ann@shop.example\nAction: {word}\n")
    )
    assert one.action is Action.DELAYED


def test_a_mail_without_the_fields_has_none():
    assert read(b"From: a@x.example\nSubject: Final-Recipient\n\nStatus: 5.1.1\n") == ()


@given(st.binary(max_size=300), st.sampled_from(["message/delivery-status", "text/plain"]))
def test_any_bytes_are_read_without_an_error(data, kind):
    read(report(kind=kind).replace(b"Action", data, 1) + data)


@given(st.text(max_size=300))
def test_any_value_is_read_without_an_error(value):
    dsn.address_in(value)
    dsn.status_in(value)
    dsn.code_in(value)
