"""The exclude list: addresses and domains that are never matched nor created (I5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path

from mailrelay.errors import Invalid
from mailrelay.model.organisation import Exclusion, ExclusionKind
from mailrelay.smtp.address import BadAddress, parse_address, parse_domain
from mailrelay.store import organisations
from mailrelay.web.application import App
from mailrelay.web.identity import Administrator, Reader
from mailrelay.web.shape import Shown
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["exclusions"])
_REGISTRIES = frozenset({"ac", "co", "com", "edu", "gov", "net", "org"})
"""What countries without a flat top level register below: `co.uk`, `com.br`."""
Value = Annotated[str, Path(max_length=320, description="An address, or a domain without `@`.")]


class ShownExclusion(Shown):
    """An entry of the exclude list."""

    kind: ExclusionKind
    value: str


@router.get("/exclusions", response_model=tuple[ShownExclusion, ...])
async def list_all(app: App, caller: Reader) -> Sequence[Exclusion]:
    """The exclude list."""
    return await app.store.read(organisations.exclusions, caller.org)


@router.put("/exclusions/{value}", response_model=ShownExclusion)
async def put(app: App, caller: Administrator, value: Value) -> Exclusion:
    """Put an address or a domain on the list; one that is there already is well."""
    entry = _entry(value)
    if entry.kind is ExclusionKind.DOMAIN and _is_everybodys(entry.value):
        raise Invalid("value", f"{entry.value} is nobody's domain, all of {entry.value} is below it; give one below it")
    await app.store.write(organisations.exclude, caller.org, entry)
    return entry


@router.delete("/exclusions/{value}", status_code=204)
async def remove(app: App, caller: Administrator, value: Value) -> None:
    """Take an entry off the list; one that is not there is well."""
    await app.store.write(organisations.readmit, caller.org, _entry(value))


def _is_everybodys(domain: str) -> bool:
    """Whether strangers register their domains right below it: an entry covers what is below it, so nobody would match."""
    first, _, rest = domain.partition(".")
    return not rest or (first in _REGISTRIES and re.fullmatch("[a-z]{2}", rest) is not None)


def _entry(value: str) -> Exclusion:
    try:
        if "@" in value:
            return Exclusion(kind=ExclusionKind.ADDRESS, value=parse_address(value).key)
        return Exclusion(kind=ExclusionKind.DOMAIN, value=parse_domain(value))
    except BadAddress as error:
        raise Invalid("value", str(error)) from None
