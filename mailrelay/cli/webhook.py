"""`mailrelay webhook`: events sent to the CRM, and what became of each."""

from __future__ import annotations

from typing import Any

import click

from mailrelay.cli.show import pairs, table, when
from mailrelay.cli.talk import Failed, Talk, looks, part, talks

_REFUSED = 75  # EX_TEMPFAIL
_KEEP = "Requests are signed with it; it is not shown again."


@click.group("webhook")
def command() -> None:
    """URLs that events are sent to: signed, in order, and again until they are taken."""


@command.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@looks
def list_(talk: Talk, limit: int) -> None:
    """List webhooks, and how each fares.

    Example: mailrelay webhook list
    """
    found = talk.pages("/webhooks", limit)
    rows = ((one["id"], one["url"], _wants(one), one["health"]["waiting"], _state(one)) for one in found["items"])
    empty = "No webhook is told of anything yet. Add one: mailrelay webhook add https://crm.example/hooks"
    talk.show(found, lambda: table(rows, "WEBHOOK", "URL", "EVENTS", "WAITING", "STATE") or empty)


@command.command("add")
@click.argument("url")
@click.option("--type", "types", multiple=True, help="Of events to send, such as message.filed; may be given often.")
@click.option("--user", default="", help="Send this user's notices only: an id or address.")
@click.option("--description", default="", help="What it is for.")
@talks
def add(talk: Talk, url: str, types: tuple[str, ...], user: str, description: str) -> None:
    """Send events to a URL from now on, and print the secret that signs them.

    Example: mailrelay webhook add https://crm.example/hooks --type message.filed --type message.replied
    """
    given = {"url": url, "types": types, "description": description} | ({"user": user} if user else {})
    made = talk.post("/webhooks", given)
    talk.show(
        made,
        lambda: (
            f"{made['id']} is sent {_wants(made)} from now on.\n{made['secret']}\n{_KEEP}\n"
            f"Try it: mailrelay webhook test {made['id']}"
        ),
    )


@command.command("show")
@click.argument("webhook")
@talks
def show(talk: Talk, webhook: str) -> None:
    """Show a webhook, and how its calls go.

    Example: mailrelay webhook show W01JD…
    """
    found = talk.get(f"/webhooks/{part(webhook)}")
    found["health"] = talk.get(f"/webhooks/{part(webhook)}/health")
    talk.show(found, lambda: pairs(_lines(found)))


@command.command("change")
@click.argument("webhook")
@click.option("--url", help="Where events go from now on; what waits, too.")
@click.option("--type", "types", multiple=True, help="Of events to send, in place of those that it had.")
@click.option("--all-types", is_flag=True, help="Send every event.")
@click.option("--description", help="What it is for.")
@talks
def change(
    talk: Talk, webhook: str, url: str | None, types: tuple[str, ...], all_types: bool, description: str | None
) -> None:
    """Change a webhook; what is not named stays.

    Example: mailrelay webhook change W01JD… --type message.filed
    """
    given: dict[str, Any] = {"url": url, "description": description}
    if types or all_types:
        given["types"] = () if all_types else types
    changed = talk.patch(
        f"/webhooks/{part(webhook)}", {name: value for name, value in given.items() if value is not None}
    )
    talk.show(changed, lambda: f"{changed['id']} is sent {_wants(changed)}, at {changed['url']}.")


@command.command("test")
@click.argument("webhook")
@talks
def test(talk: Talk, webhook: str) -> None:
    """Send one webhook.test now. The exit status is 75 when it is not taken.

    Example: mailrelay webhook test W01JD…
    """
    found = talk.post(f"/webhooks/{part(webhook)}/test")
    if not found["works"] and not talk.as_json:
        said = f"; it said: {found['said']}" if found["said"] else ""
        raise Failed(f"it was not taken: {found['because']}{said}", _REFUSED)
    talk.show(found, lambda: f"It was taken: {found['status']} within {found['seconds']:.3f} s.")
    if not found["works"]:
        raise SystemExit(_REFUSED)


@command.command("rotate")
@click.argument("webhook")
@click.option("--overlap", default="1d", show_default=True, help="How long the old secret signs as well; 0: no more.")
@talks
def rotate(talk: Talk, webhook: str, overlap: str) -> None:
    """Make a new signing secret and print it.

    Example: mailrelay webhook rotate W01JD… --overlap 12h
    """
    made = talk.post(f"/webhooks/{part(webhook)}/rotate", {"overlap": overlap})
    until = f"The old one signs as well until {when(made['before_until'])}." if made["before_until"] else ""
    talk.show(made, lambda: "\n".join(filter(None, (made["secret"], _KEEP, until))))


