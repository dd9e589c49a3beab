"""`mailrelay practice`: the world around the daemon, to see what it does: a mail program by real SMTP, a receiver of webhooks."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

import click

from mailrelay.cli import practice_webhook
from mailrelay.cli.message import settled_arrival
from mailrelay.cli.show import plain
from mailrelay.cli.talk import EX_DATAERR, EX_NOINPUT, EX_UNAVAILABLE, Failed, Talk, talks
from mailrelay.smtp.data import normalise_newlines

_QUEUE_ID = re.compile(r"\bQ[0-9A-Z]{20,}\b")
_TIMEOUT = 60
_PATIENCE = 30
"""Seconds to wait for the filing: looking up SPF and DKIM takes time where there is no DNS."""


@click.group("practice")
def command() -> None:
    """Try the daemon out."""


command.add_command(practice_webhook.command)


@command.command("send")
@click.option("--from", "from_", help="Header sender: an address of the dropbox's user.")
@click.option("--to", multiple=True, help="To field: the customer; may be given several times.")
@click.option(
    "--dropbox", multiple=True, required=True, help="Who it is really sent to, as if in Bcc; a dropbox address."
)
@click.option("--subject", default="A practice mail", show_default=True)
@click.option("--text", default="Hello from mailrelay's practice ground.", show_default=True)
@click.option("--eml", type=click.Path(path_type=Path), help="A whole mail from a file instead.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=2525, show_default=True)
@talks
def send(
    talk: Talk,
    from_: str | None,
    to: tuple[str, ...],
    dropbox: tuple[str, ...],
    subject: str,
    text: str,
    eml: Path | None,
    host: str,
    port: int,
) -> None:
    """Send a mail to a dropbox by SMTP, as the user's own mail server would when the dropbox is in Bcc.

    Example: mailrelay practice send --from anna@example.org --to bob@customer.example --dropbox bcc-…@inbound.localhost
    """
    if eml is None and not (from_ and to):
        raise click.UsageError("give --from and --to, or a whole mail with --eml")
    mail = _read(eml) if eml else _made(from_ or "", to, subject, text)
    said = _sent(host, port, from_ or "", dropbox, mail)
    found = _QUEUE_ID.search(said)
    queue_id = found[0] if found else ""
    arrival = _outcome(talk, queue_id)
    talk.show(
        {"reply": said, "queue_id": queue_id, "arrival": arrival},
        lambda: "\n".join((f"{host}:{port} took it: {plain(said)}", *_told(queue_id, arrival))),
    )


def _outcome(talk: Talk, queue_id: str) -> Any:
    """The arrival once it was filed, held or dropped; None when the daemon is not to be asked from here."""
    if not queue_id:
        return None
    try:
        return settled_arrival(talk, queue_id, patience=_PATIENCE)
    except Failed:
        return None


def _told(queue_id: str, arrival: Any) -> Iterator[str]:
    if arrival is not None:
        reason = f" ({arrival['reason'].replace('_', ' ')})" if arrival["reason"] else ""
        yield f"It is {arrival['state']}{reason}."
    if queue_id:
        yield f"How and why: mailrelay message show {queue_id}"


def _made(sender: str, to: tuple[str, ...], subject: str, text: str) -> bytes:
    mail = EmailMessage(policy=SMTP)
    try:
        mail["From"] = sender
        mail["To"] = ", ".join(to)
        mail["Subject"] = subject
        mail["Date"] = formatdate(localtime=True)
        mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].rstrip(">") or None)
        mail.set_content(text)
        return mail.as_bytes()
    except (ValueError, UnicodeError) as error:
        raise Failed(f"no mail can be made of this: {plain(error)}", EX_DATAERR) from None


def _read(eml: Path) -> bytes:
    try:
        return normalise_newlines(eml.read_bytes())
    except OSError as error:
        raise Failed(f"{eml}: cannot be read: {error.strerror}", EX_NOINPUT) from None


def _sent(host: str, port: int, sender: str, recipients: tuple[str, ...], mail: bytes) -> str:
    """The reply to the final dot. Raises Failed with the refusal, word for word."""
    try:
        with smtplib.SMTP(host, port, local_hostname="localhost", timeout=_TIMEOUT) as client:
            client.ehlo_or_helo_if_needed()
            _expect(client.mail(sender), 250)
            for recipient in recipients:
                _expect(client.rcpt(recipient), 250)
            return _expect(client.data(mail), 250)
    except smtplib.SMTPException as error:
        raise Failed(f"{host}:{port} broke off: {plain(error)}", EX_UNAVAILABLE) from None
    except UnicodeError:
        raise Failed("an address here is in ASCII letters", EX_DATAERR) from None
    except OSError as error:
        raise Failed(
            f"nobody takes mail on {host}:{port} ({error.strerror or error}). Start the daemon with `mailrelay run`",
            EX_UNAVAILABLE,
        ) from None


def _expect(reply: tuple[int, bytes], wanted: int) -> str:
    code, text = reply
    said = " ".join(text.decode("utf-8", "replace").split())
    if code != wanted:
        raise Failed(f"refused: {code} {plain(said)}", EX_DATAERR)
    return f"{code} {said}"
