"""Records of the CRM: kept one by one or by file, listed, and the mail that is on each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import IO, Annotated, BinaryIO, cast

from fastapi import APIRouter, Path, Request
from pydantic import Field, StringConstraints
from starlette.responses import StreamingResponse

from mailrelay import log
from mailrelay.crm.provider.bulk import BadLine, Row, load, read_csv, read_ndjson
from mailrelay.errors import Invalid, MailrelayError, Unavailable
from mailrelay.ids import MessageId
from mailrelay.model.decision import Link
from mailrelay.model.record import AddressKind, Record, RecordAddress, RecordLink, RecordRef
from mailrelay.store import links, modules, records
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web import upload
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Given, Limit, MailAddress, Name, Page, Ref, Shown, lines_of, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["records"])
ModuleName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
RecordId = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/]+$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
_READERS = {"text/csv": read_csv, "application/x-ndjson": read_ndjson, "application/ndjson": read_ndjson}


class GivenLink(Given):
    """A link to another record; `role` is the CRM's word for it."""

    role: Word
    to: Ref


class GivenRecord(Given):
    """A whole record: what is not said it no longer has. `owner` is a user's id or address, `addresses` are by field."""

    name: Name
    owner: str | None = None
    addresses: Mapping[str, MailAddress] = Field(default_factory=dict, max_length=20)
    links: tuple[GivenLink, ...] = Field((), max_length=200)
    fields: Mapping[str, str] = Field(default_factory=dict, max_length=500)


class ShownAddress(Shown):
    """An address of a record and the field it stands in."""

    field: str
    kind: AddressKind
    address: MailAddress


class ShownLink(Shown):
    """A link to another record."""

    role: str
    to: Ref


class ShownRecord(Shown):
    """A record. `source` is "api", "bulk" or the channel whose mail created it."""

    ref: Ref
    name: str
    owner: str | None
    addresses: tuple[ShownAddress, ...]
    links: tuple[ShownLink, ...]
    fields: dict[str, str]
    source: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, one: Record) -> ShownRecord:
        """The record as it is answered."""
        return cls(
            ref=one.ref,
            name=one.name,
            owner=one.owner,
            addresses=tuple(ShownAddress.model_validate(address) for address in one.addresses),
            links=tuple(ShownLink.model_validate(link) for link in one.links),
            fields=dict(one.fields),
            source=one.source,
            created_at=one.created_at,
            updated_at=one.updated_at,
        )


class KeptRecord(ShownRecord):
    """A record, and what became of it: created, updated or unchanged."""

    change: records.Change


class RecordMail(Shown):
    """A message on a record, with the rule that put it there."""

    message: str
    rule: str
    by: str
    guess: bool
    created_at: datetime


class ShownBadLine(Shown):
    """A line of the file that was left out, and why."""

    line: int
    because: str


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
    responses={200: lines_of("Bad lines, then the sums.", ShownBadLine, ShownSums, ShownBreak)},
    openapi_extra={"requestBody": {"content": {name: {"schema": {"type": "string"}} for name in sorted(_READERS)}}},
)
async def bulk(app: App, caller: Administrator, request: Request) -> StreamingResponse:
    """Records from a CSV or NDJSON file, a line for each.

    Answers NDJSON: `{"line": 7, "because": "…"}` for each line that was left out, at last `{"created": …, "updated": …,
    "unchanged": …, "bad": …}`; without that last line the file was not read to its end, and to send it again is safe.
    """
    reader = upload.kind_of(request, _READERS)
    file = await upload.spooled(request)
    try:
        rows = reader(cast("BinaryIO", file))
        first = await upload.chunk(rows)  # the header's faults are the answer's status
    except BaseException:
        file.close()
        raise
    return StreamingResponse(_load(app, caller, file, first, rows), media_type="application/x-ndjson")


@router.get("/records/{module}", response_model=Page[ShownRecord])
async def list_all(app: App, caller: Reader, module: ModuleName, after: After = "", limit: Limit = 100) -> object:
    """A module's records, by id."""
    found = await app.store.read(_list, caller, module, after, limit)
    return paged([ShownRecord.of(one) for one in found], limit=limit, cursor=lambda one: one.ref.id)


