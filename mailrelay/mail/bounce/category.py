"""(status, code, text) → what it means: one taxonomy for reports and for answers in the dialogue (I10, I11).

The text is asked first, since hosts say `5.0.0` and `550` to everything; then the enhanced status, then the code. Exact statuses
that name the sender's fault come before the text, whatever it says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailrelay.mail.bounce.phrases import GROUPS
from mailrelay.mail.bounce.report import BouncedRecipient, Trouble
from mailrelay.model.delivery import Stage
from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.reply import EnhancedStatus, Reply

MAX_CHARS = 2_000
"""More of a diagnostic is not looked at: what it means stands at its beginning."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means. `hard`: the address is dead, and stays so."""

    category: Category
    hard: bool
    fault: Fault


_DEAD = frozenset((Category.USER_UNKNOWN, Category.HOST_UNKNOWN, Category.NO_MAIL_HOST))
_RECIPIENT = _DEAD | {Category.INACTIVE, Category.MAILBOX_FULL, Category.FILTERED}
_BEFORE_RCPT = frozenset((Stage.CONNECT, Stage.TLS, Stage.AUTH, Stage.MAIL))

# RFC 7372 §3 (20 to 25), Gmail (25 to 29, 40), Outlook.com (509, 515, 606 and on): the sender's set-up or name.
_SENDER_STATUS = frozenset(
    (7, detail) for detail in (20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 40, 509, 512, 515, 708, *range(606, 650))
)
# RFC 3463 §3, RFC 7505 §4 (1.10), RFC 7293 §5 (7.17, 7.18), RFC 5248: subject and detail, what they mean.
_STATUS: dict[tuple[int, int], Category] = {
    (1, 0): Category.USER_UNKNOWN,
    (1, 1): Category.USER_UNKNOWN,
    (1, 2): Category.HOST_UNKNOWN,
    (1, 3): Category.USER_UNKNOWN,
    (1, 4): Category.FILTERED,
    (1, 6): Category.USER_UNKNOWN,
    (1, 7): Category.POLICY,
    (1, 8): Category.POLICY,
    (1, 10): Category.NO_MAIL_HOST,
    (2, 0): Category.FILTERED,
    (2, 1): Category.INACTIVE,
    (2, 2): Category.MAILBOX_FULL,
    (2, 3): Category.TOO_LARGE,
    (2, 4): Category.FILTERED,
    (3, 0): Category.SYSTEM,
    (3, 1): Category.SYSTEM,
    (3, 2): Category.SYSTEM,
    (3, 3): Category.SYSTEM,
    (3, 4): Category.TOO_LARGE,
    (3, 5): Category.SYSTEM,
    (4, 0): Category.TIMEOUT,
    (4, 1): Category.TIMEOUT,
    (4, 2): Category.TIMEOUT,
    (4, 3): Category.TIMEOUT,
    (4, 4): Category.HOST_UNKNOWN,
    (4, 5): Category.RATE_LIMITED,
    (4, 6): Category.TIMEOUT,
    (4, 7): Category.TIMEOUT,
    (4, 310): Category.HOST_UNKNOWN,
    (5, 3): Category.RATE_LIMITED,
    (7, 13): Category.INACTIVE,
    (7, 17): Category.USER_UNKNOWN,
    (7, 18): Category.HOST_UNKNOWN,
}
_SUBJECT = {4: Category.TIMEOUT, 5: Category.SYSTEM, 6: Category.CONTENT, 7: Category.POLICY}
# RFC 5321 §4.2.2, RFC 7504 §3 and §4 (521, 556).
_CODE = {
    421: Category.SYSTEM,
    432: Category.SYSTEM,
    451: Category.SYSTEM,
    452: Category.SYSTEM,
    454: Category.SYSTEM,
    500: Category.SYSTEM,
    501: Category.SYSTEM,
    502: Category.SYSTEM,
    503: Category.SYSTEM,
    521: Category.NO_MAIL_HOST,
    525: Category.INACTIVE,
    551: Category.USER_UNKNOWN,
    552: Category.MAILBOX_FULL,
    553: Category.USER_UNKNOWN,
    554: Category.POLICY,
    556: Category.NO_MAIL_HOST,
}
# The look-behind keeps both linear: a token is tried at its first character only.
_ADDRESS = re.compile(r"(?<![^\s<>\"'\[(:;,=])[^\s<>\"'\[(:;,=@]+@[^\s<>\"')\],;:]+")
_NUMBERS = re.compile(r"(?<![\w.])[245]\d\d(?=[ \-]|\Z)[ \-]?(?:#?[245]\.\d{1,3}\.\d{1,3}\b)?")
_SPACE = re.compile(r"\s+")


