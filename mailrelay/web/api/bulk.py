"""Records from a file, kept in pieces while it is read, and an answer for each line (R7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import IO, Annotated, BinaryIO, Literal, cast

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import StreamingResponse

from mailrelay import log
from mailrelay.crm.provider.bulk import BadLine, Kept, Row, load_rows, read_csv, read_ndjson
from mailrelay.errors import MailrelayError, Unavailable
from mailrelay.store.records import Change
from mailrelay.web import upload
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Administrator, Caller
from mailrelay.web.shape import Ref, Shown, lines_of
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["records"])
_READERS = {"text/csv": read_csv, "application/x-ndjson": read_ndjson, "application/ndjson": read_ndjson}
_EXAMPLES = {
    "text/csv": "module,id,name,email\ncontact,17,Bob Customer,bob@customer.example\n",
    "application/x-ndjson": '{"module": "contact", "id": "17", "name": "Bob Customer", "email": "bob@customer.example"}\n',
}
_EXAMPLES["application/ndjson"] = _EXAMPLES["application/x-ndjson"]


class ShownKept(Shown):
    """A line whose record is kept, and what that changed."""

    line: int
    ref: Ref
    change: Change


class ShownBadLine(Shown):
    """A line that was left out, and why."""

    line: int
    because: str
    field: Annotated[str, Field(description="The field or column that is wrong; empty where it is the whole line.")]


class ShownSums(Shown):
    """The last line: what became of the lines of the file."""

    created: int
    updated: int
    unchanged: int
    bad: int


class ShownBreak(Shown):
    """The last line of a file that was not read to its end."""

    error: str


@router.post(
    "/records/bulk",
    response_class=StreamingResponse,
    responses={200: lines_of("A line for each line, then the sums.", ShownKept, ShownBadLine, ShownSums, ShownBreak)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {name: {"schema": {"type": "string"}, "example": _EXAMPLES[name]} for name in sorted(_READERS)},
        }
    },
)
async def bulk(app: App, caller: Administrator, request: Request) -> StreamingResponse:
    """Keep the records of a CSV or NDJSON file, a line for each.

    Answers NDJSON, a line for each in their order: `{"line": 2, "ref": "contact/17", "change": "created"}` (or updated, unchanged) for
    what is kept, `{"line": 7, "because": "…", "field": "email"}` for what was left out; at last `{"created": …, "updated": …,
    "unchanged": …, "bad": …}`. What was answered is kept, also where the connection breaks. Without that last line the file was not
    read to its end, and to send it again is safe: what is there already is unchanged. A file may have `http.max_file` bytes.
    """
    reader = upload.kind_of(request, _READERS)
    file = await upload.spooled(request, app.config.data)
    try:
        rows = reader(cast("BinaryIO", file))
        first = await upload.chunk(rows)  # the header's faults are the answer's status
    except BaseException:
        file.close()
        raise
    return StreamingResponse(_load(app, caller, file, first, rows), media_type="application/x-ndjson")


async def _load(
    app: Application,
    caller: Caller,
    file: IO[bytes],
    first: tuple[Row | BadLine, ...],
    rows: Iterator[Row | BadLine],
) -> AsyncIterator[bytes]:
    sums: Counter[Change | Literal["bad"]] = Counter()
    lines = first
    try:
        while lines:
            done = await load_rows(app.store, caller.org, lines, now=app.clock.now())
            sums.update(one.change if isinstance(one, Kept) else "bad" for one in done)
            yield b"".join(_told(one) for one in done)
            lines = await upload.chunk(rows)
    except Unavailable as error:
        yield upload.line({"error": str(error)})
    except MailrelayError:
        log.get().exception("request.failed", method="POST", path="/records/bulk")
        yield upload.line({"error": "the file was not read to its end; the reason is in the log"})
    else:
        yield upload.line({name: sums[name] for name in (*Change, "bad")})
    finally:
        file.close()


def _told(one: Kept | BadLine) -> bytes:
    if isinstance(one, Kept):
        return upload.line({"line": one.line, "ref": str(one.ref), "change": one.change})
    return upload.line({"line": one.line, "because": one.because, "field": one.field})
