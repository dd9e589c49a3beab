"""Notices: what happened to a user's mail that they want to hear of at once, and what they can do about it (I19)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query
from pydantic import Field
from starlette.requests import Request

from mailrelay.errors import Invalid, MailrelayError, NotPermitted
from mailrelay.ids import UserId
from mailrelay.mail.thread import references
from mailrelay.model.event import EventType
from mailrelay.model.message import ParticipantRole
from mailrelay.model.notice import NoticeKind, UserNotice
from mailrelay.store import events, people, user_notices
from mailrelay.store.base import Tx
from mailrelay.store.user_notices import Heard
from mailrelay.store.visibility import Viewer
from mailrelay.web import stream
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import USER_HEADER, Caller, Reader, once_more
from mailrelay.web.shape import After, Given, Limit, MailAddress, Page, Paged, Ref, Shown, paged
from mailrelay.web.stream import EventStream, watching
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["notices"])
_MESSAGES = "/api/v1/messages"
_AT_ONCE = 100
"""Notices that are read and sent in one go."""
_Seq = Annotated[int, Path(ge=1, le=2**62)]


class NoticeAction(Shown):
    """What can be done about a notice: a request to this API, with what is known of its body; the user adds the rest."""

    name: str
    method: str
    path: str
    body: dict[str, Any]


class ShownNotice(Shown):
    """One notice."""

    seq: Annotated[int, Field(description="Of its event; also the id in the stream.")]
    at: datetime
    kind: NoticeKind
    user: str
    sentence: Annotated[str, Field(description="What happened, to be shown as text: parts of it are strangers' words.")]
    who: Annotated[MailAddress | None, Field(description="Who wrote, opened, clicked, or was not reached.")]
    name: str
    subject: str
    message: Annotated[str, Field(description="The mail to act on: what came, else what was sent.")]
    delivery: str
    records: tuple[Ref, ...]
    read: bool
    data: dict[str, str]
    actions: tuple[NoticeAction, ...]

    @classmethod
    def of(cls, one: UserNotice) -> ShownNotice:
        """The notice as it is answered."""
        return cls(
            seq=one.seq,
            at=one.at,
            kind=one.kind,
            user=one.user,
            sentence=one.sentence,
            who=one.who,
            name=one.name,
            subject=one.subject,
            message=one.message,
            delivery=one.delivery,
            records=one.records,
            read=one.read,
            data=dict(one.data),
            actions=_actions(one),
        )


class NoticeSettings(Given):
    """Which kinds of notice the user gets."""

    kinds: Annotated[tuple[NoticeKind, ...], Field(max_length=len(NoticeKind))]


class UpTo(Given):
    """Up to which notice."""

    up_to: Annotated[int, Field(ge=1, le=2**62)]


@router.get("/notices", response_model=Page[ShownNotice])
async def list_all(
    app: App,
    caller: Reader,
    after: After = "",
    limit: Limit = 100,
    unread: Annotated[bool, Query(description="Only what was not read yet.")] = False,
) -> Paged[ShownNotice]:
    """The user's notices, newest first."""
    if after and not (after.isascii() and after.isdigit() and len(after) < 20):
        raise Invalid("after", "must be `next` of the page before")
    found = await app.store.read(_page, _on_behalf(caller), int(after) if after else None, unread, limit)
    return paged(tuple(map(ShownNotice.of, found)), limit=limit, cursor=lambda one: str(one.seq))


@router.get(
    "/notices/stream",
    response_class=EventStream,
    status_code=200,
    responses={
        200: {
            "description": "Server-sent events: `event` is the kind, `data` the notice as in the list, `id` its seq.",
            "content": {stream.MEDIA_TYPE: {"schema": {"type": "string"}}},
        }
    },
)
async def follow(
    app: App,
    caller: Reader,
    request: Request,
    after: Annotated[
        int | None,
        Query(ge=0, le=2**62, description="`seq` of the last notice that you have; by default only new ones."),
    ] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=20, pattern=r"^\d*$", description="As `after`; a browser sends it by itself.")
    ] = None,
) -> EventStream:
    """The user's notices as they happen, by server-sent events; what happened since `Last-Event-ID` comes first."""
    own = _on_behalf(caller)
    seq = int(last_event_id) if last_event_id else after
    newest = await app.store.read(events.newest, caller.org)
    if seq is not None and seq > newest:
        raise Invalid("Last-Event-ID" if last_event_id else "after", f"is past the newest event, {newest}")
    place = ExitStack()
    place.enter_context(
        app.waits.place(request, "stream", own.user)
    )  # before the answer begins, so that too many are told so
    return EventStream(_pieces(app, request, own, newest if seq is None else seq), place)


@router.get("/notices/settings")
async def settings(app: App, caller: Reader) -> NoticeSettings:
    """Which kinds of notice the user gets."""
    return await app.store.read(_settings, _on_behalf(caller))


@router.put("/notices/settings")
async def change_settings(app: App, caller: Reader, given: NoticeSettings, seen: IfMatch) -> NoticeSettings:
    """Say which kinds of notice the user gets, also of what happened already."""
    return await app.store.write(_change_settings, _on_behalf(caller), given, seen, app.clock.now())


@router.post("/notices/read", status_code=204)
async def read_all(app: App, caller: Reader, given: UpTo) -> None:
    """The user has read all notices up to one."""
    own = _on_behalf(caller)
    await app.store.write(user_notices.mark_all_read, own.viewer, own.user, given.up_to)


