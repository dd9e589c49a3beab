"""`mailrelay sharing`: who sees whose mail (I16)."""

from __future__ import annotations

from typing import Any

import click

from mailrelay.cli.show import pairs, table
from mailrelay.cli.talk import Talk, part, talks

_HOW = ("private", "public", "custom")


@click.group("sharing")
def command() -> None:
    """Who sees whose mail. USER is an id or an address.

    What holds for users for whom nothing else is set, and whether they may set it themselves, are settings of the organisation:
    mailrelay organisation set sharing=private sharing_by_users=true
    """


@command.command("show")
@click.argument("user")
@talks
def show(talk: Talk, user: str) -> None:
    """Show how a user's mail is shared, and the first hundred of the records that they chose.

    Example: mailrelay sharing show anna@example.com
    """
    found = talk.get(f"/users/{part(user)}/sharing")
    chosen = talk.get(f"/users/{part(user)}/sharing/records", limit=100)["items"]
    talk.show({**found, "records": [one["record"] for one in chosen]}, lambda: _described(found, chosen))


@command.command("set")
@click.argument("user")
@click.argument("how", type=click.Choice([*_HOW, "default"]))
@talks
def set_(talk: Talk, user: str, how: str) -> None:
    """Share a user's mail with nobody, with everybody, or on chosen records; default is as the organisation has it.

    Example: mailrelay sharing set anna@example.com private
    """
    found = _changed(talk, user, sharing=None if how == "default" else how)
    talk.show(found, lambda: f"The mail of {user} is {found['effective']}.")


@command.command("choose")
@click.argument("user")
@click.argument("record", metavar="MODULE/ID")
@talks
def choose(talk: Talk, user: str, record: str) -> None:
    """Share a user's mail on a record, where their sharing is custom.

    Example: mailrelay sharing choose anna@example.com contact/17
    """
    made = talk.put(_place(user, record))
    talk.show(made, lambda: f"The mail of {user} on {made['record']} is shared where their sharing is custom.")


@command.command("leave")
@click.argument("user")
@click.argument("record", metavar="MODULE/ID")
@talks
def leave(talk: Talk, user: str, record: str) -> None:
    """Share a user's mail on a record no more.

    Example: mailrelay sharing leave anna@example.com contact/17
    """
    talk.delete(_place(user, record))
    talk.show({"record": record, "removed": True}, lambda: f"{record} is not chosen by {user} any more.")


@command.command("domains")
@talks
def domains(talk: Talk) -> None:
    """List the domains whose mail nobody shares.

    Example: mailrelay sharing domains
    """
    found = talk.all("/sharing/domains")
    empty = "No domain is kept back. Keep one back with `mailrelay sharing keep-back DOMAIN`."
    talk.show(found, lambda: table(((one["domain"],) for one in found), "DOMAIN") or empty)


@command.command("keep-back")
@click.argument("domain")
@click.option("--of", "user", default="", help="Only of this user's mail.")
@talks
def keep_back(talk: Talk, domain: str, user: str) -> None:
    """Share no mail with a domain, or one below it.

    Example: mailrelay sharing keep-back lawyers.example
    """
    if user:
        known = talk.get(f"/users/{part(user)}/sharing")["unshared_domains"]
        found = _changed(talk, user, unshared_domains=[*known, domain])
    else:
        found = talk.put(f"/sharing/domains/{part(domain)}")
    talk.show(found, lambda: f"Mail with {domain} is not shared{f' by {user}' if user else ''}.")


@command.command("share-again")
@click.argument("domain")
@click.option("--of", "user", default="", help="Only of this user's mail.")
@talks
def share_again(talk: Talk, domain: str, user: str) -> None:
    """Keep mail with a domain back no more.

    Example: mailrelay sharing share-again lawyers.example
    """
    if user:
        known = talk.get(f"/users/{part(user)}/sharing")["unshared_domains"]
        _changed(talk, user, unshared_domains=[one for one in known if one != domain])
    else:
        talk.delete(f"/sharing/domains/{part(domain)}")
    whose = f" by {user}" if user else ""
    talk.show({"domain": domain, "removed": True}, lambda: f"Mail with {domain} is not kept back{whose} any more.")


def _changed(talk: Talk, user: str, **new: object) -> dict[str, Any]:
    """A user's sharing with this much changed."""
    path = f"/users/{part(user)}/sharing"
    known = talk.get(path)
    given = {name: known[name] for name in ("sharing", "unshared_domains")}
    found: dict[str, Any] = talk.put(path, {**given, **new})
    return found


def _place(user: str, record: str) -> str:
    module, _, name = record.partition("/")
    return f"/users/{part(user)}/sharing/records/{part(module)}/{part(name)}"


def _described(one: dict[str, Any], chosen: list[dict[str, Any]]) -> str:
    by = "set for this user" if one["sharing"] else "as the organisation has it"
    return pairs(
        [
            ("sharing", f"{one['effective']} ({by})"),
            ("set by", "administrators or the user" if one["left_to_user"] else "administrators"),
            ("unshared domains", ", ".join(one["unshared_domains"]) or "none of their own"),
            ("chosen records", ", ".join(each["record"] for each in chosen) or "none"),
        ]
    )
