"""The header of the mail that came back, and what in it and in the notice ties it to a mail of ours (I10).

A returned mail is attached whole, as its header alone, or quoted in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from mailrelay.mail import ses
from mailrelay.mail.addresses import read as read_addresses
from mailrelay.mail.headers import HeaderBlock
from mailrelay.mail.message import ParsedMessage

_MAX_BYTES = 100_000
_MAX_STARTS = 20
_MAX_QUOTED = 20_000
_MAILS = ("message/rfc822", "message/global", "message/partial")
_HEADERS = ("text/rfc822-headers", "text/rfc822-header", "message/global-headers", "message/rfc822-headers")
_FIRST = re.compile(
    rb"(?:\A|\n)(?=[>| \t]{0,4}(?:Return-Path|Received|Message-ID|From|To|Date|Subject|MIME-Version):)", re.IGNORECASE
)
_MAX_EACH = 20
_MAX_VALUE = 1_000
_REPORTS = (
    "message/delivery-status",
    "message/global-delivery-status",
    "message/feedback-report",
    "message/disposition-notification",
)
# RFC 3464 §2.2.1, RFC 5965 §3.2, RFC 8098 §3.2.5; Gmail writes the X- form into its delivery status.
_OF_REPORT = re.compile(
    r"^(original-envelope-id|original-mail-from|(?:x-)?original-message-id)[ \t]{0,8}:([^\n]{0,1000}(?:\n[ \t][^\n]{0,1000})?)",
    re.IGNORECASE | re.MULTILINE,
)
_MAIL_FROM = re.compile(r"\bmail from:[ \t]{0,4}<([^<>\s]{3,320})>", re.IGNORECASE)
_ENVELOPE_FROM = re.compile(r"\benvelope-(?:from|sender)[ \t]{0,4}:?[ \t]{0,4}<?([^<>()\s;]{3,320})", re.IGNORECASE)
_BRACKETED = re.compile(r"<([^<>]{1,998})>")
_FOR = re.compile(r"\bfor <([^<>\s@]{1,64}@[^<>\s@]{1,255})>")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_OF_NOTICE = ("To", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To")
_OF_RETURNED = ("Return-Path", "X-Envelope-From", "X-Original-Return-Path", "X-Original-Mail-From")
_IDS = ("Message-ID", "X-Original-Message-ID", "Original-Message-ID", "X-Google-Original-Message-ID")
DELIVERY_FIELD = "Mailrelay-Delivery"
"""Our own field, which names the delivery in every mail that we send."""

_KNOWN = ("From", "To", "Date", "Subject", "Message-ID", "Received", "Return-Path", "MIME-Version")


@dataclass(frozen=True, slots=True)
class Traces:
    """What a mail that came back says about which mail of ours it is about; surest first, each value once, at most 20 a kind.

    All of it is a stranger's word: only a signed return path proves anything.
    """

    return_paths: tuple[str, ...]
    """Addresses that may be our return path: the notice's recipient, the returned mail's sender."""
    envelope_ids: tuple[str, ...]
    """Original-Envelope-Id, as written and, where that differs, with its xtext undone (RFC 3461 §4.4)."""
    message_ids: tuple[str, ...]
    """Without angle brackets, as `ParsedMessage.message_id`."""
    delivery_ids: tuple[str, ...]
    returned_ids: tuple[str, ...] = ()
    """Of the message ids, those of the returned mail itself: what whoever returned it had it by."""
    returned_to: str = ""
    """The only address in the returned mail's To, which a report that names nobody is taken to be about; else ""."""


def traces(parsed: ParsedMessage) -> Traces:
    """What ties a mail that came back to what we sent (I10). Never raises; linear in the mail's length."""
    returned = returned_headers(parsed)
    told = ses.read(parsed)
    if told is not None:
        # RFC 5322 §2.2: a value that SES has unfolded has no line end.
        lines = [
            f"{name}: {' '.join(value.split())}" for name, value in (("Return-Path", f"<{told.source}>"), *told.fields)
        ]
        returned = HeaderBlock.parse("\n".join(lines).encode("utf-8", "replace"))
    fields = _report_fields(parsed)
    paths = [value for name in _OF_NOTICE for value in parsed.headers.all(name)]
    paths += _named(fields, "original-mail-from")
    envelope_ids = [form for value in _named(fields, "original-envelope-id") for form in (value, _plain(value))]
    ids = _named(fields, "original-message-id") + _named(fields, "x-original-message-id")
    deliveries: list[str] = []
    if returned is not None:
        paths += [value for name in _OF_RETURNED for value in returned.all(name)]
        paths += [match[1] for value in returned.all("Received")[:_MAX_EACH] if (match := _ENVELOPE_FROM.search(value))]
        ids += [value for name in _IDS for value in returned.all(name)]
        deliveries = [value.strip() for value in returned.all(DELIVERY_FIELD)]
    paths += [match[1] for match in islice(_MAIL_FROM.finditer(parsed.opening[:_MAX_BYTES]), _MAX_EACH)]
    return Traces(
        _first(address for value in paths for address in _addresses(value)),
        _first(envelope_ids),
        _first([*(_id(value) for value in ids), *parsed.parents]),
        _first(deliveries),
        _first(_id(value) for value in (returned.all("Message-ID") if returned is not None else ())),
        recipient_of(returned) if returned is not None and "To" in returned else "",
    )


