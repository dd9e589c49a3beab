"""Hits: taken in batches, kept as the mode and the person's consent now allow, judged with all others of their delivery (O9, K1).

What is kept of a person stands in `hit`, and what it comes to in `engagement`, `link_hit` and the delivery's own row, which are made
of it again whenever a hit comes or is judged otherwise. In mode aggregate only numbers are kept, by message, link and day.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, RowMapping, bindparam, delete, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import DeliveryId, HitId, MessageId, OrgId
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.event import EventType
from mailrelay.model.hit import (
    By,
    Engagement,
    Hit,
    HitKind,
    JudgeAll,
    Judged,
    LinkClicks,
    RawHit,
    engagement_of,
)
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.tracking import Mode, effective
from mailrelay.store import events, rows
from mailrelay.store.base import Tx, for_both
from mailrelay.store.tables import (
    aggregate_hit,
    consent,
    delivery,
    engagement,
    hit,
    hit_batch,
    link_hit,
    organisation,
)

MOST_KEPT: Final = 500
"""Hits of one delivery; what comes beyond is nobody who reads it, and not kept."""
REFUSALS: Final = (("dnt", "1"), ("sec-gpc", "1"))
"""Header fields by which a reader refuses to be tracked (T12)."""
_DAY = timedelta(days=1)
_SENT = (DeliveryState.SENT, DeliveryState.DELIVERED)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch: hits that were kept or counted, by what and by whom, and those that were not, by why."""

    kept: Mapping[tuple[HitKind, By], int]
    left: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A delivery whose hits are judged otherwise than before."""

    delivery: DeliveryId
    message: MessageId
    hits: int
    """How many of its hits."""
    was: Engagement
    now: Engagement


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateCount:
    """How often something was done with a message on a day, by whom it seems; of no person."""

    kind: HitKind
    link: int
    url: str
    by: By
    day: datetime
    hits: int


@dataclass(slots=True)
class _Read:
    """A delivery whose mail somebody reads, and the hits that are new."""

    row: Row[Any]
    settings: OrganisationSettings
    mode: Mode
    new: list[RawHit] = field(default_factory=list)

    @property
    def sent_at(self) -> datetime | None:
        return from_micros(self.row.ended_at) if self.row.state in _SENT and self.row.ended_at is not None else None


def take(
    tx: Tx, batch: HitId, new: Sequence[RawHit], *, told: Sequence[HitId], judge: JudgeAll, now: datetime
) -> Taken:
    """Keep a batch of hits, or nothing of a batch that was taken before. `told` are batches that never come again."""
    if told:
        tx.execute(delete(hit_batch).where(hit_batch.c.id.in_(told)))
    once = tx.insert(hit_batch).values(id=batch).on_conflict_do_nothing().returning(hit_batch.c.id)
    if tx.execute(once).first() is None:
        return Taken({}, {"again": len(new)})
    found = _deliveries(tx, {one.delivery for one in new})
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
    _settle(tx, persons, judge, now=now, kept=kept, left=left)
    return Taken(kept, left)


def judge_again(
    tx: Tx, org: OrgId, some: Collection[DeliveryId], *, judge: JudgeAll, now: datetime, apply: bool
) -> list[Change]:
    """Judge the kept hits of these deliveries again: what changes, and with `apply` it is changed."""
    found = [of for of in _deliveries(tx, some).values() if of.row.org == org]
    return _settle(tx, found, judge, now=now, apply=apply)


def tracked(tx: Tx, org: OrgId, *, since: datetime, after: DeliveryId | None, limit: int) -> list[DeliveryId]:
    """A page of the deliveries that have a hit since then, in the order of their ids."""
    page = select(engagement.c.delivery).where(engagement.c.org == org, engagement.c.last_hit_at >= to_micros(since))
    if after is not None:
        page = page.where(engagement.c.delivery > after)
    return [DeliveryId(one) for one in tx.execute(page.order_by(engagement.c.delivery).limit(limit)).scalars()]


def forget(tx: Tx, org: OrgId, key: str) -> int:
    """Forget every hit of a person, by the key of their address, and what these came to (T13); how many there were."""
    theirs = select(delivery.c.id).where(delivery.c.org == org, delivery.c.recipient_key == key).scalar_subquery()
    gone = tx.execute(delete(hit).where(hit.c.delivery.in_(theirs))).rowcount
    tx.execute(delete(link_hit).where(link_hit.c.delivery.in_(theirs)))
    tx.execute(delete(engagement).where(engagement.c.delivery.in_(theirs)))
    tx.execute(
        update(delivery)
        .where(delivery.c.org == org, delivery.c.recipient_key == key)
        .values(opened_at=None, clicked_at=None)
    )
    return gone


def of_message(
    tx: Tx, org: OrgId, message: MessageId, *, after: tuple[datetime, HitId] | None = None, limit: int = 100
) -> list[Hit]:
    """A page of a message's hits, oldest first; `after` is the time and id of the last of the page before."""
    page = select(hit).where(hit.c.org == org, hit.c.message == message)
    if after is not None:
        at = to_micros(after[0])
        page = page.where((hit.c.at > at) | ((hit.c.at == at) & (hit.c.id > after[1])))
    return [_hit(row._mapping) for row in tx.execute(page.order_by(hit.c.at, hit.c.id).limit(limit))]


