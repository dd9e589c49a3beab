"""`mailrelay exclusion`: addresses and domains that are never matched nor made into records (I5)."""

from __future__ import annotations

import click

from mailrelay.cli.show import table
from mailrelay.cli.talk import Talk, part, talks


@click.group("exclusion")
def command() -> None:
    """The exclude list. VALUE is an address, or a domain without @."""


@command.command("list")
@talks
def list_(talk: Talk) -> None:
    """List what is excluded.

    Example: mailrelay exclusion list
    """
    found = talk.all("/exclusions")
    rows = ((one["value"], one["kind"]) for one in found)
    empty = "Nothing is excluded. Exclude with `mailrelay exclusion add VALUE`."
    talk.show(found, lambda: table(rows, "VALUE", "KIND") or empty)


@command.command("add")
@click.argument("value")
@talks
def add(talk: Talk, value: str) -> None:
    """Exclude an address or a domain from now on.

    Example: mailrelay exclusion add newsletter.example
    """
    made = talk.put(f"/exclusions/{part(value)}")
    talk.show(made, lambda: f"The {made['kind']} {made['value']} is excluded.")


@command.command("remove")
@click.argument("value")
@talks
def remove(talk: Talk, value: str) -> None:
    """Exclude an address or a domain no more.

    Example: mailrelay exclusion remove newsletter.example
    """
    talk.delete(f"/exclusions/{part(value)}")
    talk.show({"value": value, "removed": True}, lambda: f"{value} is excluded no more.")