def _report_fields(parsed: ParsedMessage) -> list[tuple[str, str]]:
    """The fields of the report's machine-readable part, or of its text where it has lost that part's type."""
    texts = [part.beginning(_MAX_BYTES) for part in parsed.parts if part.type in _REPORTS][:_MAX_EACH]
    found = (match for text in texts or [parsed.opening[:_MAX_BYTES]] for match in _OF_REPORT.finditer(text))
    return [(match[1].lower(), " ".join(match[2].split())) for match in islice(found, _MAX_EACH)]


def _named(fields: list[tuple[str, str]], wanted: str) -> list[str]:
    return [value for name, value in fields if name == wanted]


def _plain(value: str) -> str:
    return _XTEXT.sub(lambda match: chr(int(match[1], 16)) if match[1] < "7F" and match[1] > "1F" else "", value)


def _id(value: str) -> str:
    bracketed = _BRACKETED.search(value)
    return "".join((bracketed[1] if bracketed else value).split())


def _addresses(value: str) -> list[str]:
    return [str(address) for address in read_addresses(value[:_MAX_VALUE]).addresses]


def _first(values: Iterable[str]) -> tuple[str, ...]:
    """The first few values, each once, without what is empty or too long to be one."""
    return tuple(islice(dict.fromkeys(value for value in values if 0 < len(value) <= _MAX_VALUE), _MAX_EACH))


def returned_headers(parsed: ParsedMessage) -> HeaderBlock | None:
    """The returned mail's fields, or None when the mail returns none. Never raises; linear in the mail's length."""
    for part in parsed.parts:
        if part.type in _MAILS:
            if part.children:
                return part.children[0].headers
            return HeaderBlock.parse(part.beginning(_MAX_BYTES).encode("utf-8", "replace"))
        if part.type in _HEADERS:
            return HeaderBlock.parse(part.beginning(_MAX_BYTES).encode("utf-8", "replace").lstrip())
    return _quoted(parsed)


def recipient_of(headers: HeaderBlock) -> str:
    """The only one a returned mail was for, by its header; "" unless that is certain: of several it does not say who failed."""
    for name in ("X-Actual-Recipient", "To"):
        # To a discussion list everybody writes; who of its readers failed is not said there.
        if name in headers and not (name == "To" and "List-Post" in headers):
            values = headers.all(name)
            found = _addresses(", ".join(values)) if len(values) < _MAX_EACH else []
            if found and len(set(found)) == 1 and "Cc" not in headers:
                return found[0]
            if found:
                return ""
    # RFC 5321 §4.4: `for` stands in Received only where there was one recipient.
    whom = {
        match[1].lower(): match[1] for value in headers.all("Received")[:_MAX_EACH] if (match := _FOR.search(value))
    }
    return next(iter(whom.values())) if len(whom) == 1 and "List-Post" not in headers else ""


def _quoted(parsed: ParsedMessage) -> HeaderBlock | None:
    """The first block in the text that reads like a mail's header: three known fields, From or To among them."""
    text = parsed.opening[:_MAX_BYTES].encode("utf-8", "replace")
    at = 0
    for _ in range(_MAX_STARTS):
        start = _FIRST.search(text, at)
        if start is None:
            break
        block = HeaderBlock.parse(_unquoted(text[start.end() : start.end() + _MAX_QUOTED]))
        known = [name for name in _KNOWN if name in block]
        if len(known) >= 3 and ("From" in known or "To" in known):
            return block
        # A block that begins within this one has no more in it.
        at = start.end() + max(block.end, 1)
    return None


def _unquoted(text: bytes) -> bytes:
    """Without the marks or the indent that every line of a quoted header has."""
    mark = re.match(rb"[>| \t]{1,4}", text)
    if mark is None:
        return text
    return b"\n".join(line.removeprefix(mark[0]) for line in text.split(b"\n"))
