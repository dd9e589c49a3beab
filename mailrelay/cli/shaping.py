"""`mailrelay shaping`: how much goes to each MX site now."""

from __future__ import annotations

import click

from mailrelay.cli.show import table, when
from mailrelay.cli.talk import Talk, talks

_STANDS = {"flows": "", "slowed": "slowed", "dead": "dead", "shut": "shut"}


@click.group("shaping")
def command() -> None:
    """How much goes to each MX site now: connections and rate, which fall when a site asks for less and recover by themselves.

    A dead site does not answer, and is tried by one connection now and then; one that is shut refuses our credentials, or says that
    our quota there is spent.
    """


@command.command("list")
@click.option("--troubled", is_flag=True, help="Only what is slowed, dead or shut.")
@talks
def list_(talk: Talk, troubled: bool) -> None:
    """List the sites that mail has gone to since the daemon started.

    Example: mailrelay shaping list --troubled
    """
    found = [one for one in talk.all("/shaping") if not troubled or one["condition"] != "flows"]
    rows = (
        (
            one["site"],
            one["source"],
            _STANDS[one["condition"]],
            f"{one['used']} of {one['allowed']}",
            one["connections"],
            f"{one['rate']:g}/min" if one["rate"] else "",
            when(one["paused_until"]) if one["paused_until"] else "",
            one["because"],
        )
        for one in found
    )
    empty = "No site is slowed, dead or shut." if troubled else "No mail has gone to any site since the daemon started."
    talk.show(
        found, lambda: table(rows, "SITE", "SOURCE", "IS", "NOW", "AT MOST", "RATE", "PAUSED UNTIL", "BECAUSE") or empty
    )
