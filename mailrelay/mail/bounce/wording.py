"""Sentences of mail systems, compared word by word, so that what is told apart is what they say and not how they print it.

A text becomes plain words: lower case, without accents, HTML, addresses, host names, numbers, and the little words (`is`, `the`,
`has been`) that one system writes and another leaves out. A pattern is a line of such words: `a|b` is either, `a?` may be missing,
`WHO` is any word of that class, ` * ` stands for up to eight words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

MAX_WORDS = 400
"""More of a text is not compared: what it means stands at its beginning."""
_GAP = 8
_NEVER = 10_000

_TAG = re.compile(
    r"</?(?:a|b|blockquote|body|br|code|div|em|font|h[1-6]|head|hr|html|i|img|li|meta|ol|p|pre|span|strong|table|tbody|td|th|title|tr|tt|u|ul)"
    r"(?:[\s/][^<>]{0,200})?>",
    re.IGNORECASE,
)
# The look-behind keeps it linear: a part is tried at its first character only.
_ADDRESS = re.compile(r"(?<![^\s<>\"'\[(:;,=])[^\s<>\"'\[(:;,=@]{1,320}@(?:(?!\.\.)[^\s<>\"')\],;:]){1,320}")
# Exchange has dots in its words. After a single slash stands a path, after two of them a host.
_HOST = re.compile(
    r"(?<![\w.-])(?<![^/]/)(?!(?:resolver|storedrv|queue|smtpsend)\.)(?:[\w-]{1,63}\.){1,10}[^\W\d_]{2,24}(?![\w.-]*\w)"
)
_LISTS = re.compile(
    r"spamhaus|spamcop|sorbs|barracudacentral|abuseat|surriel|uceprotect|manitu|mailspike|spamrats|abusix|invaluement|senderscore"
    r"|trustedsource|openspf|habeas|njabl|^spf\.|blackhole|spamcannibal|[a-z]bl\."
)
_GONE = re.compile(r"['\"]?\s{1,9}(?:does\s{1,9}not|doesn['\u2019]t)\s{1,9}exist")
_ORANGE = re.compile(r"\bofr\d{0,3}_(?=\d{3}\b)")
_WORD = re.compile(r"(?<![^\W_])[^\W\d_][^\W_]*(?:_\d{3})?")
# Where a text that does not part words goes on from one that does.
_CJK_EDGE = re.compile(r"(?<=[a-z])(?=[\u3040-\u9fff\uac00-\ud7a3])|(?<=[\u3040-\u9fff\uac00-\ud7a3])(?=[a-z])")
_NOT = re.compile(r"n['\u2019]t\b")
_MARKS = re.compile(r"[\u0300-\u036f]")
_FILLER = frozenset(
    (
        "a",
        "an",
        "and",
        "are",
        "be",
        "been",
        "being",
        "did",
        "do",
        "does",
        "had",
        "has",
        "is",
        "it",
        "its",
        "the",
        "was",
        "were",
    )
)
_ARTICLES = frozenset(("a", "an", "the"))
# Letters whose mark Unicode does not take off (Polish, Danish, Turkish, Croatian).
_STROKES = str.maketrans("łøıđ", "loid")
_SAME = {"cannot": ("can", "not"), "e": (), "s": (), "ca": ("can",), "wo": ("will",)}


def words(text: str) -> list[str]:
    """The plain words of a text, at most `MAX_WORDS`. Linear."""
    text = _ORANGE.sub("ofr_", _TAG.sub(" ", text.lower()))
    text = _HOST.sub(_named, _ADDRESS.sub(" ", text))
    text = _NOT.sub(" not", text)
    return list(islice(_plain(_without_marks(text)), MAX_WORDS))


def _without_marks(text: str) -> str:
    if text.isascii():
        return text
    text = _CJK_EDGE.sub(" ", text)
    return unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", text))).translate(_STROKES)


def _named(match: re.Match[str]) -> str:
    """A host name says nothing of a mail's fate, but for those of block lists, and where it is what does not exist."""
    if _GONE.match(match.string, match.end()):
        return " host "
    return " dnsbl " if _LISTS.search(match[0]) else " "


