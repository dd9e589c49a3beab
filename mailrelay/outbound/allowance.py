"""What an organisation may send on a day, and taking from it (O6, O7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from mailrelay.ids import OrgId
from mailrelay.model.organisation import Organisation
from mailrelay.model.quota import Quota, QuotaKind
from mailrelay.outbound.policy import quota as policy
from mailrelay.store import people, quotas
from mailrelay.store.base import Tx


def allowed(organisation: Organisation, kind: QuotaKind, users: int, *, at: datetime) -> Quota:
    """The quota that a mail at this moment is of, with nothing used; `users` are those active and confirmed."""
    zone = ZoneInfo(organisation.time_zone)
    return Quota(
        kind=kind,
        day=policy.day_of(at, zone),
        limit=policy.allowance(kind, organisation.settings, users),
        used=0,
        resets_at=policy.resets_at(at, zone),
    )


def quota(tx: Tx, organisation: Organisation, kind: QuotaKind, *, at: datetime) -> Quota:
    """The quota of a moment as it stands."""
    found = allowed(organisation, kind, people.count_confirmed(tx, organisation.id), at=at)
    return replace(found, used=quotas.used(tx, organisation.id, kind, found.day))


def spend(tx: Tx, org: OrgId, allowance: Quota, number: int, *, now: datetime) -> None:
    """Take so many units; whoever asks at once, never one over. Raises QuotaSpent, and then nothing is taken."""
    if number and not quotas.spend(tx, org, allowance.kind, allowance.day, number, limit=allowance.limit):
        used = quotas.used(tx, org, allowance.kind, allowance.day)
        raise policy.refusal(replace(allowance, used=used), asked=number, now=now)
