"""`mailrelay schedule`: mail that goes at a time, until it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import click

from mailrelay.cli.message import a_mail, a_time, mail_body, told_queued
from mailrelay.cli.show import local, pairs, plain, table, when
from mailrelay.cli.talk import Failed, Talk, failure, part, talks

_USER = click.option("--user", required=True, help="Its author, by id or address: nobody else may change it.")


@click.group("schedule")
def command() -> None:
    """Mail that goes at a time. SCHEDULE is its id (Q…), which it keeps through its edits. Sent by `mailrelay message send --at`."""


@command.command("list")
@click.option("--user", default="", help="Only what this user scheduled, by id or address.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many, first due first."
)
@talks
def list_(talk: Talk, user: str, limit: int) -> None:
    """List scheduled mail, what goes first first.

    Example: mailrelay schedule list --user anna@example.org
    """
    found = talk.pages("/schedules", limit, user=user)
    rows = ((one["id"], local(one), one["recipients"], one["subject"]) for one in found["items"])
    empty = "Nothing is scheduled. Schedule a mail with `mailrelay message send --at 2026-12-01T08:00 …`."
    talk.show(found, lambda: table(rows, "SCHEDULE", "GOES AT", "RECIPIENTS", "SUBJECT") or empty)


@command.command("show")
@click.argument("schedule")
@talks
def show(talk: Talk, schedule: str) -> None:
    """Show a scheduled mail with its recipients, also after it went.

    Example: mailrelay schedule show Q01JD…
    """
    found = talk.get(f"/schedules/{part(schedule)}")
    talk.show(found, lambda: "\n".join(_told(found, _author(talk, found["author"]))))


@command.command("presets")
@click.option("--zone", default="", help="Where; by default where the organisation is.")
@talks
def presets(talk: Talk, zone: str) -> None:
    """List the times that have a name, and when each would be.

    Example: mailrelay schedule presets --zone Europe/Berlin
    """
    found = talk.get("/schedules/presets", zone=zone)
    rows = (
        (one["preset"], one["at"][:16].replace("T", " "), "over for today" if one["passed"] else "") for one in found
    )
    talk.show(found, lambda: table(rows, "PRESET", "GOES AT", ""))


@command.command("move")
@click.argument("schedule")
@a_time
@_USER
@talks
def move(talk: Talk, schedule: str, user: str, at: str, zone: str, preset: str | None) -> None:
    """Let it go at another time; without --zone it is in the zone that it was scheduled in.

    Example: mailrelay schedule move Q01JD… --user anna@example.org --at 2026-12-02T09:30
    """
    given = {name: value for name, value in (("at", at), ("zone", zone), ("preset", preset)) if value}
    moved = talk.post(f"/schedules/{part(schedule)}/move", given, user=user)
    talk.show(moved, lambda: f"{moved['id']} goes at {local(moved)}.")


@command.command("now")
@click.argument("schedule")
@_USER
@talks
def now(talk: Talk, schedule: str, user: str) -> None:
    """Send it now, also to whoever is away.

    Example: mailrelay schedule now Q01JD… --user anna@example.org
    """
    sent = talk.post(f"/schedules/{part(schedule)}/now", user=user)
    talk.show(sent, lambda: f"{sent['id']} is queued as {sent['queue_id']}.")


@command.command("cancel")
@click.argument("schedule")
@_USER
@talks
def cancel(talk: Talk, schedule: str, user: str) -> None:
    """Do not send it at all.

    Example: mailrelay schedule cancel Q01JD… --user anna@example.org
    """
    ended = talk.post(f"/schedules/{part(schedule)}/cancel", user=user)
    talk.show(ended, lambda: f"{ended['id']} is cancelled.")


@command.command("edit")
@click.argument("schedule")
@a_mail
@a_time
@_USER
@talks
def edit(talk: Talk, schedule: str, user: str, at: str, zone: str, preset: str | None, **given: Any) -> None:
    """Put another mail in its place, with all its recipients; at the same time unless another is given.

    Example: mailrelay schedule edit Q01JD… --user anna@example.org --to bob@customer.example --subject Hello --text Hi
    """
    body, kind = mail_body(given, user)
    query = {"user": user, "at": at, "zone": zone, "preset": preset}
    answer = talk.raw("PUT", f"/schedules/{part(schedule)}", body=body, content_type=kind, query=query)
    if answer.status >= 400:
        raise failure(answer)
    (queued,) = talk.lines(answer)
    talk.show(queued, lambda: told_queued(queued))


def _author(talk: Talk, id_: str) -> str:
    """By name and address; by id where there is no such user any more."""
    try:
        user = talk.get(f"/users/{part(id_)}")
    except Failed:
        return id_
    return f"{user['name']} <{user['primary']}>" if user["name"] else str(user["primary"])


def _told(one: Mapping[str, Any], author: str) -> Iterator[str]:
    yield plain(f"{one['id']}  {_goes({each['state'] for each in one['recipients']})} {local(one)}")
    yield pairs(
        [
            ("subject", one["subject"] or "(none)"),
            ("author", author),
            ("message", one["message"]),
            ("queue id", one["queue_id"] if one["queue_id"] != one["id"] else ""),
            ("preset", one["preset"]),
            ("scheduled", when(one["created_at"])),
            ("changed", when(one["changed_at"]) if one["version"] > 1 else ""),
            ("version", one["version"]),
            ("sent now", "by its author" if one["hastened"] else ""),
        ],
        indent=2,
    )
    rows = (
        (
            each["delivery"],
            each["state"],
            each["recipient"],
            f"away until {when(each['parked_until'])}" if each["parked_until"] else "",
        )
        for each in one["recipients"]
    )
    yield table(rows, "DELIVERY", "STATE", "RECIPIENT", "")


def _goes(states: AbstractSet[str]) -> str:
    """In which tense: whether it goes still, went, or ended before."""
    if "scheduled" in states:
        return "goes at"
    if states <= {"held", "cancelled", "suppressed", "failed"}:
        return "was to go at"
    return "goes since" if states & {"queued", "sending"} else "went at"
