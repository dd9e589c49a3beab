"""Tree → meaning: names and types against the modules of the organisation, phrases of time against its clock.

Words of mail that are joined by `and` speak of one mail; what stands in parentheses or behind `or` speaks for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mailrelay.model.record import Module
from mailrelay.query import value
from mailrelay.query.fields import Fields, instants
from mailrelay.query.meaning import All, Any, Fact, Mail, Meaning, Opposite, Question
from mailrelay.query.names import Known, module_called
from mailrelay.query.tokens import BadQuery
from mailrelay.query.tree import Both, Either, Group, Never, Node, Not, Query, Said, Side, Test, Within, Word
from mailrelay.query.when import Span

_SENT_OURSELVES = frozenset(Word) - {Word.RECEIVED}


def check(query: Query, known: Known) -> Question:
    """What the query means. Raises BadQuery."""
    module = module_called(query.module, known.modules)
    return Question(
        module=module.name, where=None if query.where is None else _Checker(module, known).node(query.where)
    )


class _Checker:
    def __init__(self, module: Module, known: Known) -> None:
        self._here = known.here
        self._fields = Fields(module, known)

    def node(self, node: Node) -> Meaning:
        """What a condition means."""
        match node:
            case Either(parts):
                return Any(tuple(self.node(part) for part in parts))
            case Both(parts):
                return self._both(parts)
            case Group(part):
                return self.node(part)
            case Never(said):
                return Opposite(Mail(all=(self._fact(said),)))
            case Test():
                return self._fields.of(node)
            case Said() | Not():
                return self._both((node,))

    def _both(self, parts: Sequence[Node]) -> Meaning:
        said: list[Said] = []
        unsaid: list[Said] = []
        others: list[Meaning] = []
        for part in parts:
            opposite = False
            while isinstance(part, Not):
                opposite, part = not opposite, part.part
            if isinstance(part, Said):
                (unsaid if opposite else said).append(part)
            else:
                others.append(Opposite(self.node(part)) if opposite else self.node(part))
        mail = [self._mail(said, unsaid)] if said or unsaid else []
        found = (*mail, *others)
        return found[0] if len(found) == 1 else All(found)

    def _mail(self, said: Sequence[Said], unsaid: Sequence[Said]) -> Mail:
        """One mail that is what is said, and is not the rest."""
        received = next((one for one in said if one.word is Word.RECEIVED), None)
        other = next((one for one in said if one.word in _SENT_OURSELVES), None)
        if received is not None and other is not None:
            later = max(received, other, key=lambda one: one.column)
            raise BadQuery(
                later.column,
                f"one mail is not both received and {other.word}: to speak of two mails put '{later.word} …' in parentheses",
            )
        facts = tuple(self._fact(one) for one in said)
        if not facts:
            for one in unsaid:
                if one.word in (Word.SENT, Word.RECEIVED):
                    raise BadQuery(
                        one.column, f"'not {one.word}' says nothing of a mail by itself; say 'never {one.word}'"
                    )
            facts = (Fact(word=Word.SENT),)
        return Mail(all=facts, none=tuple(self._fact(one) for one in unsaid))

    def _fact(self, said: Said) -> Fact:
        fact = Fact(word=said.word, hard=said.hard, link=value.fold(said.link))
        if said.count is not None:
            fact = replace(fact, least=said.count.least, most=said.count.most)
        when = said.when
        if when is None:
            return fact
        if isinstance(when, Within) and when.side is Side.HERE and said.word is Word.SCHEDULED:
            when = replace(when, side=Side.NEXT)
        found = instants(when, self._here, said.column)
        if said.word is not Word.SCHEDULED and found.end is not None and found.end > self._here.now:
            found = Span(found.start, None)  # nothing has happened later
        return replace(fact, span=found)
