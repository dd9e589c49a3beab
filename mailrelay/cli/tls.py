"""`mailrelay tls`: encryption towards other mail servers."""

from __future__ import annotations

import click

from mailrelay.cli.show import table, when
from mailrelay.cli.talk import Talk, part, talks


@click.group("tls")
def command() -> None:
    """Encryption towards other mail servers: what they had, and why it was no better."""


@command.command("hosts")
@click.argument("host", required=False)
@click.option("--level", type=click.Choice(["verified", "unverified", "clear"]), help="Only those.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@talks
def hosts(talk: Talk, host: str | None, level: str | None, limit: int) -> None:
    """List what the hosts that mail went to had the last time, or HOST alone.

    Example: mailrelay tls hosts --level clear
    """
    if host is not None:
        found = {"items": talk.get(f"/tls/hosts/{part(host)}"), "next": None}
        if level is not None:
            found["items"] = [one for one in found["items"] if one["level"] == level]
    else:
        found = talk.pages("/tls/hosts", limit, **({} if level is None else {"level": level}))
    rows = (
        (
            one["host"],
            f"{one['ip']}:{one['port']}" if ":" not in one["ip"] else f"[{one['ip']}]:{one['port']}",
            f"{one['level']} {one['protocol']}".rstrip(),
            when(one["since"]),
            when(one["look_at"]) if one["look_at"] else "each time",
            one["reason"],
        )
        for one in found["items"]
    )
    talk.show(
        found,
        lambda: (
            table(rows, "HOST", "ADDRESS", "TLS", "SINCE", "NEXT LOOK", "WHY NO BETTER") or "No mail went anywhere yet."
        ),
    )


@command.command("forget")
@click.argument("host")
@talks
def forget(talk: Talk, host: str) -> None:
    """Forget HOST, so that the next connection tries the best at once, such as after its owner mended it.

    Example: mailrelay tls forget mx.example.org
    """
    made = talk.post(f"/tls/hosts/{part(host)}/forget")
    talk.show(
        made,
        lambda: (
            f"{made['host']} is forgotten; the next connection tries the best."
            if made["forgotten"]
            else f"Nothing was remembered of {made['host']}."
        ),
    )
