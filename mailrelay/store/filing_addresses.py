"""The signed addresses of records: made, regenerated, revoked, and what became of one when mail to it is filed (I21).

The door does not look here: who has the signature is let in, but for those that it has heard are over (`ended`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, or_, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Conflict, Unknown
from mailrelay.ids import OrgId
from mailrelay.model.event import EventType
from mailrelay.model.record import FilingAddress, RecordRef
from mailrelay.store import events, records
from mailrelay.store.base import Bell, Tx
from mailrelay.store.tables import filing_address, organisation

_NONE = "There is no such record address"


def make(tx: Tx, new: FilingAddress) -> FilingAddress:
    """Give a record its address, with the next free number in place of the one given.

    Raises Unknown without such a record, Conflict when it has one that is valid.
    """
    records.get(tx, new.org, new.record)
    # The organisation's row is locked, so that two nodes neither take a number twice nor give a record two addresses.
    tx.execute(select(organisation.c.id).where(organisation.c.id == new.org).with_for_update())
    standing = select(filing_address.c.number).where(_of(new.org, new.record), _valid(new.created_at), _unended())
    if tx.execute(standing.limit(1)).scalar() is not None:
        raise Conflict(f"{new.record} has an address already; regenerate it instead")
    last = tx.execute(select(func.max(filing_address.c.number)).where(filing_address.c.org == new.org)).scalar()
    made = replace(new, number=(last or 0) + 1)
    tx.execute(
        filing_address.insert().values(
            org=made.org,
            number=made.number,
            module=made.record.module,
            record=made.record.id,
            until=None if made.until is None else to_micros(made.until),
            created_at=to_micros(made.created_at),
            created_by=made.created_by,
        )
    )
    _tell(tx, made, EventType.RECORD_ADDRESS_CREATED, by=made.created_by, at=made.created_at)
    return made


def regenerate(tx: Tx, old: FilingAddress, new: FilingAddress, *, old_until: datetime) -> FilingAddress:
    """Give the record of `old` a new address; the old one holds until `old_until`, or its own end before that: now stops it at once.

    Raises as `make` does, and Conflict where `old` is over already.
    """
    if old.ended_by or not old.holds(new.created_at):
        raise Conflict(f"This address of {old.record} is over already; make another")
    end(tx, old, until=old_until, by=new.created_by, at=new.created_at)
    return make(tx, new)


def end(tx: Tx, old: FilingAddress, *, until: datetime, by: str, at: datetime) -> bool:
    """Let an address hold until then, or its own end before that; False where it is over by then already."""
    if old.until is not None:
        until = min(until, old.until)
    longer = or_(filing_address.c.valid_until.is_(None), filing_address.c.valid_until > to_micros(until))
    done = tx.execute(
        update(filing_address)
        .where(filing_address.c.org == old.org, filing_address.c.number == old.number, _valid(at), longer)
        .values(valid_until=to_micros(until), ended_by=by, ended_at=to_micros(at))
    )
    if done.rowcount == 0:
        return False
    _tell(tx, replace(old, valid_until=until), EventType.RECORD_ADDRESS_REVOKED, by=by, at=at)
    tx.ring(Bell.ENDED)
    return True


def get(tx: Tx, org: OrgId, number: int) -> FilingAddress:
    """The address of this number. Raises Unknown."""
    found = get_many(tx, org, [number])
    if not found:
        raise Unknown(_NONE)
    return found[0]


def get_many(tx: Tx, org: OrgId, numbers: Collection[int]) -> tuple[FilingAddress, ...]:
    """Those of these that there are."""
    wanted = select(filing_address).where(filing_address.c.org == org, filing_address.c.number.in_(sorted(numbers)))
    return tuple(_address(row) for row in tx.execute(wanted))


def list_addresses(
    tx: Tx, org: OrgId, *, record: RecordRef | None = None, after: int = 0, limit: int = 100
) -> tuple[FilingAddress, ...]:
    """A page of all that there ever were, or of a record's, by number; `after` is the last number of the page before."""
    page = select(filing_address).where(filing_address.c.org == org, filing_address.c.number > after)
    if record is not None:
        page = page.where(_of(org, record))
    return tuple(_address(row) for row in tx.execute(page.order_by(filing_address.c.number).limit(limit)))


def ended(tx: Tx, *, since: datetime) -> tuple[FilingAddress, ...]:
    """Those that somebody ended at or after `since`, of all organisations: what doors must hear of."""
    wanted = select(filing_address).where(
        filing_address.c.ended_at.is_not(None), filing_address.c.ended_at >= to_micros(since)
    )
    return tuple(_address(row) for row in tx.execute(wanted.order_by(filing_address.c.ended_at)))


def _of(org: OrgId, record: RecordRef) -> ColumnElement[bool]:
    return (
        (filing_address.c.org == org)
        & (filing_address.c.module == record.module)
        & (filing_address.c.record == record.id)
    )


def _valid(at: datetime) -> ColumnElement[bool]:
    moment = to_micros(at)
    return or_(filing_address.c.until.is_(None), filing_address.c.until > moment) & or_(
        filing_address.c.valid_until.is_(None), filing_address.c.valid_until > moment
    )


def _unended() -> ColumnElement[bool]:
    return filing_address.c.ended_at.is_(None)


def _tell(tx: Tx, one: FilingAddress, type_: EventType, *, by: str, at: datetime) -> None:
    data = {"record": str(one.record), "number": str(one.number), "by": by}
    for name, end in (("until", one.until), ("valid_until", one.valid_until)):
        if end is not None:
            data[name] = end.isoformat()
    events.append(tx, org=one.org, at=at, type=type_, data=data, record=str(one.record))


def _address(row: Row[Any]) -> FilingAddress:
    return FilingAddress(
        org=OrgId(row.org),
        number=row.number,
        record=RecordRef(row.module, row.record),
        until=None if row.until is None else from_micros(row.until),
        created_at=from_micros(row.created_at),
        created_by=row.created_by,
        valid_until=None if row.valid_until is None else from_micros(row.valid_until),
        ended_by=row.ended_by,
    )
