"""Records found by their mail and their fields, in one language (K2, docs/find.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import StreamingResponse

from mailrelay.errors import Invalid, MailrelayError, Refusal
from mailrelay.ids import MessageId
from mailrelay.model.record import Record, RecordRef
from mailrelay.query import check, grammar, names
from mailrelay.query.meaning import Question
from mailrelay.query.names import Known
from mailrelay.query.tokens import BadQuery
from mailrelay.query.tree import SYNONYMS, Word
from mailrelay.query.when import Here
from mailrelay.store import compile as compiled
from mailrelay.store import mail_facts, modules, organisations, record_fields, records
from mailrelay.store.base import Tx
from mailrelay.store.compile import Found, Terms
from mailrelay.store.people import find as find_user
from mailrelay.web import upload
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Given, Limit, Ref, Shown, lines_of
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["find"])
_LOOK: Final = 0.05
_LOOKS: Final = 40
"""A question waits so often, for two seconds, for the facts to have come up to now."""
_ENOUGH: Final = 0.025
"""Seconds after which a page that is not full yet is answered as it is."""
_Q = Annotated[
    str,
    Query(
        min_length=1,
        max_length=grammar.LONGEST,
        description="What is wanted, such as `contacts where opened within 3 days`.",
    ),
]
_Explain = Annotated[bool, Query(description="Say how it was found, too.")]


class Asked(Given):
    """A question, for those that are too long for a URL."""

    q: Annotated[str, Field(min_length=1, max_length=grammar.LONGEST)]
    after: Annotated[str, Field(max_length=500)] = ""
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    explain: bool = False


class FoundRecord(Shown):
    """A record, and the newest of its mails that fits; null where nothing was asked of mail."""

    record: Ref
    name: str
    owner: str | None
    message: str | None
    at: datetime | None


class FoundPage(Shown):
    """One page, by record id; it may be short, even empty, and yet not be the last: only where `next` is null is it.

    `as_of`: what happened to mail later is not in it yet.
    """

    items: tuple[FoundRecord, ...]
    next: str | None
    as_of: datetime
    explained: str | None = None


class ShownWord(Shown):
    """A word that speaks of mail."""

    word: str
    means: str
    synonyms: tuple[str, ...]
    takes: tuple[str, ...]


class ShownPlace(Shown):
    """A field that can be named; `aliases` mean the same."""

    name: str
    type: str
    aliases: tuple[str, ...]


class ShownKind(Shown):
    """A module, how it may be called, and its fields."""

    name: str
    label: str
    called: tuple[str, ...]
    fields: tuple[ShownPlace, ...]


class ShownWords(Shown):
    """All that can be said, for editors."""

    words: tuple[ShownWord, ...]
    modules: tuple[ShownKind, ...]
    times: tuple[str, ...]
    comparisons: dict[str, tuple[str, ...]]


class ShownProgress(Shown):
    """How many messages and records have been gone through."""

    messages: int
    records: int


class ShownEnd(ShownProgress):
    """The last line: all of them have."""

    done: bool


class ShownBreak(Shown):
    """The last line where it was not gone on to the end."""

    error: str


@router.get("/find")
async def find(
    app: App, caller: Reader, q: _Q, after: After = "", limit: Limit = 50, explain: _Explain = False
) -> FoundPage:
    """Records by their mail and their fields."""
    return await _find(app, caller, Asked(q=q, after=after, limit=limit, explain=explain))


@router.post("/find")
async def find_long(app: App, caller: Reader, asked: Asked) -> FoundPage:
    """The same for long questions; nothing is changed by it."""
    return await _find(app, caller, asked)


@router.get("/find/words")
async def words(app: App, caller: Reader) -> ShownWords:
    """All that can be said in a question: the words of mail, the modules with their fields, times and comparisons."""
    return await app.store.read(_words, caller)


@router.post(
    "/find/rebuild",
    response_class=StreamingResponse,
    responses={200: lines_of("How far it has come, at last the end.", ShownProgress, ShownEnd, ShownBreak)},
)
async def rebuild(app: App, caller: Administrator) -> StreamingResponse:
    """Make what questions look at anew, of the mail and the records themselves.

    Questions are answered meanwhile. It may be broken off and begun again at any time.
    """
    return StreamingResponse(_rebuild(app, caller), media_type="application/x-ndjson")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    found: Found
    named: dict[RecordRef, Record]


async def _find(app: Application, caller: Caller, asked: Asked) -> FoundPage:
    question, terms = await app.store.read(_meant, caller, asked.q, app.clock.now())
    as_of = await _as_of(app, caller)
    began = app.clock.monotonic()
    items: list[FoundRecord] = []
    after: str | None = asked.after
    way = ""
    while after is not None and len(items) < asked.limit:
        answer = await app.store.read(_answer, question, terms, after=after, limit=asked.limit - len(items))
        items += _shown_hits(answer)
        after, way = answer.found.next, answer.found.way
        if app.clock.monotonic() - began > _ENOUGH:
            break
    return FoundPage(items=tuple(items), next=after, as_of=as_of, explained=way if asked.explain else None)


def _shown_hits(answer: _Answer) -> Iterator[FoundRecord]:
    for hit in answer.found.hits:
        one = answer.named.get(hit.record)
        if one is not None:
            yield FoundRecord(record=hit.record, name=one.name, owner=one.owner, message=hit.message, at=hit.at)


async def _as_of(app: Application, caller: Caller) -> datetime:
    """Until when the facts tell; they are waited for a moment if they do not tell of everything yet."""
    for _ in range(_LOOKS):
        current, at = await app.store.read(mail_facts.as_of, caller.org, now=app.clock.now())
        if current:
            break
        await asyncio.sleep(_LOOK)
    return at


def _meant(tx: Tx, caller: Caller, q: str, now: datetime) -> tuple[Question, Terms]:
    """What is asked, and on what terms. Raises Invalid."""
    org = organisations.get(tx, caller.org)

    def user(said: str) -> str | None:
        try:
            return find_user(tx, caller.org, said).id
        except Refusal:
            return None

    known = Known(
        modules=modules.list_modules(tx, caller.org),
        here=Here(now, ZoneInfo(org.time_zone)),
        me=caller.user or "",
        user=user,
    )
    try:
        question = check.check(grammar.parse(q), known)
    except BadQuery as error:
        raise Invalid("q", str(error)) from None
    terms = Terms(
        viewer=caller.viewer,
        now=now,
        delivered_after=timedelta(days=org.settings.delivered_after_days),
        keep_former=org.settings.keep_former_mail,
    )
    return question, terms


def _answer(tx: Tx, question: Question, terms: Terms, *, after: str, limit: int) -> _Answer:
    found = compiled.find(tx, question, terms, after=after, limit=limit)
    named = records.get_many(tx, terms.viewer.org, [hit.record for hit in found.hits])
    return _Answer(found=found, named={one.ref: one for one in named})


async def _rebuild(app: Application, caller: Caller) -> AsyncIterator[bytes]:
    done = {"messages": 0, "records": 0}
    try:
        for module in await app.store.read(modules.list_modules, caller.org):
            last: str | None = ""
            while last is not None:
                last = await app.store.write(record_fields.made_again, caller.org, module, after=last)
                done["records"] += record_fields.BATCH if last is not None else 0
                yield upload.line(done)
        after: MessageId | None = None
        while True:
            after = await app.store.write(mail_facts.make_again, caller.org, after=after)
            if after is None:
                break
            done["messages"] += mail_facts.BATCH
            yield upload.line(done)
    except MailrelayError as error:
        yield upload.line({"error": str(error)})
    else:
        yield upload.line({**done, "done": True})


# --- what can be said ---

_MEANS = {
    "sent": "it was taken by the next hop, or sent by other means and filed",
    "received": "it came in",
    "delivered": "it was sent and no bounce came back for some days, or a success notice said so",
    "opened": "a person opened it; machines do not count",
    "clicked": "a person followed one of its links",
    "replied": "a person answered it",
    "bounced": "it was refused, or came back",
    "complained": "its reader called it spam",
    "unsubscribed": "its reader unsubscribed by it",
    "deferred": "it was put off, and waits to be tried again",
    "failed": "it could not be offered to anyone, was tried for too long, or was suppressed",
    "scheduled": "it waits for its time",
}
_TIMES = (
    *("today", "yesterday", "tomorrow", "this week", "last month", "next quarter", "within 3 days"),
    *("within the last 3 days", "within the next 3 days", "more than 3 days ago", "less than 3 days ago"),
    *("since 2026-11-01", "before 2026-11-01", "after 2026-11-01", "until 2026-11-01", "on 2026-11-01"),
    "between 2026-11-01 and 2026-11-10",
)
_TEXT = ("=", "!=", "in (…)", "contains", "starts with", "is empty", "is not empty")
_COMPARISONS: dict[str, tuple[str, ...]] = {
    "text": _TEXT,
    "address": _TEXT,
    "owner": ("=", "!=", "in (…)", "is empty", "is not empty"),
    "number": ("=", "!=", "<", "<=", ">", ">=", "in (…)", "is empty", "is not empty"),
    "date": ("=", "!=", "<", "<=", ">", ">=", "in (…)", "is empty", "is not empty", "a time"),
    "time": ("=", "!=", "<", "<=", ">", ">=", "in (…)", "is empty", "is not empty", "a time"),
    "boolean": ("alone", "= true", "= false", "is empty", "is not empty"),
}


def _words(tx: Tx, caller: Caller) -> ShownWords:
    return ShownWords(
        words=tuple(_shown(word) for word in Word),
        modules=tuple(
            ShownKind(
                name=one.name,
                label=one.label,
                called=names.names_of(one),
                fields=tuple(
                    ShownPlace(name=place.name, type=place.type, aliases=place.aliases) for place in names.words_of(one)
                ),
            )
            for one in modules.list_modules(tx, caller.org)
        ),
        times=_TIMES,
        comparisons=_COMPARISONS,
    )


def _shown(word: Word) -> ShownWord:
    takes: Sequence[str] = ("a time",)
    match word:
        case Word.BOUNCED:
            takes = ("hard", "soft", "a time")
        case Word.CLICKED:
            takes = ('"part of a link"', "a count", "a time")
        case Word.OPENED:
            takes = ("a count", "a time")
    also = tuple(name for name, same in SYNONYMS.items() if same is word)
    return ShownWord(word=word, means=_MEANS[word], synonyms=also, takes=tuple(takes))
