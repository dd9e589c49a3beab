"""`mailrelay event`: the journal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from mailrelay.cli.show import plain, table, when
from mailrelay.cli.talk import Talk, talks

_WAIT = 30
"""Seconds that a request of `--follow` waits at the daemon."""


@click.group("event")
def command() -> None:
    """The journal: everything that happened, in order."""


@command.command("list")
@click.option("--after", type=click.IntRange(0), help="The last sequence number that you have.")
@click.option("--before", type=click.IntRange(1), help="Only what is before this sequence number; with --last.")
@click.option("--last", type=click.IntRange(1, 1000), help="So many of the newest, in place of the oldest.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only of this type; may be repeated.")
@click.option("--message", default="", metavar="ID", help="Only about this message.")
@click.option("--record", default="", metavar="MODULE/ID", help="Only about this record.")
@click.option("--user", default="", metavar="ID|ADDRESS", help="Only notices of this user.")
@click.option("--follow", is_flag=True, help="Go on with what happens from now on, until you stop it.")
@talks
def list_(
    talk: Talk,
    after: int | None,
    before: int | None,
    last: int | None,
    limit: int,
    types: tuple[str, ...],
    message: str,
    record: str,
    user: str,
    follow: bool,
) -> None:
    """List events behind a sequence number, or the last ones, oldest first.

    Example: mailrelay event list --last 20
    """
    if after is not None and (last or before):
        raise click.UsageError("--after reads on from an event, --last and --before look back: give one of them")
    if follow and before:
        raise click.UsageError("--follow goes on behind the newest event, --before ends earlier: give one of them")
    wanted = {"type": types, "message": message, "record": record, "user": user}
    if follow:
        _follow(talk, after, last, wanted)
        return
    found = talk.get(
        "/events", after=after, before=before, last=last or (limit if before else None), limit=limit, **wanted
    )
    empty = "Nothing happened yet." if not after else f"Nothing happened after {after}."
    rows = [_row(one) for one in found["items"]]
    talk.show(found, lambda: table(rows, "SEQ", "AT", "EVENT", "QUEUE ID", "MESSAGE", "DATA") or empty)


def _follow(talk: Talk, after: int | None, last: int | None, wanted: Mapping[str, object]) -> None:
    if after is None:
        found = talk.get("/events", last=last or 1, **wanted)
        _print(talk, found if last else {"items": []})
        after = found["next"]
    while True:
        found = talk.get("/events", after=after, wait=_WAIT, **wanted)
        _print(talk, found)
        after = found["next"]


def _print(talk: Talk, found: Mapping[str, Any]) -> None:
    for one in found["items"]:
        click.echo(json.dumps(one) if talk.as_json else "  ".join(plain(cell) for cell in _row(one) if cell != ""))


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        one["seq"],
        when(one["at"]),
        one["type"],
        one["queue_id"] or one["delivery"],
        one["message"],
        " ".join(f"{name}={value}" for name, value in one["data"].items()),
    )
