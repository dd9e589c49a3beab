"""What the text of a field means, by its type: read the same when a record is kept and when a query compares with it."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from mailrelay.model.record import FieldType

_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_TRUE, _FALSE = frozenset({"true", "yes", "1", "on"}), frozenset({"false", "no", "0", "off"})
LONGEST_TEXT = 2_000
"""Characters of a text that are looked at."""


def fold(text: str) -> str:
    """Text as it is compared: without regard to case, width and the number of spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())[:LONGEST_TEXT]


def number(text: str) -> float:
    """A decimal number with a point. Raises ValueError, whose text is a sentence."""
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError("must be a number such as 50000 or 12.50, without separators or a currency")
    found = float(text)
    if not math.isfinite(found):
        raise ValueError("is too large a number")
    return found


def day(text: str) -> date:
    """A day; of a time its day as it is written. Raises ValueError."""
    text = text.strip()
    if not (_DAY.fullmatch(text) or _INSTANT.fullmatch(text)):
        raise ValueError("must be a day such as 2026-12-01")
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise ValueError(f"must be a day; there is no {text[:10]}") from None


def instant(text: str, zone: ZoneInfo) -> datetime:
    """An instant in UTC; a time without an offset, or a day, is in `zone`. Raises ValueError."""
    text = text.strip().upper()
    if not (_DAY.fullmatch(text) or _INSTANT.fullmatch(text)):
        raise ValueError("must be a time such as 2026-12-01T08:00 or 2026-12-01T08:00:00+01:00")
    try:
        found = datetime.fromisoformat(text)
        return (found.replace(tzinfo=zone) if found.tzinfo is None else found).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"must be a time; there is no {text}") from None


def boolean(text: str) -> bool:
    """Yes or no. Raises ValueError."""
    found = text.strip().lower()
    if found not in _TRUE | _FALSE:
        raise ValueError("must be true or false")
    return found in _TRUE


def check(text: str, type: FieldType, zone: ZoneInfo) -> None:  # noqa: A002 (the word for it)
    """Raises ValueError, whose text is a sentence, when the text is not of the type; empty text is no value at all."""
    if not text.strip():
        return
    match type:
        case FieldType.NUMBER:
            number(text)
        case FieldType.DATE:
            day(text)
        case FieldType.TIME:
            instant(text, zone)
        case FieldType.BOOLEAN:
            boolean(text)
        case FieldType.TEXT:
            pass
