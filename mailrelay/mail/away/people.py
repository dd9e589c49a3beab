"""Whom to write to instead: the addresses that an automatic reply names, each with the name in front of it (I25)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

from mailrelay.mail import addresses
from mailrelay.mail.automatic import is_machine
from mailrelay.mail.away.language import LANGUAGES
from mailrelay.mail.away.words import Words, plain
from mailrelay.model.absence import Instead
from mailrelay.model.address import Address

MAX_PEOPLE = 5
_MAX_ADDRESSES = 20
_REACH = 300
"""How far before an address the words may stand that say to write to it."""
_AFTER = 80
_NAME_REACH = 200
"""How far before an address a name is looked for that is in it too; any other stands within `_NEAR`."""
_NEAR = 90

_ADDRESS = re.compile(r"(?<![\w.+@/-])[A-Za-z0-9][\w.+-]{0,63}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}(?!\w|@)", re.ASCII)
_PARTICLE = (
    r"(?:van der|van den|van de|von der|von|van|vom|zu|de la|de|del|della|di|da|dos|das|do|du|le|la|el|bin|al|ter|ten)"
)
_WORD = r"[^\W\d_a-zß-öø-ÿ](?:[^\W\d_]{1,30}(?:['’-][^\W\d_]{1,30}){0,3}|['’][^\W\d_]{1,30}|\.?)"
_NAME = re.compile(rf"{_WORD}(?:[ \t]{{1,2}}(?:{_PARTICLE}[ \t]{{1,2}})?{_WORD}){{0,4}}")
_IN_BRACKETS = re.compile(rf">?[ \t]{{0,2}}\(({_NAME.pattern})\)")
_PART = re.compile(r"[^\W\d_]{3,}")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")


def find(original: str, compared: str, *, own: frozenset[str]) -> tuple[Instead, ...]:
    """The people to write to, at most `MAX_PEOPLE`, without machines and the `own` keys of those who wrote and got the mail.

    `original` and `compared` are the same text, as it was written and as it is compared.
    """
    languages = [words for words in LANGUAGES if words.patterns.contact.search(compared)]
    found: dict[str, Instead] = {}
    begin = 0
    for match in islice(_ADDRESS.finditer(original), _MAX_ADDRESSES):
        address = addresses.parse(match[0].rstrip(".-"))
        if address is not None and not (address.key in own or address.key in found or is_machine(address.local)):
            asked = [(at, words) for words in languages if (at := _asked(compared, match, words)) is not None]
            if asked:
                span = _Before(original, compared, max(begin, match.start() - _NAME_REACH), match.start())
                name = _name(span, address, asked, languages) or _name_after(original, match)
                found[address.key] = Instead(name, address)
        begin = match.end()
        if len(found) == MAX_PEOPLE:
            break
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class _Before:
    """The text in front of an address, back to the address before it."""

    original: str
    compared: str
    start: int
    end: int


def _asked(text: str, match: re.Match[str], words: Words) -> int | None:
    """Where the words end that say to write to this address, or where they begin that follow it; None without them."""
    said = words.patterns
    window = max(0, match.start() - _REACH)
    closings = [one.end() for one in said.closing.finditer(text, window, match.start()) if _ends_line(text, one)]
    cues = list(said.contact.finditer(text, max([window, *closings]), match.start()))
    if cues:
        return cues[-1].end()
    paragraph = _PARAGRAPH.search(text, match.end(), match.end() + _AFTER)
    end = paragraph.start() if paragraph else match.end() + _AFTER
    following = None if closings else said.contact.search(text, match.end(), end)
    return following.start() if following else None


def _ends_line(text: str, closing: re.Match[str]) -> bool:
    """Whether a closing formula ends its line: "thanks for your mail" does not end a letter."""
    rest, line_end, _ = text[closing.end() : closing.end() + 30].partition("\n")
    return bool(line_end) and not rest.strip(" ,.!")


def _name(before: _Before, address: Address, asked: list[tuple[int, Words]], languages: list[Words]) -> str:
    """The name in the text in front of an address, or ""."""
    for _, words in asked:
        if words.patterns.name and (said := words.patterns.name.search(before.compared, before.start, before.end)):
            return "" if words.patterns.contact.search(said[1]) else said[1].strip()
    candidates = []
    for match in islice(_NAME.finditer(before.original, before.start, before.end), 40):
        # Titles, verbs and pronouns that begin with a capital: the name is what follows the last of them.
        titles = (
            one.end()
            for words in languages
            for pattern in (words.patterns.titles, words.patterns.contact)
            for one in pattern.finditer(before.compared, *match.span())
        )
        start = max(titles, default=match.start())
        if name := before.original[start : match.end()].strip(" .\t"):
            candidates.append((start, name))
    local = plain(address.local).casefold()
    for _, name in reversed(candidates):
        if any(plain(part).casefold() in local for part in _PART.findall(name)):
            return name
    # Nothing in the address says that a single word is a name, or one before the request.
    since = max(min((at for at, _ in asked if at < before.end), default=0), before.end - _NEAR)
    return next((name for start, name in candidates if " " in name and start >= since), "")


def _name_after(original: str, match: re.Match[str]) -> str:
    """`ann@example.com (Ann New)`."""
    said = _IN_BRACKETS.match(original, match.end())
    return said[1] if said else ""
