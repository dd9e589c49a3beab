"""`mailrelay module`: kinds of record and their address fields."""

from __future__ import annotations

import click

from mailrelay.cli.show import table
from mailrelay.cli.talk import Talk, part, talks


@click.group("module")
def command() -> None:
    """Kinds of record, and which of their fields hold addresses."""


@command.command("list")
@talks
def list_(talk: Talk) -> None:
    """List modules.

    Example: mailrelay module list
    """
    found = talk.all("/modules")
    rows = (
        (
            one["name"],
            one["label"],
            "yes" if one["custom"] else "no",
            ", ".join(f"{field['name']} ({field['kind']})" for field in one["address_fields"]),
        )
        for one in found
    )
    talk.show(found, lambda: table(rows, "MODULE", "LABEL", "CUSTOM", "ADDRESS FIELDS"))


@command.command("add")
@click.argument("name")
@click.argument("label")
@click.option("--field", multiple=True, help="A field that holds an address; may be given several times.")
@talks
def add(talk: Talk, name: str, label: str, field: tuple[str, ...]) -> None:
    """Add or change a custom module; mail is matched by its address fields.

    Example: mailrelay module add tenant Tenants --field email
    """
    given = {"label": label, "address_fields": [{"name": one} for one in field]}
    found = talk.put(f"/modules/{part(name)}", given)
    talk.show(found, lambda: f"{found['name']} has the address fields {', '.join(field) or '(none)'}.")
