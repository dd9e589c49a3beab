"""The ledger: accepted = ended + in flight for every channel, and the messages behind a difference (K8)."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Depends

from mailrelay.model.envelope import Channel
from mailrelay.store import ledger
from mailrelay.upkeep.ledger import Audit
from mailrelay.upkeep.ledger import audit as make_audit
from mailrelay.web.application import App
from mailrelay.web.identity import the_operator
from mailrelay.web.shape import Shown
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["ledger"], dependencies=[Depends(the_operator)])


class ShownBalance(Shown):
    """One channel's sums; `unaccounted` must be 0."""

    channel: Channel
    thing: ledger.Thing
    accepted: int
    ended: int
    in_flight: int
    unaccounted: int


class ShownDiscrepancy(Shown):
    """One message, arrival or delivery that the books do not agree on."""

    id: str
    channel: str
    what: str


class ShownAudit(Shown):
    """The sums, and what the journal and the rows disagree on."""

    balanced: bool
    balances: tuple[ShownBalance, ...]
    discrepancies: tuple[ShownDiscrepancy, ...]


@router.get("/ledger", response_model=tuple[ShownBalance, ...])
async def balance(app: App) -> Sequence[ledger.Balance]:
    """The sums of every channel; of the installation, so for its operator on the Unix socket."""
    return await app.store.read(ledger.balance)


@router.get("/audit", response_model=ShownAudit)
async def audit(app: App) -> Audit:
    """The sums, and each thing that is not where the journal says; reads whole tables."""
    return await make_audit(app.store, app.bodies)