@router.get("/notices/{seq}")
async def show(app: App, caller: Reader, seq: _Seq) -> ShownNotice:
    """One notice."""
    own = _on_behalf(caller)
    return ShownNotice.of(await app.store.read(user_notices.one, own.viewer, own.user, seq))


@router.post("/notices/{seq}/read", status_code=204)
async def read(app: App, caller: Reader, seq: _Seq) -> None:
    """The user has read a notice."""
    own = _on_behalf(caller)
    await app.store.write(user_notices.mark_read, own.viewer, own.user, seq)


@dataclass(frozen=True, slots=True)
class _Own:
    """Whose notices they are."""

    viewer: Viewer
    user: UserId
    by: str


def _on_behalf(caller: Caller) -> _Own:
    if caller.user is None:
        raise NotPermitted(f"Notices are a user's: use a token of theirs, or name them with {USER_HEADER}")
    return _Own(caller.viewer, caller.user, caller.by)


def _kinds(tx: Tx, own: _Own) -> tuple[NoticeKind, ...]:
    return people.get(tx, own.viewer.org, own.user).settings.notices


def _page(tx: Tx, own: _Own, before: int | None, unread: bool, limit: int) -> tuple[UserNotice, ...]:
    return user_notices.page(tx, own.viewer, own.user, kinds=_kinds(tx, own), before=before, unread=unread, limit=limit)


def _settings(tx: Tx, own: _Own) -> NoticeSettings:
    return NoticeSettings(kinds=_kinds(tx, own))


def _change_settings(tx: Tx, own: _Own, given: NoticeSettings, seen: Seen, at: datetime) -> NoticeSettings:
    seen.check(tx, lambda: _settings(tx, own))
    user = people.get(tx, own.viewer.org, own.user)
    kinds = tuple(kind for kind in NoticeKind if kind in given.kinds)
    if kinds != user.settings.notices:
        people.update_user(tx, replace(user, settings=replace(user.settings, notices=kinds)))
        data = {"user": own.user, "changed": "settings.notices", "by": own.by}
        events.append(tx, org=own.viewer.org, at=at, type=EventType.USER_CHANGED, data=data)
    return NoticeSettings(kinds=kinds)


# --- the stream ---


async def _pieces(app: Application, request: Request, own: _Own, seq: int) -> AsyncIterator[bytes]:
    """What goes to a client, until it goes, may no more, or the daemon stops. It comes again with the last id, and misses nothing."""
    time = asyncio.get_running_loop().time
    try:
        async with watching(app.store, app.stopping, request, own.viewer.org) as watch:
            yield f"retry: 3000\nid: {seq}\n\n".encode()
            said = checked = time()
            while True:
                if time() - checked >= app.waits.check:
                    caller = await once_more(request)
                    if caller.user != own.user:
                        return
                    checked = time()
                heard = await app.store.read(_behind, own, seq)
                for one in heard.notices:
                    data = ShownNotice.of(one).model_dump_json()
                    yield stream.message(seq=one.seq, event=one.kind, data=data)
                    said = time()
                full = len(heard.notices) == _AT_ONCE
                seq = heard.upto
                if time() - said >= app.waits.heartbeat:
                    yield f"id: {seq}\n: still there\n\n".encode()
                    said = time()
                pause = 0 if full else min(app.waits.look, app.waits.heartbeat)
                if not await watch.pause(pause):
                    return
    except MailrelayError:
        return  # the token was revoked, the user is gone, the store is away: the client asks again, and is told


def _behind(tx: Tx, own: _Own, seq: int) -> Heard:
    return user_notices.behind(tx, own.viewer, own.user, seq, kinds=_kinds(tx, own), limit=_AT_ONCE)


# --- actions ---


def _actions(one: UserNotice) -> tuple[NoticeAction, ...]:
    of_mail = f"{_MESSAGES}/{one.message}"
    actions = [
        NoticeAction(name="note", method="POST", path=f"{of_mail}/notes", body={"text": ""}),
        NoticeAction(name="task", method="POST", path=f"{of_mail}/tasks", body={"text": one.sentence, "due_at": None}),
        NoticeAction(name="move", method="POST", path=f"{of_mail}/folder", body={"folder": ""}),
    ]
    # What did not reach somebody is not answered: that would not reach them either.
    if one.kind is not NoticeKind.BOUNCED and one.who is not None:
        actions.insert(0, NoticeAction(name="reply", method="POST", path=_MESSAGES, body=_reply(one)))
    return tuple(actions)


def _reply(one: UserNotice) -> dict[str, Any]:
    mail = one.mail
    subject = mail.subject if mail.subject[:3].lower() == "re:" else f"Re: {mail.subject}".rstrip()
    body: dict[str, Any] = {"to": _answer_to(one), "subject": subject, "text": ""}
    if mail.message_id is not None:
        body |= {"in_reply_to": mail.message_id, "references": list(references(mail))}
    return body


def _answer_to(one: UserNotice) -> list[str]:
    """RFC 5322 §3.6.3: Reply-To where there is one, else who wrote; of a mail of our own, who has it."""
    if one.kind in (NoticeKind.WROTE, NoticeKind.REPLIED):
        for role in (ParticipantRole.REPLY_TO, ParticipantRole.FROM):
            if named := [str(person.address) for person in one.mail.participants if person.role is role]:
                return named
    return [str(one.who)]
