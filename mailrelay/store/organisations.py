"""Organisations, their domains, and the addresses that are none of their business (I5, O2)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, delete, or_, select, text, tuple_, update

from mailrelay.clock import to_micros
from mailrelay.errors import Conflict, Unknown
from mailrelay.ids import OrgId
from mailrelay.model.organisation import Exclusion, ExclusionKind, Organisation
from mailrelay.model.settings import OrganisationSettings
from mailrelay.store import modules, rows
from mailrelay.store.base import Tx
from mailrelay.store.tables import exclusion, organisation, organisation_domain


def create(tx: Tx, new: Organisation, *, now: datetime) -> None:
    """Keep a new organisation with the standard modules. Raises Conflict when one of its domains is another's."""
    tx.execute(
        organisation.insert().values(
            id=new.id,
            name=new.name,
            time_zone=new.time_zone,
            settings=rows.encode(new.settings),
            created_at=to_micros(now),
        )
    )
    _put_domains(tx, new)
    modules.seed(tx, new.id)


def update_organisation(tx: Tx, changed: Organisation) -> None:
    """Keep an organisation's new name, time zone, settings and domains. Raises Unknown, or Conflict as `create` does."""
    result = tx.execute(
        update(organisation)
        .where(organisation.c.id == changed.id)
        .values(name=changed.name, time_zone=changed.time_zone, settings=rows.encode(changed.settings))
    )
    if result.rowcount == 0:
        raise Unknown("There is no such organisation")
    tx.execute(
        delete(organisation_domain).where(
            organisation_domain.c.org == changed.id, organisation_domain.c.domain.not_in(changed.domains)
        )
    )
    _put_domains(tx, changed)


def get(tx: Tx, org: OrgId) -> Organisation:
    """The organisation. Raises Unknown."""
    row = tx.execute(select(organisation).where(organisation.c.id == org)).one_or_none()
    if row is None:
        raise Unknown("There is no such organisation")
    domains = tx.execute(
        select(organisation_domain.c.domain)
        .where(organisation_domain.c.org == org)
        .order_by(organisation_domain.c.domain)
    )
    return Organisation(
        id=org,
        name=row.name,
        time_zone=row.time_zone,
        domains=tuple(domains.scalars()),
        settings=rows.decode(OrganisationSettings, row.settings),
    )


def settings(tx: Tx, org: OrgId) -> OrganisationSettings:
    """Its settings alone. Raises Unknown."""
    found = tx.execute(select(organisation.c.settings).where(organisation.c.id == org)).scalar()
    if found is None:
        raise Unknown("There is no such organisation")
    return rows.decode(OrganisationSettings, found)


def list_organisations(tx: Tx, *, after: str = "", limit: int | None = None) -> tuple[Organisation, ...]:
    """The organisations of the installation, oldest first; those behind an id, and so many, or all."""
    wanted = select(organisation.c.id).where(organisation.c.id > after).order_by(organisation.c.id).limit(limit)
    return tuple(get(tx, OrgId(org)) for org in tx.execute(wanted).scalars().all())


def one_at_a_time(tx: Tx) -> None:
    """Have no other transaction change an organisation meanwhile: to be called first."""
    if tx.dialect == "postgresql":  # SQLite has one writer
        tx.execute(text("LOCK TABLE organisation IN SHARE ROW EXCLUSIVE MODE"))


def check_host(tx: Tx, org: OrgId, host: str) -> None:
    """That no other organisation has this name for its links, which are nobody else's business. Raises Conflict.

    Behind `one_at_a_time`.
    """
    others = tx.execute(select(organisation.c.id, organisation.c.settings).where(organisation.c.id != org))
    if any(rows.decode(OrganisationSettings, row.settings).tracking_host == host for row in others):
        raise Conflict(f"tracking_host: {host} is another organisation's; each needs a name of its own")


def by_domain(tx: Tx, domain: str) -> OrgId | None:
    """Whose mail domain (in A-labels) it is, or None."""
    org = tx.execute(select(organisation_domain.c.org).where(organisation_domain.c.domain == domain)).scalar()
    return None if org is None else OrgId(org)


def exclude(tx: Tx, org: OrgId, entry: Exclusion) -> None:
    """Put an address or domain on the exclude list; there already is well."""
    tx.execute(tx.insert(exclusion).values(org=org, kind=entry.kind, value=entry.value).on_conflict_do_nothing())


def readmit(tx: Tx, org: OrgId, entry: Exclusion) -> None:
    """Take an entry off the exclude list; not there is well."""
    tx.execute(
        delete(exclusion).where(
            exclusion.c.org == org, exclusion.c.kind == entry.kind, exclusion.c.value == entry.value
        )
    )


def exclusions(
    tx: Tx, org: OrgId, *, after: Exclusion | None = None, limit: int | None = None
) -> tuple[Exclusion, ...]:
    """The exclude list, addresses before domains; what is behind an entry, and so many, or all."""
    wanted = select(exclusion.c.kind, exclusion.c.value).where(exclusion.c.org == org)
    if after is not None:
        wanted = wanted.where(tuple_(exclusion.c.kind, exclusion.c.value) > (after.kind, after.value))
    found = tx.execute(wanted.order_by(exclusion.c.kind, exclusion.c.value).limit(limit))
    return tuple(Exclusion(kind=ExclusionKind(row.kind), value=row.value) for row in found)


def excluded(tx: Tx, org: OrgId, *, keys: Sequence[str], domains: Sequence[str]) -> tuple[Exclusion, ...]:
    """Those entries of the exclude list that name one of these addresses (by key) or exactly one of these domains."""
    named = (
        select(exclusion.c.kind, exclusion.c.value)
        .where(
            exclusion.c.org == org,
            or_(
                and_(exclusion.c.kind == ExclusionKind.ADDRESS, exclusion.c.value.in_(keys)),
                and_(exclusion.c.kind == ExclusionKind.DOMAIN, exclusion.c.value.in_(domains)),
            ),
        )
        .order_by(exclusion.c.kind, exclusion.c.value)
    )
    return tuple(Exclusion(kind=ExclusionKind(row.kind), value=row.value) for row in tx.execute(named))


def _put_domains(tx: Tx, owner: Organisation) -> None:
    for domain in owner.domains:
        tx.execute(tx.insert(organisation_domain).values(domain=domain, org=owner.id).on_conflict_do_nothing())
        if by_domain(tx, domain) != owner.id:
            raise Conflict(f"The domain {domain} belongs to another organisation")
