"""`mailrelay tracking consent`: who agreed that their opens and clicks are recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from mailrelay.cli.show import table, when
from mailrelay.cli.talk import Talk, part, talks


@click.group("consent")
def consent() -> None:
    """Who agreed that their opens and clicks are recorded, and who withdrew. What an address said last holds."""


@consent.command("list")
@click.option("--given/--withdrawn", default=None, help="Only these; by default both.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@talks
def list_(talk: Talk, given: bool | None, limit: int) -> None:
    """List what holds now, by address.

    Example: mailrelay tracking consent list --withdrawn
    """
    found = talk.pages("/consents", limit, given=None if given is None else str(given).lower())
    talk.show(found, lambda: _table(found["items"]) or "Nobody said anything to being tracked.")


@consent.command("show")
@click.argument("address")
@talks
def show(talk: Talk, address: str) -> None:
    """Show all that an address ever said, newest first.

    Example: mailrelay tracking consent show bob@customer.example
    """
    found = talk.all(f"/consents/{part(address)}/history")
    talk.show(found, lambda: _table(found) or f"{address} never said anything to being tracked.")


@consent.command("give")
@click.argument("address")
@click.option("--evidence", required=True, help="Which text they agreed to, where and how.")
@talks
def give(talk: Talk, address: str, evidence: str) -> None:
    """Write down that somebody agrees.

    Example: mailrelay tracking consent give bob@customer.example --evidence "sign-up form of 2026-11-02, box ticked"
    """
    found = talk.put(f"/consents/{part(address)}", {"given": True, "evidence": evidence})
    talk.show(found, lambda: f"{address} agrees to individual tracking.")


@consent.command("withdraw")
@click.argument("address")
@click.option("--evidence", default="asked for it", show_default=True, help="How they said so.")
@talks
def withdraw(talk: Talk, address: str, evidence: str) -> None:
    """Write down that somebody no longer agrees: nothing of theirs is recorded or counted any more, of old mail neither.

    Example: mailrelay tracking consent withdraw bob@customer.example --evidence "asked by phone"
    """
    found = talk.put(f"/consents/{part(address)}", {"given": False, "evidence": evidence})
    talk.show(found, lambda: f"{address} is not tracked any more.")


def _table(found: Iterable[Mapping[str, Any]]) -> str:
    rows = (
        (one["key"], "given" if one["given"] else "withdrawn", when(one["at"]), one["by"] or "-", one["evidence"])
        for one in found
    )
    return table(rows, "ADDRESS", "CONSENT", "SINCE", "BY", "EVIDENCE")
