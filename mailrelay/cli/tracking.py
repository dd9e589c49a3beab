"""`mailrelay tracking`: what recipients did with mail, and what it is taken for (O9, K1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mailrelay.cli.message import named
from mailrelay.cli.show import plain, table, when
from mailrelay.cli.talk import EX_TEMPFAIL, Failed, Talk, part, talks
from mailrelay.cli.tracking_consent import consent


@click.group("tracking")
def command() -> None:
    """Opens and clicks: what was done with a mail, by whom it seems and why."""


command.add_command(consent)


@command.command("show")
@click.argument("message")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, oldest first.")
@talks
def show(talk: Talk, message: str, limit: int) -> None:
    """Show every open and click of a message: when, by whom, which link, and why it is a person's or a machine's.

    MESSAGE is its id, a queue id (Q…) of a 250 reply, or the word latest: the mail that was taken last.

    Example: mailrelay tracking show M01JD…
    """
    found = talk.pages(f"/messages/{part(named(talk, message))}/hits", limit)
    rows = (
        (
            when(one["at"]),
            one["kind"] if one["kind"] != "click" else f"click {one['link']}",
            one["by"],
            ", ".join(one["reasons"]),
            plain(one["recipient"] or "-"),
            one["ip"],
            plain(one["url"]) or "-",
        )
        for one in found["items"]
    )
    shown = table(rows, "AT", "WHAT", "BY", "WHY", "RECIPIENT", "FROM", "LINK")
    talk.show(
        found, lambda: shown or "Nobody has opened it, or nothing is recorded of it: mailrelay message show says which."
    )


@command.command("rejudge")
@click.option("--since", default="", help="Hits of how far back, such as 30d; by default all.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@talks
def rejudge(talk: Talk, since: str, dry_run: bool) -> None:
    """Judge opens and clicks again by today's rules: after an update, which may know more machines.

    Example: mailrelay tracking rejudge --since 30d --dry-run
    """
    query = {"apply": "false" if dry_run else "true", **({"since": since} if since else {})}
    answer = talk.raw("POST", "/tracking/rejudge", query=query, patience=None)
    end: dict[str, Any] = {}
    changes: list[Any] = []
    for line in talk.lines(answer):
        if "changed" in line:
            end = line
        elif talk.as_json:
            changes.append(line)
        else:
            click.echo(_told(line))
    if not end or end["error"]:
        raise Failed(plain(end.get("error") or "the daemon broke off; what was done so far holds"), EX_TEMPFAIL)
    talk.show(end | {"items": changes}, lambda: _sum(end))


def _told(one: Mapping[str, Any]) -> str:
    was, now = one["was"], one["now"]
    changed = (f"{name.replace('_', ' ')} {was[name]} -> {now[name]}" for name in was if was[name] != now[name])
    return f"{one['delivery']}  {', '.join(changed) or 'other reasons'}"


def _sum(end: Mapping[str, Any]) -> str:
    if not end["changed"]:
        return f"By the rules of version {end['rules']} all opens and clicks are what they were."
    mails = "1 delivery" if end["changed"] == 1 else f"{end['changed']} deliveries"
    return f"The opens and clicks of {mails} {'are' if end['applied'] else 'would be'} something else."
