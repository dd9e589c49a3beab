"""Which records are looked at: the choice among the ranges that lead to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, SelectBase, case, func, select, union_all

from mailrelay.query import meaning
from mailrelay.query.meaning import Field, Mail, Meaning, Opposite
from mailrelay.store.base import Tx
from mailrelay.store.compile import bounds
from mailrelay.store.compile.conditions import Asked
from mailrelay.store.compile.scans import Scan, scan_of
from mailrelay.store.compile.sources import Source, of_all, sources_of
from mailrelay.store.tables import mail_fact, record


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a way."""

    candidates: FromClause
    """So many ids behind a place, in their order."""
    end: Select[Any]
    """The last record that is looked at, where there may be more behind; else NULL."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where the records come from that are looked at: these sources together, or a scan, or without any all of the module."""

    sources: tuple[Source, ...] = ()
    number: int | None = None
    """How many entries the sources have."""
    scan: Scan | None = None
    within: tuple[tuple[Source, ...], ...] = ()
    """They must be in each of these, too."""

    @property
    def of_records(self) -> bool:
        """They are those of the table of records itself."""
        return not self.sources and self.scan is None

    def reading(self, asked: Asked, after: str) -> Reading:
        """What is to be read of it, behind `after`."""
        if self.scan is None:
            candidates = _once(asked, self._ids(asked, after).limit(asked.looks_at), "candidate")
            return Reading(candidates, _last_of(candidates, asked.looks_at))
        entries = _once(asked, self.scan.entries(after), "entry")
        fits = self.scan.fits(entries.c.value)
        ids = select(entries.c.id).where(fits, *self._inside(entries.c.id)).distinct()
        # SQLite reads them in order, and no more than are wanted, if it is not told to sort them.
        ids = ids.order_by(entries.c.id) if asked.dialect == "postgresql" else ids
        candidates = _once(asked, ids.limit(asked.looks_at), "candidate")
        last = _last_of(entries, bounds.SCANNED)
        # Of so few entries that fit there are no more candidates, which would be looked for in the whole range once more.
        few = func.sum(case((fits, 1), else_=0)) < asked.looks_at
        behind = func.coalesce(_last_of(candidates, asked.looks_at).scalar_subquery(), *last.selected_columns)
        return Reading(candidates, select(case((few, *last.selected_columns), else_=behind)).select_from(entries))

    def _ids(self, asked: Asked, after: str) -> Select[Any]:
        if not self.sources:
            behind = (record.c.org == asked.org, record.c.module == asked.module, record.c.id > after)
            return select(record.c.id).where(*behind).order_by(record.c.id)
        if len(self.sources) == 1:
            only = self.sources[0]
            found = only.ids().where(only.id > after, *self._inside(only.id))
            return (found if only.in_order else found.distinct()).order_by(only.id)
        each = union_all(*(one.ids().where(one.id > after) for one in self.sources)).subquery()
        return select(each.c.id).where(*self._inside(each.c.id)).distinct().order_by(each.c.id)

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


def _once(asked: Asked, found: SelectBase, name: str) -> FromClause:
    """What a statement names more than once. PostgreSQL keeps what it has read of it, SQLite would read all of it first."""
    return found.cte(name) if asked.dialect == "postgresql" else found.subquery(name)


def _last_of(some: FromClause, most: int) -> Select[Any]:
    return select(case((func.count() == most, func.max(some.c.id)))).select_from(some)


def way_of(tx: Tx, asked: Asked, where: Meaning | None) -> Way:
    """The way that leaves the fewest records to look at."""
    if where is None or _is_small(tx, asked):
        return Way()
    scan = scan_of(asked, where)
    if scan is not None and asked.has_little:
        asked.few = min(bounds.FEW_OF_OTHERS, bounds.FEW)  # to read one's own is no more
    few = _fewest(tx, asked, where)
    if few is not None and _length(few) <= bounds.QUITE_FEW:
        return few
    if scan is not None and (few is None or asked.authors):
        return Way(scan=scan, within=() if few is None else (few.sources, *few.within))
    if few is not None:
        return few
    return next((Way(each) for each in of_all(tx, asked, where) if each[0].in_order), Way())


def _is_small(tx: Tx, asked: Asked) -> bool:
    mine = select(record.c.id).where(record.c.org == asked.org, record.c.module == asked.module)
    return tx.execute(mine.order_by(record.c.id).offset(bounds.SMALL).limit(1)).first() is None


def _fewest(tx: Tx, asked: Asked, node: Meaning) -> Way | None:
    """The shortest way to all records that fit; None where every one is long."""
    match node:
        case meaning.All(parts):
            found: list[Way] = []
            for part in parts:
                way = _fewest(tx, asked, part)
                if way is not None and _length(way) <= bounds.VERY_FEW:
                    return way
                found += [] if way is None else [way]
            if not found:
                return None
            best, *others = sorted(found, key=_length)
            near = [one.sources for one in others if _length(one) <= bounds.WORTH * _length(best)]
            return replace(best, within=(*best.within, *near))
        case meaning.Any(parts):
            each: list[Way] = []
            for part in parts:
                one = _fewest(tx, asked, part)
                if one is None:
                    return None
                each.append(one)
            number = sum(map(_length, each))
            # What one of them must be in besides is asked of its records.
            return (
                Way(tuple(source for one in each for source in one.sources), number) if number <= bounds.FEW else None
            )
        case Mail() | Field():
            ways = []
            for sources in sources_of(tx, asked, node):
                asked.counts_left -= len(sources)
                if asked.counts_left < 0:
                    return None
                numbers = [one.count(tx, asked.few if one.table is mail_fact else bounds.FEW) for one in sources]
                ways += [] if None in numbers else [Way(sources, sum(one or 0 for one in numbers))]
            return min(ways, key=_length, default=None)
        case Opposite():
            return None


def _length(way: Way) -> int:
    return way.number or 0
