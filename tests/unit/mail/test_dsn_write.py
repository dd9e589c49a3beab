"""`mail/dsn_write.py`: what we write is read back by us, by the standard library and by flufl.bounce, and by nobody as more than it is."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flufl.bounce import all_failures, scan_message
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail import automatic, bounce, dsn_write
from mailrelay.mail.bounce.returned import traces
from mailrelay.mail.compose import Person
from mailrelay.mail.dsn_write import Original, Told
from mailrelay.mail.message import ParsedMessage, parse
from mailrelay.model.address import Address
from mailrelay.model.envelope import EnvelopeRecipient
from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.message import Kind
from mailrelay.model.reply import EnhancedStatus
from mailrelay.smtp.data import has_bare_newline

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANNA = Address("anna", "acme.test")
BOB = Address("bob", "b.test")
RAW = (
    b"From: Anna <anna@acme.test>\r\nTo: bob@b.test\r\nSubject: offer\r\nMessage-ID: <m1@acme.test>\r\n"
    b"References: <m0@acme.test>\r\n\r\nsecret body\r\n"
)
UNKNOWN = Told(
    recipient=EnvelopeRecipient(address=BOB),
    action=Action.FAILED,
    status=EnhancedStatus(5, 1, 1),
    happened="The mail server mx.b.test refused it, and said:",
    said=("550 5.1.1 <bob@b.test>: no such user",),
    by_remote=True,
    remote="mx.b.test",
    advice="Check the address for mistakes.",
    last_attempt=AT,
)
LATE = replace(
    UNKNOWN,
    action=Action.DELAYED,
    status=EnhancedStatus(4, 2, 2),
    said=("452 4.2.2 mailbox full",),
    retry_until=AT + timedelta(days=5),
)
ORIGINAL = Original(
    subject="offer",
    message_id="m1@acme.test",
    parents=("m0@acme.test",),
    arrived=AT - timedelta(hours=1),
    queue_id="Q1",
    envid=None,
    full=False,
    raw=RAW,
)


def write(*told: Told, to: Address = ANNA, **original: Any) -> bytes:
    return dsn_write.write(
        told or (UNKNOWN,),
        replace(ORIGINAL, **original),
        to=to,
        from_=Person("Mail Delivery System", Address("MAILER-DAEMON", "relay.test")),
        hostname="mx.relay.test",
        message_id="Q2@mx.relay.test",
        at=AT,
    )


def parts(raw: bytes) -> dict[str, str]:
    """The text of each part of the report, by type."""
    return {part.type: part.text() for part in parse(raw).root.children}


def fields(raw: bytes) -> list[dict[str, str]]:
    """The groups of the delivery status as the standard library reads them."""
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    (status,) = [part for part in mail.walk() if part.get_content_type() == "message/delivery-status"]
    return [dict(group.items()) for group in status.get_payload()]


def judged(raw: bytes) -> bounce.BounceReport:
    report = bounce.classify(parse(raw), envelope_from_null=True)
    assert report is not None
    return report


def test_a_refusal_is_read_back_as_what_it_is():
    raw = write()
    report = judged(raw)
    assert report.kind is Kind.BOUNCE
    (one,) = report.recipients
    assert (one.recipient, str(one.status), one.code, one.action) == ("bob@b.test", "5.1.1", 550, Action.FAILED)
    assert (one.category, one.hard, one.fault) == (Category.USER_UNKNOWN, True, Fault.RECIPIENT)
    assert traces(parse(raw)).message_ids[0] == "m1@acme.test"


def test_a_delay_is_no_failure():
    report = judged(write(LATE))
    assert report.kind is Kind.DELAY
    assert [(one.action, one.hard) for one in report.recipients] == [(Action.DELAYED, False)]


def test_several_recipients_each_have_their_own_group():
    more = replace(UNKNOWN, recipient=EnvelopeRecipient(address=Address("eve", "c.test")))
    raw = write(UNKNOWN, more, LATE)
    assert [(one.recipient, one.action) for one in judged(raw).recipients] == [
        ("bob@b.test", Action.FAILED),
        ("eve@c.test", Action.FAILED),
        ("bob@b.test", Action.DELAYED),
    ]
    assert parse(raw).subject == "Undelivered: offer"


def test_the_standard_library_reads_every_field():
    recipient = EnvelopeRecipient(address=BOB, orcpt="rfc822;Bob+list@b.test")
    about, group = fields(write(replace(LATE, recipient=recipient), envid="job 7=a"))
    assert about == {
        "Reporting-MTA": "dns; mx.relay.test",
        "Original-Envelope-Id": "job 7=a",
        "Arrival-Date": "Sun, 01 Mar 2026 11:00:00 +0000",
    }
    assert group == {
        "Original-Recipient": "rfc822; Bob+list@b.test",
        "Final-Recipient": "rfc822; bob@b.test",
        "Action": "delayed",
        "Status": "4.2.2",
        "Remote-MTA": "dns; mx.b.test",
        "Diagnostic-Code": "smtp; 452 4.2.2 mailbox full",
        "Last-Attempt-Date": "Sun, 01 Mar 2026 12:00:00 +0000",
        "Will-Retry-Until": "Fri, 06 Mar 2026 12:00:00 +0000",
    }


def test_flufl_bounce_reads_it():
    assert set(scan_message(email.message_from_bytes(write()))) == {b"bob@b.test"}
    delayed, failed = all_failures(email.message_from_bytes(write(LATE)))
    assert (set(delayed), set(failed)) == ({b"bob@b.test"}, set())


def test_it_is_automatic_mail_that_threads_with_the_original_and_is_never_answered():
    parsed = parse(write())
    assert parsed.headers.get("Auto-Submitted") == "auto-replied"
    assert parsed.headers.get("In-Reply-To") == "<m1@acme.test>"
    assert parsed.headers.get("References") == "<m0@acme.test> <m1@acme.test>"
    assert not automatic.may_reply(parsed)
    assert automatic.kind(parsed) is Kind.BOUNCE
    assert automatic.reason(parsed, envelope_from_null=False)


def test_people_read_what_happened_what_was_said_and_what_to_do():
    text = parts(write())["text/plain"]
    assert 'Your mail "offer" of Sun, 01 Mar 2026 11:00:00 +0000 could not be delivered to:' in " ".join(text.split())
    for line in ("bob@b.test", "      550 5.1.1 <bob@b.test>: no such user", "  Check the address for mistakes."):
        assert line in text.split("\n")


def test_the_header_comes_back_and_the_whole_mail_only_where_it_was_asked_for():
    assert "secret body" not in write().decode()
    assert parts(write())["text/rfc822-headers"].startswith("From: Anna <anna@acme.test>\n")
    assert "secret body" in write(full=True).decode()
    # RFC 3461 §4.3: RET is about failures.
    assert "secret body" not in write(LATE, full=True).decode()


def test_a_mail_that_is_too_large_comes_back_as_its_header():
    raw = write(full=True, raw=RAW + b"x" * 70 + b"\r\n" + b"line\r\n" * dsn_write.MAX_RETURNED)
    assert len(raw) < 5_000
    assert "text/rfc822-headers" in parts(raw)


def test_a_mail_whose_bytes_are_gone_is_told_of_all_the_same():
    raw = write(raw=None, message_id=None, subject="")
    assert list(parts(raw)) == ["text/plain", "message/delivery-status"]
    assert judged(raw).recipients[0].recipient == "bob@b.test"
    assert parse(raw).subject == "Undelivered: your mail"


def test_an_address_beyond_ascii_is_spelled_out_for_an_author_who_has_none():
    recipient = EnvelopeRecipient(address=Address("bäcker", "b.test"), orcpt="utf-8;bäcker@b.test")
    raw = write(replace(UNKNOWN, recipient=recipient, said=("550 5.1.1 kein Bäcker",)))
    assert raw.isascii()
    group = fields(raw)[1]
    assert group["Final-Recipient"] == group["Original-Recipient"] == "utf-8; b\\x{E4}cker@b.test"
    assert group["Diagnostic-Code"] == "smtp; 550 5.1.1 kein B\\xe4cker"
    assert judged(raw).recipients[0].recipient == "bäcker@b.test"
    assert "kein Bäcker" in parts(raw)["text/plain"]


def test_the_types_of_rfc_6533_for_an_author_whose_own_address_needs_them():
    recipient = EnvelopeRecipient(address=Address("bäcker", "b.test"))
    raw = write(replace(UNKNOWN, recipient=recipient), to=Address("jürgen", "acme.test"))
    assert parse(raw).headers.get("To") == "jürgen@acme.test"
    assert "Final-Recipient: utf-8; bäcker@b.test" in parts(raw)["message/global-delivery-status"]
    assert judged(raw).recipients[0].recipient == "bäcker@b.test"


@pytest.mark.parametrize("full", [False, True])
def test_an_original_beyond_ascii_comes_back_readable(full: bool):
    raw = write(raw="Subject: Grüße\r\nFrom: anna@acme.test\r\n\r\nschöne\r\n".encode(), full=full)
    assert judged(raw).recipients[0].recipient == "bob@b.test"
    returned = parts(raw).get("message/global-headers") or raw.decode()
    assert "Subject: Grüße" in returned
    assert has_bare_newline(raw) is False


def test_fault_b10_what_the_remote_says_is_text_and_no_more():
    said = (
        "550-5.1.1 no\r\nFinal-Recipient: rfc822; victim@b.test\r\nAction: failed\r\nStatus: 5.1.1",
        "--=_boundary\r\n\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>\0\x1b[2J\u202e",
        "",
        "Final-Recipient: rfc822; victim@b.test",
    )
    raw = write(replace(UNKNOWN, said=said))
    assert [one.recipient for one in judged(raw).recipients] == ["bob@b.test"]
    assert set(scan_message(email.message_from_bytes(raw))) == {b"bob@b.test"}
    assert [part.type for part in parse(raw).root.walk()][1:] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    assert len(fields(raw)) == 2
    assert "\x1b" not in raw.decode()


@given(
    said=st.lists(st.text(max_size=200), max_size=4),
    subject=st.text(max_size=200),
    envid=st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100),
    message_id=st.none() | st.text(max_size=50),
    returned=st.none() | st.binary(max_size=300),
    full=st.booleans(),
)
def test_whatever_was_said_it_is_one_report_of_one_recipient(
    said: list[str],
    subject: str,
    envid: str | None,
    message_id: str | None,
    returned: bytes | None,
    full: bool,
):
    raw = write(
        replace(UNKNOWN, said=tuple(said)), subject=subject, envid=envid, message_id=message_id, raw=returned, full=full
    )
    parsed: ParsedMessage = parse(raw)
    assert parsed.root.type == "multipart/report"
    assert not has_bare_newline(raw)
    assert [str(one) for one in parsed.addresses("To").addresses] == ["anna@acme.test"]
    report = judged(raw)
    assert report.kind is Kind.BOUNCE
    assert [(one.recipient, one.action) for one in report.recipients] == [("bob@b.test", Action.FAILED)]
    assert len(parsed.root.children) == (2 if returned is None else 3)