def judge(status: EnhancedStatus | None, code: int | None, text: str, *, action: Action = Action.FAILED) -> Verdict:
    """What an answer means. Never raises; what nothing is known about is `unknown`, soft, and nobody's fault."""
    if action in (Action.DELIVERED, Action.RELAYED, Action.EXPANDED):
        return Verdict(Category.DELIVERED, hard=False, fault=Fault.NEITHER)
    if status is not None and (status.subject, status.detail) in _SENDER_STATUS:
        limited = status.detail == 28
        return Verdict(Category.RATE_LIMITED if limited else Category.POLICY, hard=False, fault=Fault.SENDER)
    transient = status.klass == 4 if status is not None else code is not None and 400 <= code < 500
    category, fault = _meaning(status, code, plain(text))
    if transient and category is Category.HOST_UNKNOWN:
        category, fault = Category.TIMEOUT, Fault.NEITHER  # the name service may answer otherwise tomorrow
    # Gmail and Outlook.com answer 421 4.7.x when they slow a sender down; greylisting is nobody's fault.
    slowed = code == 421 and status is not None and (status.klass, status.subject) == (4, 7)
    if slowed and category not in _RECIPIENT and "greylist" not in text.lower():
        fault = Fault.SENDER
    hard = category in _DEAD and not transient and action is Action.FAILED
    return Verdict(category, hard, fault)


def of_outcome(reply: Reply, *, stage: Stage, by_us: bool = False) -> Verdict:
    """What an answer in the dialogue means (I11). Never raises; a positive one is `delivered`, a transient one never hard.

    Before RCPT only the sender is spoken of: such an answer is never hard and never the recipient's fault. `by_us`: our own words,
    of which the status alone counts; a domain that DNS denies, or that takes no mail (RFC 7505), is hard.
    """
    if reply.is_positive:
        return Verdict(Category.DELIVERED, hard=False, fault=Fault.NEITHER)
    if by_us:
        verdict = judge(reply.status, reply.code, "")
        # A name without any address (5.4.4) may be a slip in its zone; one that is not there, or says no, is dead.
        dead = stage is Stage.RESOLVE and reply.status is not None and reply.status.subject == 1
        return Verdict(verdict.category, verdict.hard and dead, verdict.fault)
    verdict = judge(reply.status, reply.code, reply.text)
    if stage not in _BEFORE_RCPT or verdict.category not in _RECIPIENT:
        return verdict
    # RFC 5321 §4.2.2: 452 to MAIL is about the server's disk, not about a mailbox; 521 and 556 are about its whole host.
    if verdict.category is Category.MAILBOX_FULL:
        return Verdict(Category.SYSTEM, hard=False, fault=Fault.NEITHER)
    if verdict.category is Category.NO_MAIL_HOST:
        return Verdict(Category.NO_MAIL_HOST, hard=False, fault=Fault.NEITHER)
    return Verdict(Category.POLICY, hard=False, fault=Fault.SENDER)


def of_trouble(trouble: Trouble, beside: str = "") -> BouncedRecipient:
    """A recipient of a report, judged by its own diagnostic; where that says nothing, by `beside`, the text for people."""
    verdict = judge(trouble.status, trouble.code, trouble.diagnostic, action=trouble.action)
    if beside and (verdict.category is Category.UNKNOWN or not trouble.diagnostic):
        told = judge(None, None, beside, action=trouble.action)
        exact = trouble.status is not None and (trouble.status.subject, trouble.status.detail) in _STATUS
        if told.category is not Category.UNKNOWN and not exact:
            verdict = judge(trouble.status, trouble.code, beside, action=trouble.action)
    return BouncedRecipient(
        trouble.recipient,
        trouble.status,
        trouble.code,
        trouble.diagnostic,
        trouble.action,
        verdict.category,
        verdict.hard,
        verdict.fault,
    )


def plain(text: str) -> str:
    """A diagnostic ready to be compared: one line in lower case, without the addresses, codes and statuses in it."""
    short = _SPACE.sub(" ", text[:MAX_CHARS]).lower().replace("\u2019", "'")
    return _SPACE.sub(" ", _NUMBERS.sub(" ", _ADDRESS.sub("@", short)))


def _meaning(status: EnhancedStatus | None, code: int | None, text: str) -> tuple[Category, Fault]:
    by_status = _by_status(status)
    # Exchange Online refuses unknown recipients at its edge with this and no other word.
    if status is not None and (status.subject, status.detail) == (4, 1) and "recipient address rejected" in text:
        return Category.USER_UNKNOWN, Fault.RECIPIENT
    # Postfix puts "Recipient address rejected" before whatever a rule of the host says: with a status of policy, nobody is unknown.
    said = text.replace("recipient address rejected", "") if by_status is Category.POLICY else text
    if found := _by_text(said):
        return found
    category = by_status or _CODE.get(code or 0, Category.UNKNOWN)
    if status is not None and (status.subject, status.detail) in ((1, 7), (1, 8)):
        return category, Fault.SENDER
    return category, Fault.RECIPIENT if category in _RECIPIENT else Fault.NEITHER


def _by_status(status: EnhancedStatus | None) -> Category | None:
    if status is None or status.subject == 0:
        return None
    return _STATUS.get((status.subject, status.detail)) or _SUBJECT.get(status.subject)


def _by_text(text: str) -> tuple[Category, Fault] | None:
    if text:
        for group in GROUPS:
            if any(_holds(text, pieces) for pieces in group.phrases):
                return group.category, group.fault
    return None


def _holds(text: str, pieces: tuple[str, ...]) -> bool:
    if pieces[0] not in text:
        return False
    at = 0
    for piece in pieces:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True
