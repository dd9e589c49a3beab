"""Amazon SES notifications, read: the JSON that SNS puts into a mail's text about a bounce, a complaint, a delay or a delivery (I10).

Both forms are known: `notificationType` of identity notifications and `eventType` of event publishing; bare, or within SNS's own
envelope (`"Type": "Notification"`, the protocol `email-json`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from mailrelay.mail.message import ParsedMessage
from mailrelay.model.feedback import Action

MAX_CHARS = 300_000
MAX_RECIPIENTS = 500
MAX_FIELDS = 200

_START = re.compile(r"^[ \t]{0,8}\{", re.MULTILINE)  # behind a `>` somebody quotes it
_SIGNS = ("notificationType", "eventType")
# What SES says of a bounce when the remote host said nothing, as the detail of an enhanced status (RFC 3463).
_SUBTYPES = {
    "noemail": "1.1",
    "suppressed": "1.1",
    "onaccountsuppressionlist": "1.1",
    "mailboxfull": "2.2",
    "messagetoolarge": "3.4",
    "contentrejected": "6.0",
    "attachmentrejected": "6.1",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a notification says of one recipient; `words` holds status, reply code and diagnostic."""

    recipient: str
    words: str
    action: Action


@dataclass(frozen=True, slots=True)
class Notification:
    """What a notification says. `complaint` is the type of a complaint (`abuse`, …) and "" for anything else."""

    complaint: str
    recipients: tuple[Told, ...]
    user_agent: str
    source: str
    """MAIL FROM of the mail that it is about."""
    fields: tuple[tuple[str, str], ...]
    """Header fields of that mail, name and value, where SES was told to include them; at most 200."""


def read(parsed: ParsedMessage) -> Notification | None:
    """The notification in a mail, or None when it holds none about a recipient. Never raises."""
    text = parsed.opening[:MAX_CHARS]
    if not any(sign in text for sign in _SIGNS):
        return None
    found = _json(text)
    inner = _text(found, "Message")
    if inner and not _kind(found):
        found = _json(inner)
    kind = _kind(found)
    if kind == "complaint":
        complaint = _get(found, "complaint")
        names = [_text(one, "emailAddress") for one in _list(complaint, "complainedRecipients")]
        told = tuple(Told(name, "", Action.DELIVERED) for name in names if name)
        complained = _text(complaint, "complaintFeedbackType").lower() or "abuse"
        return Notification(complained, told, _text(complaint, "userAgent"), *_mail(found))
    told = tuple(one for one in _told(found, kind) if "@" in one.recipient)
    return Notification("", told, "", *_mail(found)) if told else None


def _mail(found: object) -> tuple[str, tuple[tuple[str, str], ...]]:
    about = _get(found, "mail")
    fields = ((_text(one, "name"), _text(one, "value")) for one in _list(about, "headers")[:MAX_FIELDS])
    return _text(about, "source"), tuple(field for field in fields if all(field))


def _told(found: object, kind: str) -> list[Told]:
    if kind == "bounce":
        bounce = _get(found, "bounce")
        return [_bounced(one, bounce) for one in _list(bounce, "bouncedRecipients")]
    if kind == "deliverydelay":
        delay = _get(found, "deliveryDelay")
        return [
            Told(_text(one, "emailAddress"), _said(one) or _text(delay, "delayType"), Action.DELAYED)
            for one in _list(delay, "delayedRecipients")
        ]
    if kind == "delivery":
        delivery = _get(found, "delivery")
        reply = _text(delivery, "smtpResponse")
        return [Told(str(name), reply, Action.DELIVERED) for name in _list(delivery, "recipients")]
    return []


def _bounced(one: object, bounce: object) -> Told:
    words = _said(one)
    if not words:
        kind, subtype = _text(bounce, "bounceType"), _text(bounce, "bounceSubType")
        detail = _SUBTYPES.get(subtype.lower(), "0.0")
        words = f"{'4' if kind.lower() == 'transient' else '5'}.{detail} {kind} {subtype}"
    action = Action.DELAYED if _text(one, "action").lower() == "delayed" else Action.FAILED
    return Told(_text(one, "emailAddress"), words, action)


def _said(one: object) -> str:
    return f"{_text(one, 'status')} {_text(one, 'diagnosticCode')}".strip()


def _kind(found: object) -> str:
    return (_text(found, "notificationType") or _text(found, "eventType")).replace(" ", "").lower()


def _json(text: str) -> object:
    opening = _START.search(text)
    if opening is None:
        return None
    # Cut where a line grew too long: Sendmail writes `!`, line end, blank; others fold. No string holds a line end of its own.
    joined = text[opening.end() - 1 :].replace("!\n ", "").replace("\n ", "").replace("\n", "")
    try:
        found: object = json.JSONDecoder(strict=False).raw_decode(joined)[0]
    except (ValueError, RecursionError):
        return None
    return found


def _get(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, dict) else None


def _list(value: object, key: str) -> list[object]:
    found = _get(value, key)
    return found[:MAX_RECIPIENTS] if isinstance(found, list) else []


def _text(value: object, key: str) -> str:
    found = _get(value, key)
    return found if isinstance(found, str) else ""
