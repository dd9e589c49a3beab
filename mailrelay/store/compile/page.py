"""A page of the records that a question is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, and_, case, func, literal, null, select, text, true, union_all

from mailrelay.clock import from_micros
from mailrelay.ids import MessageId
from mailrelay.model.record import RecordRef
from mailrelay.query import meaning
from mailrelay.query.meaning import Mail, Meaning, Question
from mailrelay.store.base import Tx
from mailrelay.store.compile.conditions import Asked, Terms
from mailrelay.store.compile.ways import way_of
from mailrelay.store.tables import message, record


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
    asked = Asked(tx, question.module, terms)
    way = way_of(tx, asked, question.where)
    reading = way.reading(asked, after)
    id_ = reading.candidates.c.id
    fits = true() if question.where is None else asked.fits(question.where, id_)
    if not way.of_records:  # what led here may be of a record that is gone
        fits = and_(fits, asked.is_there(id_))
    page = select(id_).where(fits).limit(limit)
    if tx.dialect == "postgresql":
        page = page.order_by(id_)  # SQLite keeps the order without being told, and would sort if it were
    all_is_read = way.number is not None and way.number < asked.looks_at
    ids, end = _read(tx, page, limit, None if all_is_read else reading.end)
    if end is not None and end not in ids and way.scan is not None:  # what was read of its mail may not be all
        this = asked.is_there(literal(end))
        this = this if question.where is None else and_(this, asked.fits(question.where, literal(end)))
        ids += tx.execute(select(literal(end)).where(this)).scalars()
    return Found(_hits(tx, asked, question, ids), end, str(way))


def _read(
    tx: Tx, page: Select[tuple[str]], limit: int, end: Select[tuple[str | None]] | None
) -> tuple[list[str], str | None]:
    """The ids of a page, and the record that it ends with, None where there are none behind; `end` of one that is not full."""
    if end is not None and tx.dialect == "postgresql":
        # In one statement: the way there is what costs most.
        found = page.cte("found")
        number = select(func.count()).select_from(found).scalar_subquery()
        behind = case((number < limit, end.scalar_subquery()))
        rows = tx.execute(union_all(select(found.c.id, null()), select(null(), behind))).all()
        ids = sorted(id_ for id_, _ in rows if id_ is not None)
        last = next((last for _, last in rows if last is not None), None)
    else:
        ids, last = sorted(tx.execute(page).scalars()), None
        if end is not None and len(ids) < limit:
            last = tx.execute(end).scalar_one()
    return ids, ids[-1] if len(ids) == limit else last


def _hits(tx: Tx, asked: Asked, question: Question, ids: Sequence[str]) -> tuple[Hit, ...]:
    """The records of these ids, with the newest mail that fits any of what was asked of mail."""
    mails = tuple(mails_asked(question.where))
    newest: dict[str, str] = {}
    if mails and ids:
        found = select(record.c.id, asked.newest(mails, record.c.id)).where(
            record.c.org == asked.org, record.c.module == asked.module, record.c.id.in_(ids)
        )
        newest = {id_: mail for id_, mail in tx.execute(found) if mail is not None}
    at = {
        row.id: row.received_at
        for row in tx.execute(select(message.c.id, message.c.received_at).where(message.c.id.in_(newest.values())))
    }
    hits = []
    for id_ in ids:
        last = newest.get(id_)
        ref = RecordRef(asked.module, id_)
        hits.append(Hit(ref, None, None) if last is None else Hit(ref, MessageId(last), from_micros(at[last])))
    return tuple(hits)


def mails_asked(node: Meaning | None) -> Iterator[Mail]:
    """What is asked of mail that there is."""
    match node:
        case Mail():
            yield node
        case meaning.All(parts) | meaning.Any(parts):
            for part in parts:
                yield from mails_asked(part)
