"""Users, their addresses, and the stored form of their submission passwords (I2, O1, O2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, select, update

from mailrelay.clock import to_micros
from mailrelay.errors import Conflict, Invalid, TooMany, Unknown
from mailrelay.ids import OrgId, UserId
from mailrelay.model.address import Address
from mailrelay.model.organisation import Role, User
from mailrelay.model.settings import UserSettings
from mailrelay.smtp.address import BadAddress, parse_address
from mailrelay.store import organisations, rows
from mailrelay.store.base import Tx
from mailrelay.store.tables import organisation_address, user, user_address

_NO_USER = "There is no such user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user as submission meets them; `password` is what `set_password` kept, None for no SMTP submission."""

    user: User
    password: str | None = field(repr=False)


def create(tx: Tx, new: User, *, now: datetime) -> None:
    """Keep a new user.

    Raises Unknown without such an organisation, TooMany over its limit of alternates (I2), Conflict for an address that is
    another user's of the organisation, Invalid for one named twice.
    """
    limit = organisations.get(tx, new.org).settings.alternates_limit
    tx.execute(
        user.insert().values(
            id=new.id,
            org=new.org,
            name=new.name,
            role=new.role,
            active=new.active,
            confirmed=new.confirmed,
            settings=rows.encode(new.settings),
            created_at=to_micros(now),
        )
    )
    _put_addresses(tx, new, limit=limit)


def update_user(tx: Tx, changed: User) -> None:
    """Keep a user's new name, role, activity, addresses and settings. Raises as `create` does, and Unknown without them."""
    limit = organisations.get(tx, changed.org).settings.alternates_limit
    result = tx.execute(
        update(user)
        .where(user.c.id == changed.id, user.c.org == changed.org)
        .values(
            name=changed.name,
            role=changed.role,
            active=changed.active,
            confirmed=changed.confirmed,
            settings=rows.encode(changed.settings),
        )
    )
    if result.rowcount == 0:
        raise Unknown(_NO_USER)
    tx.execute(delete(user_address).where(user_address.c.user == changed.id))
    _put_addresses(tx, changed, limit=limit)


def deactivate(tx: Tx, org: OrgId, who: UserId) -> None:
    """Make a user inactive: no dropbox, no submission; addresses and history stay. Raises Unknown."""
    if tx.execute(update(user).where(user.c.id == who, user.c.org == org).values(active=False)).rowcount == 0:
        raise Unknown(_NO_USER)


def get(tx: Tx, org: OrgId, who: UserId) -> User:
    """The user. Raises Unknown."""
    found = get_many(tx, org, [who])
    if not found:
        raise Unknown(_NO_USER)
    return found[0]


def get_many(tx: Tx, org: OrgId, ids: Sequence[UserId]) -> tuple[User, ...]:
    """Those of these users that are there, in order of id."""
    if not ids:
        return ()
    found = tx.execute(select(user).where(user.c.id.in_(ids), user.c.org == org).order_by(user.c.id)).all()
    return _users(tx, found)


def list_users(tx: Tx, org: OrgId, *, after: UserId | None = None, limit: int = 100) -> tuple[User, ...]:
    """A page of the organisation's users, oldest first; `after` is the last id of the page before."""
    wanted = select(user).where(user.c.org == org).order_by(user.c.id).limit(limit)
    if after is not None:
        wanted = wanted.where(user.c.id > after)
    return _users(tx, tx.execute(wanted).all())


def by_addresses(tx: Tx, org: OrgId, keys: Sequence[str]) -> tuple[User, ...]:
    """The organisation's users, active or not, who have one of these addresses (by key)."""
    found = tx.execute(
        select(user_address.c.user).where(user_address.c.org == org, user_address.c.key.in_(keys)).distinct()
    ).scalars()
    return get_many(tx, org, [UserId(who) for who in found])


def find(tx: Tx, org: OrgId, who: str) -> User:
    """A user by id or by any of their addresses. Raises Unknown."""
    if "@" not in who:
        return get(tx, org, UserId(who))
    try:
        found = by_addresses(tx, org, [parse_address(who).key])
    except BadAddress:
        found = ()
    if not found:
        raise Unknown(_NO_USER)
    return found[0]


