"""The new text of a reply-mail: without the quote below it, its introduction, and the signature (I12).

Works line by line with a few lines' look-ahead, so it is linear in the text (P07). Quotes with new text between and below them
are part of what was written, and stay; only what trails is cut.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from mailrelay.mail import blocks, phrases, text
from mailrelay.mail.blocks import Mark
from mailrelay.mail.message import ParsedMessage

MAX_CHARS = 120_000
MAX_LINES = 3_000
"""Characters and lines that are read; a reply longer than this is cut here."""
_MAX_TAGS = 5_000
"""Of an HTML body: what is new stands before them, unless it stands below a quote longer than any."""
_INTRO_LINES = 6
_INTRO_CHARS = 600
_SIGNATURE_LINES = 12

_QUOTE = re.compile(r"[ \t]*(?:[A-Z]{0,3}>|[|] )")
_SIGNATURE = re.compile(r"[ \t]*(?:--|__|—)[ \t]*")
_RULE = re.compile(r"[ \t]*(?:[-_=*#~+—–─][ \t]?){2,}[ \t]*|[ \t]*ᐧ[ \t]*")
_FENCE = re.compile(r"[ \t]*(?:```|~~~)")
_TIME = re.compile(r"\b\d{1,2}[:.]\d{2}\b|\b(?:19|20)\d{2}\b|\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b|\d{1,2}月|\d{1,2}時")
_PERSON = re.compile(r"[^\s@]@[^\s@]+|[\"“”]")
_OPENER = re.compile(
    r"[ \t]*(?:-{2,} ?)?(?:on|am|le|el|em|il|op|den|dnia|in data|at|på|ons|w dniu|kl\.?|at|\d{1,4}|在|于)\b|(?:ma|ti|ke|to|pe|la|su|a) \d",
    re.IGNORECASE,
)
_MIDDLE_WROTE = re.compile(
    r"\b(?:" + "|".join(re.escape(verb) for verb in phrases.WROTE_MIDDLE) + r")\b", re.IGNORECASE
)
_QUOTE_CLASS = re.compile(
    r"""(?:class|id)\s*=\s*["']?[^"'>]*(?:\bgmail_quote|\bgmail_attr|\bgmail_extra|\byahoo_quoted|\bmoz-cite-prefix|\bprotonmail_quote|"""
    r"""\bdivRplyFwdMsg|\bappendonsend|\bzmail_extra|\bx_divRplyFwdMsg|\bgmail_signature|\bmoz-signature|\btutanota_quote)"""
    r"""|type\s*=\s*["']?cite""",
    re.IGNORECASE,
)


def reply(parsed: ParsedMessage) -> str:
    """What the author wrote anew, from the text part or, where there is none, the HTML; "" when all of it is quoted. Never raises."""
    if parsed.text_parts:
        return new_text(parsed.text)
    if not parsed.html:
        return ""
    shown = new_text(text.from_html(parsed.html, drop=_is_quote, tags=_MAX_TAGS))
    return shown or new_text(text.from_html(parsed.html, tags=_MAX_TAGS))


def _is_quote(name: str, attributes: str) -> bool:
    """Whether an HTML element is one that a mail client wraps a quote or a signature in."""
    return (
        name in ("div", "blockquote", "span", "p")
        and len(attributes) < 2_000
        and _QUOTE_CLASS.search(attributes) is not None
    )


def new_text(body: str) -> str:
    """The new text in a plain-text body whose lines end in LF."""
    lines = [
        line.rstrip() for line in unicodedata.normalize("NFC", body[:MAX_CHARS]).split("\n", MAX_LINES)[:MAX_LINES]
    ]
    kept = _without_embedded(lines)
    kept = _without_signature(kept)
    while kept and (not kept[-1].strip() or _is_quoted(kept[-1]) or _RULE.fullmatch(kept[-1][: blocks.MAX_LINE])):
        kept.pop()
    while kept and not kept[0].strip():
        kept.pop(0)
    return "\n".join(kept)


def _is_quoted(line: str) -> bool:
    return _QUOTE.match(line) is not None


def _without_embedded(lines: Sequence[str]) -> list[str]:
    """The lines up to an embedded mail; introductions of quotes are left out."""
    kept: list[str] = []
    ends = {block.start: block.end for block in blocks.find(lines)}
    fenced = begun = False
    at = 0
    while at < len(lines):
        line = lines[at]
        if _FENCE.match(line):
            fenced = not fenced
        if fenced:
            begun = True
            kept.append(line)
            at += 1
            continue
        if at in ends or (not _is_quoted(line) and blocks.mark(line) is not Mark.NONE):
            if begun:
                break
            at = ends.get(at, at + 1)  # a mail that is nothing but a forward: its text, without the block
            continue
        if end := _intro_end(lines, at):
            following = next((lines[after] for after in range(end, len(lines)) if lines[after].strip()), "")
            if begun and not _is_quoted(following):
                break
            at = end
            continue
        begun = begun or bool(line.strip())
        kept.append(line)
        at += 1
    return kept


def _intro_end(lines: Sequence[str], at: int) -> int:
    """The index after the introduction of a quote that begins at `at`, or 0: "On 2 March, Ann <ann@example.com> wrote:"."""
    first = blocks.unquoted(lines[at]).strip()
    if not first or len(first) > _INTRO_CHARS or not (_OPENER.match(first) or _TIME.search(first)):
        return 0
    joined = ""
    for end in range(at, min(at + _INTRO_LINES, len(lines))):
        bare = blocks.unquoted(lines[end]).strip()
        if not bare and end > at + 4:
            return 0
        joined = f"{joined} {bare}".strip()
        if len(joined) > _INTRO_CHARS:
            return 0
        if _is_intro(joined):
            return end + 1
    return 0


def _is_intro(joined: str) -> bool:
    wrote = _ends_wrote(joined)
    colon = joined.endswith((":", "："))
    if not wrote and not colon:
        return False
    dated = _TIME.search(joined) is not None
    if not colon:
        return dated and _PERSON.search(joined) is not None
    if wrote and (dated or _OPENER.match(joined)):
        return True
    if not dated:
        return False
    # Some clients write no verb at all: a moment, somebody with an address, a colon.
    return _MIDDLE_WROTE.search(joined) is not None or (
        joined.rstrip(":： ").endswith(">") and "@" in joined and joined.count(". ") < 4
    )


def _ends_wrote(text: str) -> bool:
    return text[-60:].rstrip("-:： ").lower().endswith(phrases.WROTE)


def _without_signature(lines: list[str]) -> list[str]:
    """The lines before a signature: `-- ` (RFC 3676 §4.3), a rule with a few lines below it, or a phone's own line."""
    fenced = False
    seen = False
    for at, line in enumerate(lines):
        if _FENCE.match(line):
            fenced = not fenced
        if fenced or _is_quoted(line):
            continue
        below = len(lines) - at - 1
        if seen and _SIGNATURE.fullmatch(line[: blocks.MAX_LINE]):
            return lines[:at]
        if seen and below <= _SIGNATURE_LINES and _RULE.fullmatch(line[: blocks.MAX_LINE]):
            return lines[:at]
        if seen and _is_sent_from(line):
            return lines[:at]
        seen = seen or bool(line.strip())
    return lines


def _is_sent_from(line: str) -> bool:
    bare = line.strip().strip("*_[<(").lower()
    return 0 < len(bare) <= 100 and bare.startswith(phrases.SENT_FROM) and not bare.endswith((".", "!", "?"))
