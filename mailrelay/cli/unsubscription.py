"""`mailrelay unsubscription`: who wants no more mail."""

from __future__ import annotations

import click

from mailrelay.cli.show import table, when
from mailrelay.cli.talk import Talk, talks


@click.group("unsubscription")
def command() -> None:
    """Who wants no more mail, of a list or at all. They come back by themselves only, by the page of a mail that they got."""


@command.command("list")
@click.option("--list", "list_name", default="", help="Only of this mailing list.")
@click.option("--search", default="", help="Part of an address.")
@click.option("--lifted", is_flag=True, help="Those who came back too.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@talks
def list_(talk: Talk, list_name: str, search: str, lifted: bool, limit: int) -> None:
    """List who unsubscribed, from what and how.

    Example: mailrelay unsubscription list --list news
    """
    query = {"reason": "unsubscribed", "list": list_name, "search": search, "lifted": lifted or None}
    found = talk.pages("/suppressions", limit, **query)
    rows = (
        (
            one["key"],
            one["list"] or "all mail",
            when(one["since"]),
            one["by"] or "-",
            *((when(one["lifted_at"]) if one["lifted_at"] else "-",) if lifted else ()),
            one["evidence"],
        )
        for one in found["items"]
    )
    head = ("ADDRESS", "LEFT", "SINCE", "BY", *(("BACK",) if lifted else ()), "HOW")
    empty = "Nobody unsubscribed" + (" that matches." if search or list_name else ".")
    talk.show(found, lambda: table(rows, *head) or empty)
