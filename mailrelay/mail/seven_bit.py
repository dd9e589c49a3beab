"""8-bit mail → 7-bit mail for a next hop without 8BITMIME (RFC 6152 §3), before it is signed (O8, O11)."""

from __future__ import annotations

from mailrelay.errors import Invalid
from mailrelay.mail import addresses, parameters, words
from mailrelay.mail.addresses import format_mailbox
from mailrelay.mail.compose import base64_lines, parameter, quoted_printable
from mailrelay.mail.headers import LINE_LIMIT, Field, encode_field
from mailrelay.mail.message import parse
from mailrelay.mail.structure import Part
from mailrelay.smtp.address import BadAddress
from mailrelay.smtp.data import normalise_newlines

_ADDRESS_FIELDS = frozenset(("from", "sender", "reply-to", "to", "cc", "bcc"))
_PARAMETER_FIELDS = frozenset(("content-type", "content-disposition"))
_IDENTITY = ("", "7bit", "8bit", "binary")


def to_seven_bit(raw: bytes) -> bytes | None:
    """The mail in ASCII with lines of at most 998 characters, what already was so byte for byte.

    Parts become quoted-printable or base64, header fields encoded words. None when it cannot be done: inside multipart/signed,
    where any change breaks the signature (RFC 1847 §2.1), or for an address that needs SMTPUTF8; then it bounces with 5.6.3.
    """
    if _is_seven_bit(raw):
        return raw
    parsed = parse(raw)
    edits: list[tuple[int, int, bytes]] = []
    for part in parsed.root.walk():
        edits.extend(_edits(part))
    signed = [part for part in parsed.root.walk() if part.type == "multipart/signed"]
    if any(part.start <= start < part.end for part in signed for start, _, _ in edits):
        return None
    out: list[bytes] = []
    at = 0
    for start, end, replacement in sorted(edits):
        out.extend((raw[at:start], replacement))
        at = end
    result = b"".join((*out, raw[at:]))
    return result if _is_seven_bit(result) else None


def _is_seven_bit(data: bytes) -> bool:
    return data.isascii() and all(
        len(line) <= LINE_LIMIT for line in data.split(b"\n" if b"\r\n" not in data else b"\r\n")
    )


def _edits(part: Part) -> list[tuple[int, int, bytes]]:
    """What to put in place of this part's header and body; its children speak for themselves."""
    block = part.headers
    header = bytes(block)
    changed = block
    for field in block:
        if not field.raw.isascii() and (encoded := _encoded(field)) is not None:
            changed = changed.swap(field, encoded)
    body = bytes(part.body)
    if part.children:
        if part.encoding in ("8bit", "binary"):
            changed = changed.replace("Content-Transfer-Encoding", b"Content-Transfer-Encoding: 7bit\r\n")
        return [(block.start, block.end, bytes(changed))] if bytes(changed) != header else []
    # RFC 2045 §6.4: composite types take no other encoding; what is 8-bit in them then stays, and the caller sees it.
    if part.encoding not in _IDENTITY or _is_seven_bit(body) or part.type.startswith(("multipart/", "message/")):
        return [(block.start, block.end, bytes(changed))] if bytes(changed) != header else []
    encoding, encoded_body = _body(part, body)
    changed = changed.replace("Content-Transfer-Encoding", b"Content-Transfer-Encoding: %s\r\n" % encoding)
    if part.path == "" and "MIME-Version" not in changed:
        changed = changed.append((b"MIME-Version: 1.0\r\n",))
    if "Content-Type" not in changed:
        charset = b"utf-8" if _is_utf8(body) else b"unknown-8bit"  # RFC 1428 §3
        changed = changed.append((b"Content-Type: text/plain; charset=%s\r\n" % charset,))
    separator = b"" if changed.separator else changed.newline
    return [(block.start, part.end, bytes(changed) + separator + encoded_body)]


def _body(part: Part, body: bytes) -> tuple[bytes, bytes]:
    if part.type.startswith("text/"):
        return b"quoted-printable", quoted_printable(normalise_newlines(body))
    return b"base64", base64_lines(body).rstrip(b"\r\n")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _encoded(field: Field) -> bytes | None:
    """An 8-bit field in ASCII, or None when that would change what it means, or cannot be done."""
    if not field.name:
        return None
    try:
        if field.key in _ADDRESS_FIELDS:
            return _encoded_addresses(field)
        if field.key in _PARAMETER_FIELDS:
            head, values, _ = parameters.read(field.value)
            return encode_field(field.name, head + "".join(parameter(name, value) for name, value in values.items()))
        return encode_field(field.name, words.decode(field.value))
    except (Invalid, BadAddress):
        return None


def _encoded_addresses(field: Field) -> bytes | None:
    found = addresses.read(field.value)
    mailboxes = [(entry.name, entry.address) for entry in found.mailboxes if entry.address is not None]
    if found.defects or any(not address.local.isascii() for _, address in mailboxes):
        return None
    return encode_field(field.name, ", ".join(format_mailbox(name, address) for name, address in mailboxes))
