"""`mailrelay address`: what is known of an address, and erasing its person."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from mailrelay.cli.show import plain, table, when
from mailrelay.cli.suppression import suppressions
from mailrelay.cli.talk import Talk, failure, part, talks


@click.group("address")
def command() -> None:
    """Addresses: why somebody gets no mail, and erasing somebody."""


@command.command("show")
@click.argument("address")
@click.option(
    "--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Mails to and about it, the newest."
)
@talks
def show(talk: Talk, address: str, limit: int) -> None:
    """Show everything known of an address: whether it is sent to, its records, its last mails, what came back.

    Example: mailrelay address show bob@customer.example
    """
    found = talk.get(f"/addresses/{part(address)}", limit=limit)
    talk.show(found, lambda: "\n\n".join(_told(found)))


@command.command("erase")
@click.argument("address")
@click.option("--yes", is_flag=True, help="Do it: what was recorded cannot be had back.")
@talks
def erase(talk: Talk, address: str, yes: bool) -> None:
    """Erase the person of an address: opens, clicks, consents, absences, and what the journal tells of these.

    Who is suppressed stays so, under a hash. Mail itself stays. To run it again is safe, and does what an error left.

    Example: mailrelay address erase bob@customer.example --yes
    """
    if not yes:
        raise click.UsageError(f"What was recorded of {plain(address)} cannot be had back; say --yes to erase it")
    answer = talk.raw("POST", f"/addresses/{part(address)}/erase", patience=None)  # a long journal takes its time
    if answer.status >= 400:
        raise failure(answer)
    with answer:
        done = json.load(answer)
    talk.show(done, lambda: "\n".join(_erased(address, done)))


def _erased(address: str, one: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{address} is erased: {one['hits']} opens and clicks, {one['consents']} consents, details of {one['events']} events; "
        f"{one['suppressions']} suppressions are kept as a hash."
    )
    stays = one["stays"]
    yield f"What stays: {stays['deliveries']} deliveries, {stays['messages']} messages, {stays['records']} records. {stays['because']}"


def _told(one: Mapping[str, Any]) -> Iterator[str]:
    holding = [each for each in one["suppressions"] if not each["lifted_at"]]
    lists = ", ".join(each["list"] for each in holding if each["list"])
    standing = [each for each in holding if not each["list"]]
    if standing:
        why = ", ".join(f"{each['reason'].replace('_', ' ')} since {when(each['since'])}" for each in standing)
        yield (
            f"{one['address']} is not sent to: {why}.\n"
            f"To let it be sent to again: mailrelay suppression lift {one['address']}"
        )
    elif lists:
        yield f"{one['address']} may be sent to, but no mass mail of a mailing list that was left: {lists}."
    else:
        yield f"{one['address']} may be sent to: nothing stands against it."
    if any(each["reason"] == "unsubscribed" for each in holding):
        yield "What they unsubscribed from themselves, they alone take back: by the page of any mail that they got."
    if one["absence"]:
        yield _absence(one["absence"])
    if one["suppressions"]:
        yield suppressions(one["suppressions"], lifted=True)
    records = ((each["record"], each["name"], each["field"]) for each in one["records"])
    yield table(records, "RECORD", "NAME", "FIELD") or "No record has it."
    sent = (
        (
            each["id"],
            when(each["created_at"]),
            _status(each),
            _meaning(each) if each["category"] else "-",
            each["last_reply"] or "-",
        )
        for each in one["deliveries"]
    )
    yield table(sent, "DELIVERY", "QUEUED", "STATUS", "MEANS", "LAST REPLY") or "No mail was sent to it."
    came = (
        (
            each["message"],
            when(each["at"]),
            each["kind"],
            each["action"],
            _meaning(each),
            "yes" if each["believed"] else "no",
            each["diagnostic"] or "-",
        )
        for each in one["feedback"]
    )
    yield table(came, "CAME BACK", "AT", "KIND", "ACTION", "MEANS", "BELIEVED", "SAID") or "Nothing came back about it."


def _absence(one: Mapping[str, Any]) -> str:
    told = "Gone for good" if one["gone"] else f"Away until {when(one['until'])}"
    told += f", says the automatic reply {one['message']} of {when(one['noted_at'])}."
    instead = ", ".join(each["address"] for each in one["instead"])
    return told + (f" Instead: {plain(instead)}" if instead else "")


def _status(one: Mapping[str, Any]) -> str:
    told = str(one["status"])
    if one["held_by"]:
        told += f" ({one['held_by']})"
    told += ", replied" if one["replied_at"] else ""
    return told + (", complained" if one["complained_at"] else "")


def _meaning(one: Mapping[str, Any]) -> str:
    """`user unknown, hard`; `policy, the sender's fault`."""
    told = str(one["category"]).replace("_", " ")
    told += ", hard" if one["hard"] else ""
    return told + (", the sender's fault" if one["fault"] == "sender" else "")
