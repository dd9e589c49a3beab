"""Who is away until when, or gone: what automatic replies said of an address last (I25)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from mailrelay.model.absence import Absence
from mailrelay.store import absences
from mailrelay.web.application import App
from mailrelay.web.identity import Reader
from mailrelay.web.shape import After, Limit, MailAddress, Page, Paged, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["absences"])


class ShownInstead(Shown):
    """Somebody to write to instead; `name` is "" where the reply gave none."""

    name: str
    address: MailAddress


class ShownAbsence(Shown):
    """What the newest automatic reply of an address says; `key` is the address as it is compared.

    `until` is the beginning of the first day back, null when none is named. `message` is the reply.
    """

    key: str
    until: datetime | None
    since: datetime | None
    gone: bool
    noted_at: datetime
    message: str
    instead: tuple[ShownInstead, ...]


@router.get("/absences", response_model=Page[ShownAbsence])
async def list_all(
    app: App,
    caller: Reader,
    search: Annotated[str, Query(max_length=320, description="Part of an address.")] = "",
    after: After = "",
    limit: Limit = 100,
) -> Paged[Absence]:
    """What is noted, past absences too, by address."""
    found = await app.store.read(
        absences.list_absences, caller.org, viewer=caller.viewer, after=after, search=search, limit=limit
    )
    return paged(found, limit=limit, cursor=lambda one: one.key)
