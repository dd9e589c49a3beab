"""The last columns of docs/rfc.md and docs/faults.md: which files cite an RFC, which tests show a fault's remedy.

`scripts/tables.py` writes them, `--check` only compares. The other columns are written by hand. A citation or a test that
names a row which is not there is an error either way; a standard said to be followed that no code cites is taken out.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_SOURCE = Path(__file__).parents[1]
_RFC_CITED = re.compile(r"\bRFC (\d{3,5})\b")
_FAULT_TEST = re.compile(r"def (test_fault_([a-z]\d\d)\w*)\(")
Found = dict[str, set[str]]
"""A row's name → what the last column lists."""


def rfcs() -> Found:
    """RFC number → the files under mailrelay/ that cite it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in (_SOURCE / "mailrelay").rglob("*.py"):
        for number in _RFC_CITED.findall(path.read_text(encoding="utf-8")):
            found[number].add(path.relative_to(_SOURCE / "mailrelay").as_posix())
    return found


def faults() -> Found:
    """Fault id → the test files with a `test_fault_<id>_…` in them."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in (_SOURCE / "tests").rglob("test_*.py"):
        for _, fault in _FAULT_TEST.findall(path.read_text(encoding="utf-8")):
            found[fault.upper()].add(path.relative_to(_SOURCE / "tests").as_posix())
    return found


class Table(NamedTuple):
    """A page whose rows begin with a name that `find` looks up; rows that match `may_be_bare` need nothing found."""

    page: str
    find: Callable[[], Found]
    row: re.Pattern[str]
    may_be_bare: re.Pattern[str]


TABLES = (
    Table(
        "docs/rfc.md",
        rfcs,
        re.compile(r"\| (?P<name>\d{3,5}) \| [^|]+ \| [^|]+ \|"),
        re.compile(r"\| planned \|$"),
    ),
    Table("docs/faults.md", faults, re.compile(r"\| (?P<name>[A-Z]\d\d) \| [^|]+ \| [^|]+ \|"), re.compile("")),
)


def rewritten(table: Table, page: str) -> tuple[str, list[str]]:
    """The page with its rows in order and their last column made anew, and what is wrong with it."""
    found = table.find()
    rows: dict[str, str] = {}
    rest: list[str] = []
    for line in page.splitlines():
        if not (row := table.row.match(line)):
            rest.append(line)
            continue
        names = sorted(found.get(row["name"], ()))
        if names or table.may_be_bare.search(row[0]):
            shown = ", ".join(f"`{name}`" for name in names) or "—"
            rows[row["name"]] = f"{row[0]} {shown} |"
    wrong = [f"{table.page}: no row for {name}, named in {min(found[name])}" for name in sorted(set(found) - set(rows))]
    ordered = sorted(rows, key=lambda name: (len(name), name))
    return "\n".join([*rest, *(rows[name] for name in ordered)]) + "\n", wrong


def main(arguments: list[str]) -> int:
    """Write or check; the exit status."""
    status = 0
    for table in TABLES:
        path = _SOURCE / table.page
        page = path.read_text(encoding="utf-8")
        text, wrong = rewritten(table, page)
        if arguments == ["--check"] and text != page:
            wrong.append(f"{table.page} is out of date: make docs")
        elif text != page:
            path.write_text(text, encoding="utf-8")
        for sentence in wrong:
            print(sentence, file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
