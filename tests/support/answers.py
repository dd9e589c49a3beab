"""Answers to a dialogue out of a dict, for tests of pure code: no server, no loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from mailrelay.model.lookup import Answer, Dialogue, LookupStatus, MxRecord, Question, RecordType

T = TypeVar("T")


def ask_sync(dialogue: Dialogue[T], answers: Callable[[Question], Answer]) -> T:
    """Run `dialogue` to its end, each question answered by `answers`."""
    try:
        question = next(dialogue)
        while True:
            question = dialogue.send(answers(question))
    except StopIteration as stop:
        result: T = stop.value
        return result


class Zone:
    """Answers by (type, name); any other name does not exist. `asked` holds the questions in order."""

    def __init__(self, records: Mapping[tuple[str, str], str | bytes | list[str] | Answer]) -> None:
        self._answers = {
            Question(RecordType(kind), name): _answer(kind, what) for (kind, name), what in records.items()
        }
        self._names = {question.name for question in self._answers}
        self.asked: list[Question] = []

    def __call__(self, question: Question) -> Answer:
        self.asked.append(question)
        empty = LookupStatus.EMPTY if question.name in self._names else LookupStatus.NO_NAME
        return self._answers.get(question, Answer(empty))


FAILED = Answer(LookupStatus.TEMPORARY, detail="no answer in time")


def _answer(kind: str, what: str | bytes | list[str] | Answer) -> Answer:
    if isinstance(what, Answer):
        return what
    if isinstance(what, bytes):
        return Answer(LookupStatus.FOUND, strings=(what,))
    texts = [what] if isinstance(what, str) else what
    if kind == "TXT":
        return Answer(LookupStatus.FOUND, strings=tuple(text.encode() for text in texts))
    if kind == "MX":
        return Answer(LookupStatus.FOUND, mx=tuple(MxRecord(10, host) for host in texts))
    return Answer(LookupStatus.FOUND, texts=tuple(texts))
