"""A contact to import into an address book, so that nobody types a dropbox address (I1): RFC 6350."""

from __future__ import annotations

from mailrelay.smtp.escape import HIDDEN

_FOLD = 75


def vcard(name: str, address: str) -> bytes:
    """A vCard 4.0 of one name and one e-mail address, UTF-8 with CRLF line ends, media type `text/vcard`."""
    lines = ("BEGIN:VCARD", "VERSION:4.0", f"FN:{_escape(name)}", f"EMAIL:{_escape(address)}", "END:VCARD")
    return b"".join(_fold(line) for line in lines)


def _escape(text: str) -> str:
    # RFC 6350 §3.4: these three are escaped in every text value; a line end in a name would begin another property.
    text = HIDDEN.sub(" ", text)
    return text.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;")


def _fold(line: str) -> bytes:
    """RFC 6350 §3.2: at most 75 octets a line, the rest behind CRLF and a space, no character cut in two."""
    folded, length = bytearray(), 0
    for character in line:
        octets = character.encode()
        if length + len(octets) > _FOLD:
            folded += b"\r\n "
            length = 1
        folded += octets
        length += len(octets)
    return bytes(folded + b"\r\n")
