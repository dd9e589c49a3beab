"""Kept hits judged again by today's rules: what would change, and the same for real (K1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from mailrelay.clock import Clock
from mailrelay.ids import DeliveryId, OrgId
from mailrelay.model.hit import JudgeAll
from mailrelay.store import hit_judging
from mailrelay.store.base import Store
from mailrelay.store.hit_judging import Change

_PAGE = 50
"""Deliveries of a transaction."""


async def rejudge(
    store: Store, clock: Clock, org: OrgId, *, judge: JudgeAll, since: datetime, apply: bool
) -> AsyncIterator[Change]:
    """Each delivery with a hit since then whose hits are something else today; with `apply` they then are.

    Applied twice, the second run has nothing to say. Raises Unavailable, with what was done so far done.
    """
    after: DeliveryId | None = None
    while page := await store.read(hit_judging.tracked, org, since=since, after=after, limit=_PAGE):
        for change in await store.write(hit_judging.judge_again, org, page, judge=judge, now=clock.now(), apply=apply):
            yield change
        after = page[-1]
