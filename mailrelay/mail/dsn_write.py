"""Delivery status notifications, written: multipart/report (RFC 6522) with delivery-status (RFC 3464), in the forms of RFC 6533 where needed.

What others said is in here: the remote's words, the author's own mail. None of it can become a field, a line or a part of its own (B10).
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mailrelay.mail import charset, dates
from mailrelay.mail.addresses import format_mailbox
from mailrelay.mail.compose import Person, encode_body
from mailrelay.mail.headers import HeaderBlock, encode_field
from mailrelay.mail.seven_bit import to_seven_bit
from mailrelay.mail.submission import needs_smtputf8
from mailrelay.model.address import Address
from mailrelay.model.envelope import EnvelopeRecipient
from mailrelay.model.feedback import Action
from mailrelay.model.reply import EnhancedStatus
from mailrelay.smtp.address import format_address
from mailrelay.smtp.data import normalise_newlines
from mailrelay.smtp.escape import escape
from mailrelay.smtp.params import encode_orcpt

MAX_RETURNED = 100_000
"""A mail that is larger comes back as its header only, whatever RET said (RFC 3461 §4.3 lets us)."""
_MAX_HEADER = 50_000
_MAX_SAID = 2_000
_MAX_LINE = 900
_MAX_SUBJECT = 150
_MAX_REFERENCES = 20
_WIDTH = 76
_ID = re.compile(r"[!-;=?-~]{1,900}")
_LONG = re.compile(rf"\S{{{_MAX_LINE}}}(?=\S)")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}|\[[0-9A-Za-z.:]{2,60}\]")


_WORDS = {
    Action.FAILED: ("Undelivered", "could not be delivered to:"),
    Action.DELAYED: ("Delayed", "is delayed. It still waits to be sent to:"),
    Action.RELAYED: ("Relayed", "was passed on to:"),
    Action.DELIVERED: ("Delivered", "arrived at:"),
}
"""What a notice tells, the worst first: in a word for its subject, and in its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a notice tells of one recipient."""

    recipient: EnvelopeRecipient
    action: Action
    """FAILED, DELAYED, RELAYED or DELIVERED."""
    status: EnhancedStatus
    happened: str
    """What happened, in a sentence for the author."""
    said: tuple[str, ...] = ()
    """The lines that were said, as they came."""
    by_remote: bool = False
    """Whether a mail server said them; else they are our own."""
    remote: str = ""
    """Who said them: a host name or a bracketed address; "" when nobody was reached."""
    advice: str = ""
    """What the author can do, in a sentence."""
    last_attempt: datetime | None = None
    retry_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The mail that a notice is about. `raw` None when its bytes are gone."""

    subject: str
    message_id: str | None
    parents: Sequence[str]
    """As `ParsedMessage.parents`: Message-IDs, nearest first."""
    arrived: datetime
    queue_id: str
    envid: str | None
    full: bool
    """Whether all of it is wanted back (RET=FULL)."""
    raw: bytes | None = field(repr=False)


def write(
    told: Sequence[Told],
    original: Original,
    *,
    to: Address,
    from_: Person,
    hostname: str,
    message_id: str,
    at: datetime,
) -> bytes:
    r"""The notice as a mail, every line ended by CRLF; the same facts give the same bytes. `told` names one recipient at least.

    In ASCII throughout, with `\x{…}` in the addresses of the status (RFC 6533 §3), unless the author's own address needs
    SMTPUTF8: then the hop to them knows it, and the types of RFC 6533 are used.
    """
    utf8 = not to.local.isascii()
    failed = any(one.action is Action.FAILED for one in told)
    status = _status(told, original, hostname, utf8=utf8)
    parts = [_text_part(_text(told, original, hostname)), _part(_status_type(utf8=utf8), status)]
    if original.raw is not None:
        parts.append(_returned(original.raw, full=original.full and failed, utf8=utf8))
    fields = (
        encode_field("From", format_mailbox(from_.name, from_.address), structured=True),
        encode_field("To", format_mailbox("", to), structured=True),
        encode_field("Subject", f"{_title(told)}: {_subject(original)}"),
        encode_field("Date", dates.write(at)),
        encode_field("Message-ID", f"<{message_id}>"),
        *_thread(original),
        b"Auto-Submitted: auto-replied\r\n",  # RFC 3834 §3.1.7
        b"X-Auto-Response-Suppress: All\r\n",
        b"MIME-Version: 1.0\r\n",
    )
    return b"".join(fields) + _report(parts)


def _thread(original: Original) -> tuple[bytes, ...]:
    """In-Reply-To and References, so that it stands beside the mail in the author's client."""
    if original.message_id is None or not _ID.fullmatch(original.message_id):
        return ()
    earlier = [name for name in original.parents[: _MAX_REFERENCES - 1] if _ID.fullmatch(name)]
    names = [f"<{name}>" for name in (*reversed(earlier), original.message_id)]
    return encode_field("In-Reply-To", names[-1]), encode_field("References", " ".join(names))


def _title(told: Sequence[Told]) -> str:
    """The worst of it in a word."""
    actions = {one.action for one in told}
    return next(title for action, (title, _) in _WORDS.items() if action in actions)


def _subject(original: Original) -> str:
    subject = escape(original.subject)[:_MAX_SUBJECT].strip()
    return subject or "your mail"


# --- for people ---


