"""Away until when, or gone for good, and whom to write to instead: read out of an automatic reply (I25).

Sentence by sentence in every language known here: `days` finds them, `absence` judges them by the words next to them, `people` reads
whom to write to. What is uncertain is not said: a wrong day parks somebody's mail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from mailrelay.mail import automatic, reply_text
from mailrelay.mail.away import absence, people
from mailrelay.mail.away.language import LANGUAGES
from mailrelay.mail.away.words import plain
from mailrelay.mail.message import ParsedMessage
from mailrelay.model.absence import Instead

__all__ = ["Away", "Instead", "read"]

MAX_CHARS = 4_000
"""How much of an automatic reply is read; what it has to say comes first."""
MAX_SENTENCE = 600
MAX_SUBJECT = 300

_LAST = date.max - timedelta(days=800)
"""A later day has no next year to come back in."""
_CLOCK = re.compile(
    r"(?<![\d.])\d{1,2}[:.h]\d{2}\s?(?:uhr|hrs?|h|[ap]\.?m\.?)?(?![\d.])(?!\.\d)|(?<![\d.])\d{1,2}\s?(?:uhr|[ap]\.?m\.?|h)(?!\w)|\d{1,2}時|\d{1,2}[点點](?:半)?",
    re.IGNORECASE,
)
_PHONE = re.compile(
    r"\+\d[\d ()/.-]{6,25}\d|(?<!\w)(?:tel|phone|fon|fax|mobile?|ext)\w{0,6}\.?:?\s?[\d(][\d ()/.-]{3,25}\d",
    re.IGNORECASE,
)
_END = re.compile(
    r"(?<!\d)(?<!inkl)(?<!incl)(?<!einschl)(?<!bzw)[.!?](?=\s+[A-ZÀ-Þ¿¡])|[.!?](?=\s*\Z)|[。！？!?]|;\s|\n[ \t]*\n|\n(?=[ \t]*[-*•·])"
)


@dataclass(frozen=True, slots=True)
class Away:
    """What an automatic reply says of the person who is not there."""

    until: date | None
    """The first day back. Of "away through 5 December" that is the 6th; of "until 5 December", which may be either, the 5th."""
    since: date | None
    """The first day away, where the reply gives both."""
    gone: bool
    """Whether the person has left for good; then there are no days."""
    instead: tuple[Instead, ...]
    """Whom to write to, in the reply's order; also for somebody who is merely away."""


def read(parsed: ParsedMessage, *, received: date) -> Away | None:
    """What an automatic reply says about being away, or None when it says nothing of it. Never raises; linear in the mail.

    `received`: the day on which it arrived, by which days without a year are understood. Quoted text is not read; a day of return that
    is past, or over a year ahead, is none. Call it only for mail of the kind `auto_reply`.
    """
    if automatic.report_type(parsed):
        return None
    received = min(received, _LAST)
    original = _written(parsed)
    body, subject = plain(original), plain(parsed.subject[:MAX_SUBJECT])
    sentences = [*_subject(subject), *_sentences(_blanked(body))]
    said = absence.find(sentences, received)
    gone = said is None and any(words.patterns.gone.search(one) for words in LANGUAGES for one in sentences)
    if (
        said is None
        and not gone
        and not any(words.patterns.away.search(one) for words in LANGUAGES for one in sentences)
    ):
        return None
    instead = people.find(original, body, own=_own(parsed))
    return Away(said.until if said else None, said.since if said else None, gone, instead)


def _written(parsed: ParsedMessage) -> str:
    """The beginning of what the reply says itself, without the mail that it quotes."""
    # As with a reply-mail, but what stands far below is not even looked at.
    text = reply_text.new_text(parsed.text[: 4 * MAX_CHARS]) if parsed.text_parts else reply_text.reply(parsed)
    return text[:MAX_CHARS]


def _own(parsed: ParsedMessage) -> frozenset[str]:
    """The keys of those who wrote the reply and who got it: none of them is somebody else to write to."""
    fields = ("From", "Reply-To", "Sender", "To", "Cc")
    return frozenset(address.key for field in fields for address in parsed.addresses(field).addresses)


def _blanked(text: str) -> str:
    """`text` with clock times and telephone numbers as blanks, so that they are neither days nor between words and days."""
    text = _PHONE.sub(lambda match: " " * len(match[0]), text)
    return _CLOCK.sub(lambda match: " " * len(match[0]), text)


def _subject(subject: str) -> Iterator[str]:
    """The subject in pieces: after the colon of `Out of office: …` mostly stands the subject of the mail that is answered."""
    return (piece for piece in _blanked(subject).split(": ") if piece.strip())


def _sentences(text: str) -> Iterator[str]:
    at = 0
    for match in _END.finditer(text):
        yield from _bounded(text[at : match.end()])
        at = match.end()
    yield from _bounded(text[at:])


def _bounded(sentence: str) -> Iterator[str]:
    """A sentence on one line, cut where it is longer than any sentence is."""
    joined = " ".join(sentence.split())
    return (joined[at : at + MAX_SENTENCE] for at in range(0, len(joined), MAX_SENTENCE))
