"""Records of the CRM: kept, listed, and created for new correspondents (I4, I6, I7, R7).

`record_address` is the index that matching looks in: it is rewritten with its record, and carries from the module what kind of
address each is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, delete, select

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Invalid, Stale, Unknown
from mailrelay.ids import OrgId, UserId
from mailrelay.model.address import Address
from mailrelay.model.event import EventType
from mailrelay.model.record import AddressField, AddressKind, Record, RecordAddress, RecordLink, RecordRef
from mailrelay.model.suppression import BOUNCED
from mailrelay.store import events, modules, record_fields, rows, suppressions
from mailrelay.store.base import Tx
from mailrelay.store.tables import created_address, former_address, record, record_address, record_field, record_link


class Change(StrEnum):
    """What became of a record that was handed in."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


def upsert(tx: Tx, new: Record) -> Change:
    """Keep one record, see `upsert_many`."""
    return upsert_many(tx, [new])[0]


def upsert_many(tx: Tx, new: Sequence[Record], *, told: RecordRef | None = None) -> tuple[Change, ...]:
    """Keep records of one organisation as given, all or none; answers for each what changed, in order.

    A record that is there keeps its `source` and `created_at`; one that is the same keeps its `updated_at` too. Where one is
    given twice the last one stays. The `kind` of addresses is that of the module's field. Links may point to records that
    come later. An address that a record gains starts clean: what bounces put against it is lifted (I11), but not when the record
    had it since then: it only comes back. Raises Invalid for a
    module or address field that the organisation has not, and for a value that is not of its field's type (K2). Each that
    changed is told in the journal, but for `told`, whose own caller tells more of it.
    """
    if not new:
        return ()
    org = new[0].org
    known_modules = {module.name: module for module in modules.list_modules(tx, org)}
    fields = {name: {f.name: f for f in module.address_fields} for name, module in known_modules.items()}
    before = {old.ref: old for old in _get(tx, org, {one.ref for one in new}, lock=True)}
    known = dict(before)
    changes: list[Change] = []
    writes: dict[RecordRef, Record] = {}
    for one in new:
        one = _normal(one, fields)
        old = known.get(one.ref)
        if old is None:
            changes.append(Change.CREATED)
        else:
            one = replace(one, source=old.source, created_at=old.created_at)
            if one == replace(old, updated_at=one.updated_at):
                changes.append(Change.UNCHANGED)
                continue
            changes.append(Change.UPDATED)
        known[one.ref] = writes[one.ref] = one
    _write(tx, org, [writes[ref] for ref in sorted(writes)], fields)
    if writes:
        record_fields.put(tx, org, [writes[ref] for ref in sorted(writes)], known_modules)
    now = max(one.updated_at for one in new)
    suppressions.start_clean(tx, org, _new_to(tx, org, _gained(before, writes)), now=now)
    _remember(tx, org, before, writes, now=now)
    for ref in sorted(writes):
        if ref != told:
            _tell(tx, before.get(ref), writes[ref])
    return tuple(changes)


def _tell(tx: Tx, old: Record | None, new: Record) -> None:
    ref = str(new.ref)
    data = {"record": ref, "source": new.source} if old is None else {"record": ref, "changed": _changed(old, new)}
    type_ = EventType.RECORD_CREATED if old is None else EventType.RECORD_CHANGED
    events.append(tx, org=new.org, at=new.updated_at, type=type_, record=ref, data=data)


