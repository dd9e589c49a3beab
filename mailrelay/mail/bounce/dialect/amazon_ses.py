"""Amazon SES by way of SNS: the notification as JSON in the mail's text."""

from __future__ import annotations

import json

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage
from mailrelay.model.feedback import Action


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a bounce or delivery notification; None for any other mail, a complaint included."""
    text = lines.said(parsed, '"notificationType"', '"eventType"')
    if text is None:
        return None
    try:
        # Folded where a line grew too long; a line break inside a string is then no part of it.
        notification, _ = json.JSONDecoder(strict=False).raw_decode(
            text.replace("\n ", "").replace("\n", ""), text.index("{")
        )
    except (ValueError, RecursionError):
        return None
    bounce, delivery = _object(notification, "bounce"), _object(notification, "delivery")
    found = [_bounced(one, bounce) for one in _list(bounce, "bouncedRecipients")]
    reply = _text(delivery, "smtpResponse")
    found += [lines.trouble(str(name), reply, Action.DELIVERED) for name in _list(delivery, "recipients")]
    return tuple(one for one in found[: lines.MAX_RECIPIENTS] if one.recipient) or None


def _bounced(one: object, bounce: object) -> Trouble:
    said = (
        _text(one, "status"),
        _text(one, "diagnosticCode") or f"{_text(bounce, 'bounceType')} {_text(bounce, 'bounceSubType')}",
    )
    action = Action.DELAYED if _text(one, "action").lower() == "delayed" else Action.FAILED
    return lines.trouble(_text(one, "emailAddress"), " ".join(said), action)


def _object(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, dict) else None


def _list(value: object, key: str) -> list[object]:
    found = _object(value, key)
    return found if isinstance(found, list) else []


def _text(value: object, key: str) -> str:
    found = _object(value, key)
    return found if isinstance(found, str) else ""
