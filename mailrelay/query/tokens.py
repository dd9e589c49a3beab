"""Text → words, signs and quoted texts, each with its column; and what is wrong, said with the column."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<sign><=|>=|!=|[=<>(),])|(?P<word>[^\s()"',=<>!]+)|(?P<bad>\S))""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class BadQuery(ValueError):
    """What is wrong with a query, and the column, counted from 1, where."""

    def __init__(self, column: int, because: str) -> None:
        super().__init__(f"column {column}: {because}")
        self.column = column
        self.because = because


def meant(word: str, possible: Iterable[str]) -> str:
    """`; did you mean opened?`, or "" when nothing is near."""
    near = get_close_matches(word.lower(), sorted(set(possible)), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a query, and where it begins, counted from 1."""

    kind: str
    """`text`, `sign`, `word`, or `end`."""
    value: str
    column: int

    @property
    def lower(self) -> str:
        """A word as keywords are compared; "" for anything else."""
        return self.value.lower() if self.kind == "word" else ""

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.value[:40])


def _tokens(text: str) -> Iterator[Token]:
    place = 0
    while found := _TOKEN.match(text, place):
        place = found.end()
        kind = str(found.lastgroup)
        value, column = found[kind], found.start(kind) + 1
        if kind == "bad":
            because = "this quotation mark is never closed" if value in "\"'" else f"{value!r} means nothing here"
            raise BadQuery(column, because)
        if kind == "text":
            value = _ESCAPED.sub(r"\1", value[1:-1])
        yield Token(kind, value, column)
    yield Token("end", "", len(text.rstrip()) + 1)


class Reader:
    """Takes the words of a query one after the other."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._place = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _after(self, steps: int = 1) -> Token:
        return self._tokens[min(self._place + steps, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._next
        if token.kind != "end":
            self._place += 1
        return token

    def _word(self, *words: str) -> bool:
        """Take the next word if it is one of these."""
        if self._next.lower and self._next.lower in words:
            self._place += 1
            return True
        return False

    def _sign(self, sign: str) -> bool:
        if self._next.kind == "sign" and self._next.value == sign:
            self._place += 1
            return True
        return False

    def _expected(self, what: str, possible: Collection[str] = ()) -> BadQuery:
        token = self._next
        return BadQuery(token.column, f"expected {what}, found {token}{meant(token.lower, possible)}")

    def _need(self, word: str, what: str = "") -> None:
        if not self._word(word):
            raise self._expected(what or repr(word), [word])
