"""What is found is what the question means, on both databases: compared with looking at everything, one by one (K2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bench import find as bench
from mailrelay.clock import to_micros
from mailrelay.ids import OrgId, UserId
from mailrelay.model.organisation import Organisation
from mailrelay.query import meaning
from mailrelay.query.check import check
from mailrelay.query.grammar import parse
from mailrelay.query.meaning import NAME, Fact, Field, Mail, Match, Meaning, Opposite, Place, Question
from mailrelay.query.names import Known
from mailrelay.query.tree import Word
from mailrelay.query.when import Here, Span
from mailrelay.store import compile as compiled
from mailrelay.store import modules
from mailrelay.store.base import Tx
from mailrelay.store.compile import Terms, bounds, page
from mailrelay.store.mail_facts.flags import TIMES, Flag
from mailrelay.store.tables import (
    hit,
    link_hit,
    mail_fact,
    message,
    message_source,
    organisation,
    record,
    record_field,
    user,
)
from mailrelay.store.visibility import Viewer
from tests.store.explain import AnyStore, watched
from tests.support import factory
from tests.support.clock import FakeClock

ORG, NOW, ZONE = OrgId("O"), datetime(2026, 11, 22, 11, 0, tzinfo=UTC), ZoneInfo("Europe/Berlin")
AFTER = timedelta(days=3)
_TIMED = {word: f"{word}_at" for word in Word} | {Word.OPENED: "last_opened_at", Word.CLICKED: "last_clicked_at"}


@dataclass
class World:
    """A few records and their mail."""

    records: list[dict[str, Any]] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    shares: str = "private"
    """How U2 shares their mail."""
    eyes: str = ""
    """Who asks; "" somebody who sees all."""

    def sees(self, row: dict[str, Any]) -> bool:
        return not self.eyes or row["author"] in ("", self.eyes) or (row["author"] == "U2" and self.shares == "public")

    hits: list[dict[str, Any]] = field(default_factory=list)


def _at(day: int | None) -> int | None:
    return None if day is None else to_micros(NOW - timedelta(days=day, minutes=1))


_DAYS = st.none() | st.integers(0, 9)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World(shares=draw(st.sampled_from(["private", "public"])), eyes=draw(st.sampled_from(["", "U1", "U2"])))
    for number in range(draw(st.integers(1, 5))):
        world.records.append(
            {
                "id": f"r{number}",
                "owner": draw(st.sampled_from([None, "U1", "U2"])),
                "name": draw(st.sampled_from(["acme ltd", "bluebird", "100% _wool"])),
                "amount": draw(st.none() | st.integers(0, 3)),
                "closing_date": draw(st.none() | st.integers(-3, 3)),
            }
        )
    for number in range(draw(st.integers(0, 10))):
        row: dict[str, Any] = dict.fromkeys((*TIMES, "first_opened_at", "first_clicked_at"))
        ours = draw(st.booleans())
        for name in draw(st.sets(st.sampled_from(sorted(TIMES)), max_size=4)):
            row[name] = _at(draw(st.integers(0, 9)))
        if row["received_at"] is not None:
            row["received_at"] = _at(number)  # it came in when it came to us
        row["opens"], row["clicks"] = 0, 0
        for word in ("opened", "clicked"):
            if row[f"last_{word}_at"] is not None:
                row[f"first_{word}_at"] = row[f"last_{word}_at"] - draw(st.integers(0, 5)) * 86_400_000_000
                row["opens" if word == "opened" else "clicks"] = draw(st.integers(1, 4))
        flags = Flag.OURS if ours else Flag(0)
        for name, flag in TIMES.items():
            flags |= flag if row[name] is not None else Flag(0)
        if row["bounced_at"] is not None and draw(st.booleans()):
            flags |= Flag.HARD
        place = {"record": draw(st.sampled_from(world.records))["id"], "message": f"M{number}"}
        world.facts.append(
            {
                **row,
                **place,
                "delivery": f"D{number}" if ours else "",
                "flags": int(flags),
                "at": _at(number),
                "key": "",
                "author": draw(st.sampled_from(["", "U1", "U2"])),
            }
        )
        if ours and draw(st.booleans()):
            url = draw(st.sampled_from(["https://A.test/Pricing", "https://a.test/other"]))
            first = draw(st.integers(3, 9))
            last = draw(st.integers(0, first))
            world.links.append(
                {
                    "message": f"M{number}",
                    "delivery": f"D{number}",
                    "url": url,
                    "first_at": _at(first),
                    "last_at": _at(last),
                }
            )
            world.hits += [
                {
                    "delivery": f"D{number}",
                    "kind": kind,
                    "url": url,
                    "at": _at(day),
                    "by": draw(st.sampled_from(["person", "machine"])),
                }
                for kind, day in draw(
                    st.lists(st.tuples(st.sampled_from(["open", "click"]), st.integers(0, 9)), max_size=3)
                )
            ]
    return world


@st.composite
def spans(draw: st.DrawFn) -> Span:
    days = draw(st.tuples(_DAYS, _DAYS))
    start, end = (None if day is None else NOW - timedelta(days=day) for day in days)
    return Span(start, end)


@st.composite
def facts(draw: st.DrawFn) -> Fact:
    word = draw(st.sampled_from(list(Word)))
    hard = draw(st.none() | st.booleans()) if word is Word.BOUNCED else None
    if word in (Word.OPENED, Word.CLICKED) and draw(st.booleans()):
        return Fact(word=word, least=draw(st.integers(1, 3)), most=draw(st.none() | st.integers(1, 3)))
    link = draw(st.sampled_from(["", "pricing", "nowhere", "a.test"])) if word is Word.CLICKED else ""
    return Fact(word=word, span=draw(spans()), hard=hard, link=link)


@st.composite
def fields(draw: st.DrawFn) -> Field:
    match draw(st.integers(0, 4)):
        case 0:
            text = draw(st.sampled_from(["acme ltd", "ltd", "%", "_"]))
            return Field(
                place=Place.TEXT,
                name=NAME,
                match=draw(st.sampled_from([Match.ONE_OF, Match.CONTAINS, Match.STARTS])),
                texts=(text,),
            )
        case 1:
            match = draw(
                st.sampled_from([Match.ONE_OF, Match.MORE, Match.AT_LEAST, Match.LESS, Match.AT_MOST, Match.FILLED])
            )
            return Field(place=Place.NUMBER, name="amount", match=match, numbers=(float(draw(st.integers(0, 3))),))
        case 2:
            return Field(place=Place.TIME, name="closing_date", match=Match.WITHIN, span=draw(spans()))
        case 3:
            match = draw(st.sampled_from([Match.ONE_OF, Match.FILLED]))
            return Field(
                place=Place.OWNER,
                name="owner",
                match=match,
                texts=tuple(draw(st.sets(st.sampled_from(["U1", "U2"]), min_size=1))),
            )
        case _:
            return Field(place=Place.ID, name="id", match=Match.ONE_OF, texts=("r1", "r9"))


def _some(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(inner, min_size=1, max_size=3).map(tuple)


meanings: st.SearchStrategy[Meaning] = st.recursive(
    st.builds(Mail, all=_some(facts()), none=st.lists(facts(), max_size=2).map(tuple)) | fields(),
    lambda inner: (
        st.builds(meaning.All, _some(inner)) | st.builds(meaning.Any, _some(inner)) | st.builds(Opposite, inner)
    ),
    max_leaves=5,
)


# --- the same, one by one ---


def _in(at: int | None, span: Span) -> bool:
    if at is None:
        return False
    return (span.start is None or at >= to_micros(span.start)) and (span.end is None or at < to_micros(span.end))


def _happened(world: World, one: Fact, row: dict[str, Any]) -> bool:
    if one.word is Word.DELIVERED:
        quiet = (
            bool(row["flags"] & Flag.OURS)
            and row["sent_at"] is not None
            and row["bounced_at"] is None
            and row["failed_at"] is None
            and row["sent_at"] <= to_micros(NOW - AFTER)
        )
        after = AFTER // timedelta(microseconds=1)
        at = row["delivered_at"] if row["delivered_at"] is not None else (row["sent_at"] or 0) + after
        return (row["delivered_at"] is not None or quiet) and _in(at, one.span)
    if row[_TIMED[one.word]] is None:
        return False
    if one.word in (Word.OPENED, Word.CLICKED):
        number = row["opens" if one.word is Word.OPENED else "clicks"]
        if number < one.least or (one.most is not None and number > one.most):
            return False
        kind = "open" if one.word is Word.OPENED else "click"
        times = [
            each["at"]
            for each in world.hits
            if each["delivery"] == row["delivery"]
            and each["kind"] == kind
            and each["by"] == "person"
            and one.link in each["url"].lower()
        ]
        if one.link:
            ours = [
                each for each in world.links if each["delivery"] == row["delivery"] and one.link in each["url"].lower()
            ]
            return any(_ever(each["first_at"], each["last_at"], times, one.span) for each in ours)
        return _ever(row[f"first_{one.word}_at"], row[f"last_{one.word}_at"], times, one.span)
    if one.hard is not None and bool(row["flags"] & Flag.HARD) != one.hard:
        return False
    return _in(row[_TIMED[one.word]], one.span)


def _ever(first: int, last: int, between: Sequence[int], span: Span) -> bool:
    """Of several times the first and the last are known for sure; an open end needs only one of them."""
    if span.start is None or span.end is None:
        return _in(last if span.end is None else first, span)
    if _in(first, span) or _in(last, span):
        return True
    return first < to_micros(span.start) and last >= to_micros(span.end) and any(_in(at, span) for at in between)


def _mail(world: World, node: Mail, id_: str) -> list[dict[str, Any]]:
    return [
        row
        for row in world.facts
        if row["record"] == id_
        and world.sees(row)
        and all(_happened(world, one, row) for one in node.all)
        and not any(_happened(world, one, row) for one in node.none)
    ]


def fits(world: World, node: Meaning, row: dict[str, Any]) -> bool:
    match node:
        case meaning.All(parts):
            return all(fits(world, part, row) for part in parts)
        case meaning.Any(parts):
            return any(fits(world, part, row) for part in parts)
        case Opposite(part):
            return not fits(world, part, row)
        case Mail():
            return bool(_mail(world, node, row["id"]))
        case Field():
            return _field_fits(node, row)


def _field_fits(node: Field, row: dict[str, Any]) -> bool:
    value = row[{NAME: "name"}.get(node.name, node.name)]
    if value is None:
        return False
    match node.match:
        case Match.FILLED:
            return True
        case Match.ONE_OF:
            return value in (node.numbers if node.place is Place.NUMBER else node.texts)
        case Match.CONTAINS:
            return node.texts[0] in value
        case Match.STARTS:
            return bool(value.startswith(node.texts[0]))
        case Match.WITHIN:
            return _in(to_micros(NOW.replace(hour=0) + timedelta(days=value)), node.span)
        case _:
            number = node.numbers[0]
            return bool(
                {">": value > number, ">=": value >= number, "<": value < number, "<=": value <= number}[node.match]
            )


# --- in the database ---


def _put(tx: Tx, world: World) -> None:
    for table in (record, record_field, mail_fact, message_source, message, link_hit, hit, user):
        tx.execute(table.delete())
    if tx.execute(select(organisation.c.id)).first() is None:
        bench.begin(tx)
    for id_, sharing in (("U1", "private"), ("U2", world.shares)):
        tx.execute(
            user.insert().values(
                id=id_,
                org=ORG,
                name=id_,
                role="user",
                active=True,
                settings={},
                created_at=0,
                confirmed=True,
                sharing=sharing,
            )
        )
    at = to_micros(NOW)
    base = {"org": ORG, "module": "deal"}
    for row in world.records:
        tx.execute(
            record.insert().values(
                **base,
                id=row["id"],
                name=row["name"],
                owner=row["owner"],
                fields={},
                source="api",
                created_at=at,
                updated_at=at,
            )
        )
        values: list[tuple[str, dict[str, Any]]] = [(NAME, {"text": row["name"], "start": row["name"]})]
        if row["amount"] is not None:
            values.append(("amount", {"number": row["amount"]}))
        if row["closing_date"] is not None:
            values.append(
                ("closing_date", {"time": to_micros(NOW.replace(hour=0) + timedelta(days=row["closing_date"]))})
            )
        for name, kept in values:
            tx.execute(record_field.insert().values(**base, record=row["id"], field=name, **kept))
    for row in world.facts:
        tx.execute(mail_fact.insert().values(**base, **row))
        tx.execute(
            message.insert().values(
                id=row["message"], org=ORG, direction="out", queue_id="Q", message_id=row["message"], digest=row["message"],
                raw_digest="", raw_size=1, subject="", received_at=row["at"], parents=[], part=0, automatic="", attachments=[],
            )
        )  # fmt: skip
        source = {"message": row["message"], "org": ORG, "at": row["at"], "received_at": row["at"], "channel": "api"}
        tx.execute(message_source.insert().values(**source, arrival=row["message"], user=row["author"] or None))
    for number, row in enumerate(world.links):
        tx.execute(link_hit.insert().values(**row, link=number, org=ORG, clicks=1))
    for number, row in enumerate(world.hits):
        more = {"id": str(number), "org": ORG, "message": "M", "link": 0, "ip": "", "agent": "", "method": "GET"}
        tx.execute(hit.insert().values(**row, **more, headers={}, reasons=[], rules=1))


def _all_pages(tx: Tx, question: Question, terms: Terms) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    after: str | None = ""
    while after is not None:
        page = compiled.find(tx, question, terms, after=after, limit=2)
        assert page.next is None or page.next > after
        found += [(one.record.id, one.message) for one in page.hits]
        after = page.next
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_what_is_found_is_what_a_look_at_everything_finds(
    store: AnyStore, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setattr(bounds, "SMALL", data.draw(st.sampled_from([0, 300])))
    monkeypatch.setattr(bounds, "LOOKED_AT", data.draw(st.sampled_from([1, 3, 2000])))
    monkeypatch.setattr(bounds, "FEW", data.draw(st.sampled_from([0, 2, 10_000])))
    monkeypatch.setattr(bounds, "VERY_FEW", data.draw(st.sampled_from([0, 300])))
    monkeypatch.setattr(bounds, "QUITE_FEW", data.draw(st.sampled_from([0, 2_000])))
    monkeypatch.setattr(bounds, "SCANNED", data.draw(st.sampled_from([1, 2, 60_000])))
    monkeypatch.setattr(bounds, "LINKS", data.draw(st.sampled_from([0, 1, 500])))
    monkeypatch.setattr(bounds, "FEW_CLICKS", data.draw(st.sampled_from([0, 2, 300])))
    monkeypatch.setattr(bounds, "FEW_OF_OTHERS", data.draw(st.sampled_from([0, 2, 4_000])))
    world, where = data.draw(worlds()), data.draw(meanings)
    await store.write(_put, world)
    eyes = Viewer(org=ORG, user=UserId(world.eyes)) if world.eyes else Viewer(org=ORG, all=True)
    terms = Terms(viewer=eyes, now=NOW, delivered_after=AFTER, keep_former=True)
    found = await store.read(_all_pages, Question(module="deal", where=where), terms)
    assert [one for one, _ in found] == [row["id"] for row in world.records if fits(world, where, row)]
    asked = list(page.mails_asked(where))
    for id_, mail in found:
        fitting = [row for one in asked for row in _mail(world, one, id_)]
        newest = max(fitting, key=lambda row: (row["at"], row["message"]), default=None)
        assert mail == (None if newest is None else newest["message"])


QUESTIONS = (
    *bench.QUESTIONS,
    'contacts where address contains "x"',
    "contacts where created this week",
    "deals where stage in (a, b)",
)


async def test_no_question_reads_a_large_table_from_end_to_end(
    store: AnyStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = await factory.org(store, clock)
    await factory.record(store, clock, org, "contact/1", addresses=("bob@customer.test",))
    await factory.record(store, clock, org, "deal/1")
    monkeypatch.setattr(bounds, "SMALL", 0)
    for few in (0, 10_000):
        monkeypatch.setattr(bounds, "FEW", few)
        for viewer in (Viewer(org=org.id, all=True), Viewer(org=org.id)):
            terms = Terms(viewer=viewer, now=NOW, delivered_after=AFTER, keep_former=False)
            for asked in QUESTIONS:
                question = await store.read(_meant, org, asked)
                async with watched(store) as watch:
                    await store.read(compiled.find, question, terms)
                watch.check()


@pytest.mark.parametrize("when", ["before 0001-01-02", "since 0001-01-02", "until 9999-12-31", "after 9999-12-30"])
async def test_delivered_is_asked_of_the_first_and_the_last_days_of_the_calendar(store: AnyStore, when: str) -> None:
    await store.write(bench.begin)
    await store.write(bench.fill, messages=1_000, records=1_000)
    terms = Terms(viewer=Viewer(org=ORG, all=True), now=NOW, delivered_after=AFTER, keep_former=True)
    page = await store.read(compiled.find, await store.read(bench.question, f"contacts where delivered {when}"), terms)
    assert bool(page.hits) == (when in ("since 0001-01-02", "until 9999-12-31"))


async def test_a_link_that_nobody_clicked_is_not_looked_for_in_all_mail(store: AnyStore) -> None:
    """A question is answered whole, and at once, by the addresses that there are: "nowhere" is in none of them (K2)."""
    await store.write(bench.begin)
    await store.write(bench.fill, messages=3_000, records=1_000)
    terms = Terms(viewer=Viewer(org=ORG, all=True), now=NOW, delivered_after=AFTER, keep_former=True)
    clicked = {i * 48271 % 600 for i in range(0, 3_000, 21) if i % 5 < 3 and i % 11 < 3}  # as `fill` has it
    for asked, found in (('contacts where clicked "nowhere"', 0), ('contacts where clicked "/pricing"', len(clicked))):
        question = await store.read(bench.question, asked)
        page = await store.read(compiled.find, question, terms)
        assert (len(page.hits), page.next) == (found, None)
        assert page.way == f"looks at the records by links: {found} entries"


async def test_when_mail_came_in_is_asked_of_the_index_of_the_record(store: AnyStore) -> None:
    """So that of a record with much mail only that of the time is read, however rare the record (K2)."""
    await store.write(bench.begin)
    await store.write(bench.fill, messages=300, records=1_000)
    terms = Terms(viewer=Viewer(org=ORG, all=True), now=NOW, delivered_after=AFTER, keep_former=True)
    question = await store.read(bench.question, 'contacts where title = "director" and received this month')
    async with watched(store) as watch:
        await store.read(compiled.find, question, terms)
    plans = [plan for statement, plan in watch.plans if "candidate" in statement]
    bounded = (
        r"ix_mail_fact_record \(org=\? AND module=\? AND record=\? AND at>\?"
        if store.engine.name == "sqlite"
        else (r"ix_mail_fact_record on mail_fact fact\b.*\n\s+Index Cond: .*\(at >= ")
    )
    assert any(re.search(bounded, plan) for plan in plans), "\n".join(plans)


def _meant(tx: Tx, org: Organisation, asked: str) -> Question:
    known = Known(modules=modules.list_modules(tx, org.id), here=Here(NOW, ZONE), me="U1", user=lambda said: "U1")
    return check(parse(asked), known)
