"""Bulk files line by line: what is read, and the sentence for what is not (R7)."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.crm.lines import MAX_LINE
from mailrelay.crm.provider.bulk import BadLine, Row, read_csv, read_ndjson
from mailrelay.errors import Invalid
from mailrelay.model.record import RecordLink, RecordRef

HEADER = "module,id,name,email,owner,links,phone\r\n"
GOOD = "lead,1,Bob,bob@x.test,,,\r\n"
UNCLOSED = "has a quotation mark that is not closed, or one inside a value that is not doubled"


def csv_rows(text: str | bytes) -> list[Row | BadLine]:
    return list(read_csv(io.BytesIO(text if isinstance(text, bytes) else text.encode())))


def json_rows(text: str | bytes) -> list[Row | BadLine]:
    return list(read_ndjson(io.BytesIO(text if isinstance(text, bytes) else text.encode())))


def test_a_csv_line_is_a_record() -> None:
    text = HEADER + 'contact,17,"O\'Hara, ""Zoë""",z@x.test,anna@a.example,account=account/3; boss = contact/9,=1+1\r\n'
    assert csv_rows(text) == [
        Row(
            line=2,
            ref=RecordRef("contact", "17"),
            name='O\'Hara, "Zoë"',
            owner="anna@a.example",
            links=(
                RecordLink(role="account", to=RecordRef("account", "3")),
                RecordLink(role="boss", to=RecordRef("contact", "9")),
            ),
            values=(("email", "z@x.test"), ("phone", "=1+1")),
        )
    ]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_spreadsheets_own_delimiters_are_read(delimiter: str) -> None:
    text = "\ufeff" + (HEADER + GOOD).replace(",", delimiter).replace("\r\n", "\n")
    assert csv_rows(text) == csv_rows(HEADER + GOOD)


def test_empty_lines_and_a_missing_last_line_end_are_no_faults() -> None:
    rows = csv_rows(HEADER + "\r\n" + GOOD + ",,,,,,\r\n" + GOOD.strip())
    assert [(type(row), row.line) for row in rows] == [(Row, 3), (Row, 5)]


def test_a_quoted_value_may_run_over_lines_and_numbers_stay_right() -> None:
    rows = csv_rows(HEADER + 'lead,1,Bob,,,,"1\r\n2"\r\n' + GOOD + "lead,,,,,,\r\n")
    assert isinstance(rows[0], Row)
    assert rows[0].values == (("phone", "1\r\n2"),)
    assert [row.line for row in rows] == [2, 4, 5]


def test_fault_p09_a_name_is_one_line() -> None:
    (row,) = csv_rows(HEADER + 'lead,1," Bob\r\nBcc:\tx ",,,,\r\n')
    assert isinstance(row, Row)
    assert row.name == "Bob Bcc: x"


