"""Who is away or gone is noted by address, told once, and proposes a successor, on either database (I25)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mailrelay.ids import MessageId, UnresolvedId
from mailrelay.inbound import absence
from mailrelay.mail.away import Away, Instead
from mailrelay.model.absence import Absence
from mailrelay.model.envelope import Arrival
from mailrelay.model.event import Event, EventType
from mailrelay.smtp.address import parse_address
from mailrelay.store import absences, events
from mailrelay.store.base import Store
from tests.store.explain import AnyStore, watched
from tests.support import factory
from tests.support.clock import FakeClock
from tests.support.filing import Desk, mail, office

BERLIN = ZoneInfo("Europe/Berlin")
BOB = parse_address("Bob@customer.test")
ANN = Instead("Ann New", parse_address("Ann@customer.test"))
AWAY = Away(date(2026, 11, 20), date(2026, 11, 2), gone=False, instead=())
GONE = Away(None, None, gone=True, instead=(ANN,))


def noted(org: str, key: str, now: datetime, **more: object) -> Absence:
    one = Absence(
        org=org,  # type: ignore[arg-type]
        key=key,
        until=now + timedelta(days=7),
        since=None,
        gone=False,
        noted_at=now,
        message=MessageId("M1"),
        instead=(ANN,),
    )
    return replace(one, **more)  # type: ignore[arg-type]


async def test_the_newest_reply_counts_and_only_news_is_told(store: Store, clock: FakeClock) -> None:
    org, other = await factory.org(store, clock), await factory.org(store, clock)
    now = clock.now()
    first = noted(org.id, "bob@customer.test", now)
    assert await store.write(absences.note, first)
    assert await store.read(absences.of, org.id, ["bob@customer.test", "eve@customer.test"], now) == (first,)
    assert await store.read(absences.of, other.id, ["bob@customer.test"], now) == ()
    later = replace(first, noted_at=now + timedelta(hours=1), message=MessageId("M2"))
    assert not await store.write(absences.note, later)
    assert await store.read(absences.of, org.id, [first.key], now) == (later,)
    assert not await store.write(absences.note, replace(first, gone=True))
    longer = replace(later, until=now + timedelta(days=14))
    assert await store.write(absences.note, longer)
    assert await store.read(absences.list_absences, org.id) == (longer,)


async def test_absent_is_who_is_gone_or_away_now_until_a_known_day(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    now, day = clock.now(), timedelta(days=1)
    given = {
        "away": {"until": now + day},
        "back": {"until": now},
        "undated": {"until": None},
        "gone": {"until": None, "gone": True},
        "soon": {"until": now + 3 * day, "since": now + day},
    }
    for name, more in given.items():
        await store.write(absences.note, noted(org.id, f"{name}@customer.test", now, **more))
    keys = [f"{name}@customer.test" for name in given]
    for after, absent in ((0, {"away", "gone"}), (1, {"gone", "soon"}), (3, {"gone"})):
        found = await store.read(absences.of, org.id, keys, now + after * day)
        assert {one.key.partition("@")[0] for one in found} == absent


async def test_who_writes_again_is_there(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    await store.write(absences.note, noted(org.id, "bob@customer.test", clock.now()))
    assert await store.write(absences.clear, org.id, "bob@customer.test")
    assert not await store.write(absences.clear, org.id, "bob@customer.test")
    assert await store.read(absences.list_absences, org.id) == ()


async def test_the_list_is_paged_and_searched(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    keys = ["a%b@x.test", "a_b@x.test", "ab@y.test", "c@y.test"]
    for key in keys:
        await store.write(absences.note, noted(org.id, key, clock.now()))
    first = await store.read(absences.list_absences, org.id, limit=3)
    rest = await store.read(absences.list_absences, org.id, after=first[-1].key, limit=3)
    assert sorted(one.key for one in first + rest) == sorted(keys)
    for search, found in (("a_B", ["a_b@x.test"]), ("%", ["a%b@x.test"]), ("@y", ["ab@y.test", "c@y.test"])):
        assert [one.key for one in await store.read(absences.list_absences, org.id, search=search)] == found


async def test_each_is_proposed_once_in_the_place_of_each(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    first, second = UnresolvedId("X1"), UnresolvedId("X2")
    assert await store.write(absences.propose, org.id, BOB.key, ANN, first)
    assert not await store.write(absences.propose, org.id, BOB.key, replace(ANN, name="Other"), second)
    assert await store.write(absences.propose, org.id, "tom@customer.test", ANN, second)
    assert await store.read(absences.proposed, org.id, first) == (BOB.key, ANN)
    assert await store.read(absences.proposed, org.id, UnresolvedId("X3")) is None


async def test_the_statements_use_an_index(store: AnyStore, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    async with watched(store) as watch:
        await store.write(absences.note, noted(org.id, "bob@customer.test", clock.now()))
        await store.read(absences.of, org.id, ["bob@customer.test", "b"], clock.now())
        await store.read(absences.list_absences, org.id, after="a", search="b")
        await store.write(absences.propose, org.id, BOB.key, ANN, UnresolvedId("X1"))
        await store.read(absences.proposed, org.id, UnresolvedId("X1"))
        await store.write(absences.clear, org.id, "bob@customer.test")
    watch.check()


async def say(desk: Desk, away: Away, arrival: Arrival | None = None, zone: ZoneInfo = BERLIN) -> bool:
    arrival = arrival or await desk.post(mail(from_="anna@example.com", to="bob@customer.test"))
    return await desk.store.write(
        absence.note,
        org=desk.org.id,
        sender=BOB,
        away=away,
        message=MessageId(arrival.message or ""),
        arrival=arrival,
        ids=desk.ids,
        at=desk.clock.now(),
        zone=zone,
    )


async def told(desk: Desk) -> list[Event]:
    found = await desk.store.read(events.after, desk.org.id, 0, limit=1000)
    return [one for one in found if one.type in (EventType.ADDRESS_AWAY, EventType.ADDRESS_GONE)]


async def test_away_is_noted_from_midnight_of_the_organisation_and_told_once(store: Store, tmp_path: Path) -> None:
    async with office(tmp_path, store=store) as desk:
        await desk.record("contact/1", "bob@customer.test")
        assert await say(desk, AWAY)
        assert not await say(desk, AWAY)
        (one,) = await desk.store.read(absences.list_absences, desk.org.id)
        assert one.until == datetime(2026, 11, 19, 23, tzinfo=UTC)
        assert one.since == datetime(2026, 11, 1, 23, tzinfo=UTC)
        (event,) = await told(desk)
        assert event.type is EventType.ADDRESS_AWAY
        assert dict(event.data) == {"address": BOB.key, "until": "2026-11-20", "since": "2026-11-02"}
        assert await desk.waiting() == ()


async def test_gone_proposes_each_successor_once_for_ever(store: Store, tmp_path: Path) -> None:
    async with office(tmp_path, store=store) as desk:
        await desk.record("contact/1", "bob@customer.test", name="Bob Gone", owner=desk.anna)
        assert await say(desk, GONE)
        (entry,) = await desk.waiting()
        assert (entry.reason, entry.user) == ("gone", desk.anna.id)
        assert entry.explanation == "Bob Gone is no longer at customer.test; write to Ann New <Ann@customer.test>?"
        (event,) = await told(desk)
        assert event.type is EventType.ADDRESS_GONE
        assert dict(event.data) == {"address": BOB.key, "instead": "Ann New <Ann@customer.test>"}
        assert not await say(desk, GONE)
        assert await desk.store.write(absences.clear, desk.org.id, BOB.key)
        assert await say(desk, GONE)
        assert await desk.waiting() == (entry,)
        sue = Instead("", parse_address("sue@customer.test"))
        assert await say(desk, replace(GONE, instead=(ANN, sue)))
        assert len(await desk.waiting()) == 2
        assert await desk.is_balanced()


@pytest.mark.parametrize("known", ["ann@customer.test", "anna@home.test", "somebody@sales.example.com"])
async def test_who_is_known_or_a_colleague_is_not_proposed(store: Store, tmp_path: Path, known: str) -> None:
    async with office(tmp_path, store=store) as desk:
        await desk.record("lead/1", "ann@customer.test")
        assert await say(desk, replace(GONE, instead=(Instead("", parse_address(known)),)))
        assert await desk.waiting() == ()
        assert await told(desk)
