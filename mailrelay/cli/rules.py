"""`mailrelay rules`: the rules in their order, and what today's rules would do with stored mail (I9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from mailrelay.cli.show import plain, table
from mailrelay.cli.talk import EX_SOFTWARE, EX_TEMPFAIL, Failed, Talk, talks


@click.group("rules")
def command() -> None:
    """The rules that decide where mail is filed."""


@command.command("list")
@talks
def list_(talk: Talk) -> None:
    """List every rule in the order in which they run.

    Example: mailrelay rules list
    """
    found = talk.get("/rules")
    rows = ((number, one["name"], one["row"], one["says"]) for number, one in enumerate(found, 1))
    talk.show(found, lambda: table(rows, "", "RULE", "ROW", "WHAT IT SAYS"))


@command.command("rerun")
@click.option("--since", required=True, help="How far back, such as 30d.")
@click.option("--apply", is_flag=True, help="Do it; without, nothing is changed.")
@talks
def rerun(talk: Talk, since: str, apply: bool) -> None:
    """Say what today's rules would file differently over stored mail, and with --apply do it.

    What people linked, unlinked or filed by hand is never touched.

    Example: mailrelay rules rerun --since 30d
    """
    answer = talk.raw(
        "POST", "/rules/rerun", query={"since": since, "apply": "true" if apply else "false"}, patience=None
    )
    end: dict[str, Any] = {}
    differences: list[Any] = []
    for line in talk.lines(answer):
        if "differences" in line:
            end = line
        elif talk.as_json:
            differences.append(line)
        else:
            for said in _told(line):
                click.echo(said)
    if not end or end["error"]:
        raise Failed(plain(end.get("error") or "the daemon broke off; what was done so far holds"), EX_TEMPFAIL)
    talk.show(end | {"items": differences}, lambda: _sum(end["differences"], since, apply=apply))
    if end.get("failed"):
        raise Failed(f"Our own code failed on {end['failed']} of the mails; they are left as they were", EX_SOFTWARE)


def _told(one: Mapping[str, Any]) -> Iterator[str]:
    yield plain(f"{one['message'] or one['arrival']}  {one['subject'] or '(no subject)'}")
    yield from (plain(f"  + {record}") for record in one["added"])
    yield from (plain(f"  + a new {new['module']}: {new['name']} <{new['address']}>") for new in one["created"])
    yield from (plain(f"  - {record}") for record in one["removed"])
    if one["was"] != one["now"]:
        yield f"  {one['was']} becomes {one['now']}"
    if one["because"]:
        yield plain(f"  {one['because']}")


def _sum(number: int, since: str, *, apply: bool) -> str:
    if not number:
        return f"Today's rules file the mail of the last {since} just as it is."
    mails = "1 mail" if number == 1 else f"{number} mails"
    if apply:
        return f"{mails} filed anew."
    return f"{mails} would be filed differently. To do it: mailrelay rules rerun --since {since} --apply"
