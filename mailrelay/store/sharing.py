"""What users share of their mail: the setting, the records that they chose, and the domains that are kept back (I16).

Each change is an event in the same transaction. `visibility` reads what is kept here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, select, tuple_, update

from mailrelay.errors import Invalid, TooMany, Unknown
from mailrelay.ids import OrgId, UserId
from mailrelay.model.event import EventType
from mailrelay.model.record import RecordRef
from mailrelay.model.settings import Sharing
from mailrelay.model.sharing import UserSharing
from mailrelay.store import events, organisations, records
from mailrelay.store.base import Tx
from mailrelay.store.tables import shared_record, unshared_domain, user

_EVERYBODYS = ""
"""In the place of a user: a domain that is kept back for the whole organisation."""
MOST_DOMAINS = 200
"""Each one is compared with everybody in a mail whenever that is looked for."""


def of(tx: Tx, org: OrgId, who: UserId) -> UserSharing:
    """What is set for a user. Raises Unknown."""
    row = tx.execute(select(user.c.sharing).where(user.c.id == who, user.c.org == org)).first()
    if row is None:
        raise Unknown("There is no such user")
    settings = organisations.get(tx, org).settings
    own = Sharing(row.sharing) if row.sharing else None
    return UserSharing(
        user=who,
        sharing=own,
        effective=own or settings.sharing,
        left_to_user=settings.sharing_by_users,
        unshared_domains=unshared(tx, org, who),
    )


def put(
    tx: Tx, org: OrgId, who: UserId, sharing: Sharing | None, domains: Sequence[str], *, by: str, at: datetime
) -> UserSharing:
    """Set a user's sharing, None for the organisation's, and the user's own unshared domains. Raises Unknown, Invalid, TooMany."""
    before = of(tx, org, who)
    tx.execute(update(user).where(user.c.id == who, user.c.org == org).values(sharing=sharing or ""))
    kept = sorted(set(domains))
    _check(tx, org, kept)
    mine = (unshared_domain.c.org == org, unshared_domain.c.user == who)
    tx.execute(delete(unshared_domain).where(*mine, unshared_domain.c.domain.not_in(kept)))
    for domain in kept:
        _keep_back(tx, org, who, domain)
    after = of(tx, org, who)
    if after != before:
        data = {"sharing": str(sharing or ""), "domains": " ".join(kept)}
        _tell(tx, org, who, data, by=by, at=at)
    return after


def unshared(tx: Tx, org: OrgId, who: UserId | None = None) -> tuple[str, ...]:
    """The domains that a user keeps back, or without a user the organisation, in order."""
    found = select(unshared_domain.c.domain).where(
        unshared_domain.c.org == org, unshared_domain.c.user == (who or _EVERYBODYS)
    )
    return tuple(tx.execute(found.order_by(unshared_domain.c.domain)).scalars())


def keep_back(tx: Tx, org: OrgId, domain: str, *, by: str, at: datetime) -> None:
    """Share no mail of a domain, or of one below it, of anybody; kept back already is well. Raises Invalid, TooMany."""
    _check(tx, org, [*{*unshared(tx, org), domain}])
    if _keep_back(tx, org, _EVERYBODYS, domain):
        _tell(tx, org, _EVERYBODYS, {"unshared": domain}, by=by, at=at)


def share_again(tx: Tx, org: OrgId, domain: str, *, by: str, at: datetime) -> None:
    """Keep the domain no longer back; one that is not is well."""
    gone = delete(unshared_domain).where(
        unshared_domain.c.org == org, unshared_domain.c.user == _EVERYBODYS, unshared_domain.c.domain == domain
    )
    if tx.execute(gone).rowcount:
        _tell(tx, org, _EVERYBODYS, {"shared": domain}, by=by, at=at)


def choose(tx: Tx, org: OrgId, who: UserId, record: RecordRef, *, by: str, at: datetime) -> None:
    """Share the user's mail on a record, where their sharing is custom; chosen already is well. Raises Unknown."""
    records.get(tx, org, record)
    new = tx.insert(shared_record).values(org=org, user=who, module=record.module, record=record.id)
    if tx.execute(new.on_conflict_do_nothing()).rowcount:
        _tell(tx, org, who, {"chosen": str(record)}, by=by, at=at)


def leave(tx: Tx, org: OrgId, who: UserId, record: RecordRef, *, by: str, at: datetime) -> None:
    """Share the user's mail on a record no longer; one that is not chosen is well."""
    gone = delete(shared_record).where(
        shared_record.c.org == org,
        shared_record.c.user == who,
        shared_record.c.module == record.module,
        shared_record.c.record == record.id,
    )
    if tx.execute(gone).rowcount:
        _tell(tx, org, who, {"left": str(record)}, by=by, at=at)


def chosen(
    tx: Tx, org: OrgId, who: UserId, *, after: RecordRef | None = None, limit: int = 100
) -> tuple[RecordRef, ...]:
    """A page of the records that a user chose, by module and id; `after` is the last of the page before."""
    place = (shared_record.c.module, shared_record.c.record)
    page = select(*place).where(shared_record.c.org == org, shared_record.c.user == who)
    if after is not None:
        page = page.where(tuple_(*place) > tuple_(after.module, after.id))
    return tuple(RecordRef(row.module, row.record) for row in tx.execute(page.order_by(*place).limit(limit)))


def _check(tx: Tx, org: OrgId, domains: Sequence[str]) -> None:
    if len(domains) > MOST_DOMAINS:
        raise TooMany(
            f"{len(domains)} domains; {MOST_DOMAINS} may be kept back", limit=MOST_DOMAINS, count=len(domains)
        )
    own = organisations.get(tx, org).domains
    for each in domains:
        if inside := next((one for one in own if f".{one}".endswith(f".{each}") or each.endswith(f".{one}")), ""):
            raise Invalid("domain", f"{inside} is the organisation's own, and stands in nearly all mail")


def _keep_back(tx: Tx, org: OrgId, who: str, domain: str) -> bool:
    new = tx.insert(unshared_domain).values(org=org, user=who, domain=domain).on_conflict_do_nothing()
    return tx.execute(new).rowcount > 0


def _tell(tx: Tx, org: OrgId, who: str, changed: Mapping[str, str], *, by: str, at: datetime) -> None:
    data = {**changed, "by": by, **({"of": who} if who else {})}
    events.append(tx, org=org, at=at, type=EventType.SHARING_CHANGED, user=who, data=data)
