"""Kept hits judged again by today's rules (K1)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from mailrelay.clock import to_micros
from mailrelay.ids import DeliveryId, HitId, MessageId, OrgId
from mailrelay.model.hit import Engagement, JudgeAll, Judged, engagement_of, judgeable
from mailrelay.store.base import Tx
from mailrelay.store.hit_deliveries import of_deliveries
from mailrelay.store.hit_events import tell_judged
from mailrelay.store.hit_figures import Figures, write_figures
from mailrelay.store.hit_rows import kept_of, write_verdicts
from mailrelay.store.tables import engagement


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A delivery whose hits are judged otherwise than before."""

    delivery: DeliveryId
    message: MessageId
    hits: int
    """How many of its hits."""
    was: Engagement
    now: Engagement


def judge_again(
    tx: Tx, org: OrgId, some: Collection[DeliveryId], *, judge: JudgeAll, now: datetime, apply: bool
) -> list[Change]:
    """Judge the kept hits of these deliveries again, as far as they can be: what changes, and with `apply` it is changed."""
    found = {id_: of for id_, of in of_deliveries(tx, some).items() if of.row.org == org}
    changes: list[Change] = []
    again: list[tuple[HitId, Judged]] = []
    figures: list[Figures] = []
    for id_, kept in kept_of(tx, sorted(found)).items():
        raw, of, some_ = [one.raw for one in kept], found[id_], judgeable(kept)
        new = {one.raw.id: now_ for one, now_ in zip(some_, judge([one.raw for one in some_], of.sent_at), strict=True)}
        again += [(one.raw.id, new[one.raw.id]) for one in some_ if new[one.raw.id] != one.judged]
        otherwise = sum(new[one.raw.id].by is not one.judged.by for one in some_)
        if not otherwise:
            continue
        judged = [one.judged for one in kept]
        was, is_now = engagement_of(raw, judged), engagement_of(raw, [new.get(one.raw.id, one.judged) for one in kept])
        figures.append(Figures(of, was, is_now, raw[-1].at))
        changes.append(
            Change(delivery=DeliveryId(id_), message=MessageId(of.row.message), hits=otherwise, was=was, now=is_now)
        )
        if apply:
            tell_judged(tx, of, was=was, is_now=is_now, hits=otherwise, now=now)
    if apply:
        write_verdicts(tx, again)
        write_figures(tx, figures)
    return changes


def tracked(tx: Tx, org: OrgId, *, since: datetime, after: DeliveryId | None, limit: int) -> list[DeliveryId]:
    """A page of the deliveries that have a hit since then, in the order of their ids."""
    page = select(engagement.c.delivery).where(engagement.c.org == org, engagement.c.last_hit_at >= to_micros(since))
    if after is not None:
        page = page.where(engagement.c.delivery > after)
    return [DeliveryId(one) for one in tx.execute(page.order_by(engagement.c.delivery).limit(limit)).scalars()]
