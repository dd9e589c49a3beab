"""`mailrelay event`: the journal."""

from __future__ import annotations

import click

from mailrelay.cli.show import table, when
from mailrelay.cli.talk import Talk, talks


@click.group("event")
def command() -> None:
    """The journal: everything that happened, in order."""


@command.command("list")
@click.option("--after", default=0, show_default=True, help="The last sequence number that you have.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@talks
def list_(talk: Talk, after: int, limit: int) -> None:
    """List events behind a sequence number, oldest first.

    Example: mailrelay event list --after 1200
    """
    found = talk.get("/events", after=after, limit=limit)
    rows = (
        (
            one["seq"],
            when(one["at"]),
            one["type"],
            one["queue_id"] or one["delivery"],
            one["message"],
            " ".join(f"{name}={value}" for name, value in one["data"].items()),
        )
        for one in found
    )
    empty = "Nothing happened yet." if not after else f"Nothing happened after {after}."
    talk.show(found, lambda: table(rows, "SEQ", "AT", "EVENT", "QUEUE ID", "MESSAGE", "DATA") or empty)
