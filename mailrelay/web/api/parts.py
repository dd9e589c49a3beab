"""What is in a mail: its text, its HTML made harmless, its parts and attachments (I17, P04, P11)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from html import escape
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Request
from pydantic import Field
from starlette.responses import Response

from mailrelay.errors import MemoryShort, Unknown
from mailrelay.ids import MessageId
from mailrelay.mail import attached
from mailrelay.mail.message import ParsedMessage, parse
from mailrelay.mail.sanitise import Sanitised, sanitise
from mailrelay.mail.structure import Part
from mailrelay.web.api.messages import readable_message
from mailrelay.web.application import App, Application
from mailrelay.web.download import A_FILE, served
from mailrelay.web.identity import Caller, Reader
from mailrelay.web.once import PREFIX
from mailrelay.web.shape import Shown
from mailrelay.web.strict import StrictRoute

T = TypeVar("T")
router = APIRouter(route_class=StrictRoute, tags=["messages"])
WHOLE = "0"
"""What the mail itself is called among its parts."""
_LARGE = 100_000
"""Bytes from which on a mail is taken apart beside the event loop, and only where memory has room for it."""
_COPIES = 4
_PICTURES = frozenset(("image/png", "image/gif", "image/jpeg", "image/webp"))
_MOST_PICTURES = 8_000_000
"""Bytes of the pictures inside a page, all together; those over it are left out."""
_PAGE_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; sandbox"
)
PartName = Annotated[str, Path(pattern=r"^(0|[1-9][0-9]{0,3}(\.[1-9][0-9]{0,3}){0,60})$", description="`0` or `2.1`.")]
FileName = Annotated[
    str,
    Path(
        pattern=r"^([1-9][0-9]{0,3}|[0-9a-f]{64})$",
        description="Its place among the attachments, from 1, or its sha256.",
    ),
]


class ShownBody(Shown):
    """What a mail says."""

    message: str
    text: Annotated[str, Field(description="The text; where there is none, what a reader sees of the HTML.")]
    html: Annotated[
        str,
        Field(
            description="The HTML without anything that acts or loads; its pictures are links to parts. Empty without HTML."
        ),
    ]
    remote: Annotated[
        tuple[str, ...], Field(description="Images elsewhere that it would have loaded; they are not in it.")
    ]
    shortened: Annotated[bool, Field(description="Whether the HTML is longer than any letter, and not all here.")]


class ShownPart(Shown):
    """A part of a mail, as it says itself; `name` is its sender's word and never a path."""

    part: Annotated[
        str, Field(description="What it is called in paths: `0` the mail itself, `2.1` the first part of the second.")
    ]
    type: str
    name: str
    disposition: Annotated[str, Field(description="attachment, inline, another word, or nothing.")]
    encoding: Annotated[str, Field(description="How it is written in the mail: base64, quoted-printable, …")]
    content_id: Annotated[str, Field(description="What HTML calls it by, without angle brackets.")]
    size: Annotated[int, Field(description="Bytes as written in the mail.")]
    parts: Annotated[tuple[str, ...], Field(description="The parts in it.")]


class ShownParts(Shown):
    """All parts of a mail, each before those in it."""

    message: str
    parts: tuple[ShownPart, ...]
    defects: Annotated[tuple[str, ...], Field(description="What is odd about how the mail is written.")]


class ShownAttachment(Shown):
    """A part that is not shown as text."""

    number: Annotated[int, Field(description="Its place, from 1.")]
    part: Annotated[str, Field(description="Which part of the mail it is.")]
    name: str
    type: str
    size: int
    sha256: str
    file: Annotated[bool, Field(description="Whether it is a file, and no picture in the HTML, signature or report.")]


class ShownAttachments(Shown):
    """The attachments of a mail."""

    message: str
    attachments: tuple[ShownAttachment, ...]


@router.get("/messages/{id}/body")
async def body(app: App, caller: Reader, id: str) -> ShownBody:  # noqa: A002
    """What a mail says, as text and as HTML that can do nothing."""

    def read(parsed: ParsedMessage) -> ShownBody:
        clean = _sanitised(parsed, lambda part: f"{PREFIX}/messages/{id}/parts/{part.path}")
        return ShownBody(message=id, text=parsed.text, html=clean.html, remote=clean.remote, shortened=clean.shortened)

    return await _of(app, caller, id, read)


@router.get(
    "/messages/{id}/body.html",
    response_class=Response,
    responses={200: {"description": "The page.", "content": {"text/html": {"schema": {"type": "string"}}}}},
)
async def page(app: App, caller: Reader, id: str) -> Response:  # noqa: A002
    """What a mail says, as a page that loads nothing: to be shown as it is, in a frame."""
    made = await _of(app, caller, id, _page)
    headers = {
        "Content-Security-Policy": _PAGE_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, no-cache",
    }
    return Response(made, media_type="text/html", headers=headers)


