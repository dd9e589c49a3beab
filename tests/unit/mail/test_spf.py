from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail.spf import SpfResult, check
from mailrelay.model.address import Address
from mailrelay.model.lookup import Answer, LookupStatus, RecordType
from mailrelay.model.message import Verdict
from tests.support.answers import FAILED, Zone, ask_sync

FROM = Address("alice", "example.org")


def verdict_of(
    records: dict[tuple[str, str], object], ip: str = "192.0.2.7", sender: Address | None = FROM
) -> SpfResult:
    return ask_sync(check(ip, sender, "mx.example.org"), Zone(records))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", Verdict.PASS),
        ("v=spf1 ip4:198.51.100.0/24 -all", Verdict.FAIL),
        ("v=spf1 ip4:198.51.100.0/24 ~all", Verdict.SOFTFAIL),
        ("v=spf1 ?all", Verdict.NEUTRAL),
        ("v=spf1 a -all", Verdict.PASS),
        ("v=spf1 mx -all", Verdict.PASS),
        ("v=spf1 include:inc.test -all", Verdict.PASS),
        ("v=spf1 redirect=inc.test", Verdict.PASS),
        ("v=spf1 exists:%{i}.%{l}.ok.test -all", Verdict.PASS),
        ("v=spf1 ptr -all", Verdict.PASS),
        ("v=spf1 include:none.test -all", Verdict.PERMERROR),
        ("v=spf1 ip4:192.0.2.n -all", Verdict.PERMERROR),
        ("v=spf1 -all exp=hostile.test", Verdict.FAIL),
        ("nothing here", Verdict.NONE),
    ],
)
def test_i2_the_record_decides(record: str, verdict: Verdict) -> None:
    zone: dict[tuple[str, str], object] = {
        ("TXT", "example.org"): record,
        ("A", "example.org"): "192.0.2.7",
        ("MX", "example.org"): ["mx1.test", "mx2.test"],
        ("A", "mx1.test"): "192.0.2.1",
        ("A", "mx2.test"): "192.0.2.7",
        ("TXT", "inc.test"): "v=spf1 ip4:192.0.2.7 -all",
        ("A", "192.0.2.7.alice.ok.test"): "127.0.0.2",
        ("PTR", "7.2.0.192.in-addr.arpa"): "host.example.org",
        ("A", "host.example.org"): "192.0.2.7",
    }
    result = verdict_of(zone)
    assert (result.verdict, result.domain) == (verdict, "example.org")


def test_the_null_reverse_path_is_checked_as_postmaster_at_helo() -> None:
    zone: dict[tuple[str, str], object] = {("TXT", "mx.example.org"): "v=spf1 exists:%{l}.%{o}.x.test -all",
            ("A", "postmaster.mx.example.org.x.test"): "127.0.0.2"}  # fmt: skip
    assert verdict_of(zone, sender=None) == SpfResult(Verdict.PASS, "mx.example.org", "sender SPF authorized")


def test_a_quoted_local_part_with_an_at_sign_asks_the_right_domain() -> None:
    zone = Zone({("TXT", "example.org"): "v=spf1 -all", ("TXT", "evil.test"): "v=spf1 +all"})
    result = ask_sync(check("192.0.2.7", Address("a@evil.test", "example.org"), "h.test"), zone)
    assert (result.verdict, [question.name for question in zone.asked]) == (Verdict.FAIL, ["example.org"])


def test_ipv6_clients_are_checked_by_aaaa() -> None:
    zone: dict[tuple[str, str], object] = {
        ("TXT", "example.org"): "v=spf1 a -all",
        ("AAAA", "example.org"): "2001:db8::7",
    }
    assert verdict_of(zone, ip="2001:db8::7").verdict is Verdict.PASS
    assert verdict_of(zone, ip="2001:db8::8").verdict is Verdict.FAIL


def test_a_dns_failure_is_temperror_and_only_then() -> None:
    assert verdict_of({("TXT", "example.org"): FAILED}).verdict is Verdict.TEMPERROR
    assert (
        verdict_of({("TXT", "example.org"): "v=spf1 a -all", ("A", "example.org"): FAILED}).verdict is Verdict.TEMPERROR
    )
    # RFC 7208 §5.5: an error of the PTR question is no match.
    zone: dict[tuple[str, str], object] = {
        ("TXT", "example.org"): "v=spf1 ptr -all",
        ("PTR", "7.2.0.192.in-addr.arpa"): FAILED,
    }
    assert verdict_of(zone).verdict is Verdict.FAIL


