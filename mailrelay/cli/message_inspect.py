"""`mailrelay message inspect`: what mailrelay reads in mail files, without a daemon."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import click

from mailrelay.clock import Clock
from mailrelay.mail.away import Away
from mailrelay.mail.bounce.report import BouncedRecipient
from mailrelay.mail.inspect import Inspection
from mailrelay.mail.inspect import inspect as inspect_mail

_FIRST = (
    "From: Zoë <zoe@münchen.example>\r\nAuto-Submitted: auto-replied\r\n\r\n".encode()
    + "grüße, größer, übermäßig, süß".encode("cp1252")
)


@click.command("inspect")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line and mail.")
def inspect(files: tuple[str, ...], as_json: bool) -> None:
    """Print what is in mail files: kind, subject, people, text, attachments, and the new text of a reply.

    Without FILE the names are read from standard input, one a line. Exit status 1 when a file could not be read.
    """
    failed = False
    today = Clock().now().date()
    # What is loaded at its first use (the tables of IDNA, the guesser of charsets, words of absence) is no mail's own time.
    inspect_mail(_FIRST, today=today)
    for name in files or _names(sys.stdin):
        began = time.process_time()  # not what the processor did for others meanwhile
        found: Inspection | None = None
        error: str | None = None
        try:
            found = inspect_mail(Path(name).read_bytes(), today=today)
        except OSError as problem:
            error = problem.strerror or str(problem)
        failed = failed or error is not None
        millis = round((time.process_time() - began) * 1000, 3)
        click.echo(_as_json(name, found, error, millis) if as_json else _as_text(name, found, error))
    if failed:
        sys.exit(1)


def _names(lines: Iterable[str]) -> Iterable[str]:
    return (name for line in lines if (name := line.rstrip("\r\n")))


def _as_json(name: str, found: Inspection | None, error: str | None, millis: float) -> str:
    row: dict[str, object] = {"file": name, "error": error, "ms": millis}
    if found is not None:
        row |= {
            "kind": found.kind,
            "may_reply": found.may_reply,
            "results": [_result(one) for one in found.results],
            "subject": found.subject,
            "from": [{"name": one.name, "address": one.address} for one in found.from_],
            "to": [{"name": one.name, "address": one.address} for one in found.to],
            "cc": [{"name": one.name, "address": one.address} for one in found.cc],
            "message_id": found.message_id,
            "text": found.text,
            "html": found.html,
            "attachments": [
                {"name": one.name, "type": one.type, "size": one.size, "sha256": one.sha256}
                for one in found.attachments
            ],
            "reply": found.reply,
            "away": _away(found.away),
            "defects": list(found.defects),
        }
    # ASCII, so that no terminal's encoding and no direction mark in a name can break a line.
    return json.dumps(row)


def _away(one: Away | None) -> dict[str, object] | None:
    if one is None:
        return None
    return {
        "until": one.until.isoformat() if one.until else None,
        "since": one.since.isoformat() if one.since else None,
        "gone": one.gone,
        "instead": [{"name": other.name, "address": str(other.address)} for other in one.instead],
    }


def _result(one: BouncedRecipient) -> dict[str, object]:
    return {
        "recipient": one.recipient or None,
        "status": str(one.status) if one.status else None,
        "code": one.code,
        "diagnostic": one.diagnostic,
        "category": one.category,
        "hard": one.hard,
        "action": one.action,
        "fault": one.fault,
    }


def _as_text(name: str, found: Inspection | None, error: str | None) -> str:
    if found is None:
        return f"{_plain(name)}: {error}"
    lines = [f"{_plain(name)}: {found.kind}, {'may' if found.may_reply else 'must not'} be answered automatically"]
    for label, people in (("From", found.from_), ("To", found.to), ("Cc", found.cc)):
        if people:
            lines.append(f"  {label + ':':<12}" + ", ".join(f"{one.name} <{one.address}>".strip() for one in people))
    lines.append(f"  {'Subject:':<12}{found.subject}")
    lines.append(f"  {'Message-ID:':<12}{found.message_id}")
    lines.extend(
        f"  {'Attached:':<12}{one.name or '(no name)'}, {one.type}, {one.size} bytes" for one in found.attachments
    )
    for row in found.results:
        said = " ".join(str(part) for part in (row.code, row.status, row.diagnostic) if part)
        verdict = f"{row.action}, {row.category}, {'hard' if row.hard else 'soft'}, fault: {row.fault}"
        lines.append(f"  {'Reports:':<12}{row.recipient or '(nobody named)'}: {verdict}; {said}".rstrip("; "))
    if found.away is not None:
        lines.append(f"  {'Away:':<12}{_how_long(found.away)}")
        lines.extend(f"  {'Instead:':<12}{one}" for one in found.away.instead)
    lines.extend(f"  {'Odd:':<12}{defect}" for defect in found.defects)
    lines.extend(f"  | {line}" for line in found.reply.split("\n"))
    return "\n".join(_plain(line) for line in lines)


def _how_long(one: Away) -> str:
    if one.gone:
        return "gone for good"
    since = f"from {one.since} " if one.since else ""
    return since + (f"until {one.until}, the first day back" if one.until else "no day of return is named")


def _plain(text: str) -> str:
    """Without characters that would act on the terminal (S25)."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