@router.get("/messages/{id}/parts")
async def parts(app: App, caller: Reader, id: str) -> ShownParts:  # noqa: A002
    """The parts of a mail, mails inside it and their parts included."""

    def read(parsed: ParsedMessage) -> ShownParts:
        return ShownParts(message=id, parts=tuple(_shown(part) for part in parsed.root.walk()), defects=parsed.defects)

    return await _of(app, caller, id, read)


@router.get("/messages/{id}/parts/{part}", response_class=Response, responses=A_FILE)
async def one_part(app: App, caller: Reader, request: Request, id: str, part: PartName) -> Response:  # noqa: A002
    """The bytes of a part, decoded; of one that holds parts, as it stands."""

    def read(parsed: ParsedMessage) -> Response:
        wanted = "" if part == WHOLE else part
        found = next((one for one in parsed.root.walk() if one.path == wanted), None)
        if found is None:
            raise Unknown(f"The mail has no part {part}")
        return _saved(request, found)

    return await _of(app, caller, id, read)


@router.get("/messages/{id}/attachments")
async def attachments(app: App, caller: Reader, id: str) -> ShownAttachments:  # noqa: A002
    """The attachments of a mail."""

    def read(parsed: ParsedMessage) -> ShownAttachments:
        filed = {part.path for part in attached.files(parsed)}
        both = zip(parsed.attachment_parts, parsed.attachments, strict=True)
        return ShownAttachments(
            message=id,
            attachments=tuple(
                ShownAttachment(
                    number=number,
                    part=part.path or WHOLE,
                    name=info.name,
                    type=info.type,
                    size=info.size,
                    sha256=info.sha256,
                    file=part.path in filed,
                )
                for number, (part, info) in enumerate(both, start=1)
            ),
        )

    return await _of(app, caller, id, read)


@router.get("/messages/{id}/attachments/{file}", response_class=Response, responses=A_FILE)
async def one_attachment(app: App, caller: Reader, request: Request, id: str, file: FileName) -> Response:  # noqa: A002
    """The bytes of an attachment."""

    def read(parsed: ParsedMessage) -> Response:
        for number, part in enumerate(parsed.attachment_parts, start=1):
            if str(number) == file or (len(file) > 4 and parsed.attachments[number - 1].sha256 == file):
                return _saved(request, part)
        raise Unknown(f"The mail has no attachment {file}")

    return await _of(app, caller, id, read)


async def _of(app: Application, caller: Caller, name: str, read: Callable[[ParsedMessage], T]) -> T:
    """What `read` makes of a mail that the caller may see. Raises Unknown, MemoryShort."""
    message, shows = await app.store.read(readable_message, caller, MessageId(name))
    if message.raw.size < _LARGE:
        return read(parse(shows.of(await app.bodies.read(message.raw))))
    room = message.raw.size * _COPIES
    if not app.memory.take(room):
        raise MemoryShort("Memory is short; try again later")
    try:
        raw = await app.bodies.read(message.raw)
        return await asyncio.to_thread(lambda: read(parse(shows.of(raw))))
    finally:
        app.memory.give_back(room)


def _shown(part: Part) -> ShownPart:
    return ShownPart(
        part=part.path or WHOLE,
        type=part.type,
        name=part.filename,
        disposition=part.disposition,
        encoding=part.encoding[:100],
        content_id=part.content_id[:1000],
        size=part.end - part.start,
        parts=tuple(child.path for child in part.children),
    )


def _saved(request: Request, part: Part) -> Response:
    return served(request, part.decoded(), name=part.filename, type=part.type)


def _sanitised(parsed: ParsedMessage, place: Callable[[Part], str | None]) -> Sanitised:
    """`place` says where a part's picture is to be had."""
    by_id: dict[str, Part] = {}
    for part in parsed.parts:
        if part.type in _PICTURES and part.content_id:
            by_id.setdefault(part.content_id, part)

    def inline(name: str) -> str | None:
        part = by_id.get(name)
        return None if part is None else place(part)

    return sanitise(parsed.html, inline)


def _page(parsed: ParsedMessage) -> bytes:
    left = _MOST_PICTURES
    known: dict[str, str] = {}

    def inside(part: Part) -> str | None:
        nonlocal left
        if part.path not in known:
            data = part.decoded() if part.end - part.start <= left * 2 else b""
            if not data or len(data) > left:
                return None
            known[part.path] = f"data:{part.type};base64,{base64.b64encode(data).decode()}"
        left -= len(known[part.path])  # each time it is shown
        return known[part.path] if left > 0 else None

    text = f'<pre style="white-space:pre-wrap">{escape(parsed.text)}</pre>'
    content = _sanitised(parsed, inside).html if parsed.html_parts else text
    title = escape(parsed.subject)
    head = f'<!doctype html><html><head><meta charset="utf-8"><title>{title}</title></head><body>'
    return f"{head}{content}</body></html>".encode()
