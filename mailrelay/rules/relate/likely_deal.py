"""Of a contact's several open deals, the likeliest: a guess, and marked as one (I7)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from mailrelay.model.decision import Finding
from mailrelay.model.record import RecordRef
from mailrelay.rules import deals, say
from mailrelay.rules.facts import Facts, RelatedRecord
from mailrelay.rules.registry import Progress, Stage, rule

_SHORTEST = 4
"""A shorter name or number stands in many subjects by chance."""
_WORDS = re.compile(r"\w+")
_NEVER = datetime.min.replace(tzinfo=UTC)

_Open = Mapping[RecordRef, RelatedRecord]


@rule(Stage.RELATE, rank=40, row="I7", miss="no contact in it has several open deals to guess among")
def likely_deal(facts: Facts, so_far: Progress) -> Iterator[Finding]:
    """The open deal whose name or number, of four characters or more, stands in the subject; of several such, or where there is
    none, the one that closes soonest, its closing date not past when the mail came; else the one that was changed last.

    A mail that is on one of them already by a guess stays there, and nothing is guessed where a person chose.
    """
    guessed: set[RecordRef] = set()
    for contact in deals.contacts(so_far):
        still_open = deals.undecided(facts, so_far, contact)
        if not still_open or guessed & still_open.keys():
            continue
        before = next((one.record for one in facts.standing if not one.removed and one.record in still_open), None)
        if before is not None:
            chosen, why = before, "it was guessed before"
        else:
            chosen, why = _likeliest(facts, still_open)
        because = f"a guess among the {len(still_open)} open deals of {contact}: {why}"
        guessed.add(chosen)
        yield say.link(chosen, because, value=str(contact), guess=True)


def _likeliest(facts: Facts, still_open: _Open) -> tuple[RecordRef, str]:
    named = _named(facts.message.subject, still_open)
    if len(named) == 1:
        ((record, what),) = named.items()
        return record, f"the {what} of {record} stands in the subject"
    among = {record: still_open[record] for record in named} or still_open
    of_these = "of those whose name or number stands in the subject, " if named else ""
    today = facts.message.received_at.date()
    closing = {record: deal.closes for record, deal in among.items() if deal.closes and deal.closes >= today}
    if closing:
        record = min(closing, key=lambda one: (closing[one], one))
        return record, f"{of_these}{record} closes soonest, on {closing[record]}"
    record = min(among, key=lambda one: (_age(among[one]), one))
    return record, f"{of_these}{record} was changed last"


def _age(deal: RelatedRecord) -> float:
    return -(deal.updated_at or _NEVER).timestamp()


def _named(subject: str, still_open: _Open) -> dict[RecordRef, str]:
    """The deals whose number, or else whose name, stands in a subject as whole words, each with which it is."""
    said = _plain(subject)
    found: dict[RecordRef, str] = {}
    for record, deal in still_open.items():
        for what, text in (("number", deal.number), ("name", deal.name)):
            plain = _plain(text)
            if len(plain.replace(" ", "")) >= _SHORTEST and f" {plain} " in f" {said} ":
                found.setdefault(record, what)
    return found


def _plain(text: str) -> str:
    return " ".join(_WORDS.findall(unicodedata.normalize("NFKC", text).casefold()))
