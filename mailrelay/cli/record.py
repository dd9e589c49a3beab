"""`mailrelay record`: records of the CRM, one by one or by file (R7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mailrelay.cli.show import pairs, plain, table, when
from mailrelay.cli.talk import EX_DATAERR, EX_NOINPUT, EX_TEMPFAIL, Failed, Talk, part, talks

_TYPES = {".csv": "text/csv", ".ndjson": "application/x-ndjson", ".jsonl": "application/x-ndjson"}


@click.group("record")
def command() -> None:
    """Records of the CRM. RECORD is module/id, such as contact/17."""


@command.command("list")
@click.argument("module")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, by id.")
@talks
def list_(talk: Talk, module: str, limit: int) -> None:
    """List a module's records.

    Example: mailrelay record list contact
    """
    found = talk.pages(f"/records/{part(module)}", limit)
    rows = (
        (one["ref"], one["name"], " ".join(address["address"] for address in one["addresses"]), one["source"])
        for one in found["items"]
    )
    empty = f"No {module} yet. Bring records in with `mailrelay record import FILE.csv`."
    talk.show(found, lambda: table(rows, "RECORD", "NAME", "ADDRESSES", "FROM") or empty)


@command.command("show")
@click.argument("record")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Mail on it to show, newest first."
)
@talks
def show(talk: Talk, record: str, limit: int) -> None:
    """Show a record, and the mail on it with the rule that put it there.

    Example: mailrelay record show contact/17
    """
    path = _path(record)
    found = talk.get(path)
    mail = talk.pages(f"{path}/messages", limit)
    talk.show(found | {"messages": mail["items"]}, lambda: "\n".join(_told(found, mail["items"])))


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@talks
def import_(talk: Talk, file: Path) -> None:
    """Bring records in from FILE.csv or FILE.ndjson; each line that is left out is named with its reason.

    A CSV file begins with the columns' names: module, id and name are needed; owner and links are optional; any other
    is an address field of the module, or kept as a field. A line of NDJSON is an object with these names, or a record as
    the API answers it. The same file again changes nothing. Exit status: 0 all lines are in, 65 some were left out.

    Example: mailrelay record import contacts.csv
    """
    kind = _TYPES.get(file.suffix.lower())
    if kind is None:
        raise click.UsageError(f"{file}: name it .csv or .ndjson, so that it is clear what it holds")
    bad: list[Any] = []
    sums: dict[str, Any] = {}
    try:
        with file.open("rb") as stream:
            answer = talk.raw("POST", "/records/bulk", body=stream, content_type=kind, patience=None)
            for line in talk.lines(answer):
                if "change" in line:
                    continue
                if "line" in line:
                    bad.append(line)
                    if not talk.as_json:
                        click.echo(f"line {line['line']}: {plain(line['because'])}", err=True)
                else:
                    sums = line
    except OSError as error:
        raise Failed(f"{file}: cannot be read: {error.strerror}", EX_NOINPUT) from None
    if "created" not in sums:
        because = plain(sums.get("error", "the daemon broke off"))
        raise Failed(f"{file} was not read to its end: {because}. To import it again is safe", EX_TEMPFAIL)
    talk.show(
        sums | {"bad_lines": bad},
        lambda: "{created} created, {updated} updated, {unchanged} unchanged, {bad} left out".format(**sums),
    )
    if bad:
        raise SystemExit(EX_DATAERR)


@command.command("remove")
@click.argument("record")
@talks
def remove(talk: Talk, record: str) -> None:
    """Forget a record; mail that was on it stays, and still says so.

    Example: mailrelay record remove contact/17
    """
    talk.delete(_path(record))
    talk.show({"record": record, "removed": True}, lambda: f"{record} is forgotten.")


def _path(record: str) -> str:
    module, slash, id_ = record.partition("/")
    if not (module and slash and id_):
        raise click.UsageError(f"{record}: a record is module/id, such as contact/17")
    return f"/records/{part(module)}/{part(id_)}"


def _told(one: dict[str, Any], mail: list[Any]) -> list[str]:
    known: list[tuple[str, object]] = [("record", one["ref"]), ("name", one["name"]), ("owner", one["owner"])]
    known += [(address["field"], address["address"]) for address in one["addresses"]]
    known += [(link["role"], link["to"]) for link in one["links"]]
    known += sorted(one["fields"].items())
    known += [("came by", one["source"]), ("since", when(one["created_at"])), ("changed", when(one["updated_at"]))]
    rows = ((line["message"], when(line["created_at"]), line["rule"] or f"by {line['by']}") for line in mail)
    return [pairs(known), "", table(rows, "MESSAGE", "LINKED", "BY") or "No mail on it yet."]
