"""Correspondents who are known in no way (I6)."""

from __future__ import annotations

from mailrelay.ids import UserId
from mailrelay.mail.automatic import is_machine
from mailrelay.model.message import Participant
from mailrelay.model.settings import Unknown
from mailrelay.rules import by_address, domains, people
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress

MOST = 50
"""A mail to more unknown people than this is a mailing, and makes none of them a record."""


def why_nobody(facts: Facts, so_far: Progress) -> str:
    """Why nothing is made of anybody in this mail, or ""."""
    number = len(strangers(facts, so_far))
    if facts.came_back:
        return "it came back to a return path"
    if facts.message.automatic:
        return f"it is automatic mail: {facts.message.automatic}"
    if facts.user is None and facts.shared is None:
        return "there is no user who would own a new record"
    if by_address.settings(facts).unknown is Unknown.NOTHING:
        whose = facts.shared.address if facts.shared is not None else facts.user and facts.user.name
        return f"{whose} has nothing made of unknown correspondents"
    return f"it is with {number} unknown people at once" if number > MOST else ""


def owner(facts: Facts) -> UserId | None:
    """Who owns what is made: the user whose mail it is, or who a shared address says."""
    if facts.shared is not None:
        return facts.shared.settings.owner
    return None if facts.user is None else facts.user.id


def why_not(person: Participant) -> str:
    """Why nothing is made of this stranger, or ""."""
    return f"{person.address} is an address of a machine" if is_machine(person.address.local) else ""


def strangers(facts: Facts, so_far: Progress) -> tuple[Participant, ...]:
    """Correspondents without a record in the modules that the user has searched, and in the domain of no account."""
    return tuple(
        person
        for person in people.correspondents(facts, so_far)
        if by_address.choice(facts, so_far, person.address.key) is None
        and not _of_an_account(facts, so_far, person.address.domain)
    )


def _of_an_account(facts: Facts, so_far: Progress, domain: str) -> bool:
    if not facts.organisation.settings.match_account_by_domain:
        return False
    if "account" not in by_address.settings(facts).modules or domains.is_public(domain):
        return False
    return by_address.account(facts, so_far, domain) is not None
