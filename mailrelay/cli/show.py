"""What commands print for people: plain tables and lists, with nothing in them that would act on a terminal (S25, W11)."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_WIDEST = 60


def plain(text: object) -> str:
    """Text of strangers on one line, without control, format and direction characters."""
    return "".join(char if char.isprintable() else "\ufffd" for char in str(text).replace("\n", " ").replace("\t", " "))


def when(text: str | None) -> str:
    """An ISO time without its fraction: `2026-11-21 09:30:00Z`; "-" for none."""
    if not text:
        return "-"
    return text[:19].replace("T", " ") + "Z"


def people(participants: Iterable[Mapping[str, Any]], role: str) -> str:
    """Everyone of a role: `Bob Example <bob@example.org>, …`."""
    return ", ".join(
        f"{one['name']} <{one['address']}>" if one["name"] else one["address"]
        for one in participants
        if one["role"] == role
    )


def table(rows: Iterable[Sequence[object]], *headings: str) -> str:
    """Columns as wide as their widest value; on a terminal the last one is cut at its edge."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    everything = [list(headings), *cells]
    widths = [min(_WIDEST, max(_width(row[column]) for row in everything)) for column in range(len(headings))]
    lines = ["  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)) for row in everything]
    return "\n".join(_cut(line.rstrip()) for line in lines)


def pairs(values: Iterable[tuple[str, object]], *, indent: int = 0) -> str:
    """`Label     value` lines; those without a value are left out."""
    known = [(label, plain(value)) for label, value in values if value not in (None, "")]
    width = max((len(label) for label, _ in known), default=0)
    return "\n".join(f"{' ' * indent}{label:<{width}}  {value}" for label, value in known)


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _padded(text: str, width: int) -> str:
    if _width(text) > width and sys.stdout.isatty():
        while _width(text) >= width:
            text = text[:-1]
        text += "…"
    return text + " " * (width - _width(text))


def _cut(line: str) -> str:
    if not sys.stdout.isatty():
        return line
    columns = shutil.get_terminal_size().columns
    return line if len(line) <= columns else line[: columns - 1] + "…"