def engagements(tx: Tx, org: OrgId, message: MessageId) -> dict[DeliveryId, Engagement]:
    """What the hits of a message's deliveries come to; those that have none are not there."""
    links: defaultdict[str, list[LinkClicks]] = defaultdict(list)
    for row in tx.execute(select(link_hit).where(link_hit.c.message == message, link_hit.c.org == org)):
        links[row.delivery].append(
            LinkClicks(
                link=row.link,
                url=row.url,
                clicks=row.clicks,
                first_at=from_micros(row.first_at),
                last_at=from_micros(row.last_at),
            )
        )
    found = tx.execute(select(engagement).where(engagement.c.message == message, engagement.c.org == org))
    return {
        DeliveryId(row.delivery): _engagement(
            row._mapping, tuple(sorted(links[row.delivery], key=lambda one: one.link))
        )
        for row in found
    }


def counted(tx: Tx, org: OrgId, message: MessageId) -> list[AggregateCount]:
    """What was counted of a message in mode aggregate, by day."""
    order = (aggregate_hit.c.day, aggregate_hit.c.kind, aggregate_hit.c.link, aggregate_hit.c.by)
    found = select(aggregate_hit).where(aggregate_hit.c.message == message, aggregate_hit.c.org == org).order_by(*order)
    return [
        AggregateCount(
            kind=HitKind(row.kind),
            link=row.link,
            url=row.url,
            by=By(row.by),
            day=from_micros(0) + row.day * _DAY,
            hits=row.hits,
        )
        for row in tx.execute(found)
    ]


# --- taking ---


def _deliveries(tx: Tx, some: Collection[DeliveryId]) -> dict[str, _Read]:
    """These deliveries, in the order of their ids and ours until the end, with what may now be recorded of each."""
    found = tx.execute(
        select(
            delivery.c.id,
            delivery.c.org,
            delivery.c.message,
            delivery.c.queue_id,
            delivery.c.author,
            delivery.c.recipient_key,
            delivery.c.tracking,
            delivery.c.state,
            delivery.c.ended_at,
            delivery.c.opened_at,
            delivery.c.clicked_at,
        )
        .where(delivery.c.id.in_(sorted(some)))
        .order_by(delivery.c.id)
        .with_for_update()
    ).all()
    orgs = {row.org for row in found}
    settings = {
        row.id: rows.decode(OrganisationSettings, row.settings)
        for row in tx.execute(
            select(organisation.c.id, organisation.c.settings).where(organisation.c.id.in_(sorted(orgs)))
        )
    }
    said = _consents(tx, {(row.org, row.recipient_key) for row in found})
    return {
        row.id: _Read(
            row,
            settings[row.org],
            effective(
                settings[row.org].tracking,
                Mode(row.tracking) if row.tracking else None,
                said.get((row.org, row.recipient_key)),
            ),
        )
        for row in found
    }


def _consents(tx: Tx, whose: Collection[tuple[str, str]]) -> dict[tuple[str, str], bool]:
    """What each person said last."""
    said: dict[tuple[str, str], bool] = {}
    for org in sorted({one for one, _ in whose}):
        keys = sorted(key for one, key in whose if one == org)
        found = select(consent).where(consent.c.org == org, consent.c.key.in_(keys)).order_by(consent.c.at)
        said.update({(org, row.key): row.given for row in tx.execute(found)})
    return said


_COUNT = for_both(
    lambda insert: (counting := insert(aggregate_hit)).on_conflict_do_update(
        index_elements=["message", "kind", "link", "by", "day"],
        set_={"hits": aggregate_hit.c.hits + counting.excluded.hits},
    )
)


