"""Suppression lists as files: ours come back as they were, others' words are understood (O10)."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.crm import suppressed
from mailrelay.crm.row import BadLine
from mailrelay.crm.suppressed import Entry, Reader
from mailrelay.errors import Invalid
from mailrelay.ids import OrgId
from mailrelay.model.suppression import Suppression, SuppressionReason
from mailrelay.smtp.address import parse_address

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def read(text: str | bytes, *, reason: SuppressionReason | None = None) -> list[Entry | BadLine]:
    data = text.encode() if isinstance(text, str) else text
    return list(Reader(reason=reason, now=NOW).csv(io.BytesIO(data)))


def entry(text: str, **how: SuppressionReason) -> Entry:
    (found,) = read(text, **how)
    assert isinstance(found, Entry), found
    return found


_TIMES = st.datetimes(datetime(2001, 1, 1), datetime(2026, 11, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
_LINES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=30)
_ADDRESSES = st.sampled_from(
    ["a@x.test", "'=cmd@x.test", "'x@x.test", "=1+1@x.test", "+49@x.test", "-a@x.test", '"a b"@x.test', '"a@b"@x.test']
)
_SUPPRESSIONS = st.builds(
    Suppression,
    org=st.just(OrgId("O")),
    key=_ADDRESSES.map(lambda text: parse_address(text).key),
    reason=st.sampled_from(SuppressionReason),
    since=_TIMES,
    evidence=st.one_of(st.sampled_from(["=HYPERLINK()", "'=x", "''", "-1", "@x", "imported"]), _LINES.filter(bool)),
    by=_LINES,
    lifted_at=st.none() | _TIMES,
    lifted_by=st.none() | _LINES.filter(bool),
    note=_LINES,
)


@given(st.lists(_SUPPRESSIONS, max_size=5))
def test_what_is_written_is_read_again(kept: list[Suppression]) -> None:
    half = len(kept) // 2
    as_csv = suppressed.csv_of(kept[:half], header=True) + suppressed.csv_of(kept[half:], header=False)
    reader = Reader(reason=None, now=NOW)
    for found in (
        list(reader.csv(io.BytesIO(as_csv))),
        list(reader.ndjson(io.BytesIO(suppressed.ndjson_of(kept)))),
    ):
        again = []
        for one in found:
            assert isinstance(one, Entry), one
            assert one.since is not None
            fields = {name: getattr(one, name) for name in ("key", "reason", "since", "evidence", "by", "note")}
            again.append(Suppression(org=OrgId("O"), lifted_at=one.lifted_at, lifted_by=one.lifted_by, **fields))
        assert again == kept
    assert reader.ignored == ()


@given(st.lists(_SUPPRESSIONS, min_size=1, max_size=3))
def test_no_cell_is_a_formula(kept: list[Suppression]) -> None:
    for row in csv.reader(io.StringIO(suppressed.csv_of(kept, header=False).decode(), newline="")):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    reader = Reader(reason=None, now=NOW)
    list(reader.ndjson(io.BytesIO(b"{}\n" + data)))
    assert all(isinstance(one, Entry | BadLine) for one in reader.csv(io.BytesIO(b"address,since\n" + data)))


@pytest.mark.parametrize(
    ("file", "reason", "since"),
    [
        ("email,reason,created\na@x.test,Bounce,1767260000\n", SuppressionReason.HARD_BOUNCE, "2026-01-01T09:33:20"),
        ("Email Address;Type\na@x.test;Spam Report\n", SuppressionReason.COMPLAINT, ""),
        (
            "Recipient\tCreated_At\na@x.test\t2026-01-31 10:00:00 UTC\n",
            SuppressionReason.BY_HAND,
            "2026-01-31T10:00:00",
        ),
        (
            "E-Mail,REASON,Timestamp\na@x.test,opt-out,2026-01-31T10:00:00+02:00\n",
            SuppressionReason.OPTED_OUT,
            "2026-01-31T08:00:00",
        ),
        ("address,reason\nA@X.test,global_unsubscribe\n", SuppressionReason.UNSUBSCRIBED, ""),
    ],
)
def test_the_words_of_other_services_are_understood(file: str, reason: SuppressionReason, since: str) -> None:
    found = entry(file)
    assert (found.key, found.reason) == ("a@x.test", reason)
    assert (found.since.isoformat() if found.since else "") == (since and f"{since}+00:00")


def test_one_reason_for_all_lines_keeps_their_own_as_evidence() -> None:
    found = entry("status,reason,email\n5.1.1,550 5.1.1 no such user,a@x.test\n", reason=SuppressionReason.HARD_BOUNCE)
    assert (found.reason, found.evidence) == (SuppressionReason.HARD_BOUNCE, "550 5.1.1 no such user")


def test_columns_that_mean_nothing_are_named() -> None:
    reader = Reader(reason=None, now=NOW)
    assert len(list(reader.csv(io.BytesIO(b"address,sinse,ip\na@x.test,2026-01-01,192.0.2.1\n")))) == 1
    assert reader.ignored == ("ip", "sinse")
    reader = Reader(reason=None, now=NOW)
    assert len(list(reader.ndjson(io.BytesIO(b'{"email": "a@x.test", "user": {"a": 1}}\n')))) == 1
    assert reader.ignored == ("user",)


@pytest.mark.parametrize(
    ("line", "because"),
    [
        (",by_hand,", "address: is missing"),
        ("nobody,by_hand,", "address: The address has no @domain"),
        ("a@x.test,because,", "reason: because is none of hard_bounce, soft_bounces, complaint, "),
        ("a@x.test,locked,yesterday", "since: yesterday is no date such as 2026-01-31"),
        ("a@x.test,locked,99999999999999999", "since: 99999999999999999 is no date"),
        ("a@x.test,locked,2027-01-01", "since: 2027-01-01 lies in the future"),
        ("a@x.test,lo\0cked,", "reason: holds a NUL character"),
        ("a@x.test", "has 1 columns, and the header has 3"),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_the_next_is_read(line: str, because: str) -> None:
    bad, good = read(f"address,reason,since\n{line}\nb@x.test,,\n")
    assert isinstance(bad, BadLine)
    assert bad.line == 2
    assert bad.because.startswith(because)
    assert isinstance(good, Entry)


def test_a_date_that_is_a_zone_ahead_is_today() -> None:
    assert entry(f"address,since\na@x.test,{NOW + timedelta(hours=5)}\n").since == NOW


def test_a_file_without_addresses_is_refused_at_once() -> None:
    with pytest.raises(Invalid, match=r"line 1: there is no column address \(or email\)"):
        read("name,reason\nBob,bounce\n")
