"""What the queue costs as it grows: claim, settle, enqueue, list and count with 1,000 to 1,000,000 deliveries in it (Q08).

`python -m bench queue [--rows 1000000]`. Milliseconds, the median of fifteen; `ratio` is the cost at this size by that at the first.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.ids import DeliveryId, Digest, IdFactory, MessageId, NodeId, OrgId, QueueId
from mailrelay.model.address import Address
from mailrelay.model.delivery import Deferred, Delivery, DeliveryState, Stage
from mailrelay.model.envelope import Channel, EnvelopeRecipient, MailParams
from mailrelay.model.message import BlobRef
from mailrelay.model.reply import reply
from mailrelay.store import deliveries, delivery_counts, destinations, ledger, queue, schema
from mailrelay.store.postgres import PostgresStore
from mailrelay.store.queue import Settlement
from mailrelay.store.sqlite import SqliteStore
from tests.support import postgres
from tests.support.many import multiply

AnyStore = SqliteStore | PostgresStore
_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_ROUNDS = 15
_NODE = NodeId("bench")
_LATER = Deferred(reply=reply(451, "4.2.0", "later"), stage=Stage.RCPT)


class _Queue:
    def __init__(self, store: AnyStore) -> None:
        self.store = store
        self.clock = Clock()
        self.ids = IdFactory(self.clock.now)
        self.rows = 0

    def new(self, number: int) -> list[Delivery]:
        now = self.clock.now()
        return [
            Delivery(
                id=self.ids.delivery(),
                org=OrgId("O1"),
                message=MessageId("M1"),
                queue_id=QueueId("Q1"),
                channel=Channel.API,
                mail_from=Address("anna", "a.test"),
                params=MailParams(),
                recipient=EnvelopeRecipient(address=Address(f"bob{n}", "b.test")),
                state=DeliveryState.QUEUED,
                raw=BlobRef(digest=Digest("0" * 64), size=2000),
                created_at=now,
                due_at=now,
                expires_at=now + timedelta(days=5),
                attempts=0,
                last_reply="",
                lease=None,
            )
            for n in range(number)
        ]

    async def grow(self, size: int) -> None:
        """Until so many are in it, over a thousand destinations."""
        (original,) = self.new(1)
        await self.store.write(queue.enqueue, [original])
        number = size - self.rows
        await self.store.write(multiply, DeliveryId(original.id), number, domains=1000, first=self.rows + 1)
        self.rows = size

    async def work(self) -> dict[str, float]:
        """What each costs now."""
        spent: dict[str, list[float]] = {}

        async def timed(what: str, doing: Callable[[], Awaitable[Any]]) -> Any:
            began = time.perf_counter()
            found = await doing()
            spent.setdefault(what, []).append((time.perf_counter() - began) * 1000)
            return found

        store = self.store
        for _ in range(_ROUNDS):
            now = self.clock.now()
            new = self.new(10)
            await timed("enqueue of 10", lambda: store.write(queue.enqueue, new))  # noqa: B023
            held = await timed(
                "claim of 50",
                lambda: store.write(
                    queue.claim,
                    node=_NODE,
                    now=now,  # noqa: B023
                    lease=timedelta(seconds=15),
                    limit=50,
                    chunk=10,
                ),
            )
            begun = await timed(
                "attempts of 50 begun",
                lambda: store.write(queue.begin_attempts, held, host="b.test", at=now),  # noqa: B023
            )
            ends = [
                Settlement(
                    held=one, state=DeliveryState.QUEUED, outcome=_LATER, host="h", due_at=now + timedelta(hours=1)
                )
                for one in begun
            ]
            await timed("50 settled", lambda: store.write(queue.settle, ends, at=now))  # noqa: B023
            await timed("page of 100", lambda: store.read(deliveries.list_deliveries, OrgId("O1")))
            await timed("look at 200 destinations", lambda: store.read(_look, now))  # noqa: B023
        for _ in range(5):
            await timed("counts for the metrics", lambda: store.read(delivery_counts.status_counts))
            await timed("balance for the metrics", lambda: store.read(ledger.balance))
        return {what: round(statistics.median(each), 2) for what, each in spent.items()}


def _look(tx: Any, now: Any) -> object:
    return destinations.look(tx, after="", now=now, longest=timedelta(hours=5))


async def _measure(name: str, store: AnyStore, most: int) -> list[dict[str, Any]]:
    waiting = _Queue(store)
    found: list[dict[str, Any]] = []
    first: dict[str, float] = {}
    for size in (one for one in _SIZES if one <= most):
        began = time.perf_counter()
        await waiting.grow(size)
        built = time.perf_counter() - began
        if isinstance(store, PostgresStore):
            await store.write(lambda tx: tx.connection.exec_driver_sql("ANALYZE"))
        costs = await waiting.work()
        first = first or costs
        found += [
            {"database": name, "rows": size, "what": what, "ms": ms, "ratio": round(ms / first[what], 2)}
            for what, ms in costs.items()
        ]
        found.append({"database": name, "rows": size, "what": "built, seconds", "s": round(built, 1)})
    return found


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The benchmark."""
    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> list[dict[str, Any]]:
    log.configure(level="error")
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as databases:
        embedded = SqliteStore(Path(folder) / "queue.db")
        schema.migrate(embedded.engine)
        server = PostgresStore(databases.enter_context(postgres.database(postgres.server(Path(folder)))))
        for name, store in (("sqlite", embedded), ("postgresql", server)):
            found += await _measure(name, store, options.rows)
            await store.close()
    return found
