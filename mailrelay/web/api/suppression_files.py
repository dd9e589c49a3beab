"""Suppression lists brought in and taken out as files (O10, I11)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import IO, Annotated, BinaryIO, cast

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from mailrelay import log
from mailrelay.crm import suppressed
from mailrelay.crm.row import BadLine
from mailrelay.crm.suppressed import Entry
from mailrelay.errors import MailrelayError, Unavailable
from mailrelay.model.suppression import Suppression, SuppressionReason
from mailrelay.store import mailing_lists, suppressions
from mailrelay.store.base import Tx
from mailrelay.web import upload
from mailrelay.web.api.suppressions import Lifted, OfReason, Search
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import Shown, lines_of
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["suppressions"])
_PAGE = 1000
_READS: dict[str, Callable[[suppressed.Reader, BinaryIO], Iterator[Entry | BadLine]]] = {
    "text/csv": suppressed.Reader.csv,
    "application/x-ndjson": suppressed.Reader.ndjson,
    "application/ndjson": suppressed.Reader.ndjson,
}


class ShownBadLine(Shown):
    """A line of the file that was left out, and why."""

    line: int
    because: str


class ShownSums(Shown):
    """The last line: what became of the lines of the file, and the columns of it that mean nothing here.

    `lifted` are those that were lifted here after the date that the file gives, and stay so.
    """

    added: int
    unchanged: int
    lifted: int
    bad: int
    ignored: tuple[str, ...]


class ShownBreak(Shown):
    """The last line of a file that was not read to its end."""

    error: str


class ExportedSuppression(Shown):
    """A line of the exported list: `address` can be read again, times are UTC."""

    address: str
    reason: SuppressionReason
    since: datetime
    evidence: str
    by: str
    lifted_at: datetime | None
    lifted_by: str | None
    note: str
    list: str


class Format(StrEnum):
    """Of a file that is written."""

    CSV = "csv"
    NDJSON = "ndjson"


@router.post(
    "/suppressions/import",
    response_class=StreamingResponse,
    responses={200: lines_of("Bad lines, then the sums.", ShownBadLine, ShownSums, ShownBreak)},
    openapi_extra={"requestBody": {"content": {name: {"schema": {"type": "string"}} for name in sorted(_READS)}}},
)
async def import_(
    app: App,
    caller: Administrator,
    request: Request,
    reason: Annotated[
        SuppressionReason | None, Query(description="Of every line, whatever it says; by default each line's own.")
    ] = None,
) -> StreamingResponse:
    """Suppressions from a CSV or NDJSON file, a line for each, with their own dates.

    Answers NDJSON: `{"line": 7, "because": "…"}` for each line that was left out, at last `{"added": …, "unchanged": …,
    "lifted": …, "bad": …, "ignored": […]}`; without that last line the file was not read to its end, and to send it again is
    safe.
    """
    read = upload.kind_of(request, _READS)
    file = await upload.spooled(request, app.config.data)
    lists = await app.store.read(mailing_lists.list_lists, caller.org)
    reader = suppressed.Reader(reason=reason, now=app.clock.now(), lists=[one.name for one in lists])
    try:
        rows = read(reader, cast("BinaryIO", file))
        first = await upload.chunk(rows)  # the header's faults are the answer's status
    except BaseException:
        file.close()
        raise
    loading = _Loading(app, caller, file, reader, rows, first)
    return StreamingResponse(loading.lines(), media_type="application/x-ndjson")


_EXPORTED = lines_of("The list.", ExportedSuppression)
_EXPORTED["content"]["text/csv"] = {"schema": {"type": "string"}}


@router.get("/suppressions/export", response_class=StreamingResponse, responses={200: _EXPORTED})
async def export(
    app: App,
    caller: Reader,
    format: Format = Format.CSV,  # noqa: A002 (the parameter's name)
    search: Search = "",
    reason: OfReason = None,
    lifted: Lifted = False,
) -> StreamingResponse:
    """What holds now as a file, by address; `POST /suppressions/import` reads it again."""

    async def pieces() -> AsyncIterator[bytes]:
        after: tuple[str, datetime] | None = None
        first = True
        while True:
            page = await app.store.read(
                suppressions.list_suppressions,
                caller.org,
                after=after,
                search=search,
                reason=reason,
                lifted=lifted,
                limit=_PAGE,
            )
            yield suppressed.csv_of(page, header=first) if format is Format.CSV else suppressed.ndjson_of(page)
            if len(page) < _PAGE:
                return
            after, first = (page[-1].key, page[-1].since), False

    kind = "text/csv; charset=utf-8" if format is Format.CSV else "application/x-ndjson"
    name = f'attachment; filename="suppressions.{format}"'
    return StreamingResponse(pieces(), media_type=kind, headers={"Content-Disposition": name})


@dataclass(frozen=True, slots=True)
class _Loading:
    """A file that is being read, a transaction for some hundred lines."""

    app: Application
    caller: Caller
    file: IO[bytes]
    reader: suppressed.Reader
    rows: Iterator[Entry | BadLine]
    first: tuple[Entry | BadLine, ...]

    async def lines(self) -> AsyncIterator[bytes]:
        """The answer's lines."""
        counts = dict.fromkeys(("added", "unchanged", "lifted", "bad"), 0)
        rows = self.first
        try:
            while rows:
                good = [row for row in rows if isinstance(row, Entry)]
                for became in await self.app.store.write(self._take, good):
                    counts[became] += 1
                for bad in rows:
                    if isinstance(bad, BadLine):
                        counts["bad"] += 1
                        yield upload.line({"line": bad.line, "because": bad.because})
                rows = await upload.chunk(self.rows)
        except Unavailable as error:
            yield upload.line({"error": str(error)})
        except MailrelayError:
            log.get().exception("request.failed", method="POST", path="/suppressions/import")
            yield upload.line({"error": "the file was not read to its end; the reason is in the log"})
        else:
            yield upload.line({**counts, "ignored": self.reader.ignored})
        finally:
            self.file.close()

    def _take(self, tx: Tx, entries: Sequence[Entry]) -> tuple[suppressions.Taken, ...]:
        now = self.app.clock.now()
        given = [
            Suppression(
                org=self.caller.org,
                key=one.key,
                reason=one.reason,
                since=one.since or now,
                evidence=one.evidence,
                by=one.by or self.caller.by,
                lifted_at=one.lifted_at,
                lifted_by=one.lifted_by,
                note=one.note,
                list=one.list,
            )
            for one in entries
        ]
        return suppressions.take(tx, self.caller.org, given, by=self.caller.by, now=now)
