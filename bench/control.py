"""A queue of a million, looked into and acted on: what each question costs, on SQLite and on PostgreSQL (R3).

`python -m bench control [--rows 1000000]`. Times are the median of nine, in milliseconds; what an insert costs with the indexes that
these questions need is measured beside one without, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.config.schema import BrakeLevels
from mailrelay.ids import IdFactory, OrgId
from mailrelay.model.delivery import IN_FLIGHT_DELIVERIES, DeliveryState, DeliveryStatus
from mailrelay.model.operation import Control, Selection
from mailrelay.outbound import control
from mailrelay.outbound.operate import advance
from mailrelay.store import operations, schema, selections
from mailrelay.store.base import Tx
from mailrelay.store.postgres import PostgresStore
from mailrelay.store.sqlite import SqliteStore
from mailrelay.store.tables import delivery
from tests.support import postgres

AnyStore = SqliteStore | PostgresStore
ORG = OrgId("O1")
_OURS = ("by_state", "by_destination", "by_sender", "by_sender_domain")
_ROUNDS = 9
_BATCH = 10_000


def rows(number: int, *, end: datetime, domains: int = 1000) -> Iterator[dict[str, Any]]:
    """Deliveries over ten days up to `end`: four of five in one job, one of a hundred deferred, one of a thousand held by hand."""
    chance = random.Random(1)
    begin = end - timedelta(days=10)
    now = [begin]
    ids = IdFactory(lambda: now[0], chance.getrandbits)
    for at in range(number):
        now[0] = begin + (end - begin) * at / number
        micros = int(now[0].timestamp() * 1_000_000)
        state = DeliveryState.HELD if at % 1000 == 0 else DeliveryState.QUEUED
        domain = "gmail.test" if at % 3 else f"d{at % domains}.test"
        sender = "news@acme.test" if at % 5 else f"user{at % 500}@small{at % 50}.test"
        yield {
            "id": ids.delivery(),
            "org": ORG,
            "message": f"M{at // 10}",
            "queue_id": f"Q{at // 10}",
            "channel": "api",
            "mail_from": sender,
            "params": {},
            "recipient": {"address": {"local": f"r{at}", "domain": domain}, "notify": [], "orcpt": None},
            "recipient_key": f"r{at}@{domain}",
            "destination": domain,
            "state": state,
            "digest": "0" * 64,
            "size": 2000,
            "created_at": micros,
            "due_at": micros,
            "expires_at": micros + 432_000_000_000,
            "attempts": int(at % 100 == 1),
            "job": "spring" if at % 5 else "",
            "sender_domain": sender.partition("@")[2],
            "held_by": "hand" if state is DeliveryState.HELD else "",
        }


async def fill(store: AnyStore, number: int, *, end: datetime) -> float:
    """Put so many there; seconds that the database took."""
    spent = 0.0
    each = rows(number, end=end)
    while batch := list(itertools.islice(each, _BATCH)):
        began = time.perf_counter()
        await store.write(_insert, batch)
        spent += time.perf_counter() - began
    return spent


def _insert(tx: Tx, batch: list[dict[str, Any]]) -> None:
    tx.execute(insert(delivery), batch)


def _say(tx: Tx, words: str) -> None:
    tx.execute(text(words))


async def timed(ask: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds of the median run."""
    spent = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        await ask()
        spent.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(spent), 2)


def questions(now: datetime) -> Mapping[str, Selection]:
    """What people ask at 3 a.m."""
    flying = Selection(states=IN_FLIGHT_DELIVERIES)
    deferred = frozenset({DeliveryStatus.DEFERRED})
    return {
        "in flight": flying,
        "queued": replace(flying, states=frozenset({DeliveryState.QUEUED})),
        "deferred": replace(flying, statuses=deferred),
        "held by hand": Selection(held_by="hand"),
        "poison (none)": Selection(held_by="poison"),
        "large destination": replace(flying, destination="gmail.test"),
        "small destination": replace(flying, destination="d3.test"),
        "unknown destination": replace(flying, destination="nowhere.test"),
        "large sender": replace(flying, sender="news@acme.test"),
        "small sender": replace(flying, sender="user5@small5.test"),
        "sender domain": replace(flying, sender="small5.test"),
        "job": replace(flying, job="spring"),
        "recipient": replace(flying, recipient="r500000@gmail.test"),
        "message": replace(flying, message=f"M{5000}"),  # type: ignore[arg-type]
        "older than 9 days": replace(flying, created_before=now - timedelta(days=9)),
        "job and small destination": replace(flying, job="spring", destination="d3.test"),
        "large destination and small sender": replace(flying, destination="gmail.test", sender="user5@small5.test"),
        "large destination, deferred": replace(flying, destination="gmail.test", statuses=deferred),
        "large destination, held by nobody": replace(flying, destination="gmail.test", held_by="poison"),
        "large sender and destination, scheduled (none)": replace(
            flying,
            sender="news@acme.test",
            destination="gmail.test",
            states=frozenset({DeliveryState.SCHEDULED}),
        ),
    }


