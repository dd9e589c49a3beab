"""What `mailrelay queue hold`, `release`, `cancel` and their like do: count, ask the daemon, wait, and say how it went."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from mailrelay.cli.show import plain, table, when
from mailrelay.cli.talk import EX_DATAERR, Failed, Talk, part

DONE = {
    "hold": "held",
    "release": "released",
    "retry": "due now",
    "cancel": "cancelled",
    "bounce": "returned to their authors",
    "confirm": "confirmed as sent",
}
_PAUSE = 0.3
COUNTED = 10_000
"""What is counted exactly; more are "more than 10,000"."""
_STATES = {
    "sending": "under way",
    "scheduled": "scheduled; their author sends them now: mailrelay schedule now",
    "failed": "our own code failed on them; the daemon's log says why",
}


def operate(talk: Talk, given: Mapping[str, Any], *, dry_run: bool, wait: bool) -> None:
    """Do what was asked for, or count what it would do. Raises Failed where something was named and not done."""
    if not (given["everything"] or given["selection"]):
        raise Failed("say which deliveries: by id, or with options such as --job; or --all for all of them", EX_DATAERR)
    if dry_run:
        found = talk.post("/operations/plan", given)
        talk.show(found, lambda: "\n".join(_planned(given["control"], found)))
        return
    one = talk.post("/operations", given)
    if wait:
        one = _waited(talk, one)
    talk.show(one, lambda: "\n".join(_told(one)))
    named = len(given["selection"].get("deliveries", ()))
    if one["left"].get("failed") or one["stopped_by"] or (named and one["ended_at"] and one["changed"] < named):
        raise SystemExit(EX_DATAERR)


def listed(talk: Talk, limit: int) -> None:
    """Print the newest operations."""
    found = talk.pages("/operations", limit)
    rows = (
        (
            one["id"],
            when(one["at"]),
            one["control"],
            one["changed"],
            _how_far(one),
            one["by"],
            _which(one),
            one["reason"],
        )
        for one in found["items"]
    )
    talk.show(
        found,
        lambda: (
            table(rows, "OPERATION", "BEGUN", "WHAT", "CHANGED", "STATE", "BY", "WHICH", "REASON")
            or "Nobody has held, released, retried, cancelled, bounced or confirmed anything yet."
        ),
    )


def shown(talk: Talk, id_: str, *, stop: bool) -> None:
    """Print one operation, stopped first where that is asked for."""
    one = talk.post(f"/operations/{part(id_)}/stop") if stop else talk.get(f"/operations/{part(id_)}")
    talk.show(one, lambda: "\n".join(_told(one)))


def _waited(talk: Talk, one: Mapping[str, Any]) -> Mapping[str, Any]:
    """The operation when it has ended; meanwhile people see how far it is."""
    told = ""
    while not one["ended_at"]:
        progress = f"{one['changed']:,} {DONE[one['control']]}" + _under_way(one)
        if progress != told and not talk.as_json:
            told = progress
            click.echo(f"{progress} … (it goes on without you: mailrelay queue operations {one['id']})", err=True)
        time.sleep(_PAUSE)
        one = talk.get(f"/operations/{part(one['id'])}")
    return one


def _planned(control: str, found: Mapping[str, Any]) -> Iterator[str]:
    changes, complete = found["changes"], found["complete"]
    if not changes and not found["left"] and complete:
        yield "Nothing matches; nothing would change."
        return
    if not complete:
        counted = changes + sum(found["left"].values())
        yield f"{bound(counted)} deliveries are selected; of the {counted:,} that were counted:"
    yield f"{changes:,} would be {DONE[control]}. Nothing is done yet: leave out --dry-run."
    yield from _left(found["left"], control, would="would be left")


def bound(counted: int) -> str:
    """How many there are, where not all were counted."""
    return f"{'More than' if counted >= COUNTED else 'At least'} {counted:,}"


def _told(one: Mapping[str, Any]) -> Iterator[str]:
    if not (one["changed"] or one["left"] or one["under_way"]) and one["ended_at"]:
        yield f"Nothing matched; nothing is changed ({one['id']})."
        return
    yield f"{one['changed']:,} {DONE[one['control']]}{_under_way(one)} ({one['id']}, {_how_far(one)})."
    yield from _left(one["left"], one["control"], would="left as they are")


def _left(left: Mapping[str, int], control: str, *, would: str) -> Iterator[str]:
    for what, number in sorted(left.items(), key=lambda item: -item[1]):
        yield plain(f"  {number:,} {would}: {_because(what, control)}")


def _because(what: str, control: str) -> str:
    """Why a delivery in this state was left alone, and what to do about it."""
    by = what.removeprefix("held by ")
    if by == what:
        return _STATES.get(what, what)
    if by == "unconfirmed" and control == "release":
        return "unconfirmed: they may have arrived, and would come twice; release them with --yes, or confirm them"
    scope, colon, name = by.partition(":")
    if colon and control == "release":
        return f"held by {by}: mailrelay suspension resume {scope} {shlex.quote(name)}"
    return what


def _under_way(one: Mapping[str, Any]) -> str:
    return f"; {one['under_way']:,} under way, done when their attempts end" if one["under_way"] else ""


def _how_far(one: Mapping[str, Any]) -> str:
    if one["stopped_by"]:
        return f"stopped by {one['stopped_by']}"
    return "done" if one["ended_at"] else "going on"


def _which(one: Mapping[str, Any]) -> str:
    """The selection in the words of the options."""
    said = one["selection"]
    named = said["deliveries"]
    words = [named[0] if len(named) == 1 else f"{len(named)} deliveries"] if named else []
    fields = ("message", "queue_id", "destination", "recipient", "sender", "job", "held_by")
    words += [f"--{name.replace('_', '-')} {shlex.quote(said[name])}" for name in fields if said[name]]
    words += [f"--status {status}" for status in sorted({*said["states"], *said["statuses"]})]
    if said["created_before"]:
        words.append(f"--older-than {when(said['created_before'])}")
    if said["created_from"]:
        words.append(f"--newer-than {when(said['created_from'])}")
    return " ".join(words) or "--all"
