"""The table of event types at the end of docs/events.md, from `model.event_words`; `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from mailrelay.model.event import EventType
from mailrelay.model.event_words import TELLS

_PAGE = Path(__file__).parents[1] / "docs" / "events.md"
_HEAD = "| Type | What happened | `data` |\n|---|---|---|\n"


def table() -> str:
    """The table."""
    rows = []
    for type_ in EventType:
        said, *names = TELLS[type_]
        rows.append(f"| `{type_}` | {said} | {', '.join(f'`{name}`' for name in names) or '—'} |\n")
    return _HEAD + "".join(rows)


def main(arguments: list[str]) -> int:
    """Write or check; the exit status."""
    page = _PAGE.read_text(encoding="utf-8")
    text = page.partition(_HEAD)[0] + table()
    if arguments == ["--check"] and text != page:
        print("docs/events.md is out of date: make docs", file=sys.stderr)
        return 1
    if text != page:
        _PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
