"""`mail/bounce/category.py`: what an answer means, whether the address is dead, whose fault it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail.bounce import category
from mailrelay.mail.bounce.phrases import GROUPS
from mailrelay.mail.bounce.report import Trouble
from mailrelay.model.delivery import Stage
from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.reply import EnhancedStatus, Reply

CASES = [
    (
        "550 5.1.1 <ann@shop.example>: Recipient address rejected: User unknown",
        Category.USER_UNKNOWN,
        True,
        Fault.RECIPIENT,
    ),
    (
        "450 4.1.1 <ann@shop.example>: Recipient address rejected: User unknown",
        Category.USER_UNKNOWN,
        False,
        Fault.RECIPIENT,
    ),
    ("550 5.4.1 Recipient address rejected: Access denied", Category.USER_UNKNOWN, True, Fault.RECIPIENT),
    ("550 5.7.1 Recipient address rejected: Access denied", Category.POLICY, False, Fault.NEITHER),
    ("550 5.7.1 <ann@shop.example>: Recipient address rejected: Not from you", Category.POLICY, False, Fault.NEITHER),
    ("550 5.1.1 IP address blacklisted by us", Category.POLICY, False, Fault.SENDER),
    ("552 5.2.2 Mailbox is full", Category.MAILBOX_FULL, False, Fault.RECIPIENT),
    ("552 5.3.4 Message size exceeds fixed limit", Category.TOO_LARGE, False, Fault.NEITHER),
    ("550 5.1.2 Host unknown", Category.HOST_UNKNOWN, True, Fault.RECIPIENT),
    ("451 4.4.4 Host not found", Category.TIMEOUT, False, Fault.NEITHER),
    ("556 5.1.10 Recipient domain has a null MX", Category.NO_MAIL_HOST, True, Fault.RECIPIENT),
    ("550 5.2.1 This account has been disabled", Category.INACTIVE, False, Fault.RECIPIENT),
    ("550 5.7.25 whatever", Category.POLICY, False, Fault.SENDER),
    ("550 5.7.26 user unknown", Category.POLICY, False, Fault.SENDER),
    ("550 5.7.515 Access denied", Category.POLICY, False, Fault.SENDER),
    ("550 5.7.28 Too much", Category.RATE_LIMITED, False, Fault.SENDER),
    ("421 4.7.0 Try again later, unusual rate of mail", Category.RATE_LIMITED, False, Fault.SENDER),
    ("450 4.7.1 Client host rejected: Greylisted", Category.RATE_LIMITED, False, Fault.NEITHER),
    ("550 5.7.1 No PTR record", Category.POLICY, False, Fault.SENDER),
    ("554 5.7.1 Relay access denied", Category.POLICY, False, Fault.NEITHER),
    ("554 5.6.0 This looks like spam", Category.CONTENT, False, Fault.NEITHER),
    ("451 4.4.1 Connection timed out", Category.TIMEOUT, False, Fault.NEITHER),
    ("451 4.3.0 Local configuration error", Category.SYSTEM, False, Fault.NEITHER),
    ("550", Category.UNKNOWN, False, Fault.NEITHER),
    ("551", Category.USER_UNKNOWN, True, Fault.RECIPIENT),
    ("250 2.1.5 Ok", Category.DELIVERED, False, Fault.NEITHER),
]


def reply(line: str) -> Reply:
    code, _, rest = line.partition(" ")
    first, _, text = rest.partition(" ")
    if first.count(".") == 2:
        klass, subject, detail = (int(number) for number in first.split("."))
        return Reply(int(code), EnhancedStatus(klass, subject, detail), (text,))
    return Reply(int(code), None, (rest,))


@pytest.mark.parametrize(("line", "meaning", "hard", "fault"), CASES, ids=[case[0][:60] for case in CASES])
def test_an_answer_means(line, meaning, hard, fault):
    assert category.of_outcome(reply(line), stage=Stage.RCPT) == category.Verdict(meaning, hard, fault)


BEFORE_RCPT = [Stage.CONNECT, Stage.TLS, Stage.AUTH, Stage.MAIL]


@pytest.mark.parametrize("stage", BEFORE_RCPT)
@pytest.mark.parametrize("line", [case[0] for case in CASES])
def test_before_rcpt_an_answer_is_never_about_the_recipient(line, stage):
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


def test_a_delay_is_never_hard_and_a_receipt_is_no_trouble():
    status = EnhancedStatus(5, 1, 1)
    assert not category.judge(status, 550, "User unknown", action=Action.DELAYED).hard
    assert category.judge(status, 550, "User unknown", action=Action.RELAYED).category is Category.DELIVERED


def test_words_in_an_address_mean_nothing():
    assert category.judge(None, 550, "<mailbox.full@user-unknown.example>: sorry").category is Category.UNKNOWN


def test_the_text_for_people_is_asked_only_when_the_diagnostic_says_nothing():
    silent = Trouble("a@x.example", EnhancedStatus(5, 0, 0), None, "", Action.FAILED)
    exact = Trouble("a@x.example", EnhancedStatus(5, 2, 2), None, "", Action.FAILED)
    assert category.of_trouble(silent, "There is no such user here.").category is Category.USER_UNKNOWN
    assert category.of_trouble(exact, "There is no such user here.").category is Category.MAILBOX_FULL


def test_every_phrase_can_be_found_in_what_it_is_compared_with():
    for group in GROUPS:
        for phrase in group.phrases:
            joined = " ".join(phrase)
            assert category.plain(joined).strip() == joined.strip(), phrase


@given(st.text(max_size=400), st.one_of(st.none(), st.integers(200, 599)))
def test_any_text_is_judged_and_a_transient_code_is_never_hard(text, code):
    verdict = category.judge(None, code, text)
    assert not (verdict.hard and code is not None and 400 <= code < 500)


@pytest.mark.parametrize("text", ["a@" * 500_000, "a" * 1_000_000, "550-" * 250_000])
def test_a_hostile_text_costs_no_time(text):
    began = time.thread_time()
    category.judge(None, None, text)
    assert time.thread_time() - began < 0.1
