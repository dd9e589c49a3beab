"""`mailrelay queue`: mail on its way out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from mailrelay.cli.show import pairs, plain, table, when
from mailrelay.cli.talk import Talk, part, talks

_STATUSES = (
    "scheduled held queued deferred sending sent delivered replied bounced expired failed suppressed cancelled".split()  # noqa: SIM905
)
_REPORTS = ("bounce", "delay", "delivered")


@click.group("queue")
def command() -> None:
    """Mail on its way out: a delivery for each recipient."""


@command.command("list")
@click.option(
    "--state",
    "--status",
    multiple=True,
    type=click.Choice(_STATUSES),
    help="Only these; may be given several times. Queued were never tried, deferred were and wait for the next try.",
)
@click.option("--job", default="", help="Only of this job.")
@click.option("--all", "everything", is_flag=True, help="Ended deliveries too.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many, newest first.")
@talks
def list_(talk: Talk, state: tuple[str, ...], job: str, everything: bool, limit: int) -> None:
    """List deliveries: those in flight, or all.

    Example: mailrelay queue list --state deferred
    """
    statuses = state or (() if everything else ("scheduled", "held", "queued", "deferred", "sending"))
    found = talk.pages("/queue", limit, status=list(statuses), job=job)
    empty = (
        "Nothing is on its way out." if statuses else "Nothing was sent yet. Send a mail with `mailrelay message send`."
    )
    if statuses and not state:
        empty += " Ended deliveries: mailrelay queue list --all"
    rows = (
        (one["id"], status_word(one), one["recipient"], when(one["due_at"]), one["attempts"], one["last_reply"])
        for one in found["items"]
    )
    talk.show(found, lambda: table(rows, "DELIVERY", "STATUS", "RECIPIENT", "DUE", "TRIES", "LAST REPLY") or empty)


@command.command("show")
@click.argument("delivery")
@talks
def show(talk: Talk, delivery: str) -> None:
    """Show a delivery with every attempt and the other side's replies, word for word.

    Example: mailrelay queue show D01JD…
    """
    found = talk.get(f"/queue/{part(delivery)}")
    talk.show(found, lambda: "\n".join(described(found)))


@command.command("counts")
@talks
def counts(talk: Talk) -> None:
    """Count what is in flight, by status, over all organisations.

    Example: mailrelay queue counts
    """
    found = talk.get("/queue/counts")
    rows = ((one["state"], one["count"], when(one["oldest_due"])) for one in found)
    talk.show(found, lambda: table(rows, "STATUS", "COUNT", "OLDEST DUE"))


@command.command("retry")
@click.argument("delivery")
@talks
def retry(talk: Talk, delivery: str) -> None:
    """Try a waiting delivery at once.

    Example: mailrelay queue retry D01JD…
    """
    talk.post(f"/queue/{part(delivery)}/retry")
    talk.show({"delivery": delivery}, lambda: f"{delivery} is due now.")


def status_word(one: Mapping[str, Any]) -> str:
    """Its status; of a bounce also whether it is hard or soft: `bounced (hard)`."""
    return f"{one['status']} ({one['bounce']})" if one["bounce"] else str(one["status"])


def described(one: Mapping[str, Any]) -> Iterator[str]:
    """A delivery with its attempts, line by line."""
    yield f"{one['id']}  {status_word(one)}  {plain(one['recipient'])}"
    due = when(one["due_at"]) if one["state"] in ("queued", "scheduled") else ""
    because = f"{one['category'].replace('_', ' ')}, fault of {one['fault']}" if one["category"] else ""
    scope, _, name = one["held_by"].partition(":")
    held = f"the {scope} {name}: mailrelay suspension list" if scope else ""
    yield pairs(
        [
            ("message", one["message"]),
            ("job", one["job"]),
            ("queued", when(one["created_at"])),
            ("due", due),
            ("last", one["last_reply"]),
            ("meaning", because),
            ("held by", held),
            ("replied", _since(one["replied_at"])),
            ("complaint", _since(one["complained_at"])),
        ],
        indent=2,
    )
    for attempt in one["history"]:
        yield plain(
            f"  attempt {attempt['number']}  {when(attempt['began_at'])}  {attempt['host']}{_proof(attempt['tls'])}"
        )
        stage = f" at {attempt['stage']}" if attempt["stage"] else ""
        detail = f": {attempt['detail']}" if attempt["detail"] else ""
        yield plain(f"    {attempt['outcome']}{stage}{detail}")
        yield from (plain(f"      {line}") for line in _reply(attempt["reply"]))
    for back in one["returned"]:
        yield plain(f"  came back  {when(back['at'])}  {back['message']}  {judgement(back)}{_belief(back)}")


def judgement(back: Mapping[str, Any]) -> str:
    """What came back about a recipient, in words: `bounce, failed: user unknown, hard, fault of recipient: 550 5.1.1 …`."""
    kind = back["kind"].replace("_", " ")
    if back["kind"] not in _REPORTS:
        return f"{kind}{': ' if back['diagnostic'] else ''}{back['diagnostic']}"
    hard = ", hard" if back["hard"] else ""
    fault = f", fault of {back['fault']}" if back["fault"] != "neither" else ""
    said = back["diagnostic"] or back["status"]
    return f"{kind}, {back['action']}: {back['category'].replace('_', ' ')}{hard}{fault}{': ' if said else ''}{said}"


def _belief(back: Mapping[str, Any]) -> str:
    return "" if back["believed"] else f" (tied by {back['tie'].replace('_', ' ')}, not believed)"


def _since(at: str | None) -> str:
    return when(at) if at else ""


def _proof(tls: Mapping[str, Any] | None) -> str:
    if tls is None:
        return ""
    if not tls["protocol"]:
        return "  (in clear)"
    return f"  ({tls['protocol']}, {'' if tls['verified'] else 'not '}verified)"


def _reply(reply: Mapping[str, Any] | None) -> Iterator[str]:
    """The lines that the other side sent, as it sent them."""
    if reply is None:
        return
    status = f"{reply['status']} " if reply["status"] else ""
    last = len(reply["lines"]) - 1
    for at, line in enumerate(reply["lines"]):
        yield f"{reply['code']}{' ' if at == last else '-'}{status}{line}"
