"""Organisations' own smart hosts, by user and by sender domain (O11). Their secrets are sealed before they come here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, or_, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Conflict, Unknown
from mailrelay.ids import OrgId, SmartHostId, UserId
from mailrelay.model.event import EventType
from mailrelay.model.smart_host import HostAuth, HostScope, HostTls, SmartHost
from mailrelay.store import events
from mailrelay.store.base import Tx
from mailrelay.store.tables import smart_host

_STANDING = smart_host.c.removed_at.is_(None)


def add(tx: Tx, new: SmartHost) -> None:
    """Keep a smart host. Raises Conflict when the user or domain has one."""
    made = tx.execute(
        tx.insert(smart_host)
        .values(
            id=new.id,
            org=new.org,
            scope=new.scope,
            name=new.name,
            host=new.host,
            port=new.port,
            tls=new.tls,
            auth=new.auth,
            username=new.username,
            token_url=new.token_url,
            client_id=new.client_id,
            token_scope=new.token_scope,
            secret=new.secret,
            created_at=to_micros(new.created_at),
            created_by=new.created_by,
        )
        .on_conflict_do_nothing()
        .returning(smart_host.c.id)
    )
    if made.first() is None:
        raise Conflict(f"The {new.whose} has a smart host already; remove it first")


def of(tx: Tx, org: OrgId, author: UserId | None, sender_domain: str) -> SmartHost | None:
    """The smart host that mail of this author for this domain goes to: the user's, else the domain's; None: the installation's route.

    A notice of our own has neither an author nor a sender.
    """
    mine = [and_(smart_host.c.scope == HostScope.DOMAIN, smart_host.c.name == sender_domain)]
    if author:
        mine.append(and_(smart_host.c.scope == HostScope.USER, smart_host.c.name == author))
    rows = tx.execute(select(smart_host).where(smart_host.c.org == org, _STANDING, or_(*mine)))
    found = [_host(row) for row in rows]
    return min(found, key=lambda one: one.scope is not HostScope.USER, default=None)


def get(tx: Tx, org: OrgId, id: SmartHostId) -> SmartHost:  # noqa: A002
    """One of them. Raises Unknown, also for one that was removed."""
    row = tx.execute(select(smart_host).where(smart_host.c.id == id, smart_host.c.org == org, _STANDING)).first()
    if row is None:
        raise Unknown("There is no such smart host")
    return _host(row)


def list_hosts(
    tx: Tx, org: OrgId, *, user: UserId | None = None, after: str = "", limit: int = 100
) -> Sequence[SmartHost]:
    """The organisation's, oldest first; with `user` only that user's own."""
    wanted = select(smart_host).where(smart_host.c.org == org, _STANDING, smart_host.c.id > after)
    if user is not None:
        wanted = wanted.where(smart_host.c.scope == HostScope.USER, smart_host.c.name == user)
    return [_host(row) for row in tx.execute(wanted.order_by(smart_host.c.id).limit(limit))]


def remove(tx: Tx, org: OrgId, id: SmartHostId, *, at: datetime) -> SmartHost:  # noqa: A002
    """Take it out of use, and forget its secrets; what was removed. Raises Unknown."""
    found = get(tx, org, id)
    tx.execute(update(smart_host).where(smart_host.c.id == id, _STANDING).values(removed_at=to_micros(at), secret=""))
    return found


def reseal(tx: Tx, id: SmartHostId, *, old: str, new: str) -> bool:  # noqa: A002
    """Put new secrets in the place of `old`; whether they were still there."""
    changed = tx.execute(
        update(smart_host).where(smart_host.c.id == id, _STANDING, smart_host.c.secret == old).values(secret=new)
    )
    return changed.rowcount == 1


def refuses(tx: Tx, host: SmartHost, because: str, *, at: datetime) -> bool:
    """Note that it refuses us, and tell the organisation; False when that was known (N11)."""
    changed = tx.execute(
        update(smart_host)
        .where(smart_host.c.id == host.id, _STANDING, smart_host.c.trouble == "")
        .values(trouble=because, trouble_since=to_micros(at))
    )
    if changed.rowcount != 1:
        return False
    tell(tx, host.org, host.host, because, at=at, data={"smart_host": host.id, "of": host.whose})
    return True


def works(tx: Tx, id: SmartHostId) -> None:  # noqa: A002
    """Note that it takes mail again."""
    tx.execute(
        update(smart_host)
        .where(smart_host.c.id == id, smart_host.c.trouble != "")
        .values(trouble="", trouble_since=None)
    )


def tell(tx: Tx, org: OrgId, host: str, because: str, *, at: datetime, data: dict[str, str] | None = None) -> None:
    """Tell an organisation that a smart host refuses us, its own or that of the installation."""
    said = {"host": host, "because": because, **(data or {})}
    events.append(tx, org=org, at=at, type=EventType.NEXT_HOP_PAUSED, data=said)


def _host(row: Row[Any]) -> SmartHost:
    return SmartHost(
        id=SmartHostId(row.id),
        org=OrgId(row.org),
        scope=HostScope(row.scope),
        name=row.name,
        host=row.host,
        port=row.port,
        tls=HostTls(row.tls),
        auth=HostAuth(row.auth),
        username=row.username,
        token_url=row.token_url,
        client_id=row.client_id,
        token_scope=row.token_scope,
        secret=row.secret,
        created_at=from_micros(row.created_at),
        created_by=row.created_by,
        trouble=row.trouble,
        trouble_since=None if row.trouble_since is None else from_micros(row.trouble_since),
    )
