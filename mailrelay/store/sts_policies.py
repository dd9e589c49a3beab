"""MTA-STS policies that were fetched, kept over restarts for as long as they hold (RFC 8461 §3.3). Of the installation."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select

from mailrelay.clock import from_micros, to_micros
from mailrelay.model.sts import KeptPolicy, Mode, Policy
from mailrelay.store.base import Tx
from mailrelay.store.tables import sts_policy


def get(tx: Tx, domain: str) -> KeptPolicy | None:
    """The policy kept for a domain, whether it still holds or not."""
    row = tx.execute(select(sts_policy).where(sts_policy.c.domain == domain)).first()
    if row is None:
        return None
    at = row._mapping
    return KeptPolicy(
        domain=at["domain"],
        id=at["policy_id"],
        policy=Policy(mode=Mode(at["mode"]), max_age=timedelta(seconds=at["max_age"]), mx=tuple(at["mx"])),
        fetched_at=from_micros(at["fetched_at"]),
    )


def put(tx: Tx, kept: KeptPolicy, *, now: datetime) -> None:
    """Keep a policy in place of what was kept for its domain. Policies that hold no more are forgotten."""
    values = {
        "policy_id": kept.id,
        "mode": kept.policy.mode,
        "max_age": int(kept.policy.max_age.total_seconds()),
        "mx": list(kept.policy.mx),
        "fetched_at": to_micros(kept.fetched_at),
        "expires_at": to_micros(kept.expires_at),
    }
    tx.execute(
        tx.insert(sts_policy)
        .values(domain=kept.domain, **values)
        .on_conflict_do_update(index_elements=["domain"], set_=values)
    )
    tx.execute(delete(sts_policy).where(sts_policy.c.expires_at < to_micros(now)))
