"""`mailrelay attachment`: the files of mail and of records, and what they take (I17)."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any

import click

from mailrelay.cli.show import pairs, table, when
from mailrelay.cli.talk import EX_DATAERR, EX_NOINPUT, Failed, Talk, decoded, failure, looks, part, talks

_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_KILO = 1000


@click.group("attachment")
def command() -> None:
    """Files of mail and of records. WHERE is a record, such as deal/9, or the id of a message."""


@command.command("list")
@click.argument("where")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, newest first.")
@talks
def list_(talk: Talk, where: str, limit: int) -> None:
    """List the files of a record, or of a message.

    Example: mailrelay attachment list deal/9
    """
    if "/" in where:
        found = talk.pages(_record(where), limit)
        rows = (
            (
                one["attachment"],
                one["name"] or "-",
                one["type"],
                _size(one["size"]),
                _state(one),
                one["message"] or "-",
                when(one["at"]),
            )
            for one in found["items"]
        )
        empty = f"{where} has no files. `mailrelay organisation set attachments=record` files those of its mail from then on."
        said = ("ID", "NAME", "TYPE", "SIZE", "STATE", "FROM MAIL", "AT")
        talk.show(found, lambda: table(rows, *said) or empty)
        return
    found = talk.get(f"/messages/{part(where)}/attachments")
    rows_of_mail = (
        (one["number"], one["name"] or "-", one["type"], _size(one["size"]), one["part"], one["sha256"][:12])
        for one in found["attachments"]
    )
    of_mail = ("NUMBER", "NAME", "TYPE", "SIZE", "PART", "SHA-256")
    talk.show(found, lambda: table(rows_of_mail, *of_mail) or "The mail has no attachments.")


@command.command("save")
@click.argument("where")
@click.argument("name")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The new file.")
@talks
def save(talk: Talk, where: str, name: str, to: Path) -> None:
    """Save a file: of a record by its id, of a message by its number.

    Where it goes is yours to say; what its sender called it decides nothing.

    Example: mailrelay attachment save deal/9 E01KF3ZB8Q0S7M2X4V9RT --to offer.pdf
    """
    path = (
        f"{_record(where)}/{part(name)}/content"
        if "/" in where
        else f"/messages/{part(where)}/attachments/{part(name)}"
    )
    data = talk.bytes(path)
    try:
        with to.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise Failed(f"{to} cannot be written: {error.strerror}", EX_DATAERR) from None
    talk.show({"file": str(to), "size": len(data)}, lambda: f"{_size(len(data))} saved to {to}")


@command.command("add")
@click.argument("record")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", default="", help="What it is called there; by default as the file.")
@talks
def add(talk: Talk, record: str, file: Path, name: str) -> None:
    """Put a file to a record.

    Example: mailrelay attachment add deal/9 terms.pdf
    """
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}", EX_NOINPUT) from None
    query = {"name": name or file.name}
    answer = talk.raw("POST", _record(record), body=data, content_type=kind, query=query)
    if answer.status >= 400:
        raise failure(answer)
    with answer:
        made: Any = decoded(answer.read())
    talk.show(made, lambda: f"{made['attachment']} is on {record}, {_size(made['size'])}.")


@command.command("remove")
@click.argument("record")
@click.argument("attachment")
@talks
def remove(talk: Talk, record: str, attachment: str) -> None:
    """Take a file off its record, for good; the mail that it is from keeps it.

    Example: mailrelay attachment remove deal/9 E01KF3ZB8Q0S7M2X4V9RT
    """
    talk.delete(f"{_record(record)}/{part(attachment)}")
    talk.show({"attachment": attachment, "removed": True}, lambda: f"{attachment} is on {record} no more.")


@command.command("usage")
@looks
def usage(talk: Talk) -> None:
    """Show what the organisation's attachments take.

    Example: mailrelay attachment usage
    """
    found = talk.get("/organisation/storage")
    known = [
        ("Used", f"{_size(found['used'])} in {found['contents']} different files"),
        ("Limit", _size(found["limit"]) if found["limit"] else "none"),
        ("Waiting", found["waiting"]),
        ("Not filed", f"{found['full']}: storage is full since {when(found['full_since'])}" if found["full"] else ""),
    ]
    talk.show(found, lambda: pairs(known))


def _record(where: str) -> str:
    module, slash, id_ = where.partition("/")
    if not (module and slash and id_):
        raise click.UsageError(f"{where}: a record is module/id, such as deal/9")
    return f"/records/{part(module)}/{part(id_)}/attachments"


def _state(one: dict[str, Any]) -> str:
    if one["state"] == "filed":
        return "filed"
    return f"not filed: {one['reason']}" if one["reason"] else "waiting"


def _size(size: int) -> str:
    amount = float(size)
    for unit in _UNITS:
        if amount < _KILO or unit == _UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= _KILO
    raise AssertionError  # the last unit has no end
