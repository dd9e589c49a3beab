"""Notices in plain words are read by the shape of their lines, with and without a dialect of their own (I10).

`tests/data/notice` holds mails as the mail systems they are named after write them; their first fields say what must be found.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail import automatic, bounce, message
from mailrelay.mail.bounce import lines, unknown
from mailrelay.model.feedback import Action
from mailrelay.model.message import Kind

MAILS = sorted((Path(__file__).parents[2] / "data" / "notice").glob("*.eml"))
DAEMON = "From: MAILER-DAEMON@mx.example\nTo: us@crm.example\nReturn-Path: <>\nSubject: Undelivered mail\n"


def expected(raw: bytes) -> tuple[list[str], Action]:
    headers = message.parse(raw).headers
    names = (headers.get("X-Expected-Recipients") or "").replace(" ", "")
    return [name for name in names.split(",") if name], Action(headers.get("X-Expected-Action") or "")


def named(text: str) -> list[str]:
    parsed = message.parse(f"{DAEMON}Content-Type: text/plain; charset=utf-8\n\n{text}".encode())
    return [one.recipient for one in unknown.recognise(parsed, Action.FAILED)]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_a_notice_names_its_recipients_and_what_became_of_the_mail(path, newline):
    raw = path.read_bytes()
    names, action = expected(raw)
    report = bounce.classify(message.parse(raw.replace(b"\n", newline)))
    assert report is not None
    assert [one.recipient for one in report.recipients] == (names or [""])
    assert {one.action for one in report.recipients} == {action}


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_the_shape_of_the_lines_is_enough_where_no_dialect_is_known(path):
    raw = path.read_bytes()
    names, action = expected(raw)
    parsed = message.parse(raw)
    # Where the words name nobody, the returned mail does.
    assert [one.recipient for one in unknown.recognise(parsed, action)] == [
        name for name in names if name in parsed.text
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Could not deliver to\n\n<ann@shop.example>: no\n\nSent by us@crm.example\n",
        "Could not deliver to:\n  * Ann Arbor <ann@shop.example>\n",
        "From: us@crm.example\nTo: ann@shop.example\n\nThe mail above could not be delivered.\n",
        "550 5.1.1 <ann@shop.example>... User unknown\n",
        "1. ann@shop.example (mailbox full)\n",
        "Recipient: [SMTP:ann@shop.example]\nfailed\n",
        ">>> RCPT TO:<bob@shop.example>\n<<< 250 ok\n>>> RCPT TO:<ann@shop.example>\n<<< 550 no\n",
        "受取人：ann@shop.example\n送信できませんでした\n",
        "信箱ann@shop.example不存在\n",
        "Rejected: ann@shop.example\nMessage-ID: <1@mail.crm.example>\nSee https://help.example/?for=x@y.example\n",
        "The address ann@shop.example is not known here. Questions?\n\nContact hotline@provider.example.\n",
    ],
)
def test_only_the_one_that_failed_is_named(text):
    assert named(text) == ["ann@shop.example"]


def test_an_address_in_no_connection_with_a_failure_is_nobody():
    assert named("Hello\n\nthe mail went on to someone@else.example yesterday\n") == []


def test_what_names_hundreds_names_nobody():
    assert named("".join(f"<user{number}@shop.example>: no\n" for number in range(300))) == []


def test_each_has_his_own_reason():
    text = "Failed:\n\n  ann@shop.example\n    550 5.1.1 gone\n  bob@shop.example\n    452 4.2.2 full\n"
    parsed = message.parse(f"{DAEMON}\n{text}".encode())
    ann, bob = unknown.recognise(parsed, Action.FAILED)
    assert (str(ann.status), ann.code, str(bob.status), bob.code) == ("5.1.1", 550, "4.2.2", 452)


@pytest.mark.parametrize(
    ("head", "body", "kind"),
    [
        ("From: post_master@shop.example\nSubject: Re:hi", "Error: nobody here\n550 no such user\nRCPT TO: ann@shop.example\n", Kind.BOUNCE),
        ("Return-Path: <>\nFrom: x@shop.example\nSubject: Mail", "Delivery to ann@shop.example failed: 5.1.1\n", Kind.BOUNCE),
        ("From: no-reply@shop.example\nSubject: Delivery failed", "Your parcel could not be delivered. 550\n", None),
        ("From: no-reply@shop.example\nSubject: Zustellung heute", "Lieferung an ann@shop.example fehlgeschlagen\n", None),
        ("From: ann@shop.example\nSubject: Re: delivery failed", "I could not reach bob@shop.example, 550\n", None),
        ("From: postmaster@shop.example\nSubject: A new server", "Dear all, ann@shop.example has moved.\n", None),
    ],
)  # fmt: skip
def test_a_daemon_is_believed_and_a_shop_is_not(head, body, kind):
    report = bounce.classify(message.parse(f"{head}\nTo: us@crm.example\n\n{body}".encode()))
    assert (report.kind if report else None) is kind


def test_a_list_that_came_back_does_not_say_who_failed():
    returned = "From: us@crm.example\nTo: list@crm.example\nList-Post: <mailto:list@crm.example>\n\nhi\n"
    text = f"{DAEMON}Content-Type: multipart/mixed; boundary=b\n\n--b\n\nIt failed.\n--b\nContent-Type: message/rfc822\n\n{returned}--b--\n"
    report = bounce.classify(message.parse(text.encode()))
    assert report is not None
    assert [one.recipient for one in report.recipients] == [""]


def test_of_a_mail_to_several_the_trace_says_who_it_was():
    returned = "Received: from a by b for <ann@shop.example>; Mon, 2 Mar 2026\nFrom: us@crm.example\nTo: a@x.example, b@x.example\n\nhi\n"
    text = f"{DAEMON}Content-Type: multipart/mixed; boundary=b\n\n--b\n\nIt failed.\n--b\nContent-Type: message/rfc822\n\n{returned}--b--\n"
    only_to = returned.replace("To: a@x.example, b@x.example\n", "")
    named = [
        report.recipients[0].recipient
        for one in (text, text.replace(returned, only_to))
        if (report := bounce.classify(message.parse(one.encode())))
    ]
    assert named == ["", "ann@shop.example"]


@pytest.mark.parametrize(
    "heading",
    [
        "--- Below this line is a copy of the message.",
        "------ This is a copy of the message, including all the headers. ------",
        "   ----- Original message follows -----",
        "-----Ursprüngliche Nachricht-----",
        "Original message headers:",
        "Kopfzeilen der Originalnachricht:",
        "En-têtes de message d'origine :",
        "Intestazioni originali del messaggio:",
        "元のメッセージ ヘッダー:",
        "Received: from a by b",
    ],
)
def test_what_is_below_such_a_line_is_the_returned_mail(heading):
    assert lines.before_returned(f"It failed.\n\n{heading}\n\nTo: ann@shop.example\n") == "It failed.\n\n"


PIECES = sorted(
    {line for path in MAILS for line in path.read_text().split("\n")[8:]}
    | {
        "ann@shop.example",
        "<",
        ">:",
        "http://",
        '"',
        "=",
        "例",
        "。",
        " " * 80,
        "-" * 90,
        "550 ",
        "5.1.1 ",
        "To: ",
        "\n",
    }
)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=60).map("".join))
def test_fault_p14_any_notice_is_read(text):
    for recipient in named(text):
        assert "@" in recipient


@pytest.mark.parametrize(
    "filler",
    ["a@x.example ", "a@", "a.", "<a@x.example>:\n", "To: ", "a b c: a@x.example\n", "「a@x.example」\n", "- ", "http://a@x.y ", "could not "],
)  # fmt: skip
def test_fault_p14_no_notice_takes_long(filler):
    parsed = message.parse(f"{DAEMON}\n{filler * (400_000 // len(filler))}".encode())
    _ = parsed.opening
    began = time.thread_time()
    unknown.recognise(parsed, Action.FAILED)
    assert time.thread_time() - began < 0.1


def test_a_notice_is_never_answered():
    for path in MAILS:
        parsed = message.parse(path.read_bytes())
        assert not automatic.may_reply(parsed), path.stem
