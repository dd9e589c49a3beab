"""Whether an answer blames the sender, and whose mail that stops (O17, standards §4)."""

from __future__ import annotations

from dataclasses import dataclass

from mailrelay.model.delivery import Delivery
from mailrelay.model.feedback import Fault
from mailrelay.model.sending import Scope, Sending


@dataclass(frozen=True, slots=True)
class Blame:
    """The sender is at fault, for good or for now."""

    permanent: bool
    stops: Sending | None
    """What is suspended once there are enough of them; None: nothing, it passes, or it is about a notice of our own."""


def sendings(delivery: Delivery) -> tuple[Sending, ...]:
    """What the delivery is counted for: its job, if it has one, then its sender's domain; a notice of ours for nothing."""
    found = (Sending(Scope.JOB, delivery.job), Sending(Scope.DOMAIN, delivery.sender_domain))
    return tuple(one for one in found if one.name)


def enough(answers: int, reports: int, reported_domains: int, *, needed: int) -> bool:
    """Whether refusals within the hour suspend: `needed` of them, and not by mail from one domain alone.

    Who gets one of our mails can return it with words of their own; that may not stop the mail to everybody else.
    """
    return answers + reports >= needed and (answers > 0 or reported_domains > 1)


def blame(delivery: Delivery, fault: Fault, *, permanent: bool) -> Blame | None:
    """None unless the sender is blamed. A transient answer (421 4.7.x) slows us down and stops nothing."""
    if fault is not Fault.SENDER:
        return None
    return Blame(permanent, stops=next(iter(sendings(delivery)), None) if permanent else None)
