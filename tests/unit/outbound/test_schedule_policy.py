"""A wall time and a zone become the one moment that is meant, whatever the clocks do (O5, Q02)."""

# ruff: noqa: DTZ001, DTZ901 (wall times have no zone)

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mailrelay.errors import Invalid
from mailrelay.model.schedule import Preset, Wish
from mailrelay.outbound.policy.schedule import moment, offers, read_at, resolve

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
YEAR = timedelta(days=366)
ZONES = st.sampled_from(sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})).map(ZoneInfo)


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("zone", "wall", "expected"),
    [
        ("Europe/Berlin", (2026, 12, 1, 8), utc(2026, 12, 1, 7)),
        ("Europe/Berlin", (2026, 7, 1, 8), utc(2026, 7, 1, 6)),
        ("Europe/Berlin", (2026, 3, 29, 2, 30), utc(2026, 3, 29, 1)),  # skipped: 3:00, the first moment after the gap
        ("Europe/Berlin", (2026, 3, 29, 2), utc(2026, 3, 29, 1)),
        ("Europe/Berlin", (2026, 3, 29, 1, 59), utc(2026, 3, 29, 0, 59)),
        ("Europe/Berlin", (2026, 10, 25, 2, 30), utc(2026, 10, 25, 0, 30)),  # twice: the first of the two
        ("Australia/Lord_Howe", (2026, 10, 4, 2, 15), utc(2026, 10, 3, 15, 30)),  # half an hour
        ("America/Toronto", (1919, 3, 31, 0, 0), utc(1919, 3, 31, 4, 30)),  # a gap over midnight
        ("Pacific/Apia", (2011, 12, 30, 12), utc(2011, 12, 30, 10)),  # a day that was left out
        ("Asia/Kathmandu", (2038, 1, 19, 8, 59), utc(2038, 1, 19, 3, 14)),
        ("Europe/Berlin", (2038, 1, 20, 8), utc(2038, 1, 20, 7)),
        ("Europe/Berlin", (2100, 2, 28, 8), utc(2100, 2, 28, 7)),
        ("Europe/Berlin", (2100, 7, 1, 8), utc(2100, 7, 1, 6)),
    ],
)
def test_fault_q02_a_wall_time_is_one_moment(zone: str, wall: tuple[int, ...], expected: datetime) -> None:
    assert moment(datetime(*wall), ZoneInfo(zone)) == expected  # type: ignore[arg-type]


@given(
    zone=ZONES,
    wall=st.datetimes(datetime(1975, 1, 1), datetime(2100, 12, 31)),
)
def test_fault_q02_no_earlier_moment_shows_the_time_or_a_later_one_by_going_forward(
    zone: ZoneInfo, wall: datetime
) -> None:
    found = moment(wall, zone)
    shown = found.astimezone(zone).replace(tzinfo=None)
    assert shown >= wall
    if shown != wall:  # in a gap: a moment before, it was not that late yet
        before = (found - timedelta(microseconds=1)).astimezone(zone).replace(tzinfo=None)
        assert before < wall < shown
    else:
        assert moment(wall.replace(fold=1), zone) == found


@given(zone=ZONES, at=st.datetimes(datetime(1975, 1, 1), datetime(2100, 12, 31)))
def test_what_clocks_show_leads_back_to_the_moment_or_the_first_of_two(zone: ZoneInfo, at: datetime) -> None:
    instant = at.replace(tzinfo=UTC)
    shown = instant.astimezone(zone)
    found = moment(shown.replace(tzinfo=None, fold=0), zone)
    assert found == instant if not shown.fold else found < instant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01T08:00", datetime(2026, 12, 1, 8)),
        ("2026-12-01 08:00:30", datetime(2026, 12, 1, 8, 0, 30)),
        ("2026-12-01T08:00:00Z", utc(2026, 12, 1, 8)),
        ("2026-12-01t08:00:00.25z", utc(2026, 12, 1, 8, 0, 0, 250_000)),
        ("2026-12-01T08:00:00+01:00", utc(2026, 12, 1, 7)),
        ("2026-12-31T23:59:60Z", utc(2027, 1, 1)),  # a leap second
    ],
)
def test_a_time_is_read(text: str, expected: datetime) -> None:
    found = read_at(text)
    assert found == expected
    assert (found.tzinfo is None) == (expected.tzinfo is None)


@pytest.mark.parametrize(
    "text",
    [
        *("", "tomorrow", "2026-12-01", "2026-13-01T08:00", "2026-02-30T08:00", "2026-12-01T24:00", "2026-12-01T8:00"),
        *("20261201T080000", "2026-W49-2T08:00", "2026-12-01T08:00+1", "2026-12-01T08:00 Europe/Berlin", "９" * 16),
        *("9999-12-31T23:59:60", "2026-12-01T08:60", "0000-01-01T00:00", "2026-12-01T08:00:60.5.5"),
    ],
)
def test_what_is_no_time_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time such as 2026-12-01T08:00"):
        read_at(text)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    try:
        found = read_at(text)
    except ValueError:
        return
    assert read_at(found.isoformat()) == found


NOW = utc(2026, 11, 22, 10)  # a Sunday, 11:00 in Berlin


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (Preset.THIS_EVENING, utc(2026, 11, 22, 17)),
        (Preset.TOMORROW_MORNING, utc(2026, 11, 23, 7)),
        (Preset.TOMORROW_EVENING, utc(2026, 11, 23, 19)),
        (Preset.MONDAY_MORNING, utc(2026, 11, 23, 7)),
    ],
)
def test_a_preset_is_a_time_where_its_author_is(preset: Preset, expected: datetime) -> None:
    assert resolve(Wish(preset=preset), zone=BERLIN, now=NOW, ahead=YEAR).due_at == expected


