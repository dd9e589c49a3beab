"""Who answered: a person or a machine. Automatic mail makes no records (I6) and is never answered (RFC 3834 §2).

By header fields and structure alone; what a bounce says about whom is another file's work (I10).
"""

from __future__ import annotations

import re

from mailrelay.mail.automatic_words import (
    AUTO_FIELDS,
    AWAY,
    BOUNCE_END,
    BOUNCE_START,
    BOUNCE_SUBJECT,
    BULK,
    CHALLENGE,
    CHALLENGERS,
    DAEMON,
    DELAY,
    LIST_FIELDS,
    LIST_LOCAL,
    MACHINE,
    METHOD,
    NO_REPLY,
    REPLY_SUBJECT,
)
from mailrelay.mail.message import ParsedMessage
from mailrelay.mail.structure import Part
from mailrelay.model.message import Kind


def reason(parsed: ParsedMessage, *, envelope_from_null: bool) -> str:
    """Why a mail is taken for automatic, `Auto-Submitted: auto-replied` say, or "" when a person wrote it (I6).

    `envelope_from_null`: whether MAIL FROM was `<>`, which only machines send (RFC 5321 §4.5.5).
    """
    return _by_structure(parsed) or _by_fields(parsed) or _by_sender(parsed, envelope_from_null=envelope_from_null)


def may_reply(parsed: ParsedMessage, *, envelope_from_null: bool = False) -> bool:
    """Whether an automatic answer may be sent: never to machines, lists or nobody (RFC 3834 §2)."""
    addresses = parsed.addresses("Reply-To").addresses or parsed.addresses("From").addresses
    what = kind(parsed, envelope_from_null=envelope_from_null)
    return bool(addresses) and what is Kind.NORMAL and not reason(parsed, envelope_from_null=envelope_from_null)


def is_machine(local: str) -> bool:
    """Whether a local part is one that only machines and lists use (`no-reply`, `owner-…`): it never becomes a record (I6)."""
    return bool(MACHINE.fullmatch(local) or LIST_LOCAL.fullmatch(local))


def kind(parsed: ParsedMessage, *, envelope_from_null: bool = False) -> Kind:
    """What the mail is, by its structure, then its fields, then its sender and subject together.

    `envelope_from_null`: whether MAIL FROM is known to have been `<>`; a Return-Path field says so too.
    """
    report = report_type(parsed)
    if report == "delivery-status":
        return _delivery_kind(parsed)
    if report == "feedback-report":
        return Kind.FEEDBACK
    if report == "disposition-notification":
        # RFC 5429 §2.2.1: a Sieve script refuses a mail in the form of a receipt; Cyrus and Pigeonhole say so here.
        return Kind.BOUNCE if "(rejected" in (parsed.headers.get("Auto-Submitted") or "").lower() else Kind.AUTO_REPLY
    subject = parsed.subject
    null = envelope_from_null or bool(_null_return_path(parsed))
    if _is_returned(parsed, null=null):
        return Kind.DELAY if DELAY.search(subject) else Kind.BOUNCE
    if _is_calendar_answer(parsed):
        return Kind.AUTO_REPLY
    if _is_challenge(parsed):
        return Kind.CHALLENGE
    submitted = _auto_submitted(parsed)
    if submitted.startswith("auto-replied") or _is_auto_reply(parsed):
        return Kind.AUTO_REPLY
    # RFC 3834 §3.1.5: a response names what it answers, whatever its sender calls it.
    if submitted and AWAY.search(subject):
        return Kind.AUTO_REPLY
    if submitted and "In-Reply-To" in parsed.headers and not (_is_list(parsed) or _machine_sender(parsed)):
        return Kind.AUTO_REPLY
    if _is_list(parsed):
        return Kind.LIST
    by_machine = submitted or null or _suppresses(parsed) or (_machine_sender(parsed) and not _gateway(parsed))
    return Kind.AUTO_GENERATED if by_machine else Kind.NORMAL


