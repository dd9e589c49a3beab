"""Addresses that must not be sent to: listed, added by hand, lifted (O10)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from mailrelay.errors import Invalid, Unknown
from mailrelay.model.address import Address
from mailrelay.model.suppression import Suppression, SuppressionReason
from mailrelay.smtp.address import BadAddress, parse_address
from mailrelay.store import suppressions
from mailrelay.store.base import Tx
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Given, Limit, MailAddress, Page, Paged, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["suppressions"])
_BY_HAND = "by hand"


class GivenSuppression(Given):
    """An address to suppress, and why."""

    address: MailAddress
    reason: SuppressionReason = SuppressionReason.BY_HAND
    evidence: str = _BY_HAND


class ShownSuppression(Shown):
    """A suppression; `key` is the address as it is compared."""

    key: str
    reason: SuppressionReason
    since: datetime
    evidence: str
    lifted_at: datetime | None


@router.get("/suppressions", response_model=Page[ShownSuppression])
async def list_all(
    app: App,
    caller: Reader,
    search: Annotated[str, Query(max_length=320, description="Part of an address.")] = "",
    after: After = "",
    limit: Limit = 100,
) -> Paged[Suppression]:
    """What holds now, by address."""
    found = await app.store.read(
        suppressions.list_suppressions, caller.org, after=_cursor(after), search=search, limit=limit
    )
    return paged(found, limit=limit, cursor=lambda one: f"{one.key} {one.since.isoformat()}")


@router.post("/suppressions", response_model=tuple[ShownSuppression, ...], status_code=201)
async def add(app: App, caller: Administrator, given: GivenSuppression) -> Sequence[Suppression]:
    """Suppress an address; answers all that now stands against it."""
    return await app.store.write(_add, app, caller, given)


@router.get("/suppressions/{address}", response_model=tuple[ShownSuppression, ...])
async def history(app: App, caller: Reader, address: str) -> Sequence[Suppression]:
    """All that ever stood against an address, lifted or not."""
    return await app.store.read(suppressions.history, caller.org, _given(address).key)


@router.delete("/suppressions/{address}", response_model=tuple[ShownSuppression, ...])
async def lift(
    app: App, caller: Administrator, address: str, reason: SuppressionReason | None = None
) -> Sequence[Suppression]:
    """Let an address be sent to again, from every reason or from one; answers what was lifted."""
    lifted = await app.store.write(
        suppressions.lift, caller.org, _given(address).key, by=caller.by, now=app.clock.now(), reason=reason
    )
    if not lifted:
        raise Unknown(f"{address} is not suppressed")
    return lifted


def _add(tx: Tx, app: Application, caller: Caller, given: GivenSuppression) -> Sequence[Suppression]:
    suppressions.suppress(
        tx,
        org=caller.org,
        key=given.address.key,
        reason=given.reason,
        evidence=given.evidence,
        now=app.clock.now(),
    )
    return suppressions.holding(tx, caller.org, [given.address.key])


def _given(text: str) -> Address:
    try:
        return parse_address(text)
    except BadAddress as error:
        raise Invalid("address", str(error)) from None


def _cursor(after: str) -> tuple[str, datetime] | None:
    if not after:
        return None
    key, _, since = after.rpartition(" ")
    try:
        return key, datetime.fromisoformat(since)
    except ValueError:
        raise Invalid("after", "is not the `next` of a page") from None
