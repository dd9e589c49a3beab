"""Which allowance a submission takes from, on which day, and what is said when it is used up (O6, O7, A12).

A unit is one recipient of one mail. Mass is what belongs to a job, is scheduled, or is an automatic answer; the rest is single mail.
Our own notices to authors take from nothing. A day is what the calendar says where the organisation is, however long it lasts; what
was counted on it stays counted, so that a clock that goes back gives nothing anew (Q01).
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from mailrelay.errors import QuotaSpent
from mailrelay.model.envelope import Channel
from mailrelay.model.quota import Quota, QuotaKind
from mailrelay.model.settings import OrganisationSettings, Plan
from mailrelay.outbound.policy.schedule import moment

MOST_MASS = 2250
"""O7: what the add-on can bring mass mail to."""
_PAID_A_USER = 300
_FREE_A_USER = 50
_FREE_USERS = 4
_ANSWERS = frozenset({Channel.MASS, Channel.AUTORESPONDER, Channel.NOTICE})


def kind(channel: Channel, *, job: str, scheduled: bool) -> QuotaKind:
    """O7: mass mail, autoresponders and schedules count together."""
    return QuotaKind.MASS if job or scheduled or channel in _ANSWERS else QuotaKind.SINGLE


def allowance(what: QuotaKind, settings: OrganisationSettings, users: int) -> int:
    """Units a day; `users` are those active and confirmed."""
    if what is QuotaKind.MASS:
        return min(settings.mass_quota + settings.mass_add_on, MOST_MASS)
    if settings.plan is Plan.FREE:
        return _FREE_A_USER * min(users, _FREE_USERS)  # from four users on it is 200
    return _PAID_A_USER * users


def day_of(at: datetime, zone: ZoneInfo) -> date:
    """The day that counts at a moment."""
    return at.astimezone(zone).date()


def resets_at(at: datetime, zone: ZoneInfo) -> datetime:
    """When the day of a moment is over: the first moment after it that is of the next day, aware, in `zone`."""
    midnight = datetime.combine(day_of(at, zone) + timedelta(days=1), time())
    over = moment(midnight, zone)
    if over <= at:
        # Clocks were put back over midnight: the day came again, and ends a second time.
        over = midnight.replace(tzinfo=zone, fold=1)
    return over.astimezone(zone)


def refusal(quota: Quota, *, asked: int, now: datetime) -> QuotaSpent:
    """The error for a mail to `asked` recipients that `quota` has too little left for, to be raised."""
    day = quota.resets_at
    today = quota.day <= day_of(now, _zone(quota))
    recipients = f"{asked} recipient" if asked == 1 else f"{asked} recipients"
    said = (
        f"The quota of {quota.limit} recipients of {quota.kind} mail a day has {quota.left} left"
        f"{'' if today else f' on {quota.day}'} ({quota.used} are used), and this mail has {recipients}"
    )
    over = f"{day:%Y-%m-%d %H:%M} {_zone(quota).key} ({day:UTC%z})"
    then = f"it begins anew at {over}" if today else f"choose another day; the next begins at {over}"
    return QuotaSpent(
        f"{said}; {then}",
        kind=quota.kind,
        day=quota.day,
        limit=quota.limit,
        used=quota.used,
        asked=asked,
        resets_at=day,
        # Waiting does not help with a day that has not begun.
        retry_after=max(1, -(-(day - now) // timedelta(seconds=1))) if today else None,
    )


def _zone(quota: Quota) -> ZoneInfo:
    zone = quota.resets_at.tzinfo
    assert isinstance(zone, ZoneInfo)  # noqa: S101 (`resets_at` made it)
    return zone
