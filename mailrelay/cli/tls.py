"""`mailrelay tls`: encryption towards other mail servers."""

from __future__ import annotations

from typing import Any

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
        items = [one for one in talk.all(f"/tls/hosts/{part(host)}") if level in (None, one["level"])]
        found: dict[str, Any] = {"items": items, "next": None}
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


@command.command("report")
@click.option("--day", default="", help="The day in UTC, as 2026-11-22; today if not given.")
@click.option("--domain", default="", help="One destination, with each kind of session.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@talks
def report(talk: Talk, day: str, domain: str, limit: int) -> None:
    """Show how TLS with the destinations of a day went, and the report that each was sent of it (RFC 8460).

    Example: mailrelay tls report --domain customer.example
    """
    if domain:
        one = talk.get(f"/tls/reports/{part(domain)}", day=day)
        talk.show(one, lambda: "\n\n".join((_days([one]), _counts(one))))
        return
    found = talk.pages("/tls/reports", limit, day=day)
    talk.show(found, lambda: _days(found["items"]) or "No mail went anywhere on that day.")


def _days(found: list[dict[str, Any]]) -> str:
    rows = (
        (
            one["destination"],
            one["successful"],
            one["failed"],
            one["report"] or "not due yet",
            one["sent_to"] or one["detail"] or "-",
        )
        for one in found
    )
    return table(rows, "DESTINATION", "WENT WELL", "FAILED", "REPORT", "TO, OR WHY NOT")


def _counts(one: dict[str, Any]) -> str:
    rows = (
        (
            each["sessions"],
            each["result"],
            each["policy"],
            each["mx_host"] or "-",
            each["ip"] or "-",
            each["source_ip"] or "-",
            each["detail"] or "-",
        )
        for each in one["counts"]
    )
    return table(rows, "SESSIONS", "RESULT", "POLICY", "HOST", "ADDRESS", "FROM", "WHAT WAS SAID")
