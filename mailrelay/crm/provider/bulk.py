"""Records from a file: CSV or NDJSON, a line for each record. A bad line is reported with its number, the good ones are in (R7).

Columns or keys: `module`, `id`, `name`; `owner`, a user's address or id; `links`, in CSV as `role=module/id;role=module/id`; the
address fields of the module by their names; anything else is a field of the record. In NDJSON a line may also be a record as the
API answers it (`lines.read_ndjson`). A line is the whole record: what it does
not say the record no longer has. Values are data: what a spreadsheet would take for a formula is text here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from mailrelay.crm.lines import read_csv, read_ndjson
from mailrelay.crm.row import BadLine, BadText, Row
from mailrelay.errors import Invalid
from mailrelay.ids import OrgId, UserId
from mailrelay.model.address import Address
from mailrelay.model.record import Module, Record, RecordAddress, RecordRef
from mailrelay.smtp.address import BadAddress, parse_address
from mailrelay.smtp.escape import shown
from mailrelay.store import modules, people, record_fields, records
from mailrelay.store.base import Store, Tx
from mailrelay.store.records import Change

__all__ = ["BadLine", "BulkResult", "Kept", "Row", "load", "load_rows", "read_csv", "read_ndjson"]

_SOURCE = "bulk"


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResult:
    """What became of a file."""

    created: int
    updated: int
    unchanged: int
    bad: tuple[BadLine, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A line whose record is kept, and what that changed."""

    line: int
    ref: RecordRef
    change: Change


async def load_rows(store: Store, org: OrgId, lines: Sequence[Row | BadLine], *, now: datetime) -> list[Kept | BadLine]:
    """Keep the records of some lines in one transaction; what became of each line, in their order. Raises what `Store.write` does."""
    good = [line for line in lines if isinstance(line, Row)]
    done: list[Kept | BadLine] = [line for line in lines if isinstance(line, BadLine)]
    done += await store.write(_keep, org, good, now=now)
    return sorted(done, key=lambda one: one.line)


async def load(
    store: Store, org: OrgId, rows: Iterable[Row | BadLine], *, now: datetime, batch: int = 500
) -> BulkResult:
    """Keep the records of a file, `batch` to a transaction.

    Raises what `Store.write` raises, with the batches before kept: to load the same file again is safe.
    """
    counts = dict.fromkeys(Change, 0)
    bad: list[BadLine] = []
    waiting = iter(rows)
    while lines := list(islice(waiting, batch)):
        for one in await load_rows(store, org, lines, now=now):
            if isinstance(one, Kept):
                counts[one.change] += 1
            else:
                bad.append(one)
    return BulkResult(
        created=counts[Change.CREATED],
        updated=counts[Change.UPDATED],
        unchanged=counts[Change.UNCHANGED],
        bad=tuple(bad),
    )


def _keep(tx: Tx, org: OrgId, rows: Sequence[Row], *, now: datetime) -> list[Kept | BadLine]:
    """Keep what is right of these rows, and say what became of each."""
    known = {module.name: module for module in modules.list_modules(tx, org)}
    owner_of = _owners(tx, org, rows)
    zone = record_fields.zone_of(tx, org)
    lines: list[int] = []
    good: list[Record] = []
    bad: list[Kept | BadLine] = []
    for row in rows:
        try:
            one = _record(row, org, known, owner_of, now)
            record_fields.check(known[one.ref.module], one.fields, zone)
        except (BadText, Invalid) as error:
            bad.append(BadLine(row.line, str(error).removeprefix("fields.")))
            continue
        lines.append(row.line)
        good.append(one)
    changes = records.upsert_many(tx, good)
    return [*bad, *(Kept(*one) for one in zip(lines, (one.ref for one in good), changes, strict=True))]


def _owners(tx: Tx, org: OrgId, rows: Sequence[Row]) -> Callable[[str], UserId]:
    keys: dict[str, str] = {}
    for text in {row.owner for row in rows if "@" in row.owner}:
        try:
            keys[text] = parse_address(text).key
        except BadAddress:
            continue  # nobody has it, which is what the line is told
    users = people.by_addresses(tx, org, sorted(set(keys.values())))
    ids = {address.key: user.id for user in users for address in user.addresses}
    plain = sorted({row.owner for row in rows if row.owner and "@" not in row.owner})
    ids |= {user.id: user.id for user in people.get_many(tx, org, [UserId(one) for one in plain])}

    def owner_of(text: str) -> UserId:
        found = ids.get(keys.get(text, text))
        if found is None:
            raise BadText(f"owner: {shown(text)} is neither the address nor the id of a user")
        return found

    return owner_of


def _record(
    row: Row, org: OrgId, known: Mapping[str, Module], owner_of: Callable[[str], UserId], now: datetime
) -> Record:
    module = known.get(row.ref.module)
    if module is None:
        raise BadText(f"module: there is no module {shown(row.ref.module)}")
    kinds = {field.name: field.kind for field in module.address_fields}
    told = row.values if row.addresses is None else row.addresses
    addresses = tuple(
        RecordAddress(address=_address(name, value), kind=kinds[name], field=name)
        for name, value in told
        if name in kinds and value.strip()
    )
    if row.addresses is not None:
        _check_places(row, kinds)
    return Record(
        org=org,
        ref=row.ref,
        name=row.name,
        owner=owner_of(row.owner) if row.owner else None,
        addresses=addresses,
        links=row.links,
        fields=tuple((name, value) for name, value in row.values if name not in kinds),
        source=_SOURCE,
        created_at=now,
        updated_at=now,
    )


def _address(field: str, text: str) -> Address:
    try:
        return parse_address(text.strip())
    except BadAddress as error:
        raise BadText(f"{field}: {error}") from error


def _check_places(row: Row, kinds: Collection[str]) -> None:
    """Raises BadText where a line that sets its addresses apart has one among the fields, or the other way round."""
    for name, _ in row.addresses or ():
        if name not in kinds:
            has = ", ".join(sorted(kinds)) or "none"
            raise BadText(f"{shown(name)}: {row.ref.module} has no such address field; it has {has}")
    for name, _ in row.values:
        if name in kinds:
            raise BadText(f"{shown(name)}: is an address field; give it in addresses")
