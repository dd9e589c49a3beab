"""`mailrelay absence`: who is away until when, or gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mailrelay.cli.show import table, when
from mailrelay.cli.talk import Talk, talks


@click.group("absence")
def command() -> None:
    """Who is away until when, or gone, by their automatic replies."""


@command.command("list")
@click.option("--search", default="", help="Part of an address.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@talks
def list_(talk: Talk, search: str, limit: int) -> None:
    """List what automatic replies said last, past absences too.

    Example: mailrelay absence list --search @customer.example
    """
    found = talk.pages("/absences", limit, search=search)
    empty = "No automatic reply said that somebody is away" + (" that matches." if search else ".")
    talk.show(
        found, lambda: table(map(_row, found["items"]), "ADDRESS", "FIRST DAY BACK", "NOTED", "WRITE TO") or empty
    )


def _row(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    back = "gone for good" if one["gone"] else when(one["until"]) if one["until"] else "not said"
    instead = (
        f"{other['name']} <{other['address']}>" if other["name"] else other["address"] for other in one["instead"]
    )
    return one["key"], back, when(one["noted_at"]), ", ".join(instead)
