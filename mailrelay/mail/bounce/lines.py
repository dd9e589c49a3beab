"""What every dialect needs of a report in plain words: its text before the returned mail, and the recipients listed in it.

All patterns that are tried on a whole report begin at a line's start or with a word, and every repetition has a bound: that keeps
a hostile mail linear.
"""

from __future__ import annotations

import re

from mailrelay.mail.automatic import ends_as_bounce
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.bounce.returned import recipient_of, returned_headers
from mailrelay.mail.message import ParsedMessage
from mailrelay.model.feedback import Action
from mailrelay.model.reply import EnhancedStatus

MAX_CHARS = 64_000
"""How far a report is read; what a mail system has to say comes first."""
MAX_DIAGNOSTIC = 1_000

ADDRESS = r'(?P<to>(?:"[^"\n]{1,64}"|[^\s<>()\[\],;:"@\\]{1,64})@\w[\w.-]{0,253})'
"""An address as reports show it, to be put into a dialect's pattern; the group is `to`."""

# Where the returned mail begins. The last line is its first header field, for systems that put nothing before it.
_DIVIDER = re.compile(
    r"^[ \t]{0,20}(?:"
    r"[-|=*]{2,80}[ \t]{0,20}(?:[^\n@]{0,40}copy of (?:the|your)|(?:the )?original message|returned (?:message|mail)|unsent message"
    r"|undelivered message|message (?:header|text|body|contents)|(?:the )?header[^\n@]{0,30}(?:message|mail)|mensaje original|附件"
    r"|(?:ursprüngliche|original-?)[ ]?nachricht|message d['’]origine|messaggio originale|mensagem original|oorspronkelijk bericht)"
    r"|(?:the )?original message (?:headers?:|(?:headers? )?follows)|message headers follow|below is a copy of the original"
    # Exchange, above the returned header.
    r"|(?:kopfzeilen der originalnachricht|ursprüngliche nachrichtenkopf|en-têtes de message d['’]origine|encabezados de mensajes? originales"
    r"|cabeçalhos originais|intestazioni originali|oorspronkelijke berichtkop|元のメッセージ ?ヘッダー|原始邮件头|原始郵件標頭)"
    r"|included is a copy of the message|the first \d{1,4} lines of your|your message reads"
    r"|received:[ \t]{0,4}(?:from|by|\()|return-path:[ \t]{0,4}<)",
    re.IGNORECASE | re.MULTILINE,
)
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?!\.?\d)")
_CODE = re.compile(r"(?:^|(?<=[\s:;>(\[#\"'-]))([45][0-5]\d)(?=[\s:,;)\]'-]|\Z)", re.MULTILINE)
_DELAYED = re.compile(
    r"warning (?:message )?only|will be retried|will (?:continue|retry|keep trying)|has been (?:delayed|postponed)|not yet been delivered"
    r"|is delayed|only a temporary failure|attempts will continue|do not need to re-?send|transient non-fatal|still being retried",
    re.IGNORECASE,
)
# As Sendmail, Exim, Courier, Postfix and Exchange head a receipt; a report of failures may list successes beside them.
_DELIVERED = re.compile(
    r"had successful delivery notifications|message delivered (?:successfully|to a mail gateway)|delivery report that you requested"
    r"|(?:was|were|has been|have been) successfully (?:delivered|relayed)"
    r"|delivery to (?:these|the following) recipients[^\n]{0,40} is complete",
    re.IGNORECASE,
)
_FATAL = re.compile(r"fatal errors|could not be delivered|permanent (?:error|failure)|undeliverable", re.IGNORECASE)
_REPLY = re.compile(r"(?:re|aw|sv|fwd?|wg|tr)\s{0,4}:", re.IGNORECASE)
_MACHINE = re.compile(
    r"mailer[-_.]?daemon|post[-_.]?master|(?:no|do[-_.]?not)[-_.]?reply|mail\.?delivery", re.IGNORECASE
)
_SPACE = re.compile(r"\s+")