def _count(tx: Tx, some: Sequence[_Read], judge: JudgeAll, kept: Counter[tuple[HitKind, By]]) -> None:
    """Count hits of nobody. They are judged by each other only: nothing is kept that later ones could be compared with."""
    counts: Counter[tuple[str, str, HitKind, int, str, By, int]] = Counter()
    for of in some:
        ordered = sorted(of.new, key=_order)
        for one, verdict in zip(ordered, judge(ordered, of.sent_at), strict=True):
            day = (one.at - from_micros(0)) // _DAY
            counts[of.row.message, of.row.org, one.kind, one.link, one.url, verdict.by, day] += 1
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


def _settle(
    tx: Tx,
    some: Sequence[_Read],
    judge: JudgeAll,
    *,
    now: datetime,
    apply: bool = True,
    kept: Counter[tuple[HitKind, By]] | None = None,
    left: Counter[str] | None = None,
) -> list[Change]:
    """Judge what is new and what there is of each delivery together, and write down what they come to."""
    kept, left = Counter() if kept is None else kept, Counter() if left is None else left
    before = _kept(tx, [of.row.id for of in some])
    work = _Work(now)
    for of in some:
        old = {one.raw.id: one for one in before[of.row.id]}
        new = [one for one in of.new if one.id not in old]
        room = max(0, MOST_KEPT - len(old))
        if len(new) > room:
            left["too many"] += len(new) - room
        new = sorted(new, key=_order)[:room]
        both = sorted([*(one.raw for one in old.values()), *new], key=_order)
        if not both:
            continue
        judged = dict(zip((one.id for one in both), judge(both, of.sent_at), strict=True))
        work.of_delivery(tx if apply else None, of, old, new, both, judged)
        for one in new:
            kept[one.kind, judged[one.id].by] += 1
    if apply:
        work.write(tx)
    return work.changes


