"""What all mail must have that a record is found by: sets of flags, which stand in the indexes of mail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, or_, true

from mailrelay.query import meaning
from mailrelay.query.meaning import Fact, Field, Mail, Meaning
from mailrelay.query.tree import Word
from mailrelay.store.compile.conditions import FLAGS
from mailrelay.store.mail_facts import Flag

_DELIVERED = (int(Flag.DELIVERED), int(Flag.SENT | Flag.OURS))


def has_any(masks: Sequence[int], flags: ColumnElement[Any]) -> ColumnElement[bool]:
    """That an entry has all flags of one of these; 0 any entry has."""
    return true() if 0 in masks else or_(*(flags.bitwise_and(one) == one for one in masks))


def masks_of(node: Meaning) -> tuple[int, ...]:
    """Flags of which a record that fits has a mail with all, for one of the masks at least; () where it need not have any."""
    match node:
        case Mail(all=said):
            masks = [0]
            for one in said:
                flags = _DELIVERED if one.word is Word.DELIVERED else (_flags_of(one),)
                masks = [mask | flag for mask in masks for flag in flags]
            return tuple(dict.fromkeys(masks))
        case meaning.All(parts):
            return max((found for part in parts if (found := masks_of(part))), key=rarity, default=())
        case meaning.Any(parts):
            each = [masks_of(part) for part in parts]
            return tuple(dict.fromkeys(mask for masks in each for mask in masks)) if all(each) else ()
        case _:
            return ()


def _flags_of(one: Fact) -> int:
    return int(FLAGS[one.word] | Flag.HARD) if one.hard else int(FLAGS[one.word])


def rarity(masks: Sequence[int]) -> int:
    """Of how many flags at least: the more the fewer mails have them."""
    return min((mask & ~int(Flag.SENT | Flag.RECEIVED)).bit_count() for mask in masks)


def needed(node: Meaning) -> Iterator[Mail | Field]:
    """What must hold in any case."""
    match node:
        case meaning.All(parts):
            for part in parts:
                yield from needed(part)
        case Mail() | Field():
            yield node
