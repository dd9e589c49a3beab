"""Shared addresses of organisations: made, changed, removed, and looked up at RCPT and at submission (I13, O2)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, Select, func, or_, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Conflict, TooMany, Unknown
from mailrelay.ids import OrganisationAddressId, OrgId
from mailrelay.model.address import Address
from mailrelay.model.event import EventType
from mailrelay.model.organisation import OrganisationAddress, SharedSettings
from mailrelay.store import events, organisations, people, rows
from mailrelay.store.base import Tx
from mailrelay.store.tables import organisation, organisation_address, organisation_domain

_NONE = "There is no such organisation address"
_POSTMASTER = "postmaster"
_STANDS = organisation_address.c.removed_at.is_(None)


def make(tx: Tx, new: OrganisationAddress) -> None:
    """Keep a new shared address. Raises Unknown without such an organisation, TooMany over its limit, Conflict for one in use."""
    # The organisation's row is locked, so that two nodes do not go over the limit together.
    tx.execute(select(organisation.c.id).where(organisation.c.id == new.org).with_for_update())
    limit = organisations.get(tx, new.org).settings.organisation_addresses
    standing = (
        select(func.count()).select_from(organisation_address).where(organisation_address.c.org == new.org, _STANDS)
    )
    count = int(tx.execute(standing).scalar_one())
    if count >= limit:
        raise TooMany(f"An organisation may have {limit} addresses of its own", limit=limit, count=count + 1)
    if people.keys_in_use(tx, new.org, [new.address.key]):
        raise Conflict(f"{new.address} is an address of a user")
    row = tx.insert(organisation_address).values(
        id=new.id,
        org=new.org,
        key=new.address.key,
        address=rows.encode_address(new.address),
        domain=new.address.domain,
        name=new.name,
        settings=rows.encode(new.settings),
        created_at=to_micros(new.created_at),
        created_by=new.created_by,
    )
    free = row.on_conflict_do_nothing(index_elements=["key"], index_where=_STANDS)
    if tx.execute(free).rowcount == 0:
        raise Conflict(f"{new.address} is in use")
    _tell(tx, new, EventType.ORGANISATION_ADDRESS_CREATED, by=new.created_by, at=new.created_at)


def change(tx: Tx, changed: OrganisationAddress, *, by: str, at: datetime) -> None:
    """Keep the new name and settings of one that stands. Raises Unknown."""
    done = tx.execute(
        update(organisation_address)
        .where(organisation_address.c.id == changed.id, organisation_address.c.org == changed.org, _STANDS)
        .values(name=changed.name, settings=rows.encode(changed.settings))
    )
    if done.rowcount == 0:
        raise Unknown(_NONE)
    _tell(tx, changed, EventType.ORGANISATION_ADDRESS_CHANGED, by=by, at=at)


def remove(tx: Tx, org: OrgId, id_: OrganisationAddressId, *, by: str, at: datetime) -> None:
    """Take one out of use at once; the mail that came to it stays. Raises Unknown when there is none that stands."""
    old = get(tx, org, id_)
    done = tx.execute(
        update(organisation_address)
        .where(organisation_address.c.id == id_, organisation_address.c.org == org, _STANDS)
        .values(removed_at=to_micros(at), removed_by=by)
    )
    if done.rowcount == 0:
        raise Unknown(_NONE)
    _tell(tx, old, EventType.ORGANISATION_ADDRESS_REMOVED, by=by, at=at)


def get(tx: Tx, org: OrgId, id_: str) -> OrganisationAddress:
    """The address, removed or not. Raises Unknown."""
    found = get_many(tx, org, [id_])
    if not found:
        raise Unknown(_NONE)
    return found[0]


def get_many(tx: Tx, org: OrgId, ids: Collection[str]) -> tuple[OrganisationAddress, ...]:
    """Those of these that there are, removed ones included."""
    wanted = select(organisation_address).where(
        organisation_address.c.org == org, organisation_address.c.id.in_(sorted(ids))
    )
    return tuple(_address(row) for row in tx.execute(wanted))


def find(tx: Tx, keys: Collection[str]) -> tuple[OrganisationAddress, ...]:
    """Those that stand and have one of these addresses (by key), of whichever organisation."""
    wanted = select(organisation_address).where(organisation_address.c.key.in_(sorted(keys)), _STANDS)
    return tuple(_address(row) for row in tx.execute(wanted))


def list_addresses(tx: Tx, org: OrgId, *, after: str = "", limit: int = 100) -> tuple[OrganisationAddress, ...]:
    """A page of those that stand, oldest first; `after` is the last id of the page before."""
    page = (
        select(organisation_address)
        .where(organisation_address.c.org == org, organisation_address.c.id > after, _STANDS)
        .order_by(organisation_address.c.id)
        .limit(limit)
    )
    return tuple(_address(row) for row in tx.execute(page))


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Whose mail a recipient's is: a shared address's, or without `shared` the postmaster's of a domain that has one."""

    org: OrgId
    shared: OrganisationAddressId | None


