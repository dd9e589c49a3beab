"""Machines are told from people, and never answered (I6, RFC 3834)."""

from __future__ import annotations

import pytest

from mailrelay.mail.automatic import kind, may_reply, reason
from mailrelay.mail.message import parse
from mailrelay.model.message import Kind

PERSON = "From: Ann <ann@customer.example>\r\nTo: bob@ours.example\r\nSubject: An order\r\n"


def mail(fields: str = "", body: str = "Hello", head: str = PERSON):
    return parse(f"{head}{fields}\r\n{body}".encode())


def report(report_type: str, part: str, subject: str = "Report"):
    return parse(
        f"From: postmaster@x.example\r\nSubject: {subject}\r\nContent-Type: multipart/report; report-type={report_type}; boundary=b\r\n\r\n"
        f"--b\r\n\r\nsorry\r\n--b\r\nContent-Type: message/{report_type}\r\n\r\n{part}\r\n--b--\r\n".encode()
    )


def test_a_person_may_be_answered():
    parsed = mail()
    assert reason(parsed, envelope_from_null=False) == ""
    assert kind(parsed) is Kind.NORMAL
    assert may_reply(parsed)


@pytest.mark.parametrize(
    "fields",
    [
        "Auto-Submitted: no\r\n",
        "X-Auto-Response-Suppress: RN, NRN\r\n",
        "Precedence: first-class\r\n",
        "X-Priority: 1\r\nX-Mailer: Outlook\r\n",
    ],
)
def test_fields_that_people_send_too_say_nothing(fields):
    assert reason(mail(fields), envelope_from_null=False) == ""


@pytest.mark.parametrize(
    ("fields", "because", "what"),
    [
        ("Auto-Submitted: auto-replied (vacation)\r\n", "Auto-Submitted: auto-replied", Kind.AUTO_REPLY),
        ("Auto-Submitted: auto-generated; x=y\r\n", "Auto-Submitted: auto-generated", Kind.AUTO_GENERATED),
        ("Precedence: bulk\r\n", "Precedence: bulk", Kind.LIST),
        ("Precedence: auto_reply\r\n", "Precedence: auto_reply", Kind.AUTO_REPLY),
        ("List-Id: <l.example>\r\n", "List-Id is set", Kind.LIST),
        ("List-Unsubscribe: <https://x.example>\r\n", "List-Unsubscribe is set", Kind.LIST),
        ("X-Autoreply: yes\r\n", "X-Autoreply is set", Kind.AUTO_REPLY),
        ("X-Auto-Response-Suppress: All\r\n", "X-Auto-Response-Suppress: all", Kind.AUTO_GENERATED),
        ("X-Failed-Recipients: a@b.example\r\n", "X-Failed-Recipients is set", Kind.BOUNCE),
        ("Return-Path: <>\r\n", "Return-Path is null", Kind.AUTO_GENERATED),
    ],
)
def test_a_machine_gives_itself_away_by_its_fields(fields, because, what):
    parsed = mail(fields)
    assert reason(parsed, envelope_from_null=False) == because
    assert kind(parsed) is what
    assert not may_reply(parsed)


def test_the_null_reverse_path_is_a_machine():
    assert reason(mail(), envelope_from_null=True) == "the reverse-path is null"
    assert not may_reply(mail(), envelope_from_null=True)


@pytest.mark.parametrize(
    "sender",
    [
        "no-reply@x.example",
        "noreply@x.example",
        "No_Reply@x.example",
        "do-not-reply@x.example",
        "donotreply@x.example",
        "noreply-billing@x.example",
        "noreply+123@x.example",
        "MAILER-DAEMON@x.example",
        "MAILER-DAEMON",
        "Postmaster <postmaster@x.example>",
        "bounces+abc=def@x.example",
        "owner-list@x.example",
        "list-request@x.example",
        "list-bounces@x.example",
        "notifications@x.example",
    ],
)
def test_senders_that_nobody_reads_are_machines(sender):
    parsed = mail(head=f"From: {sender}\r\nSubject: x\r\n")
    assert reason(parsed, envelope_from_null=False).startswith("From is ")
    assert not may_reply(parsed)


