"""A question about records and their mail → SQL, whose cost does not grow with the mail and the records that there are (K2).

Records are looked at in the order of their ids. Which ones: those that are in each short range of an index that there is; those that a
longer range leads to in that order, of whose entries only the fitting are taken; else all of the module. So many at a time are looked at
at most: a page may then be short, even empty, and not be the last. That is for conditions which are common, and seldom meet.
Each condition is a probe by an index into what one record has. That it stays a probe is why none is a join, nor an EXISTS that the
planner of PostgreSQL may turn into one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    TextClause,
    and_,
    case,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
    union_all,
)

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import MessageId
from mailrelay.model.record import RecordRef
from mailrelay.query import meaning
from mailrelay.query.meaning import Fact, Field, Mail, Match, Meaning, Opposite, Place, Question
from mailrelay.query.tree import Word
from mailrelay.query.when import EVER, Span
from mailrelay.store import visibility
from mailrelay.store.base import Tx
from mailrelay.store.mail_facts import Flag
from mailrelay.store.record_fields import START
from mailrelay.store.tables import hit, link_hit, mail_fact, message, record, record_address, record_field
from mailrelay.store.visibility import Viewer

LOOKED_AT: Final = 2_000
"""Records that one question looks at."""
LOOKED_AT_CLOSELY: Final = 400
"""… where of each mail must be asked whether it may be seen."""
FEW: Final = 20_000
"""Entries of an index that are read to find the records that are looked at."""
SCANNED: Final = 100_000
"""… where they are read in the order of the records, and the page ends with them."""
_VERY_FEW = 300
_QUITE_FEW = 2_000
_WORTH = 3
"""A range of so many times the entries of another is read for what is in both, rather than each record looked at."""
_COUNTS = 8
"""Ranges whose entries are counted, to choose among them."""
_MERGED = 8
"""So many people's mail is read side by side."""
_SMALL = 300
"""Records of a module that are as well looked at one after the other."""
_INSTANT = timedelta(microseconds=1)
_ONE: ColumnElement[int] = literal_column("1")
_FACTS = mail_fact.alias("fact")
_FLAGS = {Word(flag.name.lower()): flag for flag in Flag if flag.name and flag.name.lower() in set(Word)}
_INDEXED = {word: f"{word}_at" for word in Word} | {
    Word.OPENED: "last_opened_at",
    Word.CLICKED: "last_clicked_at",
}
_UNSELECTIVE = frozenset({Word.SENT, Word.RECEIVED})
"""Most mail is: without a time they leave as good as all."""
_DELIVERED = (int(Flag.DELIVERED), int(Flag.SENT | Flag.OURS))
"""Mail counts as delivered with the one or the other."""
_TEXT_OF = {Place.TEXT: "text", Place.NUMBER: "number", Place.TIME: "time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms is asked: whose eyes, when, when mail counts as delivered, and whether former addresses' mail shows."""

    viewer: Viewer
    now: datetime
    delivered_after: timedelta
    keep_former: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """A record that was found, with the newest mail that fits; None where no mail was asked for."""

    record: RecordRef
    message: MessageId | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Found:
    """A page, by id; `next` is the cursor of the following one, None at the end. `way` says how it was found."""

    hits: tuple[Hit, ...]
    next: str | None
    way: str


def find(tx: Tx, question: Question, terms: Terms, *, after: str = "", limit: int = 50) -> Found:
    """A page of the records that the question is about."""
    if tx.dialect == "postgresql":
        # A plan for any values may walk through all that is not meant; and to compile one takes longer than to run it.
        tx.execute(
            text("SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true)")
        )
    asked = _Asked(tx, question.module, terms)
    way = _way(tx, asked, question.where)
    candidates = way.candidates(asked, after)
    fits = true() if question.where is None else asked.fits(question.where, candidates.c.id)
    if not way.of_records:  # what led here may be of a record that is gone
        fits = and_(fits, asked.is_there(candidates.c.id))
    page = select(candidates.c.id).where(fits).limit(limit)
    if tx.dialect == "postgresql":
        page = page.order_by(candidates.c.id)  # SQLite keeps the order without being told, and would sort if it were
    ids = sorted(tx.execute(page).scalars())
    end: str | None = ids[-1] if len(ids) == limit else None
    if end is None and (way.number is None or way.number >= asked.looks_at):
        end = _horizon(tx, asked, way, after)
        if end is not None and end not in ids and way.scan is not None:  # what was read of its mail may not be all
            this = asked.is_there(literal(end))
            this = this if question.where is None else and_(this, asked.fits(question.where, literal(end)))
            ids += tx.execute(select(literal(end)).where(this)).scalars()
    return Found(_hits(tx, asked, question, ids), end, str(way))


def _horizon(tx: Tx, asked: _Asked, way: _Way, after: str) -> str | None:
    """The last record that was looked at, where there may be more behind."""
    end = None
    if way.scan is not None:
        end, fitting = way.scan.end(tx, after)
        if fitting < asked.looks_at:
            return end
    candidates = way.candidates(asked, after)
    number, last = tx.execute(select(func.count(), func.max(candidates.c.id)).select_from(candidates)).one()
    return last if number == asked.looks_at else end


def _hits(tx: Tx, asked: _Asked, question: Question, ids: Sequence[str]) -> tuple[Hit, ...]:
    """The records of these ids, with the newest mail that fits any of what was asked of mail."""
    newest = [asked.newest(mail, record.c.id) for mail in _mails(question.where)]
    by_record: dict[str, set[str]] = {}
    if newest and ids:
        columns = [one.label(f"mail_{number}") for number, one in enumerate(newest)]
        found = select(record.c.id, *columns).where(
            record.c.org == asked.org, record.c.module == asked.module, record.c.id.in_(ids)
        )
        by_record = {row[0]: {one for one in row[1:] if one is not None} for row in tx.execute(found)}
    mails = sorted(set().union(*by_record.values()))
    at = {
        row.id: row.received_at
        for row in tx.execute(select(message.c.id, message.c.received_at).where(message.c.id.in_(mails)))
    }
    hits = []
    for id_ in ids:
        last = max(by_record.get(id_, ()), key=lambda one: (at[one], one), default=None)
        ref = RecordRef(asked.module, id_)
        hits.append(Hit(ref, None, None) if last is None else Hit(ref, MessageId(last), from_micros(at[last])))
    return tuple(hits)


def _mails(node: Meaning | None) -> Iterator[Mail]:
    """What is asked of mail that there is."""
    match node:
        case Mail():
            yield node
        case meaning.All(parts) | meaning.Any(parts):
            for part in parts:
                yield from _mails(part)


# --- conditions ---


def _there_is(found: Select[Any]) -> ColumnElement[bool]:
    """That there is a row; not as an EXISTS, see above."""
    return found.limit(1).scalar_subquery().is_not(None)


def _within(column: ColumnElement[Any], span: Span) -> Iterator[ColumnElement[bool]]:
    if span.start is not None:
        yield column >= to_micros(span.start)
    if span.end is not None:
        yield column < to_micros(span.end)


def _cheap_first(parts: Sequence[Meaning]) -> Sequence[Meaning]:
    """The database looks in this order. A record has one value of a field, and any number of mails."""
    return sorted(parts, key=_cost)


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


class _Asked:
    """The conditions of one question, for the records of a module."""

    def __init__(self, tx: Tx, module: str, terms: Terms) -> None:
        self.org = terms.viewer.org
        self.module = module
        self.dialect = tx.dialect
        self.counts_left = _COUNTS
        self._terms = terms
        self._sharers = visibility.sharers_for(tx, terms.viewer)
        self.looks_at = LOOKED_AT if terms.viewer.all or self._sharers is not None else LOOKED_AT_CLOSELY

    @property
    def authors(self) -> tuple[str, ...]:
        """Of no others' mail anything is to be seen; () where that is not known."""
        return () if self._sharers is None else self._sharers.authors

    def fits(self, node: Meaning, id_: ColumnElement[str]) -> ColumnElement[bool]:
        """That the record with this id is so."""
        match node:
            case meaning.All(parts):
                return and_(*(self.fits(part, id_) for part in _cheap_first(parts)))
            case meaning.Any(parts):
                return or_(*(self.fits(part, id_) for part in _cheap_first(parts)))
            case Opposite(part):
                return not_(self.fits(part, id_))
            case Mail():
                return _there_is(self._matching(node, id_, _ONE))
            case Field():
                return self._field(node, id_)

    def is_there(self, id_: ColumnElement[str], *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        """That there is a record with this id, and its row is so."""
        mine = (record.c.org == self.org, record.c.module == self.module, record.c.id == id_)
        return _there_is(select(_ONE).select_from(record).where(*mine, *conditions))

    def newest(self, mail: Mail, id_: ColumnElement[str]) -> ColumnElement[str | None]:
        """The id of the newest mail of the record that fits."""
        found = self._matching(mail, id_, _FACTS.c.message)
        return found.order_by(_FACTS.c.at.desc()).limit(1).scalar_subquery()

    def _matching(self, mail: Mail, id_: ColumnElement[str], column: ColumnElement[Any]) -> Select[Any]:
        facts = _FACTS
        mine = (facts.c.org == self.org, facts.c.module == self.module, facts.c.record == id_)
        said = [self._happened(one, facts) for one in mail.all]
        unsaid = [not_(self._happened(one, facts)) for one in mail.none]
        found = select(column).select_from(facts).where(*mine, *said, *unsaid, *self._shows(facts))
        index = "ix_mail_fact_author" if 0 < len(self.authors) <= _MERGED else "ix_mail_fact_record"
        return found.with_hint(facts, f"INDEXED BY {index}", "sqlite")

    def _shows(self, facts: FromClause) -> Iterator[ColumnElement[bool]]:
        """That the viewer may see the mail, and it shows on the record (I16)."""
        if not self._terms.viewer.all:
            if self.authors:
                yield facts.c.author.in_(self.authors)
            yield visibility.readable_delivery(self._terms.viewer, facts, sharers=self._sharers)
        if not self._terms.keep_former:
            has_it = select(_ONE).where(
                record_address.c.org == self.org,
                record_address.c.key == facts.c.key,
                record_address.c.module == facts.c.module,
                record_address.c.record == facts.c.record,
            )
            yield or_(facts.c.key == "", _there_is(has_it))

    def _happened(self, fact: Fact, facts: FromClause) -> ColumnElement[bool]:
        """That this became of the mail, at a time within the span. Never NULL, so that its opposite is right, too."""
        if fact.word is Word.DELIVERED:
            return self._delivered(fact.span, facts)
        known = _flag(facts, _FLAGS[fact.word])
        if fact.hard is not None:
            known = and_(known, _flag(facts, Flag.HARD) if fact.hard else not_(_flag(facts, Flag.HARD)))
        if fact.word in (Word.OPENED, Word.CLICKED):
            return and_(known, *self._engaged(fact, facts))
        column = facts.c[_INDEXED[fact.word]]
        return and_(known, *_within(func.coalesce(column, 0) if fact.span != EVER else column, fact.span))

    def _delivered(self, span: Span, facts: FromClause) -> ColumnElement[bool]:
        """A success notice said so, or it was sent and no bounce came back for so long (K1)."""
        after = self._terms.delivered_after // timedelta(microseconds=1)
        since = to_micros(self._terms.now) - after
        told = _flag(facts, Flag.DELIVERED)
        quiet = and_(
            _flag(facts, Flag.OURS),
            _flag(facts, Flag.SENT),
            facts.c.flags.bitwise_and(int(Flag.BOUNCED | Flag.FAILED)) == 0,
            func.coalesce(facts.c.sent_at, since + 1) <= since,
        )
        at = func.coalesce(facts.c.delivered_at, facts.c.sent_at + after, 0)
        return and_(or_(told, quiet), *_within(at, span))

    def _engaged(self, fact: Fact, facts: FromClause) -> Iterator[ColumnElement[bool]]:
        """How often, by which link, and when: the first and last times are known, and those between by the hits."""
        number = facts.c.opens if fact.word is Word.OPENED else facts.c.clicks
        if fact.least > 1:
            yield number >= fact.least
        if fact.most is not None:
            yield number <= fact.most
        if fact.link:
            yield _there_is(self._link(fact, facts))
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
            return and_(true(), *_within(column, span))
        around = and_(first < to_micros(span.start), last >= to_micros(span.end))
        return or_(and_(*_within(first, span)), and_(*_within(last, span)), and_(around, _there_is(hits)))

    def _link(self, fact: Fact, facts: FromClause) -> Select[Any]:
        url = func.lower(link_hit.c.url).contains(fact.link, autoescape=True)
        between = self._between(link_hit.c.first_at, link_hit.c.last_at, fact.span, self._hits_of(fact, facts, "click"))
        return select(_ONE).where(link_hit.c.delivery == facts.c.delivery, url, between)

    def _hits_of(self, fact: Fact, facts: FromClause, kind: str) -> Select[Any]:
        found = select(_ONE).where(
            hit.c.delivery == facts.c.delivery, hit.c.kind == kind, hit.c.by == "person", *_within(hit.c.at, fact.span)
        )
        return found.where(func.lower(hit.c.url).contains(fact.link, autoescape=True)) if fact.link else found

    def delivered_sources(self, fact: Fact, masks: Sequence[int]) -> Iterator[tuple[_Source, ...]]:
        """What was sent at a time that makes it count as delivered then, and what a success notice told of."""
        if fact.span == EVER:
            return
        earlier = self._terms.delivered_after
        start, end = (None if at is None else at - earlier for at in (fact.span.start, fact.span.end))
        end = self._terms.now - earlier + _INSTANT if end is None else end
        yield (
            _fact_source(self, Word.SENT, Span(start, end), masks),
            _fact_source(self, Word.DELIVERED, fact.span, masks),
        )

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
                found = select(_ONE).select_from(record_field).where(*mine)
                found = found.with_hint(record_field, "INDEXED BY sqlite_autoindex_record_field_1", "sqlite")
                return _there_is(found.where(*_compared(one, record_field.c[_TEXT_OF[one.place]])))
            case Place.ADDRESS:
                of_record = and_(record_address.c.org == self.org, record_address.c.module == self.module)
                found = select(_ONE).select_from(record_address).where(of_record, record_address.c.record == id_)
                found = found.where(*_compared(one, record_address.c.key))
                return _there_is(found.where(record_address.c.field == one.name) if one.name else found)
            case _:
                return self.is_there(id_, *_compared(one, record.c[one.place]))


def _flag(facts: FromClause, flag: Flag) -> ColumnElement[bool]:
    return facts.c.flags.bitwise_and(int(flag)) != 0


def _compared(one: Field, column: ColumnElement[Any]) -> Iterator[ColumnElement[bool]]:
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
            yield from _within(column, one.span)


# --- which records are looked at ---


@dataclass(frozen=True, slots=True)
class _Source:
    """A range of an index that holds the ids of all records that a condition fits, and perhaps others."""

    what: str
    table: FromClause
    column: str
    """Where the record's id stands."""
    index: str
    conditions: tuple[ColumnElement[bool] | TextClause, ...]
    in_order: bool = False
    """It has the ids in their order, each once."""
    also: tuple[ColumnElement[bool], ...] = ()
    """What holds of the entries besides, by columns that the index has, too."""

    def ids(self) -> Select[Any]:
        """The records' ids, perhaps several times."""
        return self.select(self.id.label("id")).where(*self.also)

    def select(self, *columns: Any) -> Select[Any]:
        """These columns of its entries."""
        found = select(*columns).select_from(self.table).where(*self.conditions)
        return found.with_hint(self.table, f"INDEXED BY {self.index}", "sqlite") if self.index else found

    @property
    def id(self) -> ColumnElement[str]:
        """The record's id."""
        column: ColumnElement[str] = self.table.c[self.column]
        return column

    def count(self, tx: Tx) -> int | None:
        """How many entries there are that may fit; None where that is not to be known from few."""
        fitting = case((and_(true(), *self.also), 1), else_=0)
        some = self.select(fitting.label("fits")).limit(FEW + 1).subquery()
        number, fit = tx.execute(select(func.count(), func.sum(some.c.fits)).select_from(some)).one()
        return int(fit or 0) if number <= FEW else None


@dataclass(frozen=True, slots=True)
class _Scan:
    """Entries of an index in the order of the records' ids, of which those that fit are taken."""

    what: str
    table: FromClause
    index: str
    ranges: tuple[tuple[ColumnElement[bool] | TextClause, ...], ...]
    """Side by side."""
    column: str
    """What of an entry tells whether it fits …"""
    fits: Callable[[ColumnElement[Any]], ColumnElement[bool]]
    """… and how."""

    def entries(self, after: str) -> FromClause:
        """So many entries of records behind `after`, in order."""
        id_ = self.table.c.record
        each = [
            select(id_.label("id"), self.table.c[self.column].label("value"))
            .where(*conditions, id_ > after)
            .with_hint(self.table, f"INDEXED BY {self.index}", "sqlite")
            for conditions in self.ranges
        ]
        if len(each) == 1:
            return each[0].order_by(id_).limit(SCANNED).subquery("entry")
        return union_all(*each).order_by(literal_column("id")).limit(SCANNED).subquery("entry")

    def end(self, tx: Tx, after: str) -> tuple[str | None, int]:
        """The record of the last entry that is read, None where there are no more behind; and how many of the entries fit."""
        entries = self.entries(after)
        fitting = func.sum(case((self.fits(entries.c.value), 1), else_=0))
        asked = select(func.count(), func.max(entries.c.id), fitting).select_from(entries)
        number, last, fit = tx.execute(asked).one()
        return last if number == SCANNED else None, int(fit or 0)


@dataclass(frozen=True, slots=True)
class _Way:
    """Where the records come from that are looked at: these sources together, or a scan, or without any all of the module."""

    sources: tuple[_Source, ...] = ()
    number: int | None = None
    """How many entries the sources have."""
    scan: _Scan | None = None
    within: tuple[tuple[_Source, ...], ...] = ()
    """They must be in each of these, too."""

    @property
    def of_records(self) -> bool:
        """They are those of the table of records itself."""
        return not self.sources and self.scan is None

    def candidates(self, asked: _Asked, after: str) -> FromClause:
        """So many ids behind `after`, in their order."""
        if self.scan is not None:
            entries = self.scan.entries(after)
            fitting = (
                select(entries.c.id).where(self.scan.fits(entries.c.value), *self._inside(entries.c.id)).distinct()
            )
            # SQLite reads them in order, and no more than are wanted, if it is not told to sort them.
            fitting = fitting.order_by(entries.c.id) if asked.dialect == "postgresql" else fitting
            return fitting.limit(asked.looks_at).subquery("candidate")
        if not self.sources:
            behind = (record.c.org == asked.org, record.c.module == asked.module, record.c.id > after)
            return select(record.c.id).where(*behind).order_by(record.c.id).limit(asked.looks_at).subquery("candidate")
        if len(self.sources) == 1:
            only = self.sources[0]
            found = only.ids().where(only.id > after, *self._inside(only.id))
            found = found if only.in_order else found.distinct()
            return found.order_by(only.id).limit(asked.looks_at).subquery("candidate")
        each = union_all(*(one.ids().where(one.id > after) for one in self.sources)).subquery()
        ids = select(each.c.id).where(*self._inside(each.c.id)).distinct()
        return ids.order_by(each.c.id).limit(asked.looks_at).subquery("candidate")

    def _inside(self, id_: ColumnElement[str]) -> Iterator[ColumnElement[bool]]:
        for sources in self.within:
            each = [one.ids() for one in sources]
            # IS TRUE, so that PostgreSQL makes a table of them once, and does not look for each of the ids anew.
            yield id_.in_(each[0] if len(each) == 1 else union_all(*each)).is_(True)

    def __str__(self) -> str:
        if self.of_records:
            return "looks at the records of the module one after the other"
        each = [" or ".join(one.what for one in ors) for ors in self.within]
        each.insert(0, self.scan.what if self.scan is not None else " or ".join(one.what for one in self.sources))
        return f"looks at the records by {' and by '.join(each)}" + (
            "" if self.number is None else f": {self.number} entries"
        )


def _way(tx: Tx, asked: _Asked, where: Meaning | None) -> _Way:
    """The way that leaves the fewest records to look at."""
    if where is None or _is_small(tx, asked):
        return _Way()
    few = _fewest(tx, asked, where)
    if few is not None and _length(few) <= _QUITE_FEW:
        return few
    scan = _scan(asked, where)
    if scan is not None and (few is None or asked.authors):
        return _Way(scan=scan, within=() if few is None else (few.sources, *few.within))
    if few is not None:
        return few
    return next((_Way(each) for each in _of_all(asked, where) if each[0].in_order), _Way())


def _scan(asked: _Asked, where: Meaning) -> _Scan | None:
    """A longer range that holds all records that fit: of a person's own mail, or of the values of one field."""
    masks = _masks(where)
    if masks and 0 < len(asked.authors) <= _MERGED:
        mine = (mail_fact.c.org == asked.org, mail_fact.c.module == asked.module)
        ranges = tuple((*mine, mail_fact.c.author == one) for one in asked.authors)
        return _Scan("mail of one's own", mail_fact, "ix_mail_fact_author", ranges, "flags", partial(_has_any, masks))
    for one in _needed(where):
        if isinstance(one, Field) and one.place is Place.TEXT and one.match in (Match.CONTAINS, Match.STARTS):
            fields = (
                record_field.c.org == asked.org,
                record_field.c.module == asked.module,
                record_field.c.field == one.name,
                text("record_field.start IS NOT NULL"),
            )
            fits = partial(_holds, asked.dialect, one.texts[0], one.match)
            what = one.name.removeprefix(":")
            return _Scan(what, record_field, "ix_record_field_value", (fields,), "start", fits)
    if masks and _rarity(masks) > 1:
        mine = (mail_fact.c.org == asked.org, mail_fact.c.module == asked.module)
        return _Scan("mail", mail_fact, "ix_mail_fact_record", (mine,), "flags", partial(_has_any, masks))
    return None


def _has_any(masks: Sequence[int], flags: ColumnElement[Any]) -> ColumnElement[bool]:
    """That an entry has all flags of one of these; 0 any entry has."""
    return true() if 0 in masks else or_(*(flags.bitwise_and(one) == one for one in masks))


def _holds(dialect: str, wanted: str, match: Match, start: ColumnElement[Any]) -> ColumnElement[bool]:
    """That a text holds or begins with this, as far as its beginning tells."""
    within = (func.instr if dialect == "sqlite" else func.strpos)(start, wanted[:START])
    more = func.length(start) == START
    return within == 1 if match is Match.STARTS else or_(within > 0, more)


def _masks(node: Meaning) -> tuple[int, ...]:
    """Flags of which a record that fits has a mail with all, for one of the masks at least; () where it need not have any."""
    match node:
        case Mail(all=said):
            masks = [0]
            for one in said:
                flags = _DELIVERED if one.word is Word.DELIVERED else (_flags_of(one),)
                masks = [mask | flag for mask in masks for flag in flags]
            return tuple(dict.fromkeys(masks))
        case meaning.All(parts):
            return max((found for part in parts if (found := _masks(part))), key=_rarity, default=())
        case meaning.Any(parts):
            each = [_masks(part) for part in parts]
            return tuple(dict.fromkeys(mask for masks in each for mask in masks)) if all(each) else ()
        case _:
            return ()


def _flags_of(one: Fact) -> int:
    return int(_FLAGS[one.word] | Flag.HARD) if one.hard else int(_FLAGS[one.word])


def _rarity(masks: Sequence[int]) -> int:
    """Of how many flags at least: the more the fewer mails have them."""
    return min((mask & ~int(Flag.SENT | Flag.RECEIVED)).bit_count() for mask in masks)


def _is_small(tx: Tx, asked: _Asked) -> bool:
    mine = select(record.c.id).where(record.c.org == asked.org, record.c.module == asked.module)
    return tx.execute(mine.order_by(record.c.id).offset(_SMALL).limit(1)).first() is None


def _fewest(tx: Tx, asked: _Asked, node: Meaning) -> _Way | None:
    """The shortest way to all records that fit; None where every one is long."""
    match node:
        case meaning.All(parts):
            found: list[_Way] = []
            for part in parts:
                way = _fewest(tx, asked, part)
                if way is not None and _length(way) <= _VERY_FEW:
                    return way
                found += [] if way is None else [way]
            if not found:
                return None
            best, *others = sorted(found, key=_length)
            near = [one.sources for one in others if _length(one) <= _WORTH * _length(best)]
            return replace(best, within=(*best.within, *near))
        case meaning.Any(parts):
            each: list[_Way] = []
            for part in parts:
                one = _fewest(tx, asked, part)
                if one is None:
                    return None
                each.append(one)
            number = sum(map(_length, each))
            # What one of them must be in besides is asked of its records.
            return _Way(tuple(source for one in each for source in one.sources), number) if number <= FEW else None
        case Mail() | Field():
            ways = []
            for sources in _sources(asked, node):
                asked.counts_left -= len(sources)
                if asked.counts_left < 0:
                    return None
                numbers = [one.count(tx) for one in sources]
                ways += [] if None in numbers else [_Way(sources, sum(one or 0 for one in numbers))]
            return min(ways, key=_length, default=None)
        case Opposite():
            return None


def _length(way: _Way) -> int:
    return way.number or 0


def _needed(node: Meaning) -> Iterator[Mail | Field]:
    """What must hold in any case."""
    match node:
        case meaning.All(parts):
            for part in parts:
                yield from _needed(part)
        case Mail() | Field():
            yield node


def _of_all(asked: _Asked, node: Meaning) -> Iterator[tuple[_Source, ...]]:
    """The sources of what must hold in any case."""
    for one in _needed(node):
        yield from _sources(asked, one)


def _sources(asked: _Asked, node: Mail | Field) -> Iterator[tuple[_Source, ...]]:
    """Sources, each of which leads to all records that fit, or those of each together."""
    match node:
        case Mail():
            masks = _masks(node)
            for fact in node.all:
                if fact.word is Word.DELIVERED:
                    yield from asked.delivered_sources(fact, masks)
                elif fact.word not in _UNSELECTIVE or fact.span != EVER:
                    yield (_fact_source(asked, fact.word, fact.span, masks),)
        case Field():
            for source in _field_sources(asked, node):
                yield (source,)


def _fact_source(asked: _Asked, word: Word, span: Span, masks: Sequence[int]) -> _Source:
    name = _INDEXED[word]
    # Of what may happen again the last time is in the index, so that only the beginning of the span says something.
    again = word in (Word.OPENED, Word.CLICKED)
    within = _within(mail_fact.c[name], Span(span.start, None) if again else span)
    filled = text(f"mail_fact.{name} IS NOT NULL")
    mine = (mail_fact.c.org == asked.org, mail_fact.c.module == asked.module)
    index = f"ix_mail_fact_{name.removesuffix('_at')}"
    also = [_has_any(masks, mail_fact.c.flags)]
    if asked.authors:
        also.append(mail_fact.c.author.in_(asked.authors))
    return _Source(f"mail {word}", mail_fact, "record", index, (*mine, filled, *within), also=tuple(also))


def _field_sources(asked: _Asked, one: Field) -> Iterator[_Source]:
    fields = (
        record_field.c.org == asked.org,
        record_field.c.module == asked.module,
        record_field.c.field == one.name,
    )
    alone = one.match is Match.ONE_OF and len(one.texts or one.numbers) == 1
    what = one.name.removeprefix(":")
    match one.place, one.match:
        case Place.TEXT, Match.ONE_OF:
            starts: ColumnElement[bool] = record_field.c.start.in_(sorted({text_[:START] for text_ in one.texts}))
            starts = record_field.c.start == one.texts[0][:START] if alone else starts
            yield _Source(what, record_field, "record", "ix_record_field_start", (*fields, starts), in_order=alone)
        case Place.NUMBER, Match.ONE_OF if alone:
            equal = record_field.c.number == one.numbers[0]
            yield _Source(what, record_field, "record", "ix_record_field_number", (*fields, equal), in_order=True)
        case Place.NUMBER, Match.ONE_OF | Match.MORE | Match.AT_LEAST | Match.LESS | Match.AT_MOST:
            within = tuple(_compared(one, record_field.c.number))
            yield _Source(what, record_field, "record", "ix_record_field_number", (*fields, *within))
        case Place.TIME, Match.WITHIN:
            within = tuple(_compared(one, record_field.c.time))
            yield _Source(what, record_field, "record", "ix_record_field_time", (*fields, *within))
        case Place.ADDRESS, Match.ONE_OF:
            keys = (
                record_address.c.org == asked.org,
                record_address.c.key.in_(one.texts),
                record_address.c.module == asked.module,
            )
            yield _Source("address", record_address, "record", "", keys)
        case Place.OWNER, Match.ONE_OF:
            mine = (record.c.org == asked.org, record.c.module == asked.module)
            owner: ColumnElement[bool] = record.c.owner.in_(one.texts)
            owner = record.c.owner == one.texts[0] if alone else owner
            yield _Source("owner", record, "id", "ix_record_owner", (*mine, owner), in_order=alone)
        case Place.ID, Match.ONE_OF:
            mine = (record.c.org == asked.org, record.c.module == asked.module)
            yield _Source("id", record, "id", "", (*mine, record.c.id.in_(one.texts)))
        case _:
            return
