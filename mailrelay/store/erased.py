"""Persons who were erased: known again by a hash of their address, which the database alone does not tell (T13)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy import select

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import OrgId
from mailrelay.model.suppression import HASH
from mailrelay.store.base import Tx
from mailrelay.store.tables import erased

_PURPOSE = b"mailrelay erased address\0"


def hashed(tx: Tx, org: str, key: str) -> str:
    """What stands for an address (by key) once its person is erased: nobody without the installation's secret can try addresses out."""
    return hashes(tx, org, key)[0]


def hashes(tx: Tx, org: str, key: str) -> tuple[str, ...]:
    """What may stand for an address (by key): `hashed`, and what did under the secrets that the installation had before."""
    whose = _PURPOSE + f"{org}\0{key}".encode()
    return tuple(HASH + hmac.digest(secret, whose, hashlib.sha256).hex() for secret in tx.secrets)


def names(tx: Tx, org: OrgId, keys: Iterable[str]) -> dict[str, str]:
    """These addresses (by key), by all that their rows may be kept under: the key itself, or a hash of who was erased."""
    return {name: key for key in keys for name in (key, *hashes(tx, org, key))}


def note(tx: Tx, org: OrgId, key: str, *, at: datetime, by: str) -> str:
    """Write down that the person of an address (by key) is erased as of now; the hash that stands for it."""
    name = hashed(tx, org, key)
    put = tx.insert(erased).values(org=org, key=name, at=to_micros(at), by=by)
    tx.execute(
        put.on_conflict_do_update(index_elements=["org", "key"], set_={"at": put.excluded.at, "by": put.excluded.by})
    )
    return name


def since(tx: Tx, whose: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], datetime]:
    """When the persons of these addresses (organisation and key) were erased last; who never was is left out."""
    asked = {(org, name): (org, key) for org, key in whose for name in hashes(tx, org, key)}
    found: dict[tuple[str, str], datetime] = {}
    for org in sorted({one for one, _ in asked}):
        theirs = sorted(name for one, name in asked if one == org)
        for row in tx.execute(select(erased.c.key, erased.c.at).where(erased.c.org == org, erased.c.key.in_(theirs))):
            one = asked[org, row.key]
            found[one] = max(from_micros(row.at), found.get(one, from_micros(row.at)))
    return found
