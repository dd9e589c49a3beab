"""What a question asks of a record, as conditions. Each is a probe by an index into what one record has.

That it stays a probe is why none is a join, nor an EXISTS that the planner of PostgreSQL may turn into one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, func, literal_column, not_, or_, select, true

from mailrelay.clock import to_micros
from mailrelay.query import meaning
from mailrelay.query.meaning import Fact, Field, Mail, Match, Meaning, Opposite, Place
from mailrelay.query.tree import Word
from mailrelay.query.when import EVER, Span
from mailrelay.store import visibility
from mailrelay.store.base import Tx
from mailrelay.store.compile import bounds
from mailrelay.store.mail_facts import Flag
from mailrelay.store.tables import hit, link_hit, mail_fact, record, record_address, record_field
from mailrelay.store.visibility import Viewer, there_is

ONE: ColumnElement[int] = literal_column("1")
_FACTS = mail_fact.alias("fact")
FLAGS = {Word(flag.name.lower()): flag for flag in Flag if flag.name and flag.name.lower() in set(Word)}
INDEXED = {word: f"{word}_at" for word in Word} | {
    Word.OPENED: "last_opened_at",
    Word.CLICKED: "last_clicked_at",
}
_TEXT_OF = {Place.TEXT: "text", Place.NUMBER: "number", Place.TIME: "time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms is asked: whose eyes, when, when mail counts as delivered, and whether former addresses' mail shows."""

    viewer: Viewer
    now: datetime
    delivered_after: timedelta
    keep_former: bool


