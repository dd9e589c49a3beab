"""A notice of a mail system nobody here knows: whom it names, by the shape of its lines and what a mail that came back repeats (I10).

The surest shape that is there wins: an address that a line is about, then one that a sentence of failure names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from mailrelay.mail.addresses import read as read_addresses
from mailrelay.mail.automatic import is_machine
from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.bounce.returned import returned_headers
from mailrelay.mail.bounce.words import CONTACTS, FAILURES, PLAIN_TO, RECIPIENT_LABELS, SENDER_LABELS, SUCCESSES
from mailrelay.mail.message import ParsedMessage
from mailrelay.model.feedback import Action

MAX_CHARS = 16_000
MAX_LINES = 1_000
MAX_LINE = 600
MAX_IN_LINE = 10
MAX_NAMES = 100
"""More recipients than this no notice in plain words names: what has more is something else, a list of members say."""

# Full-width marks are none of an address; without blanks around them, words of Chinese or Japanese would be.
_ADDRESS = re.compile(
    r"(?<![^\s<>()\[\],;:\"'=*「」〈〉：；，、。（）【】＜＞])"
    r"(?:\"[^\"\n]{1,64}\"|[^\s<>()\[\],;:\"'@\\=*/「」〈〉：；，、。（）【】＜＞]{1,64}(?:[=/'][^\s<>()\[\],;:\"@\\]{0,64})?)"
    r"@(?:\[[\w.:]{3,60}\]|\w(?:[\w.-]{0,252}\w)?)"
)
_IDEOGRAPHS = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]")
_ASCII_END = re.compile(r"[!-~]+\Z")
_ASCII_START = re.compile(r"[A-Za-z0-9.-]+\.[A-Za-z]{2,63}(?=[\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef])")
_REPLY = re.compile(r"(?:^|[\s:>(\[#\"'-])[45][0-5]\d(?=[\s:,;)\]'-]|\Z)|(?<![\d.])[45]\.\d{1,2}\.\d{1,3}(?![\d.])")
_ANSWER = re.compile(r"^[\s<>]{0,12}[45][0-5]\d[ -]|(?<![\d.])[45]\.\d{1,2}\.\d{1,3}(?![\d.])", re.MULTILINE)
_DAEMON = re.compile(r"mailer[-_.]?daemon|post[-_.]?master|mail[-_.]?delivery", re.IGNORECASE)
_ACCEPTED = re.compile(r"[\s<>*:-]*2[0-5]\d[ -]")
# What stands before and after an address that a line is about: marks of a list, a label, a name; a reason set off by a mark.
_BULLET = re.compile(
    r"(?:[45]\d\d[ -](?:[45]\.\d{1,3}\.\d{1,3} )?)?[\s>*•·#|+\-「〈]{0,20}(?:\d{1,3}[.)]\s)?[<\[(\"'「〈]{0,3}"
)
_CLOSING = re.compile(r"[>\])\"'」〉]{0,4}\s{0,8}")
_LABEL = re.compile(
    r"[\s>*#|\-\[(<]{0,12}([^\W\d_][^:=<@\n：]{0,60}?)\s{0,8}(?:\(s\))?\s{0,8}[:=：]\s{0,8}[<\[(\"'\s]{0,8}(?:smtp:|mailto:|rfc822;)?\s{0,4}",
    re.IGNORECASE,
)
# Whom we wrote to, where the notice is about what the address became.
_ORIGINAL = re.compile(
    r"\(?(?:ultimately )?(?:generated (?:by|from)|expanded from|originally addressed to):? ?<?\Z", re.IGNORECASE
)
_NAME = re.compile(r"[\s>*\-]{0,20}[\"']?[^\W\d_][^<>@:=\"\n]{0,80}[\"']?\s{0,4}[<(\[](?:mailto:)?")
_IDS = re.compile(r"message-?id|in-reply-to|references:", re.IGNORECASE)
_ROLES = re.compile(r"(?:abuse|support|help(?:desk)?|admin(?:istrator)?|hostmaster|webmaster|contact)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Known:
    """Addresses whose part in this is known: who wrote the notice, and who gets it, that is who sent the mail it is about."""

    writers: frozenset[str]
    ours: frozenset[str]


_Found = dict[str, tuple[str, int]]
"""Address in lower case → as written, and the offset of its line."""


@dataclass(slots=True)
class _Named:
    """Addresses by how sure it is that the notice is about them, surest first."""

    listed: _Found = field(default_factory=dict)
    labelled: _Found = field(default_factory=dict)
    said: _Found = field(default_factory=dict)
    doubtful: _Found = field(default_factory=dict)
    """Listed, but the sender's own, who may have written to himself, or a machine's."""
    senders: set[str] = field(default_factory=set)

    def best(self) -> _Found:
        """The surest that there are."""
        for found in (self.listed, self.labelled, self.said, self.doubtful):
            if left := {key: one for key, one in found.items() if key not in self.senders}:
                return left
        return {}


def recognise(parsed: ParsedMessage, action: Action) -> tuple[Trouble, ...]:
    """Whom a notice names, or (); only for a mail that is known to come from a mail system. Never raises; linear.

    `action`: what became of the mail, by its subject or its words.
    """
    text = lines.before_returned(lines.text_of(parsed)[:MAX_CHARS])
    found = _named(text, _known(parsed)).best()
    if not 0 < len(found) <= MAX_NAMES:
        return ()
    starts = sorted({start for _, start in found.values()})
    ends = dict(zip(starts, [*starts[1:], len(text)], strict=True))
    # Without the address: `mailboxfull@…` says nothing about a mailbox.
    return tuple(
        lines.trouble(address, text[start : ends[start]].replace(address, " "), action)
        for address, start in found.values()
    )


def action_of(text: str) -> Action:
    """What the words of a notice say became of the mail."""
    if SUCCESSES.search(text) and not FAILURES.search(text):
        return Action.DELIVERED
    return lines.action_of(text)


def returns(parsed: ParsedMessage, *, envelope_from_null: bool) -> bool:
    """Whether an automatic mail whose subject says nothing is a notice of failure: a daemon's words and a mail or a reply with them."""
    null = envelope_from_null or (parsed.headers.get("Return-Path") or "").replace(" ", "") == "<>"
    daemon = any(_DAEMON.match(one.local) for one in parsed.addresses("From").addresses)
    if not (null or daemon) or lines.passed_on(parsed):
        return False
    text = lines.before_returned(lines.text_of(parsed)[:MAX_CHARS])
    if not FAILURES.search(text):
        return False
    return bool(_ANSWER.search(text)) or returned_headers(parsed) is not None


