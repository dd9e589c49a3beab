"""Asks what pure code wants to know: a dialogue yields questions, a resolver answers them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mailrelay.model.lookup import Answer, Dialogue, Question

T = TypeVar("T")


class Resolver(Protocol):
    """Answers questions; many may be under way at once."""

    async def resolve(self, question: Question) -> Answer:
        """The answer. A failure is `LookupStatus.TEMPORARY` with its detail, never an exception."""
        ...


@dataclass(frozen=True, slots=True)
class _Finished(Generic[T]):
    result: T


def _step(dialogue: Dialogue[T], answer: Answer | None) -> Question | _Finished[T]:
    # StopIteration cannot leave a coroutine or a Future, so it ends here.
    try:
        return next(dialogue) if answer is None else dialogue.send(answer)
    except StopIteration as stop:
        return _Finished(stop.value)


async def ask(dialogue: Dialogue[T], resolver: Resolver, *, threaded: bool = False) -> T:
    """Run `dialogue` to its end and return its result; what it raises passes through.

    With `threaded`, the dialogue's own steps run on a worker thread: for those that hash megabytes between questions.
    """
    answer: Answer | None = None
    while True:
        step = await asyncio.to_thread(_step, dialogue, answer) if threaded else _step(dialogue, answer)
        if isinstance(step, _Finished):
            return step.result
        answer = await resolver.resolve(step)
