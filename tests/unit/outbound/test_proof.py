"""O2: what a domain must show before mail leaves as it."""

from __future__ import annotations

from collections.abc import Callable

from mailrelay.model.lookup import Answer, LookupStatus, Question
from mailrelay.outbound.proof import Proof, prove


def run(answers: Callable[[Question], Answer], keys: dict[str, str]) -> Proof:
    dialogue = prove("example.org", keys)
    try:
        question = next(dialogue)
        while True:
            question = dialogue.send(answers(question))
    except StopIteration as end:
        result: Proof = end.value
        return result


def zone(**texts: bytes) -> Callable[[Question], Answer]:
    names = {name.replace("__", "."): text for name, text in texts.items()}

    def answer(question: Question) -> Answer:
        text = names.get(question.name)
        if text is None:
            return Answer(LookupStatus.NO_NAME)
        return Answer(LookupStatus.FOUND, strings=(text,))

    return answer


def test_o02_domain_with_our_key_is_proved_without_spf_and_dmarc() -> None:
    proof = run(zone(mr1___domainkey__example__org=b"v=DKIM1; k=rsa; p=QUJD RA=="), {"mr1": "QUJDRA=="})
    assert proof.proved is True
    assert [(check.what, check.passed) for check in proof.checks] == [("DKIM", True), ("SPF", False), ("DMARC", False)]


def test_o02_each_active_key_must_be_published() -> None:
    proof = run(zone(mr1___domainkey__example__org=b"v=DKIM1; p=AAAA"), {"mr1": "AAAA", "mr2": "BBBB"})
    assert proof.proved is False
    assert "missing: DKIM mr2._domainkey.example.org" in proof.explanation


def test_o02_a_foreign_key_proves_nothing_and_says_so() -> None:
    proof = run(zone(mr1___domainkey__example__org=b"p=ZZZZ"), {"mr1": "AAAA"})
    assert proof.proved is False
    assert "another key is published" in proof.explanation


def test_o02_a_domain_without_keys_is_not_proved() -> None:
    assert run(zone(), {}).proved is False


def test_o02_dns_failure_leaves_the_older_verdict() -> None:
    proof = run(lambda question: Answer(LookupStatus.TEMPORARY, detail="SERVFAIL"), {"mr1": "AAAA"})
    assert proof.proved is None
    assert "SERVFAIL" in proof.explanation


def test_o02_spf_and_dmarc_are_explained() -> None:
    proof = run(
        zone(
            mr1___domainkey__example__org=b"p=AAAA",
            example__org=b"v=spf1 -all",
            _dmarc__example__org=b"v=DMARC1; p=reject",
        ),
        {"mr1": "AAAA"},
    )
    assert [check.passed for check in proof.checks] == [True, True, True]
    assert "the policy is reject" in proof.explanation
