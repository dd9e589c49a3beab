"""What people do to many deliveries at once: kept, so that it is carried out whatever happens meanwhile, and can be looked up (R3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, text, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.errors import Conflict, Unknown
from mailrelay.ids import DeliveryId, OperationId, OrgId
from mailrelay.model.event import EventType
from mailrelay.model.operation import Control, Operation, Selection
from mailrelay.store import events, rows
from mailrelay.store.base import Bell, Tx
from mailrelay.store.tables import delivery, operation

_STANDING = text("ended_at IS NULL")


def begin(
    tx: Tx,
    id: OperationId,  # noqa: A002
    org: OrgId,
    control: Control,
    selection: Selection,
    *,
    reason: str,
    again: bool,
    by: str,
    at: datetime,
) -> Operation:
    """Write an operation down. It is about what there is now: mail that comes later is not touched."""
    newest = tx.execute(select(func.max(delivery.c.id)).where(delivery.c.org == org)).scalar()
    new = Operation(
        id=id,
        org=org,
        control=control,
        selection=selection,
        reason=reason,
        again=again,
        by=by,
        at=at,
        until=DeliveryId(newest or ""),
        cursor=DeliveryId(""),
        changed=0,
        left={},
        under_way=(),
        ended_at=None,
        stopped_by="",
    )
    tx.execute(insert(operation), {"id": id, "org": org, "until": new.until, **_said(new), **_progress(new)})
    tx.ring(Bell.CONTROL)
    return new


def get(tx: Tx, org: OrgId, id: OperationId) -> Operation:  # noqa: A002
    """One operation. Raises Unknown."""
    row = tx.execute(select(operation).where(operation.c.id == id, operation.c.org == org)).first()
    if row is None:
        raise Unknown("There is no such operation")
    return _operation(row)


def list_operations(
    tx: Tx, org: OrgId, *, before: OperationId | None = None, limit: int = 100
) -> tuple[Operation, ...]:
    """A page of operations, newest first; `before` is the last id of the page before."""
    page = select(operation).where(operation.c.org == org)
    if before is not None:
        page = page.where(operation.c.id < before)
    return tuple(_operation(row) for row in tx.execute(page.order_by(operation.c.id.desc()).limit(limit)))


def standing(tx: Tx, *, limit: int = 100) -> tuple[Operation, ...]:
    """Those of the installation that have not ended, oldest first."""
    found = select(operation).where(_STANDING).order_by(operation.c.id).limit(limit)
    return tuple(_operation(row) for row in tx.execute(found))


def take(tx: Tx, id: OperationId) -> Operation | None:  # noqa: A002
    """A standing operation, for the caller alone until the transaction ends; None when it has ended, or somebody else has it."""
    found = select(operation).where(operation.c.id == id, _STANDING).with_for_update(skip_locked=True)
    row = tx.execute(found).first()
    return None if row is None else _operation(row)


def put(tx: Tx, changed: Operation) -> None:
    """Keep how far an operation has come; the journal is told of its end."""
    tx.execute(update(operation).where(operation.c.id == changed.id).values(_progress(changed)))
    if changed.ended_at is not None:
        data = {
            "operation": changed.id,
            "control": changed.control,
            "by": changed.by,
            "reason": changed.reason,
            "changed": str(changed.changed),
            **{f"left {what}": str(number) for what, number in changed.left.items()},
            **({"stopped_by": changed.stopped_by} if changed.stopped_by else {}),
        }
        events.append(tx, org=changed.org, at=changed.ended_at, type=EventType.QUEUE_CHANGED, data=data)


def stop(tx: Tx, org: OrgId, id: OperationId, *, by: str, at: datetime) -> Operation:  # noqa: A002
    """End an operation where it is; what it has done stays done. Raises Unknown, or Conflict when it has ended."""
    row = tx.execute(select(operation).where(operation.c.id == id, operation.c.org == org).with_for_update()).first()
    if row is None:
        raise Unknown("There is no such operation")
    found = _operation(row)
    if found.ended_at is not None:
        raise Conflict(f"{id} has ended already")
    stopped = replace(found, ended_at=at, stopped_by=by)
    put(tx, stopped)
    return stopped


def _said(one: Operation) -> dict[str, Any]:
    return {
        "control": one.control,
        "selection": rows.encode(one.selection),
        "reason": one.reason,
        "again": one.again,
        "by": one.by,
        "at": to_micros(one.at),
    }


def _progress(one: Operation) -> dict[str, Any]:
    return {
        "cursor": one.cursor,
        "changed": one.changed,
        "left": dict(one.left),
        "under_way": list(one.under_way),
        "ended_at": None if one.ended_at is None else to_micros(one.ended_at),
        "stopped_by": one.stopped_by,
    }


def _operation(row: Row[*tuple[Any, ...]]) -> Operation:
    return Operation(
        id=OperationId(row.id),
        org=OrgId(row.org),
        control=Control(row.control),
        selection=rows.decode(Selection, row.selection),
        reason=row.reason,
        again=row.again,
        by=row.by,
        at=from_micros(row.at),
        until=DeliveryId(row.until),
        cursor=DeliveryId(row.cursor),
        changed=row.changed,
        left=row.left,
        under_way=tuple(DeliveryId(one) for one in row.under_way),
        ended_at=None if row.ended_at is None else from_micros(row.ended_at),
        stopped_by=row.stopped_by,
    )
