"""A page of the records that a question is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, literal, select, text, true

from mailrelay.clock import from_micros
from mailrelay.ids import MessageId
from mailrelay.model.record import RecordRef
from mailrelay.query import meaning
from mailrelay.query.meaning import Mail, Meaning, Question
from mailrelay.store.base import Tx
from mailrelay.store.compile.conditions import Asked, Terms
from mailrelay.store.compile.ways import Way, way_of
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


def _horizon(tx: Tx, asked: Asked, way: Way, after: str) -> str | None:
    """The last record that was looked at, where there may be more behind."""
    end = None
    if way.scan is not None:
        end, fitting = way.scan.end(tx, after)
        if fitting < asked.looks_at:
            return end
    candidates = way.candidates(asked, after)
    number, last = tx.execute(select(func.count(), func.max(candidates.c.id)).select_from(candidates)).one()
    return last if number == asked.looks_at else end


def _hits(tx: Tx, asked: Asked, question: Question, ids: Sequence[str]) -> tuple[Hit, ...]:
    """The records of these ids, with the newest mail that fits any of what was asked of mail."""
    newest = [asked.newest(mail, record.c.id) for mail in mails_asked(question.where)]
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


def mails_asked(node: Meaning | None) -> Iterator[Mail]:
    """What is asked of mail that there is."""
    match node:
        case Mail():
            yield node
        case meaning.All(parts) | meaning.Any(parts):
            for part in parts:
                yield from mails_asked(part)
