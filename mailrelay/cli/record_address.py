"""`mailrelay record-address`: signed addresses of records; what is sent to one is filed on its record (I21)."""

from __future__ import annotations

from typing import Any

import click

from mailrelay.cli.show import pairs, table, used, when
from mailrelay.cli.talk import Talk, part, talks

_UNTIL = click.option("--until", help="The last day on which it is valid, in UTC: 2026-12-31. Without, it has no end.")


@click.group("record-address")
def command() -> None:
    """Addresses of records: whoever has one can put mail on the record. NUMBER is what `list` shows."""


@command.command("list")
@click.option("--record", default="", help="Only those of a record: contact/17.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, oldest first.")
@talks
def list_(talk: Talk, record: str, limit: int) -> None:
    """List the addresses that records have or had.

    Example: mailrelay record-address list --record deal/9
    """
    found = talk.pages("/record-addresses", limit, record=record)
    rows = (
        (one["number"], one["record"], "valid" if one["valid"] else "over", one["until"] or "-", one["address"])
        for one in found["items"]
    )
    empty = "No record has an address of its own. Make one with `mailrelay record-address make RECORD`."
    talk.show(found, lambda: table(rows, "NUMBER", "RECORD", "STATE", "UNTIL", "ADDRESS") or empty)


@command.command("make")
@click.argument("record")
@_UNTIL
@talks
def make(talk: Talk, record: str, until: str | None) -> None:
    """Give a record its address.

    Example: mailrelay record-address make deal/9 --until 2026-12-31
    """
    _new(talk, talk.post("/record-addresses", {"record": record, "until": until}))


@command.command("show")
@click.argument("number")
@talks
def show(talk: Talk, number: str) -> None:
    """Show an address, and who writes to it.

    Example: mailrelay record-address show 1
    """
    found = talk.get(f"/record-addresses/{part(number)}")
    users = talk.pages(f"/record-addresses/{part(number)}/uses", 100)["items"]

    def told() -> str:
        lines = pairs(
            [
                ("number", found["number"]),
                ("address", found["address"]),
                ("record", found["record"]),
                ("state", "valid" if found["valid"] else "over"),
                ("last day", found["until"] or "none"),
                ("made", f"{when(found['created_at'])} by {found['created_by']}"),
                ("ends", f"{when(found['valid_until'])} by {found['ended_by']}" if found["valid_until"] else ""),
            ]
        )
        who = table((used(one) for one in users), "WHO", "MAILS", "FIRST", "LAST")
        return f"{lines}\n\n{who or 'Nobody has written to it yet.'}"

    talk.show({**found, "uses": users}, told)


@command.command("regenerate")
@click.argument("number")
@_UNTIL
@click.option("--overlap", default="0", show_default=True, help="How long the old address stays valid, such as 7d.")
@talks
def regenerate(talk: Talk, number: str, until: str | None, overlap: str) -> None:
    """Give the record of an address a new one; the old one stops at once, or after --overlap.

    Example: mailrelay record-address regenerate 1 --overlap 7d
    """
    _new(talk, talk.post(f"/record-addresses/{part(number)}/regenerate", {"until": until}, overlap=overlap))


@command.command("revoke")
@click.argument("number")
@talks
def revoke(talk: Talk, number: str) -> None:
    """End an address at once: mail to it is refused.

    Example: mailrelay record-address revoke 1
    """
    talk.delete(f"/record-addresses/{part(number)}")
    talk.show({"number": number, "revoked": True}, lambda: f"Address {number} is over.")


def _new(talk: Talk, made: dict[str, Any]) -> None:
    talk.show(made, lambda: f"{made['address']}\nMail to this address, whoever sends it, is filed on {made['record']}.")
