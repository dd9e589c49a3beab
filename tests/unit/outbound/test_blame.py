"""O17: whose mail an answer that blames the sender stops; what a relay calls a mail; what a job may be called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailrelay.errors import Invalid
from mailrelay.model.address import Address
from mailrelay.model.feedback import Fault
from mailrelay.model.sending import Scope, Sending
from mailrelay.outbound.job import take_job
from mailrelay.outbound.policy import blame
from mailrelay.outbound.verdict import relay_ids
from tests.support.clock import FakeClock
from tests.support.delivery import a_delivery

JOB, DOMAIN = Sending(Scope.JOB, "spring"), Sending(Scope.DOMAIN, "a.test")


def test_the_job_is_stopped_or_else_the_domain() -> None:
    mail = a_delivery(FakeClock(), mail_from=Address("anna", "a.test"))
    assert blame.blame(mail, Fault.SENDER, permanent=True) == blame.Blame(True, stops=DOMAIN)
    assert blame.blame(replace(mail, job="spring"), Fault.SENDER, permanent=True) == blame.Blame(True, stops=JOB)
    assert blame.sendings(replace(mail, job="spring")) == (JOB, DOMAIN)


def test_a_throttle_stops_nothing_and_a_recipients_fault_blames_nobody() -> None:
    mail = a_delivery(FakeClock(), job="spring")
    assert blame.blame(mail, Fault.SENDER, permanent=False) == blame.Blame(False, stops=None)
    for fault in (Fault.RECIPIENT, Fault.NEITHER):
        assert blame.blame(mail, fault, permanent=True) is None


def test_a_notice_of_ours_is_nobodys_sending() -> None:
    notice = a_delivery(FakeClock(), mail_from=None)
    assert blame.sendings(notice) == ()
    assert blame.blame(notice, Fault.SENDER, permanent=True) == blame.Blame(True, stops=None)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Ok 0102018f3a9b2c4d-1a2b3c4d-0000-1111-2222-333344445555-000000", None),
        ("2.0.0 Ok: queued as 4Xb1Yz0Qk3z9rTq1", ("4Xb1Yz0Qk3z9rTq1",)),
        ("Ok: queued as 1A2B3C4D5E", ()),  # too short to be anybody's alone
        ("Requested mail action okay, completed and delivered-to-nobody-else", ()),  # words
        ("<20261102093000.1234567890@relay.test> queued", ("20261102093000.1234567890",)),
        (" ".join(f"abcdefghijklmnop{n}" for n in range(9)), tuple(f"abcdefghijklmnop{n}" for n in range(3))),
        ("", ()),
    ],
)
def test_a_relays_name_for_a_mail_is_a_long_word_with_a_digit(text: str, names: tuple[str, ...] | None) -> None:
    assert relay_ids(text) == (tuple(text.split()[1:]) if names is None else names)


@pytest.mark.parametrize(
    ("answers", "reports", "domains", "needed", "suspends"),
    [
        (0, 0, 0, 1, False),
        (1, 0, 0, 1, True),
        (0, 1, 1, 1, False),
        (0, 50, 1, 1, False),
        (0, 2, 2, 1, True),
        (0, 2, 2, 3, False),
        (1, 1, 1, 2, True),
        (2, 0, 0, 3, False),
    ],
)
def test_refusals_suspend_when_they_are_enough_and_not_of_one_domain_by_mail(
    answers: int, reports: int, domains: int, needed: int, suspends: bool
) -> None:
    assert blame.enough(answers, reports, domains, needed=needed) is suspends


def test_a_job_is_taken_out_of_the_header() -> None:
    raw = (
        b"From: a@b.test\r\nX-Mailrelay-Job: Spring 2026 \xc3\xa4\r\nTo: c@d.test\r\n\r\nX-Mailrelay-Job: not this\r\n"
    )
    left, job = take_job(raw)
    assert job == "Spring 2026 ä"
    assert left == b"From: a@b.test\r\nTo: c@d.test\r\n\r\nX-Mailrelay-Job: not this\r\n"
    assert take_job(left) == (left, "")


@pytest.mark.parametrize("value", [b"", b"x" * 65, b"a\x01b", b"a\r\nX-Mailrelay-Job: b"])
def test_a_job_that_is_no_name_is_refused(value: bytes) -> None:
    with pytest.raises(Invalid, match="X-Mailrelay-Job"):
        take_job(b"X-Mailrelay-Job: " + value + b"\r\n\r\n")
