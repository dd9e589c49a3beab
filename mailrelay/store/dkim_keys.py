"""DKIM keys of the domains that mail is signed for; old ones overlap with new ones while DNS catches up (O8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, or_, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Conflict, Unknown
from mailrelay.mail.dkim import KeyAlgorithm, SigningKey
from mailrelay.store.base import Tx
from mailrelay.store.tables import dkim_key


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimKey:
    """A signing key with its public half (the p= of its DNS line) and when it signs: from `active_from` to `retired_at`."""

    key: SigningKey
    public_b64: str
    created_at: datetime
    active_from: datetime
    retired_at: datetime | None


def add(tx: Tx, new: DkimKey) -> None:
    """Keep a key. Raises Conflict when the domain has this selector already: a selector is never used for two keys."""
    added = tx.execute(
        tx.insert(dkim_key)
        .values(
            domain=new.key.domain,
            selector=new.key.selector,
            algorithm=new.key.algorithm,
            private_pem=new.key.private_pem.decode("ascii"),
            public_b64=new.public_b64,
            created_at=to_micros(new.created_at),
            active_from=to_micros(new.active_from),
            retired_at=None if new.retired_at is None else to_micros(new.retired_at),
        )
        .on_conflict_do_nothing()
        .returning(dkim_key.c.selector)
    )
    if added.scalar() is None:
        raise Conflict(f"{new.key.domain} has a key with the selector {new.key.selector} already")


def active(tx: Tx, domain: str, *, now: datetime) -> tuple[SigningKey, ...]:
    """The keys that sign for a domain at `now`: the newest of each algorithm, RSA first; empty for none."""
    found = tx.execute(
        select(dkim_key)
        .where(
            dkim_key.c.domain == domain,
            dkim_key.c.active_from <= to_micros(now),
            or_(dkim_key.c.retired_at.is_(None), dkim_key.c.retired_at > to_micros(now)),
        )
        .order_by(dkim_key.c.active_from, dkim_key.c.selector)
    )
    newest = {row.algorithm: _key(row).key for row in found}
    return tuple(newest[algorithm] for algorithm in KeyAlgorithm if algorithm in newest)


def list_keys(tx: Tx, domain: str | None = None) -> tuple[DkimKey, ...]:
    """Every key ever kept, or those of one domain, by domain and age."""
    wanted = select(dkim_key).order_by(dkim_key.c.domain, dkim_key.c.active_from, dkim_key.c.selector)
    if domain is not None:
        wanted = wanted.where(dkim_key.c.domain == domain)
    return tuple(_key(row) for row in tx.execute(wanted))


def retire(tx: Tx, domain: str, selector: str, *, at: datetime) -> None:
    """Let a key sign no more from `at`; its DNS line stays needed for mail under way. Raises Unknown."""
    retired = tx.execute(
        update(dkim_key)
        .where(dkim_key.c.domain == domain, dkim_key.c.selector == selector)
        .values(retired_at=to_micros(at))
    )
    if retired.rowcount == 0:
        raise Unknown(f"{domain} has no key with the selector {selector}")


def _key(row: Row[*tuple[Any, ...]]) -> DkimKey:
    return DkimKey(
        key=SigningKey(row.domain, row.selector, KeyAlgorithm(row.algorithm), row.private_pem.encode("ascii")),
        public_b64=row.public_b64,
        created_at=from_micros(row.created_at),
        active_from=from_micros(row.active_from),
        retired_at=None if row.retired_at is None else from_micros(row.retired_at),
    )
