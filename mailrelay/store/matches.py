"""Whose address is this, and what is tied to it: the look-ups of the match and relate rules (I4, I7)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select

from mailrelay.clock import from_micros
from mailrelay.ids import OrgId, UserId
from mailrelay.model.record import AddressKind, RecordRef
from mailrelay.store.base import Tx
from mailrelay.store.tables import record, record_address, record_link


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A record that has an address. `matched` is the preference of the field (I4): without it the record is only told of."""

    key: str
    ref: RecordRef
    kind: AddressKind
    field: str
    matched: bool
    name: str
    owner: UserId | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A link between `of`, a record that was asked for, and `ref`; `outgoing` when it is `of` that has the link."""

    of: RecordRef
    role: str
    outgoing: bool
    ref: RecordRef
    name: str
    owner: UserId | None
    updated_at: datetime


_MATCH = select(
    record_address.c.key,
    record_address.c.module,
    record_address.c.record,
    record_address.c.kind,
    record_address.c.field,
    record_address.c.matched,
    record.c.name,
    record.c.owner,
    record.c.updated_at,
).join(
    record,
    (record.c.org == record_address.c.org)
    & (record.c.module == record_address.c.module)
    & (record.c.id == record_address.c.record),
)


def by_addresses(tx: Tx, org: OrgId, keys: Sequence[str], *, limit: int = 1000) -> tuple[Match, ...]:
    """Every record of any module with one of these addresses (by key), in one statement; at most `limit`, by key."""
    found = _MATCH.where(record_address.c.org == org, record_address.c.key.in_(keys))
    order = (record_address.c.key, record_address.c.module, record_address.c.record, record_address.c.field)
    return tuple(_match(row) for row in tx.execute(found.order_by(*order).limit(limit)))


def by_domains(tx: Tx, org: OrgId, module: str, domains: Sequence[str], *, limit: int = 100) -> tuple[Match, ...]:
    """Records of a module with an address in exactly one of these domains (I4: an account by its domain), by domain and id."""
    found = _MATCH.where(
        record_address.c.org == org,
        record_address.c.module == module,
        record_address.c.domain.in_(domains),
        record_address.c.matched,
    )
    order = (record_address.c.domain, record_address.c.record, record_address.c.field)
    return tuple(_match(row) for row in tx.execute(found.order_by(*order).limit(limit)))


def related(
    tx: Tx,
    org: OrgId,
    refs: Collection[RecordRef],
    *,
    role: str | None = None,
    module: str | None = None,
    limit: int = 1000,
) -> tuple[Relation, ...]:
    """What these records link to, then what links to them; only with this role, or to records of this module, if given.

    A link to a record that is not there (yet) is left out.
    """
    found: list[Relation] = []
    grouped: dict[str, list[str]] = {}
    for ref in sorted(set(refs)):
        grouped.setdefault(ref.module, []).append(ref.id)
    for outgoing in (True, False):
        for its_module, ids in grouped.items():
            for row in tx.execute(
                _relations(org, its_module, ids, outgoing=outgoing, role=role, module=module).limit(limit)
            ):
                found.append(_relation(row, outgoing=outgoing))  # noqa: PERF401 (three loops deep is no expression)
    return tuple(found)


def _relations(
    org: OrgId, its_module: str, ids: Sequence[str], *, outgoing: bool, role: str | None, module: str | None
) -> Select[*tuple[Any, ...]]:
    link = record_link.c
    mine = (link.module, link.record) if outgoing else (link.to_module, link.to_record)
    other = (link.to_module, link.to_record) if outgoing else (link.module, link.record)
    wanted = (
        select(
            mine[1].label("of_id"),
            mine[0].label("of_module"),
            link.role,
            record.c.module,
            record.c.id,
            record.c.name,
            record.c.owner,
            record.c.updated_at,
        )
        .join(record, (record.c.org == link.org) & (record.c.module == other[0]) & (record.c.id == other[1]))
        .where(link.org == org, mine[0] == its_module, mine[1].in_(ids))
        .order_by(mine[1], link.role, record.c.module, record.c.id)
    )
    if role is not None:
        wanted = wanted.where(link.role == role)
    if module is not None:
        wanted = wanted.where(other[0] == module)
    return wanted


def _match(row: Row[*tuple[Any, ...]]) -> Match:
    return Match(
        key=row.key,
        ref=RecordRef(row.module, row.record),
        kind=AddressKind(row.kind),
        field=row.field,
        matched=row.matched,
        name=row.name,
        owner=None if row.owner is None else UserId(row.owner),
        updated_at=from_micros(row.updated_at),
    )


def _relation(row: Row[*tuple[Any, ...]], *, outgoing: bool) -> Relation:
    return Relation(
        of=RecordRef(row.of_module, row.of_id),
        role=row.role,
        outgoing=outgoing,
        ref=RecordRef(row.module, row.id),
        name=row.name,
        owner=None if row.owner is None else UserId(row.owner),
        updated_at=from_micros(row.updated_at),
    )