async def measure(store: AnyStore, number: int) -> list[dict[str, Any]]:
    """A record for each question: the first page, one from the middle, a count; and for each control what a step costs."""
    now = datetime.now(UTC)
    found: list[dict[str, Any]] = [
        {"what": "insert, seconds", "rows": number, "s": round(await fill(store, number, end=now), 1)}
    ]
    if isinstance(store, PostgresStore):
        await store.write(_say, "ANALYZE")
    some = (
        await store.read(selections.find, ORG, Selection(created_before=now - timedelta(days=5)), limit=1)
    ).deliveries
    for what, selection in questions(now).items():
        page = await timed(lambda: store.read(selections.find, ORG, selection, limit=100))  # noqa: B023
        oldest = await timed(lambda: store.read(selections.find, ORG, selection, oldest_first=True, limit=100))  # noqa: B023
        middle = await timed(lambda: store.read(selections.find, ORG, selection, after=some[0].id, limit=100))  # noqa: B023
        counted = await store.read(selections.count, ORG, selection)
        count = await timed(lambda: store.read(selections.count, ORG, selection))  # noqa: B023
        number_ = f"{counted.number}{'' if counted.complete else '+'}"
        found.append({"what": what, "page": page, "oldest": oldest, "middle": middle, "count": count, "is": number_})
    clock = Clock()
    ids = IdFactory(clock.now)
    for what, one in (
        ("hold", (Control.HOLD, Selection(sender="news@acme.test"))),
        ("release", (Control.RELEASE, Selection(held_by="hand"))),
        ("retry", (Control.RETRY, Selection(destination="gmail.test"))),
        ("cancel", (Control.CANCEL, Selection(job="spring"))),
        ("bounce", (Control.BOUNCE, Selection(sender="small5.test"))),
    ):
        spent = []
        operation = await store.write(
            operations.begin, ids.operation(), ORG, *one, reason="", again=False, by="bench", at=clock.now()
        )
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            after = await store.write(advance, operation.id, at=clock.now(), brakes=BrakeLevels())
            spent.append((time.perf_counter() - began) * 1000)
            if after is None or after.ended_at is not None:
                break
        found.append({"what": f"{what}: a step of {control.STEP}", "ms": round(statistics.median(spent), 1)})
    return found


async def inserts(make: Callable[[], Awaitable[AnyStore]], *, number: int = 30_000) -> dict[str, Any]:
    """What the indexes of these questions add to an insert, in microseconds."""
    cost: dict[bool, list[float]] = {True: [], False: []}
    for ours in (True, False) * 3:
        store = await make()
        if not ours:
            for name in _OURS:
                await store.write(_say, f"DROP INDEX ix_delivery_{name}")
        cost[ours].append(await fill(store, number, end=datetime.now(UTC)) / number * 1_000_000)
        await store.close()
    return {
        "what": "insert, µs",
        **{name: round(min(cost[ours]), 1) for name, ours in (("with", True), ("without", False))},
    }


def run(options: argparse.Namespace, keep: Callable[[dict[str, Any]], None]) -> None:
    """The benchmark; each record is kept as soon as it is there."""
    asyncio.run(_run(options, keep))


async def _run(options: argparse.Namespace, keep: Callable[[dict[str, Any]], None]) -> None:
    log.configure(level="error")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as databases:
        for database, fresh in (("sqlite", _sqlite(Path(folder))), ("postgresql", _postgres(Path(folder), databases))):
            keep({"database": database, **await inserts(fresh)})
            store = await fresh()
            for one in await measure(store, options.rows):
                keep({"database": database, "rows": options.rows, **one})
            await store.close()


def _sqlite(folder: Path) -> Callable[[], Awaitable[AnyStore]]:
    number = itertools.count()

    async def fresh() -> AnyStore:
        store = SqliteStore(folder / f"{next(number)}.db")
        schema.migrate(store.engine)
        return store

    return fresh


def _postgres(folder: Path, databases: ExitStack) -> Callable[[], Awaitable[AnyStore]]:
    async def fresh() -> AnyStore:
        return PostgresStore(databases.enter_context(postgres.database(postgres.server(folder))))

    return fresh
