"""The deliveries that hits are of, with what may now be recorded of each: looked up when a hit is taken, and not before (O9, T11)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from mailrelay.clock import from_micros
from mailrelay.ids import DeliveryId
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.hit import RawHit
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.tracking import Mode, effective
from mailrelay.store import erased, rows
from mailrelay.store.base import Tx
from mailrelay.store.tables import attempt, consent, delivery, organisation

_PIECE = 1_000
"""Values of one IN."""
_SENT = (DeliveryState.SENT, DeliveryState.DELIVERED)


@dataclass(slots=True)
class OfDelivery:
    """A delivery whose mail somebody reads, and the hits that are new."""

    row: Row[Any]
    settings: OrganisationSettings
    mode: Mode
    sent_at: datetime | None
    """When the next hop took it, whatever became of it then."""
    new: list[RawHit] = field(default_factory=list)


def of_deliveries(tx: Tx, some: Collection[DeliveryId]) -> dict[str, OfDelivery]:
    """These deliveries, in the order of their ids and ours until the end, with what may now be recorded of each."""
    found = tx.execute(
        select(
            delivery.c.id,
            delivery.c.org,
            delivery.c.message,
            delivery.c.queue_id,
            delivery.c.author,
            delivery.c.job,
            delivery.c.recipient_key,
            delivery.c.tracking,
            delivery.c.state,
            delivery.c.created_at,
            delivery.c.ended_at,
            delivery.c.opened_at,
            delivery.c.clicked_at,
        )
        .where(delivery.c.id.in_(sorted(some)))
        .order_by(delivery.c.id)
        .with_for_update()
    ).all()
    sent = _sent(tx, found)
    orgs = {row.org for row in found}
    settings = {
        row.id: rows.decode(OrganisationSettings, row.settings)
        for row in tx.execute(
            select(organisation.c.id, organisation.c.settings).where(organisation.c.id.in_(sorted(orgs)))
        )
    }
    whose = {(row.org, row.recipient_key) for row in found}
    said, since = _consents(tx, whose), erased.since(tx, whose)
    return {
        row.id: OfDelivery(
            row,
            settings[row.org],
            Mode.OFF
            if _is_erased(row, since)
            else effective(
                settings[row.org].tracking,
                Mode(row.tracking) if row.tracking else None,
                said.get((row.org, row.recipient_key)),
            ),
            sent.get(row.id),
        )
        for row in found
    }


def _sent(tx: Tx, some: Sequence[Row[Any]]) -> dict[str, datetime]:
    """When each was taken by a next hop: of what is sent it stands there, of what came back with the attempt."""
    sent = {row.id: row.ended_at for row in some if row.state in _SENT and row.ended_at is not None}
    others = [row.id for row in some if row.id not in sent]
    if others:
        tries = select(attempt.c.delivery, attempt.c.ended_at, attempt.c.outcome).order_by(attempt.c.number)
        for row in tx.execute(tries.where(attempt.c.delivery.in_(others), attempt.c.ended_at.is_not(None))):
            if row.outcome is not None and row.outcome["kind"] == "accepted":
                sent[row.delivery] = row.ended_at
    return {id_: from_micros(at) for id_, at in sent.items()}


def _is_erased(row: Row[Any], since: Mapping[tuple[str, str], datetime]) -> bool:
    """Whether a delivery is of before the day that its recipient was erased: what comes of it now is not recorded either."""
    at = since.get((row.org, row.recipient_key))
    return at is not None and from_micros(row.created_at) <= at


def _consents(tx: Tx, whose: Collection[tuple[str, str]]) -> dict[tuple[str, str], bool]:
    """What each person said last."""
    said: dict[tuple[str, str], bool] = {}
    for org in sorted({one for one, _ in whose}):
        keys = sorted(key for one, key in whose if one == org)
        found = select(consent).where(consent.c.org == org, consent.c.key.in_(keys)).order_by(consent.c.at)
        said.update({(org, row.key): row.given for row in tx.execute(found)})
    return said


def of_erased(tx: Tx, some: Collection[DeliveryId]) -> frozenset[DeliveryId]:
    """Those of these deliveries whose recipients were erased since (T13)."""
    wanted = select(delivery.c.id, delivery.c.org, delivery.c.recipient_key, delivery.c.created_at)
    gone: set[DeliveryId] = set()
    ids = sorted(some)
    for at in range(0, len(ids), _PIECE):
        found = tx.execute(wanted.where(delivery.c.id.in_(ids[at : at + _PIECE]))).all()
        since = erased.since(tx, {(row.org, row.recipient_key) for row in found})
        gone |= {DeliveryId(row.id) for row in found if _is_erased(row, since)}
    return frozenset(gone)
