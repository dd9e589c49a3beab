"""Correspondents who are known in no way (I6)."""

from __future__ import annotations

from mailrelay.model.message import Participant
from mailrelay.rules import by_address, domains, people
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress


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
