"""`mailrelay suppression`: addresses that must not be sent to."""

from __future__ import annotations

import click

from mailrelay.cli.show import table, when
from mailrelay.cli.talk import Talk, part, talks

_REASONS = click.Choice(
    "hard_bounce soft_bounces complaint unsubscribed opted_out locked by_hand".split()  # noqa: SIM905
)


@click.group("suppression")
def command() -> None:
    """Addresses that must not be sent to, and why."""


@command.command("list")
@click.option("--search", default="", help="Part of an address.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@talks
def list_(talk: Talk, search: str, limit: int) -> None:
    """List what holds now.

    Example: mailrelay suppression list --search @customer.example
    """
    found = talk.pages("/suppressions", limit, search=search)
    rows = ((one["key"], one["reason"], when(one["since"]), one["evidence"]) for one in found["items"])
    talk.show(found, lambda: table(rows, "ADDRESS", "REASON", "SINCE", "EVIDENCE") or "No address is suppressed.")


@command.command("add")
@click.argument("address")
@click.option("--reason", type=_REASONS, default="by_hand", show_default=True)
@click.option("--evidence", default="by hand", show_default=True, help="What was seen.")
@talks
def add(talk: Talk, address: str, reason: str, evidence: str) -> None:
    """Suppress an address.

    Example: mailrelay suppression add bob@customer.example --evidence "asked by phone"
    """
    found = talk.post("/suppressions", {"address": address, "reason": reason, "evidence": evidence})
    talk.show(found, lambda: f"{address} is suppressed ({', '.join(one['reason'] for one in found)}).")


@command.command("lift")
@click.argument("address")
@click.option("--reason", type=_REASONS, help="Only this one; by default all.")
@talks
def lift(talk: Talk, address: str, reason: str | None) -> None:
    """Let an address be sent to again.

    Example: mailrelay suppression lift bob@customer.example
    """
    found = talk.delete(f"/suppressions/{part(address)}", reason=reason)
    talk.show(found, lambda: f"Lifted from {address}: {', '.join(one['reason'] for one in found)}.")
