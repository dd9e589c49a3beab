"""`mailrelay mailing-list`: what mass mail is about, so that people can leave one and keep the others."""

from __future__ import annotations

from typing import Any

import click

from mailrelay.cli.show import table
from mailrelay.cli.talk import Talk, part, talks


@click.group("mailing-list")
def command() -> None:
    """Mailing lists: mass mail names one, and people leave it without leaving the others."""


@command.command("list")
@talks
def list_(talk: Talk) -> None:
    """List mailing lists.

    Example: mailrelay mailing-list list
    """
    found = talk.all("/mailing-lists")
    empty = "There is no mailing list. Add one with `mailrelay mailing-list add NAME LABEL`."
    talk.show(found, lambda: _table(found) or empty)


@command.command("show")
@click.argument("name")
@talks
def show(talk: Talk, name: str) -> None:
    """Show one mailing list.

    Example: mailrelay mailing-list show news
    """
    found = talk.get(f"/mailing-lists/{part(name)}")
    talk.show(found, lambda: _table([found]))


@command.command("add")
@click.argument("name")
@click.argument("label")
@click.option("--description", default="", help="What people get by it; they read this when they leave it.")
@talks
def add(talk: Talk, name: str, label: str, description: str) -> None:
    """Add a mailing list; LABEL is what people call it.

    Example: mailrelay mailing-list add news "Spring news" --description "What is new, once a month"
    """
    found = talk.post("/mailing-lists", {"name": name, "label": label, "description": description})
    talk.show(found, lambda: f"{found['name']} is a mailing list: {found['label']}.")


@command.command("change")
@click.argument("name")
@click.option("--label", help="What people call it.")
@click.option("--description", help="What people get by it.")
@talks
def change(talk: Talk, name: str, label: str | None, description: str | None) -> None:
    """Change what people read of a mailing list.

    Example: mailrelay mailing-list change news --label "News"
    """
    given = {key: value for key, value in (("label", label), ("description", description)) if value is not None}
    found = talk.patch(f"/mailing-lists/{part(name)}", given)
    talk.show(found, lambda: f"{found['name']} is {found['label']} now.")


@command.command("remove")
@click.argument("name")
@talks
def remove(talk: Talk, name: str) -> None:
    """Remove a mailing list: no more mail is taken for it. Who left it is remembered.

    Example: mailrelay mailing-list remove news
    """
    talk.delete(f"/mailing-lists/{part(name)}")
    talk.show({"removed": name}, lambda: f"{name} is no mailing list any more.")


def _table(found: list[dict[str, Any]]) -> str:
    rows = ((one["name"], one["label"], one["description"] or "-") for one in found)
    return table(rows, "LIST", "LABEL", "DESCRIPTION")
