"""What an organisation may still send today, and what it sent on other days (O6, O7)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from mailrelay.clock import Clock
from mailrelay.errors import Invalid
from mailrelay.ids import OrgId
from mailrelay.model.quota import Quota, QuotaKind
from mailrelay.outbound import allowance
from mailrelay.store import organisations, quotas
from mailrelay.store.base import Tx
from mailrelay.web.application import App
from mailrelay.web.identity import Reader
from mailrelay.web.shape import After, Page, Paged, Shown
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["quotas"])


class ShownQuota(Shown):
    """A day's quota. A unit is one recipient of one mail; dropboxes of the organisation are none."""

    kind: Annotated[QuotaKind, Field(description="Mass is what has a job, is scheduled, or is an automatic answer.")]
    day: date
    time_zone: str
    limit: int
    used: int
    left: int
    resets_at: datetime
    enforced: Annotated[bool, Field(description="False where the installation holds nobody to a quota.")]


class ShownQuotaUse(Shown):
    """What was counted on a day."""

    kind: QuotaKind
    day: date
    used: int


@router.get("/quotas")
async def show(app: App, caller: Reader) -> tuple[ShownQuota, ...]:
    """The organisation's quotas of today: how much, how much of it is used, and when the day is over where it is."""
    enforced = app.config.submission.quotas
    return tuple(
        ShownQuota(
            kind=one.kind,
            day=one.day,
            time_zone=zone,
            limit=one.limit,
            used=one.used,
            left=one.left,
            resets_at=one.resets_at,
            enforced=enforced,
        )
        for one, zone in await app.store.read(_today, caller.org, app.clock)
    )


@router.get("/quotas/history", response_model=Page[ShownQuotaUse])
async def history(
    app: App,
    caller: Reader,
    after: After = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="Days of a page.")] = 31,
) -> Paged[quotas.Used]:
    """What was counted by day, newest first; days to come too, which scheduled mail counts on."""
    try:
        before = date.fromisoformat(after) if after else date.max
    except ValueError:
        raise Invalid("after", "is not the `next` of a page") from None
    found = await app.store.read(quotas.history, caller.org, before=before, limit=limit)
    days = sorted({one.day for one in found})
    return Paged(found, days[0].isoformat() if len(days) >= limit else None)


def _today(tx: Tx, org: OrgId, clock: Clock) -> Sequence[tuple[Quota, str]]:
    organisation = organisations.get(tx, org)
    now = clock.now()
    return [(allowance.quota(tx, organisation, kind, at=now), organisation.time_zone) for kind in QuotaKind]
