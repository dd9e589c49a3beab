"""Hits: taken in batches, kept as the mode and the person's consent now allow, judged with all others of their delivery (O9, K1).

What is kept of a person stands in `hit`, and what it comes to in `engagement`, `link_hit` and the delivery's own row. In mode aggregate
only numbers are kept, by message, link and day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, select

from mailrelay.clock import from_micros
from mailrelay.ids import HitId
from mailrelay.model.hit import WINDOW, By, HitKind, JudgeAll, Judged, RawHit
from mailrelay.model.tracking import Mode
from mailrelay.store.base import Tx, for_both
from mailrelay.store.hit_deliveries import OfDelivery, of_deliveries
from mailrelay.store.hit_events import tell, tell_judged
from mailrelay.store.hit_figures import counted_again, standing_of, write_figures
from mailrelay.store.hit_rows import hit_row, in_time, kept_of, write_verdicts
from mailrelay.store.hits import of_few
from mailrelay.store.tables import aggregate_hit, hit, hit_batch

MOST_KEPT: Final = 5_000
"""Hits of one delivery; what comes beyond is nobody who reads it, and not kept …"""
MOST_AT_ONCE: Final = 100
"""… nor what comes beyond this within `WINDOW`."""
REFUSALS: Final = (("dnt", "1"), ("sec-gpc", "1"))
"""Header fields by which a reader refuses to be tracked (T12)."""
_DAY = timedelta(days=1)
_COUNT = for_both(
    lambda insert: (counting := insert(aggregate_hit)).on_conflict_do_update(
        index_elements=["message", "kind", "link", "by", "day"],
        set_={"hits": aggregate_hit.c.hits + counting.excluded.hits},
    )
)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch: hits that were kept or counted, by what and by whom, and those that were not, by why."""

    kept: Mapping[tuple[HitKind, By], int]
    left: Mapping[str, int]


def take(
    tx: Tx, batch: HitId, new: Sequence[RawHit], *, told: Sequence[HitId], judge: JudgeAll, now: datetime
) -> Taken:
    """Keep a batch of hits, or nothing of a batch that was taken before. `told` are batches that never come again."""
    if told:
        tx.execute(delete(hit_batch).where(hit_batch.c.id.in_(told)))
    once = tx.insert(hit_batch).values(id=batch).on_conflict_do_nothing().returning(hit_batch.c.id)
    if tx.execute(once).first() is None:
        return Taken({}, {"again": len(new)})
    found = of_deliveries(tx, {one.delivery for one in new})
    left: Counter[str] = Counter()
    for one in new:
        of = found.get(one.delivery)
        if of is None:
            left["unknown"] += 1
        elif of.mode is Mode.OFF:
            left["off"] += 1
        elif of.settings.honour_dnt and any(refusal in one.headers for refusal in REFUSALS):
            left["refused"] += 1
        else:
            of.new.append(one)
    kept: Counter[tuple[HitKind, By]] = Counter()
    _count(tx, [of for of in found.values() if of.mode is Mode.AGGREGATE and of.new], judge, kept)
    persons = [of for of in found.values() if of.mode is Mode.INDIVIDUAL and of.new]
    _keep(tx, persons, judge, now=now, kept=kept, left=left)
    return Taken(kept, left)


def _count(tx: Tx, some: Sequence[OfDelivery], judge: JudgeAll, kept: Counter[tuple[HitKind, By]]) -> None:
    """Count hits of nobody. They are judged by each other only: nothing is kept that later ones could be compared with."""
    counts: Counter[tuple[str, str, HitKind, int, str, By, int]] = Counter()
    few = of_few(tx, {of.row.message for of in some})
    for of in some:
        ordered = sorted(of.new, key=in_time)
        for one, verdict in zip(ordered, judge(ordered, of.sent_at), strict=True):
            day = (one.at - from_micros(0)) // _DAY
            url = "" if of.row.message in few else one.url  # which may have been written for one person
            counts[of.row.message, of.row.org, one.kind, one.link, url, verdict.by, day] += 1
            kept[one.kind, verdict.by] += 1
    if counts:
        new = [
            {
                "message": message,
                "org": org,
                "kind": kind,
                "link": link,
                "url": url,
                "by": by,
                "day": day,
                "hits": number,
            }
            for (message, org, kind, link, url, by, day), number in sorted(counts.items())
        ]
        tx.execute(_COUNT[tx.dialect], new)


def _keep(
    tx: Tx,
    some: Sequence[OfDelivery],
    judge: JudgeAll,
    *,
    now: datetime,
    kept: Counter[tuple[HitKind, By]],
    left: Counter[str],
) -> None:
    """Write new hits down, judged together with those of their delivery that came about the same time."""
    if not some:
        return
    times = [one.at for of in some for one in of.new]
    ids = [of.row.id for of in some]
    standing = standing_of(tx, ids)
    number = _number_of(tx, ids)
    near = kept_of(tx, ids, since=min(times) - WINDOW, until=max(times) + WINDOW)
    rows_: list[dict[str, Any]] = []
    again: list[tuple[HitId, Judged]] = []
    touched: list[tuple[OfDelivery, list[RawHit], dict[HitId, Judged], int]] = []
    for of in some:
        old = {one.raw.id: one for one in near[of.row.id]}
        new = sorted((one for one in of.new if one.id not in old), key=in_time)
        room = max(0, min(MOST_AT_ONCE - len(old), MOST_KEPT - number[of.row.id]))
        if len(new) > room:
            left["too many"] += len(new) - room
            new = new[:room]
        if not new:
            continue
        both = sorted([*(one.raw for one in old.values()), *new], key=in_time)
        judged = dict(zip((one.id for one in both), judge(both, of.sent_at), strict=True))
        rows_ += [hit_row(of.row, one, judged[one.id]) for one in new]
        open_ = [one for one in old.values() if not one.raw.stripped]
        again += [(one.raw.id, judged[one.raw.id]) for one in open_ if judged[one.raw.id] != one.judged]
        otherwise = sum(judged[one.raw.id].by is not one.judged.by for one in open_)
        touched.append((of, new, judged, otherwise))
        kept.update((one.kind, judged[one.id].by) for one in new)
    if rows_:
        tx.execute(tx.insert(hit).on_conflict_do_nothing(), rows_)
    write_verdicts(tx, again)
    figures = counted_again(tx, [of for of, *_ in touched], standing)
    write_figures(tx, figures.values())
    for of, new, judged, otherwise in touched:
        was, is_now = standing[of.row.id], figures[of.row.id].now
        if otherwise:
            tell_judged(tx, of, was=was, is_now=is_now, hits=otherwise, now=now)
        tell(tx, of, new, judged, was=was)


def _number_of(tx: Tx, some: Sequence[str]) -> Counter[str]:
    """How many hits of each of these deliveries are kept, those of the hidden link too."""
    counting = (
        select(hit.c.delivery, func.count().label("number")).where(hit.c.delivery.in_(some)).group_by(hit.c.delivery)
    )
    return Counter({row.delivery: row.number for row in tx.execute(counting)})
