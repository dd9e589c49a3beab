"""Files of records: those of the mail on them, and those that were put there; and what they take (I17)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from mailrelay.errors import Invalid, MemoryShort, Stale
from mailrelay.ids import AttachmentId, Digest, OrgId
from mailrelay.mail import file_name
from mailrelay.model.attachment import Attachments, AttachmentState, Place, RecordAttachment, Storage
from mailrelay.model.record import RecordRef
from mailrelay.store import attachments, contents, organisations, records
from mailrelay.store.base import Tx
from mailrelay.store.contents import Content
from mailrelay.web.api.records import ModuleName, RecordId
from mailrelay.web.application import App, Application
from mailrelay.web.download import A_FILE, served
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import Caller, Reader, Sender
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Limit, Page, Paged, Ref, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["records"])
AttachmentName = Annotated[str, Path(pattern=r"^E[0-9A-Z]{20}$", description="The id of an attachment.")]
FileName = Annotated[
    str, Query(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$", description="What the file is called.")
]
_TRIES = 3
_BYTES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file as it is; its media type is that of the request.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ShownRecordAttachment(Shown):
    """A file of a record. `name` and `type` are its sender's words, and never a path."""

    attachment: Annotated[str, Field(description="Its id.")]
    record: Ref
    message: Annotated[str, Field(description="The mail that it is from; empty for one that was put there.")]
    part: Annotated[str, Field(description="Which part of the mail it is.")]
    name: str
    type: str
    size: int
    sha256: str
    at: datetime
    by: str
    state: AttachmentState
    reason: Annotated[str, Field(description="Why it is not filed yet: storage is full, or what went wrong.")]

    @classmethod
    def of(cls, one: RecordAttachment) -> ShownRecordAttachment:
        """The file as it is answered."""
        return cls(
            attachment=one.id,
            record=one.record,
            message=one.message,
            part=one.part if one.message else "",
            name=one.name,
            type=one.type,
            size=one.size,
            sha256=one.sha256,
            at=one.at,
            by=one.by,
            state=one.state,
            reason=one.reason,
        )


class ShownStorage(Shown):
    """What an organisation's attachments take, each content counted once."""

    used: Annotated[int, Field(description="Bytes.")]
    limit: Annotated[int, Field(description="Bytes that they may take; 0: no limit.")]
    contents: Annotated[int, Field(description="How many different contents.")]
    waiting: Annotated[int, Field(description="Files on their way to their record.")]
    full: Annotated[
        int, Field(description="Files that are not filed because there is no room; they are in their mail.")
    ]
    full_since: Annotated[datetime | None, Field(description="Since when something does not fit.")]


@router.get("/records/{module}/{id}/attachments", response_model=Page[ShownRecordAttachment])
async def list_all(
    app: App,
    caller: Reader,
    module: ModuleName,
    id: RecordId,  # noqa: A002
    after: After = "",
    limit: Limit = 100,
) -> Paged[ShownRecordAttachment]:
    """The files of a record, newest first: those of mail that the caller may see, and those that were put there."""
    found = await app.store.read(_list, caller, RecordRef(module, id), after, limit)
    return paged([ShownRecordAttachment.of(one) for one in found], limit=limit, cursor=lambda one: one.attachment)


@router.post(
    "/records/{module}/{id}/attachments",
    response_model=ShownRecordAttachment,
    status_code=201,
    openapi_extra=_BYTES,
)
async def add(
    app: App,
    caller: Sender,
    request: Request,
    module: ModuleName,
    id: RecordId,  # noqa: A002
    name: FileName,
    once: Annotated[Once, making("/records/{module}/{id}/attachments/{attachment}")],
) -> ShownRecordAttachment:
    """Put a file there, to be sent with mail or only kept."""
    data = await request.body()
    new = RecordAttachment(
        id=app.ids.attachment(),
        org=caller.org,
        record=RecordRef(module, id),
        message="",
        part="",
        name=name,
        type=file_name.media_type(request.headers.get("content-type", "").partition(";")[0]),
        size=len(data),
        sha256=Digest(hashlib.sha256(data).hexdigest()),
        at=app.clock.now(),
        by=caller.by,
        place=Place.FOLDER,
        state=AttachmentState.FILED,
    )
    if not data:
        raise Invalid("body", "is empty; send the file's bytes")
    for left in reversed(range(_TRIES)):
        put = await app.store.read(_where_to, new)
        if not put.kept:
            await app.contents.put(put.place, put.name, data)
        try:
            return await once.write(app.store, _add, replace(new, part=new.id, place=put.place), put)
        except BaseException as error:
            if not put.kept:
                await app.store.write(_not_needed, caller.org, new.sha256, put, app.clock.now())
            if not (isinstance(error, Stale) and left):
                raise
    raise AssertionError  # the last try returns or raises


