"""What leaves: a stored mail made into the bytes that a next hop gets, at each attempt anew and not kept (architecture §6).

The order matters. On behalf of the author where their domain has not proved itself, then the recipient's own pixel and links (O9),
and the ways by which they leave mass mail (O15), then to seven bits where the hop needs it, then the signatures (O8: after every
change), then our Received field, which no signature covers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from mailrelay.mail import dates
from mailrelay.mail.addresses import format_mailbox, read
from mailrelay.mail.dkim import SigningKey, sign
from mailrelay.mail.headers import HeaderBlock, encode_field
from mailrelay.mail.seven_bit import to_seven_bit
from mailrelay.mail.submission import needs_smtputf8
from mailrelay.model.address import Address
from mailrelay.model.delivery import Refused, Stage
from mailrelay.model.envelope import Channel
from mailrelay.model.tracking import Tracked
from mailrelay.smtp import codes
from mailrelay.smtp.address import MAX_LOCAL
from mailrelay.smtp.data import MAX_LINE, normalise_newlines
from mailrelay.tracking.copies import Edit, Tracking, edited, tracking_edits
from mailrelay.tracking.rewrite import Splice
from mailrelay.tracking.unsubscribe import Unsubscribing, unsubscribe_edits, with_fields

_PROTOCOLS = {Channel.SUBMISSION: "ESMTPSA", Channel.API: "HTTP"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """As whom a mail may leave: `on_behalf_at` is the installation's own domain when the author's is not proved, else ""."""

    on_behalf_at: str
    keys: tuple[SigningKey, ...]
    """Of the domain that stands in From when it leaves; empty when there is none, and it leaves unsigned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What our Received field says: where a mail came to us, not from whom."""

    hostname: str
    queue_id: str
    channel: Channel
    at: datetime


@dataclass(frozen=True, slots=True)
class Prepared:
    """The bytes, whether their header needs SMTPUTF8, what became of their tracking, and whether one may unsubscribe in their text."""

    content: bytes
    utf8: bool
    tracked: Tracked = Tracked.OFF
    linked: bool = False


def author_domain(raw: bytes) -> str:
    """The domain of the first From address, which signs; "" when there is none."""
    found = read(HeaderBlock.parse(raw).get("From") or "").addresses
    return found[0].domain if found else ""


def prepare(
    raw: bytes,
    *,
    leave: Leave,
    trace: Trace,
    eight_bit: bool,
    smtputf8: bool,
    now: datetime,
    date: datetime | None = None,
    tracking: Tracking | None = None,
    unsubscribing: Unsubscribing | None = None,
) -> Prepared | Refused:
    """The mail as it leaves for a hop that knows 8BITMIME (`eight_bit`) and SMTPUTF8 or not; Refused when it cannot be made fit.

    `date` is its Date where it has none, as scheduled mail, which may be moved (O5); `tracking` None: it is not tracked;
    `unsubscribing` None: it is no mass mail.
    Pure and heavy: signing takes milliseconds, more for large bodies. May raise dkim.CannotSign.
    """
    raw = normalise_newlines(raw)  # S02: an import may hold what no wire may
    if date is not None:
        raw = dated(raw, date)
    if leave.on_behalf_at:
        raw = on_behalf(raw, leave.on_behalf_at)
    raw, said, linked = _own(raw, tracking, unsubscribing)
    utf8 = needs_smtputf8(raw)
    fits = raw.isascii() or (eight_bit and (smtputf8 or not utf8))
    if not fits or _has_long_line(raw):
        converted = to_seven_bit(raw)
        if converted is None:
            refusal = codes.SMTPUTF8_NOT_POSSIBLE if utf8 else codes.CONVERSION_NOT_POSSIBLE
            return Refused(reply=refusal, stage=Stage.MAIL, by_us=True)
        raw, utf8 = converted, False
    if leave.keys:
        raw = sign(raw, leave.keys, now=now)
    return Prepared(received(trace) + raw, utf8, said, linked)


def _own(raw: bytes, tracking: Tracking | None, unsubscribing: Unsubscribing | None) -> tuple[bytes, Tracked, bool]:
    """The mail with what is one recipient's own, what became of its tracking, and whether the link to unsubscribe is in its text."""
    edits: list[Edit] = []
    headers: Sequence[Splice] = ()
    said = Tracked.OFF
    if unsubscribing is not None:
        with suppress(Exception):  # the header fields are there in any case, and a mail matters more than its link
            found, headers = unsubscribe_edits(raw, unsubscribing)
            edits += found
    linked = bool(edits)
    if tracking is not None:
        try:
            counted, said = tracking_edits(raw, tracking)
            edits += counted
        except Exception:  # noqa: BLE001 (a mail matters more than its count: it leaves as it is, and says so)
            said = Tracked.FAILED
    raw = edited(raw, edits, headers)
    return raw if unsubscribing is None else with_fields(raw, unsubscribing), said, linked


def dated(raw: bytes, date: datetime) -> bytes:
    """`raw` with a Date, its own if it has one."""
    block = HeaderBlock.parse(raw)
    if block.get("Date"):
        return raw
    return block.without(("Date",)).append((encode_field("Date", dates.write(date)),)).join(raw)


def received(trace: Trace) -> bytes:
    """Our Received field. Without a from clause: an author's own address is nobody's business, and over HTTP there is no host."""
    protocol = _PROTOCOLS.get(trace.channel, "local")
    return encode_field("Received", f"by {trace.hostname} with {protocol} id {trace.queue_id}; {dates.write(trace.at)}")


def on_behalf(raw: bytes, domain: str) -> bytes:
    """`raw` with From at `domain`, the author's name kept, and Reply-To the author unless there is one already (O2).

    The address is the same for the same author at all times, so that a reader's filters hold.
    """
    block = HeaderBlock.parse(raw)
    authors = [entry for entry in read(block.get("From") or "").mailboxes if entry.address is not None]
    if not authors or authors[0].address is None:
        return raw
    author = authors[0].address
    block = block.replace("From", encode_field("From", format_mailbox(authors[0].name, stand_in(author, domain))))
    block = block.without(("Sender",))  # the one address in From is who sends it
    if "Reply-To" not in block:
        everyone = ", ".join(
            format_mailbox(entry.name, entry.address) for entry in authors if entry.address is not None
        )
        block = block.append((encode_field("Reply-To", everyone),))
    return block.join(raw)


def stand_in(author: Address, domain: str) -> Address:
    """`local=domain@installation`; a hash where that would be too long or not ASCII."""
    local = f"{author.local}={author.domain}"
    if len(local) > MAX_LOCAL or not local.isascii() or author.domain.startswith("["):
        local = f"author={hashlib.sha256(author.key.encode()).hexdigest()[:32]}"
    return Address(local, domain)


def _has_long_line(raw: bytes) -> bool:
    if len(raw) <= MAX_LINE:
        return False
    start = 0
    while len(raw) - start > MAX_LINE:
        newline = raw.rfind(b"\r\n", start, start + MAX_LINE + 2)
        if newline < 0:
            return True
        start = newline + 2
    return False
