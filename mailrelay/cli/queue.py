"""`mailrelay queue`: mail on its way out."""

from __future__ import annotations

import functools
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from mailrelay.cli.operation import bound, listed, operate, shown
from mailrelay.cli.selection import IN_FLIGHT, selects
from mailrelay.cli.show import pairs, plain, table, when
from mailrelay.cli.talk import EX_DATAERR, Failed, Talk, look, looks, part, talks

_OTHERS = (("machine", "machines"), ("unknown", "nobody can tell whom"))
_HELD = {
    "hand": "mailrelay queue release",
    "poison": "our own code failed on it again and again; mailrelay queue release tries it anew",
    "unconfirmed": "it may have arrived; mailrelay queue confirm says so, release --yes sends it again",
}
_PAGE = 500
_PATIENCE = 2.0
"""Seconds that people look for what is rare."""
_REPORTS = ("bounce", "delay", "delivered")


@click.group("queue")
def command() -> None:
    """Mail on its way out: a delivery for each recipient."""


@command.command("list")
@selects
@click.option("--all", "everything", is_flag=True, help="Ended deliveries too.")
@click.option("--oldest-first", is_flag=True, help="Instead of the newest.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@click.option(
    "--after", default="", metavar="DELIVERY", help="Go on behind this one, as a list that was cut short says."
)
@looks
def list_(
    talk: Talk, selection: Mapping[str, Any], everything: bool, oldest_first: bool, limit: int, after: str
) -> None:
    """List deliveries: those in flight, or all; only those that every option fits.

    Where few of very many fit it looks for some seconds, and says how to go on.

    Example: mailrelay queue list --state deferred --destination example.com

    Example: mailrelay queue list --sender anna@acme.example --older-than 2h --oldest-first
    """
    narrowed = bool(selection)
    asked: dict[str, Any] = dict(selection)
    if not everything and "status" not in asked:
        asked["status"] = list(IN_FLIGHT)
    order = "oldest" if oldest_first else "newest"
    found = _looked_for(talk, limit, after, order=order, **asked)
    rows = (
        (one["id"], status_word(one), one["recipient"], when(one["due_at"]), one["attempts"], one["last_reply"])
        for one in found["items"]
    )
    cut = len(found["items"]) < limit and found["next"]
    empty = "" if cut else _nothing(narrowed=narrowed, everything=everything or "status" in selection)
    more = f"Not all were looked at yet, {order} first; go on with the same and --after {cut}" if cut else ""

    def told() -> str:
        listed = table(rows, "DELIVERY", "STATUS", "RECIPIENT", "DUE", "TRIES", "LAST REPLY") or empty
        return "\n".join(filter(None, (listed, more)))

    talk.show(found, told)


def _looked_for(talk: Talk, limit: int, after: str, **query: object) -> dict[str, Any]:
    """Up to `limit` deliveries, or those that are found in some seconds: as one page, with `next` where there may be more."""
    until = time.monotonic() + _PATIENCE
    page = talk.get("/queue", limit=min(_PAGE, limit), after=after, **query)
    items = page["items"]
    while len(items) < limit and page["next"] is not None and time.monotonic() < until:
        page = talk.get("/queue", limit=min(_PAGE, limit - len(items)), after=page["next"], **query)
        items += page["items"]
    return {"items": items, "next": page["next"]}


@command.command("show")
@click.argument("delivery")
@talks
def show(talk: Talk, delivery: str) -> None:
    """Show a delivery: every attempt with the other side's replies, word for word, and all that happened to it and by whom.

    Example: mailrelay queue show D01JD…
    """
    found = talk.get(f"/queue/{part(delivery)}")
    talk.show(found, lambda: "\n".join([*described(found), *_happened(found)]))


