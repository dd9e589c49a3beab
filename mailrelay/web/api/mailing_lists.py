"""Mailing lists: what mass mail is about, so that people can leave one and keep the others (O15)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import StringConstraints

from mailrelay.model.event import EventType
from mailrelay.model.mailing_list import LONGEST_NAME, NAME, MailingList
from mailrelay.store import events, mailing_lists
from mailrelay.store.base import Tx
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Given, Limit, Name, Page, Paged, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["mailing lists"])
ListName = Annotated[str, StringConstraints(pattern=NAME, max_length=LONGEST_NAME)]
Description = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
InPath = Annotated[str, Path(max_length=LONGEST_NAME, description="Name of a mailing list, such as news.")]


class GivenList(Given):
    """A new mailing list: `name` is what mass mail calls it, `label` and `description` are what people read when they leave it."""

    name: ListName
    label: Name
    description: Description = ""


class ListChange(Given):
    """What to change of a mailing list; what is left out stays."""

    label: Name | None = None
    description: Description | None = None


class ShownList(Shown):
    """A mailing list."""

    name: str
    label: str
    description: str
    created_at: datetime


@router.get("/mailing-lists", response_model=Page[ShownList])
async def list_all(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[MailingList]:
    """The mailing lists, by name."""
    found = await app.store.read(mailing_lists.list_lists, caller.org, after=after, limit=limit)
    return paged(found, limit=limit, cursor=lambda one: one.name)


@router.get("/mailing-lists/{name}", response_model=ShownList)
async def show(app: App, caller: Reader, name: InPath) -> MailingList:
    """One mailing list. Who left it: `GET /suppressions?list=`."""
    return await app.store.read(mailing_lists.get, caller.org, name)


@router.post("/mailing-lists", response_model=ShownList, status_code=201)
async def add(
    app: App, caller: Administrator, given: GivenList, once: Annotated[Once, making("/mailing-lists/{name}")]
) -> MailingList:
    """Make a mailing list. Who left one of this name before has still left it."""
    new = MailingList(
        org=caller.org,
        name=given.name,
        label=given.label,
        description=given.description,
        created_at=app.clock.now(),
    )
    return await once.write(app.store, _add, app, caller, new)


@router.patch("/mailing-lists/{name}", response_model=ShownList)
async def change(app: App, caller: Administrator, name: InPath, given: ListChange, seen: IfMatch) -> MailingList:
    """Change what people read of it."""
    return await app.store.write(_change, app, caller, name, given, seen)


@router.delete("/mailing-lists/{name}", status_code=204)
async def remove(app: App, caller: Administrator, name: InPath, seen: IfMatch) -> None:
    """Remove a mailing list: no more mail is taken for it. Who left it is remembered."""
    await app.store.write(_remove, app, caller, name, seen)


def _add(tx: Tx, app: Application, caller: Caller, new: MailingList) -> MailingList:
    mailing_lists.add(tx, new)
    _tell(tx, app, caller, new.name, "added")
    return mailing_lists.get(tx, new.org, new.name)


def _change(tx: Tx, app: Application, caller: Caller, name: str, given: ListChange, seen: Seen) -> MailingList:
    seen.check(tx, lambda: ShownList.model_validate(mailing_lists.get(tx, caller.org, name)))
    old = mailing_lists.get(tx, caller.org, name)
    new = replace(
        old,
        label=old.label if given.label is None else given.label,
        description=old.description if given.description is None else given.description,
    )
    if new != old:
        mailing_lists.change(tx, new)
        _tell(tx, app, caller, name, "changed")
    return new


def _remove(tx: Tx, app: Application, caller: Caller, name: str, seen: Seen) -> None:
    seen.check(tx, lambda: ShownList.model_validate(mailing_lists.get(tx, caller.org, name)))
    mailing_lists.remove(tx, caller.org, name)
    _tell(tx, app, caller, name, "removed")


def _tell(tx: Tx, app: Application, caller: Caller, name: str, change: str) -> None:
    data = {"list": name, "change": change, "by": caller.by}
    events.append(tx, org=caller.org, at=app.clock.now(), type=EventType.MAILING_LIST_CHANGED, data=data)
