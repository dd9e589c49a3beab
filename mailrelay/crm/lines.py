"""The lines of a bulk file, CSV or NDJSON, each read by itself: a bad one says why, and the next one is read all the same (R7)."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Any, BinaryIO, NoReturn, TypeVar

from mailrelay.crm.row import (
    NEEDED,
    BadLine,
    BadText,
    Row,
    flat,
    is_whole,
    links_of_json,
    links_of_text,
    text_of_json,
    whole,
)
from mailrelay.errors import Invalid
from mailrelay.smtp.escape import HIDDEN, shown

T = TypeVar("T")

MAX_LINE = 1_000_000
"""Bytes of the longest line that is read."""
_DELIMITERS = ",;\t"


def read_csv(stream: BinaryIO) -> Iterator[Row | BadLine]:
    """The records of a CSV file, see `csv_lines`. Raises Invalid when the header does not tell what the columns are."""

    def needed(header: Collection[str]) -> None:
        for name in NEEDED:
            if name not in header:
                raise Invalid("line 1", f"there is no column {name}")

    return csv_lines(stream, needed, lambda line, cells: flat(line, cells, links_of_text(cells.pop("links", ""))))


def read_ndjson(stream: BinaryIO) -> Iterator[Row | BadLine]:
    """The records of a file with a JSON object on each line.

    An object is either flat, a key for each field as in CSV, or a record as the API answers and takes it, with `ref` or
    `module` and `id`, and with `addresses` and `fields` of its own. `links` is a list of `"role=module/id"`, of
    `{"role": …, "to": "module/id"}` or of `{"role": …, "module": …, "id": …}`. Numbers are kept as they are written.
    """
    return json_lines(stream, _record)


def _record(line: int, values: dict[str, Any]) -> Row:
    links = links_of_json(values.pop("links", None))
    if is_whole(values):
        return whole(line, values, links)
    return flat(line, {name: text_of_json(value) for name, value in values.items()}, links)


def csv_lines(
    stream: BinaryIO, check: Callable[[Collection[str]], None], read: Callable[[int, dict[str, str]], T]
) -> Iterator[T | BadLine]:
    """What `read` makes of each line of a CSV file with a header line; where it raises BadText, a BadLine.

    RFC 4180, or with semicolons or tabs; UTF-8, a byte order mark or none. `check` gets the columns' names; it and the header
    itself may raise Invalid.
    """
    lines = _Lines(stream)
    header, delimiter = _header(lines)
    check(header)
    while lines:
        start = lines.number + 1
        try:
            cells = lines.record(delimiter)
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise BadText(f"has {len(cells)} columns, and the header has {len(header)}")
            yield read(start, {name: cell for name, cell in zip(header, cells, strict=True) if name})
        except BadText as bad:
            yield BadLine(start, str(bad))


def json_lines(stream: BinaryIO, read: Callable[[int, dict[str, Any]], T]) -> Iterator[T | BadLine]:
    """What `read` makes of the object on each line of a file; where it raises BadText, a BadLine."""
    lines = _Lines(stream)
    while lines:
        start = lines.number + 1
        try:
            text = lines.next().rstrip()
            if text:
                yield read(start, _object(text))
        except BadText as bad:
            yield BadLine(start, str(bad))


# --- lines and cells ---


class _Lines:
    """Lines of a stream as text, numbered from 1; false when there are no more."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ahead: deque[bytes | BadText] = deque()
        self.number = 0
        first = stream.readline(MAX_LINE + 1)
        if first.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Invalid("line 1", "the file is UTF-16; save it as UTF-8")
        self._ahead.append(first.removeprefix(b"\xef\xbb\xbf"))

    def __bool__(self) -> bool:
        if not self._ahead:
            self._ahead.append(self._stream.readline(MAX_LINE + 1))
        return bool(self._ahead[0])

    def next(self) -> str:
        """The next line with its end. Raises BadText for one that cannot be read; the one after it comes next."""
        line = self._ahead.popleft() if self else b""
        self.number += 1
        if isinstance(line, BadText):
            raise line
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(MAX_LINE)
            raise BadText(f"is longer than {MAX_LINE:,} bytes")
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise BadText(f"is not UTF-8: byte 0x{line[error.start]:02x} at {error.start + 1}") from error

    def record(self, delimiter: str) -> list[str]:
        """The cells of the next CSV record, which may run over several lines. Raises BadText.

        After a quotation mark that is not closed, what follows its line is read anew: one slip costs one record.
        """
        first = self.number
        taken: list[str] = []

        def feed() -> Iterator[str]:
            while self or not taken:
                taken.append(self.next())
                yield taken[-1]

        try:
            return next(csv.reader(feed(), delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            because, again = _csv_fault(error), taken[1:]
        except BadText as error:
            if not taken:
                raise
            because, again = f"runs on to a line that {error}", taken[1:]
            self._ahead.appendleft(error)
        self._ahead.extendleft(line.encode() for line in reversed(again))
        self.number = first + 1
        raise BadText(because)


def _csv_fault(error: csv.Error) -> str:
    """The csv module's words are for programmers."""
    if "field limit" in str(error):
        return f"has a value of more than {csv.field_size_limit():,} characters, or a quotation mark that is not closed"
    if "new-line" in str(error):
        return "has a carriage return in the middle of a value; values with line ends must be quoted"
    return "has a quotation mark that is not closed, or one inside a value that is not doubled"


def _header(lines: _Lines) -> tuple[list[str], str]:
    if not lines:
        raise Invalid("line 1", "the file is empty; its first line must name the columns")
    try:
        text = lines.next()
        delimiter = max(_DELIMITERS, key=text.count)
        header = [name.strip() for name in next(csv.reader([text], delimiter=delimiter, strict=True), [])]
    except (csv.Error, BadText) as error:
        raise Invalid("line 1", f"the header {_csv_fault(error) if isinstance(error, csv.Error) else error}") from error
    for name in header:
        if name and header.count(name) > 1:
            raise Invalid("line 1", f"two columns are named {shown(name)}")
        if HIDDEN.search(name):
            raise Invalid("line 1", f"the column name {shown(name)} holds control characters")
    return header, delimiter


def _object(text: str) -> dict[str, Any]:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(found)
        if len(values) < len(found):
            names = [name for name, _ in found]
            raise BadText(f"names {shown(next(name for name in names if names.count(name) > 1))} twice")
        return values

    def refuse(constant: str) -> NoReturn:
        raise BadText(f"{constant} is no JSON value")

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_int=str, parse_float=str, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise BadText(f"is not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise BadText("is nested too deeply") from error
    if not isinstance(value, dict):
        raise BadText("is not a JSON object")
    return value
