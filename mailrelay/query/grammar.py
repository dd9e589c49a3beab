"""Text → tree, by recursive descent. What is wrong is said with its column and with what could stand there.

The grammar stands in docs/find.md, where a test parses every example.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mailrelay.query.phrases import WHEN, TimeReader
from mailrelay.query.tokens import BadQuery, Token, meant
from mailrelay.query.tree import (
    SYNONYMS,
    Both,
    Comparison,
    Count,
    Either,
    Group,
    Never,
    Node,
    Not,
    Query,
    Said,
    Test,
    Text,
    Word,
)

LONGEST: Final = 4_000
"""Characters of a query."""
DEEPEST: Final = 20
MOST_CONDITIONS: Final = 50
MOST_VALUES: Final = 200
_NAME = re.compile(r"[^\W\d][\w]*")
_SIGNS = {one.value: one for one in Comparison if not one.value[0].isalpha()}
_WORDS = {str(word): word for word in Word} | SYNONYMS
_RESERVED = frozenset({"and", "or", "not", "never", "where"})
_AFTER = frozenset({"and", "or"})


def parse(text: str) -> Query:
    """The tree of a query. Raises BadQuery."""
    if len(text) > LONGEST:
        raise BadQuery(LONGEST + 1, f"a query has {LONGEST} characters at most; this one has {len(text)}")
    return _Parser(text).query()


class _Parser(TimeReader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._conditions = 0

    def query(self) -> Query:
        module = self._module()
        where = None
        if self._word("where"):
            where = self._either()
        if self._next.kind != "end":
            possible = [*_AFTER, *WHEN, "at", "exactly"] if where is not None else ["where"]
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
                    raise self._expected("'and', 'or' or ')'", [*_AFTER, *WHEN])
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

    def _compares(self, token: Token) -> bool:
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
        possible = ("contains", "starts", "is", *WHEN)
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