def _known(parsed: ParsedMessage) -> _Known:
    writers = [str(one) for name in ("From", "Reply-To", "Sender") for one in parsed.addresses(name).addresses]
    ours = [str(one) for one in parsed.addresses("To").addresses]
    returned = returned_headers(parsed)
    if returned is not None:
        values = [value for name in ("From", "Return-Path", "Sender", "Reply-To") for value in returned.all(name)[:3]]
        ours += [str(one) for value in values for one in read_addresses(value[:MAX_LINE]).addresses]
    return _Known(frozenset(one.lower() for one in writers), frozenset(one.lower() for one in ours))


def _named(text: str, known: _Known) -> _Named:
    """Every address in the text that may be a recipient, by the shape of its line."""
    named, context = _Named(), _Context()
    at = 0
    rows = text.split("\n", MAX_LINES)[:MAX_LINES]
    # What stands below the last address is the returned mail, mostly, and the larger part.
    for number, row in enumerate(rows[: _last_address(rows) + 1]):
        start, at = at, at + len(row) + 1
        line = row[:MAX_LINE].rstrip()
        context.read(line)
        if "@" not in line or context.contact or _IDS.search(line):
            continue
        for match in islice(_ADDRESS.finditer(line), MAX_IN_LINE):
            address = _without_words(match[0])
            key = address.lower()
            if key in known.writers or "." not in address.rpartition("@")[2]:
                continue
            kind = _shape(line, match.start(), match.end(), listing=context.listing)
            if kind == "sender":
                named.senders.add(key)
            elif kind == "listed" and not _accepted(line, rows[number + 1 : number + 3]):
                doubtful = key in known.ours or is_machine(address.rpartition("@")[0])
                (named.doubtful if doubtful else named.listed).setdefault(key, (address, start))
            elif kind == "labelled" and key not in known.ours:
                named.labelled.setdefault(key, (address, start))
            elif kind == "said" and context.failing and key not in known.ours and not _nobody(address):
                named.said.setdefault(key, (address, start))
    return named