class _Work:
    """Rows to write, for all deliveries of a transaction at once."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._new: list[dict[str, Any]] = []
        self._changed: list[dict[str, Any]] = []
        self._engagements: list[dict[str, Any]] = []
        self._links: list[dict[str, Any]] = []
        self._deliveries: list[dict[str, Any]] = []
        self.changes: list[Change] = []

    def of_delivery(
        self,
        tx: Tx | None,
        of: _Read,
        old: Mapping[HitId, Hit],
        new: Sequence[RawHit],
        both: Sequence[RawHit],
        judged: Mapping[HitId, Judged],
    ) -> None:
        """Prepare what is to be written of one delivery; its events go to `tx`, if there is one."""
        row = of.row
        was = engagement_of([one.raw for one in old.values()], [one.judged for one in old.values()])
        is_now = engagement_of(both, [judged[one.id] for one in both])
        again = [one for one in old.values() if judged[one.raw.id] != one.judged]
        otherwise = sum(judged[one.raw.id].by is not one.judged.by for one in again)
        self._new += [_row(row, one, judged[one.id]) for one in new]
        self._changed += [{"b_id": one.raw.id, **_verdict(judged[one.raw.id])} for one in again]
        if was != is_now or new:
            self._engagements.append(_engagement_row(row, is_now, last=both[-1].at))
            self._links += [_link_row(row, one) for one in is_now.links]
        firsts = (_micros(is_now.first_opened_at), _micros(is_now.first_clicked_at))
        if firsts != (row.opened_at, row.clicked_at):
            self._deliveries.append({"b_id": row.id, "opened_at": firsts[0], "clicked_at": firsts[1]})
        if otherwise:
            self.changes.append(
                Change(delivery=DeliveryId(row.id), message=MessageId(row.message), hits=otherwise, was=was, now=is_now)
            )
        if tx is not None:
            _tell(tx, of, new, judged, was=was, is_now=is_now, otherwise=otherwise, now=self._now)

    def write(self, tx: Tx) -> None:
        """Write it all."""
        if self._new:
            tx.execute(tx.insert(hit).on_conflict_do_nothing(), self._new)
        if self._changed:
            tx.execute(update(hit).where(hit.c.id == bindparam("b_id")), self._changed)
        if self._engagements:
            tx.execute(delete(link_hit).where(link_hit.c.delivery.in_([one["delivery"] for one in self._engagements])))
            tx.execute(_PUT[tx.dialect], self._engagements)
        if self._links:
            tx.execute(link_hit.insert(), self._links)
        if self._deliveries:
            tx.execute(update(delivery).where(delivery.c.id == bindparam("b_id")), self._deliveries)


_FIGURES = (
    *("opens", "first_opened_at", "last_opened_at", "clicks", "first_clicked_at", "last_clicked_at"),
    *("machine_opens", "machine_clicks", "unknown_opens", "unknown_clicks"),
)
_PUT = for_both(
    lambda insert: (putting := insert(engagement)).on_conflict_do_update(
        index_elements=["delivery"],
        set_={name: putting.excluded[name] for name in (*_FIGURES, "last_hit_at")},
    )
)


def _tell(
    tx: Tx,
    of: _Read,
    new: Iterable[RawHit],
    judged: Mapping[HitId, Judged],
    *,
    was: Engagement,
    is_now: Engagement,
    otherwise: int,
    now: datetime,
) -> None:
    """The events of new hits, in their order, and that others are judged otherwise."""
    row = of.row
    about = {"org": row.org, "queue_id": row.queue_id, "message": row.message, "delivery": row.id, "user": row.author}
    first = {HitKind.OPEN: was.first_opened_at is None, HitKind.CLICK: was.first_clicked_at is None}
    types = {HitKind.OPEN: EventType.DELIVERY_OPENED, HitKind.CLICK: EventType.DELIVERY_CLICKED}
    if otherwise:
        data = {
            "hits": str(otherwise),
            **{name: str(getattr(is_now, name)) for name in ("opens", "clicks", "machine_opens", "machine_clicks")},
            "opens_before": str(was.opens),
            "clicks_before": str(was.clicks),
        }
        events.append(tx, at=now, type=EventType.DELIVERY_JUDGED, data=data, **about)
    for one in new:
        if one.kind not in types:
            continue
        person = judged[one.id].by is By.PERSON
        data = {"by": str(judged[one.id].by), "first": "true" if person and first[one.kind] else "false"}
        if one.kind is HitKind.CLICK:
            data |= {"link": str(one.link), "url": one.url}
        events.append(tx, at=one.at, type=types[one.kind], data=data, **about)
        first[one.kind] &= not person


# --- rows ---


def _order(one: RawHit) -> tuple[datetime, str]:
    return one.at, one.id


def _kept(tx: Tx, some: Sequence[str]) -> defaultdict[str, list[Hit]]:
    """What is kept of these deliveries, oldest first."""
    found: defaultdict[str, list[Hit]] = defaultdict(list)
    kept = select(hit).where(hit.c.delivery.in_(some)).order_by(hit.c.delivery, hit.c.at, hit.c.id)
    for row in tx.execute(kept) if some else ():
        found[row.delivery].append(_hit(row._mapping))
    return found


def _hit(row: RowMapping) -> Hit:
    return Hit(
        raw=RawHit(
            id=HitId(row["id"]),
            kind=HitKind(row["kind"]),
            delivery=DeliveryId(row["delivery"]),
            link=row["link"],
            url=row["url"],
            at=from_micros(row["at"]),
            ip=row["ip"],
            agent=row["agent"],
            method=row["method"],
            headers=tuple((name, value) for name, value in row["headers"]),
        ),
        message=MessageId(row["message"]),
        judged=Judged(by=By(row["by"]), reasons=tuple(row["reasons"]), rules=row["rules"]),
    )


def _row(of: Row[Any], one: RawHit, verdict: Judged) -> dict[str, Any]:
    return {
        "id": one.id,
        "org": of.org,
        "delivery": one.delivery,
        "message": of.message,
        "kind": one.kind,
        "link": one.link,
        "url": one.url,
        "at": to_micros(one.at),
        "ip": one.ip,
        "agent": one.agent,
        "method": one.method,
        "headers": [list(field_) for field_ in one.headers],
        **_verdict(verdict),
    }


def _verdict(verdict: Judged) -> dict[str, Any]:
    return {"by": verdict.by, "reasons": list(verdict.reasons), "rules": verdict.rules}


def _engagement_row(of: Row[Any], figures: Engagement, *, last: datetime) -> dict[str, Any]:
    values = {name: getattr(figures, name) for name in _FIGURES}
    times = {name: _micros(value) for name, value in values.items() if name.endswith("_at")}
    return {
        "delivery": of.id,
        "org": of.org,
        "message": of.message,
        **values,
        **times,
        "last_hit_at": to_micros(last),
    }


def _link_row(of: Row[Any], clicks: LinkClicks) -> dict[str, Any]:
    return {
        "delivery": of.id,
        "link": clicks.link,
        "org": of.org,
        "message": of.message,
        "url": clicks.url,
        "clicks": clicks.clicks,
        "first_at": to_micros(clicks.first_at),
        "last_at": to_micros(clicks.last_at),
    }


def _engagement(row: RowMapping, links: tuple[LinkClicks, ...]) -> Engagement:
    figures: dict[str, Any] = {name: row[name] for name in _FIGURES}
    figures |= {name: from_micros(at) for name, at in figures.items() if name.endswith("_at") and at is not None}
    return Engagement(**figures, links=links)


def _micros(at: datetime | None) -> int | None:
    return None if at is None else to_micros(at)
