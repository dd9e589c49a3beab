"""`mailrelay suspension`: jobs, sending domains, destinations and sources whose mail is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mailrelay.cli.show import table, when
from mailrelay.cli.talk import Talk, looks, part, talks

F = TypeVar("F", bound=Callable[..., Any])

_SCOPE = click.Choice(["job", "domain", "destination", "source"])
_SOURCE = "source"


def _what(command: F) -> F:
    """Give a command the arguments that say what is suspended, and for whom."""
    for decorate in (
        click.option("--installation", is_flag=True, help="For all organisations; a source always is."),
        click.argument("name"),
        click.argument("scope", type=_SCOPE),
    ):
        command = decorate(command)
    return command


def _path(scope: str, *, installation: bool) -> str:
    return "/installation/suspensions" if installation or scope == _SOURCE else "/suspensions"


@click.group("suspension")
def command() -> None:
    """Mail that is held until somebody resumes it, and why: of a job, of a sending domain, to a destination, by a source.

    A destination is a recipients' domain, or an MX site: the registrable domain of MX hosts, such as google.com for all whose mail
    Google takes (`mailrelay shaping list` shows them).
    """


@command.command("list")
@click.option("--installation", is_flag=True, help="What is suspended for all organisations.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@looks
def list_(talk: Talk, installation: bool, limit: int) -> None:
    """List what is suspended now, for the organisation or for all.

    Example: mailrelay suspension list
    """
    found = talk.pages(_path("", installation=installation), limit)
    rows = (
        (
            one["scope"],
            one["name"],
            "all" if one["installation"] else "",
            when(one["since"]),
            one["held"],
            one["reason"],
        )
        for one in found["items"]
    )
    talk.show(found, lambda: table(rows, "SCOPE", "NAME", "FOR", "SINCE", "HELD", "REASON") or "Nothing is suspended.")


@command.command("show")
@_what
@talks
def show(talk: Talk, scope: str, name: str, installation: bool) -> None:
    """Show all that ever held a job, a domain, a destination or a source, with the evidence.

    Example: mailrelay suspension show domain acme.example
    """
    found = talk.all(f"{_path(scope, installation=installation)}/{scope}/{part(name)}")
    rows = (
        (
            when(one["since"]),
            when(one["resumed_at"]) if one["resumed_at"] else "holds",
            one["by"],
            one["reason"],
            one["evidence"],
        )
        for one in found
    )
    talk.show(found, lambda: table(rows, "SINCE", "RESUMED", "BY", "REASON", "EVIDENCE"))


@command.command("add")
@_what
@click.option("--reason", default="by hand", show_default=True, help="Why, for whoever asks later.")
@talks
def add(talk: Talk, scope: str, name: str, installation: bool, reason: str) -> None:
    """Hold all mail of a job or a sending domain, to a destination, or by a source.

    Example: mailrelay suspension add job spring-2026 --reason "wrong price in it"

    Example: mailrelay suspension add destination example.com --installation --reason "they asked us to"
    """
    path = _path(scope, installation=installation)
    made = talk.post(path, {"scope": scope, "name": name, "reason": reason})
    everywhere = " for all organisations" if made["installation"] else ""
    held = "1 delivery waits" if made["held"] == 1 else f"{made['held']} deliveries wait"
    talk.show(made, lambda: f"The {made['scope']} {made['name']} is suspended{everywhere}; {held}.")


@command.command("resume")
@_what
@talks
def resume(talk: Talk, scope: str, name: str, installation: bool) -> None:
    """Let the mail go again when it is due; the time that it waited is not counted towards its expiry.

    Example: mailrelay suspension resume job spring-2026
    """
    made = talk.post(f"{_path(scope, installation=installation)}/{scope}/{part(name)}/resume")
    everywhere = " for all organisations" if made["installation"] else ""
    talk.show(made, lambda: f"The {made['scope']} {made['name']} is resumed{everywhere}.")
