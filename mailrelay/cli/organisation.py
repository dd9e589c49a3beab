"""`mailrelay organisation`: organisations of this installation and their settings."""

from __future__ import annotations

from typing import Any

import click

from mailrelay.cli.show import pairs, table
from mailrelay.cli.talk import EX_DATAERR, Failed, Talk, talks


@click.group("organisation")
def command() -> None:
    """Organisations of this installation, and settings of one."""


@command.command("list")
@talks
def list_(talk: Talk) -> None:
    """List all organisations.

    Example: mailrelay organisation list
    """
    found = talk.all("/organisations")
    rows = ((one["id"], one["name"], one["time_zone"], ", ".join(one["domains"])) for one in found)
    empty = "No organisation yet. Add one with `mailrelay organisation add NAME`."
    talk.show(found, lambda: table(rows, "ORGANISATION", "NAME", "TIME ZONE", "DOMAINS") or empty)


@command.command("add")
@click.argument("name")
@click.option("--time-zone", default="UTC", show_default=True)
@click.option("--domain", multiple=True, help="A mail domain of it; may be given several times.")
@talks
def add(talk: Talk, name: str, time_zone: str, domain: tuple[str, ...]) -> None:
    """Add an organisation with the standard modules.

    Example: mailrelay organisation add "Example Ltd" --time-zone Europe/Berlin
    """
    found = talk.post("/organisations", {"name": name, "time_zone": time_zone, "domains": list(domain)})
    talk.show(found, lambda: _described(found))


@command.command("show")
@talks
def show(talk: Talk) -> None:
    """Show the organisation and its settings.

    Example: mailrelay organisation show
    """
    found = talk.get("/organisation")
    talk.show(found, lambda: _described(found))


@command.command("set")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE…")
@talks
def set_(talk: Talk, settings: tuple[str, ...]) -> None:
    """Change settings of the organisation, its name or its time_zone. Its domains: mailrelay domain.

    Example: mailrelay organisation set sender_check=authenticated unpermitted=refuse
    """
    given: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise Failed(f"{setting!r} must be name=value, such as sender_check=token", EX_DATAERR)
        if name == "domains":
            raise Failed(
                "domains are added and removed one by one: mailrelay domain add NAME, mailrelay domain remove NAME",
                EX_DATAERR,
            )
        (own if name in ("name", "time_zone") else given)[name] = value
    found = talk.patch("/organisation", {**own, "settings": given})
    talk.show(found, lambda: _described(found))


def _described(one: dict[str, Any]) -> str:
    return f"{one['id']}\n" + pairs(
        [
            ("name", one["name"]),
            ("time zone", one["time_zone"]),
            ("domains", ", ".join(one["domains"])),
            *((name, str(value).lower()) for name, value in one["settings"].items()),
        ],
        indent=2,
    )
