"""Which allowance, which day, when it begins anew, and the sentence (O6, O7, A12)."""

# ruff: noqa: DTZ001 (wall times have no zone)

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.model.envelope import Channel
from mailrelay.model.quota import Quota, QuotaKind
from mailrelay.model.settings import OrganisationSettings, Plan
from mailrelay.outbound.policy.quota import allowance, day_of, kind, refusal, resets_at

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})).map(ZoneInfo)
MOMENTS = st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("plan", "users", "expected"),
    [
        *((Plan.PAID, users, 300 * users) for users in (0, 1, 7, 400)),
        *((Plan.FREE, users, 50 * users) for users in (0, 1, 3, 4)),
        *((Plan.FREE, users, 200) for users in (5, 100)),
    ],
)
def test_single_mail_is_by_plan_and_users(plan: Plan, users: int, expected: int) -> None:
    assert allowance(QuotaKind.SINGLE, OrganisationSettings(plan=plan), users) == expected


@pytest.mark.parametrize(
    ("quota", "add_on", "expected"), [(250, 0, 250), (500, 0, 500), (1000, 1250, 2250), (1000, 2250, 2250)]
)
def test_mass_mail_is_by_plan_and_add_on_whoever_the_users_are(quota: int, add_on: int, expected: int) -> None:
    assert allowance(QuotaKind.MASS, OrganisationSettings(mass_quota=quota, mass_add_on=add_on), 1) == expected


def test_jobs_schedules_and_answers_are_mass() -> None:
    for channel in (Channel.API, Channel.SUBMISSION):
        assert kind(channel, job="", scheduled=False) is QuotaKind.SINGLE
        assert kind(channel, job="spring", scheduled=False) is QuotaKind.MASS
        assert kind(channel, job="", scheduled=True) is QuotaKind.MASS
    for channel in (Channel.MASS, Channel.AUTORESPONDER, Channel.NOTICE):
        assert kind(channel, job="", scheduled=False) is QuotaKind.MASS


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 11, 22), 24)],
)
def test_a_day_lasts_as_long_as_the_calendar_says(day: date, hours: int) -> None:
    begins = datetime(day.year, day.month, day.day, tzinfo=BERLIN).astimezone(UTC)
    ends = resets_at(begins, BERLIN)
    assert ends.astimezone(UTC) - begins == timedelta(hours=hours)
    for minutes in range(0, hours * 60, 15):
        at = begins + timedelta(minutes=minutes)
        assert day_of(at, BERLIN) == day
        assert resets_at(at, BERLIN) == ends
    assert day_of(begins - timedelta(microseconds=1), BERLIN) == day - timedelta(days=1)
    assert day_of(ends, BERLIN) == day + timedelta(days=1)


@pytest.mark.parametrize(
    ("zone", "at", "expected"),
    [
        ("America/Havana", "2026-03-08T04:59:00+00:00", "2026-03-08T01:00:00-04:00"),  # midnight is skipped
        ("Africa/Cairo", "2026-04-23T20:00:00+00:00", "2026-04-24T01:00:00+03:00"),
        ("America/Havana", "2026-10-31T20:00:00+00:00", "2026-11-01T00:00:00-04:00"),  # midnight comes twice
        ("America/Goose_Bay", "2010-11-07T02:30:00+00:00", "2010-11-07T00:00:00-03:00"),  # so does the hour before it
        ("America/Goose_Bay", "2010-11-07T03:30:00+00:00", "2010-11-07T00:00:00-04:00"),
        ("Pacific/Apia", "2011-12-30T05:00:00+00:00", "2011-12-31T00:00:00+14:00"),  # a day is left out
    ],
)
def test_midnights_that_are_skipped_or_come_twice(zone: str, at: str, expected: str) -> None:
    assert resets_at(datetime.fromisoformat(at), ZoneInfo(zone)).isoformat() == expected


@given(zone=ZONES, at=MOMENTS)
def test_a_day_ends_at_the_first_moment_of_another(zone: ZoneInfo, at: datetime) -> None:
    ends = resets_at(at, zone)
    assert at < ends <= at + timedelta(hours=49)
    assert ends.tzinfo is zone
    assert day_of(ends, zone) > day_of(at, zone)
    assert day_of(ends.astimezone(UTC) - timedelta(microseconds=1), zone) == day_of(at, zone)


NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def quota(used: int, *, day: date = date(2026, 11, 22)) -> Quota:
    resets = datetime(day.year, day.month, day.day, tzinfo=BERLIN) + timedelta(days=1)
    return Quota(kind=QuotaKind.SINGLE, day=day, limit=300, used=used, resets_at=resets)


def test_fault_a12_the_sentence_says_the_limit_what_is_used_and_when_it_begins_anew() -> None:
    spent = refusal(quota(295), asked=10, now=NOW)
    assert str(spent) == (
        "The quota of 300 recipients of single mail a day has 5 left (295 are used), and this mail has 10 recipients; "
        "it begins anew at 2026-11-23 00:00 Europe/Berlin (UTC+0100)"
    )
    assert (spent.limit, spent.used, spent.asked, spent.retry_after) == (300, 295, 10, 13 * 3600)
    assert (spent.reply.code, str(spent.reply.status), spent.reply.lines) == (452, "4.7.1", (str(spent),))


def test_a_day_to_come_is_named_and_waiting_is_not_advised() -> None:
    spent = refusal(quota(300, day=date(2026, 12, 1)), asked=1, now=NOW)
    assert str(spent) == (
        "The quota of 300 recipients of single mail a day has 0 left on 2026-12-01 (300 are used), and this mail has 1 recipient; "
        "choose another day; the next begins at 2026-12-02 00:00 Europe/Berlin (UTC+0100)"
    )
    assert spent.retry_after is None


def test_a_limit_lowered_below_what_is_used_leaves_nothing() -> None:
    assert quota(400).left == 0
    assert "has 0 left (400 are used)" in str(refusal(quota(400), asked=1, now=NOW))
    # Never "again in 0 s", which would come at once.
    assert refusal(quota(300), asked=1, now=quota(0).resets_at - timedelta(microseconds=1)).retry_after == 1
