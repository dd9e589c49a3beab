"""`mailrelay message`: mail, where it was filed and why, and sending by hand."""

from __future__ import annotations

import base64
import contextlib
import json
import mimetypes
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from mailrelay.cli.journey import journey, links
from mailrelay.cli.show import local, people, plain, table, when
from mailrelay.cli.talk import EX_NOINPUT, Failed, Talk, failure, part, talks

F = TypeVar("F", bound=Callable[..., Any])
LATEST = "latest"
PRESETS = ("this_evening", "tomorrow_morning", "tomorrow_evening", "monday_morning")
"""`model.schedule.Preset`, by name: a command starts without what that imports."""
MODES = ("off", "aggregate", "individual")
"""`model.tracking.Mode`, likewise."""
_RECIPIENTS = ("to", "cc", "bcc")
_UNDER_WAY = ("accepted", "working")
_PATIENCE = 8  # filing itself waits up to 5 s for a DNS that does not answer
_PAUSE = 0.1


class _Group(click.Group):
    """`inspect` needs no daemon but the mail reader, which other commands do not wait for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "inspect"])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name == "inspect":
            from mailrelay.cli.message_inspect import inspect

            return inspect
        return super().get_command(ctx, name)


@click.group("message", cls=_Group)
def command() -> None:
    """Messages: how each came, what every rule said, where it is filed, what happened since."""


@command.command("list")
@click.option("--address", default="", help="Only mail with this address in it.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many, newest first.")
@talks
def list_(talk: Talk, address: str, limit: int) -> None:
    """List messages, newest first.

    Example: mailrelay message list --address bob@customer.example
    """
    found = talk.pages("/messages", limit, address=address)
    rows = (
        (
            one["id"],
            when(one["received_at"]),
            one["direction"],
            (one["status"] or "-").replace("_", " "),
            people(one["participants"], "from"),
            one["subject"],
            ", ".join(one["records"]) or "-",
        )
        for one in found["items"]
    )

    def empty() -> str:
        return "No message with this address." if address else f"No message yet. Send one to {_a_dropbox(talk)}."

    talk.show(found, lambda: table(rows, "MESSAGE", "RECEIVED", "WAY", "STATUS", "FROM", "SUBJECT", "ON") or empty())


@command.command("show")
@click.argument("message")
@click.option("--raw", is_flag=True, help="The mail itself, byte for byte; on a terminal without what would act on it.")
@talks
def show(talk: Talk, message: str, raw: bool) -> None:
    """Show a message: its links with the rule and evidence of each, what every rule said, its deliveries.

    MESSAGE is its id, a queue id (Q…) of a 250 reply, or the word latest: the mail that was taken last.

    Example: mailrelay message show latest
    """
    message = named(talk, message)
    if raw:
        mail = talk.bytes(f"/messages/{part(message)}/raw")
        if sys.stdout.isatty():
            mail = b"".join(plain(line).encode() + b"\n" for line in mail.decode("utf-8", "replace").splitlines())
        click.echo(mail, nl=False)
        return
    found = talk.get(f"/messages/{part(message)}")
    talk.show(
        found, lambda: "\n".join(journey(found, names=_names(talk, found["links"]), waiting=_waiting(talk, found)))
    )


def a_mail(function: F) -> F:
    """The options that make a mail, for whatever sends one."""
    file = click.Path(path_type=Path, exists=True, dir_okay=False)
    for option in (
        click.option(
            "--eml", type=click.File("rb"), help="A whole mail instead, to those in its header; - is standard input."
        ),
        click.option(
            "--tracking",
            type=click.Choice(MODES),
            help="What may be recorded of its opens and clicks, at most; by default as the organisation has it.",
        ),
        click.option("--attach", multiple=True, type=file, help="File to attach."),
        click.option("--html", type=file, help="File with the HTML body."),
        click.option("--text", help="The text; - reads it from standard input."),
        click.option("--subject", default=""),
        click.option("--reply-to", multiple=True),
        click.option("--file-on", multiple=True, help="Record to file it on as well: deal/9."),
        click.option("--bcc-record", multiple=True),
        click.option("--cc-record", multiple=True),
        click.option("--to-record", multiple=True, help="Record to send it to: contact/17, or contact/17:secondary."),
        click.option("--bcc", multiple=True),
        click.option("--cc", multiple=True),
        click.option("--to", multiple=True, help="Recipient; may be given several times, like --cc and --bcc."),
        click.option("--from", "from_", help="Author; by default the primary address of --user."),
    ):
        function = option(function)
    return function


def a_time(function: F) -> F:
    """The options that say when a mail is to go."""
    for option in (
        click.option("--preset", type=click.Choice(PRESETS), help="A time by name, in place of --at."),
        click.option("--zone", default="", help="Time zone of --at or --preset; by default where its author is."),
        click.option("--at", default="", help="When it is to go: 2026-12-01T08:00."),
    ):
        function = option(function)
    return function


@command.command("send")
@a_mail
@click.option("--user", default="", help="On whose behalf, by id or address; by default the owner of --from.")
@click.option("--job", default="", help="What you call the mass of mail that this is part of.")
@click.option("--list", "list_name", default="", help="The mailing list that a mass of mail is sent to.")
@click.option("--key", help="Idempotency key: a repeat with the same key is the same mail.")
@a_time
@talks
def send(
    talk: Talk,
    user: str,
    job: str,
    list_name: str,
    key: str | None,
    at: str,
    zone: str,
    preset: str | None,
    **given: Any,
) -> None:
    """Queue a mail, or schedule it; it is durable when this returns.

    Example: mailrelay message send --from anna@example.org --to bob@customer.example --subject Hello --text Hi
    """
    if key == "":
        raise click.UsageError("--key is empty; leave it out, or give a key of its own to each mail")
    headers = {"Idempotency-Key": key} if key else {}
    body, kind = mail_body(given, user)
    query = {"user": user, "job": job, "list": list_name, "at": at, "zone": zone, "preset": preset}
    answer = talk.raw("POST", "/messages", body=body, content_type=kind, headers=headers, query=query)
    if answer.status >= 400:
        raise failure(answer)
    (queued,) = talk.lines(answer)
    talk.show(queued, lambda: told_queued(queued))


def mail_body(given: Mapping[str, Any], user: str) -> tuple[bytes, str]:
    """What is to be sent as `a_mail` was given it, and its media type. Raises Failed, UsageError."""
    if given["eml"] is not None:
        if any(given[f"{name}_record"] for name in _RECIPIENTS) or given["file_on"]:
            raise click.UsageError("a whole mail says itself whom it is to; send it to records with its fields instead")
        if given["tracking"] is not None:
            raise click.UsageError(
                f"a whole mail says itself how it is tracked: X-Mailrelay-Tracking: {given['tracking']}"
            )
        return given["eml"].read(), "message/rfc822"
    if not (given["from_"] or user):
        raise click.UsageError("say who sends it: --from, or --user")
    try:
        return _fields(given), "application/json"
    except (OSError, UnicodeError) as error:
        raise Failed(f"what is to be sent cannot be read: {error}", EX_NOINPUT) from None


def told_queued(queued: Mapping[str, Any]) -> str:
    """What became of a mail that was sent, for people."""
    rows = ((one["id"], one["recipient"]) for one in queued["deliveries"])
    again = " (this key had queued it before)" if queued["repeated"] else ""
    planned = queued["schedule"]
    done = (
        f"Queued as {queued['queue_id']}, message {queued['id']}{again}."
        if planned is None
        else f"Scheduled for {local(planned)} as {planned['id']}, message {queued['id']}{again}."
    )
    return f"{done}\n{table(rows, 'DELIVERY', 'RECIPIENT')}"


@command.command("answer")
@click.argument("message")
@click.option("--text", help="The text; - reads it from standard input.")
@click.option("--html", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="File with the HTML body.")
@click.option("--subject", help="By default `Auto: ` and the subject of the message.")
@click.option("--from", "from_", help="Who answers; by default the address of a user that the message names.")
@click.option("--user", default="", help="On whose behalf, by id or address; by default the owner of --from.")
@talks
def answer(
    talk: Talk,
    message: str,
    text: str | None,
    html: Path | None,
    subject: str | None,
    from_: str | None,
    user: str,
) -> None:
    """Answer a message that came in, automatically, where it may be answered (RFC 3834): nobody is twice within days.

    MESSAGE is its id, a queue id (Q…) of a 250 reply, or the word latest: the mail that was taken last.
    Exit status: 0 also where there is no answer; the reason is printed.

    Example: mailrelay message answer M01JD… --text "We have your mail, and answer by Friday."
    """
    if text is None and html is None:
        raise click.UsageError("say what to answer: --text, or --html")
    given: dict[str, Any] = {"text": _typed() if text == "-" else text, "subject": subject, "from": from_}
    try:
        given["html"] = html.read_text(encoding="utf-8") if html else None
    except (OSError, UnicodeError) as error:
        raise Failed(f"what is to be sent cannot be read: {error}", EX_NOINPUT) from None
    message = named(talk, message)
    found = talk.post(f"/messages/{part(message)}/answer", given, user=user)
    queued = f"Queued as {found['queue_id']}, message {found['message']}."
    talk.show(found, lambda: queued if found["sent"] else f"Not answered: {plain(found['because'])}.")


@command.command("link")
@click.argument("message")
@click.argument("record")
@talks
def link(talk: Talk, message: str, record: str) -> None:
    """Put a message on a record by hand; no rule takes it off again.

    Example: mailrelay message link M01JD… deal/5
    """
    found = talk.put(f"/messages/{part(message)}/links/{_record(record)}")["items"]
    talk.show(found, lambda: "\n".join(links(found, _names(talk, found))))


@command.command("unlink")
@click.argument("message")
@click.argument("record")
@talks
def unlink(talk: Talk, message: str, record: str) -> None:
    """Take a message off a record by hand; no rule puts it there again.

    Example: mailrelay message unlink M01JD… deal/5
    """
    found = talk.delete(f"/messages/{part(message)}/links/{_record(record)}")["items"]
    talk.show(found, lambda: "\n".join(links(found, _names(talk, found))))


@command.command("move")
@click.argument("message")
@click.argument("record")
@click.argument("to")
@talks
def move(talk: Talk, message: str, record: str, to: str) -> None:
    """Move a message from one record to another by hand.

    Example: mailrelay message move M01JD… contact/1 contact/2
    """
    found = talk.post(f"/messages/{part(message)}/links/move", {"record": record, "to": to})["items"]
    talk.show(found, lambda: "\n".join(links(found, _names(talk, found))))


def settled_arrival(talk: Talk, queue_id: str, *, patience: float) -> Any:
    """An arrival once it was filed, held or dropped, or as it is when `patience` seconds are over."""
    deadline = time.monotonic() + patience
    while True:
        arrival = talk.get(f"/arrivals/{part(queue_id)}")
        if arrival["state"] not in _UNDER_WAY or time.monotonic() > deadline:
            return arrival
        time.sleep(_PAUSE)


def named(talk: Talk, message: str) -> str:
    """The id of the message that is meant by its id, a queue id, or the word latest."""
    if message == LATEST:
        message = _newest(talk)
    return _of_arrival(talk, message) if message.startswith("Q") else message


def _newest(talk: Talk) -> str:
    """The queue id of the mail that was taken last, which may still be on its way to its record."""
    try:
        return str(talk.get("/arrivals/latest")["id"])
    except Failed as failed:
        if failed.exit_code != EX_NOINPUT:
            raise
        raise Failed(f"no message yet; send one to {_a_dropbox(talk)}", EX_NOINPUT) from None


def _of_arrival(talk: Talk, queue_id: str) -> str:
    arrival = settled_arrival(talk, queue_id, patience=_PATIENCE)
    if arrival["messages"]:
        return str(arrival["messages"][0])
    waits = f"; see `mailrelay unresolved show {arrival['unresolved'][0]}`" if arrival["unresolved"] else ""
    raise Failed(f"{queue_id} is {arrival['state']} and no message yet{waits}", EX_NOINPUT)


def _names(talk: Talk, links: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What the records of these links are called; one that is gone has no name."""
    found = {}
    for link in links:
        with contextlib.suppress(Failed):
            found[link["record"]] = talk.get(f"/records/{_record(link['record'])}")["name"]
    return found


