"""Writes docs/rules.md from the registry: `python -m mailrelay.rules.document [--check] [FILE]`."""

from __future__ import annotations

import sys
from pathlib import Path

from mailrelay import rules
from mailrelay.rules.registry import Stage

_INTRODUCTION = """\
# Rules

<!-- Made by `python -m mailrelay.rules.document` from the rules themselves; edit those. -->

What becomes of a mail is decided by these rules, one file each under `mailrelay/rules/`, in this order. Each sees the mail,
what the store knows around it, and what the rules before it said; what each of them found, or that it found nothing, is kept
with the mail and shown by `mailrelay message show ID`.

"""
_STAGES = {
    Stage.EXCLUDE: "Who is none of our business",
    Stage.HOLD: "What a person must see first",
    Stage.MATCH: "Which records the mail is about",
    Stage.CREATE: "Who becomes a record",
    Stage.RELATE: "What is tied to those records",
}


def text() -> str:
    """The page."""
    lines = [_INTRODUCTION]
    for stage, heading in _STAGES.items():
        lines.append(f"## {stage}: {heading}\n\n| rule | row | what it says |\n| --- | --- | --- |\n")
        listed = [info for info in rules.listing() if info.stage is stage]
        lines.extend(f"| `{info.name}` | {info.row} | {info.says.replace('|', '/')} |\n" for info in listed)
        lines.append("\n")
    return "".join(lines).rstrip("\n") + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` say whether it is current (1 when it is not)."""
    names = [argument for argument in arguments if argument != "--check"]
    path = Path(names[0] if names else "docs/rules.md")
    if "--check" in arguments:
        if path.is_file() and path.read_text(encoding="utf-8") == text():
            return 0
        sys.stderr.write(f"{path} is not current: run python -m mailrelay.rules.document\n")
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