def _is_challenge(parsed: ParsedMessage) -> bool:
    """Whether the sender is asked to prove that he is a person; by the fields of the services that do so, or the subject of a machine's."""
    if any(field.key.startswith(CHALLENGERS) for field in parsed.headers):
        return bool(_auto_submitted(parsed) or CHALLENGE.search(parsed.subject))
    return CHALLENGE.search(parsed.subject) is not None and bool(_by_fields(parsed))


def _is_calendar_answer(parsed: ParsedMessage) -> bool:
    """Whether a calendar says yes, no or maybe for its owner (RFC 5546 §1.4): an answer that nobody wrote."""
    for part in parsed.parts:
        if part.type == "text/calendar":
            method = part.parameters.get("method", "")
            if not method and (said := METHOD.search(part.beginning(2_000))):
                method = said[1]
            return method.lower() in ("reply", "counter", "declinecounter", "refresh")
    return False


def _is_list(parsed: ParsedMessage) -> bool:
    return any(name in parsed.headers for name in LIST_FIELDS) or _precedence(parsed) in ("list", "bulk", "junk")


def _gateway(parsed: ParsedMessage) -> bool:
    """Whether a person's words came by a forum or tracker: his name before its `noreply@`. Nobody can answer it all the same."""
    first = parsed.addresses("From").mailboxes[:1]
    if not first or first[0].address is None or not NO_REPLY.match(first[0].address.local):
        return False
    name, domain = first[0].name.lower(), first[0].address.domain.lower()
    words = [word for word in re.split(r"[\s,]+", name) if word]
    # A shop's name is in its domain.
    return len(words) > 1 and not any(word in domain for word in words if len(word) > 2) and not NO_REPLY.search(name)


def _is_returned(parsed: ParsedMessage, *, null: bool) -> bool:
    """Whether a mail that is no DSN is a bounce all the same: by its sender, or by its subject from a machine."""
    if "X-Failed-Recipients" in parsed.headers or any(DAEMON.fullmatch(local) for local in _locals(parsed, "From")):
        return True
    if _starts_as_bounce(parsed):
        return True
    # A shop's `noreply@` writes of deliveries too.
    senders = [local for name in ("From", "Sender") for local in _locals(parsed, name)]
    daemon = any(MACHINE.fullmatch(local) and not NO_REPLY.match(local) for local in senders)
    nobody = (parsed.headers.get("From") or "").rstrip().endswith("<>")
    return (daemon or nobody or null) and BOUNCE_SUBJECT.search(parsed.subject) is not None


def report_type(parsed: ParsedMessage) -> str:
    """`delivery-status`, `feedback-report` or `disposition-notification` when the mail is such a report, else "" (RFC 6522)."""
    if parsed.root.type == "multipart/report":
        declared = parsed.root.parameters.get("report-type", "").lower()
        if declared in ("delivery-status", "feedback-report", "disposition-notification"):
            return declared
    for part in parsed.parts:
        if part.type in ("message/delivery-status", "message/global-delivery-status"):
            return "delivery-status"
        if part.type in ("message/feedback-report", "message/disposition-notification"):
            return part.type.partition("/")[2]
    return ""


def _delivery_kind(parsed: ParsedMessage) -> Kind:
    """By the worst Action of a DSN (RFC 3464 §2.3.3): failed, then delayed, then delivered, relayed, expanded."""
    actions = {action for part in parsed.parts if "delivery-status" in part.type for action in _actions(part)}
    if not actions:
        return Kind.DELAY if DELAY.search(parsed.subject) else Kind.BOUNCE
    if all(action.startswith(("deliver", "relay", "expand")) for action in actions):
        return Kind.DELIVERED
    arrived_or_late = ("deliver", "relay", "expand", "delay", "defer")
    return Kind.DELAY if all(action.startswith(arrived_or_late) for action in actions) else Kind.BOUNCE


def _actions(part: Part) -> list[str]:
    found = re.findall(r"^action[ \t]*:[ \t]*([a-z]+)", part.beginning(200_000), re.IGNORECASE | re.MULTILINE)
    return [action.lower() for action in found]


def _auto_submitted(parsed: ParsedMessage) -> str:
    """The Auto-Submitted keyword unless it is `no` (RFC 3834 §5)."""
    value = (parsed.headers.get("Auto-Submitted") or "").split(";")[0].split("(")[0].strip().lower()
    return "" if value == "no" else value


