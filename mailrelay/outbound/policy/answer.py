"""Whether a mail may be answered automatically: never a machine, a list or ourselves, nobody twice within days (RFC 3834 §2)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mailrelay.mail import automatic
from mailrelay.mail.message import ParsedMessage
from mailrelay.mail.spam_mark import spam_mark
from mailrelay.model.address import Address, ReversePath
from mailrelay.model.message import AuthVerdicts, Verdict
from mailrelay.model.settings import OrganisationSettings
from mailrelay.outbound.policy.sender import lookup_keys

_NAMING = ("To", "Cc", "Resent-To", "Resent-Cc")


class NoAnswer(StrEnum):
    """Why there is no answer."""

    OUTGOING = "outgoing"  # we sent it ourselves
    NULL_PATH = "null_path"
    AUTOMATIC = "automatic"
    SPAM = "spam"
    FORGED = "forged"
    NOT_NAMED = "not_named"
    OURSELVES = "ourselves"
    SUPPRESSED = "suppressed"
    ALREADY = "already"
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class Withheld:
    """There is no answer, and the sentence that says why."""

    reason: NoAnswer
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a mail itself says: whom an answer would go to, and what speaks against it."""

    outgoing: bool
    reverse_path: ReversePath
    """Whom the answer goes to: the envelope sender, never a field of the mail (RFC 3834 §4)."""
    automatic: str
    """Why it is automatic mail, or ""."""
    spam: str
    forged: str
    named: frozenset[str]
    """Keys of the addresses that it names as its recipients, and of those that they are sub-addresses of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the store knows."""

    ours: bool
    """The reverse-path is a user's, a dropbox, a return path or the installation's own."""
    suppressed: str
    """The sentence that names the suppression of the reverse-path, or ""."""
    answered_at: datetime | None
    """When this address was last answered in the same name."""
    this_hour: int
    """Answers of the organisation within the hour."""
    settings: OrganisationSettings


def read(parsed: ParsedMessage, *, outgoing: bool, reverse_path: ReversePath, auth: AuthVerdicts | None) -> Asked:
    """What a mail that came in says for and against an automatic answer."""
    null = reverse_path is None
    why = automatic.reason(parsed, envelope_from_null=null)
    if not why and reverse_path is not None and automatic.is_machine(reverse_path.local):
        why = f"the reverse-path is {reverse_path.local[:60]}@"
    if not why and not automatic.may_reply(parsed, envelope_from_null=null):
        why = f"it is {automatic.kind(parsed).replace('_', ' ')} mail, or names nobody who wrote it"
    forged = auth is not None and not auth.aligned and Verdict.FAIL in (auth.dmarc, auth.spf)
    return Asked(
        outgoing=outgoing,
        reverse_path=reverse_path,
        automatic=why,
        spam=spam_mark(parsed),
        forged="SPF or DMARC say that its sender is not who it says" if forged else "",
        named=lookup_keys(address for name in _NAMING for address in parsed.addresses(name).addresses),
    )


def decide(asked: Asked, known: Known, *, answerer: Collection[Address], now: datetime) -> Withheld | None:
    """None when it may be answered; `answerer` are the addresses of whoever answers, one of which it must name."""
    return _by_mail(asked, answerer) or _by_store(asked, known, now)


def _by_mail(asked: Asked, answerer: Collection[Address]) -> Withheld | None:
    if asked.outgoing:
        return Withheld(NoAnswer.OUTGOING, "It is a mail that was sent from here")
    if asked.reverse_path is None:
        return Withheld(NoAnswer.NULL_PATH, "Its reverse-path is null or not known, so there is nobody to answer")
    if asked.automatic:
        return Withheld(NoAnswer.AUTOMATIC, f"It is automatic mail: {asked.automatic}")
    if asked.spam:
        return Withheld(NoAnswer.SPAM, f"A filter marked it as spam: {asked.spam}")
    if asked.forged:
        return Withheld(NoAnswer.FORGED, asked.forged)
    if not asked.named.intersection(one.key for one in answerer):
        # RFC 3834 §2: who is not named got it by Bcc or a list, and its sender does not wait for their word.
        return Withheld(NoAnswer.NOT_NAMED, "It names no address of whoever would answer in To or Cc")
    return None


def _by_store(asked: Asked, known: Known, now: datetime) -> Withheld | None:
    if known.ours:
        return Withheld(NoAnswer.OURSELVES, f"{asked.reverse_path} is an address of our own")
    if known.suppressed:
        return Withheld(NoAnswer.SUPPRESSED, known.suppressed)
    window = timedelta(days=known.settings.answer_days)
    if known.answered_at is not None and now - known.answered_at < window:
        return Withheld(
            NoAnswer.ALREADY,
            f"{asked.reverse_path} was answered on {known.answered_at:%Y-%m-%d %H:%M} UTC, and is not again within"
            f" {known.settings.answer_days} days",
        )
    if known.this_hour >= known.settings.answers_per_hour:
        return Withheld(NoAnswer.TOO_MANY, f"{known.this_hour} automatic answers were sent within the hour")
    return None
