"""Somebody wants no more mail, of a list or at all: suppressed at once, and the sending that they leave is counted for it (O10, O15, O18).

A list's name "" is all mail. Whoever wants it again says so themselves, by a link that they got.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import partial

from mailrelay import log, metrics
from mailrelay.config.schema import BrakeLevels
from mailrelay.ids import OrgId
from mailrelay.model.address import Address
from mailrelay.model.delivery import Delivery
from mailrelay.model.event import EventType
from mailrelay.model.sending import Scope, Sending
from mailrelay.model.suppression import PERSON, Suppression, SuppressionReason
from mailrelay.outbound import consequences
from mailrelay.outbound.policy import blame
from mailrelay.store import deliveries, events, suppressions, unsubscriptions
from mailrelay.store.base import Tx

_logger = log.get()


def unsubscribe(
    tx: Tx,
    *,
    org: OrgId,
    address: Address,
    job: str,
    evidence: str,
    by: str,
    at: datetime,
    brakes: BrakeLevels,
    list_: str = "",
) -> bool:
    """Suppress the address as unsubscribed, as somebody says for its owner; False when it is already, and then nothing is counted.

    It counts for `job`, or where that is "" for the job of the last mail to the address, and for the domain that this mail was
    sent for; once, however often the suppression is lifted between.
    """
    last = deliveries.to_address(tx, org, address.key, job=job, limit=1)
    if not _suppress(tx, org, address, list_, evidence=evidence, by=by, at=at):
        return False
    # Which mail it was by is known of a job only.
    _tell(tx, org, address, list_, last[0] if last and job else None, way="api", evidence=evidence, at=at)
    sendings = {sending for one in last for sending in blame.sendings(one)}
    if job:
        sendings.add(Sending(Scope.JOB, job))
    _count(tx, org, address, sendings, by=by, at=at, brakes=brakes)
    return True


def leave(
    tx: Tx, delivery: Delivery, list_: str, *, way: str, evidence: str, at: datetime, brakes: BrakeLevels
) -> bool:
    """The recipient of a delivery leaves a list, or all mail, by their own word; False when they had before.

    `way` is how: one_click, page, mail or report.
    """
    if not _suppress(tx, delivery.org, delivery.address, list_, evidence=evidence, by=PERSON, at=at):
        if suppressions.say_themselves(tx, delivery.org, delivery.address.key, list_, evidence=evidence):
            _tell(tx, delivery.org, delivery.address, list_, delivery, way=way, evidence=evidence, at=at)
        return False
    _tell(tx, delivery.org, delivery.address, list_, delivery, way=way, evidence=evidence, at=at)
    _count(tx, delivery.org, delivery.address, blame.sendings(delivery), by=delivery.id, at=at, brakes=brakes)
    return True


def come_back(tx: Tx, delivery: Delivery, *, evidence: str, at: datetime) -> tuple[Suppression, ...]:
    """The recipient of a delivery wants mail again: of its list, and at all; what was lifted.

    Only what they unsubscribed from: what they complained of, and what bounced, is another matter.
    """
    lifted = suppressions.lift(
        tx,
        delivery.org,
        delivery.address.key,
        by=PERSON,
        now=at,
        reason=SuppressionReason.UNSUBSCRIBED,
        note=evidence,
        lists={"", delivery.list},
    )
    for one in lifted:
        data = {"address": one.key, "list": one.list, "evidence": evidence}
        events.about(tx, delivery, EventType.ADDRESS_RESUBSCRIBED, at=at, data=data)
    if lifted:
        tx.afterwards(partial(_told, "address.resubscribed", delivery.org, delivery.id, delivery.list))
        tx.afterwards(metrics.resubscriptions.inc)
    return lifted


def left(tx: Tx, delivery: Delivery) -> tuple[Suppression, ...]:
    """What of a delivery's list and all mail its recipient has unsubscribed from, or somebody for them."""
    holding = suppressions.holding(tx, delivery.org, [delivery.address.key], lists={delivery.list})
    return tuple(one for one in holding if one.reason is SuppressionReason.UNSUBSCRIBED)


def _suppress(tx: Tx, org: OrgId, address: Address, list_: str, *, evidence: str, by: str, at: datetime) -> bool:
    return suppressions.suppress(
        tx,
        org=org,
        key=address.key,
        reason=SuppressionReason.UNSUBSCRIBED,
        evidence=evidence,
        by=by,
        now=at,
        list_=list_,
    )


def _tell(
    tx: Tx, org: OrgId, address: Address, list_: str, by: Delivery | None, *, way: str, evidence: str, at: datetime
) -> None:
    data = {"address": address.key, "list": list_, "way": way, "evidence": evidence}
    if by is None:
        events.append(tx, org=org, at=at, type=EventType.ADDRESS_UNSUBSCRIBED, data=data)
    else:
        events.about(tx, by, EventType.ADDRESS_UNSUBSCRIBED, at=at, data=data)
    tx.afterwards(partial(_told, "address.unsubscribed", org, "" if by is None else by.id, list_))
    tx.afterwards(metrics.unsubscriptions.labels(way, "list" if list_ else "all").inc)


def _told(event: str, org: OrgId, delivery: str, list_: str) -> None:
    # T13: what a person wants is not told to a log, which nobody erases; the delivery leads to them while they are known.
    _logger.info(event, org=org, delivery=delivery, list=list_)


def _count(
    tx: Tx, org: OrgId, address: Address, left: Collection[Sending], *, by: str, at: datetime, brakes: BrakeLevels
) -> None:
    """Count that somebody left these, unless they were counted for the job before; without a job, for the domain."""
    of_job = sorted(left, key=lambda one: one.scope is not Scope.JOB)
    # What a job answers for is a part of its domain's count: both are counted, or neither.
    if of_job and unsubscriptions.first(tx, org, address.key, of_job[0], at=at):
        consequences.unsubscribed(tx, org, left, by=by, at=at, brakes=brakes)
