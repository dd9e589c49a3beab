"""`mail/bounce`: what a mail that came back reports of whom (I10)."""

from __future__ import annotations

import json
import time

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.cli.message_inspect import inspect
from mailrelay.mail import bounce, message
from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.message import Kind

DAEMON = "From: MAILER-DAEMON@mx.example\nTo: us@crm.example\nReturn-Path: <>\n"
RETURNED = "--b\nContent-Type: message/rfc822\n\nFrom: us@crm.example\nTo: Ann <ann@shop.example>\nSubject: Offer\n\nHi\n--b--\n"
FIELDS = "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"


def classify(text: str, **options: bool):
    return bounce.classify(message.parse(text.encode()), **options)


def report(fields: str, notice: str = "Sorry.", head: str = DAEMON) -> str:
    kind = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
    return f"{head}Subject: Undelivered\n{kind}--b\n\n{notice}\n\n{FIELDS}{fields}\n{RETURNED}"


def test_a_report_is_judged_by_its_fields():
    found = classify(
        report(
            "Final-Recipient: rfc822; ann@shop.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 No such user\n"
        )
    )
    assert found is not None
    (one,) = found.recipients
    assert (found.kind, one.recipient, one.action, one.code) == (Kind.BOUNCE, "ann@shop.example", Action.FAILED, 550)
    assert (one.category, one.hard, one.fault) == (Category.USER_UNKNOWN, True, Fault.RECIPIENT)


@pytest.mark.parametrize(
    ("action", "kind"),
    [("failed", Kind.BOUNCE), ("delayed", Kind.DELAY), ("delivered", Kind.DELIVERED), ("relayed", Kind.DELIVERED)],
)
def test_the_worst_action_says_what_the_mail_is(action, kind):
    fields = f"Final-Recipient: rfc822; bob@shop.example\nAction: delivered\n\nFinal-Recipient: rfc822; ann@shop.example\nAction: {action}\n"
    found = classify(report(fields))
    assert found is not None
    assert found.kind is kind


def test_a_report_without_an_address_names_whom_the_returned_mail_went_to():
    found = classify(report("Final-Recipient: rfc822; ann\nAction: failed\nStatus: 5.2.2\n"))
    assert found is not None
    assert [(one.recipient, one.category) for one in found.recipients] == [("ann@shop.example", Category.MAILBOX_FULL)]


def test_the_text_for_people_tells_when_the_fields_do_not_but_not_which_of_several():
    fields = "Final-Recipient: rfc822; ann@shop.example\nAction: failed\nStatus: 5.0.0\n"
    one = classify(report(fields, "The mailbox is full."))
    two = classify(report(f"{fields}\n{fields.replace('ann@', 'bob@')}", "The mailbox is full."))
    assert one is not None
    assert two is not None
    assert one.recipients[0].category is Category.MAILBOX_FULL
    assert {row.category for row in two.recipients} == {Category.UNKNOWN}


def test_a_notice_in_words_nobody_knows_names_whom_the_returned_mail_went_to():
    head = "Subject: Undeliverable mail\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nQuota exceeded. That is all.\n\n"
    found = classify(DAEMON + head + RETURNED)
    assert found is not None
    assert [(one.recipient, one.category) for one in found.recipients] == [("ann@shop.example", Category.MAILBOX_FULL)]


def test_a_returned_mail_to_several_people_names_nobody():
    head = "Subject: Undeliverable mail\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nIt did not work.\n\n"
    found = classify(DAEMON + head + RETURNED.replace("Subject: Offer", "Cc: bob@shop.example"))
    assert found is not None
    assert [one.recipient for one in found.recipients] == [""]


def test_a_complaint_is_feedback_and_nobody_is_hard():
    fields = (
        "--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: ann@shop.example\n\n"
    )
    head = "From: fbl@provider.example\nSubject: x\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
    found = classify(head + fields + RETURNED)
    assert found is not None
    (one,) = found.recipients
    assert (found.kind, one.recipient, one.category, one.hard) == (
        Kind.FEEDBACK,
        "ann@shop.example",
        Category.FEEDBACK,
        False,
    )


def test_an_automatic_reply_is_its_sender_s():
    found = classify("From: Ann <ann@shop.example>\nAuto-Submitted: auto-replied\nSubject: Away\n\nBack soon.\n")
    assert found is not None
    assert [(one.recipient, one.category) for one in found.recipients] == [("ann@shop.example", Category.AUTO_REPLY)]


