"""What persons said to individual tracking (O9): kept as proof, the newest of an address holds, also for mail that was sent before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import StringConstraints

from mailrelay.errors import Unknown
from mailrelay.ids import OrgId
from mailrelay.model.tracking import Consent
from mailrelay.store import consents
from mailrelay.store.base import Tx
from mailrelay.web.api.suppressions import given_address
from mailrelay.web.application import App
from mailrelay.web.etag import IfMatchOrNew
from mailrelay.web.identity import Administrator, Reader
from mailrelay.web.shape import After, Given, Limit, Page, Paged, Shown, page_of, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["tracking"])


class GivenConsent(Given):
    """What a person says: that their opens and clicks may be recorded, or no longer. `evidence` is what an authority would ask for."""

    given: bool
    evidence: Annotated[
        str,
        StringConstraints(
            min_length=1, max_length=2000, strip_whitespace=True, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$"
        ),
    ]


class ShownConsent(Shown):
    """What an address said, and when; `key` is the address as it is compared, `by` who recorded it."""

    key: str
    given: bool
    at: datetime
    by: str
    evidence: str


@router.get("/consents", response_model=Page[ShownConsent])
async def list_all(
    app: App,
    caller: Reader,
    given: Annotated[bool | None, Query(description="Only what is given, or only what was withdrawn.")] = None,
    after: After = "",
    limit: Limit = 100,
) -> Paged[Consent]:
    """The consents that hold now, by address; who never said anything is not listed."""
    found = await app.store.read(consents.list_consents, caller.org, given=given, after=after, limit=limit)
    return paged(found, limit=limit, cursor=lambda one: one.key)


@router.get("/consents/{address}", response_model=ShownConsent)
async def show(app: App, caller: Reader, address: str) -> Consent:
    """What an address said last."""
    return await app.store.read(_standing, caller.org, given_address(address).key)


@router.get("/consents/{address}/history", response_model=Page[ShownConsent])
async def history(app: App, caller: Reader, address: str, after: After = "", limit: Limit = 100) -> Paged[Consent]:
    """All that an address ever said, newest first."""
    found: Sequence[Consent] = await app.store.read(consents.history, caller.org, given_address(address).key)
    return page_of(found, after=after, limit=limit, cursor=lambda one: one.at.isoformat(), newest_first=True)


@router.put("/consents/{address}", response_model=ShownConsent)
async def put(app: App, caller: Administrator, address: str, given: GivenConsent, seen: IfMatchOrNew) -> Consent:
    """Write down what a person says now. It holds at once, and for opens and clicks of mail that they got before.

    The same again, in the same words, changes nothing.
    """
    said = Consent(
        org=caller.org,
        key=given_address(address).key,
        given=given.given,
        at=app.clock.now(),
        by=caller.by,
        evidence=given.evidence,
    )

    def record(tx: Tx) -> Consent:
        seen.check(tx, lambda: ShownConsent.model_validate(_standing(tx, said.org, said.key)))
        last = consents.history(tx, said.org, said.key)[:1]
        if last and (last[0].given, last[0].evidence) == (said.given, said.evidence):
            return last[0]
        return consents.record(tx, said)

    return await app.store.write(record)


def _standing(tx: Tx, org: OrgId, key: str) -> Consent:
    found = consents.history(tx, org, key)
    if not found:
        raise Unknown("This address never said whether it may be tracked")
    return found[0]
