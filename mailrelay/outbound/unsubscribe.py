"""Somebody wants no more mail: their address is suppressed, and the sending that they leave is counted for it (O10, O18)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from mailrelay.config.schema import BrakeLevels
from mailrelay.ids import OrgId
from mailrelay.model.address import Address
from mailrelay.model.sending import Scope, Sending
from mailrelay.model.suppression import SuppressionReason
from mailrelay.outbound import consequences
from mailrelay.outbound.policy import blame
from mailrelay.store import deliveries, suppressions, unsubscriptions
from mailrelay.store.base import Tx


def unsubscribe(
    tx: Tx, *, org: OrgId, address: Address, job: str, evidence: str, by: str, at: datetime, brakes: BrakeLevels
) -> bool:
    """Suppress the address as unsubscribed; False when it is already, and then nothing is counted.

    It counts for `job`, or where that is "" for the job of the last mail to the address, and for the domain that this mail was
    sent for; once, however often the suppression is lifted between.
    """
    new = suppressions.suppress(
        tx, org=org, key=address.key, reason=SuppressionReason.UNSUBSCRIBED, evidence=evidence, by=by, now=at
    )
    if not new:
        return False
    last = deliveries.to_address(tx, org, address.key, job=job, limit=1)
    sendings = {sending for one in last for sending in blame.sendings(one)}
    if job:
        sendings.add(Sending(Scope.JOB, job))
    count(tx, org, address, sendings, by=by, at=at, brakes=brakes)
    return True


def count(
    tx: Tx, org: OrgId, address: Address, left: Collection[Sending], *, by: str, at: datetime, brakes: BrakeLevels
) -> None:
    """Count that somebody left these, unless they were counted for the job before; without a job, for the domain."""
    of_job = sorted(left, key=lambda one: one.scope is not Scope.JOB)
    # What a job answers for is a part of its domain's count: both are counted, or neither.
    if of_job and unsubscriptions.first(tx, org, address.key, of_job[0], at=at):
        consequences.unsubscribed(tx, org, left, by=by, at=at, brakes=brakes)
