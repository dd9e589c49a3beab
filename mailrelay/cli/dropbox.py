"""`mailrelay dropbox`: a user's secret address, made, shown, regenerated, disabled, as a vCard (I1, I21)."""

from __future__ import annotations

from typing import Any

import click

from mailrelay.cli.show import table, used, when
from mailrelay.cli.talk import Talk, part, talks

_MOST = 1000


@click.group("dropbox")
def command() -> None:
    """Users' secret addresses: whoever puts one in Bcc has the mail filed. USER is an id or any of their addresses."""


@command.command("show")
@click.argument("user")
@talks
def show(talk: Talk, user: str) -> None:
    """Show a user's dropbox, and those they had before.

    Example: mailrelay dropbox show anna@example.org
    """
    found = talk.all(f"/users/{part(user)}/dropboxes")
    rows = (
        (one["address"], when(one["created_at"]), when(one["valid_until"]), when(one["last_used_at"])) for one in found
    )
    empty = f"{user} has none yet. Make one with `mailrelay dropbox make {user}`."
    talk.show(found, lambda: table(rows, "ADDRESS", "MADE", "VALID UNTIL", "LAST USED") or empty)


@command.command("make")
@click.argument("user")
@talks
def make(talk: Talk, user: str) -> None:
    """Give a user their dropbox.

    Example: mailrelay dropbox make anna@example.org
    """
    _new(talk, talk.post(f"/users/{part(user)}/dropboxes"))


@command.command("regenerate")
@click.argument("user")
@click.option("--overlap", default="0", show_default=True, help="How long the old address stays valid, such as 7d.")
@talks
def regenerate(talk: Talk, user: str, overlap: str) -> None:
    """Give a user a new dropbox; the old one stops at once, or after --overlap.

    Example: mailrelay dropbox regenerate anna@example.org --overlap 7d
    """
    _new(talk, talk.post(f"/users/{part(user)}/dropboxes/regenerate", overlap=overlap))


@command.command("uses")
@click.argument("user")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many of each dropbox."
)
@talks
def uses(talk: Talk, user: str, limit: int) -> None:
    """List who writes to a user's dropboxes, the old ones too: whom to tell before an old one ends.

    Example: mailrelay dropbox uses anna@example.org
    """
    boxes = talk.pages(f"/users/{part(user)}/dropboxes", _MOST)["items"]
    found = [
        {"dropbox": box, "uses": talk.pages(f"/users/{part(user)}/dropboxes/{box['id']}/uses", limit)["items"]}
        for box in boxes
    ]
    rows = (
        (one["dropbox"]["address"], when(one["dropbox"]["valid_until"]), *used(use))
        for one in found
        for use in one["uses"]
    )
    headings = ("DROPBOX", "VALID UNTIL", "WHO", "MAILS", "FIRST", "LAST")
    talk.show(found, lambda: table(rows, *headings) or f"Nobody has written to a dropbox of {user} yet.")


@command.command("disable")
@click.argument("user")
@talks
def disable(talk: Talk, user: str) -> None:
    """End every dropbox of a user at once.

    Example: mailrelay dropbox disable anna@example.org
    """
    talk.delete(f"/users/{part(user)}/dropboxes")
    talk.show({"user": user, "disabled": True}, lambda: f"{user} has no dropbox now.")


@command.command("vcard")
@click.argument("user")
@talks
def vcard(talk: Talk, user: str) -> None:
    """Print a user's dropbox as a vCard for an address book.

    Example: mailrelay dropbox vcard anna@example.org > dropbox.vcf
    """
    card = talk.bytes(f"/users/{part(user)}/dropbox.vcf").decode()
    if talk.as_json:
        talk.show({"vcard": card}, str)
    else:
        click.echo(card.encode(), nl=False)


def _new(talk: Talk, made: dict[str, Any]) -> None:
    talk.show(made, lambda: f"{made['address']}\nMail with this address in Bcc is filed.")
