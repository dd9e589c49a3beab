"""What DNS last said of an organisation's domains: whether mail may leave as them (O2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Unknown
from mailrelay.ids import OrgId
from mailrelay.store.base import Tx
from mailrelay.store.tables import organisation_domain


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainState:
    """A domain of an organisation; `proved_at` None until its proof was seen, `proof` what was last seen, in words."""

    domain: str
    org: OrgId
    proved_at: datetime | None
    proof: str


def list_domains(
    tx: Tx, org: OrgId | None = None, *, after: str = "", limit: int | None = None
) -> tuple[DomainState, ...]:
    """The domains of an organisation, or of all, by name; those behind a name, and so many, or all."""
    wanted = select(organisation_domain).order_by(organisation_domain.c.domain).limit(limit)
    if after:
        wanted = wanted.where(organisation_domain.c.domain > after)
    if org is not None:
        wanted = wanted.where(organisation_domain.c.org == org)
    return tuple(_state(row._mapping) for row in tx.execute(wanted))


def get(tx: Tx, org: OrgId, domain: str) -> DomainState | None:
    """A domain of the organisation, or None."""
    mine = (organisation_domain.c.domain == domain) & (organisation_domain.c.org == org)
    row = tx.execute(select(organisation_domain).where(mine)).one_or_none()
    return None if row is None else _state(row._mapping)


def is_proved(tx: Tx, org: OrgId, domain: str) -> bool:
    """Whether the domain is this organisation's and has proved itself."""
    found = select(organisation_domain.c.domain).where(
        organisation_domain.c.domain == domain,
        organisation_domain.c.org == org,
        organisation_domain.c.proved_at.is_not(None),
    )
    return tx.execute(found).first() is not None


def note_proof(tx: Tx, org: OrgId, domain: str, *, proved_at: datetime | None, proof: str) -> None:
    """Keep what was seen; `proved_at` None takes the proof back. Raises Unknown."""
    changed = tx.execute(
        update(organisation_domain)
        .where(organisation_domain.c.domain == domain, organisation_domain.c.org == org)
        .values(proved_at=None if proved_at is None else to_micros(proved_at), proof=proof)
    )
    if changed.rowcount != 1:
        raise Unknown(f"The organisation has no domain {domain}")


def _state(row: RowMapping) -> DomainState:
    return DomainState(
        domain=row["domain"],
        org=OrgId(row["org"]),
        proved_at=None if row["proved_at"] is None else from_micros(row["proved_at"]),
        proof=row["proof"],
    )