def keys_in_use(tx: Tx, org: OrgId, keys: Sequence[str], *, apart_from: UserId | None = None) -> frozenset[str]:
    """Those of these addresses (by key) that are a user's of the organisation, active or not, and not only this one's."""
    wanted = select(user_address.c.key).where(user_address.c.org == org, user_address.c.key.in_(keys))
    if apart_from is not None:
        wanted = wanted.where(user_address.c.user != apart_from)
    return frozenset(tx.execute(wanted).scalars())


def domains(tx: Tx, org: OrgId) -> frozenset[str]:
    """The domains of the addresses of the organisation's users, active or not."""
    return frozenset(tx.execute(select(user_address.c.domain).where(user_address.c.org == org).distinct()).scalars())


def by_address(tx: Tx, key: str) -> tuple[Login, ...]:
    """Who may be meant by an address (by key) at AUTH: one active user for each organisation that knows it."""
    found = tx.execute(
        select(user)
        .join(user_address, user_address.c.user == user.c.id)
        .where(user_address.c.key == key, user.c.active)
    ).all()
    passwords = {row.id: row.password for row in found}
    return tuple(Login(user=known, password=passwords[known.id]) for known in _users(tx, found))


def count_confirmed(tx: Tx, org: OrgId) -> int:
    """How many active, confirmed users an organisation has: what the quota of single mail is by (O6)."""
    counted = select(func.count()).select_from(user).where(user.c.org == org, user.c.active, user.c.confirmed)
    return int(tx.execute(counted).scalar_one())


def set_password(tx: Tx, org: OrgId, who: UserId, stored: str | None) -> None:
    """Keep what `inbound.passwords.hash_password` made, or forget it with None. Raises Unknown."""
    changed = tx.execute(update(user).where(user.c.id == who, user.c.org == org).values(password=stored))
    if changed.rowcount == 0:
        raise Unknown(_NO_USER)


def _put_addresses(tx: Tx, owner: User, *, limit: int) -> None:
    if len(owner.alternates) > limit:
        raise TooMany(
            f"A user may have {limit} alternate addresses, not {len(owner.alternates)}",
            limit=limit,
            count=len(owner.alternates),
        )
    seen: set[str] = set()
    for position, address in enumerate(owner.addresses):
        if address.key in seen:
            raise Invalid("alternates", f"{address} is given twice")
        seen.add(address.key)
        tx.execute(
            tx.insert(user_address)
            .values(
                org=owner.org,
                key=address.key,
                address=rows.encode_address(address),
                domain=address.domain,
                user=owner.id,
                is_primary=position == 0,
                position=position,
            )
            .on_conflict_do_nothing()
        )
    holders = tx.execute(
        select(user_address.c.address, user_address.c.user).where(
            user_address.c.org == owner.org, user_address.c.key.in_(sorted(seen)), user_address.c.user != owner.id
        )
    ).all()
    if holders:
        raise Conflict(f"{holders[0].address} is an address of another user")
    shared = select(organisation_address.c.address).where(
        organisation_address.c.key.in_(sorted(seen)),
        organisation_address.c.org == owner.org,
        organisation_address.c.removed_at.is_(None),
    )
    if (taken := tx.execute(shared.limit(1)).scalar()) is not None:
        raise Conflict(f"{taken} is an address of the organisation")


def _users(tx: Tx, found: Sequence[Row[Any]]) -> tuple[User, ...]:
    """Users of rows of `mail_user`, with their addresses read in one statement."""
    if not found:
        return ()
    addresses: defaultdict[str, list[Address]] = defaultdict(list)
    for row in tx.execute(
        select(user_address.c.user, user_address.c.address)
        .where(user_address.c.user.in_([row.id for row in found]))
        .order_by(user_address.c.user, user_address.c.position)
    ):
        addresses[row.user].append(rows.decode_address(row.address))
    return tuple(
        User(
            id=UserId(row.id),
            org=OrgId(row.org),
            name=row.name,
            role=Role(row.role),
            active=row.active,
            primary=addresses[row.id][0],
            alternates=tuple(addresses[row.id][1:]),
            settings=rows.decode(UserSettings, row.settings),
            confirmed=row.confirmed,
        )
        for row in found
    )
