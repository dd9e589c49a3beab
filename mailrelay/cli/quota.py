"""`mailrelay quota`: what the organisation may still send today."""

from __future__ import annotations

import click

from mailrelay.cli.show import table
from mailrelay.cli.talk import Talk, looks, talks


@click.group("quota")
def command() -> None:
    """What the organisation may still send today: recipients of single mail and of mass mail. A day ends where it is."""


@command.command("show")
@looks
def show(talk: Talk) -> None:
    """Show today's quotas: how much, how much of it is used, and when they begin anew.

    Example: mailrelay quota show
    """
    found = talk.get("/quotas")
    rows = (
        (
            one["kind"],
            one["limit"] if one["enforced"] else "no limit here",
            one["used"],
            one["left"] if one["enforced"] else "-",
            f"{one['resets_at'][:16].replace('T', ' ')} {one['time_zone']}",
        )
        for one in found
    )
    talk.show(found, lambda: table(rows, "KIND", "A DAY", "USED", "LEFT", "BEGINS ANEW"))


@command.command("history")
@click.option("--days", type=click.IntRange(1), default=31, show_default=True, help="At most so many, newest first.")
@talks
def history(talk: Talk, days: int) -> None:
    """Show what was counted by day; days to come too, which scheduled mail counts on.

    Example: mailrelay quota history --days 7
    """
    found = talk.get("/quotas/history", limit=min(days, 1000))
    rows = ((one["day"], one["kind"], one["used"]) for one in found["items"])
    talk.show(found, lambda: table(rows, "DAY", "KIND", "USED") or "Nothing was counted yet.")
