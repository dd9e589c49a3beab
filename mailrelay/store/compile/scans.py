"""Longer ranges, read in the order of the records' ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    SelectBase,
    TextClause,
    func,
    literal_column,
    or_,
    select,
    text,
    union_all,
)

from mailrelay.query.meaning import Field, Match, Meaning, Place
from mailrelay.store.compile import bounds
from mailrelay.store.compile.conditions import Asked
from mailrelay.store.compile.masks import has_any, masks_of, needed, rarity
from mailrelay.store.record_fields import START
from mailrelay.store.tables import mail_fact, record_field


@dataclass(frozen=True, slots=True)
class Scan:
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

    def entries(self, after: str) -> SelectBase:
        """So many entries of records behind `after`, in order."""
        id_ = self.table.c.record
        each = [
            select(id_.label("id"), self.table.c[self.column].label("value"))
            .where(*conditions, id_ > after)
            .with_hint(self.table, f"INDEXED BY {self.index}", "sqlite")
            for conditions in self.ranges
        ]
        if len(each) == 1:
            return each[0].order_by(id_).limit(bounds.SCANNED)
        return union_all(*each).order_by(literal_column("id")).limit(bounds.SCANNED)


def scan_of(asked: Asked, where: Meaning) -> Scan | None:
    """A longer range that holds all records that fit: of a person's own mail, or of the values of one field."""
    masks = masks_of(where)
    if masks and asked.has_little:
        mine = (mail_fact.c.org == asked.org, mail_fact.c.module == asked.module)
        ranges = tuple((*mine, mail_fact.c.author == one) for one in asked.authors)
        return Scan("mail of one's own", mail_fact, "ix_mail_fact_author", ranges, "flags", partial(has_any, masks))
    for one in needed(where):
        if isinstance(one, Field) and one.place is Place.TEXT and one.match in (Match.CONTAINS, Match.STARTS):
            fields = (
                record_field.c.org == asked.org,
                record_field.c.module == asked.module,
                record_field.c.field == one.name,
                text("record_field.start IS NOT NULL"),
            )
            fits = partial(_holds, asked.dialect, one.texts[0], one.match)
            what = one.name.removeprefix(":")
            return Scan(what, record_field, "ix_record_field_value", (fields,), "start", fits)
    if masks and rarity(masks) > 1:
        mine = (mail_fact.c.org == asked.org, mail_fact.c.module == asked.module)
        return Scan("mail", mail_fact, "ix_mail_fact_record", (mine,), "flags", partial(has_any, masks))
    return None


def _holds(dialect: str, wanted: str, match: Match, start: ColumnElement[Any]) -> ColumnElement[bool]:
    """That a text holds or begins with this, as far as its beginning tells."""
    within = (func.instr if dialect == "sqlite" else func.strpos)(start, wanted[:START])
    more = func.length(start) == START
    return within == 1 if match is Match.STARTS else or_(within > 0, more)
