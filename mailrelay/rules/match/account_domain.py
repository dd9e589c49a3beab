"""An account by the domain of somebody whose address no record has (I4)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding
from mailrelay.rules import by_address, domains, people, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.MATCH, rank=60, row="I4", miss="nobody unknown in it is in the domain of an account")
def account_domain(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """An unknown address in the domain of an account belongs to that account, but never in a public mail domain."""
    if not facts.organisation.settings.match_account_by_domain:
        yield say.miss("the organisation does not match accounts by domain")
        return
    if "account" not in by_address.settings(facts).modules:
        yield say.miss("accounts are not among the modules that the user has searched")
        return
    for person in people.externals(facts, so_far):
        domain = person.address.domain
        if by_address.choice(facts, so_far, person.address.key) is not None:
            continue
        if domains.is_public(domain):
            because = f"{domain} is a public mail domain"
            yield say.miss(because, header=say.header(person), value=str(person.address))
            continue
        found = by_address.account(facts, so_far, domain)
        if found is not None and not found.tied:
            yield say.link(
                found.hit.record,
                f"{person.address} is in the domain of {found.hit.record}, {found.hit.name}",
                header=say.header(person),
                value=str(person.address),
            )
