"""The exclude list: addresses and domains that are never matched nor created (I5)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Path

from mailrelay.errors import Invalid, Unknown
from mailrelay.ids import OrgId
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Exclusion, ExclusionKind
from mailrelay.smtp.address import BadAddress, parse_address, parse_domain
from mailrelay.store import events, organisations
from mailrelay.store.base import Tx
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, IfMatchOrNew, Seen
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Limit, Page, Paged, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["exclusions"])
_REGISTRIES = frozenset({"ac", "co", "com", "edu", "gov", "net", "org"})
"""What countries without a flat top level register below: `co.uk`, `com.br`."""
Value = Annotated[str, Path(max_length=320, description="An address, or a domain without `@`.")]


class ShownExclusion(Shown):
    """An entry of the exclude list."""

    kind: ExclusionKind
    value: str


@router.get("/exclusions", response_model=Page[ShownExclusion])
async def list_all(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[Exclusion]:
    """The exclude list, addresses before domains."""
    last = _entry(after, "after") if after else None
    found = await app.store.read(organisations.exclusions, caller.org, after=last, limit=limit)
    return paged(found, limit=limit, cursor=lambda one: one.value)


@router.put("/exclusions/{value}", response_model=ShownExclusion)
async def put(app: App, caller: Administrator, value: Value, seen: IfMatchOrNew) -> Exclusion:
    """Put an address or a domain on the list; one that is there already is well."""
    entry = _entry(value)
    if entry.kind is ExclusionKind.DOMAIN and _is_everybodys(entry.value):
        raise Invalid("value", f"{entry.value} is nobody's domain, all of {entry.value} is below it; give one below it")
    await app.store.write(_exclude, app, caller, entry, seen)
    return entry


@router.delete("/exclusions/{value}", status_code=204)
async def remove(app: App, caller: Administrator, value: Value, seen: IfMatch) -> None:
    """Take an entry off the list; one that is not there is well."""
    await app.store.write(_readmit, app, caller, _entry(value), seen)


@router.get("/exclusions/{value}", response_model=ShownExclusion)
async def show(app: App, caller: Reader, value: Value) -> Exclusion:
    """One entry of the exclude list, itself; a domain covers what is below it."""
    return await app.store.read(_get, caller.org, _entry(value))


def _get(tx: Tx, org: OrgId, entry: Exclusion) -> Exclusion:
    is_address = entry.kind is ExclusionKind.ADDRESS
    keys, domains = ([entry.value], []) if is_address else ([], [entry.value])
    for found in organisations.excluded(tx, org, keys=keys, domains=domains):
        return found
    raise Unknown(f"{entry.value} is not on the exclude list")


def _exclude(tx: Tx, app: Application, caller: Caller, entry: Exclusion, seen: Seen) -> None:
    org = caller.org
    seen.check(tx, lambda: ShownExclusion.model_validate(_get(tx, org, entry)))
    if not _is_there(tx, org, entry):
        organisations.exclude(tx, org, entry)
        _tell(tx, app, caller, entry, EventType.EXCLUSION_ADDED)


def _readmit(tx: Tx, app: Application, caller: Caller, entry: Exclusion, seen: Seen) -> None:
    org = caller.org
    seen.check(tx, lambda: ShownExclusion.model_validate(_get(tx, org, entry)))
    if _is_there(tx, org, entry):
        organisations.readmit(tx, org, entry)
        _tell(tx, app, caller, entry, EventType.EXCLUSION_REMOVED)


def _is_there(tx: Tx, org: OrgId, entry: Exclusion) -> bool:
    try:
        return _get(tx, org, entry) == entry
    except Unknown:
        return False


def _tell(tx: Tx, app: Application, caller: Caller, entry: Exclusion, type_: EventType) -> None:
    data = {"kind": entry.kind, "value": entry.value, "by": caller.by}
    events.append(tx, org=caller.org, at=app.clock.now(), type=type_, data=data)


def _is_everybodys(domain: str) -> bool:
    """Whether strangers register their domains right below it: an entry covers what is below it, so nobody would match."""
    first, _, rest = domain.partition(".")
    return not rest or (first in _REGISTRIES and re.fullmatch("[a-z]{2}", rest) is not None)


def _entry(value: str, name: str = "value") -> Exclusion:
    try:
        if "@" in value:
            return Exclusion(kind=ExclusionKind.ADDRESS, value=parse_address(value).key)
        return Exclusion(kind=ExclusionKind.DOMAIN, value=parse_domain(value))
    except BadAddress as error:
        raise Invalid(name, str(error)) from None
