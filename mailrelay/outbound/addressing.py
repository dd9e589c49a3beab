"""Mail to a record: which of its addresses is meant, and of a document whose (O3, I7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailrelay.errors import Invalid
from mailrelay.ids import OrgId
from mailrelay.mail.compose import Person
from mailrelay.model.record import AddressKind, Record, RecordRef
from mailrelay.rules import documents
from mailrelay.store import records
from mailrelay.store.base import Tx

_KINDS = {"primary": AddressKind.PRIMARY, "secondary": AddressKind.SECONDARY}


@dataclass(frozen=True, slots=True)
class ToRecord:
    """A recipient that is named by a record: `field` is primary, secondary, or the name of a field with an address."""

    record: RecordRef
    field: str = "primary"


def resolve(tx: Tx, org: OrgId, wanted: Mapping[str, ToRecord]) -> dict[str, Person]:
    """Whom the mail goes to for each of `wanted`, which are by where they were said (`to[1]`).

    A document without the address is written to at whom it is made out to. Raises Invalid, with the place, where there is no such
    record or address, or more than one.
    """
    known = _by_ref(tx, org, {one.record for one in wanted.values()})
    parties = {ref: _parties(one) for ref, one in known.items()}
    known |= _by_ref(tx, org, {party for found in parties.values() for party in found} - known.keys())
    return {path: _person(path, one, known, parties.get(one.record, ())) for path, one in wanted.items()}


def _by_ref(tx: Tx, org: OrgId, refs: set[RecordRef]) -> dict[RecordRef, Record]:
    return {one.ref: one for one in records.get_many(tx, org, refs)} if refs else {}


def _parties(record: Record) -> tuple[RecordRef, ...]:
    return documents.parties(record.ref.module, [(link.role, link.to) for link in record.links])


def _person(path: str, wanted: ToRecord, known: Mapping[RecordRef, Record], parties: Sequence[RecordRef]) -> Person:
    record = known.get(wanted.record)
    if record is None:
        raise Invalid(path, f"there is no record {wanted.record}")
    if (own := _at(record, wanted.field)) is not None:
        return own
    found = [person for party in parties if party in known and (person := _at(known[party], wanted.field)) is not None]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(party) for party in parties)
        raise Invalid(path, f"{wanted.record} is made out to several: write to one of {names}")
    raise Invalid(path, _without(record, wanted.field, [known[party] for party in parties if party in known]))


def _at(record: Record, field: str) -> Person | None:
    kind = _KINDS.get(field)
    for one in record.addresses:
        if one.field == field or one.kind is kind:
            return Person(record.name, one.address)
    return None


def _without(record: Record, field: str, parties: Sequence[Record]) -> str:
    """Why there is nobody to write to, and what there is."""
    what = f"{field} address" if field in _KINDS else f"address in {field}"
    there = [f"{one.ref} has {other.field}" for one in (record, *parties) for other in one.addresses]
    return f"{record.ref} has no {what}; " + (", ".join(there) if there else "nor any other")
