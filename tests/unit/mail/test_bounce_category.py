"""`mail/bounce/category.py`: what an answer means, whether the address is dead, whose fault it is."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail.bounce import category
from mailrelay.mail.bounce.report import Trouble
from mailrelay.model.delivery import Stage
from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.reply import EnhancedStatus, Reply

ANSWERS = Path(__file__).parents[2] / "data" / "bounce" / "answers.txt"
CASES = [line for line in ANSWERS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
LINES = [line.partition(": ")[2] for line in CASES]
CODES = [
    ("550 5.7.25 whatever", Category.POLICY, Fault.SENDER),
    ("550 5.7.26 user unknown", Category.POLICY, Fault.SENDER),
    ("550 5.7.20 mailbox full", Category.POLICY, Fault.SENDER),
    ("550 5.7.515 Access denied", Category.POLICY, Fault.SENDER),
    ("550 5.7.640 whatever", Category.POLICY, Fault.SENDER),
    ("550 5.7.28 Too much", Category.RATE_LIMITED, Fault.SENDER),
    ("421 4.7.0 Try again later", Category.RATE_LIMITED, Fault.SENDER),
    ("450 4.7.1 Greylisted", Category.RATE_LIMITED, Fault.NEITHER),
    ("550 5.7.1 <ann@shop.example>: Recipient address rejected: Not from you", Category.POLICY, Fault.NEITHER),
    ("550 5.1.1", Category.USER_UNKNOWN, Fault.RECIPIENT),
    ("550 5.1.7", Category.POLICY, Fault.SENDER),
    ("550 5.2.2", Category.MAILBOX_FULL, Fault.RECIPIENT),
    ("550 5.6.0", Category.CONTENT, Fault.NEITHER),
    ("550 No (5.2.2)", Category.MAILBOX_FULL, Fault.RECIPIENT),
    ("550 No (4.2.2)", Category.UNKNOWN, Fault.NEITHER),
    ("550 5.1.10", Category.NO_MAIL_HOST, Fault.RECIPIENT),
    ("551", Category.USER_UNKNOWN, Fault.RECIPIENT),
    ("452", Category.SYSTEM, Fault.NEITHER),
    ("550", Category.UNKNOWN, Fault.NEITHER),
    ("250 2.1.5 Ok", Category.DELIVERED, Fault.NEITHER),
]
BEFORE_RCPT = [Stage.CONNECT, Stage.TLS, Stage.AUTH, Stage.MAIL]


def reply(line: str) -> Reply:
    code, status, text = re.fullmatch(r"(\d{3})[ -]?([245]\.\d+\.\d+)? ?(.*)", line).groups()
    numbers = [int(number) for number in status.split(".")] if status else None
    return Reply(int(code), EnhancedStatus(*numbers) if numbers else None, (text,))


@pytest.mark.parametrize("case", CASES)
def test_an_answer_means_what_its_system_means_by_it(case):
    meaning, _, line = case.partition(": ")
    verdict = category.of_outcome(reply(line), stage=Stage.RCPT)
    assert f"{verdict.category} {'hard' if verdict.hard else '-'} {verdict.fault}" == meaning


@pytest.mark.parametrize(("line", "meaning", "fault"), CODES)
def test_a_code_means(line, meaning, fault):
    verdict = category.of_outcome(reply(line), stage=Stage.RCPT)
    assert (verdict.category, verdict.fault) == (meaning, fault)


@pytest.mark.parametrize("line", LINES)
def test_a_transient_answer_is_never_hard(line):
    answer = reply(line)
    assert not category.of_outcome(Reply(450, None, answer.lines), stage=Stage.RCPT).hard


@pytest.mark.parametrize("stage", BEFORE_RCPT)
def test_before_rcpt_an_answer_is_never_about_the_recipient(stage):
    for line in [*LINES, *(case[0] for case in CODES)]:
        verdict = category.of_outcome(reply(line), stage=stage)
        assert not verdict.hard
        assert verdict.fault is not Fault.RECIPIENT


def test_a_sender_who_is_unknown_at_mail_is_the_senders_fault():
    verdict = category.of_outcome(reply("550 5.1.8 <me@ours.example>: user unknown"), stage=Stage.MAIL)
    assert verdict == category.Verdict(Category.POLICY, False, Fault.SENDER)


def test_a_full_disk_at_mail_is_no_full_mailbox():
    verdict = category.of_outcome(reply("452 4.2.2 Insufficient storage"), stage=Stage.MAIL)
    assert verdict == category.Verdict(Category.SYSTEM, False, Fault.NEITHER)


@pytest.mark.parametrize(
    ("line", "meaning", "hard"),
    [
        ("550 5.1.2 The domain x.example does not exist; check the address", Category.HOST_UNKNOWN, True),
        ("550 5.4.4 No server takes mail for x.example: its name has no address", Category.HOST_UNKNOWN, False),
        ("556 5.1.10 The recipient's domain takes no mail at all", Category.NO_MAIL_HOST, True),
        ("451 4.4.3 DNS gave no answer", Category.TIMEOUT, False),
        ("554 5.4.6 Mail for user-unknown.example would come back to this server", Category.TIMEOUT, False),
    ],
)
def test_what_we_found_out_ourselves_is_read_by_its_status(line, meaning, hard):
    verdict = category.of_outcome(reply(line), stage=Stage.RESOLVE, by_us=True)
    assert (verdict.category, verdict.hard) == (meaning, hard)


@pytest.mark.parametrize(
    "report",
    [
        "SMTP error from remote mail server after MAIL FROM:<me@ours.example> SIZE=9: 550 user unknown",
        "host mx.shop.example[192.0.2.1] said: 550 5.1.1 User unknown (in reply to MAIL FROM command)",
        "mx.shop.example did not like our MAIL FROM: 550 5.1.1 no such user",
        "SMTP error from remote mail server after initial connection: host mx.shop.example: 550 Host unknown",
    ],
)
def test_a_report_of_a_refused_sender_kills_no_recipient(report):
    verdict = category.judge(EnhancedStatus(5, 0, 0), 550, report)
    assert (verdict.hard, verdict.fault) == (False, Fault.SENDER)


def test_a_delay_is_never_hard_and_a_receipt_is_no_trouble():
    status = EnhancedStatus(5, 1, 1)
    assert not category.judge(status, 550, "User unknown", action=Action.DELAYED).hard
    assert category.judge(status, 550, "User unknown", action=Action.RELAYED).category is Category.DELIVERED


def test_a_delay_without_a_reason_is_a_matter_of_time():
    assert category.judge(EnhancedStatus(4, 0, 0), None, "", action=Action.DELAYED).category is Category.TIMEOUT


@pytest.mark.parametrize("name", ["<mailbox.full@user-unknown.example>", "mx.user-unknown.example"])
def test_words_in_a_name_mean_nothing(name):
    assert category.judge(None, 550, f"{name}: sorry").category is Category.UNKNOWN


def test_the_text_for_people_is_asked_only_when_the_diagnostic_says_nothing():
    silent = Trouble("a@x.example", EnhancedStatus(5, 0, 0), None, "", Action.FAILED)
    exact = Trouble("a@x.example", EnhancedStatus(5, 2, 2), None, "", Action.FAILED)
    assert category.of_trouble(silent, "There is no such user here.").category is Category.USER_UNKNOWN
    assert category.of_trouble(exact, "There is no such user here.").category is Category.MAILBOX_FULL


@given(
    line=st.sampled_from(LINES),
    how=st.sampled_from(
        [str.upper, str.title, lambda text: text.replace(" ", "\r\n  "), lambda text: f"<p>{text}</p>"]
    ),
    address=st.sampled_from(["", "<mailbox.full@user-unknown.example> ", "spam@blocked.example "]),
)
def test_fault_b10_case_folds_html_and_addresses_in_the_text_change_nothing(line, how, address):
    answer = reply(line)
    text = " ".join(f"<b>{word}</b>" if at % 3 == 0 else word for at, word in enumerate(answer.text.split()))
    dressed = Reply(answer.code, answer.status, (address + how(text),))
    assert category.of_outcome(dressed, stage=Stage.RCPT) == category.of_outcome(answer, stage=Stage.RCPT)


@given(st.text(max_size=400), st.one_of(st.none(), st.integers(200, 599)))
def test_any_text_is_judged_and_a_transient_code_is_never_hard(text, code):
    verdict = category.judge(None, code, text)
    assert not (verdict.hard and code is not None and 400 <= code < 500)


@pytest.mark.parametrize(
    "text", ["a@" * 500_000, "a" * 1_000_000, "550-" * 250_000, "<b " * 300_000, "a." * 500_000, "user not " * 100_000]
)
def test_a_hostile_text_costs_no_time(text):
    category.judge(None, None, "loads the patterns")
    began = time.thread_time()
    category.judge(None, None, text)
    assert time.thread_time() - began < 0.1


@pytest.mark.parametrize(
    "said",
    [
        "Mailbox not available on this server, please try again later",
        "User not available on this host right now",
        "Recipient verification via LDAP failed",
        "User lookup in LDAP failed: timeout",
        "Verification against directory failed, try later",
        "Refused. Powered by XMail 5.1.1",
        "domena odesilatele neexistuje",
    ],
)
def test_a_host_in_trouble_and_a_programs_version_kill_no_address(said):
    assert not category.judge(None, 550, said).hard
