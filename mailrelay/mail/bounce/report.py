"""What a mail that came back says: the words that dialects and the DSN reader share (I10)."""

from __future__ import annotations

from dataclasses import dataclass

from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.message import Kind
from mailrelay.model.reply import EnhancedStatus

MAX_RECIPIENTS = 500
"""Recipients of one report that are judged and kept (B09); what is read of a report is bounded by its length."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a report says of one recipient, before it is judged. `recipient` is "" when it names none."""

    recipient: str
    status: EnhancedStatus | None
    code: int | None
    diagnostic: str
    action: Action


@dataclass(frozen=True, slots=True)
class BouncedRecipient:
    """One recipient of a report, judged. `hard`: the address is dead; `action` says whether the mail is."""

    recipient: str
    status: EnhancedStatus | None
    code: int | None
    diagnostic: str
    action: Action
    category: Category
    hard: bool
    fault: Fault


@dataclass(frozen=True, slots=True)
class BounceReport:
    """What a mail that came back reports of whom; `kind` is the mail's, as `mail inspect` shows it."""

    kind: Kind
    recipients: tuple[BouncedRecipient, ...]
    more: tuple[Trouble, ...] = ()
    """Whom it names behind the first `MAX_RECIPIENTS`, in order and not judged: whoever is looked for may be among them."""
