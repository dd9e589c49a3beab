"""Whether a mail may be answered automatically, decided from plain values (RFC 3834 §2, B06)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail.message import parse
from mailrelay.mail.spam_mark import spam_mark
from mailrelay.model.message import AuthVerdicts, Verdict
from mailrelay.model.settings import OrganisationSettings
from mailrelay.outbound.policy import answer
from mailrelay.outbound.policy.answer import Known, NoAnswer
from mailrelay.smtp.address import parse_address

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
ANNA, BOB = parse_address("anna@acme.test"), parse_address("bob@customer.test")
MAIL = b"From: Bob <bob@customer.test>\r\nTo: anna@acme.test\r\nSubject: Offer\r\n\r\nHello\r\n"
NOTHING = Known(ours=False, suppressed="", answered_at=None, this_hour=0, settings=OrganisationSettings())
FORGED = AuthVerdicts(
    spf=Verdict.FAIL,
    spf_domain="customer.test",
    spf_reason="",
    dkim=(),
    dmarc=Verdict.FAIL,
    dmarc_policy="reject",
    aligned=False,
)


def decide(raw: bytes = MAIL, known: Known = NOTHING, *, auth: AuthVerdicts | None = None) -> NoAnswer | None:
    asked = answer.read(parse(raw), outgoing=False, reverse_path=BOB, auth=auth)
    why = answer.decide(asked, known, answerer=(ANNA,), now=NOW)
    return None if why is None else why.reason


def test_a_persons_mail_is_answered() -> None:
    assert decide() is None
    assert decide(known=replace(NOTHING, answered_at=NOW - timedelta(days=7), this_hour=99)) is None
    assert decide(MAIL.replace(b"To: anna@acme.test", b"To: x@acme.test\r\nResent-To: Anna+x@acme.test")) is None


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (replace(NOTHING, ours=True), NoAnswer.OURSELVES),
        (replace(NOTHING, suppressed="bob@customer.test is suppressed"), NoAnswer.SUPPRESSED),
        (replace(NOTHING, answered_at=NOW - timedelta(days=7) + timedelta(seconds=1)), NoAnswer.ALREADY),
        (replace(NOTHING, this_hour=100), NoAnswer.TOO_MANY),
        (replace(NOTHING, settings=OrganisationSettings(answers_per_hour=0)), NoAnswer.TOO_MANY),
    ],
)
def test_what_the_store_knows_speaks_against_it(known: Known, reason: NoAnswer) -> None:
    assert decide(known=known) is reason


def test_nobody_is_answered_who_is_not_who_they_say() -> None:
    assert decide(auth=FORGED) is NoAnswer.FORGED
    assert decide(auth=replace(FORGED, aligned=True)) is None
    assert decide(auth=replace(FORGED, spf=Verdict.TEMPERROR, dmarc=Verdict.NONE)) is None


@pytest.mark.parametrize(
    ("field", "marked"),
    [
        ("X-Spam-Flag: YES", True),
        ("X-Spam-Flag: NO", False),
        ("X-Spam-Status: Yes, score=9.9", True),
        ("X-Spam-Status: No, score=0.1 yes", False),
        ("X-Spam: Yesterday", False),
        ("X-Rspamd-Action: add header", True),
        ("X-Rspamd-Action: no action", False),
        ("X-MS-Exchange-Organization-SCL: 9", True),
        ("X-MS-Exchange-Organization-SCL: -1", False),
        ("X-MS-Exchange-Organization-SCL: 1", False),
    ],
)
def test_a_filters_mark_is_read(field: str, marked: bool) -> None:
    assert bool(spam_mark(parse(field.encode() + b"\r\n" + MAIL))) is marked


@given(st.binary(max_size=300))
def test_any_bytes_are_judged(raw: bytes) -> None:
    decide(raw)
    decide(raw + MAIL)