def _waiting(talk: Talk, message: Mapping[str, Any]) -> Iterator[Any]:
    """The open entries of the unresolved list that hold a message."""
    for filing in message["filings"]:
        if filing["disposition"] == "hold":
            for entry in talk.get(f"/arrivals/{part(filing['arrival'])}")["unresolved"]:
                found = talk.get(f"/unresolved/{part(entry)}")
                if found["message"] == message["id"] and not found["resolved_at"]:
                    yield found


def _record(text: str) -> str:
    module, slash, record = text.partition("/")
    if not (module and slash and record):
        raise click.BadParameter("must be module/id, such as contact/17", param_hint="RECORD")
    return f"{part(module)}/{part(record)}"


def _fields(given: Mapping[str, Any]) -> bytes:
    fields: dict[str, Any] = {name: list(given[name]) for name in ("to", "cc", "bcc", "reply_to") if given[name]}
    for name in _RECIPIENTS:
        if given[f"{name}_record"]:
            fields[name] = [*fields.get(name, ()), *(_to_record(one) for one in given[f"{name}_record"])]
    if given["file_on"]:
        fields["records"] = list(given["file_on"])
    if given["from_"]:
        fields["from"] = given["from_"]
    fields["subject"] = given["subject"]
    if given["text"] is not None:
        fields["text"] = _typed() if given["text"] == "-" else given["text"]
    if given["html"] is not None:
        fields["html"] = given["html"].read_text(encoding="utf-8")
    if given["tracking"] is not None:
        fields["tracking"] = given["tracking"]
    fields["attachments"] = [
        {
            "name": path.name,
            "type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            "content": base64.b64encode(path.read_bytes()).decode("ascii"),
        }
        for path in given["attach"]
    ]
    return json.dumps(fields).encode()


def _to_record(text: str) -> dict[str, str]:
    """`contact/17:secondary` as the API has it."""
    record, colon, field = text.rpartition(":")
    return {"record": record, "field": field} if colon else {"record": text}


def _typed() -> str:
    text = sys.stdin.read()
    if not text.strip():
        raise Failed("there is no text on standard input; nothing was sent", EX_NOINPUT)
    return text


def _a_dropbox(talk: Talk) -> str:
    """Some user's dropbox address, for people who have not sent anything yet."""
    for user in [] if talk.on_behalf_of else talk.get("/users")["items"]:
        for box in talk.all(f"/users/{part(user['id'])}/dropboxes"):
            if not box["valid_until"]:
                return str(box["address"])
    return "a dropbox; make one with `mailrelay dropbox make USER`"