def _precedence(parsed: ParsedMessage) -> str:
    value = (parsed.headers.get("Precedence") or parsed.headers.get("X-Precedence") or "").strip().lower()
    return value if value in BULK else ""


def _is_auto_reply(parsed: ParsedMessage) -> bool:
    headers = parsed.headers
    if "vacation" in (headers.get("X-Apple-Action") or headers.get("X-Mailer") or "").lower():
        return True
    if any(name in headers for name in AUTO_FIELDS) or _precedence(parsed) in ("auto_reply", "auto-reply"):
        return (headers.get("X-Autoreply") or "").strip().lower() != "no"
    # Only where it starts the subject, or a person who writes about an out-of-office reply would be taken for one.
    return REPLY_SUBJECT.match(parsed.subject.removeprefix("[").strip()) is not None


def _by_structure(parsed: ParsedMessage) -> str:
    if report := report_type(parsed):
        return f"multipart/report of {report}"
    if _is_calendar_answer(parsed):
        return "a calendar's answer"
    return "the subject is that of a bounce" if _starts_as_bounce(parsed) else ""


def _starts_as_bounce(parsed: ParsedMessage) -> bool:
    """Whether the subject is a mail system's; a question about one is a person's."""
    return not parsed.subject.endswith("?") and (
        BOUNCE_START.match(parsed.subject) is not None or ends_as_bounce(parsed.subject)
    )


def ends_as_bounce(subject: str) -> bool:
    """Whether a subject is that of a mail with, at its end, what became of it: `Re: An offer (delivery failed)`."""
    return BOUNCE_END.search(subject[-200:]) is not None


def _by_fields(parsed: ParsedMessage) -> str:
    headers = parsed.headers
    if submitted := _auto_submitted(parsed):
        return f"Auto-Submitted: {submitted[:60]}"
    if precedence := _precedence(parsed):
        return f"Precedence: {precedence}"
    for name in (*LIST_FIELDS, *AUTO_FIELDS, "X-Failed-Recipients", "Feedback-ID"):
        if name in headers and (headers.get(name) or "").strip().lower() != "no":
            return f"{name} is set"
    if suppress := _suppresses(parsed):
        return f"X-Auto-Response-Suppress: {suppress[:60]}"
    if _is_auto_reply(parsed):
        return "the subject is that of an automatic reply"
    return ""


def _suppresses(parsed: ParsedMessage) -> str:
    """X-Auto-Response-Suppress where it forbids answers: `OOF, AutoReply` or `All`, as Exchange sets on machine mail.

    `RN, NRN` concerns read receipts only.
    """
    value = (parsed.headers.get("X-Auto-Response-Suppress") or "").lower()
    return value if any(word.strip() in ("all", "oof", "autoreply", "dr") for word in value.split(",")) else ""


def _by_sender(parsed: ParsedMessage, *, envelope_from_null: bool) -> str:
    if envelope_from_null:
        return "the reverse-path is null"
    return _null_return_path(parsed) or _machine_sender(parsed)


def _null_return_path(parsed: ParsedMessage) -> str:
    return "Return-Path is null" if (parsed.headers.get("Return-Path") or "").replace(" ", "") == "<>" else ""


def _machine_sender(parsed: ParsedMessage) -> str:
    for name in ("From", "Sender", "Reply-To"):
        for local in _locals(parsed, name):
            if MACHINE.fullmatch(local) or (name != "Reply-To" and LIST_LOCAL.fullmatch(local)):
                return f"{name} is {local[:60]}@"
    return ""


def _locals(parsed: ParsedMessage, name: str) -> list[str]:
    """The local parts of a field's addresses; daemons often write one without a domain, or `MAILER-DAEMON <>`."""
    found = []
    for entry in parsed.addresses(name).mailboxes:
        if entry.address is not None:
            found.append(entry.address.local)
        else:
            bare = entry.source.rpartition("<")[2].strip("<> ") or entry.name
            found.append(bare.partition("@")[0])
    return found
