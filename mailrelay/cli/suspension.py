"""`mailrelay suspension`: jobs and sending domains whose mail is held."""

from __future__ import annotations

import click

from mailrelay.cli.show import table, when
from mailrelay.cli.talk import Talk, part, talks

_SCOPE = click.Choice(["job", "domain"])


@click.group("suspension")
def command() -> None:
    """Jobs and sending domains whose mail is held until somebody resumes it, and why."""


@command.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@talks
def list_(talk: Talk, limit: int) -> None:
    """List what is suspended now.

    Example: mailrelay suspension list
    """
    found = talk.pages("/suspensions", limit)
    rows = ((one["scope"], one["name"], when(one["since"]), one["held"], one["reason"]) for one in found["items"])
    talk.show(found, lambda: table(rows, "SCOPE", "NAME", "SINCE", "HELD", "REASON") or "Nothing is suspended.")


@command.command("show")
@click.argument("scope", type=_SCOPE)
@click.argument("name")
@talks
def show(talk: Talk, scope: str, name: str) -> None:
    """Show all that ever held a job or a domain, with the evidence.

    Example: mailrelay suspension show domain acme.example
    """
    found = talk.get(f"/suspensions/{scope}/{part(name)}")
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
@click.argument("scope", type=_SCOPE)
@click.argument("name")
@click.option("--reason", default="by hand", show_default=True, help="Why, for whoever asks later.")
@talks
def add(talk: Talk, scope: str, name: str, reason: str) -> None:
    """Hold all mail of a job or a sending domain.

    Example: mailrelay suspension add job spring-2026 --reason "wrong price in it"
    """
    made = talk.post("/suspensions", {"scope": scope, "name": name, "reason": reason})
    talk.show(made, lambda: f"The {made['scope']} {made['name']} is suspended; {made['held']} deliveries wait.")


@command.command("resume")
@click.argument("scope", type=_SCOPE)
@click.argument("name")
@talks
def resume(talk: Talk, scope: str, name: str) -> None:
    """Let the mail of a job or domain go again; what waited is due at once.

    Example: mailrelay suspension resume job spring-2026
    """
    made = talk.post(f"/suspensions/{scope}/{part(name)}/resume")
    talk.show(made, lambda: f"The {made['scope']} {made['name']} is resumed.")
