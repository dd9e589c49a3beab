"""How the mail of each job and sending domain fares, and how near it is to its brakes (O18)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from mailrelay.config.schema import BrakeLevels
from mailrelay.ids import OrgId
from mailrelay.model.sending import Counts, Scope, Sending, Suspension
from mailrelay.outbound.policy import brakes
from mailrelay.store import suspensions, tallies
from mailrelay.store.base import Tx
from mailrelay.web.api.suspensions import sending_of
from mailrelay.web.application import App
from mailrelay.web.identity import Reader
from mailrelay.web.shape import After, Limit, Page, Paged, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["suspensions"])
Level = Literal["ok", "warn", "stop"]


class ShownRate(Shown):
    """One measure: `count` of `out_of`, as a share from 0, and where it stands."""

    measure: brakes.Measure
    count: int
    out_of: int
    share: float
    level: Level


class ShownSending(Shown):
    """A job, with all that was counted of it, or a sending domain, with its last seven days.

    `refused` are those of the bounces that the next hop never took. `rates` leave out what was counted before the last resumption,
    and of a domain what stopped jobs answer for; nothing is said (`ok`) of a sample that is too small.
    """

    scope: Scope
    name: str
    sent: int
    refused: int
    hard: int
    soft: int
    complaints: int
    unsubscribed: int
    rates: tuple[ShownRate, ...]
    level: Level
    suspended: bool
    why: Annotated[str, Field(description="Why it is suspended, or what the worst rate is.")]


@router.get("/rates", response_model=Page[ShownSending])
async def list_all(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[ShownSending]:
    """The rates of every job and sending domain, by scope and name."""
    found = await app.store.read(_list, caller.org, sending_of(after), limit, app.config.brakes, app.clock.now())
    return paged(found, limit=limit, cursor=lambda one: f"{one.scope}:{one.name}")


def _list(
    tx: Tx, org: OrgId, after: Sending | None, limit: int, levels: BrakeLevels, now: datetime
) -> list[ShownSending]:
    page = tallies.list_sendings(
        tx, org, domains_since=suspensions.first_day(Scope.DOMAIN, now), after=after, limit=limit
    )
    latest = suspensions.latest(tx, org, [sending for sending, _ in page])
    shown = []
    for sending, all_of_it in page:
        last = latest.get(sending)
        # Of a job without a suspension all of it counts.
        alike = last is None and sending.scope is Scope.JOB
        counts = all_of_it if alike else suspensions.counted(tx, org, sending, last=last, at=now)
        shown.append(_shown(sending, all_of_it, counts, last, levels))
    return shown


def _shown(
    sending: Sending, all_of_it: Counts, counts: Counts, last: Suspension | None, levels: BrakeLevels
) -> ShownSending:
    rates = brakes.rates(counts, levels)
    worst = brakes.judge(counts, levels)
    holds = last if last is not None and last.resumed_at is None else None
    return ShownSending(
        scope=sending.scope,
        name=sending.name,
        sent=all_of_it.sent,
        refused=all_of_it.refused,
        hard=all_of_it.hard,
        soft=all_of_it.soft,
        complaints=all_of_it.complaints,
        unsubscribed=all_of_it.unsubscribed,
        rates=tuple(
            ShownRate(
                measure=one.measure,
                count=one.count,
                out_of=one.out_of,
                share=round(one.share, 6),
                level=_word(one.level),
            )
            for one in rates
        ),
        level="ok" if worst is None else _word(worst.level),
        suspended=holds is not None,
        why=holds.reason if holds is not None else "" if worst is None else str(worst),
    )


def _word(level: brakes.Level) -> Level:
    return {brakes.Level.OK: "ok", brakes.Level.WARN: "warn", brakes.Level.STOP: "stop"}[level]  # type: ignore[return-value]
