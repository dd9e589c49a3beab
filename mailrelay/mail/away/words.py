"""What a language's file says, and how its phrases become patterns (I25)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache

Phrases = tuple[str, ...]

_BEHIND = re.compile(r"(\(\?<![^)]*\))")


@dataclass(frozen=True, kw_only=True, eq=False)
class Words:
    """How one language speaks of days, of being away, of having left, and of whom to write to instead.

    Not slotted, because the patterns made of it are kept. All phrases are told from words that only contain them by `spaced`.
    """

    spaced: bool = True
    """Whether words are written apart; where not, a phrase is found anywhere."""
    months: tuple[Phrases, ...] = ()
    """Twelve, each with its abbreviations."""
    weekdays: tuple[Phrases, ...] = ()
    """Seven, Monday first, each with its abbreviations, the full name first."""
    ordinal: str = ""
    """What may follow a day's number: `st`, `er`, `º`."""
    before_month: str = ""
    """What may stand between a day and its month: `of`, `de`."""
    month_first: bool | None = False
    """Whether 11/12 is 12 November; None where it is written both ways."""
    dashed: bool = False
    """Whether 30-11 is a day; elsewhere it is a range."""
    ahead: dict[str, int] | None = None
    """Words for a day that is so many days ahead: `tomorrow`."""
    month_ends: Phrases = ()
    """What before a month means its last day: `end of`."""
    bare_months: bool = True
    """Whether a month's name alone can only be the month; not so for the English `may`."""

    away: Phrases
    """Words that say of somebody that he is away; without one in the sentence an `until` means something else."""
    back: Phrases
    """The day before or after is the first day back."""
    until: Phrases = ()
    """The day after is the first day back, or the last day away: `until` leaves that open, and the earlier is taken."""
    until_after: Phrases = ()
    """The day before is the first day back."""
    through: Phrases = ()
    """The day after is the last day away."""
    through_after: Phrases = ()
    """The day before is the last day away."""
    after: Phrases = ()
    """Directly before a day of return: it is the day after that one."""
    to: Phrases = ()
    """Between the first and the last day of a range."""
    since: Phrases = ()
    """Before the first day of a range."""
    begins: Phrases = ()
    """Before the first day away, also where no last one follows; none that may be the day of a mail, as `of` and `vom` are."""
    begins_after: Phrases = ()
    """Directly after it."""

    gone: Phrases
    """Somebody has left for good."""
    contact: Phrases
    """Somebody else can be written to; the address follows, or came just before."""
    closing: Phrases = ()
    """What ends a letter; an address below is the writer's own, and so is a name."""
    titles: Phrases = ()
    """Words that look like a name in front of an address and are not part of it; the name begins after them."""
    name: str = ""
    """Where names are not words with capitals: a pattern for what stands before an address, with the name as its group."""

    @cached_property
    def patterns(self) -> Patterns:
        """The phrases, compiled."""
        return Patterns(
            away=self._any(self.away),
            back=self._any(self.back),
            until=self._any(self.until),
            until_after=self._any(self.until_after),
            through=self._any(self.through),
            through_after=self._any(self.through_after),
            after=self._any(self.after),
            to=re.compile(rf"[-~]|{pattern(self.to, spaced=self.spaced)}", re.IGNORECASE),
            since=self._any(self.since),
            begins=self._any(self.begins),
            begins_after=self._any(self.begins_after),
            month_ends=self._any(self.month_ends),
            gone=self._any(self.gone),
            contact=self._any(self.contact),
            closing=self._any(self.closing),
            titles=self._any(self.titles),
            name=re.compile(self.name) if self.name else None,
        )

    def _any(self, phrases: Phrases) -> re.Pattern[str]:
        return re.compile(pattern(phrases, spaced=self.spaced), re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """`Words` as patterns for text that `plain` made."""

    away: re.Pattern[str]
    back: re.Pattern[str]
    until: re.Pattern[str]
    until_after: re.Pattern[str]
    through: re.Pattern[str]
    through_after: re.Pattern[str]
    after: re.Pattern[str]
    to: re.Pattern[str]
    since: re.Pattern[str]
    begins: re.Pattern[str]
    begins_after: re.Pattern[str]
    month_ends: re.Pattern[str]
    gone: re.Pattern[str]
    contact: re.Pattern[str]
    closing: re.Pattern[str]
    titles: re.Pattern[str]
    name: re.Pattern[str] | None


def pattern(phrases: Phrases, *, spaced: bool) -> str:
    """An alternation of the phrases, which matches nothing when there are none."""
    if not phrases:
        return r"(?!)"
    either = "|".join(_blanks(plain(phrase)) for phrase in sorted(phrases, key=len, reverse=True))
    return rf"(?<!\w)(?:{either})(?!\w)" if spaced else rf"(?:{either})"


def _blanks(phrase: str) -> str:
    # What is looked at behind must have one width.
    pieces = _BEHIND.split(phrase)
    return "".join(
        piece.replace(" ", r"\s") if at % 2 else piece.replace(" ?", r"\s{0,3}").replace(" ", r"\s{1,3}")
        for at, piece in enumerate(pieces)
    )


def plain(text: str) -> str:
    """`text` with every character in the form that is compared: without accents, ASCII digits and marks. As long as `text`."""
    return "".join(map(_plain, text))


_ALIKE = {
    **dict.fromkeys("‘’ʼ´`＇", "'"),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("〜～∼", "~"),
    "\u00a0": " ",
    "\u202f": " ",
    "\u3000": " ",
    "\t": " ",
}


@lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    if char in _ALIKE:
        return _ALIKE[char]
    if "！" <= char <= "～":
        return chr(ord(char) - 0xFEE0)
    parts = unicodedata.normalize("NFD", char)
    # Only accents on letters like Latin ones: the marks of Japanese make other syllables.
    return parts[0] if len(parts) > 1 and all("\u0300" <= mark <= "\u036f" for mark in parts[1:]) else char
