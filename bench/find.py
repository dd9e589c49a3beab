"""What a page of 50 costs that is found by mail, by kind of question: from a million messages on a hundred thousand records (K2).

`python -m bench find [--rows 1000000]`. Milliseconds of the statements, on SQLite and on PostgreSQL, for somebody who sees all and for
one of fifty who see their own; beside them what it costs to read fifty records by their ids, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import select, text

from mailrelay import log
from mailrelay.clock import to_micros
from mailrelay.ids import OrgId, UserId
from mailrelay.model.organisation import Organisation
from mailrelay.model.settings import OrganisationSettings
from mailrelay.query.check import check
from mailrelay.query.grammar import parse
from mailrelay.query.meaning import Question
from mailrelay.query.names import Known
from mailrelay.query.when import Here
from mailrelay.store import compile as compiled
from mailrelay.store import modules, organisations, schema
from mailrelay.store.base import Tx
from mailrelay.store.compile import Terms
from mailrelay.store.mail_facts import Flag
from mailrelay.store.postgres import PostgresStore
from mailrelay.store.sqlite import SqliteStore
from mailrelay.store.tables import record
from mailrelay.store.visibility import Viewer
from tests.support import postgres

AnyStore = SqliteStore | PostgresStore
ORG, ME, NOW = OrgId("O"), UserId("U7"), datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
T = TypeVar("T")
_ROUNDS: Final = 20
_USERS: Final = 50
QUESTIONS: Final = (
    "contacts where opened within 3 days",
    "deals where closing this month and amount > 50000 and opened and not replied",
    "contacts where sent this week and not opened",
    "contacts where bounced within 2 days",
    'contacts where received today or clicked "pricing" since 2026-11-01',
    'contacts where never sent and owner = me and name contains "ltd"',
    "contacts where bounced hard",
    "contacts where opened and not replied",
    "contacts where complained",
    "contacts where opened at least 3 times",
    "contacts where never opened",
    "contacts where delivered yesterday",
    "contacts where opened last month",
    "contacts where opened before 2026-01-01 and replied",
    "contacts where sent within 1 hours and replied",
    'contacts where clicked "nowhere"',
    'contacts where name contains "no such name"',
    'contacts where title = "director" and received this month',
    "contacts where failed this week or bounced this week or complained this week",
    "contacts where not (opened or clicked) and sent last week",
    "deals where amount > 99000 and replied this year",
    "deals where closing within the next 7 days and never opened",
    'deals where stage = "won" and not replied and sent last quarter',
    "contacts where scheduled today",
    "contacts where unsubscribed",
    'contacts where email = "p5@c.test" and opened',
    "contacts where owner = me and opened this week",
    "contacts",
)


def fill(tx: Tx, *, messages: int, records: int) -> None:
    """A year of mail on contacts (three fifths of the records) and deals, spread evenly; what became of it as it usually does."""
    people, deals = records * 3 // 5, records * 2 // 5
    year, now = 365 * 86_400_000_000, to_micros(NOW)
    tx.execute(text("DELETE FROM mail_fact"))
    number = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :rows)"
    pg = tx.dialect == "postgresql"
    if pg:
        number = "WITH n(i) AS (SELECT generate_series(0, CAST(:rows AS bigint) - 1))"
    json, none = ("CAST('{}' AS jsonb)", "CAST('[]' AS jsonb)") if pg else ("'{}'", "'[]'")

    def run(statement: str, rows: int, **given: Any) -> None:
        tx.execute(text(statement.replace("WITH n", number)), {"rows": rows, "now": now, **given})

    def pad(prefix: str, what: str) -> str:
        return (
            f"'{prefix}' || substr('00000000' || CAST({what} AS text), -8)"
            if not pg
            else f"'{prefix}' || lpad(CAST({what} AS text), 8, '0')"
        )

    run(
        f"""INSERT INTO mail_user (id, org, name, role, active, settings, created_at, confirmed, sharing)
        WITH n SELECT 'U' || i, '{ORG}', 'User', 'user', true, {json}, 0, true, 'private' FROM n""",
        _USERS,
    )
    for module, rows in (("contact", people), ("deal", deals)):
        run(
            f"""INSERT INTO record (org, module, id, name, owner, fields, source, created_at, updated_at)
            WITH n SELECT '{ORG}', '{module}', {pad(module[0], "i")},
            CASE WHEN i % 20 = 0 THEN 'Person ' || i || ' Ltd' ELSE 'Person ' || i END,
            'U' || (i % {_USERS}), {json}, 'bulk', :now, :now FROM n""",
            rows,
        )
        run(
            f"""INSERT INTO record_field (org, module, record, field, text, start)
            WITH n SELECT '{ORG}', '{module}', {pad(module[0], "i")}, '\\:name',
            CASE WHEN i % 20 = 0 THEN 'person ' || i || ' ltd' ELSE 'person ' || i END, 'person ' || i FROM n""",
            rows,
        )
    field = f"INSERT INTO record_field (org, module, record, field, {{}}) WITH n SELECT '{ORG}', {{}} FROM n"
    deal, person = f"'deal', {pad('d', 'i')}", f"'contact', {pad('c', 'i')}"
    run(field.format("number", f"{deal}, 'amount', (i * 7919) % 100000"), deals)
    day = 86_400_000_000
    run(field.format("time", f"{deal}, 'closing_date', (:now / {day} + (i * 31) % 360 - 180) * {day}"), deals)
    stages = "CASE i % 4 WHEN 0 THEN 'won' WHEN 1 THEN 'lost' ELSE 'open' END"
    run(field.format("text, start", f"{deal}, 'stage', {stages}, {stages}"), deals)
    titles = "CASE i % 50 WHEN 0 THEN 'director' ELSE 'clerk' END"
    run(field.format("text, start", f"{person}, 'title', {titles}, {titles}"), people)
    run(
        f"""INSERT INTO record_address (org, key, module, record, field, kind, matched, address, domain)
        WITH n SELECT '{ORG}', 'p' || i || '@c.test', 'contact', {pad("c", "i")}, 'email', 'primary', true,
        'p' || i || '@c.test', 'c.test' FROM n""",
        people,
    )
    at = (
        "(:now - (CAST(i AS bigint) * 15485863) % 31536000 * 1000000)"
        if pg
        else "(:now - (i * 15485863) % 31536000 * 1000000)"
    )
    assert year == 31536000 * 1_000_000
    run(
        f"""INSERT INTO message (id, org, direction, queue_id, message_id, digest, raw_digest, raw_size, subject, received_at,
        parents, part, automatic, attachments) WITH n SELECT {pad("M", "i")}, '{ORG}', CASE WHEN i % 5 < 3 THEN 'out' ELSE 'in' END,
        'Q', 'i' || i, 'd' || i, 'r', 1000, 'About it', {at}, {none}, 0, '', {none} FROM n""",
        messages,
    )
    run(
        f"""INSERT INTO message_source (message, arrival, org, channel, "user", at, received_at)
        WITH n SELECT {pad("M", "i")}, 'Q' || i, '{ORG}', 'api', 'U' || (i % {_USERS}), {at}, {at} FROM n""",
        messages,
    )
    for module, first, spread in (("contact", 1, people), ("deal", 3, deals)):
        record = pad(module[0], f"(i * 48271) % {spread}")
        out = "i % 5 < 3"
        opened, clicked, replied = (
            f"{out} AND i % 7 < 2",
            f"{out} AND i % 7 = 0 AND i % 11 < 3",
            f"{out} AND i % 13 = 0",
        )
        bounced, complained, failed = f"{out} AND i % 61 = 5", f"{out} AND i % 5003 = 7", f"{out} AND i % 499 = 3"
        flags = {
            Flag.SENT | Flag.OURS: out,
            Flag.RECEIVED: f"NOT ({out})",
            Flag.OPENED: opened,
            Flag.CLICKED: clicked,
            Flag.REPLIED: replied,
            Flag.BOUNCED: bounced,
            Flag.HARD: f"{bounced} AND i % 2 = 0",
            Flag.COMPLAINED: complained,
            Flag.FAILED: failed,
        }
        summed = " + ".join(f"CASE WHEN {when} THEN {int(flag)} ELSE 0 END" for flag, when in flags.items())

        def when(condition: str, after: int) -> str:
            return f"CASE WHEN {condition} THEN {at} + {after}000000 END"

        run(
            f"""INSERT INTO mail_fact (org, module, record, message, delivery, at, key, flags, sent_at, received_at, bounced_at,
            failed_at, opens, first_opened_at, last_opened_at, clicks, first_clicked_at, last_clicked_at, replied_at, complained_at, author)
            WITH n SELECT '{ORG}', '{module}', {record}, {pad("M", "i")},
            CASE WHEN {out} THEN {pad("D", "i")} ELSE '' END, {at}, '', {summed}, {when(out, 10)}, {when(f"NOT ({out})", 0)},
            {when(bounced, 60)}, {when(failed, 60)}, CASE WHEN {opened} THEN 1 + i % 4 ELSE 0 END, {when(opened, 600)},
            {when(opened, 7200)}, CASE WHEN {clicked} THEN 1 ELSE 0 END, {when(clicked, 700)}, {when(clicked, 700)},
            {when(replied, 9000)}, {when(complained, 9000)}, 'U' || (i % {_USERS}) FROM n WHERE i % {first} = 0""",
            messages,
        )
    run(
        f"""INSERT INTO link_hit (delivery, link, org, message, url, clicks, first_at, last_at)
        WITH n SELECT {pad("D", "i")}, 1, '{ORG}', {pad("M", "i")},
        CASE WHEN i % 3 = 0 THEN 'https://a.test/pricing' ELSE 'https://a.test/more' END, 1, {at} + 700000000, {at} + 700000000
        FROM n WHERE i % 5 < 3 AND i % 7 = 0 AND i % 11 < 3""",
        messages,
    )


def question(tx: Tx, asked: str) -> Question:
    """What is meant, for somebody of the organisation."""
    known = Known(
        modules=modules.list_modules(tx, ORG), here=Here(NOW, ZoneInfo("Europe/Berlin")), me=ME, user=lambda said: None
    )
    return check(parse(asked), known)


def terms(viewer: Viewer) -> Terms:
    """Of somebody who sees all, or their own."""
    return Terms(viewer=viewer, now=NOW, delivered_after=timedelta(days=3), keep_former=True)


def begin(tx: Tx) -> None:
    """The organisation."""
    new = Organisation(
        id=ORG, name="A", time_zone="Europe/Berlin", domains=("a.test",), settings=OrganisationSettings()
    )
    organisations.create(tx, new, now=NOW)


def run(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure on both databases; a record for each."""
    log.configure(level="warning", json=False)
    os.environ.setdefault("MAILRELAY_TEST_BUFFERS", "1GB")  # PostgreSQL with the memory of a small server
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for kind in ("sqlite", "postgresql"):
            url = stack.enter_context(postgres.database(postgres.server(folder))) if kind == "postgresql" else ""
            yield from asyncio.run(_measured(kind, folder, url, options.rows))