def _changed(old: Record, new: Record) -> str:
    """What changed of a record: name, owner, addresses, links, and its own fields one by one."""
    found = [name for name in ("name", "owner", "addresses", "links") if getattr(old, name) != getattr(new, name)]
    before, after = dict(old.fields), dict(new.fields)
    found += sorted(f"fields.{name}" for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return " ".join(found)


def _gained(before: Mapping[RecordRef, Record], after: Mapping[RecordRef, Record]) -> set[tuple[str, RecordRef]]:
    """Keys of the addresses that records which were there have now and had not, with the record; a new record gains none."""
    return {(key, ref) for ref, old in before.items() if ref in after for key in _keys(after[ref]) - _keys(old)}


def _new_to(tx: Tx, org: OrgId, gained: AbstractSet[tuple[str, RecordRef]]) -> dict[str, RecordRef]:
    """Those that come to a record which has not had them since they were suppressed."""
    keys = sorted({key for key, _ in gained})
    if not keys:
        return {}
    had = {
        (row.key, RecordRef(row.module, row.record)): from_micros(row.until)
        for row in tx.execute(select(former_address).where(former_address.c.org == org, former_address.c.key.in_(keys)))
    }
    new = {key: ref for key, ref in sorted(gained) if (key, ref) not in had}
    again = [(key, ref) for key, ref in sorted(gained) if (key, ref) in had and key not in new]
    if again:
        since: dict[str, datetime] = {}
        for one in suppressions.holding(tx, org, sorted({key for key, _ in again})):
            if one.reason in BOUNCED:
                since[one.key] = min(one.since, since.get(one.key, one.since))
        # Suppressed only after this record had lost it: what bounced was somebody else's.
        new |= {key: ref for key, ref in again if key in since and since[key] > had[key, ref]}
    return new


def _remember(
    tx: Tx, org: OrgId, before: Mapping[RecordRef, Record], after: Mapping[RecordRef, Record], *, now: datetime
) -> None:
    """Keep which addresses records have lost: one that a sync blanks for a moment is not clean when it is back."""
    lost = [(key, ref) for ref, old in before.items() if ref in after for key in _keys(old) - _keys(after[ref])]
    if not lost:
        return
    row = tx.insert(former_address)
    tx.execute(
        row.on_conflict_do_update(
            index_elements=["org", "key", "module", "record"], set_={"until": row.excluded["until"]}
        ),
        [
            {"org": org, "key": key, "module": ref.module, "record": ref.id, "until": to_micros(now)}
            for key, ref in sorted(lost)
        ],
    )


def _keys(one: Record) -> AbstractSet[str]:
    return {had.address.key for had in one.addresses}


def remove(tx: Tx, org: OrgId, ref: RecordRef, *, at: datetime, by: str = "") -> None:
    """Forget a record and its addresses; links that messages and other records have to it stay written. Raises Unknown."""
    gone = delete(record).where(record.c.org == org, record.c.module == ref.module, record.c.id == ref.id)
    if tx.execute(gone).rowcount == 0:
        raise Unknown(f"There is no record {ref}")
    for table in (record_address, record_link, former_address, record_field):
        tx.execute(delete(table).where(_of(table, org, ref.module, [ref.id])))
    data = {"record": str(ref), "by": by}
    events.append(tx, org=org, at=at, type=EventType.RECORD_REMOVED, record=str(ref), data=data)


def get(tx: Tx, org: OrgId, ref: RecordRef) -> Record:
    """The record. Raises Unknown."""
    found = _get(tx, org, {ref})
    if not found:
        raise Unknown(f"There is no record {ref}")
    return found[0]


def get_many(tx: Tx, org: OrgId, refs: Collection[RecordRef]) -> tuple[Record, ...]:
    """Those of these records that are there, by module and id."""
    return tuple(_get(tx, org, refs))


def list_records(tx: Tx, org: OrgId, module: str, *, after: str = "", limit: int = 100) -> tuple[Record, ...]:
    """A page of a module's records, by id; `after` is the last id of the page before."""
    page = (
        select(record)
        .where(record.c.org == org, record.c.module == module, record.c.id > after)
        .order_by(record.c.id)
        .limit(limit)
    )
    return tuple(_read(tx, org, tx.execute(page).all()))


def create_for_address(
    tx: Tx, new: Record, *, address: Address, known: Collection[RecordRef], now: datetime, queue_id: str = ""
) -> None:
    """Create the record of a new correspondent, who has `address` among the record's addresses (I6).

    `known` are the records that were seen with this address when it was decided to create one. Raises Stale when there is
    another by now: decide again; so a hundred copies at once make one record.
    """
    claim = tx.insert(created_address).values(
        org=new.org, key=address.key, module=new.ref.module, record=new.ref.id, created_at=to_micros(now)
    )
    # The row of this key is what two nodes at once meet at: the second waits here for the first to commit, and sees its
    # record in the next statement. A row whose record has lost the address since is taken over.
    tx.execute(
        claim.on_conflict_do_update(
            index_elements=["org", "key"],
            set_={name: claim.excluded[name] for name in ("module", "record", "created_at")},
        )
    )
    holders = tx.execute(
        select(record_address.c.module, record_address.c.record).where(
            record_address.c.org == new.org, record_address.c.key == address.key
        )
    )
    if any(RecordRef(holder.module, holder.record) not in known for holder in holders):
        raise Stale(f"A record with the address {address} was made meanwhile")
    upsert_many(tx, [new], told=new.ref)
    events.append(
        tx,
        org=new.org,
        at=now,
        type=EventType.RECORD_CREATED,
        queue_id=queue_id,
        record=str(new.ref),
        data={"record": str(new.ref), "address": str(address), "source": new.source},
    )


def _normal(new: Record, fields: dict[str, dict[str, AddressField]]) -> Record:
    """The record as it would be read again: one order for what has none, one of what is there twice."""
    if new.ref.module not in fields:
        raise Invalid("module", f"there is no module {new.ref.module}")
    addresses: dict[tuple[str, str], RecordAddress] = {}
    for one in new.addresses:
        field = fields[new.ref.module].get(one.field)
        if field is None:
            raise Invalid(one.field, f"{new.ref.module} has no address field {one.field}")
        addresses[field.name, one.address.key] = replace(one, kind=field.kind)
    return replace(
        new,
        addresses=tuple(addresses[place] for place in sorted(addresses)),
        links=tuple(sorted(set(new.links), key=lambda link: (link.role, link.to))),
        fields=tuple(sorted(dict(new.fields).items())),
    )


def _write(tx: Tx, org: OrgId, new: Sequence[Record], fields: dict[str, dict[str, AddressField]]) -> None:
    if not new:
        return
    row = tx.insert(record)
    tx.execute(
        row.on_conflict_do_update(
            index_elements=["org", "module", "id"],
            set_={name: row.excluded[name] for name in ("name", "owner", "fields", "updated_at")},
        ),
        [
            {
                "org": org,
                "module": one.ref.module,
                "id": one.ref.id,
                "name": one.name,
                "owner": one.owner,
                "fields": dict(one.fields),
                "source": one.source,
                "created_at": to_micros(one.created_at),
                "updated_at": to_micros(one.updated_at),
            }
            for one in new
        ],
    )
    for module, ids in _by_module(one.ref for one in new).items():
        for table in (record_address, record_link):
            tx.execute(delete(table).where(_of(table, org, module, ids)))
    addresses = [
        {
            "org": org,
            "key": one.address.key,
            "module": owner.ref.module,
            "record": owner.ref.id,
            "field": one.field,
            "kind": one.kind,
            "matched": fields[owner.ref.module][one.field].matched,
            "address": rows.encode_address(one.address),
            "domain": one.address.domain,
        }
        for owner in new
        for one in owner.addresses
    ]
    links = [
        {
            "org": org,
            "module": owner.ref.module,
            "record": owner.ref.id,
            "role": one.role,
            "to_module": one.to.module,
            "to_record": one.to.id,
        }
        for owner in new
        for one in owner.links
    ]
    if addresses:
        tx.execute(record_address.insert(), addresses)
    if links:
        tx.execute(record_link.insert(), links)


def _get(tx: Tx, org: OrgId, refs: Collection[RecordRef], *, lock: bool = False) -> list[Record]:
    found: list[Row[Any]] = []
    for module, ids in _by_module(refs).items():
        wanted = select(record).where(record.c.org == org, record.c.module == module, record.c.id.in_(ids))
        wanted = wanted.order_by(record.c.id)
        found += tx.execute(wanted.with_for_update() if lock else wanted).all()
    return _read(tx, org, found)


def _read(tx: Tx, org: OrgId, found: Sequence[Row[Any]]) -> list[Record]:
    """Records of rows of `record`, with their addresses and links."""
    addresses: defaultdict[RecordRef, list[RecordAddress]] = defaultdict(list)
    links: defaultdict[RecordRef, list[RecordLink]] = defaultdict(list)
    for module, ids in _by_module(RecordRef(row.module, row.id) for row in found).items():
        for row in tx.execute(select(record_address).where(_of(record_address, org, module, ids))):
            one = RecordAddress(address=rows.decode_address(row.address), kind=AddressKind(row.kind), field=row.field)
            addresses[RecordRef(module, row.record)].append(one)
        for row in tx.execute(select(record_link).where(_of(record_link, org, module, ids))):
            link = RecordLink(role=row.role, to=RecordRef(row.to_module, row.to_record))
            links[RecordRef(module, row.record)].append(link)
    return [
        Record(
            org=org,
            ref=(ref := RecordRef(row.module, row.id)),
            name=row.name,
            owner=None if row.owner is None else UserId(row.owner),
            addresses=tuple(sorted(addresses[ref], key=lambda one: (one.field, one.address.key))),
            links=tuple(sorted(links[ref], key=lambda link: (link.role, link.to))),
            fields=tuple(sorted(row.fields.items())),
            source=row.source,
            created_at=from_micros(row.created_at),
            updated_at=from_micros(row.updated_at),
        )
        for row in found
    ]


def _of(table: Table, org: OrgId, module: str, ids: Sequence[str]) -> ColumnElement[bool]:
    return (table.c.org == org) & (table.c.module == module) & table.c.record.in_(ids)


def _by_module(refs: Iterable[RecordRef]) -> dict[str, list[str]]:
    """Ids by module, both in order, so that two transactions lock their rows in the same one."""
    grouped: dict[str, list[str]] = {}
    for ref in sorted(set(refs)):
        grouped.setdefault(ref.module, []).append(ref.id)
    return grouped
