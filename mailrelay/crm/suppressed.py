"""Suppression lists as files: CSV or JSON lines, ours and those of other mail services; read and written (O10, I11).

Columns or keys, in any case and with blanks or underscores: `address` (or email, recipient, key), and if there are `reason` (or
type), `since` (or created, date, timestamp), `evidence` (or description, detail, diagnostic), `by`, `lifted_at`, `lifted_by`,
`note`, `list` (or mailing list). Others are left alone. What is written can be read again.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from mailrelay.crm.lines import csv_lines, json_lines
from mailrelay.crm.row import BadLine, BadText, text_of_json
from mailrelay.errors import Invalid
from mailrelay.mail import addresses
from mailrelay.model.address import Address
from mailrelay.model.suppression import Suppression, SuppressionReason, is_hash
from mailrelay.smtp.address import BadAddress, format_address, parse_address
from mailrelay.smtp.escape import shown

COLUMNS = ("address", "reason", "since", "evidence", "by", "lifted_at", "lifted_by", "note", "list")
"""Of a file that we write."""
_ALIASES = {
    "address": ("address", "email", "email address", "e mail", "recipient", "recipient address", "key"),
    "reason": ("reason", "type", "suppression reason"),
    "since": ("since", "created", "created at", "date", "timestamp", "last update time"),
    "evidence": ("evidence", "description", "detail", "details", "diagnostic", "error"),
    "by": ("by",),
    "lifted_at": ("lifted at",),
    "lifted_by": ("lifted by",),
    "note": ("note",),
    "list": ("list", "mailing list"),
}
_KNOWN = frozenset(alias for aliases in _ALIASES.values() for alias in aliases)
_MANY = 50
_REASONS = {
    SuppressionReason.HARD_BOUNCE: "hard bounce;hard bounces;bounce;bounces;bounced;hard;permanent;invalid;invalid email",
    SuppressionReason.SOFT_BOUNCES: "soft bounces;soft bounce;soft;transient",
    SuppressionReason.COMPLAINT: "complaint;complaints;complained;spam;spam report;spam reports;spam complaint;abuse",
    SuppressionReason.UNSUBSCRIBED: "unsubscribed;unsubscribe;unsubscribes;unsubscription;unsub;global unsubscribe;list unsubscribe",
    SuppressionReason.OPTED_OUT: "opted out;opt out;optout",
    SuppressionReason.LOCKED: "locked",
    SuppressionReason.BY_HAND: "by hand;manual;manual suppression;manually added",
}
"""Each reason, and the words that mail services have for it."""
_REASON_OF = {word: reason for reason, words in _REASONS.items() for word in words.split(";")}
_BETWEEN = re.compile(r"[\s_-]+")
_LONGEST = 1000
"""Characters that are kept of a text."""
_EPOCH = re.compile(r"\d{9,16}(?:\.\d+)?", re.ASCII)
_FUTURE = timedelta(days=1)
"""How far ahead a date may lie that was written in some zone or other."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""What a spreadsheet would calculate when a cell begins with it, and the mark that keeps it from doing so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a file that could be read; `since` None where it does not say."""

    line: int
    key: str
    reason: SuppressionReason
    since: datetime | None
    evidence: str
    by: str
    lifted_at: datetime | None
    lifted_by: str | None
    note: str
    list: str


