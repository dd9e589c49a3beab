"""Mail that Postfix takes from us and returns, in all the usual ways."""

from __future__ import annotations

import json
import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mailrelay.mail import message
from mailrelay.mail.bounce import classify
from tests.support.daemon import daemon, until
from tests.support.dovecot import dovecot
from tests.support.postfix import free_port, postfix
from tests.support.returned import USER, Believed, Case, Sender, believed, listening

pytestmark = pytest.mark.e2e


UNKNOWN = Believed("failed", "user_unknown", hard=True, fault="recipient", status="5.1.1")
POLICY = Believed("failed", "policy", status="5.7.1")
GREYLISTED = Believed("failed", "rate_limited", status="4.2.0")
AWAY = Believed("failed", "timeout", status="4.4.1")

TAKEN_LATE = Case("delayed and then taken", "bob@slow.test", (replace(AWAY, action="delayed"),))

CASES = (
    Case("unknown after accept", "nobody@customer.test", (UNKNOWN,)),
    Case("unknown in dialogue", "stranger@customer.test", refused=UNKNOWN),
    Case("unknown at the next hop", "nobody@far.test", (UNKNOWN,)),
    Case("unknown by LMTP", "nobody@lmtp.test", (UNKNOWN,)),
    Case(
        "mailbox full",
        "full@lmtp.test",
        (Believed("failed", "mailbox_full", fault="recipient", status="5.2.2"),),
        kilobytes=8,
    ),
    Case(
        "too large in dialogue",
        "bob@customer.test",
        refused=Believed("failed", "too_large", status="5.3.4"),
        kilobytes=60,
    ),
    Case(
        "too large at the next hop",
        "bob@far.test",
        (Believed("failed", "too_large", status="5.3.4"),),
        kilobytes=30,
    ),
    Case("policy at the next hop", "guarded@far.test", (POLICY,)),
    Case("content in dialogue", "bob@customer.test", refused=POLICY, text="The word is xyzzy-refused"),
    Case("content at the next hop", "bob@far.test", (POLICY,), text="The word is xyzzy-unwanted"),
    Case(
        "host unknown",
        "bob@nowhere.test",
        (Believed("failed", "host_unknown", hard=True, fault="recipient", status="5.4.4"),),
        asks_dns=True,
    ),
    Case("greylisted until it expires", "later@far.test", (replace(GREYLISTED, action="delayed"), GREYLISTED)),
    Case("nobody listens until it expires", "bob@dead.test", (replace(AWAY, action="delayed"), AWAY)),
    TAKEN_LATE,
    Case("taken", "bob@customer.test"),
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    slow, dead = free_port(), free_port()
    far_settings = {
        "virtual_mailbox_domains": "far.test",
        "users": "bob, later, guarded",
        "message_size_limit": "20000",
        "virtual_mailbox_limit": "20000",
        "smtpd_recipient_restrictions": "check_recipient_access inline:{ {later@far.test = 450 4.2.0 Greylisted, see you},"
        " {guarded@far.test = 550 5.7.1 Not from you} }",
        "body_checks": "regexp:{ {/xyzzy-unwanted/ REJECT 5.7.1 We do not want this} }",
    }
    with dovecot("full") as boxes, postfix(far_settings) as far:
        edge = free_port()
        near_settings = {
            "virtual_mailbox_domains": "customer.test",
            "users": "bob",
            "message_size_limit": "50000",
            "virtual_mailbox_limit": "50000",
            "smtpd_reject_unlisted_recipient": "no",
            "smtpd_recipient_restrictions": "check_recipient_access inline:{ {stranger@customer.test = reject_unlisted_recipient} }",
            "transport_maps": "inline:{"
            f" bounce.test=smtp:[127.0.0.1]:{edge}, far.test=smtp:[127.0.0.1]:{far.port},"
            f" lmtp.test=lmtp:inet:127.0.0.1:{boxes.port}, dead.test=smtp:[127.0.0.1]:{dead},"
            f" slow.test=smtp:[127.0.0.1]:{slow} }}",
            "body_checks": "regexp:{ {/xyzzy-refused/ REJECT 5.7.1 We do not want this} }",
            "delay_warning_time": "1s",
            "maximal_queue_lifetime": "7s",
        }
        with postfix(near_settings) as near:
            settings = {
                "delivery": {
                    "route": "smart_host",
                    "smart_host": {"host": "127.0.0.1", "port": near.port, "tls": "never"},
                    "allow_private": True,
                }
            }
            with daemon(tmp_path_factory.mktemp("relay"), settings, start=False) as relay:
                relay.edge = edge
                relay.start()
                sender = Sender(relay, lambda: near.log + far.log)
                for case in CASES:
                    sender.send(case)
                sender.returned(TAKEN_LATE, 1)
                with listening(slow):
                    yield sender


@pytest.mark.parametrize("case", [one for one in CASES if one.returned], ids=lambda one: one.name)
def test_what_comes_back_is_believed(here: Sender, case: Case) -> None:
    found = here.returned(case, len(case.returned))
    assert len(found) == len(case.returned)
    for raw, expected in zip(found, case.returned, strict=True):
        assert believed(raw, expected) == (case.to, expected)


@pytest.mark.parametrize("case", [one for one in CASES if one.refused], ids=lambda one: one.name)
def test_what_is_refused_in_the_dialogue_does_not_come_back(here: Sender, case: Case) -> None:
    assert case.refused is not None
    assert case.refused.status in here.dialogue(case)["last_reply"]
    assert case.subject not in here.back


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_what_follows_is_in_the_delivery_the_journal_and_the_suppression_list(here: Sender, case: Case) -> None:
    here.returned(case, len(case.returned))
    here.consequences(case)


def test_who_is_dead_is_not_written_to_again(here: Sender) -> None:
    dead = next(one for one in CASES if one.returned and one.returned[0].hard)
    here.consequences(dead)
    assert "hard_bounce" in here.refusal(Case("again", dead.to))


def test_nothing_comes_back_but_that(here: Sender) -> None:
    possible = [case for case in CASES if case.possible]
    for case in possible:
        here.returned(case, len(case.returned))
    assert {case.name: len(here.back.get(case.subject, [])) for case in possible} == {
        case.name: len(case.returned) for case in possible
    }


def test_a_receipt_that_the_author_asked_for_ends_the_delivery_as_delivered(here: Sender) -> None:
    receipt = Case("receipt", "bob@customer.test")
    house = json.loads((here.relay.data / "sample.json").read_text())
    mail = f"From: {USER}\r\nTo: {receipt.to}\r\nSubject: {receipt.subject}\r\n\r\nHello\r\n"
    with smtplib.SMTP("127.0.0.1", here.relay.submission, "laptop.test", timeout=20) as client:
        client.starttls(context=ssl._create_unverified_context())
        client.login(USER, house["password"])
        client.sendmail(USER, receipt.to, mail, rcpt_options=["NOTIFY=SUCCESS,FAILURE"])
    (raw,) = here.returned(receipt, 1)
    report = classify(message.parse(raw), envelope_from_null=True)
    assert report is not None
    assert (report.kind, report.recipients[0].recipient) == ("delivered", receipt.to)

    def delivered() -> bool:
        (found,) = [one for one in here.ask("messages")["items"] if one["subject"] == receipt.subject]
        return bool(found["status"] == "delivered")

    until(delivered, "the receipt is believed")
    assert here.suppressed(receipt.to) == []