@router.get("/records/{module}/{id}/attachments/{attachment}")
async def about(
    app: App,
    caller: Reader,
    module: ModuleName,
    id: RecordId,  # noqa: A002
    attachment: AttachmentName,
) -> ShownRecordAttachment:
    """What is known of a file of a record."""
    return await app.store.read(_shown, caller, RecordRef(module, id), AttachmentId(attachment))


@router.get("/records/{module}/{id}/attachments/{attachment}/content", response_class=Response, responses=A_FILE)
async def show(
    app: App,
    caller: Reader,
    request: Request,
    module: ModuleName,
    id: RecordId,  # noqa: A002
    attachment: AttachmentName,
) -> Response:
    """The bytes of a file of a record."""
    one, data = await fetch(app, caller, RecordRef(module, id), AttachmentId(attachment))
    return served(request, data, name=one.name, type=one.type)


@router.delete("/records/{module}/{id}/attachments/{attachment}", status_code=204)
async def remove(
    app: App,
    caller: Sender,
    module: ModuleName,
    id: RecordId,  # noqa: A002
    attachment: AttachmentName,
    seen: IfMatch,
) -> None:
    """Take a file off its record, for good; the mail that it is from keeps it."""
    await app.store.write(_remove, app, caller, RecordRef(module, id), AttachmentId(attachment), seen)


@router.get("/organisation/storage", response_model=ShownStorage)
async def storage(app: App, caller: Reader) -> Storage:
    """What the organisation's attachments take."""
    return await app.store.read(attachments.storage, caller.org)


async def fetch(
    app: Application, caller: Caller, record: RecordRef, name: AttachmentId
) -> tuple[RecordAttachment, bytes]:
    """A file of a record with its bytes. Raises Unknown, Conflict, Unavailable, MemoryShort."""
    one, content = await app.store.read(attachments.where, caller.viewer, record, name)
    if not app.memory.take(one.size):
        raise MemoryShort("Memory is short; try again later")
    try:
        return one, await app.contents.get(content.place, content.name, one.sha256)
    finally:
        app.memory.give_back(one.size)


def _list(tx: Tx, caller: Caller, record: RecordRef, after: str, limit: int) -> tuple[RecordAttachment, ...]:
    records.get(tx, caller.org, record)
    return attachments.of_record(tx, caller.viewer, record, before=after, limit=limit)


def _shown(tx: Tx, caller: Caller, record: RecordRef, name: AttachmentId) -> ShownRecordAttachment:
    return ShownRecordAttachment.of(attachments.get(tx, caller.viewer, record, name))


def _where_to(tx: Tx, new: RecordAttachment) -> Content:
    records.get(tx, new.org, new.record)
    outside = organisations.settings(tx, new.org).attachments is Attachments.STORE
    return contents.next_name(tx, new.org, new.sha256, Place.STORE if outside else Place.FOLDER)


def _add(tx: Tx, new: RecordAttachment, put: Content) -> ShownRecordAttachment:
    limit = organisations.settings(tx, new.org).storage_limit
    return ShownRecordAttachment.of(attachments.add(tx, new, put, limit=limit))


def _not_needed(tx: Tx, org: OrgId, digest: Digest, put: Content, at: datetime) -> None:
    contents.lock(tx, org)
    contents.not_needed(tx, org, digest, put, at=at)


def _remove(tx: Tx, app: Application, caller: Caller, record: RecordRef, name: AttachmentId, seen: Seen) -> None:
    seen.check(tx, lambda: _shown(tx, caller, record, name))
    attachments.remove(tx, caller.viewer, record, name, by=caller.by, at=app.clock.now())
