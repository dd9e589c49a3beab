"""Ranges of indexes that hold the ids of all records that a condition fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, TextClause, and_, case, func, select, text, true

from mailrelay.query.meaning import Fact, Field, Mail, Match, Meaning, Place
from mailrelay.query.tree import Word
from mailrelay.query.when import EVER, Span
from mailrelay.store.base import Tx
from mailrelay.store.compile import links
from mailrelay.store.compile.conditions import INDEXED, Asked, compared, in_span
from mailrelay.store.compile.masks import has_any, masks_of, needed
from mailrelay.store.record_fields import START
from mailrelay.store.tables import mail_fact, record, record_address, record_field

_INSTANT = timedelta(microseconds=1)
_FIRST = datetime.min.replace(tzinfo=UTC)
_UNSELECTIVE = frozenset({Word.SENT, Word.RECEIVED})


@dataclass(frozen=True, slots=True)
class Source:
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

    def count(self, tx: Tx, most: int) -> int | None:
        """How many entries there are that may fit; None where that is not to be known from so many."""
        fitting = case((and_(true(), *self.also), 1), else_=0)
        some = self.select(fitting.label("fits")).limit(most + 1).subquery()
        number, fit = tx.execute(select(func.count(), func.sum(some.c.fits)).select_from(some)).one()
        return int(fit or 0) if number <= most else None


def of_all(tx: Tx, asked: Asked, node: Meaning) -> Iterator[tuple[Source, ...]]:
    """The sources of what must hold in any case."""
    for one in needed(node):
        yield from sources_of(tx, asked, one)


def sources_of(tx: Tx, asked: Asked, node: Mail | Field) -> Iterator[tuple[Source, ...]]:
    """Sources, each of which leads to all records that fit, or those of each together."""
    match node:
        case Mail():
            masks = masks_of(node)
            for fact in node.all:
                if fact.link:
                    yield from ((one,) for one in _clicks(tx, asked, fact.link))
                if fact.word is Word.DELIVERED:
                    yield from _delivered_sources(asked, fact, masks)
                elif fact.word not in _UNSELECTIVE or fact.span != EVER:
                    yield (_fact_source(asked, fact.word, fact.span, masks),)
        case Field():
            for source in _field_sources(asked, node):
                yield (source,)


def _fact_source(asked: Asked, word: Word, span: Span, masks: Sequence[int]) -> Source:
    name = INDEXED[word]
    # Of what may happen again the last time is in the index, so that only the beginning of the span says something.
    again = word in (Word.OPENED, Word.CLICKED)
    within = in_span(mail_fact.c[name], Span(span.start, None) if again else span)
    filled = text(f"mail_fact.{name} IS NOT NULL")
    mine = (mail_fact.c.org == asked.org, mail_fact.c.module == asked.module)
    index = f"ix_mail_fact_{name.removesuffix('_at')}"
    also = [has_any(masks, mail_fact.c.flags)]
    if asked.authors:
        also.append(mail_fact.c.author.in_(asked.authors))
    return Source(f"mail {word}", mail_fact, "record", index, (*mine, filled, *within), also=tuple(also))


def _clicks(tx: Tx, asked: Asked, wanted: str) -> Iterator[Source]:
    """The records of mail with clicks on links that have this in their address, if those are few."""
    ids = links.records_with(tx, asked.org, asked.module, wanted)
    if ids is not None:
        mine = (record.c.org == asked.org, record.c.module == asked.module, record.c.id.in_(ids))
        yield Source("links", record, "id", "", mine)


def _field_sources(asked: Asked, one: Field) -> Iterator[Source]:
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
            yield Source(what, record_field, "record", "ix_record_field_start", (*fields, starts), in_order=alone)
        case Place.NUMBER, Match.ONE_OF if alone:
            equal = record_field.c.number == one.numbers[0]
            yield Source(what, record_field, "record", "ix_record_field_number", (*fields, equal), in_order=True)
        case Place.NUMBER, Match.ONE_OF | Match.MORE | Match.AT_LEAST | Match.LESS | Match.AT_MOST:
            within = tuple(compared(one, record_field.c.number))
            yield Source(what, record_field, "record", "ix_record_field_number", (*fields, *within))
        case Place.TIME, Match.WITHIN:
            within = tuple(compared(one, record_field.c.time))
            yield Source(what, record_field, "record", "ix_record_field_time", (*fields, *within))
        case Place.ADDRESS, Match.ONE_OF:
            keys = (
                record_address.c.org == asked.org,
                record_address.c.key.in_(one.texts),
                record_address.c.module == asked.module,
            )
            yield Source("address", record_address, "record", "", keys)
        case Place.OWNER, Match.ONE_OF:
            mine = (record.c.org == asked.org, record.c.module == asked.module)
            owner: ColumnElement[bool] = record.c.owner.in_(one.texts)
            owner = record.c.owner == one.texts[0] if alone else owner
            yield Source("owner", record, "id", "ix_record_owner", (*mine, owner), in_order=alone)
        case Place.ID, Match.ONE_OF:
            mine = (record.c.org == asked.org, record.c.module == asked.module)
            yield Source("id", record, "id", "", (*mine, record.c.id.in_(one.texts)))
        case _:
            return


def _delivered_sources(asked: Asked, fact: Fact, masks: Sequence[int]) -> Iterator[tuple[Source, ...]]:
    """What was sent at a time that makes it count as delivered then, and what a success notice told of."""
    if fact.span == EVER:
        return
    start, end = (
        None if at is None else _earlier(at, by=asked.terms.delivered_after) for at in (fact.span.start, fact.span.end)
    )
    end = asked.terms.now - asked.terms.delivered_after + _INSTANT if end is None else end
    yield (
        _fact_source(asked, Word.SENT, Span(start, end), masks),
        _fact_source(asked, Word.DELIVERED, fact.span, masks),
    )


def _earlier(at: datetime, *, by: timedelta) -> datetime:
    """So much earlier, but not before there is a calendar."""
    return _FIRST if at - _FIRST < by else at - by
