"""`mailrelay domain`: mail domains, DKIM keys, and the lines to publish."""

from __future__ import annotations

from typing import Any

import click

from mailrelay.cli.show import pairs, plain, table, when
from mailrelay.cli.talk import Talk, part, talks


@click.group("domain")
def command() -> None:
    """Mail domains. Until one has proved itself in DNS, mail leaves as the installation's own domain."""


@command.command("list")
@talks
def list_(talk: Talk) -> None:
    """List domains, the installation's own included.

    Example: mailrelay domain list
    """
    found = talk.all("/domains")
    rows = (
        (
            one["domain"],
            when(one["proved_at"]) if one["proved_at"] else "no",
            ", ".join(key["selector"] for key in one["keys"]),
        )
        for one in found
    )
    empty = "No domain yet. Add one with `mailrelay domain add example.org`."
    talk.show(found, lambda: table(rows, "DOMAIN", "PROVED", "KEYS") or empty)


@command.command("add")
@click.argument("domain")
@talks
def add(talk: Talk, domain: str) -> None:
    """Add a domain of the organisation, with its first DKIM keys.

    Example: mailrelay domain add example.org
    """
    found = talk.put(f"/domains/{part(domain)}")
    talk.show(
        found,
        lambda: f"{domain} is added. Publish these lines, then run `mailrelay domain prove {domain}`:\n{_lines(found)}",
    )


@command.command("remove")
@click.argument("domain")
@talks
def remove(talk: Talk, domain: str) -> None:
    """Take a domain from the organisation.

    Example: mailrelay domain remove example.org
    """
    talk.delete(f"/domains/{part(domain)}")
    talk.show({"domain": domain}, lambda: f"{domain} is removed.")


@command.command("dns")
@click.argument("domain")
@talks
def dns(talk: Talk, domain: str) -> None:
    """Print the lines that the domain's zone must hold.

    Example: mailrelay domain dns example.org
    """
    found = talk.get(f"/domains/{part(domain)}")
    talk.show(found, lambda: _lines(found) or f"{domain} has no key. Make one with `mailrelay domain key {domain}`.")


@command.command("key")
@click.argument("domain")
@click.option("--active-in", default="", help="When it begins to sign; by default 2d, or at once for the first.")
@click.option("--retire", metavar="SELECTOR", help="Let this key sign no more, instead of making new ones.")
@talks
def key(talk: Talk, domain: str, active_in: str, retire: str | None) -> None:
    """Make this month's keys, RSA and Ed25519, or retire one.

    Example: mailrelay domain key example.org --active-in 2d
    """
    if retire:
        talk.delete(f"/domains/{part(domain)}/keys/{part(retire)}")
        talk.show({"retired": retire}, lambda: f"{retire} signs no more; leave its line in DNS for a week.")
        return
    found = talk.post(f"/domains/{part(domain)}/keys", active_in=active_in)
    rows = ((one["selector"], one["algorithm"], when(one["active_from"])) for one in found)
    talk.show(found, lambda: f"{table(rows, 'SELECTOR', 'ALGORITHM', 'SIGNS FROM')}\n\n{_lines({'keys': found})}")


@command.command("prove")
@click.argument("domain")
@talks
def prove(talk: Talk, domain: str) -> None:
    """Look the domain up in DNS now: whether mail may leave as it, and what is missing.

    Example: mailrelay domain prove example.org
    """
    found = talk.post(f"/domains/{part(domain)}/proof")
    verdict = {True: "is proved", False: "is not proved", None: "was not decided: DNS gave no answer"}[found["proved"]]
    checks = (
        ("ok     " if one["passed"] else "missing", f"{one['what']} {one['name']}: {one['explanation']}")
        for one in found["checks"]
    )
    talk.show(found, lambda: f"{plain(domain)} {verdict}\n{pairs(checks, indent=2)}")


def _lines(found: dict[str, Any]) -> str:
    return "\n".join(key["dns_line"] for key in found["keys"] if not key["retired_at"])