def _text(told: Sequence[Told], original: Original, hostname: str) -> str:
    title = f'Your mail "{_subject(original)}" of {dates.write(original.arrived)}'
    paragraphs = [f"This is the mail system at {hostname}."]
    for action, (_, what) in _WORDS.items():
        some = [one for one in told if one.action is action]
        if some:
            paragraphs.append(_filled(f"{title} {what}"))
            paragraphs += [_of_recipient(one) for one in some]
    if _title(told) == _WORDS[Action.DELAYED][0]:
        paragraphs.append(_filled("It is tried again by itself; you need not send it once more."))
    paragraphs.append(f"Queue id: {original.queue_id}")
    return "\r\n\r\n".join(paragraphs) + "\r\n"


def _of_recipient(one: Told) -> str:
    lines = [escape(str(one.recipient.address)), _filled(escape(one.happened), indent="  ")]
    if one.said:
        # Indented, so that no line of a stranger's can stand as one of ours.
        lines += ["", *(f"      {line}" for line in _said(one)), ""]
    if one.advice:
        lines.append(_filled(escape(one.advice), indent="  "))
    return "\r\n".join(lines).rstrip()


def _filled(text: str, *, indent: str = "") -> str:
    lines = textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\r\n".join(lines)


def _said(one: Told) -> list[str]:
    """The words, made harmless and not without end."""
    room = _MAX_SAID
    lines = []
    for line in one.said:
        lines.append(_LONG.sub(r"\g<0> ", escape(line)[:room]))
        room -= len(line)
        if room <= 0:
            break
    return lines


def _text_part(text: str) -> bytes:
    return _part("text/plain; charset=utf-8", text.encode("utf-8", "replace"))


# --- for programs: RFC 3464 §2 ---


def _status_type(*, utf8: bool) -> str:
    return "message/global-delivery-status" if utf8 else "message/delivery-status"


def _status(told: Sequence[Told], original: Original, hostname: str, *, utf8: bool) -> bytes:
    about = [
        ("Reporting-MTA", f"dns; {hostname}"),
        *([("Original-Envelope-Id", original.envid)] if original.envid else []),
        ("Arrival-Date", dates.write(original.arrived)),
    ]
    groups = [about, *(_group(one, utf8=utf8) for one in told)]
    return "\r\n".join("".join(_line(name, value, utf8=utf8) for name, value in group) for group in groups).encode()


def _group(one: Told, *, utf8: bool) -> list[tuple[str, str]]:
    said = " ".join(_said(one))
    kind = "smtp" if one.by_remote else "x-mailrelay"
    orcpt = one.recipient.orcpt
    return [
        *([("Original-Recipient", _original_recipient(orcpt, utf8=utf8))] if orcpt else []),
        ("Final-Recipient", _final_recipient(one.recipient.address, utf8=utf8)),
        ("Action", str(one.action)),
        ("Status", str(one.status)),
        *([("Remote-MTA", f"dns; {one.remote}")] if _HOST.fullmatch(one.remote) else []),
        *([("Diagnostic-Code", f"{kind}; {said}")] if said else []),
        *([("Last-Attempt-Date", dates.write(one.last_attempt))] if one.last_attempt else []),
        *([("Will-Retry-Until", dates.write(one.retry_until))] if one.retry_until else []),
    ]


def _original_recipient(orcpt: str, *, utf8: bool) -> str:
    kind, _, address = orcpt.partition(";")
    if kind.lower() == "utf-8" and not utf8:
        return "utf-8; " + encode_orcpt(orcpt).partition(";")[2]
    return f"{kind}; {address}"  # RFC 3461 §4.2: as it was before xtext


def _final_recipient(address: Address, *, utf8: bool) -> str:
    if address.local.isascii():
        return f"rfc822; {format_address(address)}"
    return _original_recipient(f"utf-8;{format_address(address)}", utf8=utf8)


def _line(name: str, value: str, *, utf8: bool) -> str:
    text = escape(value)
    if not utf8:
        text = text.encode("ascii", "backslashreplace").decode("ascii")
    return encode_field(name, _LONG.sub(r"\g<0> ", text), structured=True).decode("utf-8")


# --- what comes back ---


def _returned(raw: bytes, *, full: bool, utf8: bool) -> bytes:
    raw = normalise_newlines(raw)
    if full and len(raw) <= MAX_RETURNED:
        beyond = needs_smtputf8(raw)
        if raw.isascii() or to_seven_bit(raw) is not None or (beyond and utf8):
            # RFC 2046 §5.2.1: no encoding on a mail that is inside; what is 8-bit in it is converted where a hop needs that.
            encoding = "7bit" if raw.isascii() else "8bit"
            kind = "message/global" if beyond else "message/rfc822"
            return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + raw
    header = _header(raw)
    if header.isascii():
        return _part("text/rfc822-headers", header)
    return _part("message/global-headers", charset.decode(header).encode("utf-8", "replace"))


def _header(raw: bytes) -> bytes:
    """The header of a mail, whole fields of it."""
    kept: list[bytes] = []
    room = _MAX_HEADER
    for one in HeaderBlock.parse(raw):
        room -= len(one.raw)
        if one.name and room >= 0:
            kept.append(one.raw)
    return b"".join(kept)


# --- parts ---


def _part(type_: str, content: bytes) -> bytes:
    encoding, encoded = encode_body(content)
    return f"Content-Type: {type_}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode("ascii") + encoded


def _report(parts: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    # A mail that holds the digest of what it stands in is not to be had.
    boundary = f"=_{digest.hexdigest()[:40]}"
    kind = encode_field("Content-Type", f'multipart/report; report-type=delivery-status; boundary="{boundary}"')
    marked = b"".join(b"\r\n--%s\r\n%s" % (boundary.encode(), part) for part in parts)
    return kind + marked + f"\r\n--{boundary}--\r\n".encode()
