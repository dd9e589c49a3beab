"""Mail that could not be filed and waits for a person: listed, filed, dismissed, released (I23)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from mailrelay.errors import Conflict, Invalid, Unknown
from mailrelay.filing import correct
from mailrelay.ids import OrgId, UnresolvedId
from mailrelay.model.address import Address
from mailrelay.model.decision import HoldReason
from mailrelay.model.record import RecordRef
from mailrelay.store import messages, unresolved
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.store.unresolved import Unresolved
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Given, Limit, MailAddress, Name, Page, Ref, Shown, in_field, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["unresolved"])


class ShownEntry(Shown):
    """An entry of the list. `message` null when the mail could not be read; its bytes are at /arrivals/…/raw."""

    id: str
    arrival: str
    message: str | None
    subject: str
    sender: str
    user: str | None
    reason: str
    explanation: str
    since: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str


class Suggested(Shown):
    """Whom a record could be made of."""

    name: str
    address: MailAddress


class EntryWithHelp(ShownEntry):
    """An entry, and whom a record could be made of, null when nobody offers themselves."""

    suggestion: Suggested | None


class GivenFiling(Given):
    """Onto which records, or of which module to make one; `address` and `name` default to the entry's suggestion."""

    records: tuple[Ref, ...] = Field((), max_length=50)
    create: str | None = Field(None, description="Module of a new record, such as lead.")
    address: MailAddress | None = None
    name: Name | None = None
    owner: str | None = Field(
        None, description="Id or address of its owner; by default whose dropbox the mail came to."
    )


class Filed(Shown):
    """Where it was filed."""

    records: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class _Listed:
    entry: Unresolved
    subject: str
    sender: str


@router.get("/unresolved", response_model=Page[ShownEntry])
async def list_all(
    app: App,
    caller: Reader,
    user: Annotated[str, Query(max_length=320, description="Only mail to the dropbox of this user.")] = "",
    after: After = "",
    limit: Limit = 100,
) -> object:
    """The open entries, oldest first."""
    found = await app.store.read(_list, caller, user, after, limit)
    return paged([_shown(one) for one in found], limit=limit, cursor=lambda one: one.id)


@router.get("/unresolved/{id}")
async def show(app: App, caller: Reader, id: str) -> EntryWithHelp:  # noqa: A002
    """One entry, open or resolved."""
    return await app.store.read(_show, caller, UnresolvedId(id))


@router.post("/unresolved/{id}/file")
async def file(app: App, caller: Administrator, id: str, given: GivenFiling, seen: IfMatch) -> Filed:  # noqa: A002
    """File it on records, or on a new one, and take it off the list."""
    if bool(given.records) == bool(given.create):
        raise Invalid("records", "give either records or create")
    return Filed(records=await app.store.write(_file, app, caller, UnresolvedId(id), given, seen))


@router.post("/unresolved/{id}/dismiss", status_code=204)
async def dismiss(app: App, caller: Administrator, id: str, seen: IfMatch) -> None:  # noqa: A002
    """Decide that it is not to be filed; it is kept, on no record."""
    await app.store.write(_dismiss, app, caller, UnresolvedId(id), seen)


@router.post("/unresolved/{id}/release", status_code=204)
async def release(app: App, caller: Administrator, id: str, seen: IfMatch) -> None:  # noqa: A002
    """Give it back to the rules, its sender permitted this once."""
    await app.store.write(_release, app, caller, UnresolvedId(id), seen)


def _list(tx: Tx, caller: Caller, user: str, after: str, limit: int) -> list[_Listed]:
    org = caller.org
    with in_field("user"):
        whose = find(tx, org, user).id if user else None
    start = UnresolvedId(after) if after else None
    entries = unresolved.list_open(
        tx, org, viewer=caller.viewer, user=whose, after=start, limit=limit, nobodys=caller.installation
    )
    return _with_mail(tx, org, entries)