class Asked:
    """The conditions of one question, for the records of a module."""

    def __init__(self, tx: Tx, module: str, terms: Terms) -> None:
        self.org = terms.viewer.org
        self.module = module
        self.dialect = tx.dialect
        self.counts_left = bounds.COUNTS
        self.few = bounds.FEW  # entries of mail, everybody's, that are counted
        self.terms = terms
        self._sharers = visibility.sharers_for(tx, terms.viewer)
        self.looks_at = bounds.LOOKED_AT if terms.viewer.all or self._sharers is not None else bounds.LOOKED_AT_CLOSELY

    @property
    def authors(self) -> tuple[str, ...]:
        """Of no others' mail anything is to be seen; () where that is not known."""
        return () if self._sharers is None else self._sharers.authors

    @property
    def has_little(self) -> bool:
        """All mail that anything is to be seen of is that of a few, and can be read side by side."""
        return 0 < len(self.authors) <= bounds.MERGED

    def fits(self, node: Meaning, id_: ColumnElement[str]) -> ColumnElement[bool]:
        """That the record with this id is so."""
        match node:
            case meaning.All(parts):
                return and_(*(self.fits(part, id_) for part in _cheap_first(parts)))
            case meaning.Any(parts):
                return or_(*self._each(_cheap_first(parts), id_))
            case Opposite(part):
                return not_(self.fits(part, id_))
            case Mail():
                return there_is(self._matching([node], id_, ONE))
            case Field():
                return self._field(node, id_)

    def _each(self, parts: Sequence[Meaning], id_: ColumnElement[str]) -> Iterator[ColumnElement[bool]]:
        """These one by one, but what may be true of mail in one look through it where that costs the same."""
        for (_, of_mail), some in groupby(parts, lambda part: (_cost(part), isinstance(part, Mail))):
            if of_mail:
                yield there_is(self._matching([one for one in some if isinstance(one, Mail)], id_, ONE))
            else:
                yield from (self.fits(part, id_) for part in some)

    def is_there(self, id_: ColumnElement[str], *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        """That there is a record with this id, and its row is so."""
        mine = (record.c.org == self.org, record.c.module == self.module, record.c.id == id_)
        return there_is(select(ONE).select_from(record).where(*mine, *conditions))

    def newest(self, mails: Sequence[Mail], id_: ColumnElement[str]) -> ColumnElement[str | None]:
        """The id of the newest mail of the record that is as one of these says."""
        found = self._matching(mails, id_, _FACTS.c.message)
        return found.order_by(_FACTS.c.at.desc(), _FACTS.c.message.desc()).limit(1).scalar_subquery()

    def _matching(self, mails: Sequence[Mail], id_: ColumnElement[str], column: ColumnElement[Any]) -> Select[Any]:
        facts = _FACTS
        mine = (facts.c.org == self.org, facts.c.module == self.module, facts.c.record == id_)
        fit = or_(*(and_(true(), *self._became(mail, facts)) for mail in mails))
        found = select(column).select_from(facts).where(*mine, fit, *self._shows(facts))
        index = "ix_mail_fact_author" if self.has_little else "ix_mail_fact_record"
        return found.with_hint(facts, f"INDEXED BY {index}", "sqlite")

    def _became(self, mail: Mail, facts: FromClause) -> Iterator[ColumnElement[bool]]:
        for one in mail.all:
            yield self._happened(one, facts)
        for one in mail.none:
            yield not_(self._happened(one, facts))

    def _shows(self, facts: FromClause) -> Iterator[ColumnElement[bool]]:
        """That the viewer may see the mail, and it shows on the record (I16)."""
        if not self.terms.viewer.all:
            if self.authors:
                yield facts.c.author.in_(self.authors)
            yield visibility.readable_delivery(self.terms.viewer, facts, sharers=self._sharers)
        if not self.terms.keep_former:
            has_it = select(ONE).where(
                record_address.c.org == self.org,
                record_address.c.key == facts.c.key,
                record_address.c.module == facts.c.module,
                record_address.c.record == facts.c.record,
            )
            yield or_(facts.c.key == "", there_is(has_it))

    def _happened(self, fact: Fact, facts: FromClause) -> ColumnElement[bool]:
        """That this became of the mail, at a time within the span. Never NULL, so that its opposite is right, too."""
        if fact.word is Word.DELIVERED:
            return self._delivered(fact.span, facts)
        known = _flag(facts, FLAGS[fact.word])
        if fact.hard is not None:
            known = and_(known, _flag(facts, Flag.HARD) if fact.hard else not_(_flag(facts, Flag.HARD)))
        if fact.word in (Word.OPENED, Word.CLICKED):
            return and_(known, *self._engaged(fact, facts))
        if fact.word is Word.RECEIVED:  # when the mail came, which the index of the record's mail has
            return and_(known, *in_span(facts.c.at, fact.span))
        column = facts.c[INDEXED[fact.word]]
        return and_(known, *in_span(func.coalesce(column, 0) if fact.span != EVER else column, fact.span))

    def _delivered(self, span: Span, facts: FromClause) -> ColumnElement[bool]:
        """A success notice said so, or it was sent and no bounce came back for so long (K1)."""
        after = self.terms.delivered_after // timedelta(microseconds=1)
        since = to_micros(self.terms.now) - after
        told = _flag(facts, Flag.DELIVERED)
        quiet = and_(
            _flag(facts, Flag.OURS),
            _flag(facts, Flag.SENT),
            facts.c.flags.bitwise_and(int(Flag.BOUNCED | Flag.FAILED)) == 0,
            func.coalesce(facts.c.sent_at, since + 1) <= since,
        )
        at = func.coalesce(facts.c.delivered_at, facts.c.sent_at + after, 0)
        return and_(or_(told, quiet), *in_span(at, span))

    def _engaged(self, fact: Fact, facts: FromClause) -> Iterator[ColumnElement[bool]]:
        """How often, by which link, and when: the first and last times are known, and those between by the hits."""
        number = facts.c.opens if fact.word is Word.OPENED else facts.c.clicks
        if fact.least > 1:
            yield number >= fact.least
        if fact.most is not None:
            yield number <= fact.most
        if fact.link:
            yield there_is(self._link(fact, facts))
            return
        first, last = (func.coalesce(facts.c[f"{one}_{fact.word}_at"], 0) for one in ("first", "last"))
        yield self._between(
            first, last, fact.span, self._hits_of(fact, facts, "open" if fact.word is Word.OPENED else "click")
        )

    def _between(
        self, first: ColumnElement[Any], last: ColumnElement[Any], span: Span, hits: Select[Any]
    ) -> ColumnElement[bool]:
        """That one of the times from `first` to `last` is within the span."""
        if span.start is None or span.end is None:
            column = last if span.end is None else first
            return and_(true(), *in_span(column, span))
        around = and_(first < to_micros(span.start), last >= to_micros(span.end))
        return or_(and_(*in_span(first, span)), and_(*in_span(last, span)), and_(around, there_is(hits)))

    def _link(self, fact: Fact, facts: FromClause) -> Select[Any]:
        url = func.lower(link_hit.c.url).contains(fact.link, autoescape=True)
        between = self._between(link_hit.c.first_at, link_hit.c.last_at, fact.span, self._hits_of(fact, facts, "click"))
        return select(ONE).where(link_hit.c.delivery == facts.c.delivery, url, between)

    def _hits_of(self, fact: Fact, facts: FromClause, kind: str) -> Select[Any]:
        found = select(ONE).where(
            hit.c.delivery == facts.c.delivery, hit.c.kind == kind, hit.c.by == "person", *in_span(hit.c.at, fact.span)
        )
        return found.where(func.lower(hit.c.url).contains(fact.link, autoescape=True)) if fact.link else found

    # --- fields ---

    def _field(self, one: Field, id_: ColumnElement[str]) -> ColumnElement[bool]:
        match one.place:
            case Place.TEXT | Place.NUMBER | Place.TIME:
                mine = (
                    record_field.c.org == self.org,
                    record_field.c.module == self.module,
                    record_field.c.record == id_,
                    record_field.c.field == one.name,
                )
                found = select(ONE).select_from(record_field).where(*mine)
                found = found.with_hint(record_field, "INDEXED BY sqlite_autoindex_record_field_1", "sqlite")
                return there_is(found.where(*compared(one, record_field.c[_TEXT_OF[one.place]])))
            case Place.ADDRESS:
                of_record = and_(record_address.c.org == self.org, record_address.c.module == self.module)
                found = select(ONE).select_from(record_address).where(of_record, record_address.c.record == id_)
                found = found.where(*compared(one, record_address.c.key))
                return there_is(found.where(record_address.c.field == one.name) if one.name else found)
            case _:
                return self.is_there(id_, *compared(one, record.c[one.place]))


def in_span(column: ColumnElement[Any], span: Span) -> Iterator[ColumnElement[bool]]:
    """The conditions that a time is within the span."""
    if span.start is not None:
        yield column >= to_micros(span.start)
    if span.end is not None:
        yield column < to_micros(span.end)


def _cheap_first(parts: Sequence[Meaning]) -> Sequence[Meaning]:
    """The database looks in this order. A record has one value of a field, and any number of mails."""
    return sorted(parts, key=lambda part: (_cost(part), isinstance(part, Mail)))


def _cost(part: Meaning) -> int:
    match part:
        case Field():
            return 0
        case Mail(all=said, none=unsaid):
            # What is true at all stands in the index of the record's mail; for when it was each mail is read.
            return 1 if all(one.span == EVER and not one.link for one in (*said, *unsaid)) else 2
        case Opposite(inner):
            return _cost(inner)
        case meaning.All(parts) | meaning.Any(parts):
            return max(map(_cost, parts), default=0)


def _flag(facts: FromClause, flag: Flag) -> ColumnElement[bool]:
    return facts.c.flags.bitwise_and(int(flag)) != 0


def compared(one: Field, column: ColumnElement[Any]) -> Iterator[ColumnElement[bool]]:
    """The conditions on a column that has the value."""
    numbers = one.numbers
    match one.match:
        case Match.FILLED:
            yield column.is_not(None)
        case Match.ONE_OF:
            yield column.in_(numbers if one.place is Place.NUMBER else one.texts)
        case Match.CONTAINS:
            yield column.contains(one.texts[0], autoescape=True)
        case Match.STARTS:
            yield column.startswith(one.texts[0], autoescape=True)
        case Match.MORE:
            yield column > numbers[0]
        case Match.AT_LEAST:
            yield column >= numbers[0]
        case Match.LESS:
            yield column < numbers[0]
        case Match.AT_MOST:
            yield column <= numbers[0]
        case Match.WITHIN:
            yield column.is_not(None)
            yield from in_span(column, one.span)
