"""How much goes to each MX site now, and what it said when it asked for less (O11); of this process, for its operator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from mailrelay.outbound.policy.shaping import Condition
from mailrelay.outbound.shaper import WayState
from mailrelay.web.application import App
from mailrelay.web.identity import the_operator
from mailrelay.web.shape import After, Limit, Page, Paged, Shown, page_of
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["shaping"], dependencies=[Depends(the_operator)])


class ShownWay(Shown):
    """How a site stands, as met from one source."""

    site: Annotated[str, Field(description="Registrable domain of its MX hosts, or the smart host.")]
    source: Annotated[str, Field(description="Egress source; empty for the system's own address.")]
    smart_host: Annotated[str, Field(description="Id of an organisation's own smart host; empty for all else.")]
    condition: Condition
    used: Annotated[int, Field(description="Connections now.")]
    allowed: Annotated[int, Field(description="Connections that may be now; it follows what the site says.")]
    connections: Annotated[int, Field(description="Connections that are never exceeded.")]
    messages: Annotated[int, Field(description="Messages for each connection.")]
    rate: Annotated[float, Field(description="Messages a minute; 0: no limit.")]
    paused_until: datetime | None
    because: Annotated[str, Field(description="What the site said, or what went wrong.")]

    @classmethod
    def of(cls, one: WayState) -> ShownWay:
        """The way as it is answered."""
        return cls(
            site=one.way.site,
            source=one.way.source,
            smart_host=one.way.smart_host,
            condition=one.condition,
            used=one.used,
            allowed=one.allowed,
            connections=one.connections,
            messages=one.messages,
            rate=round(one.rate, 1),
            paused_until=one.paused_until,
            because=one.because,
        )


@router.get("/shaping", response_model=Page[ShownWay])
async def list_all(app: App, after: After = "", limit: Limit = 100) -> Paged[ShownWay]:
    """All sites that mail has gone to lately, up to 10,000, by name."""
    found = [ShownWay.of(one) for one in app.shaper.state()]
    return page_of(found, after=after, limit=limit, cursor=lambda one: f"{one.site} {one.source} {one.smart_host}")
