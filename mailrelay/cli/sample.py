"""What `mailrelay run --sample` adds to a start: the sample organisation, where to reach it, and commands that can be pasted."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mailrelay.config.schema import Delivery, ListenerKind, Route
from mailrelay.upkeep import sample
from mailrelay.upkeep.sample import Sample

if TYPE_CHECKING:
    from mailrelay.daemon import Running


_FURTHER = (
    ("docs/quickstart.md", "docs/quickstart.md: your own CRM in five minutes with curl: webhooks, tracking, find"),
    ("examples/crm.py", "python3 examples/crm.py: a small CRM in one file, at http://127.0.0.1:8030"),
)
"""What is worth a look, of what is in this folder."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to try: what it shows, and a command line for a POSIX shell. `needs` is a program that may be missing."""

    title: str
    command: str
    needs: str = ""


async def ready(running: Running) -> None:
    """Make the sample organisation where there is none, and print what to try. To be given to `daemon.main`."""
    app = running.application
    made = await sample.make(app.store, app.clock, app.ids, app.config)
    click.echo(text(running, made))


def text(running: Running, made: Sample | None) -> str:
    """What is printed at a start."""
    listens = [
        *((str(one.kind), f"{one.host}:{one.port}") for one in running.bound),
        ("API", f"http://{_at(running.api)}/api/v1"),
        ("every operation of it", f"http://{_at(running.api)}/api/v1/docs"),
        ("pixels, links", f"http://{_at(running.public)}"),
        ("metrics, health", f"http://{_at(running.ops)}/metrics, /healthz, /readyz"),
        ("command line", str(_short(running.unix_socket))),
    ]
    lines = ["", "mailrelay listens on", *_aligned(listens)]
    if made is None:
        lines += [
            "",
            "There is an organisation already, and it is not the sample one: `mailrelay user list` shows who is in it.",
        ]
        return "\n".join(lines)
    lines += [
        "",
        "The sample organisation",
        *_aligned(
            [
                ("user", made.user),
                ("their dropbox", made.dropbox or f"none; make one with `{_program()} dropbox make {made.user}`"),
                (
                    "their submission password",
                    made.password or f"another by now; set one with `{_program()} user password {made.user}`",
                ),
                ("administrator token", made.token or f"revoked; make one with `{_program()} token make NAME`"),
            ]
        ),
        "",
        _leaving(running.application.config.delivery),
        "",
        "Try it, in another terminal in this folder",
    ]
    for step in steps(running, made):
        lines += [f"  # {step.title}", f"  {step.command}"]
    further = [f"  {what}" for path, what in _FURTHER if Path(path).exists()]
    if further:
        lines += ["", "What next", *further]
    lines += ["", "Ctrl-C stops it; `mailrelay --help` shows everything else.", ""]
    return "\n".join(lines)


def steps(running: Running, made: Sample) -> tuple[Step, ...]:
    """Commands that work when pasted, in this order."""
    program = shlex.quote(_program())
    edge = next(one for one in running.bound if one.kind is ListenerKind.EDGE)
    there = "" if _is_usual(running.unix_socket) else f" --socket {shlex.quote(str(running.unix_socket))}"
    if not made.alone:
        there += f" --organisation {made.organisation}"
    delivery = running.application.config.delivery
    found = []
    if made.dropbox:
        found += [
            Step(
                "mail in: what a mail program sends when the dropbox is in Bcc",
                f"{program} practice send --host {edge.host} --port {edge.port} --from {made.user} --to {made.customer} "
                f"--dropbox {made.dropbox} --subject 'Your ovens' --text 'Hello Bob'",
            ),
            Step("where it was filed, by which rule, on what evidence", f"{program} message show latest{there}"),
        ]
    if made.record:
        found.append(Step("the customer's record, with the mail on it", f"{program} record show {made.record}{there}"))
    if delivery.route is Route.CATCH_ALL:
        found += _mail_out(running, made, program, there)
    else:
        # Pasted without a thought it would really be sent, so there is no command for it here.
        found.append(Step("the queue", f"{program} queue list --all{there}"))
    found += [
        Step(
            "ask: who was written to and has not answered",
            f"{program} find 'contacts where sent within 3 days and not replied'{there}",
        ),
        Step(
            "all that happened, as `mailrelay webhook add URL` has it sent to a CRM",
            f"{program} event list{there}",
        ),
        Step("is everything accounted for?", f"{program} audit{there}"),
    ]
    return tuple(found)


def _mail_out(running: Running, made: Sample, program: str, there: str) -> Iterator[Step]:
    """Mail to a customer, which the catch-all keeps."""
    config = running.application.config
    yield Step(
        "mail out",
        f"{program} message send --from {made.user} --to {made.customer} --subject 'An offer' --text 'Hello Bob'{there}",
    )
    if made.token:
        fields = f'{{"from": "{made.user}", "to": ["{made.customer}"], "subject": "An offer", "text": "Hello Bob"}}'
        yield Step(
            "the same by the API",
            f"curl -sS http://{_at(running.api)}/api/v1/messages -H 'Authorization: Bearer {made.token}' --json '{fields}'",
            needs="curl",
        )
    yield Step(
        "the queue; nothing leaves this machine until a route is configured", f"{program} queue list --all{there}"
    )
    kept = config.delivery.catch_all or config.data / "sent"
    yield Step("what would have been sent", f"ls -l {shlex.quote(str(_short(kept)))}")


def _leaving(delivery: Delivery) -> str:
    """Where mail goes that is sent."""
    if delivery.route is Route.CATCH_ALL:
        return "Nothing leaves this machine: mail that is sent is kept in a folder (delivery.route is catch_all)."
    to = "the recipients' own servers"
    if delivery.smart_host is not None:
        to = f"{delivery.smart_host.host}:{delivery.smart_host.port}"
    return (
        f"MAIL THAT IS SENT LEAVES THIS MACHINE: it goes to {to} (delivery.route is {delivery.route}).\n"
        "So no command that sends is given here."
    )


def _program() -> str:
    """How this program was called, so that it can be called again from the same folder."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "mailrelay" else "mailrelay"


def _is_usual(socket: Path) -> bool:
    return socket.resolve() == Path("data/mailrelay.sock").resolve()


def _short(path: Path) -> Path:
    """A path as it is written from here."""
    resolved = path.resolve()
    return resolved.relative_to(Path.cwd()) if resolved.is_relative_to(Path.cwd()) else resolved


def _at(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _aligned(pairs: list[tuple[str, str]]) -> list[str]:
    width = max(len(label) for label, _ in pairs)
    return [f"  {label:<{width}}  {value}" for label, value in pairs]
