"""TLS reports: who wants one, and what it says (RFC 8460)."""

from __future__ import annotations

import email
import email.policy
import gzip
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail.compose import Person
from mailrelay.mail.tls_report import ReportOf, document, packed, wanted, write
from mailrelay.model.address import Address
from mailrelay.model.tls_report import PolicyType, ResultType, TlsCount, TlsPolicy, TlsResult

ABOUT = ReportOf(
    destination="b.test",
    start=datetime(2026, 11, 1, tzinfo=UTC),
    organisation="Us",
    contact="postmaster@us.test",
    submitter="us.test",
)
STS = TlsPolicy(
    type=PolicyType.STS,
    domain="b.test",
    strings=("version: STSv1", "mode: enforce", "mx: *.b.test", "max_age: 86400"),
    mx_patterns=("*.b.test",),
)
NONE = TlsPolicy(type=PolicyType.NONE, domain="b.test")


def counted(policy: TlsPolicy, result: ResultType, sessions: int, **more: str) -> TlsCount:
    return TlsCount(
        day=0, sessions=sessions, result=TlsResult(destination="b.test", policy=policy, result=result, **more)
    )


@pytest.mark.parametrize(
    ("record", "endpoints"),
    [
        (b"v=TLSRPTv1; rua=mailto:tls@b.test", (Address("tls", "b.test"),)),
        (b"v=TLSRPTv1;rua=mailto:tls@b.test;", (Address("tls", "b.test"),)),
        (b"v=TLSRPTv1 ; x=1; RUA = https://r.b.test/tls", ("https://r.b.test/tls",)),
        (b"v=TLSRPTv1; rua=mailto:a%2Bb@b.test, https://r.b.test", (Address("a+b", "b.test"), "https://r.b.test")),
        (b"v=TLSRPTv1; rua=mailto:tls@b.test?subject=x", (Address("tls", "b.test"),)),
        (b"v=TLSRPTv1; rua=ftp://b.test,mailto:nobody", ()),
        (b"v=TLSRPTv1; rua=https://127.0.0.1/x,https://[::1]/", ()),
        (b"v=TLSRPTv1; rua=https://u:p@b.test/,https://b.test:25/", ()),
        (b"v=TLSRPTv1", ()),
        (b"v=TLSRPTv2; rua=mailto:tls@b.test", ()),
        (b"v=TLSRPTv1; rua=mailto:\xff@b.test", ()),
    ],
)
def test_who_wants_a_report(record: bytes, endpoints: tuple[object, ...]) -> None:
    assert wanted((b"v=spf1 -all", record)) == endpoints


def test_two_records_are_as_good_as_none() -> None:
    assert wanted((b"v=TLSRPTv1; rua=mailto:a@b.test", b"v=TLSRPTv1; rua=mailto:c@b.test")) == ()


def test_a_record_cannot_make_us_write_to_everybody() -> None:
    many = b",".join(b"mailto:a%d@b.test" % n for n in range(100))
    assert len(wanted((b"v=TLSRPTv1; rua=" + many,))) == 4


@given(st.lists(st.binary(max_size=200).map(lambda tail: b"v=TLSRPTv1; rua=" + tail), max_size=2))
def test_any_record_is_read_or_passed_over(records: list[bytes]) -> None:
    for one in wanted(records):
        assert isinstance(one, Address) or one.lower().startswith("https:")


def test_the_report_counts_successes_and_tells_failures_by_policy() -> None:
    report = json.loads(
        document(
            ABOUT,
            [
                counted(STS, ResultType.SUCCESS, 5, mx_host="mx.b.test"),
                counted(
                    STS,
                    ResultType.CERTIFICATE_EXPIRED,
                    2,
                    mx_host="mx.b.test",
                    ip="192.0.2.7",
                    source_ip="198.51.100.1",
                    detail="certificate has expired",
                ),
                counted(STS, ResultType.STS_POLICY_FETCH_ERROR, 1),
                counted(NONE, ResultType.SUCCESS, 7),
            ],
        )
    )
    assert report["organization-name"] == "Us"
    assert report["contact-info"] == "postmaster@us.test"
    assert report["date-range"] == {
        "start-datetime": "2026-11-01T00:00:00Z",
        "end-datetime": "2026-11-01T23:59:59Z",
    }
    sts, none = report["policies"]
    assert sts["policy"] == {
        "policy-type": "sts",
        "policy-string": ["version: STSv1", "mode: enforce", "mx: *.b.test", "max_age: 86400"],
        "policy-domain": "b.test",
        "mx-host": ["*.b.test"],
    }
    assert sts["summary"] == {"total-successful-session-count": 5, "total-failure-session-count": 3}
    assert sts["failure-details"] == [
        {
            "result-type": "certificate-expired",
            "sending-mta-ip": "198.51.100.1",
            "receiving-mx-hostname": "mx.b.test",
            "receiving-ip": "192.0.2.7",
            "failure-reason-code": "certificate has expired",
            "failed-session-count": 2,
        },
        {"result-type": "sts-policy-fetch-error", "failed-session-count": 1},
    ]
    assert none == {
        "policy": {"policy-type": "no-policy-found", "policy-domain": "b.test"},
        "summary": {"total-successful-session-count": 7, "total-failure-session-count": 0},
    }


def test_the_mail_is_what_receivers_look_for() -> None:
    report = packed(document(ABOUT, [counted(NONE, ResultType.SUCCESS, 1)]))
    raw = write(
        ABOUT,
        report,
        to=Address("tls", "b.test"),
        from_=Person("Us", Address("postmaster", "us.test")),
        at=datetime(2026, 11, 2, 1, tzinfo=UTC),
    )
    assert raw.count(b"\n") == raw.count(b"\r\n")
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["TLS-Report-Domain"] == "b.test"
    assert mail["TLS-Report-Submitter"] == "us.test"
    assert mail["TLS-Required"] == "No"
    assert mail["Subject"] == f"Report Domain: b.test Submitter: us.test Report-ID: <{ABOUT.id}>"
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "tlsrpt"
    text, attached = mail.iter_parts()
    assert "b.test" in text.get_content()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename() == "us.test!b.test!1793491200!1793577599!001.json.gz"
    assert json.loads(gzip.decompress(attached.get_content()))["report-id"] == ABOUT.id