def _show(tx: Tx, caller: Caller, entry: UnresolvedId) -> EntryWithHelp:
    (listed,) = _with_mail(tx, caller.org, [_seen(tx, caller, entry)])
    offered = correct.suggestion(tx, caller.org, entry)
    return EntryWithHelp(
        **_shown(listed).model_dump(),
        suggestion=None if offered is None else Suggested.model_validate(offered),
    )


def _dismiss(tx: Tx, app: Application, caller: Caller, entry: UnresolvedId, seen: Seen) -> None:
    seen.check(tx, lambda: _show(tx, caller, entry))
    _seen(tx, caller, entry)
    correct.dismiss(tx, caller.org, entry, by=caller.by, ids=app.ids, at=app.clock.now())


def _release(tx: Tx, app: Application, caller: Caller, entry: UnresolvedId, seen: Seen) -> None:
    seen.check(tx, lambda: _show(tx, caller, entry))
    _seen(tx, caller, entry)
    correct.release(tx, caller.org, entry, by=caller.by, at=app.clock.now())


def _seen(tx: Tx, caller: Caller, entry: UnresolvedId) -> Unresolved:
    """The entry. Raises Unknown also for what is not the caller's to see; what may be another organisation's is the operator's alone."""
    found = unresolved.get(tx, caller.org, entry, viewer=caller.viewer)
    if found.reason == HoldReason.UNATTRIBUTED and not caller.installation:
        raise Unknown(f"There is no entry {entry} on the unresolved list")
    return found


def _with_mail(tx: Tx, org: OrgId, entries: Sequence[Unresolved]) -> list[_Listed]:
    found = messages.get_many(tx, org, [entry.message for entry in entries if entry.message is not None])
    known = {message.id: message for message in found}
    listed = []
    for entry in entries:
        message = None if entry.message is None else known.get(entry.message)
        people = () if message is None else message.participants
        sender = next((str(person.address) for person in people if person.role == "from"), "")
        listed.append(_Listed(entry, "" if message is None else message.subject, sender))
    return listed


def _file(
    tx: Tx, app: Application, caller: Caller, entry: UnresolvedId, given: GivenFiling, seen: Seen
) -> tuple[RecordRef, ...]:
    seen.check(tx, lambda: _show(tx, caller, entry))
    now = app.clock.now()
    held = _seen(tx, caller, entry)
    if held.reason == HoldReason.UNATTRIBUTED:
        raise Conflict(f"{entry} may be any organisation's mail, and is put on nobody's records; it can be dismissed")
    if given.create is None:
        with in_field("records"):
            correct.file_unresolved(tx, caller.org, entry, to=given.records, by=caller.by, ids=app.ids, at=now)
        return given.records
    address, name = _whom(tx, caller.org, entry, given)
    with in_field("owner"):
        owner = find(tx, caller.org, given.owner).id if given.owner else held.user
    with in_field("create"):
        made = correct.create_and_file(
            tx,
            caller.org,
            entry,
            module=given.create,
            address=address,
            name=name,
            owner=owner,
            by=caller.by,
            ids=app.ids,
            at=now,
        )
    return (made,)


def _whom(tx: Tx, org: OrgId, entry: UnresolvedId, given: GivenFiling) -> tuple[Address, str]:
    suggestion = correct.suggestion(tx, org, entry)
    if given.address is not None:
        theirs = suggestion.name if suggestion is not None and suggestion.address.key == given.address.key else ""
        return given.address, given.name or theirs or str(given.address)
    if suggestion is None:
        raise Invalid("address", "say whose record to make: nobody in the mail offers themselves")
    return suggestion.address, given.name or suggestion.name or str(suggestion.address)


def _shown(one: _Listed) -> ShownEntry:
    entry = one.entry
    return ShownEntry(
        id=entry.id,
        arrival=entry.arrival,
        message=entry.message,
        subject=one.subject,
        sender=one.sender,
        user=entry.user,
        reason=entry.reason,
        explanation=entry.explanation,
        since=entry.since,
        resolved_at=entry.resolved_at,
        resolved_by=entry.resolved_by,
        resolution=entry.resolution,
    )
