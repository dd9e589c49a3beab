"""Delivery status notifications, read: RFC 3464 and RFC 6533, in whatever wrapping they come.

Fields are found in `message/delivery-status`, else in any text that holds them: reports are sent on as plain text, as files, with a
type nobody knows, with folds and empty lines where none belong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage
from mailrelay.model.feedback import Action
from mailrelay.model.reply import EnhancedStatus

MAX_CHARS = 200_000
MAX_BYTES = 300_000
"""How far each part is read; a thousand recipients stand there, and a report about a mail of ours has one."""
MAX_DIAGNOSTIC = 4_000

_STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{2,40})[ \t]*:[ \t]*(.*)")
_NAMES = ("original-recipient", "final-recipient", "x-actual-recipient")
_SAID = frozenset(("action", "status", "diagnostic-code"))
_RECIPIENT = re.compile(r"^(?:original|final)-recipient[ \t]*:", re.IGNORECASE | re.MULTILINE)
_SAYS = re.compile(r"^(?:action|status|diagnostic-code)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_CODE = re.compile(
    r"(?:^|(?:said|reply|response|answer|error|refused to talk to me|with|host)\s*:\s*|['\"\s(])([245][0-5]\d)(?=[ \-]\S|\Z)"
)
_ADDRESS = re.compile(
    r"(\"[^\"\r\n]{1,128}\"|[^\s<>()\[\]:;,\"@]{1,320})@(\[[^\]\s]{1,80}\]|[^\s<>()\[\]:;,&\"'@]{1,255})"
)
# IronPort puts its own name for the status before what the remote host said.
_QUOTED = re.compile(r"[245]\.\d{1,3}\.\d{1,3} - [^'\d]{1,80}([245]\d\d)[- ]'(.{1,3000})'")
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_ACTIONS = {
    "fail": Action.FAILED,
    "delay": Action.DELAYED,
    "defer": Action.DELAYED,
    "delive": Action.DELIVERED,
    "relay": Action.RELAYED,
    "expand": Action.EXPANDED,
}


def read(parsed: ParsedMessage, *, in_text: bool = True) -> tuple[Trouble, ...]:
    """What a report's fields say of each recipient, in order; () when it has none. Never raises; linear.

    `in_text`: look for the fields in other parts too when no part declares them.
    """
    # `parts` leaves out a mail inside: a report about a report says nothing of its own recipients, unless it is all there is.
    declared = [part for part in parsed.parts if part.type in _STATUS_TYPES]
    if not declared and in_text:
        declared = [part for part in parsed.root.walk() if part.type in _STATUS_TYPES]
    texts = [part.beginning(MAX_BYTES) for part in declared]
    if not any(_RECIPIENT.search(one) for one in texts) and in_text:
        leaves = (
            part for part in parsed.parts if not part.children and part.type not in ("message/rfc822", "text/html")
        )
        texts = [
            part.beginning(MAX_BYTES) for part in leaves if not part.type.startswith(("image/", "audio/", "video/"))
        ]
        texts = [one for one in texts if _RECIPIENT.search(one) and _SAYS.search(one)]
    found: dict[tuple[str, Action], Trouble] = {}
    for one in _troubles("\n\n".join(texts)[:MAX_CHARS]):
        known = found.setdefault((one.recipient.lower(), one.action), one)
        # One that we wrote to, several that he became: an alias that somebody left behind is not dead.
        if _says_dead(known) and not _says_dead(one):
            found[one.recipient.lower(), one.action] = one
    return tuple(found.values())


def _says_dead(one: Trouble) -> bool:
    return one.status is not None and (one.status.klass, one.status.subject) == (5, 1)


def status_in(text: str) -> EnhancedStatus | None:
    """The first enhanced status in a text, or None (RFC 3463 §2)."""
    found = _STATUS.search(text)
    return EnhancedStatus(int(found[1]), int(found[2]), int(found[3])) if found else None


def code_in(text: str) -> int | None:
    """The reply code that a diagnostic starts with or quotes, or None."""
    found = _CODE.search(text)
    return int(found[1]) if found else None


def address_in(text: str) -> str:
    """The address in the value of a recipient field (`rfc822; <a@b>`), or "" when it names none."""
    value = text.partition(";")[2] if ";" in text else text
    # RFC 6533 §3: `\\x{4E00}` stands for the character in utf-8-addr-xtext.
    value = _ESCAPED.sub(_unescape, value)[:2_000].replace("<>", "")
    found = _ADDRESS.search(value)
    return f"{found[1]}@{found[2].rstrip('.')}" if found else ""


def _unescape(match: re.Match[str]) -> str:
    number = int(match[1], 16)
    return chr(number) if 0x20 <= number < 0xD800 or 0xE000 <= number <= 0x10FFFF else ""


def _troubles(text: str) -> Iterator[Trouble]:
    for fields in _groups(text):
        addresses = [address for name in _NAMES if (address := address_in(fields.get(name, "")))]
        diagnostic = _diagnostic(fields.get("diagnostic-code", ""))
        status = status_in(fields.get("status", "")) or status_in(diagnostic)
        said = status_in(diagnostic)
        # RFC 3463 §2: x.0.0 says nothing; what the remote host said does.
        if status is not None and said is not None and status == EnhancedStatus(said.klass, 0, 0):
            status = said
        action = _action(fields.get("action", ""), status)
        yield Trouble(addresses[0] if addresses else "", status, code_in(diagnostic), diagnostic, action)


def _groups(text: str) -> Iterator[dict[str, str]]:
    """The fields of each recipient: a group starts at an empty line or where a field comes again."""
    group: dict[str, str] = {}
    for fields in _paragraphs(text):
        names = any(name in fields for name in _NAMES[:2])
        # A group torn apart by empty lines; what begins with Reporting-MTA is another report.
        if not names and group and "reporting-mta" not in fields and not (_SAID & group.keys() & fields.keys()):
            group |= {name: value for name, value in fields.items() if name not in group}
            continue
        if group:
            yield group
        group = fields if names else {}
    if group:
        yield group


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    last = ""
    for line in text.split("\n"):
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, ""
        elif line[0] in " \t" and last:
            if len(fields[last]) < MAX_DIAGNOSTIC:
                fields[last] += " " + line.strip()
        elif match := _FIELD.match(line):
            name = match[1].lower()
            if name in fields and name in (*_NAMES[:2], "action"):
                yield fields
                fields = {}
            last = name
            fields.setdefault(name, match[2].strip()[:MAX_DIAGNOSTIC])
        elif last == "diagnostic-code" and len(fields[last]) < MAX_DIAGNOSTIC:
            fields[last] += " " + line.strip()  # some fold without the white space
    if fields:
        yield fields


def _diagnostic(value: str) -> str:
    """The text of a Diagnostic-Code without its type (RFC 3464 §2.3.6)."""
    kind, semicolon, rest = value.partition(";")
    said = rest.strip() if semicolon and " " not in kind.strip() else value
    quoted = _QUOTED.match(said)
    return f"{quoted[1]} {quoted[2]}" if quoted else said


def _action(value: str, status: EnhancedStatus | None) -> Action:
    word = value.strip().lower()
    for start, action in _ACTIONS.items():
        if word.startswith(start):
            return action
    return Action.DELIVERED if status is not None and status.klass == 2 else Action.FAILED
