"""What commands print for people: plain tables and lists, with nothing in them that would act on a terminal (S25, W11)."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def plain(text: object) -> str:
    """Text of strangers on one line, without control, format and direction characters."""
    return "".join(char if char.isprintable() else "\ufffd" for char in str(text).replace("\n", " ").replace("\t", " "))


def when(text: str | None) -> str:
    """An ISO time without its fraction: `2026-11-21 09:30:00Z`; "-" for none."""
    if not text:
        return "-"
    return text[:19].replace("T", " ") + "Z"


def local(schedule: Mapping[str, Any]) -> str:
    """When a scheduled mail goes, as clocks show it where its author said the time: `2026-12-01 08:00 Europe/Berlin`."""
    return f"{schedule['local'][:16].replace('T', ' ')} {schedule['zone']}"


def people(participants: Iterable[Mapping[str, Any]], role: str) -> str:
    """Everyone of a role: `Bob Example <bob@example.org>, …`."""
    return ", ".join(
        f"{one['name']} <{one['address']}>" if one["name"] else one["address"]
        for one in participants
        if one["role"] == role
    )


def table(rows: Iterable[Sequence[object]], *headings: str) -> str:
    """Columns as wide as their widest value, "" without rows; on a terminal long values go on in the lines below."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    if sys.stdout.isatty():
        return _for_terminal(cells, headings)
    everything = [list(headings), *cells]
    widths = [max(_width(row[column]) for row in everything) for column in range(len(headings))]
    lines = ("  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)) for row in everything)
    return "\n".join(line.rstrip() for line in lines)


def pairs(values: Iterable[tuple[str, object]], *, indent: int = 0) -> str:
    """`Label     value` lines; those without a value are left out."""
    known = [(plain(label), plain(value)) for label, value in values if value not in (None, "")]
    width = max((len(label) for label, _ in known), default=0)
    return "\n".join(f"{' ' * indent}{label:<{width}}  {value}" for label, value in known)


def used(one: Mapping[str, Any]) -> tuple[object, ...]:
    """Who writes to a secret address, as columns: who, how often, when first and last."""
    return one["address"], one["count"], when(one["first_at"]), when(one["last_at"])


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _for_terminal(cells: Iterable[Sequence[str]], headings: Sequence[str]) -> str:
    from rich.console import Console  # takes longer to import than most commands take
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for at, heading in enumerate(headings):
        # The first column is what other commands are given, so it stays in one piece.
        drawn.add_column(heading, overflow="fold", no_wrap=at == 0)
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    console = Console()
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().rstrip("\n")
