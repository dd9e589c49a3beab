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

from sqlalchemy import Row, RowMapping, bindparam, delete, func, select, update

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import DeliveryId, HitId, MessageId, OrgId
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.event import EventType
from mailrelay.model.hit import (
    WINDOW,
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
from mailrelay.store import erased, events, rows
from mailrelay.store.base import Tx, for_both
from mailrelay.store.tables import (
    aggregate_hit,
    attempt,
    consent,
    delivery,
    engagement,
    hit,
    hit_batch,
    link_hit,
    organisation,
)
from mailrelay.store.visibility import Viewer, readable_delivery, there_is

MOST_KEPT: Final = 5_000
"""Hits of one delivery; what comes beyond is nobody who reads it, and not kept …"""
MOST_AT_ONCE: Final = 100
"""… nor what comes beyond this within `WINDOW`."""
REFUSALS: Final = (("dnt", "1"), ("sec-gpc", "1"))
"""Header fields by which a reader refuses to be tracked (T12)."""
FEWEST: Final = 5
"""Recipients of a message by whom a number is nobody's; of fewer it would tell who it was, whatever they agreed to."""
_DAY = timedelta(days=1)
_PIECE = 1_000
"""Values of one IN."""
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
    sent_at: datetime | None
    """When the next hop took it, whatever became of it then."""
    new: list[RawHit] = field(default_factory=list)


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
    _keep(tx, persons, judge, now=now, kept=kept, left=left)
    return Taken(kept, left)


def judge_again(
    tx: Tx, org: OrgId, some: Collection[DeliveryId], *, judge: JudgeAll, now: datetime, apply: bool
) -> list[Change]:
    """Judge the kept hits of these deliveries again: what changes, and with `apply` it is changed."""
    found = {id_: of for id_, of in _deliveries(tx, some).items() if of.row.org == org}
    changes: list[Change] = []
    again: list[tuple[HitId, Judged]] = []
    figures: list[_Figures] = []
    for id_, kept in _kept(tx, sorted(found)).items():
        raw, of = [one.raw for one in kept], found[id_]
        judged = judge(raw, of.sent_at)
        again += [(one.raw.id, now_) for one, now_ in zip(kept, judged, strict=True) if now_ != one.judged]
        otherwise = sum(now_.by is not one.judged.by for one, now_ in zip(kept, judged, strict=True))
        if not otherwise:
            continue
        was, is_now = engagement_of(raw, [one.judged for one in kept]), engagement_of(raw, judged)
        figures.append(_Figures(of, was, is_now, raw[-1].at))
        changes.append(
            Change(delivery=DeliveryId(id_), message=MessageId(of.row.message), hits=otherwise, was=was, now=is_now)
        )
        if apply:
            _tell_judged(tx, of, was=was, is_now=is_now, hits=otherwise, now=now)
    if apply:
        _write_verdicts(tx, again)
        _write_figures(tx, figures)
    return changes


def tracked(tx: Tx, org: OrgId, *, since: datetime, after: DeliveryId | None, limit: int) -> list[DeliveryId]:
    """A page of the deliveries that have a hit since then, in the order of their ids."""
    page = select(engagement.c.delivery).where(engagement.c.org == org, engagement.c.last_hit_at >= to_micros(since))
    if after is not None:
        page = page.where(engagement.c.delivery > after)
    return [DeliveryId(one) for one in tx.execute(page.order_by(engagement.c.delivery).limit(limit)).scalars()]


def forget(tx: Tx, some: Collection[DeliveryId]) -> int:
    """Forget every hit of these deliveries, and what these came to (T13); how many there were."""
    gone = tx.execute(delete(hit).where(hit.c.delivery.in_(some))).rowcount
    tx.execute(delete(link_hit).where(link_hit.c.delivery.in_(some)))
    tx.execute(delete(engagement).where(engagement.c.delivery.in_(some)))
    tx.execute(update(delivery).where(delivery.c.id.in_(some)).values(opened_at=None, clicked_at=None))
    return gone


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


def of_message(
    tx: Tx, viewer: Viewer, message: MessageId, *, after: tuple[datetime, HitId] | None = None, limit: int = 100
) -> list[Hit]:
    """A page of the hits of a message's deliveries that the viewer may see, oldest first.

    `after` is the time and id of the last of the page before.
    """
    page = select(hit).where(hit.c.org == viewer.org, hit.c.message == message)
    if not viewer.all:
        page = page.where(
            there_is(select(delivery.c.id).where(delivery.c.id == hit.c.delivery, readable_delivery(viewer)))
        )
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
    """What was counted of a message in mode aggregate, by day; nothing where it went to fewer than `FEWEST`."""
    if message in _of_few(tx, {message}):
        return []
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
        row.id: _Read(
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


_COUNT = for_both(
    lambda insert: (counting := insert(aggregate_hit)).on_conflict_do_update(
        index_elements=["message", "kind", "link", "by", "day"],
        set_={"hits": aggregate_hit.c.hits + counting.excluded.hits},
    )
)


def _count(tx: Tx, some: Sequence[_Read], judge: JudgeAll, kept: Counter[tuple[HitKind, By]]) -> None:
    """Count hits of nobody. They are judged by each other only: nothing is kept that later ones could be compared with."""
    counts: Counter[tuple[str, str, HitKind, int, str, By, int]] = Counter()
    few = _of_few(tx, {of.row.message for of in some})
    for of in some:
        ordered = sorted(of.new, key=_order)
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


def _of_few(tx: Tx, messages: Collection[str]) -> set[str]:
    """Those of these messages that went to fewer than `FEWEST`."""
    few: set[str] = set()
    for one in sorted(messages):
        to = select(delivery.c.recipient_key).where(delivery.c.message == one).distinct().limit(FEWEST)
        if len(tx.execute(to).all()) < FEWEST:
            few.add(one)
    return few


@dataclass(frozen=True, slots=True)
class _Figures:
    """What a delivery's hits came to, and come to now; `last` is the time of the last of them."""

    of: _Read
    was: Engagement
    now: Engagement
    last: datetime


def _keep(
    tx: Tx,
    some: Sequence[_Read],
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
    standing = _standing(tx, ids)
    near = _kept(tx, ids, since=min(times) - WINDOW, until=max(times) + WINDOW)
    rows_: list[dict[str, Any]] = []
    again: list[tuple[HitId, Judged]] = []
    touched: list[tuple[_Read, list[RawHit], dict[HitId, Judged], int]] = []
    for of in some:
        old = {one.raw.id: one for one in near[of.row.id]}
        new = sorted((one for one in of.new if one.id not in old), key=_order)
        room = max(0, min(MOST_AT_ONCE - len(old), MOST_KEPT - _total(standing[of.row.id])))
        if len(new) > room:
            left["too many"] += len(new) - room
            new = new[:room]
        if not new:
            continue
        both = sorted([*(one.raw for one in old.values()), *new], key=_order)
        judged = dict(zip((one.id for one in both), judge(both, of.sent_at), strict=True))
        rows_ += [_row(of.row, one, judged[one.id]) for one in new]
        again += [(one.raw.id, judged[one.raw.id]) for one in old.values() if judged[one.raw.id] != one.judged]
        otherwise = sum(judged[one.raw.id].by is not one.judged.by for one in old.values())
        touched.append((of, new, judged, otherwise))
        kept.update((one.kind, judged[one.id].by) for one in new)
    if rows_:
        tx.execute(tx.insert(hit).on_conflict_do_nothing(), rows_)
    _write_verdicts(tx, again)
    figures = _counted_again(tx, [of for of, *_ in touched], standing)
    _write_figures(tx, figures.values())
    for of, new, judged, otherwise in touched:
        was, is_now = standing[of.row.id], figures[of.row.id].now
        if otherwise:
            _tell_judged(tx, of, was=was, is_now=is_now, hits=otherwise, now=now)
        _tell(tx, of, new, judged, was=was)


def _standing(tx: Tx, some: Sequence[str]) -> defaultdict[str, Engagement]:
    """What the hits of these deliveries came to until now, without their links."""
    found = tx.execute(select(engagement).where(engagement.c.delivery.in_(some)))
    standing: defaultdict[str, Engagement] = defaultdict(Engagement)
    standing.update({row.delivery: _engagement(row._mapping, ()) for row in found})
    return standing


def _total(one: Engagement) -> int:
    machines, unknown = one.machine_opens + one.machine_clicks, one.unknown_opens + one.unknown_clicks
    return one.opens + one.clicks + machines + unknown


def _counted_again(tx: Tx, some: Sequence[_Read], standing: Mapping[str, Engagement]) -> dict[str, _Figures]:
    """What the kept hits of these deliveries come to, as the database counts them."""
    if not some:
        return {}
    groups: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    by = (hit.c.delivery, hit.c.kind, hit.c.by, hit.c.link)
    number, first, last = (
        func.count().label("number"),
        func.min(hit.c.at).label("first"),
        func.max(hit.c.at).label("last"),
    )
    counting = select(*by, number, first, last, func.min(hit.c.url).label("url")).group_by(*by)
    for row in tx.execute(counting.where(hit.c.delivery.in_([of.row.id for of in some]))):
        groups[row.delivery].append(row)
    return {
        of.row.id: _Figures(
            of,
            standing[of.row.id],
            _summed(groups[of.row.id]),
            from_micros(max(row.last for row in groups[of.row.id])),
        )
        for of in some
    }


def _summed(groups: Sequence[Row[Any]]) -> Engagement:
    """`engagement_of`, from numbers by kind, by whom and link."""

    def these(kind: HitKind, by: By) -> list[Row[Any]]:
        return sorted((row for row in groups if (row.kind, row.by) == (kind, by)), key=lambda row: int(row.link))

    def number(kind: HitKind, by: By) -> int:
        return sum(row.number for row in these(kind, by))

    opens, clicks = these(HitKind.OPEN, By.PERSON), these(HitKind.CLICK, By.PERSON)
    return Engagement(
        opens=number(HitKind.OPEN, By.PERSON),
        first_opened_at=from_micros(min(row.first for row in opens)) if opens else None,
        last_opened_at=from_micros(max(row.last for row in opens)) if opens else None,
        clicks=number(HitKind.CLICK, By.PERSON),
        first_clicked_at=from_micros(min(row.first for row in clicks)) if clicks else None,
        last_clicked_at=from_micros(max(row.last for row in clicks)) if clicks else None,
        machine_opens=number(HitKind.OPEN, By.MACHINE),
        machine_clicks=number(HitKind.CLICK, By.MACHINE),
        unknown_opens=number(HitKind.OPEN, By.UNKNOWN),
        unknown_clicks=number(HitKind.CLICK, By.UNKNOWN),
        links=tuple(
            LinkClicks(
                link=row.link,
                url=row.url,
                clicks=row.number,
                first_at=from_micros(row.first),
                last_at=from_micros(row.last),
            )
            for row in clicks
        ),
    )


def _write_verdicts(tx: Tx, again: Sequence[tuple[HitId, Judged]]) -> None:
    if again:
        changed = [{"b_id": id_, **_verdict(one)} for id_, one in again]
        tx.execute(update(hit).where(hit.c.id == bindparam("b_id")), changed)


def _write_figures(tx: Tx, figures: Iterable[_Figures]) -> None:
    """Write down what the hits of deliveries come to."""
    all_ = list(figures)
    if not all_:
        return
    tx.execute(delete(link_hit).where(link_hit.c.delivery.in_([one.of.row.id for one in all_])))
    tx.execute(_PUT[tx.dialect], [_engagement_row(one.of.row, one.now, last=one.last) for one in all_])
    links = [_link_row(one.of.row, each) for one in all_ for each in one.now.links]
    if links:
        tx.execute(link_hit.insert(), links)
    firsts = [
        {
            "b_id": one.of.row.id,
            "opened_at": _micros(one.now.first_opened_at),
            "clicked_at": _micros(one.now.first_clicked_at),
        }
        for one in all_
        if (_micros(one.now.first_opened_at), _micros(one.now.first_clicked_at))
        != (one.of.row.opened_at, one.of.row.clicked_at)
    ]
    if firsts:
        tx.execute(update(delivery).where(delivery.c.id == bindparam("b_id")), firsts)


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


_TOLD = {HitKind.OPEN: EventType.DELIVERY_OPENED, HitKind.CLICK: EventType.DELIVERY_CLICKED}


def _tell(tx: Tx, of: _Read, new: Iterable[RawHit], judged: Mapping[HitId, Judged], *, was: Engagement) -> None:
    """The events of new hits, in their order."""
    first = {HitKind.OPEN: was.first_opened_at is None, HitKind.CLICK: was.first_clicked_at is None}
    for one in new:
        if one.kind not in _TOLD:
            continue
        person = judged[one.id].by is By.PERSON
        data = {"by": str(judged[one.id].by), "first": "true" if person and first[one.kind] else "false"}
        if one.kind is HitKind.CLICK:
            data |= {"link": str(one.link), "url": one.url}
        _append(tx, of, _TOLD[one.kind], data, at=one.at)
        first[one.kind] &= not person


def _tell_judged(tx: Tx, of: _Read, *, was: Engagement, is_now: Engagement, hits: int, now: datetime) -> None:
    """The event that some hits are something else now."""
    figures = {name: str(getattr(is_now, name)) for name in ("opens", "clicks", "machine_opens", "machine_clicks")}
    before = {"opens_before": str(was.opens), "clicks_before": str(was.clicks)}
    _append(tx, of, EventType.DELIVERY_JUDGED, {"hits": str(hits), **figures, **before}, at=now)


def _append(tx: Tx, of: _Read, type_: EventType, data: Mapping[str, str], *, at: datetime) -> None:
    row = of.row
    events.append(
        tx,
        org=row.org,
        at=at,
        type=type_,
        queue_id=row.queue_id,
        message=row.message,
        delivery=row.id,
        data=data,
        user=events.hearer(type_, row.author, row.job, data),
    )


# --- rows ---


def _order(one: RawHit) -> tuple[datetime, str]:
    return one.at, one.id


def _kept(
    tx: Tx, some: Sequence[str], *, since: datetime | None = None, until: datetime | None = None
) -> defaultdict[str, list[Hit]]:
    """What is kept of these deliveries, or of it what came between two times; oldest first."""
    found: defaultdict[str, list[Hit]] = defaultdict(list)
    kept = select(hit).where(hit.c.delivery.in_(some)).order_by(hit.c.delivery, hit.c.at, hit.c.id)
    if since is not None:
        kept = kept.where(hit.c.at >= to_micros(since))
    if until is not None:
        kept = kept.where(hit.c.at <= to_micros(until))
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