async def _measured(kind: str, folder: Path, url: str, rows: int) -> list[dict[str, Any]]:
    store: AnyStore = PostgresStore(url) if url else SqliteStore(folder / "find.db")
    try:
        if not url:
            schema.migrate(store.engine)
        await store.write(begin)
        began = time.perf_counter()
        await store.write(fill, messages=rows, records=max(100, rows // 10))
        if url:
            with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE"))
        print(f"{kind}: {rows} messages in {time.perf_counter() - began:.0f} s")
        found = []
        for who, viewer in (("all", Viewer(org=ORG, all=True)), ("own", Viewer(org=ORG, user=ME))):
            for asked in QUESTIONS:
                found.append(await _ask(store, kind, who, viewer, asked))
                print(
                    "{store:10} {who:4} p50 {p50:7.1f}  p95 {p95:7.1f}  x{ratio:5.1f} {records:3}{more} {asked}\n{pad:32}{way}".format(
                        pad="", **found[-1]
                    )
                )
        return [{"what": "find", "rows": rows, **one} for one in found]
    finally:
        await store.close()


def _by_id(tx: Tx) -> int:
    ids = [f"c{number:08d}" for number in range(50)]
    mine = (record.c.org == ORG, record.c.module == "contact", record.c.id.in_(ids))
    return len(tx.execute(select(record.c.id, record.c.name).where(*mine)).all())


async def _timed(store: AnyStore, fn: Callable[..., T], *args: Any, **kwargs: Any) -> tuple[list[float], T]:
    """Milliseconds of each time, in order, and what came back last."""
    spent = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        found = await store.read(fn, *args, **kwargs)
        spent.append((time.perf_counter() - began) * 1000)
    return sorted(spent), found


async def _ask(store: AnyStore, kind: str, who: str, viewer: Viewer, asked: str) -> dict[str, Any]:
    meant = await store.read(question, asked)
    beside, _ = await _timed(store, _by_id)
    spent, page = await _timed(store, compiled.find, meant, terms(viewer), limit=50)
    return {
        "store": kind,
        "who": who,
        "asked": asked,
        "p50": round(statistics.median(spent), 1),
        "p95": round(spent[int(len(spent) * 0.95) - 1], 1),
        "ratio": round(statistics.median(spent) / statistics.median(beside), 1),
        "records": len(page.hits),
        "more": "+" if page.next else " ",
        "way": page.way,
    }