@router.get("/records/{module}/{id}")
async def show(app: App, caller: Reader, module: ModuleName, id: RecordId) -> ShownRecord:  # noqa: A002
    """One record."""
    return ShownRecord.of(await app.store.read(records.get, caller.org, RecordRef(module, id)))


@router.put("/records/{module}/{id}")
async def put(
    app: App,
    caller: Administrator,
    module: ModuleName,
    id: RecordId,  # noqa: A002
    given: GivenRecord,
) -> KeptRecord:
    """Keep a record as given, new or changed."""
    change, kept = await app.store.write(_put, app, caller, RecordRef(module, id), given)
    return KeptRecord(**ShownRecord.of(kept).model_dump(), change=change)


@router.delete("/records/{module}/{id}", status_code=204)
async def remove(app: App, caller: Administrator, module: ModuleName, id: RecordId) -> None:  # noqa: A002
    """Forget a record; mail that is on it stays, and still says so."""
    await app.store.write(records.remove, caller.org, RecordRef(module, id))


@router.get("/records/{module}/{id}/messages", response_model=Page[RecordMail])
async def mail(
    app: App,
    caller: Reader,
    module: ModuleName,
    id: RecordId,  # noqa: A002
    after: After = "",
    limit: Limit = 100,
) -> object:
    """The mail on a record, newest first."""
    found: tuple[Link, ...] = await app.store.read(
        links.of_record,
        caller.org,
        RecordRef(module, id),
        viewer=caller.viewer,
        before=MessageId(after) if after else None,
        limit=limit,
    )
    return paged([RecordMail.model_validate(one) for one in found], limit=limit, cursor=lambda one: one.message)


def _list(tx: Tx, caller: Caller, module: str, after: str, limit: int) -> tuple[Record, ...]:
    modules.get(tx, caller.org, module)
    return records.list_records(tx, caller.org, module, after=after, limit=limit)


def _put(tx: Tx, app: Application, caller: Caller, ref: RecordRef, given: GivenRecord) -> tuple[records.Change, Record]:
    now = app.clock.now()
    kinds = {field.name: field.kind for field in modules.get(tx, caller.org, ref.module).address_fields}
    for name in given.addresses:
        if name not in kinds:
            raise Invalid(f"addresses.{name}", f"{ref.module} has no address field {name}; it has {_names(kinds)}")
    for name in given.fields:
        if name in kinds:
            raise Invalid(f"fields.{name}", "is an address field; give it in addresses")
    new = Record(
        org=caller.org,
        ref=ref,
        name=given.name,
        owner=None if given.owner is None else find(tx, caller.org, given.owner).id,
        addresses=tuple(
            RecordAddress(address=address, kind=kinds[name], field=name) for name, address in given.addresses.items()
        ),
        links=tuple(RecordLink(role=link.role, to=link.to) for link in given.links),
        fields=tuple(given.fields.items()),
        source="api",
        created_at=now,
        updated_at=now,
    )
    return records.upsert(tx, new), records.get(tx, caller.org, ref)


def _names(kinds: Mapping[str, AddressKind]) -> str:
    return ", ".join(sorted(kinds)) or "none"


async def _load(
    app: Application,
    caller: Caller,
    file: IO[bytes],
    first: tuple[Row | BadLine, ...],
    rows: Iterator[Row | BadLine],
) -> AsyncIterator[bytes]:
    sums = {"created": 0, "updated": 0, "unchanged": 0, "bad": 0}
    lines = first
    logger = log.get()
    try:
        while lines:
            result = await load(app.store, caller.org, lines, now=app.clock.now())
            for name in ("created", "updated", "unchanged"):
                sums[name] += getattr(result, name)
            sums["bad"] += len(result.bad)
            for bad in result.bad:
                yield upload.line({"line": bad.line, "because": bad.because})
            lines = await upload.chunk(rows)
    except Unavailable as error:
        yield upload.line({"error": str(error)})
    except MailrelayError:
        logger.exception("request.failed", method="POST", path="/records/bulk")
        yield upload.line({"error": "the file was not read to its end; the reason is in the log"})
    else:
        yield upload.line(sums)
    finally:
        file.close()
