"""The mails inside a forward: their correspondents, from the inline block or the attached mail (I22).

A reply quotes with the very same block (Outlook), so the block alone proves nothing. A mail is a forward when

- its subject's first prefix is a forward's (`WG:`, `转发:`) and it holds a block; or
- it has no reply prefix and a block with a mark that only forwards have (`Begin forwarded message:`); or
- it has neither prefix nor In-Reply-To or References, and a block stands at the start or after a short note.

`RE: FW: x` is a reply, `FW: RE: x` is a forward.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailrelay.mail import addresses, blocks, phrases, text
from mailrelay.mail.addresses import Mailbox
from mailrelay.mail.blocks import Block, Mark
from mailrelay.mail.message import ParsedMessage

MAX_CHARS = 200_000
MAX_LINES = 20_000
"""Of the body; the block stands near its start."""
MAX_FORWARDED = 20
_NOTE_LINES = 12
"""How long a note may be for the third case above."""

_PREFIX = re.compile(r"[\s\[(]*(?:\[[^\]]{0,60}\]\s*)*([^\s:：\[\]()]{1,12})\s?(?:[\[(]\d{1,3}[\])])?\s*[:：]")
_MAILTO = re.compile(
    r"\[(?:mailto:)?([^\]\s@]{1,255}@[^\]\s]{1,255})\]|<mailto:([^>\s]{1,500})>|\(mailto:([^)\s]{1,500})\)"
)
_WITHIN = re.compile(r"<([^<>\s]{1,500})<([^<>\s]{1,500})>>|([^\s<>;,]{1,255}@[^\s<>;,]{1,255})<([^<>\s]{1,500})>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """One mail inside a forward, as the forwarding client described it."""

    from_: Mailbox
    """Its address is None when the client wrote a name only (Outlook inside one organisation)."""
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    subject: str
    sent_at_text: str
    """The date as written, in whatever language."""
    level: int
    """0 for the mail that was forwarded; 1 for what that one quotes or forwards itself, and so on."""


def is_forward(parsed: ParsedMessage) -> bool:
    """Whether the mail is a forward by the rules above, or carries a whole mail."""
    return bool(forwarded(parsed)) or bool(attached(parsed))


def forwarded(parsed: ParsedMessage) -> tuple[Forwarded, ...]:
    """The mails forwarded inline, nearest first; () when the mail is no inline forward. Never raises."""
    kind = subject_kind(parsed.subject)
    if kind == "reply":
        return ()
    found, lines = _blocks(parsed)
    if not found:
        return ()
    if kind != "forward" and found[0].mark is not Mark.FORWARD:
        answers = "In-Reply-To" in parsed.headers or "References" in parsed.headers
        note = sum(1 for line in lines[: found[0].start] if line.strip())
        if answers or note > _NOTE_LINES:
            return ()
    return tuple(_read(block, level) for level, block in enumerate(found[:MAX_FORWARDED]))


def attached(parsed: ParsedMessage) -> tuple[bytes, ...]:
    """The mails attached to a mail that is no report, each byte for byte (I22)."""
    if parsed.root.type == "multipart/report":
        return ()
    return parsed.attached_messages


def subject_kind(subject: str) -> str:
    """What the first prefix of a subject says, "forward", "reply" or "": list tags in brackets before it do not count."""
    found = _PREFIX.match(subject[:200])
    word = found[1].lower().rstrip(".") if found else ""
    return "forward" if word in phrases.FORWARD_PREFIXES else "reply" if word in phrases.REPLY_PREFIXES else ""


def _blocks(parsed: ParsedMessage) -> tuple[list[Block], list[str]]:
    """The blocks of the text, or of the HTML where the text has none."""
    lines = _lines(parsed.text)
    found = blocks.find(lines)
    if not found and parsed.text_parts and parsed.html:
        lines = _lines(text.from_html(parsed.html))
        found = blocks.find(lines)
    return found, lines


def _lines(body: str) -> list[str]:
    return body[:MAX_CHARS].split("\n", MAX_LINES)[:MAX_LINES]


def _read(block: Block, level: int) -> Forwarded:
    values = block.values
    senders = _mailboxes(values[phrases.FROM])
    return Forwarded(
        from_=senders[0] if senders else Mailbox("", None, values[phrases.FROM]),
        to=_mailboxes(values.get(phrases.TO, "")),
        cc=_mailboxes(values.get(phrases.CC, "")),
        subject=values.get(phrases.SUBJECT, ""),
        sent_at_text=values.get(phrases.DATE, ""),
        level=level,
    )


def _mailboxes(value: str) -> tuple[Mailbox, ...]:
    """An address list as clients show it: `Ann [mailto:a@b]`, `a@b<mailto:a@b>`, full-width separators."""
    value = value.replace("；", ";").replace("，", ",").replace("＜", "<").replace("＞", ">").replace("<mailto:", "<")
    value = _WITHIN.sub(_inner, value)
    value = _MAILTO.sub(lambda found: f"<{found[1] or found[2] or found[3]}>", value)
    return addresses.read(value).mailboxes


def _inner(found: re.Match[str]) -> str:
    """Of `<a@b<mailto:a@b>>` and `a@b<mailto:a@b>` the address once; two different ones are left for the reader to refuse."""
    first, second = (found[1], found[2]) if found[1] else (found[3], found[4])
    return f"<{first}>" if first.lower() == second.lower() else found[0]