@command.command("counts")
@selects
@talks
def counts(talk: Talk, selection: Mapping[str, Any]) -> None:
    """Count what is in flight, by status: over all organisations, or of one what every option fits.

    Example: mailrelay queue counts

    Example: mailrelay queue counts --destination example.com
    """
    if not selection:
        found = talk.get("/queue/counts")
        rows = ((one["state"], one["count"], when(one["oldest_due"])) for one in found)
        talk.show(found, lambda: table(rows, "STATUS", "COUNT", "OLDEST DUE"))
        return
    counted = talk.get("/queue/count", **{"status": list(IN_FLIGHT), **selection})
    each = [(one["status"], one["held_by"], one["count"]) for one in counted["by"]]
    more = "" if counted["complete"] else f"\n{bound(counted['count'])}: only these were counted."
    talk.show(counted, lambda: (table(each, "STATUS", "HELD BY", "COUNT") or "Nothing matches.") + more)


def _controls(name: str, *, sends: bool = False) -> Callable[[Callable[..., None]], click.Command]:
    """A command that does something to deliveries; its docstring is its help."""

    def made(described: Callable[..., None]) -> click.Command:
        @click.argument("deliveries", nargs=-1, metavar="[DELIVERY]...")
        @selects
        @click.option("--all", "everything", is_flag=True, help="All that is in flight, where nothing else is said.")
        @click.option("--reason", default="", help="Why, for whoever looks it up later.")
        @click.option("--dry-run", is_flag=True, help="Only count what would be done.")
        @click.option("--no-wait", is_flag=True, help="Do not wait until all of it is done; the daemon goes on.")
        @talks
        @functools.wraps(described)
        def run(
            talk: Talk,
            deliveries: tuple[str, ...],
            selection: dict[str, Any],
            everything: bool,
            reason: str,
            dry_run: bool,
            no_wait: bool,
            yes: bool = False,
        ) -> None:
            which = {**selection, **({"deliveries": list(deliveries)} if deliveries else {})}
            given = {"control": name, "selection": which, "everything": everything, "reason": reason, "again": yes}
            operate(talk, given, dry_run=dry_run, wait=not no_wait)

        if sends:
            run = click.option("--yes", is_flag=True, help="Unconfirmed ones too, though they may come twice.")(run)
        return command.command(name)(run)

    return made


@_controls("hold")
def hold() -> None:
    """Hold what waits, until it is released.

    For all mail of a job, a domain or to a destination, also what is still to come: mailrelay suspension add.

    Example: mailrelay queue hold D01JD…

    Example: mailrelay queue hold --sender anna@acme.example --dry-run
    """


@_controls("release", sends=True)
def release() -> None:
    """Let go what is held by hand, or was set aside as poison.

    What is unconfirmed may have arrived already, and is only released with --yes. What a suspension holds goes when that is
    resumed: mailrelay suspension resume.

    Example: mailrelay queue release --held-by hand

    Example: mailrelay queue release --held-by poison --dry-run
    """


@_controls("retry")
def retry() -> None:
    """Try what waits for its next attempt at once.

    Example: mailrelay queue retry D01JD…

    Example: mailrelay queue retry --destination example.com
    """


@_controls("cancel")
def cancel() -> None:
    """End deliveries: they are not sent, and their authors are not told.

    What is under way is cancelled when its attempt has ended, unless it was sent; before its last line it is still stopped.

    Example: mailrelay queue cancel --job spring-2026 --dry-run

    Example: mailrelay queue cancel --message M01JD… --reason "wrong price"
    """


@_controls("bounce")
def bounce() -> None:
    """Return deliveries to their authors, who get a notice with the reason. No address is suppressed for it.

    Example: mailrelay queue bounce D01JD… --reason "This partner has moved; write to sales instead."

    Example: mailrelay queue bounce --destination gone.example --older-than 2d
    """


@_controls("confirm")
def confirm() -> None:
    """Say that what is unconfirmed has arrived: it counts as sent.

    Mass mail is unconfirmed when it was cut off between its last line and the answer; it is never sent twice by itself.

    Example: mailrelay queue list --held-by unconfirmed

    Example: mailrelay queue confirm --held-by unconfirmed --destination example.com
    """


