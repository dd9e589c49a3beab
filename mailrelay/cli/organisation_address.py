"""`mailrelay organisation-address`: shared addresses, such as support@, that receive and send (I13)."""

from __future__ import annotations

from typing import Any

import click

from mailrelay.cli.show import pairs, plain, table
from mailrelay.cli.talk import Talk, part, talks

_UNKNOWN = click.Choice(["lead", "contact", "nothing"])
_SENDER = "Who may send as it, by id or address; may be given several times. `all`: every active user but guests."


@click.group("organisation-address")
def command() -> None:
    """Shared addresses: mail to one belongs to no single user. ID is what `list` shows."""


@command.command("list")
@talks
def list_(talk: Talk) -> None:
    """List the shared addresses.

    Example: mailrelay organisation-address list
    """
    found = talk.pages("/organisation-addresses", 1000)
    rows = (
        (one["id"], one["address"], one["name"] or "-", one["unknown"], _senders(one), one["owner"] or "-")
        for one in found["items"]
    )
    empty = "No shared address yet. Make one with `mailrelay organisation-address make ADDRESS`."
    headings = ("ID", "ADDRESS", "NAME", "UNKNOWN BECOME", "SENDERS", "OWNER")
    talk.show(found, lambda: table(rows, *headings) or empty)


@command.command("make")
@click.argument("address")
@click.option("--name", default="", help="What people call it, such as Support.")
@click.option(
    "--unknown", type=_UNKNOWN, default="lead", show_default=True, help="What an unknown correspondent becomes."
)
@click.option("--owner", help="Who owns what is made of them, by id or address; by default nobody.")
@click.option("--module", multiple=True, help="Modules to search, in this order.")
@click.option("--sender", multiple=True, help=_SENDER)
@talks
def make(
    talk: Talk,
    address: str,
    name: str,
    unknown: str,
    owner: str | None,
    module: tuple[str, ...],
    sender: tuple[str, ...],
) -> None:
    """Make a shared address, at a domain of the organisation or at the dropboxes' domain.

    Example: mailrelay organisation-address make support@example.org --name Support --owner anna@example.org
    """
    given: dict[str, Any] = {"address": address, "name": name, "unknown": unknown, "owner": owner}
    given["modules"] = module or None
    given["senders"] = _given(sender)
    made = talk.post("/organisation-addresses", given)
    talk.show(made, lambda: _told(made))


@command.command("show")
@click.argument("id")
@talks
def show(talk: Talk, id: str) -> None:  # noqa: A002
    """Show a shared address with its settings.

    Example: mailrelay organisation-address show A01KA4QZ3M7Y8C2V5N6B7
    """
    found = talk.get(f"/organisation-addresses/{part(id)}")
    talk.show(found, lambda: _told(found))


@command.command("change")
@click.argument("id")
@click.option("--name", help="What people call it.")
@click.option("--unknown", type=_UNKNOWN, help="What an unknown correspondent becomes.")
@click.option("--owner", help="Who owns what is made of them; `none`: nobody.")
@click.option("--module", multiple=True, help="Modules to search, in this order, in place of those before.")
@click.option("--sender", multiple=True, help=f"{_SENDER} In place of those before.")
@talks
def change(
    talk: Talk,
    id: str,  # noqa: A002
    name: str | None,
    unknown: str | None,
    owner: str | None,
    module: tuple[str, ...],
    sender: tuple[str, ...],
) -> None:
    """Change what is given of a shared address; the rest stays.

    Example: mailrelay organisation-address change A01KA4QZ3M7Y8C2V5N6B7 --sender anna@example.org
    """
    given = {key: value for key, value in (("name", name), ("unknown", unknown)) if value is not None}
    sent: dict[str, Any] = dict(given)
    if owner is not None:
        sent["owner"] = None if owner == "none" else owner
    if module:
        sent["modules"] = module
    if sender:
        sent["senders"] = _given(sender)
    changed = talk.patch(f"/organisation-addresses/{part(id)}", sent)
    talk.show(changed, lambda: _told(changed))


@command.command("remove")
@click.argument("id")
@talks
def remove(talk: Talk, id: str) -> None:  # noqa: A002
    """Take a shared address out of use; the mail that came to it stays.

    Example: mailrelay organisation-address remove A01KA4QZ3M7Y8C2V5N6B7
    """
    talk.delete(f"/organisation-addresses/{part(id)}")
    talk.show({"id": id, "removed": True}, lambda: "Mail to it is refused from now on.")


def _given(sender: tuple[str, ...]) -> tuple[str, ...] | None:
    return None if not sender or "all" in sender else sender


def _senders(one: dict[str, Any]) -> str:
    return "all" if one["senders"] is None else " ".join(one["senders"]) or "nobody"


def _told(one: dict[str, Any]) -> str:
    return pairs(
        [
            ("id", one["id"]),
            ("address", one["address"]),
            ("name", plain(one["name"])),
            ("modules", ", ".join(one["modules"])),
            ("unknown people", f"become {one['unknown']}"),
            ("owned by", one["owner"] or "nobody"),
            ("sent as by", _senders(one)),
        ]
    )
