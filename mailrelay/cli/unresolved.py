"""`mailrelay unresolved`: mail that could not be filed and waits for a person."""

from __future__ import annotations

from typing import Any

import click

from mailrelay.cli.show import pairs, table, when
from mailrelay.cli.talk import Talk, looks, part, talks


@click.group("unresolved")
def command() -> None:
    """Mail that could not be filed, with the reason."""


@command.command("list")
@click.option("--user", default="", help="Only mail to this user's dropbox.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@looks
def list_(talk: Talk, user: str, limit: int) -> None:
    """List the open entries, oldest first.

    Example: mailrelay unresolved list
    """
    found = talk.pages("/unresolved", limit, user=user)
    rows = ((one["id"], when(one["since"]), one["reason"], one["sender"], one["subject"]) for one in found["items"])
    talk.show(
        found, lambda: table(rows, "ENTRY", "SINCE", "REASON", "FROM", "SUBJECT") or "Nothing waits: all mail is filed."
    )


@command.command("show")
@click.argument("entry")
@talks
def show(talk: Talk, entry: str) -> None:
    """Show an entry: why it waits, and whom a record could be made of.

    Example: mailrelay unresolved show X01JD…
    """
    found = talk.get(f"/unresolved/{part(entry)}")
    talk.show(found, lambda: _described(found))


@command.command("file")
@click.argument("entry")
@click.option("--record", multiple=True, help="A record to file it on, such as contact/17; may be given several times.")
@click.option("--create", metavar="MODULE", help="Make a record of this module, such as lead, and file it there.")
@click.option("--address", help="Whose record to make; by default whom the entry suggests.")
@click.option("--name", help="Name of the new record.")
@talks
def file(
    talk: Talk, entry: str, record: tuple[str, ...], create: str | None, address: str | None, name: str | None
) -> None:
    """File an entry on records, or on a new one.

    Example: mailrelay unresolved file X01JD… --create lead
    """
    if bool(record) == bool(create):
        raise click.UsageError("say where to file it: either --record MODULE/ID or --create MODULE")
    if record and (address or name):
        raise click.UsageError("--address and --name are for --create")
    given = {"records": list(record), "create": create, "address": address, "name": name}
    found = talk.post(f"/unresolved/{part(entry)}/file", given)
    talk.show(found, lambda: f"Filed on {', '.join(found['records'])}.")


@command.command("dismiss")
@click.argument("entry")
@talks
def dismiss(talk: Talk, entry: str) -> None:
    """Decide that an entry is not to be filed; the mail is kept, on no record.

    Example: mailrelay unresolved dismiss X01JD…
    """
    talk.post(f"/unresolved/{part(entry)}/dismiss")
    talk.show({"dismissed": entry}, lambda: f"{entry} is dismissed.")


@command.command("release")
@click.argument("entry")
@talks
def release(talk: Talk, entry: str) -> None:
    """Give an entry back to the rules, its sender permitted this once.

    Example: mailrelay unresolved release X01JD…
    """
    talk.post(f"/unresolved/{part(entry)}/release")
    talk.show({"released": entry}, lambda: f"{entry} is filed anew.")


def _described(one: dict[str, Any]) -> str:
    who = one["suggestion"]
    return f"{one['id']}\n" + pairs(
        [
            ("reason", one["reason"]),
            ("because", one["explanation"]),
            ("from", one["sender"]),
            ("subject", one["subject"]),
            ("since", when(one["since"])),
            ("arrival", one["arrival"]),
            ("message", one["message"]),
            ("a record could be made of", f"{who['name']} <{who['address']}>" if who else ""),
            (
                "resolved",
                f"{one['resolution']} by {one['resolved_by']}, {when(one['resolved_at'])}"
                if one["resolved_at"]
                else "",
            ),
        ],
        indent=2,
    )