@command.command("operations")
@click.argument("operation", default="")
@click.option("--stop", is_flag=True, help="End it where it is; what it has done stays done.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many, newest first.")
@talks
def operations(talk: Talk, operation: str, stop: bool, limit: int) -> None:
    """List what was done to deliveries by hand: who, what, why, how many; or show or stop one.

    Example: mailrelay queue operations

    Example: mailrelay queue operations P01JD… --stop
    """
    if operation:
        shown(talk, operation, stop=stop)
    elif stop:
        raise Failed("say which operation to stop: mailrelay queue operations", EX_DATAERR)
    else:
        look(talk, lambda one: listed(one, limit))


def _nothing(*, narrowed: bool, everything: bool) -> str:
    """What an empty list says."""
    if narrowed:
        return "Nothing matches." + ("" if everything else " Ended deliveries: the same with --all")
    if everything:
        return "Nothing was sent yet. Send a mail with `mailrelay message send`."
    return "Nothing is on its way out. Ended deliveries: mailrelay queue list --all"


def status_word(one: Mapping[str, Any]) -> str:
    """Its status; of a bounce also whether it is hard or soft: `bounced (hard)`."""
    return f"{one['status']} ({one['bounce']})" if one["bounce"] else str(one["status"])


def described(one: Mapping[str, Any]) -> Iterator[str]:
    """A delivery with its attempts, line by line."""
    yield f"{one['id']}  {status_word(one)}  {plain(one['recipient'])}"
    due = when(one["due_at"]) if one["state"] in ("queued", "scheduled") else ""
    because = f"{one['category'].replace('_', ' ')}, fault of {one['fault']}" if one["category"] else ""
    yield pairs(
        [
            ("message", one["message"]),
            ("sender", one["sender"]),
            ("job", one["job"]),
            ("list", one["list"]),
            ("queued", when(one["created_at"])),
            ("scheduled", _since(one["scheduled_for"])),
            ("due", due),
            ("last", one["last_reply"]),
            ("meaning", because),
            ("held by", _held(one["held_by"])),
            ("our faults", one["faults"] or ""),
            ("delivered", _since(one["delivered_at"])),
            *_engaged(one["engagement"]),
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


def _engaged(done: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """What persons did with it, and how much more machines did."""
    if done is None:
        return
    for label, what in (("opened", "opens"), ("clicked", "clicks")):
        said = []
        if done[what]:
            first, last = done[f"first_{label}_at"], done[f"last_{label}_at"]
            said.append(
                f"{_times(done[what])}, first {when(first)}" + (f", last {when(last)}" if last != first else "")
            )
        said += [f"{_times(done[f'{who}_{what}'])} by {words}" for who, words in _OTHERS if done[f"{who}_{what}"]]
        if said:
            yield label, "; ".join(said)
    for link in done["links"]:
        yield f"link {link['link']}", f"{_times(link['clicks'])}, first {when(link['first_at'])}: {link['url']}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _happened(one: Mapping[str, Any]) -> Iterator[str]:
    """Its part of the journal, and what our own code said when it failed on it."""
    yield "  what happened"
    for event in one["events"]:
        data = "  ".join(f"{name}={value}" for name, value in event["data"].items() if value)
        yield plain(f"    {when(event['at'])}  {event['type']:<20} {data}").rstrip()
    if one["trace"]:
        yield "  what our code said"
        yield from (plain(f"    {line}") for line in one["trace"].splitlines())


def _held(by: str) -> str:
    """What holds a delivery, and what to do about it."""
    scope, colon, name = by.partition(":")
    if colon:
        return f"the {scope} {name}: mailrelay suspension show {scope} {shlex.quote(name)}"
    return f"{by}: {_HELD[by]}" if by in _HELD else by


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
