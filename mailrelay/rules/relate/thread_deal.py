"""A mail with a contact shows at the contact's deal that the thread is on already (I7)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.rules import deals, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.RELATE, rank=30, row="I7", miss="no thread was guessed to be about a deal of a contact in it")
def thread_deal(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """The deal of the contact that the nearest message before it was guessed to be about, open or not: still a guess.

    Where a person took one that is nearer still off a deal of the contact's, nothing is guessed. Links that are sure are followed for
    any record (`match.thread`).
    """
    for contact in deals.contacts(so_far):
        every = deals.of_contact(facts, contact)
        if deals.is_found(facts, so_far, every):
            continue
        guessed = [earlier for earlier in facts.thread_guesses if earlier.record in every]
        nearest = min((earlier.distance for earlier in guessed), default=0)
        if any(off.distance < nearest for off in deals.taken_off(facts, every).values()):
            continue
        for earlier in guessed:
            if earlier.distance == nearest:
                yield say.link(
                    earlier.record,
                    f"it answers <{earlier.via}>, which was guessed to be about {earlier.record}, a deal of {contact}",
                    value=str(contact),
                    guess=True,
                    secret=earlier.secret,
                )
