"""The block of header lines that clients put above a quoted or forwarded mail, in any of their languages (I12, I22).

    From: Ann Example [mailto:ann@example.com]
    Sent: Monday, 2 March 2026 09:15
    To: Bob
    Subject: An offer

Shared by `forwarded`, which reads it, and `reply_text`, which cuts there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from mailrelay.mail import phrases

MAX_LINE = 2_000
"""Characters of a line that are looked at."""
_MAX_CONTINUED = 3
_MAX_BLANK = 1
_MAX_LINES = 60

_QUOTE = re.compile(r"^[ \t]*(?:[>|][ \t]?)+")
_LABELLED = re.compile(r"[ \t*_]*([^\s:：*_][^:：<>@\"]{0,24}?)[ \t\u00a0*_]*[:：][ \t\u00a0*_]*(.*)", re.DOTALL)
_MARK = re.compile(r"[ \t]*[-_=*—–─>]*[ \t]*([^\n]{4,80}?)[ \t]*[:：]?[ \t]*[-_=*—–─]*[ \t]*[:：]?[ \t]*")


class Mark(Enum):
    """What stands above a block."""

    FORWARD = "forward"
    ORIGINAL = "original"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Block:
    """Header lines found in a text: `lines[start:end]`, its mark included."""

    start: int
    end: int
    mark: Mark
    values: dict[str, str]
    """Role (`phrases.FROM`, …) → its text."""


def unquoted(line: str) -> str:
    """The line without `>` in front."""
    line = line[:MAX_LINE]
    found = _QUOTE.match(line)
    return line[found.end() :] if found else line


def mark(line: str) -> Mark:
    """Whether a line is one of the marks above a block: `---------- Forwarded message ---------`."""
    bare = unquoted(line).strip()
    # The marks of forwards are sentences that end in a colon (Apple) or stand between rules; anything longer is prose.
    if len(bare) > 100 or not (
        bare.endswith((":", "：", "-", "_", "=", "—", "*")) or bare.startswith(("--", "__", "=="))
    ):
        return Mark.NONE
    found = _MARK.fullmatch(bare)
    if found is None:
        return Mark.NONE
    words = " ".join(unicodedata.normalize("NFC", found[1]).lower().replace("’", "'").split()).strip("：: ")
    if words in _FORWARDS:
        return Mark.FORWARD
    if words.startswith(tuple(f"{phrase} " for phrase in ("forwarded by", "forwarded message from"))):
        return Mark.FORWARD
    return Mark.ORIGINAL if words in _ORIGINALS and bare[0] in "-_=*—–>" else Mark.NONE


_FORWARDS = frozenset(phrases.FORWARD_MARKS)
_ORIGINALS = frozenset(phrases.ORIGINAL_MARKS)


def label(line: str) -> tuple[str, str] | None:
    """`(role, value)` of a labelled line (`Gesendet: …`), or None."""
    found = _LABELLED.fullmatch(unquoted(line))
    if found is None:
        return None
    role = phrases.LABELS.get(" ".join(unicodedata.normalize("NFC", found[1]).lower().split()))
    return None if role is None else (role, found[2].strip(" \t*\u00a0"))


def find(lines: Sequence[str]) -> list[Block]:
    """All blocks in a text, in order; linear in its length."""
    blocks: list[Block] = []
    at = 0
    while at < len(lines):
        kind = mark(lines[at])
        block = _with_mark(lines, at, kind) if kind is not Mark.NONE else _read(lines, at, at, Mark.NONE)
        if block is None:
            at += 1
            continue
        blocks.append(block)
        at = block.end
    return blocks


def _with_mark(lines: Sequence[str], at: int, kind: Mark) -> Block | None:
    """The block below a mark, a few empty or descriptive lines apart."""
    for first in range(at + 1, min(at + 5, len(lines))):
        if label(lines[first]) is not None:
            return _read(lines, at, first, kind)
        if unquoted(lines[first]).strip():
            return None
    return None


def _read(lines: Sequence[str], start: int, first: int, kind: Mark) -> Block | None:
    """The block whose first labelled line is `first`, or None when it is none: sender and two more are the least."""
    opening = label(lines[first])
    if opening is None or opening[0] == phrases.OTHER:
        return None
    values: dict[str, str] = {opening[0]: opening[1]}
    last_role = opening[0]
    end = at = first + 1
    blank = continued = 0
    while at < len(lines) and at - first < _MAX_LINES:
        found = label(lines[at])
        bare = unquoted(lines[at]).strip()
        if found is not None and found[0] not in values:
            last_role = found[0]
            values[last_role] = found[1]
            end = at + 1
            blank = continued = 0
        elif found is not None and found[0] != phrases.OTHER:
            break  # the same label again begins another block
        elif not bare:
            blank += 1
            if blank > _MAX_BLANK or len(values) >= 4:
                break
        else:
            continued += 1
            if blank or continued > _MAX_CONTINUED:
                break
            if _continues(lines, at + 1) or last_role in (phrases.TO, phrases.CC):
                values[last_role] = f"{values[last_role]} {bare}"
                end = at + 1
            else:
                break
        at += 1
    known = values.keys() - {phrases.OTHER}
    if phrases.FROM not in known or len(known) < (2 if kind is Mark.FORWARD else 3):
        return None
    return Block(start, end, kind, values)


def _continues(lines: Sequence[str], at: int) -> bool:
    """Whether a labelled line follows soon, so that the line before it is the rest of a folded value."""
    for line in lines[at : at + _MAX_CONTINUED]:
        if label(line) is not None:
            return True
        if not unquoted(line).strip():
            return False
    return False
