"""Values of the fields that records are found by, by their types: written in the transaction that writes the record (K2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select

from mailrelay.clock import to_micros
from mailrelay.errors import Invalid
from mailrelay.ids import OrgId
from mailrelay.model.record import Field, FieldType, Module, Record
from mailrelay.query import value
from mailrelay.query.meaning import NAME
from mailrelay.store.base import Tx
from mailrelay.store.tables import organisation, record, record_field

START: Final = 64
"""Characters of a text that its index has."""
BATCH: Final = 1_000
"""Records of one transaction."""


def zone_of(tx: Tx, org: OrgId) -> ZoneInfo:
    """Where the organisation is."""
    name = tx.execute(select(organisation.c.time_zone).where(organisation.c.id == org)).scalar()
    return ZoneInfo(name or "UTC")


def check(module: Module, fields: Iterable[tuple[str, str]], zone: ZoneInfo) -> None:
    """Raises Invalid, which names the field, when a value is not of its field's type."""
    types = {one.name: one.type for one in module.fields}
    for name, text in fields:
        if name in types:
            try:
                value.check(text, types[name], zone)
            except ValueError as error:
                raise Invalid(f"fields.{name}", str(error)) from None


def put(tx: Tx, org: OrgId, new: Sequence[Record], modules: Mapping[str, Module]) -> None:
    """Keep the values of these records of one organisation. Raises Invalid for one that is not of its type."""
    zone = zone_of(tx, org)
    for one in new:
        check(modules[one.ref.module], one.fields, zone)
    for module in sorted({one.ref.module for one in new}):
        ours = [one for one in new if one.ref.module == module]
        _replace(
            tx,
            org,
            module,
            [one.ref.id for one in ours],
            [
                row
                for one in ours
                for row in _rows(modules[module].fields, one.name, dict(one.fields), zone, one.ref.id)
            ],
        )


def made_again(tx: Tx, org: OrgId, module: Module, *, after: str = "", limit: int = BATCH) -> str | None:
    """Make the values of some records anew, by id behind `after`; the last id, None at the end.

    What a record had before its field got a type, and is not of that type, is no value.
    """
    zone = zone_of(tx, org)
    page = (
        select(record.c.id, record.c.name, record.c.fields)
        .where(record.c.org == org, record.c.module == module.name, record.c.id > after)
        .order_by(record.c.id)
        .limit(limit)
    )
    found = tx.execute(page).all()
    if found:
        ids = [row.id for row in found]
        fresh = [each for row in found for each in _rows(module.fields, row.name, row.fields, zone, row.id)]
        _replace(tx, org, module.name, ids, fresh)
    return found[-1].id if len(found) == limit else None


def all_made_again(tx: Tx, org: OrgId, module: Module) -> None:
    """`made_again` for all records of a module, whose fields are others now."""
    after: str | None = ""
    while after is not None:
        after = made_again(tx, org, module, after=after)


def _replace(tx: Tx, org: OrgId, module: str, ids: Sequence[str], fresh: Sequence[Mapping[str, Any]]) -> None:
    mine = (record_field.c.org == org) & (record_field.c.module == module) & record_field.c.record.in_(ids)
    tx.execute(delete(record_field).where(mine))
    if fresh:
        tx.execute(record_field.insert(), [{"org": org, "module": module, **row} for row in fresh])


def _rows(
    fields: Sequence[Field], name: str, values: Mapping[str, str], zone: ZoneInfo, id_: str
) -> Iterator[dict[str, Any]]:
    nothing = {"record": id_, "text": None, "start": None, "number": None, "time": None}
    yield nothing | {"field": NAME} | _text(name)
    for field in fields:
        text = values.get(field.name, "")
        if text.strip():
            try:
                yield nothing | {"field": field.name} | _typed(text, field.type, zone)
            except ValueError:
                continue


def _typed(text: str, type_: FieldType, zone: ZoneInfo) -> dict[str, Any]:
    match type_:
        case FieldType.NUMBER:
            return {"number": value.number(text)}
        case FieldType.BOOLEAN:
            return {"number": float(value.boolean(text))}
        case FieldType.DATE:
            return {"time": to_micros(datetime.combine(value.day(text), time(), UTC))}
        case FieldType.TIME:
            return {"time": to_micros(value.instant(text, zone))}
        case FieldType.TEXT:
            return _text(text)


def _text(text: str) -> dict[str, Any]:
    folded = value.fold(text)
    return {"text": folded, "start": folded[:START]}
