"""Links message ↔ record. What a person did is kept beside the link and never undone by rules (I7, I9)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Executable, Row, and_, bindparam, or_, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Unknown
from mailrelay.ids import MessageId, OrgId
from mailrelay.model.decision import BY_RULE, Evidence, Link, ProposedLink
from mailrelay.model.record import RecordRef
from mailrelay.store import rows
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.tables import link
from mailrelay.store.visibility import Viewer, readable, standing, told

BY_HAND = "by_hand"
"""The `rule` of a link that a person made."""


def _insert_over(gives_way: ColumnElement[bool]) -> Mapping[str, Executable]:
    """Links, also where the link that is there `gives_way`; a row comes back when something was changed."""
    kept = ("rule", "evidence", "by", "guess", "created_at", "key", "secret")

    def make(insert: InsertInto) -> Executable:
        row = insert(link)
        again = {**{name: row.excluded[name] for name in kept}, "removed_at": None, "removed_by": None}
        place = ["message", "module", "record"]
        return row.on_conflict_do_update(index_elements=place, set_=again, where=gives_way).returning(link.c.message)

    return for_both(make)


_ADD = _insert_over(and_(link.c.removed_at.is_not(None), link.c.removed_by == BY_RULE))  # a rerun's own removal
_ADD_BY_HAND = _insert_over(or_(link.c.removed_at.is_not(None), link.c.by == BY_RULE))
_TOLD = ("rule", "evidence", "key", "secret")
_REVEAL = (
    update(link)
    .where(
        link.c.message == bindparam("b_message"),
        link.c.module == bindparam("b_module"),
        link.c.record == bindparam("b_record"),
        link.c.by == BY_RULE,
        link.c.secret != "",
    )
    .values({name: bindparam(f"b_{name}") for name in _TOLD})
)


def add(tx: Tx, org: OrgId, message: MessageId, new: ProposedLink, *, at: datetime, key: str = "") -> bool:
    """Link by rule; False when the link is there already, or a person took it away.

    `key` is that of the record's address in the mail, where there is one: what becomes of the link when the record has that address
    no longer is for the organisation to say (I16). A link by a Bcc is no secret any more when it is found without one.
    """
    row = {
        "message": message,
        "module": new.record.module,
        "record": new.record.id,
        "org": org,
        "rule": new.rule,
        "evidence": rows.encode(new.evidence),
        "by": BY_RULE,
        "guess": new.guess,
        "created_at": to_micros(at),
        "key": key,
        "secret": new.secret,
    }
    if tx.execute(_ADD[tx.dialect], row).first() is not None:
        return True
    if not new.secret:
        tx.execute(_REVEAL, {f"b_{name}": row[name] for name in ("message", "module", "record", *_TOLD)})
    return False


def add_by_hand(
    tx: Tx, org: OrgId, message: MessageId, record: RecordRef, *, by: str, because: str, at: datetime
) -> bool:
    """Link for a person, from now on theirs: no rule removes it. False when they had linked it already."""
    evidence = (Evidence(because=because),)
    row = {
        "message": message,
        "module": record.module,
        "record": record.id,
        "org": org,
        "rule": BY_HAND,
        "evidence": rows.encode(evidence),
        "by": by,
        "guess": False,
        "created_at": to_micros(at),
        "key": "",
        "secret": "",
    }
    return tx.execute(_ADD_BY_HAND[tx.dialect], row).first() is not None


def remove_by_hand(tx: Tx, org: OrgId, message: MessageId, record: RecordRef, *, by: str, at: datetime) -> None:
    """Unlink for a person: no rule links it again. Raises Unknown when it is not linked."""
    if not _remove(tx, org, message, record, by=by, at=at):
        raise Unknown(f"Message {message} is not on {record}")


def remove_by_rule(tx: Tx, org: OrgId, message: MessageId, record: RecordRef, *, at: datetime) -> bool:
    """Take away a link that rules made and would not make today; False when there is none, or a person made it."""
    return _remove(tx, org, message, record, by=BY_RULE, at=at)


def of_message(tx: Tx, org: OrgId, message: MessageId) -> tuple[Link, ...]:
    """All links of a message, removed ones included, in the order in which they were made."""
    found = (
        select(link)
        .where(link.c.message == message, link.c.org == org)
        .order_by(link.c.created_at, link.c.module, link.c.record)
    )
    return tuple(_link(row) for row in tx.execute(found))


def visible(tx: Tx, viewer: Viewer, message: MessageId) -> tuple[Link, ...]:
    """`of_message`, without those that the viewer must not know of: the mail is theirs to see, and its Bcc is not (I16)."""
    found = select(link).where(link.c.message == message, link.c.org == viewer.org, told(viewer))
    return tuple(_link(row) for row in tx.execute(found.order_by(link.c.created_at, link.c.module, link.c.record)))


def of_messages(tx: Tx, org: OrgId, messages: Collection[MessageId]) -> tuple[Link, ...]:
    """The standing links of several messages, by message and record."""
    return _of_messages(tx, org, messages, link.c.removed_at.is_(None))


def of_thread(tx: Tx, org: OrgId, messages: Collection[MessageId]) -> tuple[Link, ...]:
    """Those of `of_messages`, and with them what a person took the messages off (I7)."""
    return _of_messages(tx, org, messages, or_(link.c.removed_at.is_(None), link.c.removed_by != BY_RULE))


def shown(tx: Tx, viewer: Viewer, messages: Collection[MessageId]) -> tuple[Link, ...]:
    """Those of `of_messages` that show to a viewer who may see the messages (I16)."""
    return _of_messages(tx, viewer.org, messages, and_(standing(), told(viewer)))


def _of_messages(tx: Tx, org: OrgId, messages: Collection[MessageId], which: ColumnElement[bool]) -> tuple[Link, ...]:
    found = (
        select(link)
        .where(link.c.message.in_(sorted(messages)), link.c.org == org, which)
        .order_by(link.c.message, link.c.module, link.c.record)
    )
    return tuple(_link(row) for row in tx.execute(found))


def of_record(
    tx: Tx,
    org: OrgId,
    record: RecordRef,
    *,
    viewer: Viewer | None = None,
    before: MessageId | None = None,
    limit: int = 100,
) -> tuple[Link, ...]:
    """A page of a record's links that show, newest message first; `before` is the last message of the page before.

    With `viewer` only to messages that they may see.
    """
    page = select(link).where(link.c.org == org, link.c.module == record.module, link.c.record == record.id, standing())
    if viewer is not None:
        page = page.where(told(viewer), readable(viewer, link.c.message))
    if before is not None:
        page = page.where(link.c.message < before)
    return tuple(_link(row) for row in tx.execute(page.order_by(link.c.message.desc()).limit(limit)))


def _remove(tx: Tx, org: OrgId, message: MessageId, record: RecordRef, *, by: str, at: datetime) -> bool:
    gone = (
        update(link)
        .where(
            link.c.message == message,
            link.c.module == record.module,
            link.c.record == record.id,
            link.c.org == org,
            link.c.removed_at.is_(None),
        )
        .values(removed_at=to_micros(at), removed_by=by)
    )
    if by == BY_RULE:
        gone = gone.where(link.c.by == BY_RULE)
    return tx.execute(gone).rowcount > 0


def _link(row: Row[Any]) -> Link:
    return Link(
        message=MessageId(row.message),
        record=RecordRef(row.module, row.record),
        rule=row.rule,
        evidence=rows.decode(tuple[Evidence, ...], row.evidence),
        by=row.by,
        guess=row.guess,
        created_at=from_micros(row.created_at),
        removed_at=None if row.removed_at is None else from_micros(row.removed_at),
        removed_by=row.removed_by,
        secret=row.secret,
    )
