"""`mailrelay event`: the journal."""

from __future__ import annotations

import click

from mailrelay.cli.show import table, when
from mailrelay.cli.talk import Talk, talks


@click.group("event")
def command() -> None:
    """The journal: everything that happened, in order."""


@command.command("list")
@click.option("--after", type=click.IntRange(0), help="The last sequence number that you have.")
@click.option("--before", type=click.IntRange(1), help="Only what is before this sequence number; with --last.")
@click.option("--last", type=click.IntRange(1, 1000), help="So many of the newest, in place of the oldest.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@talks
def list_(talk: Talk, after: int | None, before: int | None, last: int | None, limit: int) -> None:
    """List events behind a sequence number, or the last ones, oldest first.

    Example: mailrelay event list --last 20
    """
    if after is not None and (last or before):
        raise click.UsageError("--after reads on from an event, --last and --before look back: give one of them")
    found = talk.get("/events", after=after, before=before, last=last or (limit if before else None), limit=limit)
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