def _last_address(rows: Sequence[str]) -> int:
    """The number of the last row that may have an address in it; -1 when there is none."""
    return next((number for number in range(len(rows) - 1, -1, -1) if "@" in rows[number]), -1)


@dataclass(slots=True)
class _Context:
    """What the lines before said: whether this paragraph or the one above is about a failure, a list, or whom to ask for help."""

    failing: bool = False
    listing: bool = False
    contact: bool = False
    _here: bool = False

    def read(self, line: str) -> None:
        if not line.strip():
            self.contact = False
            self.failing, self._here = self._here or (self.failing and self.listing), False
            return
        fails = FAILURES.search(line) or bool(_REPLY.search(line))
        self._here = self._here or fails
        self.failing = self.failing or fails
        self.contact = self.contact or (CONTACTS.search(line) and not fails)
        if line.endswith((":", "：")) and "@" not in line:
            self.listing = self.failing or RECIPIENT_LABELS.search(line)


def _shape(line: str, start: int, end: int, *, listing: bool) -> str:
    """How the address in `line[start:end]` stands there: "listed", "labelled", "sender", or "said" within a sentence."""
    before, after = line[:start], line[end:]
    rest = _CLOSING.match(after)
    reason = after[rest.end() :] if rest else after
    if _ORIGINAL.search(before[-60:]):
        return "listed"
    if label := _LABEL.fullmatch(before):
        word = label[1].strip()
        if SENDER_LABELS.fullmatch(word):
            return "sender"
        if RECIPIENT_LABELS.search(word) or FAILURES.search(word):
            return "labelled" if word.lower() in PLAIN_TO else "listed"
        return "said"
    if "://" in before.rpartition(" ")[2]:
        return "elsewhere"
    opened = _BULLET.fullmatch(before) or (_NAME.fullmatch(before) if not reason else None)
    if opened and (not reason or reason[0] in ":;,-([.=–>/" or FAILURES.search(reason) or _REPLY.search(reason)):
        return "listed"
    # `ann@shop.example on Mon, 2 Mar …`, below a line that announces recipients.
    return "listed" if opened and listing else "said"


def _without_words(address: str) -> str:
    """The address alone where words of Chinese, Japanese or Korean stand against it without a blank."""
    local, _, domain = address.rpartition("@")
    if _IDEOGRAPHS.search(local) and (tail := _ASCII_END.search(local)):
        local = tail[0]
    if head := _ASCII_START.match(domain):
        domain = head[0]
    return f"{local}@{domain}"


def _accepted(line: str, below: list[str]) -> bool:
    """Whether this is a command of a dialogue that the other side said yes to."""
    if "rcpt to" not in line.lower():
        return False
    return any(_ACCEPTED.match(answer) for answer in below if answer.strip())


def _nobody(address: str) -> bool:
    """Whether a sentence that has such an address rather says whom to ask."""
    local = address.rpartition("@")[0]
    return is_machine(local) or bool(_ROLES.fullmatch(local))
