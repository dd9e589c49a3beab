"""The lines of a bulk file, CSV or NDJSON, each read by itself: a bad one says why, and the next one is read all the same (R7)."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, NoReturn

from mailrelay.errors import Invalid
from mailrelay.model.record import RecordLink, RecordRef
from mailrelay.smtp.escape import HIDDEN, shown

MAX_LINE = 1_000_000
"""Bytes of the longest line that is read."""
_MAX_ID = 200
_DELIMITERS = ",;\t"
_NEEDED = ("module", "id", "name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line that could be read; whether module, owner and addresses are right shows when it is loaded."""

    line: int
    ref: RecordRef
    name: str
    owner: str
    links: tuple[RecordLink, ...]
    values: tuple[tuple[str, str], ...]
    """Fields; where `addresses` is None some of them may be address fields, which their module tells."""
    addresses: tuple[tuple[str, str], ...] | None = None
    """Address fields, where the line itself sets them apart."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was left out, and why, in one sentence. Of a record over several lines `line` is the first."""

    line: int
    because: str


class BadText(ValueError):
    """Why a line is bad, in one sentence."""


def read_csv(stream: BinaryIO) -> Iterator[Row | BadLine]:
    """The records of a CSV file with a header line: RFC 4180, or with semicolons or tabs; UTF-8, a byte order mark or none.

    Raises Invalid when the header does not tell what the columns are.
    """
    lines = _Lines(stream)
    header, delimiter = _header(lines)
    while lines:
        start = lines.number + 1
        try:
            cells = lines.record(delimiter)
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise BadText(f"has {len(cells)} columns, and the header has {len(header)}")
            values = {name: cell for name, cell in zip(header, cells, strict=True) if name}
            yield _row(start, values, _links_of_text(values.pop("links", "")))
        except BadText as bad:
            yield BadLine(start, str(bad))


def read_ndjson(stream: BinaryIO) -> Iterator[Row | BadLine]:
    """The records of a file with a JSON object on each line.

    An object is either flat, a key for each field as in CSV, or a record as the API answers and takes it, with `ref` or
    `module` and `id`, and with `addresses` and `fields` of its own. `links` is a list of `"role=module/id"`, of
    `{"role": …, "to": "module/id"}` or of `{"role": …, "module": …, "id": …}`. Numbers are kept as they are written.
    """
    lines = _Lines(stream)
    while lines:
        start = lines.number + 1
        try:
            text = lines.next().rstrip()
            if not text:
                continue
            values = _object(text)
            links = _links_of_json(values.pop("links", None))
            if _is_whole(values):
                yield _whole(start, values, links)
            else:
                yield _row(start, {name: _text_of_json(value) for name, value in values.items()}, links)
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
    for name in _NEEDED:
        if name not in header:
            raise Invalid("line 1", f"there is no column {name}")
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


