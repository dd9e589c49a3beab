"""The store: transactions are functions `(tx, …)` that run on a writer or a reader, never with the network in between.

`await store.write(queue.claim, node=…)` returns what the function returned, once it is durable. A write may be run twice (the
batch it was in was rolled back, or PostgreSQL asked for a retry), so a function's only effects are on its `tx`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Table, text
from sqlalchemy.dialects import postgresql, sqlite

P = ParamSpec("P")
R = TypeVar("R")

InsertInto = Callable[[Table], postgresql.Insert | sqlite.Insert]
"""The INSERT of one of the databases, which knows ON CONFLICT."""


class Bell(StrEnum):
    """What a committed transaction may ring for, so that a service need not wait for its next poll."""

    FILING = "filing"  # an arrival is due
    QUEUE = "queue"  # a delivery is due
    CONTROL = "control"  # somebody asked for something to be done to many deliveries
    ENDED = "ended"  # somebody ended an address of a record
    WEBHOOKS = "webhooks"  # a webhook has something due
    EVENTS = "events"  # the journal has grown; rung for each organisation by itself


Ring = Bell | tuple[Bell, str]
"""A bell, or a bell of one organisation."""


class Tx:
    """One transaction, as the functions of this package see it."""

    __slots__ = ("_afterwards", "_last", "connection", "dialect", "rung", "secrets")

    def __init__(self, connection: Connection, secrets: Sequence[bytes] = (b"",)) -> None:
        self.connection = connection
        self.secrets = secrets
        """The installation's, the one of today first: who was erased is known by them alone (T13)."""
        self.dialect = connection.dialect.name
        self.rung: set[Ring] = set()
        self._last: dict[Callable[[Tx, list[Any]], None], list[Any]] = {}
        self._afterwards: list[Callable[[], object]] = []

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run a statement, or the same statement for a sequence of parameters."""
        return self.connection.execute(statement, parameters)

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that knows ON CONFLICT: `tx.insert(t).values(…).on_conflict_do_nothing()` on both databases."""
        return postgresql.insert(table) if self.dialect == "postgresql" else sqlite.insert(table)

    def steady(self) -> None:
        """Have nothing that this transaction reads and then changes be changed by others in between: to be called first.

        SQLite has one writer. PostgreSQL runs the transaction again where another one was first.
        """
        if self.dialect == "postgresql":
            self.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))

    def last(self, write: Callable[[Tx, list[R]], None], item: R) -> None:
        """Have `write` called at the end of this transaction, once, with every item that was given for it, in their order.

        For what is only ever added to and not read in a transaction: the journal, the ledger. A group commit then writes the
        rows of all its mails with one statement.
        """
        self._last.setdefault(write, []).append(item)

    def finish(self) -> None:
        """Write what was left for the end; the store calls it before it commits.

        In an order that is the same for all transactions, so that two that lock rows of several tables here never wait for each
        other.
        """
        while self._last:
            write = min(self._last, key=lambda one: (one.__module__, one.__qualname__))
            write(self, self._last.pop(write))

    def afterwards(self, tell: Callable[[], object]) -> None:
        """Call `tell` once this transaction is durable, and not when it is rolled back: for what counts and logs."""
        self._afterwards.append(tell)

    def committed(self) -> None:
        """Do what was left for afterwards; the store calls it behind the commit, in the thread that committed. Never raises."""
        for tell in self._afterwards:
            # A log that cannot be written (a full disk, a closed pipe) must not undo what is durable, nor end the writer.
            with suppress(Exception):
                tell()

    def ring(self, bell: Bell, org: str = "") -> None:
        """Ring once this transaction is durable; with an organisation, for those who listen for it and for all."""
        self.rung.add((bell, org) if org else bell)


def for_both(make: Callable[[InsertInto], Executable]) -> Mapping[str, Executable]:
    """A statement with ON CONFLICT, built once: `tx.execute(_PUT[tx.dialect], rows)`. `make` gets the INSERT of a database.

    Building such a statement takes longer than running it.
    """
    return {"postgresql": make(postgresql.insert), "sqlite": make(sqlite.insert)}


class Listener:
    """One of many who wait for a bell: each ring wakes all of them, and one that comes while nobody waits is not lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake it; to be called in the event loop."""
        self._event.set()

    async def heard(self, *, timeout: float) -> bool:  # noqa: ASYNC109 (a pause, not a cancel)
        """Wait for a ring since the last one that was heard, or `timeout` seconds; True when it rang."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Bells:
    """In-process bells. They only shorten a wait: whoever waits polls as well, and a bell nobody hears is no loss."""

    def __init__(self) -> None:
        self._events: defaultdict[Bell, asyncio.Event] = defaultdict(asyncio.Event)
        self._listeners: defaultdict[Ring, set[Listener]] = defaultdict(set)

    def ring(self, bells: set[Ring]) -> None:
        """Wake whoever waits; to be called in the event loop."""
        for one in bells:
            bell = one[0] if isinstance(one, tuple) else one
            self._events[bell].set()
            for name in {one, bell}:
                for listener in self._listeners.get(name, ()):
                    listener.ring()

    async def heard(self, bell: Bell, *, timeout: float) -> bool:  # noqa: ASYNC109 (a pause, not a cancel)
        """Wait for the bell or `timeout` seconds; True when it rang. One ring wakes one waiter."""
        event = self._events[bell]
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            return False
        event.clear()
        return True

    @contextmanager
    def listening(self, bell: Bell, org: str = "") -> Iterator[Listener]:
        """A listener whom every ring wakes while this lasts, with an organisation only its own.

        `with bells.listening(Bell.EVENTS, org) as bell:` look; `await bell.heard(timeout=…)`; look again: nothing is missed.
        """
        name: Ring = (bell, org) if org else bell
        listener = Listener()
        self._listeners[name].add(listener)
        try:
            yield listener
        finally:
            self._listeners[name].discard(listener)
            if not self._listeners[name]:
                del self._listeners[name]


class Store(Protocol):
    """A database."""

    bells: Bells

    async def read(self, fn: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn(tx, …)` on a reader, in one snapshot. Raises what it raises, StoreBusy (a closed store too), or StoreDamaged."""
        ...

    async def write(self, fn: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn(tx, …)` in a transaction and return once it is durable.

        Raises what `fn` raises (nothing of it is kept then), StoreBusy, DiskFull, or StoreDamaged.
        """
        ...

    async def close(self) -> None:
        """Finish what was handed in and let the database go."""
        ...
