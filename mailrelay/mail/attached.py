"""Which parts of a mail are files that belong to the records it is on (I17); the others stay in the mail, where they can be had too.

Left out: pictures that the HTML shows, signatures, what machines say of a delivery, and what is empty or smaller than is asked for.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from mailrelay.mail.message import ParsedMessage
from mailrelay.mail.structure import Part

_NO_FILES = frozenset(
    (
        "application/pgp-signature",
        "application/pkcs7-signature",
        "application/x-pkcs7-signature",
        "message/delivery-status",
        "message/global-delivery-status",
        "message/disposition-notification",
        "message/feedback-report",
        "text/rfc822-headers",
        "message/global-headers",
    )
)
_CID = re.compile(r"""cid:([^"'\s)>]{1,1000})""", re.IGNORECASE)
_MAX_HTML = 2 * 1024 * 1024


def files(parsed: ParsedMessage) -> tuple[Part, ...]:
    """The parts that are files, in order. The root of the mail is one where the whole mail is a file."""
    shown = shown_in_html(parsed)
    return tuple(
        part
        for part in parsed.attachment_parts
        if part.type not in _NO_FILES
        and not part.type.startswith("multipart/")
        and not (part.type.startswith("image/") and part.content_id and part.content_id in shown)
    )


def shown_in_html(parsed: ParsedMessage) -> frozenset[str]:
    """The Content-IDs that the HTML of a mail refers to."""
    found: set[str] = set()
    for part in parsed.html_parts:
        found.update(unquote(name) for name in _CID.findall(part.beginning(_MAX_HTML)))
    return frozenset(found)