class Reader:
    """Reads one file."""

    def __init__(
        self, *, reason: SuppressionReason | None, now: datetime, lists: Collection[str] = frozenset()
    ) -> None:
        """`reason` is that of every line, whatever the line says; its own word for it is then evidence.

        `lists` are the mailing lists that there are: who left one is suppressed for it only.
        """
        self._lists = frozenset(lists)
        self._reason = reason
        self._now = now
        self._ignored: set[str] = set()

    @property
    def ignored(self) -> tuple[str, ...]:
        """Columns or keys so far that mean nothing here, at most some dozens."""
        return tuple(sorted(self._ignored))

    def csv(self, stream: BinaryIO) -> Iterator[Entry | BadLine]:
        """The lines of a CSV file with a header line. Raises Invalid when the header names no address."""

        def check(header: Collection[str]) -> None:
            named = {_plain(name) for name in header}
            if not named.intersection(_ALIASES["address"]):
                raise Invalid("line 1", "there is no column address (or email)")
            self._ignore(header)

        def entry(line: int, cells: dict[str, str]) -> Entry:
            return self._entry(line, {name: _from_cell(cell) for name, cell in cells.items()})

        return csv_lines(stream, check, entry)

    def ndjson(self, stream: BinaryIO) -> Iterator[Entry | BadLine]:
        """The lines of a file with a JSON object on each."""

        def entry(line: int, values: dict[str, Any]) -> Entry:
            self._ignore(values)
            return self._entry(line, {name: text_of_json(value) for name, value in values.items()})

        return json_lines(stream, entry)

    def _ignore(self, names: Iterable[str]) -> None:
        if len(self._ignored) < _MANY:
            self._ignored.update(shown(name) for name in names if name and _plain(name) not in _KNOWN)

    def _entry(self, line: int, values: Mapping[str, str]) -> Entry:
        told = {_plain(name): _text(name, value) for name, value in values.items()}
        field = {
            name: next((told[alias] for alias in aliases if told.get(alias)), "") for name, aliases in _ALIASES.items()
        }
        if not field["address"]:
            raise BadText("address: is missing")
        # Who was erased is written as a hash, and comes back as one.
        key = field["address"] if is_hash(field["address"]) else _address(field["address"]).key
        evidence = field["evidence"]
        if self._reason is not None:
            evidence = evidence or field["reason"]
        return Entry(
            line=line,
            key=key,
            reason=self._reason or _reason(field["reason"]),
            since=self._date("since", field["since"]),
            evidence=evidence or "imported",
            by=field["by"],
            lifted_at=self._date("lifted_at", field["lifted_at"]),
            lifted_by=field["lifted_by"] or None,
            note=field["note"],
            list=self._list(field["list"], self._reason or _reason(field["reason"])),
        )

    def _list(self, name: str, reason: SuppressionReason) -> str:
        if not name or reason is not SuppressionReason.UNSUBSCRIBED:
            return ""
        if name not in self._lists:
            raise BadText(
                f"list: there is no mailing list {shown(name)}; make it first, or leave the column out for all mail"
            )
        return name

    def _date(self, name: str, text: str) -> datetime | None:
        """`2026-01-31`, `2026-01-31 09:30:00+01:00`, or seconds or milliseconds since 1970; UTC where no zone is named."""
        if not text:
            return None
        try:
            if _EPOCH.fullmatch(text):
                seconds = float(text)
                at = datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)
            else:
                at = datetime.fromisoformat(text.removesuffix(" UTC"))
                at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        except (ValueError, OverflowError, OSError):
            raise BadText(f"{name}: {shown(text)} is no date such as 2026-01-31 or 2026-01-31T09:30:00Z") from None
        if at > self._now + _FUTURE:
            raise BadText(f"{name}: {shown(text)} lies in the future")
        return min(at, self._now)


def _address(text: str) -> Address:
    """`n@x.example`, or the address in `Name <n@x.example>`; what could mean two addresses is refused."""
    try:
        return parse_address(text)
    except BadAddress as error:
        found = addresses.read(text).mailboxes if text.endswith(">") and text.count("<") == 1 else ()
        named = found[0] if len(found) == 1 else None
        if named is None or named.address is None or "@" in named.name:
            raise BadText(f"address: {error}") from error
    try:
        return parse_address(format_address(named.address))
    except BadAddress as error:
        raise BadText(f"address: {error}") from error


def _reason(text: str) -> SuppressionReason:
    if not text:
        return SuppressionReason.BY_HAND
    found = _REASON_OF.get(_plain(text))
    if found is None:
        raise BadText(f"reason: {shown(text)} is none of {', '.join(SuppressionReason)}")
    return found


def _plain(name: str) -> str:
    """A column's or reason's name as it is compared: `Created_At` and `created at` are one."""
    return " ".join(_BETWEEN.split(name.strip().lower()))


def _text(name: str, value: str) -> str:
    """A value on one line, and no longer than is kept. Raises BadText for text that no database keeps."""
    if "\0" in value:
        raise BadText(f"{shown(name)}: holds a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadText(f"{shown(name)}: holds half of a surrogate pair")
    line = value.strip() if _plain(name) in _ALIASES["address"] else " ".join(value.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


# --- writing ---


def csv_of(page: Sequence[Suppression], *, header: bool) -> bytes:
    """Suppressions as CSV lines, which no spreadsheet takes for formulas; `header` puts the columns' names first."""
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(COLUMNS)
    writer.writerows([_to_cell(value) for value in _values(one).values()] for one in page)
    return text.getvalue().encode()


def ndjson_of(page: Sequence[Suppression]) -> bytes:
    """Suppressions as JSON lines."""
    return b"".join(json.dumps(_values(one), ensure_ascii=False).encode() + b"\n" for one in page)


def _values(one: Suppression) -> dict[str, Any]:
    values = (
        _written(one.key),
        str(one.reason),
        one.since.isoformat(),
        one.evidence,
        one.by,
        None if one.lifted_at is None else one.lifted_at.isoformat(),
        one.lifted_by,
        one.note,
        one.list,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _written(key: str) -> str:
    """A key as an address that can be read again: `"a b"@x.example`."""
    if is_hash(key):
        return key
    local, _, domain = key.rpartition("@")
    return format_address(Address(local, domain))


def _to_cell(value: str | None) -> str:
    text = value or ""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _from_cell(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
