"""(status, code, text) → what it means: one taxonomy for reports and for answers in the dialogue (I10, I11).

The text is asked first, since hosts say `5.0.0` and `550` to everything; then the enhanced status, then the code. Exact statuses
that name the sender's fault come before the text, whatever it says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailrelay.mail.bounce import phrases
from mailrelay.mail.bounce.report import BouncedRecipient, Trouble
from mailrelay.mail.bounce.wording import words
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
_ALIVE = frozenset((Category.INACTIVE, Category.MAILBOX_FULL))
_RECIPIENT = _DEAD | {Category.INACTIVE, Category.MAILBOX_FULL, Category.FILTERED}
# RFC 4954 §6: who may not log in is the sender, even when "user unknown" is said of it.
_LOGIN_CODES = frozenset((530, 534, 535, 538))
_BEFORE_RCPT = frozenset((Stage.CONNECT, Stage.TLS, Stage.AUTH, Stage.MAIL))

# RFC 7372 §3 (20 to 25), Gmail (25 to 32, 40), Outlook.com and Exchange Online (the others): the sender's set-up or name.
_SENDER_DETAILS = (
    *range(20, 33),
    40,
    501,
    502,
    503,
    505,
    506,
    509,
    511,
    512,
    513,
    515,
    *range(606, 650),
    *range(700, 751),
)
_SENDER_STATUS = frozenset((7, detail) for detail in _SENDER_DETAILS)
# RFC 3463 §3, RFC 7505 §4 (1.10), RFC 7293 §5 (7.17, 7.18), RFC 5248; above 20 Exchange Online: subject and detail, what they mean.
_STATUS: dict[tuple[int, int], Category] = {
    (1, 1): Category.USER_UNKNOWN,
    (1, 2): Category.HOST_UNKNOWN,
    (1, 3): Category.USER_UNKNOWN,
    (1, 4): Category.FILTERED,
    (1, 6): Category.USER_UNKNOWN,
    (1, 7): Category.POLICY,
    (1, 8): Category.POLICY,
    (1, 10): Category.NO_MAIL_HOST,
    (1, 20): Category.POLICY,
    (1, 90): Category.RATE_LIMITED,
    (2, 121): Category.RATE_LIMITED,
    (2, 122): Category.RATE_LIMITED,
    (2, 1): Category.INACTIVE,
    (2, 2): Category.MAILBOX_FULL,
    (2, 3): Category.TOO_LARGE,
    (2, 4): Category.FILTERED,
    (3, 1): Category.SYSTEM,
    (3, 2): Category.SYSTEM,
    (3, 3): Category.SYSTEM,
    (3, 4): Category.TOO_LARGE,
    (3, 5): Category.SYSTEM,
    (4, 1): Category.TIMEOUT,
    (4, 2): Category.TIMEOUT,
    (4, 3): Category.TIMEOUT,
    (4, 4): Category.HOST_UNKNOWN,
    (4, 5): Category.RATE_LIMITED,
    (4, 6): Category.TIMEOUT,
    (4, 7): Category.TIMEOUT,
    (4, 14): Category.TIMEOUT,
    (4, 310): Category.HOST_UNKNOWN,
    (4, 312): Category.TIMEOUT,
    (4, 316): Category.TIMEOUT,
    (5, 3): Category.RATE_LIMITED,
    (7, 13): Category.INACTIVE,
    (7, 17): Category.USER_UNKNOWN,
    (7, 18): Category.HOST_UNKNOWN,
    (7, 124): Category.FILTERED,
}
# Asked after vague words: x.y.0 says only which part of the way it was.
_UNDEFINED = {1: Category.USER_UNKNOWN, 2: Category.FILTERED, 3: Category.SYSTEM, 4: Category.TIMEOUT}
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
_QUOTED = re.compile(
    r"(?<![\w.])(?:[45]\d\d(?:[ -]|: ?)(?:#?[45]\.\d{1,3}\.\d{1,3}[ :]|(?=[^\d\s]))|[45]\.\d{1,3}\.\d{1,3} (?=[^\W\d_]))"
)
# A status that stands in the text alone, behind a mark or at its end: "cuda_nsu 5.4.1 …", "… (#5.1.1)"; no version of a program.
_STATUS_IN_TEXT = re.compile(r"(?:^|[#(\[:;,<]\s?|_\w{1,20}\s)([45])\.(\d)\.(\d{1,3})(?![\w.]*\d)")
# How Exim, Postfix and DragonFly report at which command the other host said no.
_BEFORE_RCPT_IN_WORDS = re.compile(
    r"(?:after|in reply to|did not like our) (?:mail from|ehlo|helo|initial connection|starttls|end of starttls)",
    re.IGNORECASE,
)
_REFUSED_AT_EDGE = ["recipient", "address", "rejected", "access", "denied"]


def judge(status: EnhancedStatus | None, code: int | None, text: str, *, action: Action = Action.FAILED) -> Verdict:
    """What an answer means. Never raises; what nothing is known about is `unknown`, soft, and nobody's fault."""
    if action in (Action.DELIVERED, Action.RELAYED, Action.EXPANDED):
        return Verdict(Category.DELIVERED, hard=False, fault=Fault.NEITHER)
    text = text[:MAX_CHARS]
    status = status or _written(text, code)
    if status is not None and (status.subject, status.detail) in _SENDER_STATUS:
        limited = status.detail == 28
        return Verdict(Category.RATE_LIMITED if limited else Category.POLICY, hard=False, fault=Fault.SENDER)
    transient = status.klass == 4 if status is not None else code is not None and 400 <= code < 500
    verdict = _meaning(status, code, text)
    category, fault = verdict.category, verdict.fault
    if category in _DEAD and code in _LOGIN_CODES and not (status is not None and status.subject == 1):
        category, fault = Category.POLICY, Fault.NEITHER
    # "Connection refused" in an answer of policy is their refusal, no failure of the line.
    if category is Category.TIMEOUT and status is not None and (status.klass, status.subject) == (5, 7):
        category, fault = Category.POLICY, Fault.SENDER
    if transient and category is Category.HOST_UNKNOWN:
        category, fault = Category.TIMEOUT, Fault.NEITHER  # the name service may answer otherwise tomorrow
    if action is Action.DELAYED and category is Category.UNKNOWN:
        category = Category.TIMEOUT
    # Gmail and Outlook.com answer 421 4.7.x when they slow a sender down; greylisting is nobody's fault.
    slowed = code == 421 and status is not None and (status.klass, status.subject) == (4, 7)
    if slowed and category in (Category.POLICY, Category.TIMEOUT, Category.SYSTEM):
        category = Category.RATE_LIMITED if category is Category.TIMEOUT else category
        fault = Fault.SENDER
    hard = verdict.hard and category in _DEAD and not transient and action is Action.FAILED
    verdict = Verdict(category, hard, fault)
    return _of_sender(verdict) if _BEFORE_RCPT_IN_WORDS.search(text) else verdict


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
    return _of_sender(verdict) if stage in _BEFORE_RCPT else verdict