@pytest.mark.parametrize(
    "body",
    [
        "Do you know why?\n\n> Final-Recipient: rfc822; ann@shop.example\n> Action: failed\n",
        "Do you know why?\n\nFinal-Recipient: rfc822; ann@shop.example\nAction: failed\nStatus: 5.1.1\n",
        "She said: 550 5.1.1 User unknown.\n",
    ],
)
def test_a_person_who_writes_about_a_bounce_sent_none(body):
    assert (
        classify(f"From: Ann <ann@shop.example>\nTo: us@crm.example\nSubject: Re: Undelivered mail\n\n{body}") is None
    )


NOTICE = "This is the mail system at host mx.example.\n\n<ann@shop.example>: 550 no such user\n"


@pytest.mark.parametrize("before", ["Hi all,\n\n", "Does anybody know this?\n\n", "My mails come back. " * 30 + "\n\n"])
@pytest.mark.parametrize("head", ["", "List-Id: <help.lists.example>\n"])
def test_a_notice_that_a_person_shows_to_others_is_no_bounce(head, before):
    assert classify(f"From: Bob <bob@x.example>\n{head}Subject: Postfix\n\n{before}{NOTICE}") is None


def test_a_notice_from_an_unusual_sender_is_one():
    found = classify(f"From: gate <gate@x.example>\nSubject: Your mail\n\n{NOTICE}")
    assert found is not None
    assert [one.recipient for one in found.recipients] == ["ann@shop.example"]


def test_who_failed_is_said_by_exim_s_field_whatever_else_the_text_names():
    head = f"{DAEMON}X-Failed-Recipients: ann@shop.example, bob@shop.example\nSubject: Mail delivery failed\n\n"
    found = classify(f"{head}Une erreur:\n\n<bob@shop.example>: 550 5.2.2 plein\n<carl@shop.example>: vu\n")
    assert found is not None
    assert [(one.recipient, one.action) for one in found.recipients] == [
        ("ann@shop.example", Action.FAILED),
        ("bob@shop.example", Action.FAILED),
    ]
    assert found.recipients[1].diagnostic == "550 5.2.2 plein"


@pytest.mark.parametrize("null", [True, False])
def test_a_null_reverse_path_makes_a_notice_of_words_that_a_person_may_write(null):
    found = classify(
        "From: gate@x.example\nSubject: Delivery problem\n\nann@shop.example: 550 gone\n", envelope_from_null=null
    )
    assert (found is not None) is null


def test_a_null_reverse_path_lets_the_fields_count_in_a_text():
    text = (
        "From: x@shop.example\nSubject: x\n\nFinal-Recipient: rfc822; ann@shop.example\nAction: failed\nStatus: 5.1.1\n"
    )
    found = classify(text, envelope_from_null=True)
    assert found is not None
    assert [one.recipient for one in found.recipients] == ["ann@shop.example"]


def test_inspect_prints_what_is_reported(tmp_path):
    (tmp_path / "a.eml").write_text(
        report("Final-Recipient: rfc822; ann@shop.example\nAction: failed\nStatus: 5.7.26\n")
    )
    row = json.loads(CliRunner().invoke(inspect, ["--json", str(tmp_path / "a.eml")]).output)
    assert (row["kind"], row["may_reply"]) == ("bounce", False)
    assert row["results"] == [
        {
            "recipient": "ann@shop.example",
            "status": "5.7.26",
            "code": None,
            "diagnostic": "",
            "category": "policy",
            "hard": False,
            "action": "failed",
            "fault": "sender",
        }
    ]
    shown = CliRunner().invoke(inspect, [str(tmp_path / "a.eml")]).output
    assert "ann@shop.example: failed, policy, soft, fault: sender; 5.7.26" in shown


@given(st.binary(max_size=400))
def test_any_bytes_are_classified_without_an_error(data):
    bounce.classify(message.parse(DAEMON.encode() + b"Subject: Undelivered\n\n" + data))
    bounce.classify(message.parse(data))


@pytest.mark.parametrize(
    "filler",
    [
        "To:\n",
        "Final-Recipient: rfc822; a@x.example\n",
        "a@",
        "<a@x.example>: ",
        "\n",
        " ",
        "550 5.1.1 ",
        "From: a\nTo: b\nDate: c\n",
    ],
)
def test_a_hostile_bounce_costs_no_time(filler):
    for kind in ("text/plain", "message/delivery-status"):
        parsed = message.parse(
            f"{DAEMON}Subject: Undelivered mail\nContent-Type: {kind}\n\n{filler * (300_000 // len(filler))}".encode()
        )
        began = time.thread_time()
        bounce.classify(parsed)
        assert time.thread_time() - began < 0.5
