"""The journal of each organisation: numbers without a gap, in the order in which things became true, and readers that miss nothing (K9)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import make_url

from mailrelay.errors import Conflict
from mailrelay.ids import OrgId
from mailrelay.model.event import EventType
from mailrelay.store import events, followers, schema
from mailrelay.store.base import Bell, Bells, Store, Tx
from mailrelay.store.postgres import PostgresStore
from mailrelay.store.tables import event, event_counter
from mailrelay.store.visibility import Viewer
from tests.store.explain import AnyStore
from tests.support import factory
from tests.support.clock import FakeClock

ORGS = tuple(OrgId(f"O{number}") for number in range(4))


@pytest.fixture(params=["sqlite", "postgresql"])
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sequence[Store]]:
    """Processes on one database: one on SQLite, three on PostgreSQL."""
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            yield [await stack.enter_async_context(factory.open_store(tmp_path))]
            return
        url = request.getfixturevalue("postgres_url")
        stores = [PostgresStore(url, writers=8) for _ in range(3)]
        for one in stores:
            stack.push_async_callback(one.close)
        yield stores


def happen(tx: Tx, clock: FakeClock, org: OrgId, what: str, *, number: int = 1) -> None:
    for at in range(number):
        events.append(tx, org=org, at=clock.now(), type=EventType.RECORD_CHANGED, data={"what": what, "at": str(at)})


async def journal(store: Store, org: OrgId) -> list[tuple[int, str]]:
    found = await store.read(events.after, org, 0, limit=100_000)
    return [(one.seq, dict(one.data)["what"]) for one in found]


async def test_fifty_writers_leave_no_gap_whatever_is_rolled_back(nodes: Sequence[Store], clock: FakeClock) -> None:
    kept: dict[OrgId, list[str]] = {org: [] for org in ORGS}

    async def work(writer: int) -> None:
        dice = random.Random(writer)
        for turn in range(12):
            orgs = dice.sample(
                ORGS, dice.randint(1, 3)
            )  # in any order: two may want the same counters the other way round
            what, fails, number = f"{writer}/{turn}", dice.random() < 0.3, dice.randint(1, 3)

            def write(
                tx: Tx, orgs: list[OrgId] = orgs, what: str = what, fails: bool = fails, number: int = number
            ) -> None:
                for org in orgs:
                    happen(tx, clock, org, what, number=number)
                if fails:
                    raise Conflict("nothing of it is kept")

            try:
                await dice.choice(nodes).write(write)
            except Conflict:
                continue
            for org in orgs:
                kept[org] += [what] * number

    await asyncio.gather(*(work(writer) for writer in range(50)))
    for org in ORGS:
        found = await journal(nodes[0], org)
        assert [seq for seq, _ in found] == list(range(1, len(kept[org]) + 1))
        assert sorted(what for _, what in found) == sorted(kept[org])
        assert await nodes[0].read(events.newest, org) == len(found)


async def test_a_reader_from_a_cursor_never_skips_what_is_being_written(
    nodes: Sequence[Store], clock: FakeClock
) -> None:
    org, viewer = ORGS[0], Viewer(org=ORGS[0], all=True)
    seen: list[int] = []
    ended = asyncio.Event()

    async def read(node: Store) -> None:
        at = 0
        while True:
            last = ended.is_set()
            found = await node.read(events.stretch, viewer, at, limit=7)
            seen.extend(one.seq for one in found.events)
            assert [one.seq for one in found.events] == list(range(at + 1, found.upto + 1))
            at = found.upto
            if last and at == found.newest:
                return

    async def write(writer: int) -> None:
        dice = random.Random(writer)
        for _ in range(20):
            await dice.choice(nodes).write(happen, clock, org, str(writer), number=dice.randint(1, 4))

    reading = asyncio.create_task(read(nodes[-1]))
    await asyncio.gather(*(write(writer) for writer in range(20)))
    ended.set()
    await reading
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) == await nodes[0].read(events.newest, org)


async def test_what_one_writes_after_it_heard_of_another_comes_after_it(
    nodes: Sequence[Store], clock: FakeClock
) -> None:
    for number in range(20):
        await nodes[number % len(nodes)].write(happen, clock, ORGS[0], f"{number:02}")
    assert [what for _, what in await journal(nodes[0], ORGS[0])] == [f"{number:02}" for number in range(20)]


async def test_a_transaction_keeps_the_order_of_what_happened_in_it(store: AnyStore, clock: FakeClock) -> None:
    def write(tx: Tx) -> None:
        for number in range(5):
            for org in (ORGS[1], ORGS[0]):
                happen(tx, clock, org, str(number))

    await store.write(write)
    for org in ORGS[:2]:
        assert await journal(store, org) == [(number + 1, str(number)) for number in range(5)]


async def test_followers_come_forward_and_never_back(store: AnyStore, clock: FakeClock) -> None:
    await store.write(happen, clock, ORGS[0], "x", number=3)
    await store.write(happen, clock, ORGS[1], "x", number=5)
    assert await store.read(followers.behind, "w", limit=10) == [ORGS[1], ORGS[0]]
    await store.write(followers.advance, "w", ORGS[1], 5)
    await store.write(followers.advance, "w", ORGS[1], 2)
    assert await store.read(followers.position, "w", ORGS[1]) == 5
    assert await store.read(followers.behind, "w", limit=10) == [ORGS[0]]
    assert await store.read(followers.behind, "another", limit=1) == [ORGS[1]]


async def test_two_nodes_with_one_follower_deal_with_each_event_once(nodes: Sequence[Store], clock: FakeClock) -> None:
    org = ORGS[0]
    await nodes[0].write(happen, clock, org, "x", number=200)

    def step(tx: Tx) -> list[int]:
        at = followers.claim(tx, "w", org)
        found = [one.seq for one in events.after(tx, org, at, limit=7)]
        if found:
            followers.advance(tx, "w", org, found[-1])
        return found

    async def follow(node: Store) -> list[int]:
        seen: list[int] = []
        while found := await node.write(step):
            seen += found
        return seen

    seen = await asyncio.gather(*(follow(nodes[number % len(nodes)]) for number in range(6)))
    assert sorted(one for each in seen for one in each) == list(range(1, 201))


async def test_everybody_who_listens_hears_a_ring_and_only_their_own() -> None:
    bells = Bells()
    with (
        bells.listening(Bell.EVENTS, "O1") as one,
        bells.listening(Bell.EVENTS) as every,
        bells.listening(Bell.EVENTS, "O2") as other,
    ):
        bells.ring({(Bell.EVENTS, "O1")})
        assert await one.heard(timeout=0.01)
        assert await every.heard(timeout=0.01)
        assert not await other.heard(timeout=0.01)
        assert not await one.heard(timeout=0.01)
    bells.ring({(Bell.EVENTS, "O1")})
    assert not bells._listeners


async def test_a_commit_rings_for_the_organisations_whose_journal_grew(store: AnyStore, clock: FakeClock) -> None:
    with store.bells.listening(Bell.EVENTS, ORGS[0]) as one, store.bells.listening(Bell.EVENTS, ORGS[1]) as other:
        await store.write(happen, clock, ORGS[0], "x")
        assert await one.heard(timeout=1)
        assert not await other.heard(timeout=0.05)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_an_upgrade_numbers_what_there_is_by_organisation_in_its_order(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if database == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path / 'old.db'}", connect_args={"isolation_level": None})
    else:
        url = make_url(request.getfixturevalue("postgres_url")).set(drivername="postgresql+psycopg")
        engine = create_engine(url)
    with engine.begin() as connection:
        if database == "postgresql":
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        config = Config()
        config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    insert = (
        "INSERT INTO event (org, at, type, queue_id, message, delivery, data)"
        " VALUES (:org, :at, 'message.filed', :queue, :message, '', '{\"reason\": \"x\"}')"
    )
    with engine.begin() as connection:
        for number in range(10):
            org = "OA" if number % 3 else "OB"
            row = {"org": org, "at": number, "queue": f"Q{number}", "message": f"M{number}"}
            connection.execute(text(insert), row)
        connection.execute(text("DELETE FROM event WHERE at = 4"))  # there may be gaps: of what was rolled back
    schema.migrate(engine)
    with engine.connect() as connection:
        found = connection.execute(
            select(event.c.org, event.c.seq, event.c.at, event.c.data).order_by("org", "seq")
        ).all()
        counters = dict(connection.execute(select(event_counter.c.org, event_counter.c.last)).all())
    engine.dispose()
    assert [(row.org, row.seq, row.at) for row in found] == [
        *(("OA", number + 1, at) for number, at in enumerate((1, 2, 5, 7, 8))),
        *(("OB", number + 1, at) for number, at in enumerate((0, 3, 6, 9))),
    ]
    assert counters == {"OA": 5, "OB": 4}
