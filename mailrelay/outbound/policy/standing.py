"""When an address must not be written to any more (I11).

A hard bounce is enough. Soft ones count while nothing arrives in between: no counter is kept, the streak is read off what became
of the address's deliveries, so that it can be computed again and cannot drift.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.feedback import Category, Fault
from mailrelay.model.settings import OrganisationSettings

MAY_COME_BACK = timedelta(days=1)
"""A mail taken by the next hop that recently may still be returned: it proves nothing yet."""
_SOFT = frozenset({DeliveryState.BOUNCED, DeliveryState.EXPIRED})
_OF_THE_MAIL = frozenset({Category.CONTENT, Category.POLICY})
"""What was refused for what the mail is, or how: another one may well be taken."""
_ARRIVED = frozenset({DeliveryState.SENT, DeliveryState.DELIVERED})


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What became of one delivery to the address."""

    state: DeliveryState
    hard: bool
    fault: Fault | None
    category: Category | None
    at: datetime
    said: str
    """The other side's last word."""


def streak(history: Iterable[End], *, now: datetime, since: datetime) -> tuple[End, ...]:
    """The soft ends in a row since a time, newest first, of a history that is newest first.

    A mail that arrived breaks it. What was our own or the sender's fault, what was refused for the mail itself, what was not
    offered to anybody and what has not ended says nothing of the address.
    """
    found: list[End] = []
    for end in history:
        if end.state in _ARRIVED and (end.state is DeliveryState.DELIVERED or now - end.at >= MAY_COME_BACK):
            break
        told = end.fault is not Fault.SENDER and end.category not in _OF_THE_MAIL
        if end.state in _SOFT and not end.hard and told and end.at >= since:
            found.append(end)
    return tuple(found)


def window(settings: OrganisationSettings, *, now: datetime, lifted_at: datetime | None) -> datetime:
    """Since when soft bounces count: within the window, and after a person last lifted a suppression of the address."""
    start = now - timedelta(days=settings.soft_bounce_days)
    return start if lifted_at is None else max(start, lifted_at)


def too_many(
    history: Iterable[End], settings: OrganisationSettings, *, now: datetime, lifted_at: datetime | None
) -> str | None:
    """The sentence that says why the address is suppressed for soft bounces; None when it is not."""
    if not settings.soft_bounces:
        return None
    ends = streak(history, now=now, since=window(settings, now=now, lifted_at=lifted_at))
    if len(ends) < settings.soft_bounces:
        return None
    return (
        f"{len(ends)} soft bounces in a row from {ends[-1].at:%Y-%m-%d} to {ends[0].at:%Y-%m-%d}, nothing arrived in between;"
        f" the last said: {ends[0].said}"
    )
