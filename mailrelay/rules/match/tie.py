"""Several records alike, and nothing to choose by, wait for a person (I23)."""

from __future__ import annotations

from collections.abc import Iterator

from mailrelay.model.decision import Finding, HoldReason
from mailrelay.model.envelope import OUTGOING_CHANNELS
from mailrelay.rules import by_address, domains, people, say
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import Progress, Stage, rule


@rule(Stage.MATCH, rank=90, row="I23", miss="no address in it stands for several records alike")
def tie(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """An address of several records of one module, none on the thread and not just one the user's, holds the mail.

    Not so when the mail has found another record: it is filed there, and the tie is told of. What we send ourselves and what
    comes back to us is never held.
    """
    by_domain = facts.organisation.settings.match_account_by_domain and "account" in by_address.settings(facts).modules
    for person in people.externals(facts, so_far):
        found = by_address.choice(facts, so_far, person.address.key)
        what = f"{person.address} is the address of"
        if found is None and by_domain and not domains.is_public(person.address.domain):
            found = by_address.account(facts, so_far, person.address.domain)
            what = f"{person.address.domain} is the domain of"
        if found is None or not found.tied:
            continue
        because = f"{what} {_listed(found.tied)}, and nothing says which is meant"
        if so_far.records or facts.came_back or facts.channel in OUTGOING_CHANNELS:
            yield say.miss(because, header=say.header(person), value=str(person.address))
        else:
            yield say.hold(HoldReason.TIE, because, header=say.header(person), value=str(person.address))


def _listed(records: tuple[object, ...]) -> str:
    names = [str(record) for record in records]
    shown = names if len(names) <= 5 else [*names[:4], f"{len(names) - 4} more"]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
