"""`mailrelay smart-host`: servers of users and domains that take their mail from us."""

from __future__ import annotations

from typing import IO, Any

import click

from mailrelay.cli.show import pairs, table, when
from mailrelay.cli.talk import Failed, Talk, part, talks

_REFUSED = 75  # EX_TEMPFAIL


@click.group("smart-host")
def command() -> None:
    """Servers of users' and domains' own that take their mail from us; a user's goes before a domain's."""


@command.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@talks
def list_(talk: Talk, limit: int) -> None:
    """List smart hosts, and why one takes no mail now.

    Example: mailrelay smart-host list
    """
    found = talk.pages("/smart-hosts", limit)
    rows = (
        (
            one["id"],
            f"{one['scope']} {one['name']}",
            f"{one['host']}:{one['port']}",
            one["tls"],
            one["auth"],
            one["trouble"] or "takes mail",
        )
        for one in found["items"]
    )
    empty = "No user or domain has a smart host of its own: all mail goes the way of the installation."
    talk.show(found, lambda: table(rows, "SMART HOST", "OF", "HOST", "TLS", "AUTH", "STATE") or empty)


@command.command("show")
@click.argument("smart_host")
@talks
def show(talk: Talk, smart_host: str) -> None:
    """Show a smart host; its credentials are shown to nobody.

    Example: mailrelay smart-host show H01JD…
    """
    found = talk.get(f"/smart-hosts/{part(smart_host)}")
    talk.show(found, lambda: pairs(_lines(found)))


@command.command("add")
@click.argument("scope", type=click.Choice(["user", "domain"]))
@click.argument("name")
@click.argument("host")
@click.option("--port", type=click.IntRange(1, 65535), default=587, show_default=True)
@click.option(
    "--tls",
    type=click.Choice(["required", "implicit", "opportunistic", "never"]),
    default="required",
    show_default=True,
    help="Credentials go over verified TLS only: required (STARTTLS) or implicit.",
)
@click.option("--username", default="", help="User name; without it nobody logs in.")
@click.option(
    "--password-file", type=click.File("r"), help="File with the password, - for standard input; else it is asked for."
)
@click.option("--token-url", default="", help="Of OAuth 2: where the refresh token is changed into an access token.")
@click.option("--client-id", default="", help="Of OAuth 2.")
@click.option("--client-secret-file", type=click.File("r"), help="Of OAuth 2: file with the client's secret.")
@click.option("--refresh-token-file", type=click.File("r"), help="Of OAuth 2: file with the refresh token.")
@click.option("--token-scope", default="", help="Of OAuth 2: scope to ask for.")
@talks
def add(
    talk: Talk,
    scope: str,
    name: str,
    host: str,
    port: int,
    tls: str,
    username: str,
    password_file: IO[str] | None,
    token_url: str,
    client_id: str,
    client_secret_file: IO[str] | None,
    refresh_token_file: IO[str] | None,
    token_scope: str,
) -> None:
    """Send all mail of a user, or of a sender domain, through a server of theirs. Secrets come from files or are asked for.

    Example: mailrelay smart-host add user anna@acme.example smtp.acme.example --username anna@acme.example

    Example: mailrelay smart-host add domain acme.example smtp.acme.example --username relay --password-file - < secret
    """
    auth = "oauth2" if token_url else "password" if username else "none"
    password = _secret(password_file)
    if auth == "password" and password_file is None:
        password = click.prompt("Password", hide_input=True, err=True)
    made = talk.post(
        "/smart-hosts",
        {
            "scope": scope,
            "name": name,
            "host": host,
            "port": port,
            "tls": tls,
            "auth": auth,
            "username": username,
            "password": password,
            "token_url": token_url,
            "client_id": client_id,
            "client_secret": _secret(client_secret_file),
            "refresh_token": _secret(refresh_token_file),
            "token_scope": token_scope,
        },
    )
    talk.show(
        made,
        lambda: (
            f"{made['id']}: mail of the {made['scope']} {made['name']} goes to {made['host']} from now on. "
            f"Try it: mailrelay smart-host test {made['id']}"
        ),
    )


@command.command("test")
@click.argument("smart_host")
@talks
def test(talk: Talk, smart_host: str) -> None:
    """Connect to a smart host now and log in; nothing is sent. The exit status is 75 when it refuses.

    Example: mailrelay smart-host test H01JD…
    """
    found = talk.post(f"/smart-hosts/{part(smart_host)}/test")
    if not found["works"] and not talk.as_json:
        raise Failed(f"{found['host']} will not do: {found['because']}", _REFUSED)
    over = found["tls"] or "no encryption"
    talk.show(found, lambda: f"{found['host']} lets us in, over {over}.")
    if not found["works"]:
        raise SystemExit(_REFUSED)


@command.command("remove")
@click.argument("smart_host")
@talks
def remove(talk: Talk, smart_host: str) -> None:
    """Use a smart host no more, and forget its credentials.

    Example: mailrelay smart-host remove H01JD…
    """
    talk.delete(f"/smart-hosts/{part(smart_host)}")
    talk.show({"removed": smart_host}, lambda: f"{smart_host} is removed; its mail goes the way that it had before.")


def _secret(file: IO[str] | None) -> str:
    """The first line of the file, without its end."""
    return "" if file is None else file.readline().rstrip("\r\n")


def _lines(one: dict[str, Any]) -> list[tuple[str, object]]:
    lines: list[tuple[str, object]] = [
        ("of", f"{one['scope']} {one['name']}"),
        ("host", f"{one['host']}:{one['port']}"),
        ("tls", one["tls"]),
        ("auth", one["auth"]),
    ]
    if one["username"]:
        lines.append(("user name", one["username"]))
    if one["token_url"]:
        lines += [("tokens from", one["token_url"]), ("client", one["client_id"])]
    lines.append(("added", f"{when(one['created_at'])} by {one['created_by']}"))
    state = f"takes no mail since {when(one['trouble_since'])}: {one['trouble']}" if one["trouble"] else "takes mail"
    return [*lines, ("state", state)]
