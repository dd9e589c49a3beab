"""`mailrelay rate`: how the mail of jobs and sending domains fares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mailrelay.cli.show import table
from mailrelay.cli.talk import Talk, looks


@click.group("rate")
def command() -> None:
    """Bounces, complaints and unsubscriptions of each job and sending domain, and how near its brakes they are."""


@command.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@looks
def list_(talk: Talk, limit: int) -> None:
    """List the rates of every job, over all its days, and of every sending domain, over seven.

    Example: mailrelay rate list
    """
    found = talk.pages("/rates", limit)
    rows = (
        (
            one["scope"],
            one["name"],
            one["sent"],
            *(_share(rate) for rate in one["rates"]),
            "suspended" if one["suspended"] else one["level"],
            one["why"],
        )
        for one in found["items"]
    )
    talk.show(
        found,
        lambda: (
            table(rows, "SCOPE", "NAME", "SENT", "BOUNCES", "COMPLAINTS", "UNSUBSCRIBES", "LEVEL", "WHY")
            or "Nothing was sent yet."
        ),
    )


def _share(rate: Mapping[str, Any]) -> str:
    return f"{rate['count']} ({rate['share']:.2%})" if rate["count"] else "0"
