"""What `mailrelay run --sample` adds to a start: the sample organisation, where to reach it, and commands that can be pasted."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mailrelay.config.schema import ListenerKind
from mailrelay.upkeep import sample
from mailrelay.upkeep.sample import Sample

if TYPE_CHECKING:
    from mailrelay.daemon import Running


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
        ("metrics, health", f"http://{_at(running.ops)}/metrics, /healthz, /readyz"),
        ("command line", str(running.unix_socket)),
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
                ("their dropbox", made.dropbox),
                ("their submission password", made.password),
                ("administrator token", made.token),
            ]
        ),
        "",
        "Try it, in another terminal in this folder",
    ]
    for step in steps(running, made):
        lines += [f"  # {step.title}", f"  {step.command}"]
    lines += ["", "Ctrl-C stops it; `mailrelay --help` shows everything else.", ""]
    return "\n".join(lines)


def steps(running: Running, made: Sample) -> tuple[Step, ...]:
    """Commands that work when pasted, in this order."""
    program = shlex.quote(_program())
    edge = next(one for one in running.bound if one.kind is ListenerKind.EDGE)
    there = "" if _is_usual(running.unix_socket) else f" --socket {shlex.quote(str(running.unix_socket))}"
    post = (
        f"curl -sS http://{_at(running.api)}/api/v1/messages -H 'Authorization: Bearer {made.token}' "
        f"""--json '{{"from": "{made.user}", "to": ["{made.customer}"], "subject": "An offer", "text": "Hello Bob"}}'"""
    )
    kept = running.application.config.delivery.catch_all or running.application.config.data / "sent"
    return (
        Step(
            "mail in: what a mail program sends when the dropbox is in Bcc",
            f"{program} practice send --host {edge.host} --port {edge.port} --from {made.user} --to {made.customer} "
            f"--dropbox {made.dropbox} --subject 'Your ovens' --text 'Hello Bob'",
        ),
        Step("where it was filed, by which rule, on what evidence", f"{program} message show latest{there}"),
        Step("the customer's record, with the mail on it", f"{program} record show contact/1{there}"),
        Step(
            "mail out",
            f"{program} message send --from {made.user} --to {made.customer} --subject 'An offer' --text 'Hello Bob'{there}",
        ),
        Step("the same by the API", post, needs="curl"),
        Step(
            "the queue; nothing leaves this machine until a route is configured", f"{program} queue list --all{there}"
        ),
        Step("what would have been sent", f"ls -l {shlex.quote(str(_short(kept)))}"),
        Step("is everything accounted for?", f"{program} audit{there}"),
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
