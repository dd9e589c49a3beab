"""Who writes to a secret address, how often and when last: whom to tell before an old one ends (I21)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import Executable, case, func, select, tuple_, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import DropboxId, OrgId
from mailrelay.model.address import Address
from mailrelay.store import rows
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.tables import address_use

MOST = 500
"""Who is noted of one address: anybody can write to it under as many names as he likes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A correspondent who writes to a secret address. `address` is as they wrote their own."""

    address: Address
    count: int
    first_at: datetime
    last_at: datetime


def of_dropbox(used: DropboxId) -> str:
    """How a dropbox is named here."""
    return used


def of_record_address(number: int) -> str:
    """How the address of a record is named here."""
    return f"r{number}"


def note(tx: Tx, org: OrgId, place: str, by: Address, *, now: datetime) -> None:
    """Write down that somebody's mail came to an address, at the end of the transaction."""
    tx.last(_note, (org, place, by, now))


def list_uses(tx: Tx, org: OrgId, place: str, *, after: str = "", limit: int = 100) -> tuple[Use, ...]:
    """A page of who writes to an address, by address key; `after` is the last key of the page before."""
    page = (
        select(address_use)
        .where(address_use.c.org == org, address_use.c.place == place, address_use.c.key > after)
        .order_by(address_use.c.key)
        .limit(limit)
    )
    return tuple(
        Use(
            address=rows.decode_address(row.address),
            count=row._mapping["count"],
            first_at=from_micros(row.first_at),
            last_at=from_micros(row.last_at),
        )
        for row in tx.execute(page)
    )


def _put(insert: InsertInto) -> Executable:
    row = insert(address_use)
    later = row.excluded.last_at > address_use.c.last_at
    return row.on_conflict_do_update(
        index_elements=["org", "place", "key"],
        set_={
            "count": address_use.c.count + row.excluded.count,
            "address": case((later, row.excluded.address), else_=address_use.c.address),
            "last_at": case((later, row.excluded.last_at), else_=address_use.c.last_at),
        },
    )


_PUT = for_both(_put)


def _note(tx: Tx, noted: list[tuple[OrgId, str, Address, datetime]]) -> None:
    # In the order of the key, so that two transactions that note the same never wait for each other.
    ordered = sorted(noted, key=lambda one: (one[0], one[1], one[2].key, one[3]))
    full = _full(tx, sorted({(org, place) for org, place, _, _ in ordered}))
    new = []
    for (org, place, key), group in groupby(ordered, key=lambda one: (one[0], one[1], one[2].key)):
        times = list(group)
        row = {
            "org": org,
            "place": place,
            "key": key,
            "address": rows.encode_address(times[-1][2]),
            "count": len(times),
            "first_at": to_micros(times[0][3]),
            "last_at": to_micros(times[-1][3]),
        }
        if (org, place) in full:
            _again(tx, row)
        else:
            new.append(row)
    if new:
        tx.execute(_PUT[tx.dialect], new)


def _again(tx: Tx, row: dict[str, object]) -> None:
    """Count somebody who is known; nobody else has room."""
    same = (address_use.c.org == row["org"], address_use.c.place == row["place"], address_use.c.key == row["key"])
    tx.execute(
        update(address_use).where(*same).values(count=address_use.c.count + row["count"], last_at=row["last_at"])
    )


def _full(tx: Tx, places: Sequence[tuple[OrgId, str]]) -> set[tuple[str, str]]:
    counted = (
        select(address_use.c.org, address_use.c.place)
        .where(tuple_(address_use.c.org, address_use.c.place).in_(places))
        .group_by(address_use.c.org, address_use.c.place)
        .having(func.count() >= MOST)
    )
    return {(row.org, row.place) for row in tx.execute(counted)}