@pytest.mark.parametrize(
    ("line", "because"),
    [
        ("lead,2,Bob\r\n", "has 3 columns, and the header has 7"),
        ("lead,2,Bob,,,,,,\r\n", "has 9 columns, and the header has 7"),
        ("lead,,Bob,,,,\r\n", "id: is missing"),
        (",2,Bob,,,,\r\n", "module: is missing"),
        ("lead,2, ,,,,\r\n", "name: is missing"),
        ('lead,2,"Bob" x,,,,\r\n', UNCLOSED),
        (
            "lead,2,Bo\rb,,,,\r\n",
            "has a carriage return in the middle of a value; values with line ends must be quoted",
        ),
        ("lead,2,Bob,,,,\0\r\n", "phone: holds a NUL character"),
        (f"lead,{'9' * 201},Bob,,,,\r\n", f"id: {'9' * 79}… is longer than 200 characters or holds control characters"),
        ("lead,2,Bob,,,account,\r\n", "links: account is not of the form role=module/id"),
        ("lead,2,Bob,,,=account/1,\r\n", "links: =account/1 lacks its role, module or id, or is too long"),
        ("lead,2,Bob,,,account=account/,\r\n", "links: account=account/ lacks its role, module or id, or is too long"),
        (f"lead,2,Bob,,,,{'x' * MAX_LINE}\r\n", "is longer than 1,000,000 bytes"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_a_bad_csv_line_is_told_and_its_neighbours_are_read(line: str, because: str) -> None:
    rows = csv_rows(HEADER + GOOD + line + GOOD)
    assert rows[1] == BadLine(3, because)
    assert [(type(row), row.line) for row in (rows[0], rows[2])] == [(Row, 2), (Row, 4)]
    assert len(rows) == 3


def test_bytes_that_are_not_utf8_cost_their_line_only() -> None:
    rows = csv_rows(HEADER.encode() + b"lead,2,Z\xfcrich,,,,\r\n" + GOOD.encode())
    assert rows[0] == BadLine(2, "is not UTF-8: byte 0xfc at 9")
    assert isinstance(rows[1], Row)


def test_a_quotation_mark_left_open_costs_its_line_only() -> None:
    rows = csv_rows(HEADER + 'lead,2,"Bob,,,,\r\n' + GOOD + GOOD)
    assert rows[0] == BadLine(2, UNCLOSED)
    assert [(type(row), row.line) for row in rows[1:]] == [(Row, 3), (Row, 4)]


def test_a_quotation_mark_left_open_before_a_line_that_is_not_utf8_costs_both() -> None:
    rows = csv_rows(HEADER.encode() + b'lead,2,"Bob,,,,\r\n' + GOOD.encode() + b"lead,4,\xff,,,,\r\n" + GOOD.encode())
    assert rows[0] == BadLine(2, "runs on to a line that is not UTF-8: byte 0xff at 8")
    assert [(type(row), row.line) for row in rows[1:]] == [(Row, 3), (BadLine, 4), (Row, 5)]


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (b"", "line 1: the file is empty; its first line must name the columns"),
        (b"module,id,name,id\r\n", "line 1: two columns are named id"),
        (b"module,id,email\r\n", "line 1: there is no column name"),
        (b"module;id;email\r\n", "line 1: there is no column name"),
        (b"module,id,name,\x1bemail\r\n", "line 1: the column name \\x1bemail holds control characters"),
        (b'module,id,"name\r\n', f"line 1: the header {UNCLOSED}"),
        (b"module,id,n\xe4me\r\n", "line 1: the header is not UTF-8: byte 0xe4 at 12"),
        ("module,id,name\r\n".encode("utf-16"), "line 1: the file is UTF-16; save it as UTF-8"),
    ],
)
def test_a_header_that_does_not_tell_the_columns_is_refused(text: bytes, because: str) -> None:
    with pytest.raises(Invalid) as refused:
        csv_rows(text)
    assert str(refused.value) == because


def test_a_json_line_is_a_record() -> None:
    line = json.dumps(
        {
            "module": "contact",
            "id": 17,
            "name": "Zoë",
            "email": "z@x.test",
            "owner": None,
            "links": ["account=account/3", {"role": "boss", "module": "contact", "id": "9"}],
            "amount": 1.50,
            "vip": True,
            "note": "a\nb",
        }
    ).replace("1.5", "1.50")
    assert json_rows(line + "\n\n" + line) == [
        Row(
            line=number,
            ref=RecordRef("contact", "17"),
            name="Zoë",
            owner="",
            links=(
                RecordLink(role="account", to=RecordRef("account", "3")),
                RecordLink(role="boss", to=RecordRef("contact", "9")),
            ),
            values=(("email", "z@x.test"), ("amount", "1.50"), ("vip", "true"), ("note", "a\nb")),
        )
        for number in (1, 3)
    ]


@pytest.mark.parametrize(
    ("line", "because"),
    [
        (b'{"module" "lead"}', "is not JSON: Expecting ':' delimiter at column 11"),
        (b"[1]", "is not a JSON object"),
        (b'{"module": "lead", "id": "1"}', "name: is missing"),
        (b'{"module": "lead", "id": "1", "id": "2", "name": "x"}', "names id twice"),
        (b'{"module": "lead", "id": "1", "name": NaN}', "NaN is no JSON value"),
        (b'{"module": "lead", "id": "1", "name": "\xff"}', "is not UTF-8: byte 0xff at 40"),
        (b'{"module": "lead", "id": "1", "name": "\\u0000"}', "name: holds a NUL character"),
        (b'{"module": "lead", "id": "1", "name": "\\ud800"}', "name: holds half of a surrogate pair"),
        (b'{"module": "lead", "id": "1", "name": "x", "links": "a=b/1"}', "links: is not a list"),
        (
            b'{"module": "lead", "id": "1", "name": "x", "links": [{"role": "a"}]}',
            'links: an entry must be "role=module/id" or have role and to',
        ),
        (
            b'{"ref": "lead/1", "name": "x", "email": "a@x.test"}',
            "email: there is no such field; put it in fields, or an address in addresses",
        ),
        (b'{"ref": "lead/1", "id": "2", "name": "x"}', "ref: does not agree with id"),
        (b'{"ref": "lead", "name": "x"}', "id: is missing"),
        (
            b'{"module": "lead", "id": "1", "name": "x", "addresses": ["a@x.test"]}',
            "addresses: an entry must have field and address",
        ),
        (b'{"module": "lead", "id": "1", "name": "x", "addresses": {"email": [7]}}', "email: is not an address"),
        (b'{"module": "lead", "id": "1", "name": "x", "addresses": {}, "fields": 7}', "fields: is not an object"),
        (b'{"ref": "lead/1", "name": "x", "fields": {"a": "\\u0000"}}', "a: holds a NUL character"),
        (b"[" * 200_000, "is nested too deeply"),
    ],
)
def test_a_bad_json_line_is_told_and_its_neighbours_are_read(line: bytes, because: str) -> None:
    good = b'{"module": "lead", "id": "1", "name": "x"}\n'
    rows = json_rows(good + line + b"\n" + good)
    assert rows[1] == BadLine(2, because)
    assert [(type(row), row.line) for row in (rows[0], rows[2])] == [(Row, 1), (Row, 3)]


@given(st.binary(max_size=300))
def test_any_bytes_are_rows_or_bad_lines(data: bytes) -> None:
    for rows in (
        csv_rows(HEADER.encode() + data),
        json_rows(data) if not data.startswith((b"\xff\xfe", b"\xfe\xff")) else [],
    ):
        numbers = [row.line for row in rows]
        assert numbers == sorted(set(numbers))
        assert not numbers or numbers[-1] <= data.count(b"\n") + 2


@given(st.lists(st.text('ab",;\n\r\t=é', max_size=12), min_size=1, max_size=8))
def test_what_a_csv_writer_writes_is_read(notes: list[str]) -> None:
    import csv

    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["module", "id", "name", "note"])
    writer.writerows(["lead", str(number), "x", note] for number, note in enumerate(notes))
    rows = csv_rows(text.getvalue())
    assert [dict(row.values).get("note", "") for row in rows if isinstance(row, Row)] == notes


def test_a_json_line_may_be_a_record_as_the_api_has_it() -> None:
    links = [{"role": "account", "to": "account/3"}]
    whole = {"name": "Zoë", "links": links, "fields": {"source": "fair", "amount": 7}}
    taken = {"module": "contact", "id": "17", "addresses": {"email": "z@x.test"}, **whole}
    answered = {
        "ref": "contact/17",
        "owner": None,
        "addresses": [{"field": "email", "kind": "primary", "address": "z@x.test"}],
        "source": "api",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        **whole,
    }
    expected = Row(
        line=1,
        ref=RecordRef("contact", "17"),
        name="Zoë",
        owner="",
        links=(RecordLink(role="account", to=RecordRef("account", "3")),),
        values=(("source", "fair"), ("amount", "7")),
        addresses=(("email", "z@x.test"),),
    )
    assert json_rows(json.dumps(taken)) == json_rows(json.dumps(answered)) == [expected]


def test_a_flat_json_line_may_have_a_field_called_addresses() -> None:
    (row,) = json_rows('{"module": "lead", "id": "1", "name": "x", "addresses": "two", "ref": "77"}')
    assert isinstance(row, Row)
    assert (row.values, row.addresses) == ((("addresses", "two"), ("ref", "77")), None)
