"""`mailrelay user`: people, their addresses, and the password of SMTP submission."""

from __future__ import annotations

import sys
from typing import Any

import click

from mailrelay.cli.show import pairs, plain, table
from mailrelay.cli.talk import Talk, part, talks

_NOTICES = ("wrote", "replied", "opened", "clicked", "bounced")
_ROLES = click.Choice(["administrator", "user", "guest"])


@click.group("user")
def command() -> None:
    """People: their addresses, roles, and submission passwords. USER is an id or any of their addresses."""


@command.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, oldest first.")
@talks
def list_(talk: Talk, limit: int) -> None:
    """List users.

    Example: mailrelay user list
    """
    found = talk.pages("/users", limit)
    rows = (
        (
            one["id"],
            one["name"],
            one["role"] if one["active"] else "inactive",
            one["primary"],
            " ".join(one["alternates"]),
        )
        for one in found["items"]
    )
    empty = "Nobody yet. Add somebody with `mailrelay user add --name … --address …`."
    talk.show(found, lambda: table(rows, "USER", "NAME", "ROLE", "PRIMARY", "ALTERNATES") or empty)


@command.command("show")
@click.argument("user")
@talks
def show(talk: Talk, user: str) -> None:
    """Show a user with their settings.

    Example: mailrelay user show anna@example.org
    """
    found = talk.get(f"/users/{part(user)}")
    talk.show(found, lambda: _told(found))


@command.command("add")
@click.option("--name", required=True, help="As in `Anna Example`.")
@click.option("--address", required=True, help="The primary address.")
@click.option("--alternate", multiple=True, help="A further address; may be given several times.")
@click.option("--role", type=_ROLES, default="user", show_default=True)
@click.option("--unconfirmed", is_flag=True, help="Does not count for the quota of single mail until confirmed.")
@talks
def add(talk: Talk, name: str, address: str, alternate: tuple[str, ...], role: str, unconfirmed: bool) -> None:
    """Add a user.

    Example: mailrelay user add --name "Anna Example" --address anna@example.org
    """
    given = {"name": name, "primary": address, "alternates": alternate, "role": role, "confirmed": not unconfirmed}
    made = talk.post("/users", given)
    talk.show(
        made, lambda: f"{made['id']}  {plain(made['name'])}\nTheir dropbox: mailrelay dropbox make {made['primary']}"
    )


@command.command("change")
@click.argument("user")
@click.option("--name")
@click.option("--address", help="Another primary address.")
@click.option("--alternate", multiple=True, help="All further addresses, in place of those before; `none` for none.")
@click.option("--role", type=_ROLES)
@click.option("--active/--inactive", default=None, help="Inactive: no dropbox, no submission; what was filed stays.")
@click.option(
    "--confirmed/--unconfirmed", default=None, help="Unconfirmed: does not count for the quota of single mail."
)
@click.option("--time-zone", help="Where they are, for times without a zone; `none`: where the organisation is.")
@click.option("--module", multiple=True, help="Modules to search, in this order, in place of those before.")
@click.option(
    "--unknown", type=click.Choice(["lead", "contact", "nothing"]), help="What an unknown correspondent becomes."
)
@click.option(
    "--notice",
    multiple=True,
    type=click.Choice([*_NOTICES, "none"]),
    help="What they hear of at once, in place of what they did; `none` for nothing.",
)
@talks
def change(
    talk: Talk,
    user: str,
    name: str | None,
    address: str | None,
    alternate: tuple[str, ...],
    role: str | None,
    active: bool | None,
    confirmed: bool | None,
    time_zone: str | None,
    module: tuple[str, ...],
    unknown: str | None,
    notice: tuple[str, ...],
) -> None:
    """Change what is given of a user; the rest stays.

    Example: mailrelay user change anna@example.org --unknown contact --module contact --module account
    """
    given: dict[str, Any] = {"name": name, "primary": address, "role": role, "active": active, "confirmed": confirmed}
    if alternate:
        given["alternates"] = [one for one in alternate if one != "none"]
    where = "" if time_zone == "none" else time_zone
    notices = [one for one in notice if one != "none"] if notice else None
    settings = {"modules": module or None, "unknown": unknown, "time_zone": where, "notices": notices}
    given["settings"] = {key: value for key, value in settings.items() if value is not None}
    changed = talk.patch(f"/users/{part(user)}", {key: value for key, value in given.items() if value is not None})
    talk.show(changed, lambda: _told(changed))


@command.command("password")
@click.argument("user")
@click.option("--password", help="At least 12 characters; asked for, or read from standard input, when not given.")
@click.option("--none", "away", is_flag=True, help="Take SMTP submission away instead.")
@talks
def password(talk: Talk, user: str, password: str | None, away: bool) -> None:
    """Set the password that a user's mail program sends with.

    Example: mailrelay user password anna@example.org < password.txt
    """
    if away and password is not None:
        raise click.UsageError("--password and --none exclude each other")
    if not away and password is None:
        password = _asked()
    talk.put(f"/users/{part(user)}/password", {"password": None if away else password})
    said = "can submit no more" if away else "can submit with the new password"
    talk.show({"user": user, "submission": not away}, lambda: f"{user} {said}.")


def _asked() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return typed


def _told(one: dict[str, Any]) -> str:
    settings = one["settings"]
    return pairs(
        [
            ("user", one["id"]),
            ("name", one["name"]),
            ("role", one["role"] if one["active"] else f"{one['role']}, inactive"),
            ("confirmed", "" if one["confirmed"] else "no: does not count for the quota of single mail"),
            ("time zone", settings["time_zone"]),
            ("primary", one["primary"]),
            ("alternates", ", ".join(one["alternates"])),
            ("modules", ", ".join(settings["modules"])),
            ("unknown people", f"become {settings['unknown']}"),
            ("notices", ", ".join(settings["notices"]) or "none"),
        ]
    )