def test_more_than_ten_lookups_are_permerror() -> None:
    def chain(length: int) -> dict[tuple[str, str], object]:
        zone: dict[tuple[str, str], object] = {("TXT", "example.org"): "v=spf1 include:i1.test -all"}
        for number in range(1, length):
            zone["TXT", f"i{number}.test"] = f"v=spf1 include:i{number + 1}.test -all"
        zone["TXT", f"i{length}.test"] = "v=spf1 ip4:192.0.2.7 -all"
        return zone

    assert verdict_of(chain(10)).verdict is Verdict.PASS
    assert verdict_of(chain(11)).verdict is Verdict.PERMERROR


def test_more_than_two_void_lookups_are_permerror() -> None:
    void = " ".join(f"a:void{number}.test" for number in range(2))
    assert verdict_of({("TXT", "example.org"): f"v=spf1 {void} ip4:192.0.2.7 -all"}).verdict is Verdict.PASS
    assert (
        verdict_of({("TXT", "example.org"): f"v=spf1 {void} a:void3.test ip4:192.0.2.7 -all"}).verdict
        is Verdict.PERMERROR
    )


def test_more_than_ten_mx_names_are_permerror() -> None:
    hosts = [f"m{number}.test" for number in range(11)]
    zone: dict[tuple[str, str], object] = {
        ("TXT", "example.org"): "v=spf1 mx ip4:192.0.2.7 -all",
        ("MX", "example.org"): hosts,
    }
    zone |= {("A", host): "192.0.2.9" for host in hosts}
    assert verdict_of(zone).verdict is Verdict.PERMERROR
    zone["MX", "example.org"] = hosts[:10]
    assert verdict_of(zone).verdict is Verdict.PASS


def test_a_record_that_includes_itself_ends() -> None:
    assert verdict_of({("TXT", "example.org"): "v=spf1 include:example.org -all"}).verdict is Verdict.PERMERROR


def test_a_stranger_s_explanation_is_never_asked_for() -> None:
    zone = Zone({("TXT", "example.org"): "v=spf1 -all exp=why.test", ("TXT", "why.test"): "call +1 900"})
    result = ask_sync(check("192.0.2.7", FROM, "h.test"), zone)
    assert [question.name for question in zone.asked] == ["example.org"]
    assert "900" not in result.reason


@pytest.mark.parametrize("domain", ["localhost", "[192.0.2.1]", "x" * 64 + ".org", "münchen.example", "a..b"])
def test_what_is_no_domain_name_has_no_policy(domain: str) -> None:
    assert verdict_of({}, sender=Address("a", domain)).verdict is Verdict.NONE
    assert ask_sync(check("192.0.2.1", None, domain), Zone({})).verdict is Verdict.NONE


def test_two_records_are_permerror() -> None:
    assert verdict_of({("TXT", "example.org"): ["v=spf1 -all", "v=spf1 +all"]}).verdict is Verdict.PERMERROR


@given(
    record=st.binary(max_size=80).map(b"v=spf1 ".__add__) | st.text("v=spf1 aipx:%{}/-~?.mredct0129dlosi", max_size=80).map(str.encode),
    local=st.text(max_size=20),
    ip=st.sampled_from(["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "junk", ""]),
    status=st.sampled_from(list(LookupStatus)),
)  # fmt: skip
def test_fault_p14_any_record_gives_a_verdict(record: bytes, local: str, ip: str, status: LookupStatus) -> None:
    def answers(question: object) -> Answer:
        return Answer(
            status, texts=("192.0.2.1",) if status is LookupStatus.FOUND else (), strings=(b"v=spf1 " + record,)
        )

    result = ask_sync(check(ip, Address(local, "example.org"), "helo.test"), answers)
    assert result.reason.isprintable()


def test_questions_are_of_dns_types_that_we_have() -> None:
    zone = Zone({("TXT", "example.org"): "v=spf1 mx ptr a exists:x.test -all"})
    ask_sync(check("192.0.2.7", FROM, "h.test"), zone)
    assert {question.type for question in zone.asked} <= {RecordType.TXT, RecordType.MX, RecordType.PTR, RecordType.A}