def _text_of_json(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- records as the API has them ---

_WHOLE = ("ref", "module", "id", "name", "owner", "addresses", "fields")
_OURS = ("source", "created_at", "updated_at", "change")
"""What the API says of a record and nobody tells it."""


def _is_whole(values: Mapping[str, Any]) -> bool:
    """Whether a line has the form of the API; a flat one may well have a field of its own called `ref` or `fields`."""
    if any(isinstance(values.get(name), dict | list) for name in ("addresses", "fields")):
        return True
    return "ref" in values and not ("module" in values and "id" in values)


def _whole(line: int, values: dict[str, Any], links: tuple[RecordLink, ...]) -> Row:
    for name in values:
        if name not in _WHOLE and name not in _OURS:
            raise BadText(f"{shown(name)}: there is no such field; put it in fields, or an address in addresses")
    head = {name: _text_of_json(values.get(name)) for name in ("module", "id", "name", "owner")}
    if "ref" in values:
        module, _, record_id = _text_of_json(values["ref"]).partition("/")
        for name, part in (("module", module), ("id", record_id)):
            if values.get(name) is not None and head[name] != part:
                raise BadText(f"ref: does not agree with {name}")
            head[name] = part
    fields = values.get("fields")
    if not isinstance(fields, dict | None):
        raise BadText("fields: is not an object")
    told = {name: _text_of_json(value) for name, value in (fields or {}).items() if value is not None}
    addresses = _addresses(values.get("addresses"))
    _check_text((*told.items(), *addresses.items()))
    row = _row(line, head, links)
    return replace(row, values=tuple(told.items()), addresses=tuple(addresses.items()))


def _addresses(given: Any) -> dict[str, str]:
    """Address by field, of the object that the API takes or of the list that it answers."""
    if isinstance(given, list):
        named: dict[str, Any] = {}
        for one in given:
            if not isinstance(one, dict) or not isinstance(one.get("field"), str) or "address" not in one:
                raise BadText("addresses: an entry must have field and address")
            if one["field"] in named:
                raise BadText(f"addresses: names {shown(one['field'])} twice")
            named[one["field"]] = one["address"]
        given = named
    if not isinstance(given, dict | None):
        raise BadText("addresses: is neither an object nor a list")
    for name, value in (given or {}).items():
        if not isinstance(value, str | None):
            raise BadText(f"{shown(name)}: is not an address")
    return {name: value for name, value in (given or {}).items() if value}


# --- rows ---


def _row(line: int, values: Mapping[str, str], links: tuple[RecordLink, ...]) -> Row:
    _check_text(values.items())
    for name in _NEEDED:
        if not values.get(name, "").strip():
            raise BadText(f"{name}: is missing")
    return Row(
        line=line,
        ref=_ref(values["module"].strip(), values["id"].strip()),
        name=" ".join(values["name"].split()),  # P09: a name of one line, whatever a cell held
        owner=values.get("owner", "").strip(),
        links=links,
        values=tuple((name, value) for name, value in values.items() if value and name not in (*_NEEDED, "owner")),
    )


def _check_text(values: Iterable[tuple[str, str]]) -> None:
    """Raises BadText for text that no database keeps."""
    for name, value in values:
        if "\0" in name or "\0" in value:
            raise BadText(f"{shown(name)}: holds a NUL character")
        if any("\ud800" <= character <= "\udfff" for character in name + value):
            raise BadText(f"{shown(name)}: holds half of a surrogate pair")


def _ref(module: str, record_id: str) -> RecordRef:
    if len(module) > _MAX_ID or len(record_id) > _MAX_ID or HIDDEN.search(module + record_id):
        raise BadText(f"id: {shown(record_id)} is longer than {_MAX_ID} characters or holds control characters")
    return RecordRef(module, record_id)


def _links_of_text(text: str) -> tuple[RecordLink, ...]:
    return tuple(_link_of_text(part.strip()) for part in text.split(";") if part.strip())


def _link_of_text(text: str) -> RecordLink:
    role, equals, target = text.partition("=")
    module, slash, record_id = target.partition("/")
    if not equals or not slash:
        raise BadText(f"links: {shown(text)} is not of the form role=module/id")
    return _link(role.strip(), module.strip(), record_id.strip())


def _links_of_json(value: Any) -> tuple[RecordLink, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadText("links: is not a list")
    return tuple(_link_of_json(one) for one in value)


def _link_of_json(value: Any) -> RecordLink:
    if isinstance(value, str):
        return _link_of_text(value)
    if isinstance(value, dict) and value.keys() == {"role", "module", "id"}:
        role, module, record_id = value["role"], value["module"], value["id"]
        if isinstance(role, str) and isinstance(module, str) and isinstance(record_id, str):
            return _link(role, module, record_id)
    if isinstance(value, dict) and value.keys() == {"role", "to"}:
        role, to = value["role"], value["to"]
        if isinstance(role, str) and isinstance(to, str):
            module, _, record_id = to.partition("/")
            return _link(role, module, record_id)
    raise BadText('links: an entry must be "role=module/id" or have role and to')


def _link(role: str, module: str, record_id: str) -> RecordLink:
    if not (role and module and record_id) or len(role) > _MAX_ID or HIDDEN.search(role):
        raise BadText(f"links: {shown(f'{role}={module}/{record_id}')} lacks its role, module or id, or is too long")
    return RecordLink(role=role, to=_ref(module, record_id))
