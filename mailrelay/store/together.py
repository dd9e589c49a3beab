"""Questions that many ask of the store at once go as one: what a group commit is to writes, this is to reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from mailrelay.store.base import Store, Tx

Q = TypeVar("Q")
A = TypeVar("A")

_MOST = 16


def one_by_one(read: Callable[[Tx, Q], A]) -> Callable[[Tx, Sequence[Q]], list[A]]:
    """`read` for each of several questions in one transaction, once for those who ask the same. They must be hashable."""

    def read_all(tx: Tx, questions: Sequence[Q]) -> list[A]:
        answers = {question: read(tx, question) for question in dict.fromkeys(questions)}
        return [answers[question] for question in questions]

    return read_all


class Together(Generic[Q, A]):
    """Asks `read` for those who ask while nothing is under way, or while the questions before theirs are."""

    def __init__(self, store: Store, read: Callable[[Tx, Sequence[Q]], Sequence[A]]) -> None:
        """`read` gives an answer to each of its questions, in their order."""
        self._store = store
        self._read = read
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer. Raises what `read` raises for this question alone, or StoreBusy."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="together")
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            await self._answer(batch)

    async def _answer(self, batch: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._store.read(self._read, [question for question, _ in batch])
        except Exception as error:  # noqa: BLE001 (it belongs to who asked)
            if len(batch) > 1:
                for one in batch:
                    await self._answer([one])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, waiting), answer in zip(batch, answers, strict=True):
            if not waiting.done():  # cancelled
                waiting.set_result(answer)
