"""Modules: the kinds of record an organisation has, and which of their fields hold addresses (I4)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, select, update

from mailrelay.errors import Conflict, NotPermitted, Unknown
from mailrelay.ids import OrgId
from mailrelay.model.record import STANDARD_MODULES, AddressField, AddressKind, Field, FieldType, Module
from mailrelay.store import record_fields, rows
from mailrelay.store.base import Tx
from mailrelay.store.tables import link, module, record, record_address

_PRIMARY = AddressField(name="email", kind=AddressKind.PRIMARY, matched=True)
_SECONDARY = AddressField(name="secondary_email", kind=AddressKind.SECONDARY, matched=True)
_ADDRESS_FIELDS = {
    "lead": (_PRIMARY, _SECONDARY),
    "contact": (_PRIMARY, _SECONDARY),
    "vendor": (_PRIMARY, _SECONDARY),
    "account": (_PRIMARY,),
}


def _day(name: str, *aliases: str) -> Field:
    return Field(name=name, type=FieldType.DATE, aliases=aliases)


_AMOUNT = Field(name="amount", type=FieldType.NUMBER)
_STAGE, _STATUS, _PHONE = (Field(name=name, type=FieldType.TEXT) for name in ("stage", "status", "phone"))
_DUE = _day("due_date", "due", "falling_due")
_FIELDS = {
    "deal": (_STAGE, _AMOUNT, _day("closing_date", "closing", "closes")),
    "quote": (_STAGE, _AMOUNT, _day("valid_until", "expires", "expiring")),
    "invoice": (_STATUS, _AMOUNT, _DUE),
    "sales_order": (_STATUS, _AMOUNT, _DUE),
    "purchase_order": (_STATUS, _AMOUNT, _DUE),
    "lead": (_STATUS, Field(name="company", type=FieldType.TEXT), _PHONE),
    "contact": (Field(name="title", type=FieldType.TEXT), _PHONE),
    "account": (Field(name="industry", type=FieldType.TEXT), _PHONE),
    "vendor": (Field(name="category", type=FieldType.TEXT), _PHONE),
}


def seed(tx: Tx, org: OrgId) -> None:
    """Give a new organisation the standard modules."""
    for name, label in STANDARD_MODULES:
        addresses, fields = _ADDRESS_FIELDS.get(name, ()), _FIELDS.get(name, ())
        put(tx, Module(org=org, name=name, label=label, custom=False, address_fields=addresses, fields=fields))


def put(tx: Tx, new: Module) -> None:
    """Keep a module, new or changed; addresses of its records follow the new kind and `matched` of their field.

    Where its fields are others, the values of all its records are read again. Raises Conflict when a field that is left out still
    holds addresses of records.
    """
    before = tx.execute(select(module).where(module.c.org == new.org, module.c.name == new.name)).one_or_none()
    row = tx.insert(module).values(
        org=new.org,
        name=new.name,
        label=new.label,
        custom=new.custom,
        address_fields=rows.encode(new.address_fields),
        fields=rows.encode(new.fields),
    )
    kept = {name: row.excluded[name] for name in ("label", "address_fields", "fields")}
    tx.execute(row.on_conflict_do_update(index_elements=["org", "name"], set_=kept))
    mine = (record_address.c.org == new.org) & (record_address.c.module == new.name)
    orphan = select(record_address.c.field).where(
        mine, record_address.c.field.not_in([field.name for field in new.address_fields])
    )
    if (left := tx.execute(orphan.limit(1)).scalar()) is not None:
        raise Conflict(f"The field {left} of {new.name} still holds addresses; empty it in its records first")
    for field in new.address_fields:
        tx.execute(
            update(record_address)
            .where(mine, record_address.c.field == field.name)
            .values(kind=field.kind, matched=field.matched)
        )
    if before is not None and _module(before).fields != new.fields:
        record_fields.all_made_again(tx, new.org, new)


def remove(tx: Tx, org: OrgId, name: str) -> None:
    """Forget a custom module. Raises Unknown, NotPermitted for a standard one, Conflict while it has records or mail on them."""
    if not get(tx, org, name).custom:
        raise NotPermitted(f"Every organisation has the module {name}")
    for table in (record, link):
        if tx.execute(select(table.c.org).where(table.c.org == org, table.c.module == name).limit(1)).first():
            raise Conflict(f"The module {name} still has records, or mail on them; remove those first")
    tx.execute(delete(module).where(module.c.org == org, module.c.name == name))


def get(tx: Tx, org: OrgId, name: str) -> Module:
    """The module. Raises Unknown."""
    row = tx.execute(select(module).where(module.c.org == org, module.c.name == name)).one_or_none()
    if row is None:
        raise Unknown(f"There is no module {name}")
    return _module(row)


def list_modules(tx: Tx, org: OrgId, *, after: str = "", limit: int | None = None) -> tuple[Module, ...]:
    """The modules of the organisation, by name; those behind a name, and so many, or all."""
    behind = (module.c.org == org) & (module.c.name > after)
    found = tx.execute(select(module).where(behind).order_by(module.c.name).limit(limit))
    return tuple(_module(row) for row in found)


def _module(row: Row[Any]) -> Module:
    return Module(
        org=OrgId(row.org),
        name=row.name,
        label=row.label,
        custom=row.custom,
        address_fields=rows.decode(tuple[AddressField, ...], row.address_fields),
        fields=rows.decode(tuple[Field, ...], row.fields),
    )
