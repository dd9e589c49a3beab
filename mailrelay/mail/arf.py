"""Complaints, read: feedback reports by RFC 5965, and what providers send that is almost one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailrelay.mail import ses
from mailrelay.mail.addresses import parse as parse_address
from mailrelay.mail.bounce.returned import returned_headers
from mailrelay.mail.headers import HeaderBlock
from mailrelay.mail.message import ParsedMessage

MAX_RECIPIENTS = 1_000
_MAX_CHARS = 100_000

_FIELD = re.compile(
    r"^(feedback-type|original-rcpt-to|removal-recipient|source-ip|user-agent)[ \t]*:[ \t]*(\S[^\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_TYPE = re.compile(r"^feedback-type[ \t]*:", re.IGNORECASE | re.MULTILINE)
# Outlook.com's programme sends the mail itself with this field added, and no report about it.
_ADDED = ("X-HmXmrOriginalRecipient", "X-HmXmrOriginalRcptTo")
_ADDED_SIGN = b"HmXmrOriginal"
_HIDDEN = re.compile(r"(?:redacted|hidden|undisclosed)(?:[-_+.].*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a feedback report says. `type` is `abuse`, `opt-out`, `not-spam`, `auth-failure`, … (RFC 5965 §7.3)."""

    type: str
    recipients: tuple[str, ...]
    """Who complained; () when the provider took it out."""
    source_ip: str
    user_agent: str


# RFC 5965 §7.3, RFC 6430 (not-spam), RFC 6591 (auth-failure), and what providers write besides. `other` is RFC 5965's own word for
# a report that fits no type: somebody did report the mail.
_BY_PEOPLE = frozenset(
    (
        "abuse",
        "fraud",
        "opt-out",
        "opt-out-list",
        "other",
        "complaint",
        "spam",
        "junk",
        "phishing",
        "miscategorized",
        "unsubscribe",
    )
)


def is_complaint(feedback_type: str) -> bool:
    """Whether a report of this type says that a person does not want the mail; what none has defined is none (RFC 5965 §7.3).

    `not-spam` says the opposite; `auth-failure`, `dmarc` and `virus` are what machines found.
    """
    return feedback_type.strip().lower() in _BY_PEOPLE


def read(parsed: ParsedMessage) -> Complaint | None:
    """The complaint in a mail, or None when it is none. Never raises; linear in the mail's length."""
    texts = [part.beginning(_MAX_CHARS) for part in parsed.parts if part.type == "message/feedback-report"]
    if not texts and parsed.root.parameters.get("report-type", "").lower() == "feedback-report":
        # RFC 5965 §2: the part has its own type; some send it as plain text.
        leaves = (part for part in parsed.parts if part.type.startswith(("text/", "application/")))
        texts = [text for part in leaves if _TYPE.search(text := part.beginning(_MAX_CHARS))]
    if not texts:
        told = ses.read(parsed)
        if told is not None and told.complaint:
            names = (address for one in told.recipients for address in _addresses(one.recipient))
            return Complaint(told.complaint[:40], tuple(dict.fromkeys(names)), "", told.user_agent[:200])
        # Looked for in the bytes first: nearly no mail has it.
        returned = returned_headers(parsed) if parsed.raw.find(_ADDED_SIGN) >= 0 else None
        added = [address for name in _ADDED if returned for address in _addresses(returned.get(name) or "")]
        return Complaint("abuse", tuple(dict.fromkeys(added)), "", "") if added else None
    returned = returned_headers(parsed)
    fields = [(match[1].lower(), match[2].strip()) for text in texts for match in _FIELD.finditer(text)]
    first = dict(reversed(fields))
    named = [value for name, value in fields if name in ("original-rcpt-to", "removal-recipient")]
    addresses = [address for value in named for address in _addresses(value)]
    if not named and returned:
        addresses = _of_returned(returned)
    return Complaint(
        first.get("feedback-type", "abuse").split(";")[0].strip().lower()[:40],
        tuple(dict.fromkeys(addresses))[:MAX_RECIPIENTS],
        first.get("source-ip", "")[:100],
        first.get("user-agent", "")[:200],
    )


def _of_returned(headers: HeaderBlock) -> list[str]:
    """The only person the mail went to; of several nobody can say who complained."""
    found = [address for name in (*_ADDED, "To") for address in _addresses(headers.get(name) or "")]
    return found if len(set(found)) == 1 else []


def _addresses(value: str) -> list[str]:
    found = (parse_address(piece.strip().strip("<>")) for piece in value[:2_000].split(","))
    return [str(one) for one in found if one is not None and not _HIDDEN.fullmatch(one.local)]
