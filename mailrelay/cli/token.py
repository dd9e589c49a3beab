"""`mailrelay token`: tokens of the HTTP API."""

from __future__ import annotations

import click

from mailrelay.cli.show import table, when
from mailrelay.cli.talk import Talk, looks, part, talks


@click.group("token")
def command() -> None:
    """Tokens of the HTTP API."""


@command.command("list")
@looks
def list_(talk: Talk) -> None:
    """List tokens, revoked ones too; secrets are not kept.

    Example: mailrelay token list
    """
    found = talk.all("/tokens")
    rows = (
        (
            one["id"],
            one["name"],
            ", ".join(one["rights"]),
            one["user"] or "-",
            when(one["created_at"]),
            when(one["revoked_at"]),
        )
        for one in found
    )
    empty = "No token yet. Make one with `mailrelay token make NAME`."
    talk.show(found, lambda: table(rows, "TOKEN", "NAME", "MAY", "AS", "MADE", "REVOKED") or empty)


@command.command("make")
@click.argument("name")
@click.option(
    "--may",
    multiple=True,
    type=click.Choice(["admin", "send", "read"]),
    default=("read",),
    show_default=True,
    help="A right; may be given several times.",
)
@click.option("--user", help="On whose behalf it acts, by id or address.")
@talks
def make(talk: Talk, name: str, may: tuple[str, ...], user: str | None) -> None:
    """Make a token and print its secret, this once.

    Example: mailrelay token make "our CRM" --may send --may read
    """
    found = talk.post("/tokens", {"name": name, "rights": list(may), "user": user})
    talk.show(found, lambda: str(found["secret"]))


@command.command("revoke")
@click.argument("token")
@talks
def revoke(talk: Talk, token: str) -> None:
    """Make a token worthless, at once and for good. Webhooks that it made, or changed or enabled last, are disabled.

    Example: mailrelay token revoke T01JD…
    """
    talk.delete(f"/tokens/{part(token)}")
    talk.show({"revoked": token}, lambda: f"{token} is revoked.")
