"""`mailrelay audit`: whether every mail that was accepted has ended or is in flight (K8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mailrelay.cli.show import table
from mailrelay.cli.talk import EX_DATAERR, Talk, talks


@click.command("audit")
@talks
def command(talk: Talk) -> None:
    """Compare what was accepted with what ended and what is in flight, and name what is missing; reads whole tables.

    Exit status: 0 when the books balance, 65 when not.

    Example: mailrelay audit
    """
    (found,) = talk.lines(talk.raw("GET", "/audit", patience=None))
    talk.show(found, lambda: "\n".join(_told(found)))
    if not found["balanced"]:
        raise SystemExit(EX_DATAERR)


def _told(found: Mapping[str, Any]) -> list[str]:
    balances, discrepancies = found["balances"], found["discrepancies"]
    if not balances and not discrepancies:
        return ["No mail was accepted yet."]
    columns = ("channel", "thing", "accepted", "ended", "in_flight", "unaccounted")
    lines = [
        table(
            ([one[name] for name in columns] for one in balances),
            *(name.replace("_", " ").upper() for name in columns),
        )
    ]
    if discrepancies:
        lines += [
            "",
            table(((one["id"], one["channel"], one["what"]) for one in discrepancies), "ID", "CHANNEL", "WHAT"),
        ]
    lines += ["", "The books balance." if found["balanced"] else "The books do NOT balance."]
    return lines
