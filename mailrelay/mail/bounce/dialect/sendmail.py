"""Sendmail without a delivery-status part: the list of addresses and the transcript of the session; Sendmail 5 has only the latter."""

from __future__ import annotations

import re
from dataclasses import replace

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage
from mailrelay.model.feedback import Action

_SIGNS = (
    "Transcript of session follows",
    "The following addresses had ",
    "-Message not delivered to the following addresses",
)
_LIST = re.compile(
    r"^[ \t]{0,8}-{3,8} ?(?:The following addresses had|Message not delivered to)[^\n]{0,80}\n", re.MULTILINE
)
_TRANSCRIPT = re.compile(r"^[ \t]{0,8}-{3,8} ?(?:Transcript of session|Error Detail)[^\n]{0,80}\n", re.MULTILINE)
_LISTED = re.compile(rf"^[ \t]{{0,16}}<?{lines.ADDRESS}>?(?=[ \t]{{0,8}}(?:$|\[|\(|\.\.\.))", re.MULTILINE)
# With the remote server's own words, where they stand right above.
_ANSWERED = re.compile(
    r"^(?:<<< [^\n]{1,400}\n(?:421 [^\n]{1,400}\n)?)?[45]\d\d (?:[245]\.\d{1,3}\.\d{1,3} )?"
    rf"<?{lines.ADDRESS}>?\.\.\. [^\n]{{0,400}}",
    re.MULTILINE,
)
_OWN_WORDS = re.compile(r"^421 [^\n]*\n|Remote protocol error[^\n]*", re.MULTILINE)
_NAMELESS = re.compile(r"^[45]\d\d [^\n]{0,200}\.\.\. Deferred[^\n]{0,400}", re.MULTILINE)
_GIVEN_UP = re.compile(r"cannot send message (?:for|within)", re.IGNORECASE)
_EXPANDED = re.compile(rf"\(expanded from: <?{lines.ADDRESS}>?\)")
_QUOTED_AS = re.compile(r"\((?:reason|expanded from):", re.IGNORECASE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail. One that names none is the returned mail's, or without."""
    text = lines.said(parsed, *_SIGNS)
    if text is None:
        return None
    action = Action.FAILED if _GIVEN_UP.search(parsed.subject) else lines.action_of(text)
    transcript = _TRANSCRIPT.search(text)
    session = text[transcript.end() :] if transcript else ""
    answers = lines.troubles(_answered(session), _ANSWERED, action=action)
    if listing := _LIST.search(text):
        listed = text[
            listing.end() : transcript.start() if transcript and transcript.start() > listing.end() else len(text)
        ]
        return _joined(lines.troubles(listed, _LISTED, action=action), answers, session)
    if answers:
        return answers
    nameless = _NAMELESS.search(text)
    return (lines.trouble(lines.only_recipient(parsed), nameless[0], action),) if nameless else None


def _answered(session: str) -> str:
    """The answers to named recipients, and nothing of what the dialogue said between them.

    Where the remote server's words stand above, Sendmail's about a broken connection are only what became of them.
    """
    found = [match[0] for match in _ANSWERED.finditer(session)]
    return "\n".join(_OWN_WORDS.sub("", one) if one.startswith("<<<") else one for one in found)


def _joined(
    listed: tuple[Trouble, ...] | None, answers: tuple[Trouble, ...] | None, session: str
) -> tuple[Trouble, ...] | None:
    """The list says who, the transcript why: for one without a `(reason: …)`, its own answer, else the whole session."""
    own = {one.recipient.lower(): one for one in answers or ()}
    found = []
    for one in listed or ():
        said = one.code or one.status or (one.diagnostic and not _QUOTED_AS.match(one.diagnostic))
        other = own.get(one.recipient.lower()) or lines.trouble(one.recipient, session, one.action)
        known = one if said or not session else other
        found.append(known)
        # The address that we sent to, where Sendmail lists what it became.
        if original := _EXPANDED.search(one.diagnostic):
            found.append(replace(known, recipient=original["to"]))
    return tuple(found) or None
