"""`mailrelay suppression`: addresses that must not be sent to."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import click

from mailrelay.cli.show import plain, table, when
from mailrelay.cli.talk import EX_DATAERR, EX_NOINPUT, EX_TEMPFAIL, Failed, Talk, failure, part, talks

_REASONS = click.Choice(
    "hard_bounce soft_bounces complaint unsubscribed opted_out locked by_hand".split()  # noqa: SIM905
)
_TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
_SUFFIXES = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
_PIECE = 65_536


@click.group("suppression")
def command() -> None:
    """Addresses that must not be sent to, and why."""


@command.command("list")
@click.option("--search", default="", help="Part of an address.")
@click.option("--reason", type=_REASONS, help="Only of this reason.")
@click.option("--lifted", is_flag=True, help="Those that were lifted too.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@talks
def list_(talk: Talk, search: str, reason: str | None, lifted: bool, limit: int) -> None:
    """List what holds now.

    Example: mailrelay suppression list --search @customer.example
    """
    found = talk.pages("/suppressions", limit, search=search, reason=reason, lifted=lifted or None)
    empty = "No address is suppressed" + (" that matches." if search or reason else ".")
    talk.show(found, lambda: suppressions(found["items"], lifted=lifted) or empty)


@command.command("show")
@click.argument("address")
@talks
def show(talk: Talk, address: str) -> None:
    """Show all that ever stood against an address. What became of its mail: mailrelay address show.

    Example: mailrelay suppression show bob@customer.example
    """
    found = talk.all(f"/suppressions/{part(address)}")
    talk.show(found, lambda: suppressions(found, lifted=True) or f"Nothing ever stood against {address}.")


@command.command("add")
@click.argument("address")
@click.option("--reason", type=_REASONS, default="by_hand", show_default=True)
@click.option("--evidence", default="by hand", show_default=True, help="What was seen.")
@click.option("--job", default="", help="With --reason unsubscribed: the job that it counts against.")
@click.option("--list", "list_name", default="", help="With --reason unsubscribed: the mailing list that was left.")
@talks
def add(talk: Talk, address: str, reason: str, evidence: str, job: str, list_name: str) -> None:
    """Suppress an address.

    Example: mailrelay suppression add bob@customer.example --evidence "asked by phone"
    """
    given = {"address": address, "reason": reason, "evidence": evidence, "job": job, "list": list_name}
    found = talk.post("/suppressions", given)
    talk.show(found, lambda: f"{address} is suppressed ({', '.join(one['reason'] for one in found)}).")


@command.command("lift")
@click.argument("address")
@click.option("--reason", type=_REASONS, help="Only this one; by default all.")
@click.option("--note", default="", help="Why it is lifted.")
@click.option("--list", "list_name", default="", help="Of mass mail of this mailing list, in place of all mail.")
@talks
def lift(talk: Talk, address: str, reason: str | None, note: str, list_name: str) -> None:
    """Let an address be sent to again. Who unsubscribed themselves comes back by themselves only.

    Example: mailrelay suppression lift bob@customer.example --note "has a new mailbox"
    """
    found = talk.delete(f"/suppressions/{part(address)}", reason=reason, note=note, list=list_name)
    talk.show(found, lambda: f"Lifted from {address}: {', '.join(one['reason'] for one in found)}.")


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--format", "format_", type=click.Choice(tuple(_TYPES)), help="By default what FILE's name says.")
@click.option("--reason", type=_REASONS, help="Of every line, whatever it says; by default each line's own.")
@talks
def import_(talk: Talk, file: Path, format_: str | None, reason: str | None) -> None:
    """Bring a suppression list in from FILE.csv, FILE.ndjson, or standard input (-); each line left out is named.

    A column or key address (or email) is needed; reason, since (the date it was suppressed) and evidence are taken where
    they are there, in the words of most mail services. The same file again changes nothing, and what was lifted here since
    stays lifted. Exit status: 0 all lines are in, 65 some were left out.

    Example: mailrelay suppression import bounces.csv --reason hard_bounce
    """
    kind = format_ or ("csv" if str(file) == "-" else _SUFFIXES.get(file.suffix.lower()))
    if kind is None:
        raise click.UsageError(f"{file}: say what it holds with --format, or name it .csv or .ndjson")
    try:
        with click.open_file(str(file), "rb") as stream:
            bad, sums = _sent(talk, stream, kind, reason)
    except OSError as error:
        raise Failed(f"{file}: cannot be read: {error.strerror}", EX_NOINPUT) from None
    if "added" not in sums:
        because = plain(sums.get("error", "the daemon broke off"))
        raise Failed(f"{file} was not read to its end: {because}. To import it again is safe", EX_TEMPFAIL)
    talk.show(sums | {"bad_lines": bad}, lambda: _summed(sums))
    if bad:
        raise SystemExit(EX_DATAERR)


def _sent(talk: Talk, stream: IO[bytes], kind: str, reason: str | None) -> tuple[list[Any], dict[str, Any]]:
    """The bad lines, and the last line of the answer."""
    bad: list[Any] = []
    sums: dict[str, Any] = {}
    answer = talk.raw(
        "POST",
        "/suppressions/import",
        body=stream,
        content_type=_TYPES[kind],
        query={"reason": reason},
        patience=None,
    )
    for line in talk.lines(answer):
        if "line" not in line:
            sums = line
            continue
        bad.append(line)
        if not talk.as_json:
            click.echo(f"line {line['line']}: {plain(line['because'])}", err=True)
    return bad, sums


def _summed(sums: Mapping[str, Any]) -> str:
    told = "{added} added, {unchanged} there already, {bad} left out".format(**sums)
    if sums["lifted"]:
        told += f", {sums['lifted']} left as they are because they were lifted here since"
    if sums["ignored"]:
        told += f". Columns that mean nothing here: {', '.join(plain(name) for name in sums['ignored'])}"
    return told


@command.command("export")
@click.option("--output", type=click.Path(path_type=Path), help="A file; by default standard output.")
@click.option("--format", "format_", type=click.Choice(tuple(_TYPES)), help="By default what --output says, else csv.")
@click.option("--search", default="", help="Part of an address.")
@click.option("--reason", type=_REASONS, help="Only of this reason.")
@click.option("--lifted", is_flag=True, help="Those that were lifted too.")
@talks
def export(talk: Talk, output: Path | None, format_: str | None, search: str, reason: str | None, lifted: bool) -> None:
    """Write the list as CSV or JSON lines; `mailrelay suppression import` reads it again.

    Example: mailrelay suppression export --output suppressions.csv
    """
    by_name = _SUFFIXES.get(output.suffix.lower()) if output else None
    kind = "ndjson" if talk.as_json and not format_ else format_ or by_name or "csv"
    query = {"format": kind, "search": search, "reason": reason, "lifted": lifted or None}
    answer = talk.raw("GET", "/suppressions/export", query=query, patience=None)
    if answer.status >= 400:
        raise failure(answer)
    try:
        with answer, output.open("wb") if output else click.open_file("-", "wb") as target:
            while piece := answer.read(_PIECE):
                target.write(piece)
    except BrokenPipeError:
        sys.exit(0)  # who reads us has seen enough
    except OSError as error:
        raise Failed(f"{output or 'standard output'}: cannot be written: {error.strerror}", EX_DATAERR) from None


def suppressions(found: Iterable[Mapping[str, Any]], *, lifted: bool) -> str:
    """A table of suppressions, with `lifted` also of when and by whom each was lifted; "" for none."""
    rows = [
        (
            "(erased) " * one["erased"] + one["key"],
            one["reason"] + (f" ({one['list']})" if one["list"] else ""),
            when(one["since"]),
            one["by"] or "-",
            *((_lifted(one),) if lifted else ()),
            one["evidence"],
        )
        for one in found
    ]
    return table(rows, "ADDRESS", "REASON", "SINCE", "BY", *(("LIFTED",) if lifted else ()), "EVIDENCE")


def _lifted(one: Mapping[str, Any]) -> str:
    if not one["lifted_at"]:
        return "-"
    return f"{when(one['lifted_at'])} by {one['lifted_by']}" + (f": {one['note']}" if one["note"] else "")