def said(parsed: ParsedMessage, *signs: str) -> str | None:
    """The report's own words, without the returned mail; None when none of the `signs` is in them.

    None also for what a person answers or forwards: words of a mail system inside are then a quotation.
    """
    # Plain words first: they cost next to nothing on the mails, nearly all, that another system wrote.
    text = text_of(parsed)
    if not any(sign in text for sign in signs):
        return None
    if passed_on(parsed):
        return None
    text = before_returned(text)
    return text if any(sign in text for sign in signs) else None


def passed_on(parsed: ParsedMessage) -> bool:
    """Whether a person answers or forwards: words of a mail system in it are then a quotation."""
    if not _REPLY.match(parsed.subject) or ends_as_bounce(parsed.subject):
        return False
    return not _MACHINE.search(parsed.headers.get("From") or "")


def text_of(parsed: ParsedMessage) -> str:
    """The beginning of a mail's text; where its structure is too broken to find one, of what stands there."""
    text = parsed.opening[:MAX_CHARS]
    if text.strip():
        return text
    return bytes(parsed.root.body[:MAX_CHARS]).decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def before_returned(text: str) -> str:
    """The text up to the line where the returned mail begins."""
    divider = _DIVIDER.search(text)
    return text[: divider.start()] if divider else text


def troubles(text: str, opening: re.Pattern[str], *, action: Action | None = None) -> tuple[Trouble, ...] | None:
    """What a list says: each match of `opening`, which names a recipient as `to`, begins an entry that runs to the next.

    None when it matches nowhere. `action` is read from the words when not given. A recipient listed twice counts once.
    """
    found: dict[str, Trouble] = {}
    matches = list(opening.finditer(text[:MAX_CHARS]))
    overall = action or action_of(text)
    ends = [*(match.start() for match in matches[1:]), len(text)]
    for match, end in zip(matches, ends, strict=False):
        # Without the address: `mailboxfull@…` says nothing about a mailbox.
        before = text[match.start() : match.start("to")].rstrip("<'\"")
        after = text[match.end("to") : min(end, match.end() + 4 * MAX_DIAGNOSTIC)].lstrip(">'\"")
        words = f"{before} {after}"
        one = trouble(match["to"], words, overall)
        found.setdefault(one.recipient.lower(), one)
    return tuple(found.values()) or None


def only_recipient(parsed: ParsedMessage) -> str:
    """Whom the returned mail was for, "" unless that is certain."""
    headers = returned_headers(parsed)
    return recipient_of(headers) if headers is not None else ""


def trouble(recipient: str, words: str, action: Action) -> Trouble:
    """One recipient's trouble, its enhanced status and reply code read out of `words`."""
    status, code = _STATUS.search(words), _CODE.search(words)
    return Trouble(
        recipient=recipient.strip("<>\"' ").rstrip(".-_") if recipient.count('"') < 2 else recipient,
        status=EnhancedStatus(int(status[1]), int(status[2]), int(status[3])) if status else None,
        code=int(code[1]) if code else None,
        diagnostic=_SPACE.sub(" ", words[: 4 * MAX_DIAGNOSTIC]).strip(" <>:*\"'")[:MAX_DIAGNOSTIC],
        action=action,
    )


def action_of(text: str) -> Action:
    """Whether the report says that the mail arrived, that the system goes on trying, or neither: then it failed."""
    if _DELIVERED.search(text) and not _FATAL.search(text):
        return Action.DELIVERED
    return Action.DELAYED if _DELAYED.search(text) else Action.FAILED


def with_words(found: tuple[Trouble, ...] | None, words: str) -> tuple[Trouble, ...] | None:
    """The same recipients, each with the `words` that the report says of all of them."""
    return tuple(trouble(one.recipient, words, one.action) for one in found) if found else None
