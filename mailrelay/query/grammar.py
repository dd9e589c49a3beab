"""Text → tree, by recursive descent. What is wrong is said with its column and with what could stand there.

The grammar stands in docs/find.md, where a test parses every example.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from typing import Final

from mailrelay.query.tree import (
    SYNONYMS,
    Before,
    Both,
    Comparison,
    Count,
    Either,
    Group,
    Moment,
    Near,
    Never,
    Node,
    Not,
    Period,
    Query,
    Range,
    Said,
    Side,
    Test,
    Text,
    Unit,
    When,
    Within,
    Word,
)

LONGEST: Final = 4_000
"""Characters of a query."""
DEEPEST: Final = 20
MOST_CONDITIONS: Final = 50
MOST_VALUES: Final = 200
_LARGEST_NUMBER = 100_000
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<sign><=|>=|!=|[=<>(),])|(?P<word>[^\s()"',=<>!]+)|(?P<bad>\S))""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NAME = re.compile(r"[^\W\d][\w]*")
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_SIGNS = {one.value: one for one in Comparison if not one.value[0].isalpha()}
_WORDS = {str(word): word for word in Word} | SYNONYMS
_UNITS = {str(unit): unit for unit in Unit} | {f"{unit}s": unit for unit in Unit}
_NEAR = {"today": Near(0), "yesterday": Near(-1), "tomorrow": Near(1)}
_SIDES = {str(side): side for side in Side}
_WHEN = ("today", "yesterday", "tomorrow", "this", "last", "next", "within", "in", "since", "before")
_WHEN_TOO = ("after", "until", "on", "between", "more", "less")
_RESERVED = frozenset({"and", "or", "not", "never", "where"})


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


def parse(text: str) -> Query:
    """The tree of a query. Raises BadQuery."""
    if len(text) > LONGEST:
        raise BadQuery(LONGEST + 1, f"a query has {LONGEST} characters at most; this one has {len(text)}")
    return _Parser(text).query()


@dataclass(frozen=True, slots=True)
class _Token:
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


def _tokens(text: str) -> Iterator[_Token]:
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
        yield _Token(kind, value, column)
    yield _Token("end", "", len(text.rstrip()) + 1)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._place = 0
        self._depth = 0
        self._conditions = 0

    # --- tokens ---

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _after(self, steps: int = 1) -> _Token:
        return self._tokens[min(self._place + steps, len(self._tokens) - 1)]

    def _take(self) -> _Token:
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

    # --- conditions ---

    def query(self) -> Query:
        module = self._module()
        where = None
        if self._word("where"):
            where = self._either()
        if self._next.kind != "end":
            possible = [*_AFTER, *_WHEN, *_WHEN_TOO, "at", "exactly"] if where is not None else ["where"]
            raise self._expected("'and', 'or' or the end" if where is not None else "'where' or the end", possible)
        return Query(module=module, where=where)

    def _module(self) -> Text:
        """All words before `where`: labels have several."""
        first = self._next
        words: list[str] = []
        while self._next.kind in ("word", "text") and self._next.lower != "where":
            if words and meant(self._next.lower, ["where"]):
                raise self._expected("'where'", ["where"])
            words.append(self._take().value)
        if not words:
            raise self._expected("a module, such as contacts or deals")
        return Text(" ".join(words), first.column)

    def _either(self) -> Node:
        parts = [self._both()]
        while self._word("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self) -> Node:
        parts = [self._one()]
        while self._word("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _one(self) -> Node:
        token = self._next
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadQuery(token.column, f"this is nested more than {DEEPEST} deep")
        try:
            if self._word("not"):
                return Not(self._one())
            if self._sign("("):
                inner = self._either()
                if not self._sign(")"):
                    raise self._expected("'and', 'or' or ')'", [*_AFTER, *_WHEN, *_WHEN_TOO])
                return Group(inner)
            return self._condition()
        finally:
            self._depth -= 1

    def _condition(self) -> Node:
        token = self._next
        self._conditions += 1
        if self._conditions > MOST_CONDITIONS:
            raise BadQuery(token.column, f"a query has {MOST_CONDITIONS} conditions at most")
        if self._word("never"):
            if self._next.lower not in _WORDS:
                raise self._expected("a word of mail after 'never', such as opened", _WORDS)
            return Never(self._said())
        if token.lower in _WORDS and not self._compares(self._after()):
            return self._said()
        if token.kind == "text" or (token.kind == "word" and token.lower not in _RESERVED):
            return self._test()
        raise self._expected('a condition, such as opened or name = "…"', [*_WORDS, "not", "never"])

    def _compares(self, token: _Token) -> bool:
        """A field may be called like a word of mail: then it is compared."""
        if token.kind == "sign":
            return token.value in _SIGNS
        return token.lower in ("contains", "starts", "is") or (token.lower == "in" and self._after(2).value == "(")

    def _said(self) -> Said:
        token = self._take()
        word = _WORDS[token.lower]
        hard = None
        if self._next.lower in ("hard", "soft"):
            if word is not Word.BOUNCED:
                raise BadQuery(self._next.column, f"only 'bounced' is hard or soft, not {token.value!r}")
            hard = self._take().lower == "hard"
        link = ""
        if self._next.kind == "text":
            if word is not Word.CLICKED:
                raise BadQuery(self._next.column, f"only 'clicked' takes a part of a link, not {token.value!r}")
            link = self._take().value
        count = self._count()
        if count is not None and word not in (Word.OPENED, Word.CLICKED):
            raise BadQuery(count.column, f"only 'opened' and 'clicked' are counted, not {token.value!r}")
        when = self._when()
        if count is not None and (when is not None or link):
            raise BadQuery(count.column, "how often is counted of all its time and links; leave the time or link out")
        return Said(word=word, column=token.column, hard=hard, link=link, count=count, when=when)

    def _count(self) -> Count | None:
        column = self._next.column
        if self._word("once"):
            return Count(least=1, most=1, column=column)
        if self._word("twice"):
            return Count(least=2, most=2, column=column)
        start = self._place
        how = self._next.lower
        if how == "exactly":
            self._take()
        elif how in ("at", "more", "fewer", "less"):
            self._take()
            if how == "at":
                how = self._next.lower
                if not self._word("least", "most"):
                    raise self._expected("'least' or 'most'", ["least", "most"])
            else:
                self._need("than")
        else:
            return None
        # `more than 3 days ago` begins like `more than 3 times`.
        if how in ("more", "less") and self._after().lower not in ("times", "time"):
            self._place = start
            return None
        number = self._number()
        if not self._word("times", "time"):
            raise self._expected("'times'", ["times"])
        least, most = {
            "least": (number, None),
            "most": (1, number),
            "exactly": (number, number),
            "more": (number + 1, None),
        }.get(how, (1, number - 1))
        if least < 1 or (most is not None and most < 1):
            raise BadQuery(column, "what is counted happened once at least; say 'never', or 'not'")
        return Count(least=least, most=most, column=column)

    # --- fields ---

    def _test(self) -> Test:
        token = self._take()
        if token.kind == "word" and not _NAME.fullmatch(token.value):
            raise BadQuery(token.column, f"expected a condition, found {token}")
        field = Text(token.value, token.column, quoted=token.kind == "text")
        following = self._next
        if following.kind == "sign" and following.value in _SIGNS:
            self._take()
            return Test(field=field, comparison=_SIGNS[following.value], values=(self._value(),))
        if self._word("contains"):
            return Test(field=field, comparison=Comparison.CONTAINS, values=(self._value(),))
        if self._word("starts"):
            self._need("with")
            return Test(field=field, comparison=Comparison.STARTS, values=(self._value(),))
        if self._word("is"):
            opposite = self._word("not")
            if self._word("empty"):
                return Test(field=field, comparison=Comparison.FILLED if opposite else Comparison.EMPTY)
            comparison = Comparison.UNEQUAL if opposite else Comparison.EQUAL
            return Test(field=field, comparison=comparison, values=(self._value("'empty' or a value"),))
        if following.lower == "in" and self._after().value == "(":
            return Test(field=field, comparison=Comparison.IN, values=tuple(self._values()))
        when = self._when()
        if when is not None:
            return Test(field=field, comparison=Comparison.WHEN, when=when)
        if (
            following.kind == "end"
            or following.lower in _AFTER
            or (following.value == ")" and following.kind == "sign")
        ):
            return Test(field=field, comparison=Comparison.TRUE)
        possible = ("contains", "starts", "is", *_WHEN, *_WHEN_TOO)
        raise self._expected(
            f"what {token.value} is compared with: =, <, in (…), contains, is empty, this month", possible
        )

    def _values(self) -> Iterator[Text]:
        self._need("in")
        self._sign("(")
        for number in range(1, MOST_VALUES + 2):
            if number > MOST_VALUES:
                raise BadQuery(self._next.column, f"a list has {MOST_VALUES} values at most")
            yield self._value()
            if self._sign(")"):
                return
            if not self._sign(","):
                raise self._expected("',' or ')'")

    def _value(self, what: str = "a value") -> Text:
        token = self._next
        if token.kind == "text" or (token.kind == "word" and token.lower not in _RESERVED):
            self._take()
            return Text(token.value, token.column, quoted=token.kind == "text")
        hint = "; put it in quotation marks" if token.kind == "word" else ""
        raise BadQuery(token.column, f"expected {what}, found {token}{hint}")

    # --- time ---

    def _when(self) -> When | None:
        word = self._next.lower
        if word in _NEAR:
            self._take()
            return _NEAR[word]
        if word in _SIDES:
            return self._period()
        if word in ("within", "in"):
            return self._within()
        if word in ("more", "less"):
            return self._ago()
        if word not in ("since", "before", "after", "until", "on", "between"):
            return None
        self._take()
        moment = self._moment()
        match word:
            case "since":
                return Range(start=moment)
            case "after":
                return Range(start=moment, since_its_end=True)
            case "before":
                return Range(end=moment)
            case "until":
                return Range(end=moment, inclusive=True)
            case "on":
                return Range(start=moment, end=moment, inclusive=True)
        self._need("and", "'and' and the end of the time")
        return Range(start=moment, end=self._moment(), inclusive=True)

    def _period(self) -> When:
        column = self._next.column
        side = _SIDES[self._take().lower]
        if side is not Side.HERE and _NUMBER.fullmatch(self._next.value):
            return Within(side, *self._span(), column=column)
        if self._next.lower.endswith("s") and self._next.lower in _UNITS:
            raise self._expected(f"one {_UNITS[self._next.lower]}, or a number before it")
        return Period(side, self._unit())

    def _within(self) -> Within:
        token = self._take()
        if token.lower == "in":
            self._need("the", "'(' and values, or 'the last 3 days'")
        else:
            self._word("the")
        side = Side.HERE
        if self._next.lower in ("last", "next"):
            side = _SIDES[self._take().lower]
        elif token.lower == "in":
            raise self._expected("'last' or 'next'", ["last", "next"])
        if self._next.lower in _UNITS and side is not Side.HERE:
            return Within(side, 1, self._unit(), column=token.column)
        return Within(side, *self._span(), column=token.column)

    def _ago(self) -> When:
        more = self._take().lower == "more"
        self._need("than")
        ago = Before(*self._span())
        self._need("ago")
        return Range(end=ago) if more else Range(start=ago, end=Before(0, ago.unit), inclusive=True)

    def _moment(self) -> Moment:
        token = self._next
        if token.lower in _NEAR:
            self._take()
            return _NEAR[token.lower]
        if _NUMBER.fullmatch(token.value) and token.kind == "word":
            ago = Before(*self._span())
            self._need("ago")
            return ago
        if token.kind != "end":
            try:
                if _DAY.fullmatch(token.value):
                    moment: Moment = date.fromisoformat(token.value)
                    self._take()
                    return moment
                if _INSTANT.fullmatch(token.value.upper()):
                    moment = datetime.fromisoformat(token.value.upper())
                    self._take()
                    return moment
            except ValueError:
                raise BadQuery(token.column, f"there is no day or time {token.value}") from None
        raise self._expected("a day or time, such as 2026-11-01, 2026-11-01T08:00, yesterday or 3 days ago", _NEAR)

    def _span(self) -> tuple[int, Unit]:
        return self._number(), self._unit()

    def _number(self) -> int:
        token = self._next
        if token.kind != "word" or not _NUMBER.fullmatch(token.value):
            raise self._expected("a number")
        if int(token.value) > _LARGEST_NUMBER:
            raise BadQuery(token.column, f"a number here is {_LARGEST_NUMBER} at most")
        return int(self._take().value)

    def _unit(self) -> Unit:
        if self._next.lower not in _UNITS:
            raise self._expected("a unit of time: minutes, hours, days, weeks, months, quarters, years", _UNITS)
        return _UNITS[self._take().lower]


_AFTER = frozenset({"and", "or"})
