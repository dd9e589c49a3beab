from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail.dmarc import DmarcResult, evaluate
from mailrelay.mail.spf import SpfResult
from mailrelay.model.lookup import Answer, LookupStatus
from mailrelay.model.message import DkimResult, Verdict
from tests.support.answers import FAILED, Zone, ask_sync

NO_SPF = SpfResult(Verdict.NONE, "elsewhere.test")


def spf(domain: str, verdict: Verdict = Verdict.PASS) -> SpfResult:
    return SpfResult(verdict, domain)


def dkim(domain: str, verdict: Verdict = Verdict.PASS) -> tuple[DkimResult, ...]:
    return (DkimResult(verdict, domain, "s"),)


def run(
    domain: str, zone: Zone, spf_result: SpfResult = NO_SPF, signatures: tuple[DkimResult, ...] = ()
) -> DmarcResult:
    return ask_sync(evaluate(domain, spf_result, signatures), zone)


def published(**records: str) -> Zone:
    return Zone({("TXT", "_dmarc." + name.replace("_", ".")): text for name, text in records.items()})


ORG = {"example_org": "v=DMARC1; p=reject"}


@pytest.mark.parametrize(
    ("domain", "spf_result", "signatures", "verdict", "aligned"),
    [
        ("example.org", spf("example.org"), (), Verdict.PASS, True),
        ("example.org", spf("bounce.example.org"), (), Verdict.PASS, True),
        ("mail.example.org", NO_SPF, dkim("example.org"), Verdict.PASS, True),
        ("a.example.org", NO_SPF, dkim("b.example.org"), Verdict.PASS, True),
        ("example.org", spf("example.org", Verdict.FAIL), dkim("example.org", Verdict.FAIL), Verdict.FAIL, False),
        ("example.org", spf("evil.test"), dkim("evil.test"), Verdict.FAIL, False),
        ("example.org", spf("notexample.org"), (), Verdict.FAIL, False),
        ("example.org", spf("org"), (), Verdict.FAIL, False),
        ("example.org", NO_SPF, dkim("example.org", Verdict.TEMPERROR), Verdict.TEMPERROR, False),
        ("example.org", NO_SPF, dkim("evil.test", Verdict.TEMPERROR), Verdict.FAIL, False),
    ],
)
def test_i2_alignment(
    domain: str, spf_result: SpfResult, signatures: tuple[DkimResult, ...], verdict: Verdict, *, aligned: bool
) -> None:
    result = run(domain, published(**ORG), spf_result, signatures)
    assert (result.verdict, result.aligned, result.policy) == (verdict, aligned, "reject")


def test_strict_alignment_fails_dmarc_and_still_serves_i2() -> None:
    zone = published(example_org="v=DMARC1; p=none; aspf=s; adkim=s")
    result = run("example.org", zone, spf("bounce.example.org"), dkim("mail.example.org"))
    assert (result.verdict, result.aligned) == (Verdict.FAIL, True)
    assert run("example.org", zone, spf("example.org")).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("record", "domain", "policy"),
    [
        ("v=DMARC1; p=reject; sp=quarantine", "example.org", "reject"),
        ("v=DMARC1; p=reject; sp=quarantine", "there.example.org", "quarantine"),
        ("v=DMARC1; p=none; sp=quarantine; np=reject", "nowhere.example.org", "reject"),
        ("v=DMARC1; p=none; sp=quarantine; np=reject", "there.example.org", "quarantine"),
        ("v=DMARC1; p=bogus; rua=mailto:a@example.org", "example.org", "none"),
        ("v=DMARC1; P=Reject; unknown=1; pct=0; ;", "example.org", "reject"),
    ],
)
def test_the_policy_that_holds(record: str, domain: str, policy: str) -> None:
    zone = Zone({("TXT", "_dmarc.example.org"): record, ("A", "there.example.org"): "192.0.2.1"})
    assert run(domain, zone).policy == policy


