"""Loads of a mail's pixel and followed links: as they came, what they are judged to be, and what they come to (O9, K1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mailrelay.ids import DeliveryId, HitId, MessageId

WINDOW = timedelta(minutes=15)
"""Hits of a delivery that are further apart say nothing of each other."""


class HitKind(StrEnum):
    """What was asked for."""

    OPEN = "open"  # the pixel
    CLICK = "click"  # a link
    DECOY = "decoy"  # a link that no person sees: a machine's sign, and no click


class By(StrEnum):
    """Who did it, as far as that can be told (K1)."""

    PERSON = "person"
    MACHINE = "machine"  # a privacy proxy, a security scanner, a prefetch
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawHit:
    """A hit as the endpoint saw it: nothing was looked up yet."""

    id: HitId
    kind: HitKind
    delivery: DeliveryId
    link: int
    """Which link of the mail; 0 for an open."""
    url: str
    """The link's target; "" for an open."""
    at: datetime
    ip: str
    agent: str
    """User-Agent, cut to what a browser could send."""
    method: str
    headers: tuple[tuple[str, str], ...]
    """The few that tell people from machines, or what is wanted of us: names in lower case."""

    @property
    def stripped(self) -> bool:
        """Whether all that tells whose it was is kept no longer, so that it cannot be judged again."""
        return not self.method


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a hit is taken for, why, and by which version of the rules."""

    by: By
    reasons: tuple[str, ...]
    rules: int


JudgeAll = Callable[[Sequence[RawHit], datetime | None], Sequence[Judged]]
"""Judges hits of one delivery, oldest first, which was sent at the given time: a verdict for each, in their order.

It is given at least all that are within WINDOW of one that is new.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A hit that was kept, and what it is taken for now."""

    raw: RawHit
    message: MessageId
    judged: Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkClicks:
    """A link of a delivery that persons followed."""

    link: int
    url: str
    clicks: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Engagement:
    """What the hits of a delivery come to: times and numbers are persons', the machines' and the unknown ones' beside them."""

    opens: int = 0
    first_opened_at: datetime | None = None
    last_opened_at: datetime | None = None
    clicks: int = 0
    first_clicked_at: datetime | None = None
    last_clicked_at: datetime | None = None
    machine_opens: int = 0
    machine_clicks: int = 0
    unknown_opens: int = 0
    unknown_clicks: int = 0
    links: tuple[LinkClicks, ...] = ()


def judgeable(hits: Sequence[Hit]) -> Sequence[Hit]:
    """Those of a delivery's kept hits, oldest first, that can be judged again: all that they may be compared with is kept, too."""
    last = max((one.raw.at for one in hits if one.raw.stripped), default=None)
    return [one for one in hits if last is None or one.raw.at > last + WINDOW]


def engagement_of(hits: Sequence[RawHit], judged: Sequence[Judged]) -> Engagement:
    """What the hits of one delivery, oldest first, come to. A decoy is no click, whoever followed it."""
    opens: list[RawHit] = []
    clicks: list[RawHit] = []
    counts = dict.fromkeys(((kind, by) for kind in HitKind for by in By), 0)
    for hit, verdict in zip(hits, judged, strict=True):
        counts[hit.kind, verdict.by] += 1
        if verdict.by is By.PERSON and hit.kind is HitKind.OPEN:
            opens.append(hit)
        elif verdict.by is By.PERSON and hit.kind is HitKind.CLICK:
            clicks.append(hit)
    links: dict[int, list[RawHit]] = {}
    for hit in clicks:
        links.setdefault(hit.link, []).append(hit)
    return Engagement(
        opens=len(opens),
        first_opened_at=opens[0].at if opens else None,
        last_opened_at=opens[-1].at if opens else None,
        clicks=len(clicks),
        first_clicked_at=clicks[0].at if clicks else None,
        last_clicked_at=clicks[-1].at if clicks else None,
        machine_opens=counts[HitKind.OPEN, By.MACHINE],
        machine_clicks=counts[HitKind.CLICK, By.MACHINE],
        unknown_opens=counts[HitKind.OPEN, By.UNKNOWN],
        unknown_clicks=counts[HitKind.CLICK, By.UNKNOWN],
        links=tuple(
            LinkClicks(link=link, url=some[0].url, clicks=len(some), first_at=some[0].at, last_at=some[-1].at)
            for link, some in sorted(links.items())
        ),
    )
