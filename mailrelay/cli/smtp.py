"""`mailrelay smtp`: talking to other mail servers."""

from __future__ import annotations

import ipaddress
import json

import click

from mailrelay.cli.show import plain
from mailrelay.cli.talk import EX_UNAVAILABLE, Talk, talks

_ARROWS = {"out": "->", "in": "<-", "note": "--"}


@click.group("smtp")
def command() -> None:
    """Talking to other mail servers."""


@command.command("trace")
@click.argument("target", required=False, default="")
@click.option(
    "--host", "as_host", is_flag=True, help="TARGET is one host; else it is a domain, whose hosts are looked up."
)
@click.option("--rcpt", default="", help="Offer this recipient, and give up before any mail is sent.")
@click.option("--from", "sender", default="", help="Offer it in the name of this address; without, of nobody: <>.")
@click.option("--source", default="", help="Leave by this egress source.")
@talks
def trace(talk: Talk, target: str, as_host: bool, rcpt: str, sender: str, source: str) -> None:
    """Show a live dialogue with TARGET: a recipient domain, or a host as NAME:PORT or address. No mail is sent.

    Example: mailrelay smtp trace customer.example --rcpt bob@customer.example
    """
    host, port = _host(target, as_host=as_host)
    query = {
        "destination": "" if host else target,
        "host": host,
        "port": port,
        "rcpt": rcpt,
        "from": sender,
        "source": source,
    }
    last = ""
    for line in talk.lines(talk.raw("POST", "/smtp/trace", query=query, patience=None)):
        last = line["text"] if line["direction"] == "note" else last
        if talk.as_json:
            click.echo(json.dumps(line))
        else:
            click.echo(f"{line['at']:8.3f} {_ARROWS[line['direction']]} {plain(line['text'])}")
    if last.startswith("failed"):
        click.get_current_context().exit(EX_UNAVAILABLE)


def _host(target: str, *, as_host: bool) -> tuple[str, int]:
    """The host and its port, 0 for the usual; "" where the target is a domain."""
    name, colon, port = target.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.startswith("[")):
        return name.strip("[]"), int(port)
    bare = target.strip("[]")
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return (target, 0) if as_host else ("", 0)
    return bare, 0
