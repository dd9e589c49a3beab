"""`mailrelay notice`: what a user hears of at once."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from mailrelay.cli.show import plain, table, when
from mailrelay.cli.talk import EX_UNAVAILABLE, Failed, Talk, failure, talks

_WHOSE = "X-Mailrelay-User"
_PATIENCE = 40.0
"""Seconds without a sign of life after which the stream is taken up again."""
_PAUSE = 3.0


@click.group("notice")
def command() -> None:
    """What users hear of at once: who wrote, replied, opened, clicked, and what came back."""


@command.command("list")
@click.option("--user", required=True, metavar="ID|ADDRESS", help="Whose notices.")
@click.option("--unread", is_flag=True, help="Only what was not read yet.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@talks
def list_(talk: Talk, user: str, unread: bool, limit: int) -> None:
    """List a user's notices, newest first.

    Example: mailrelay notice list --user anna@example.org --unread
    """
    query: dict[str, object] = {"limit": limit, "unread": "true" if unread else None}
    answer = talk.raw("GET", "/notices", query=query, headers={_WHOSE: user})
    if answer.status >= 400:
        raise failure(answer)
    with answer:
        found = json.loads(answer.read())
    rows = [
        (
            one["seq"],
            when(one["at"]),
            one["kind"],
            "" if one["read"] else "new",
            one["sentence"],
            " ".join(one["records"]),
        )
        for one in found["items"]
    ]
    empty = f"{user} has no notice{' that was not read' if unread else ' yet'}."
    talk.show(found, lambda: table(rows, "SEQ", "AT", "KIND", "READ", "NOTICE", "RECORDS") or empty)


@command.command("follow")
@click.option("--user", required=True, metavar="ID|ADDRESS", help="Whose notices.")
@click.option("--after", type=click.IntRange(0), help="The last notice that you have; by default only new ones come.")
@talks
def follow(talk: Talk, user: str, after: int | None) -> None:
    """Print a user's notices as they come, until you stop it; what is missed while the daemon is away comes later.

    Example: mailrelay notice follow --user anna@example.org
    """
    last = "" if after is None else str(after)
    connected = False
    while True:
        try:
            for block in _blocks(talk, user, last):
                connected = True
                last = block.get("id", last)
                if "data" in block:
                    _print(talk, json.loads(block["data"]))
        except Failed as error:
            if not connected or error.exit_code != EX_UNAVAILABLE:
                raise
        except (OSError, http.client.HTTPException):
            pass  # it broke off
        time.sleep(_PAUSE)


def _blocks(talk: Talk, user: str, last: str) -> Iterator[Mapping[str, str]]:
    headers = {_WHOSE: user, **({"Last-Event-ID": last} if last else {})}
    answer = talk.raw("GET", "/notices/stream", headers=headers, patience=_PATIENCE)
    if answer.status >= 400:
        raise failure(answer)
    with answer:
        block: dict[str, str] = {}
        for line in answer:
            name, _, value = line.decode().rstrip("\r\n").partition(":")
            if name or value:
                block[name] = value.removeprefix(" ")
            elif block:
                yield block
                block = {}


def _print(talk: Talk, one: Mapping[str, Any]) -> None:
    if talk.as_json:
        click.echo(json.dumps(one))
        return
    records = f"  {' '.join(map(plain, one['records']))}" if one["records"] else ""
    click.echo(f"{one['seq']}  {when(one['at'])}  {one['kind']:<8}{plain(one['sentence'])}{records}")