def test_a_preset_follows_the_zone_that_is_said() -> None:
    plan = resolve(Wish(preset=Preset.THIS_EVENING, zone=NEW_YORK), zone=BERLIN, now=NOW, ahead=YEAR)
    assert (plan.due_at, plan.zone) == (utc(2026, 11, 22, 23), NEW_YORK)


def test_this_evening_says_so_when_it_is_over_and_monday_is_the_next_one() -> None:
    with pytest.raises(Invalid, match="This evening was at 2026-11-22 18:00 Europe/Berlin; take another preset") as bad:
        resolve(Wish(preset=Preset.THIS_EVENING), zone=BERLIN, now=utc(2026, 11, 22, 17), ahead=YEAR)
    assert bad.value.path == "schedule.preset"
    monday = utc(2026, 11, 23, 5)
    assert resolve(Wish(preset=Preset.MONDAY_MORNING), zone=BERLIN, now=monday, ahead=YEAR).due_at == utc(
        2026, 11, 30, 7
    )


def test_presets_over_both_changes_of_clocks() -> None:
    before_spring = utc(2026, 3, 28, 12)
    plan = resolve(Wish(preset=Preset.TOMORROW_MORNING), zone=BERLIN, now=before_spring, ahead=YEAR)
    assert plan.due_at == utc(2026, 3, 29, 6)
    before_winter = utc(2026, 10, 24, 12)
    plan = resolve(Wish(preset=Preset.TOMORROW_MORNING), zone=BERLIN, now=before_winter, ahead=YEAR)
    assert plan.due_at == utc(2026, 10, 25, 7)


def test_offers_say_what_is_over() -> None:
    found = {one.preset: one for one in offers(BERLIN, utc(2026, 11, 22, 18))}
    assert [one for one in Preset if found[one].passed] == [Preset.THIS_EVENING]
    assert found[Preset.TOMORROW_MORNING].at.isoformat() == "2026-11-23T08:00:00+01:00"


def test_a_time_within_the_last_minute_is_now_and_an_earlier_one_is_over() -> None:
    assert resolve(Wish(at=NOW - timedelta(minutes=1)), zone=BERLIN, now=NOW, ahead=YEAR).due_at == NOW
    with pytest.raises(
        Invalid, match="2026-11-22 10:58 Europe/Berlin is over; it is 2026-11-22 11:00 Europe/Berlin now"
    ):
        resolve(Wish(at=NOW - timedelta(minutes=1, seconds=1)), zone=BERLIN, now=NOW, ahead=YEAR)


def test_what_is_too_far_ahead_is_told_until_when_it_goes() -> None:
    assert resolve(Wish(at=NOW + YEAR), zone=BERLIN, now=NOW, ahead=YEAR).due_at == NOW + YEAR
    with pytest.raises(Invalid, match="can be scheduled until 2027-11-23 11:00 Europe/Berlin"):
        resolve(Wish(at=NOW + YEAR + timedelta(seconds=1)), zone=BERLIN, now=NOW, ahead=YEAR)


@pytest.mark.parametrize("at", [datetime.max, datetime.min, datetime.max.replace(tzinfo=ZoneInfo("Etc/GMT+12"))])
def test_the_ends_of_the_calendar_are_refused_not_a_fault(at: datetime) -> None:
    for zone in ("Etc/GMT+12", "Etc/GMT-14", "UTC"):
        with pytest.raises(Invalid):
            resolve(Wish(at=at), zone=ZoneInfo(zone), now=NOW, ahead=YEAR)


def test_what_was_to_come_when_it_was_said_is_not_over_when_its_content_is_here() -> None:
    said = NOW - timedelta(minutes=5)
    for wish in (Wish(at=said + timedelta(seconds=10), said_at=said), Wish(hold=timedelta(seconds=10), said_at=said)):
        assert resolve(wish, zone=BERLIN, now=NOW, ahead=YEAR).due_at == NOW
    later = Wish(hold=timedelta(hours=1), said_at=said)
    assert resolve(later, zone=BERLIN, now=NOW, ahead=YEAR).due_at == NOW + timedelta(minutes=55)
    assert str(later) == str(Wish(hold=timedelta(hours=1), said_at=NOW))  # the same request again


def test_a_wish_for_nothing_is_refused() -> None:
    with pytest.raises(Invalid, match="needs a time"):
        resolve(Wish(), zone=BERLIN, now=NOW, ahead=YEAR)


@given(zone=ZONES, now=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), preset=st.sampled_from(Preset))
def test_a_preset_is_never_over_nor_more_than_a_week_and_a_bit_ahead(
    zone: ZoneInfo, now: datetime, preset: Preset
) -> None:
    at = now.replace(tzinfo=UTC)
    try:
        plan = resolve(Wish(preset=preset), zone=zone, now=at, ahead=YEAR)
    except Invalid:
        assume(preset is not Preset.THIS_EVENING)
        raise
    assert at < plan.due_at < at + timedelta(days=8, hours=2)
    assert plan.due_at.astimezone(zone).time() in (time(8), time(18), time(20))


def test_dates_are_those_of_the_zone() -> None:
    # 23:30 in Berlin is the next day in Kiritimati.
    plan = resolve(
        Wish(preset=Preset.TOMORROW_MORNING),
        zone=ZoneInfo("Pacific/Kiritimati"),
        now=utc(2026, 11, 22, 22, 30),
        ahead=YEAR,
    )
    assert plan.due_at.astimezone(ZoneInfo("Pacific/Kiritimati")).date() == date(2026, 11, 24)