@command.command("calls")
@click.argument("webhook")
@click.option("--state", type=click.Choice(["behind", "waiting", "calling", "taken", "dead"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@talks
def calls(talk: Talk, webhook: str, state: str | None, limit: int) -> None:
    """List what was sent to a webhook or waits for it, newest first.

    Example: mailrelay webhook calls W01JD… --state waiting
    """
    found = talk.pages(f"/webhooks/{part(webhook)}/calls", limit, state=state)
    talk.show(found, lambda: _calls(found) or "Nothing was sent to it yet.")


@command.command("dead")
@click.argument("webhook")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@talks
def dead(talk: Talk, webhook: str, limit: int) -> None:
    """List dead letters: what was not taken within its time, newest first.

    Example: mailrelay webhook dead W01JD…
    """
    found = talk.pages(f"/webhooks/{part(webhook)}/calls", limit, state="dead")
    talk.show(found, lambda: _calls(found) or "No dead letters.")


@command.command("send-again")
@click.argument("webhook")
@click.option("--seq", type=click.IntRange(1), help="Only this event, also one that was taken.")
@talks
def send_again(talk: Talk, webhook: str, seq: int | None) -> None:
    """Send all dead letters again, or one event.

    Example: mailrelay webhook send-again W01JD…
    """
    one = "" if seq is None else f"/calls/{seq}"
    found = talk.post(f"/webhooks/{part(webhook)}{one}/send-again")
    talk.show(found, lambda: f"{_events(found['events'])} on the way again.")


@command.command("replay")
@click.argument("webhook")
@click.option("--after", type=click.IntRange(0), required=True, help="Send again what happened after this event.")
@talks
def replay(talk: Talk, webhook: str, after: int) -> None:
    """Send again everything that happened after an event, in order.

    Example: mailrelay webhook replay W01JD… --after 1700
    """
    found = talk.post(f"/webhooks/{part(webhook)}/replay", {"after": after})
    talk.show(found, lambda: f"{_events(found['events'])} of the journal looked at again for it.")


@command.command("disable")
@click.argument("webhook")
@talks
def disable(talk: Talk, webhook: str) -> None:
    """Send nothing to a webhook until it is enabled; events wait.

    Example: mailrelay webhook disable W01JD…
    """
    found = talk.post(f"/webhooks/{part(webhook)}/disable")
    talk.show(found, lambda: f"{found['id']} is sent nothing; its events wait.")


@command.command("enable")
@click.argument("webhook")
@talks
def enable(talk: Talk, webhook: str) -> None:
    """Send a webhook what waits for it, and go on.

    Example: mailrelay webhook enable W01JD…
    """
    found = talk.post(f"/webhooks/{part(webhook)}/enable")
    talk.show(found, lambda: f"{found['id']} is sent {_wants(found)} again.")


@command.command("remove")
@click.argument("webhook")
@talks
def remove(talk: Talk, webhook: str) -> None:
    """Send nothing more to a webhook, for good, and give up what waits for it.

    Example: mailrelay webhook remove W01JD…
    """
    talk.delete(f"/webhooks/{part(webhook)}")
    talk.show({"removed": webhook}, lambda: f"{webhook} is removed.")


def _events(number: int) -> str:
    return "1 event is" if number == 1 else f"{number} events are"


def _wants(one: dict[str, Any]) -> str:
    types = ", ".join(one["types"]) or "everything"
    return f"{types} (notices of {one['user']})" if one["user"] else types


def _state(one: dict[str, Any]) -> str:
    if not one["active"]:
        return f"disabled: {one['because']}"
    health = one["health"]
    if not health["failures"]:
        return "takes events"
    return f"failing since {when(health['failing_since'])}: {health['failure']}"


def _calls(found: dict[str, Any]) -> str:
    rows = (
        (
            one["seq"],
            one["type"],
            one["state"],
            one["attempts"],
            when(one["ended_at"] or one["due_at"]),
            ": ".join(filter(None, (one["failure"], one["said"]))),
        )
        for one in found["items"]
    )
    return table(rows, "SEQ", "EVENT", "STATE", "TRIES", "DUE OR ENDED", "LAST FAILURE")


def _lines(one: dict[str, Any]) -> list[tuple[str, object]]:
    health = one["health"]
    return [
        ("url", one["url"]),
        ("events", _wants(one)),
        ("description", one["description"]),
        ("added", f"{when(one['created_at'])} by {one['created_by']}"),
        ("lasts as long as", f"token {one['token']}" if one["token"] else ""),
        ("state", _state(one)),
        ("waiting", health["waiting"] or ""),
        ("paused until", health["paused_until"] and when(health["paused_until"])),
        ("last taken", health["succeeded_at"] and when(health["succeeded_at"])),
        ("last failed", health["failed_at"] and when(health["failed_at"])),
        ("looked at", f"events up to {health['seq']}"),
        ("old secret signs until", one["before_until"] and when(one["before_until"])),
    ]