def test_a_record_of_the_subdomain_comes_first() -> None:
    zone = published(example_org="v=DMARC1; p=reject", mail_example_org="v=DMARC1; p=none")
    result = run("mail.example.org", zone, spf("example.org"))
    assert (result.policy, result.verdict, result.organisational) == ("none", Verdict.PASS, "example.org")


def test_psd_n_ends_the_walk_and_makes_an_organisation() -> None:
    zone = published(example_org="v=DMARC1; p=reject", own_example_org="v=DMARC1; p=reject; psd=n")
    assert run("own.example.org", zone, spf("example.org")).verdict is Verdict.FAIL
    assert run("a.own.example.org", zone, spf("b.own.example.org")).verdict is Verdict.PASS
    # The other way about: own.example.org is under example.org, and yet another organisation.
    assert run("example.org", zone, spf("own.example.org")).verdict is Verdict.FAIL


def test_psd_y_puts_the_organisation_one_label_below() -> None:
    zone = published(bank="v=DMARC1; p=reject; psd=y")
    first = run("www.one.bank", zone, spf("mail.one.bank"))
    assert (first.verdict, first.organisational, first.policy) == (Verdict.PASS, "one.bank", "reject")
    assert run("one.bank", zone, spf("two.bank")).verdict is Verdict.FAIL


def test_the_walk_asks_eight_times_at_most() -> None:
    zone = Zone({})
    run(".".join("abcdefghijkl"), zone)
    names = [question.name for question in zone.asked]
    assert names[0] == "_dmarc.a.b.c.d.e.f.g.h.i.j.k.l"
    assert names[1] == "_dmarc.f.g.h.i.j.k.l"
    assert names[-1] == "_dmarc.l"
    assert len(names) == 8


def test_strangers_cost_no_questions() -> None:
    zone = published(**ORG)
    run("example.org", zone, spf("a.b.c.evil.test"), dkim("d.e.f.evil.test") * 5)
    assert len(zone.asked) == 2


def test_without_a_record_i2_goes_by_the_public_suffix_list() -> None:
    result = run("mail.example.co.uk", Zone({}), spf("bounce.example.co.uk"))
    assert (result.verdict, result.policy, result.aligned) == (Verdict.NONE, "", True)
    assert not run("one.co.uk", Zone({}), spf("two.co.uk")).aligned
    assert not run("example.co.uk", Zone({}), spf("co.uk")).aligned


def test_two_records_are_none() -> None:
    zone = Zone({("TXT", "_dmarc.example.org"): ["v=DMARC1; p=none", "v=DMARC1; p=reject"]})
    assert run("example.org", zone).verdict is Verdict.NONE


def test_a_dns_failure_is_temperror() -> None:
    zone = Zone({("TXT", "_dmarc.example.org"): FAILED})
    assert run("example.org", zone, spf("example.org", Verdict.FAIL)) == DmarcResult(
        Verdict.TEMPERROR, "", aligned=False, organisational="", reason="_dmarc.example.org: no answer in time"
    )
    assert run("example.org", zone, spf("example.org")).aligned


@pytest.mark.parametrize("domain", ["", "localhost", "[192.0.2.1]"])
def test_a_from_without_a_domain_is_never_aligned(domain: str) -> None:
    result = run(domain, Zone({}), spf(domain), dkim(domain))
    assert (result.verdict, result.aligned) == (Verdict.NONE, False)


@given(
    record=st.binary(max_size=60) | st.text("v=DMARC1; psnpadkimrej,:y", max_size=60).map(str.encode),
    domain=st.text(max_size=30),
    status=st.sampled_from(list(LookupStatus)),
)
def test_fault_p14_any_record_gives_a_verdict(record: bytes, domain: str, status: LookupStatus) -> None:
    def answers(question: object) -> Answer:
        return Answer(status, strings=(b"v=DMARC1;" + record,))

    ask_sync(evaluate(domain, spf("a." + domain), dkim("b." + domain)), answers)