def _plain(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text):
        word = match[0]
        if word in _FILLER:
            continue
        if word in _SAME:
            yield from _SAME[word]
        else:
            yield word


Alternatives = frozenset[str]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of a group: runs of words, each word with its alternatives, that follow one another within a few words."""

    rank: int
    runs: tuple[tuple[Alternatives, ...], ...]


@dataclass(slots=True)
class Book:
    """Patterns of many groups, found by their first two words. `add` in order of rank; `find` gives the lowest rank."""

    classes: Mapping[str, str]
    """Words under a common name, written in capitals in a pattern."""
    _pairs: dict[tuple[str, str], list[Pattern]] = field(default_factory=dict)
    _firsts: dict[str, list[Pattern]] = field(default_factory=dict)

    def add(self, rank: int, lines: str) -> None:
        """The patterns of a group, one a line. Raises ValueError for a line with a gap at an end, KeyError for an unknown class."""
        for line in lines.splitlines():
            for runs in _read(line, self.classes):
                pattern = Pattern(rank, runs)
                first = runs[0]
                if len(first) == 1:
                    for word in first[0]:
                        self._firsts.setdefault(word, []).append(pattern)
                    continue
                for pair in product(first[0], first[1]):
                    self._pairs.setdefault(pair, []).append(pattern)

    def find(self, text: Sequence[str]) -> int | None:
        """The lowest rank of which a pattern holds for these words, or None."""
        best = _NEVER
        for at, word in enumerate(text):
            for pattern in self._firsts.get(word, ()):
                if pattern.rank < best and _holds(pattern.runs, text, at, 1):
                    best = pattern.rank
            if at + 1 < len(text):
                for pattern in self._pairs.get((word, text[at + 1]), ()):
                    if pattern.rank < best and _holds(pattern.runs, text, at, 2):
                        best = pattern.rank
        return best if best < _NEVER else None

    def patterns(self) -> Iterator[Pattern]:
        """All that were added, some of them more than once."""
        for found in (*self._pairs.values(), *self._firsts.values()):
            yield from found


def _holds(runs: tuple[tuple[Alternatives, ...], ...], text: Sequence[str], at: int, known: int) -> bool:
    """Whether the runs follow one another from `at` on, where the first `known` words are known to be right."""
    if not _run(runs[0], text, at, known):
        return False
    at += len(runs[0])
    for run in runs[1:]:
        for start in range(at, min(at + _GAP, len(text)) + 1):
            if _run(run, text, start):
                at = start + len(run)
                break
        else:
            return False
    return True


def _run(run: tuple[Alternatives, ...], text: Sequence[str], at: int, known: int = 0) -> bool:
    if at + len(run) > len(text):
        return False
    for ahead in range(known, len(run)):  # noqa: SIM110 - all() costs three times as much
        if text[at + ahead] not in run[ahead]:
            return False
    return True


def _read(line: str, classes: Mapping[str, str]) -> Iterator[tuple[tuple[Alternatives, ...], ...]]:
    """The patterns that a line writes: one, or two for each word that may be missing."""
    parts = _without_marks(line).split()
    if not parts:
        return
    missing = [at for at, part in enumerate(parts) if part.endswith("?") or not _ARTICLES.isdisjoint(part.split("|"))]
    for left_out in product((False, True), repeat=len(missing)):
        skip = {at for at, out in zip(missing, left_out, strict=True) if out}
        kept = [part.rstrip("?") for at, part in enumerate(parts) if at not in skip]
        runs: list[list[Alternatives]] = [[]]
        for part in kept:
            if part == "*":
                runs.append([])
            elif either := frozenset(_alternatives(part, classes)) - _FILLER:
                runs[-1].append(either)
        if not all(runs):
            raise ValueError(f"a pattern needs words on both sides of a gap: {line!r}")
        yield tuple(tuple(run) for run in runs)


def _alternatives(part: str, classes: Mapping[str, str]) -> Iterator[str]:
    for word in part.split("|"):
        yield from classes[word].split() if word.isupper() else (word,)