@pytest.mark.parametrize(
    "sender",
    ["norbert@x.example", "reply@x.example", "bouncer.jones@x.example", "noel.reply@x.example", "list@x.example"],
)
def test_people_with_similar_names_are_people(sender):
    assert reason(mail(head=f"From: {sender}\r\nSubject: x\r\n"), envelope_from_null=False) == ""


def test_nobody_is_not_answered():
    assert not may_reply(mail(head="Subject: x\r\n"))


@pytest.mark.parametrize(
    ("parsed", "what"),
    [
        (report("delivery-status", "Reporting-MTA: dns; x\r\n\r\nAction: failed\r\nStatus: 5.1.1"), Kind.BOUNCE),
        (report("delivery-status", "Reporting-MTA: dns; x\r\n\r\nAction: delayed\r\nStatus: 4.4.1"), Kind.DELAY),
        (report("delivery-status", "Reporting-MTA: dns; x\r\n\r\nACTION : delivered\r\nStatus: 2.0.0"), Kind.DELIVERED),
        (report("delivery-status", "Action: delayed\r\n\r\nAction: failed"), Kind.BOUNCE),
        (report("delivery-status", "unreadable"), Kind.BOUNCE),
        (report("delivery-status", "Action: undeliverable"), Kind.BOUNCE),
        (report("delivery-status", "Action: deferred\r\n\r\nAction: delivered"), Kind.DELAY),
        (report("delivery-status", "Action: deliverable"), Kind.DELIVERED),
        (report("feedback-report", "Feedback-Type: abuse"), Kind.FEEDBACK),
        (report("disposition-notification", "Disposition: automatic-action"), Kind.AUTO_REPLY),
        (mail(head="From: Mail Delivery <MAILER-DAEMON>\r\nSubject: failure notice\r\n"), Kind.BOUNCE),
        (mail(head="From: MAILER-DAEMON@x.example\r\nSubject: Warning: message delayed 4 hours\r\n"), Kind.DELAY),
        (mail(head="From: ann@x.example\r\nSubject: Automatic reply: An order\r\n"), Kind.AUTO_REPLY),
        (mail(head="From: ann@x.example\r\nSubject: Abwesenheitsnotiz: Urlaub\r\n"), Kind.AUTO_REPLY),
        (mail(head="From: ann@x.example\r\nSubject: Re: your out of office reply\r\n"), Kind.NORMAL),
        (
            mail(head="From: gateway@x.example\r\nSubject: Mail delivery failed: returning message to sender\r\n"),
            Kind.BOUNCE,
        ),
        (mail(head="From: ann@x.example\r\nSubject: Fwd: Returned mail: see transcript\r\n"), Kind.NORMAL),
        (mail(head="From: ann@x.example\r\nSubject: Undelivered mail returned, what now?\r\n"), Kind.NORMAL),
        (mail(head="From: ann@x.example\r\nSubject: Undeliverable furniture\r\n"), Kind.NORMAL),
    ],
)
def test_kinds_are_told_apart(parsed, what):
    assert kind(parsed) is what


