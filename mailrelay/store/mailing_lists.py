"""The mailing lists of organisations (O15). Who left one is in `suppressions`, and stays there when the list is removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Row, delete, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Conflict, Unknown
from mailrelay.ids import OrgId
from mailrelay.model.mailing_list import MailingList
from mailrelay.store.base import Tx
from mailrelay.store.tables import mailing_list


def add(tx: Tx, new: MailingList) -> None:
    """Keep a new list. Raises Conflict when there is one of its name."""
    row = {
        "org": new.org,
        "name": new.name,
        "label": new.label,
        "description": new.description,
        "created_at": to_micros(new.created_at),
    }
    made = tx.execute(
        tx.insert(mailing_list).values(**row).on_conflict_do_nothing().returning(mailing_list.c.name)
    ).first()
    if made is None:
        raise Conflict(f"There is a mailing list {new.name} already")


def change(tx: Tx, changed: MailingList) -> None:
    """Keep a list's new label and description. Raises Unknown."""
    done = tx.execute(
        update(mailing_list)
        .where(mailing_list.c.org == changed.org, mailing_list.c.name == changed.name)
        .values(label=changed.label, description=changed.description)
    )
    if not done.rowcount:
        raise _unknown(changed.name)


def remove(tx: Tx, org: OrgId, name: str) -> None:
    """Take a list away; who left it is remembered. Raises Unknown."""
    gone = tx.execute(delete(mailing_list).where(mailing_list.c.org == org, mailing_list.c.name == name))
    if not gone.rowcount:
        raise _unknown(name)


def get(tx: Tx, org: OrgId, name: str) -> MailingList:
    """One list. Raises Unknown."""
    row = tx.execute(select(mailing_list).where(mailing_list.c.org == org, mailing_list.c.name == name)).first()
    if row is None:
        raise _unknown(name)
    return _list(row)


def named(tx: Tx, org: OrgId, names: Collection[str]) -> Mapping[str, MailingList]:
    """Those of these names that there are, by name."""
    wanted = select(mailing_list).where(mailing_list.c.org == org, mailing_list.c.name.in_(sorted(names)))
    return {row.name: _list(row) for row in tx.execute(wanted)} if names else {}


def list_lists(tx: Tx, org: OrgId, *, after: str = "", limit: int | None = None) -> tuple[MailingList, ...]:
    """The lists, by name; those behind a name, and so many, or all."""
    page = select(mailing_list).where(mailing_list.c.org == org, mailing_list.c.name > after)
    return tuple(_list(row) for row in tx.execute(page.order_by(mailing_list.c.name).limit(limit)))


def _unknown(name: str) -> Unknown:
    return Unknown(f"There is no mailing list {name}")


def _list(row: Row[*tuple[Any, ...]]) -> MailingList:
    return MailingList(
        org=OrgId(row.org),
        name=row.name,
        label=row.label,
        description=row.description,
        created_at=from_micros(row.created_at),
    )