class Closed(StrEnum):
    """Why a recipient is no shared address."""

    NOBODY = "nobody"  # at a domain that we take mail for
    ELSEWHERE = "elsewhere"


def opened_by(tx: Tx, addresses: Sequence[Address], *, domains: Collection[str]) -> list[Opened | Closed]:
    """What each of several recipients is, in one or two statements: for RCPT, which is asked for each mail.

    `domains` are the installation's; elsewhere an address counts while its domain is its organisation's. A sub-address
    (`support+news@`) is the address's. RFC 5321 §4.5.1: postmaster of each domain that we take mail for is taken too.
    """
    keys = {address: keys_of(address) for address in addresses}
    found = tx.execute(
        _standing(domains).where(organisation_address.c.key.in_(sorted({k for ks in keys.values() for k in ks})))
    )
    shared = {row.key: Opened(org=OrgId(row.org), shared=OrganisationAddressId(row.id)) for row in found}
    opened: list[Opened | Closed] = []
    others = {one.domain for one in addresses if one.domain not in domains and not shared.keys() & set(keys[one])}
    houses: dict[str, str] = {}
    if others:
        known = tx.execute(_standing(domains).where(organisation_address.c.domain.in_(sorted(others))))
        houses = {row.domain: row.org for row in known}
    for address in addresses:
        itself = next((shared[key] for key in keys[address] if key in shared), None)
        if itself is not None:
            opened.append(itself)
        elif address.domain in houses and address.local.lower() == _POSTMASTER:
            opened.append(Opened(org=OrgId(houses[address.domain]), shared=None))
        else:
            ours = address.domain in houses or address.domain in domains
            opened.append(Closed.NOBODY if ours else Closed.ELSEWHERE)
    return opened


def keys_of(address: Address) -> tuple[str, ...]:
    """The address, then what it is a sub-address of (RFC 5233)."""
    base, plus, _ = address.local.partition("+")
    return (address.key, Address(base, address.domain).key) if plus and base else (address.key,)


def _standing(domains: Collection[str]) -> Select[*tuple[Any, ...]]:
    c = organisation_address.c
    return (
        select(c.id, c.org, c.key, c.domain)
        .outerjoin(organisation_domain, organisation_domain.c.domain == c.domain)
        .where(_STANDS, or_(organisation_domain.c.org == c.org, c.domain.in_(sorted(domains))))
    )


def _tell(tx: Tx, one: OrganisationAddress, type_: EventType, *, by: str, at: datetime) -> None:
    events.append(tx, org=one.org, at=at, type=type_, data={"id": one.id, "address": str(one.address), "by": by})


def _address(row: Row[Any]) -> OrganisationAddress:
    return OrganisationAddress(
        id=OrganisationAddressId(row.id),
        org=OrgId(row.org),
        address=rows.decode_address(row.address),
        name=row.name,
        settings=rows.decode(SharedSettings, row.settings),
        created_at=from_micros(row.created_at),
        created_by=row.created_by,
        removed_at=None if row.removed_at is None else from_micros(row.removed_at),
    )