@pytest.mark.parametrize(
    ("head", "what"),
    [
        ("From: postmaster@x.example\r\nSubject: Nedoručitelné: offer\r\n", Kind.BOUNCE),
        ("From: postmaster@x.example\r\nSubject: Onbestelbaar: offer\r\n", Kind.BOUNCE),
        ("From: x@x.example\r\nReturn-Path: <>\r\nSubject: 退信通知\r\n", Kind.BOUNCE),
        ("From: MDaemon@x.example\r\nSubject: Permanent Delivery Failure\r\n", Kind.BOUNCE),
        ('From: "Mail System" <>\r\nSubject: Mail Error\r\n', Kind.BOUNCE),
        ("From: bob@x.example\r\nSubject: RE: An offer : non remis (delivery failed)\r\n", Kind.BOUNCE),
        ("From: MAILER-DAEMON@x.example\r\nSubject: Zustellung verzögert\r\n", Kind.DELAY),
        ("From: no-reply@parcels.example\r\nSubject: Delivery failed\r\n", Kind.AUTO_GENERATED),
        ("From: noreply@parcels.example\r\nSubject: Zustellung morgen\r\n", Kind.AUTO_GENERATED),
        ("From: Parcels Inc <noreply@parcels.example>\r\nSubject: Hello\r\n", Kind.AUTO_GENERATED),
        ("From: Ann Arbor <noreply@forum.example>\r\nSubject: [help] A question\r\n", Kind.NORMAL),
        ("From: ann@x.example\r\nSubject: Réponse automatique : offre\r\n", Kind.AUTO_REPLY),
        ("From: ann@x.example\r\nSubject: Automatyczna odpowiedź: oferta\r\n", Kind.AUTO_REPLY),
        ("From: ann@x.example\r\nSubject: 自动回复: offer\r\n", Kind.AUTO_REPLY),
        ("From: ann@x.example\r\nSubject: Frånvaro: offert\r\n", Kind.AUTO_REPLY),
        ("From: ann@x.example\r\nSubject: Frånvaro på fredag\r\n", Kind.NORMAL),
        ("From: ann@x.example\r\nSubject: Vacation photos\r\n", Kind.NORMAL),
        ("From: ann@x.example\r\nSubject: Away\r\nX-Apple-Action: VACATION\r\n", Kind.AUTO_REPLY),
        ("From: ann@x.example\r\nSubject: Thank you\r\nX-MS-Exchange-Inbox-Rules-Loop: ann@x.example\r\n", Kind.AUTO_REPLY),
        ("From: ann@x.example\r\nSubject: Re: offer\r\nAuto-Submitted: auto-generated\r\nIn-Reply-To: <1@y>\r\n", Kind.AUTO_REPLY),
        ("From: ann@x.example\r\nSubject: offer\r\nAuto-Submitted: auto-generated\r\n", Kind.AUTO_GENERATED),
        ("From: ann@x.example\r\nSubject: Ann Arbor is out of the office\r\nAuto-Submitted: auto-generated\r\n", Kind.AUTO_REPLY),
        ("From: ann@x.example\r\nSubject: Is Ann away?\r\n", Kind.NORMAL),
        ("From: files@x.example\r\nSubject: A file was shared\r\nX-Auto-Response-Suppress: All\r\n", Kind.AUTO_GENERATED),
        ("From: ann@x.example\r\nSubject: Re: hi (Action Required)\r\nX-Boxbe-Message: 1\r\nAuto-Submitted: auto-replied\r\n", Kind.CHALLENGE),
        ("From: ann@x.example\r\nSubject: Re: hi\r\nX-Boxbe-Sent: no\r\n", Kind.NORMAL),
        ("From: ann@x.example\r\nSubject: Please confirm your e-mail address\r\n", Kind.NORMAL),
    ],
)  # fmt: skip
def test_kinds_in_the_words_of_many_systems_and_languages(head, what):
    assert kind(mail(head=head)) is what


@pytest.mark.parametrize("sender", ["Ann Arbor <noreply@forum.example>", "noreply@forum.example"])
def test_nobody_answers_a_gateway_whoever_wrote(sender):
    assert not may_reply(mail(head=f"From: {sender}\r\nSubject: A question\r\n"))


@pytest.mark.parametrize("method", ["REPLY", "reply", "COUNTER"])
@pytest.mark.parametrize("place", ["parameter", "body"])
def test_a_calendar_s_answer_is_nobody_s_words(method, place):
    parameter = f"; method={method}" if place == "parameter" else ""
    body = f"BEGIN:VCALENDAR\r\nMETHOD:{method}\r\nEND:VCALENDAR\r\n"
    parsed = mail(f"Content-Type: text/calendar{parameter}\r\n", body)
    assert kind(parsed) is Kind.AUTO_REPLY
    assert reason(parsed, envelope_from_null=False) == "a calendar's answer"
    assert not may_reply(parsed)


def test_an_invitation_is_a_person_s():
    parsed = mail("Content-Type: text/calendar; method=REQUEST\r\n", "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\n")
    assert kind(parsed) is Kind.NORMAL
    assert may_reply(parsed)