def _of_sender(verdict: Verdict) -> Verdict:
    """What a verdict becomes when the recipient had not been named yet."""
    if verdict.category not in _RECIPIENT:
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


def _written(text: str, code: int | None) -> EnhancedStatus | None:
    """The status that a text without one in its place has somewhere else, of the class of its code."""
    found = _STATUS_IN_TEXT.search(text)
    if found is None or (code is not None and code // 100 != int(found[1])):
        return None
    return EnhancedStatus(int(found[1]), int(found[2]), int(found[3]))


def _meaning(status: EnhancedStatus | None, code: int | None, text: str) -> Verdict:
    """What is meant, as if for good; `judge` knows better."""
    # What the other host said, before what its reporter says around it.
    quoted = _QUOTED.search(text)
    said = text[quoted.start() :] if quoted else text
    plain = words(said)
    subject, detail = (status.subject, status.detail) if status is not None else (0, 0)
    # Exchange Online refuses unknown recipients at its edge with this and no other word.
    if (subject, detail) == (4, 1) and any(
        plain[at : at + len(_REFUSED_AT_EDGE)] == _REFUSED_AT_EDGE for at in range(3)
    ):
        return _verdict(Category.USER_UNKNOWN)
    group = phrases.SURE.find(plain, said)
    if quoted and (group is None or group.category in _DEAD):
        around = phrases.SURE.find(words(text), text)
        # A reporter who says that the account is switched off or full knows why its host calls the user unknown, and one that
        # verified the sender quotes what it was told of the sender.
        if group is None or (around and (around.category in _ALIVE or around.fault is Fault.SENDER)):
            group = around
    if group:
        return _verdict(group.category, _blamed(group.fault, subject, detail), certain=group.certain)
    exact = _STATUS.get((subject, detail))
    group = phrases.VAGUE.find(plain, said)
    passing = code == 421 or (status and status.klass == 4 and group and group.category is Category.TIMEOUT)
    if exact is Category.INACTIVE and passing:
        exact = (
            Category.SYSTEM
        )  # Of a passing trouble some say 4.2.1, which RFC 3463 §3.3 has for mailboxes switched off.
    if exact:
        return _verdict(exact, _blamed(Fault.NEITHER, subject, detail))
    # Postfix puts "Recipient address rejected" before whatever a rule of the host says: with a status of policy, nobody is unknown.
    if group and not (subject == 7 and group.category is Category.USER_UNKNOWN):
        # "Not found" alone may be said of anything: it kills an address only where a host answered so.
        certain = group.certain or subject == 1 or code in (511, 550, 551, 553, 554)
        return _verdict(group.category, _blamed(group.fault, subject, detail), certain=certain)
    undefined = _UNDEFINED.get(subject) if detail == 0 else None
    category = undefined or _SUBJECT.get(subject) or _CODE.get(code or 0, Category.UNKNOWN)
    # Some hosts say 553 to whatever they dislike about an address, the sender's too.
    return _verdict(category, _blamed(Fault.NEITHER, subject, detail), certain=code != 553)


def _verdict(category: Category, fault: Fault = Fault.NEITHER, *, certain: bool = True) -> Verdict:
    if fault is Fault.NEITHER and category in _RECIPIENT:
        fault = Fault.RECIPIENT
    return Verdict(category, certain and category in _DEAD, fault)


def _blamed(fault: Fault, subject: int, detail: int) -> Fault:
    # RFC 3463 §3.2: 1.7 and 1.8 are about the sender's address.
    return Fault.SENDER if fault is Fault.NEITHER and (subject, detail) in ((1, 7), (1, 8)) else fault
