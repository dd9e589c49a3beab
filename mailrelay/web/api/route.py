"""What would happen to a mail to an address now, and why; for the operator."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from mailrelay.config.schema import Route
from mailrelay.ids import OrgId, UserId
from mailrelay.model.quota import QuotaKind
from mailrelay.model.tls import TlsLevel
from mailrelay.outbound.explain import Asked, Explained, sender_of, sender_of_user
from mailrelay.outbound.job import LONGEST_JOB, checked_job
from mailrelay.outbound.policy.forecast import HopFacts, Outcome
from mailrelay.outbound.policy.shaping import Condition
from mailrelay.outbound.policy.tls import DemandMode
from mailrelay.smtp.address import format_address
from mailrelay.store.base import Tx
from mailrelay.web.api.absences import ShownAbsence
from mailrelay.web.api.suppressions import ShownSuppression, given_address
from mailrelay.web.application import App
from mailrelay.web.identity import Reader, the_operator
from mailrelay.web.shape import MailAddress, Shown
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["route"], dependencies=[Depends(the_operator)])


class ShownRouteAddress(Shown):
    """An address of a host; `why` it would not be used, empty when it would."""

    ip: str
    why: str


class ShownRouteHost(Shown):
    """An MX host of the destination; `preference` is null where the domain stands for itself."""

    preference: int | None
    host: str
    addresses: tuple[ShownRouteAddress, ...]
    why: Annotated[str, Field(description="Why it is passed over.")]


class ShownRouteHop(Shown):
    """An address that would be tried, in this order: what is demanded of its TLS, and what it had the last time."""

    host: str
    ip: str
    setting: Annotated[str, Field(description="What our own settings ask of it.")]
    demand: DemandMode
    enforced: bool
    demand_reason: str
    barred: Annotated[str, Field(description="Why nothing may be sent to it.")]
    last: TlsLevel | None
    last_protocol: str
    last_reason: str
    last_since: datetime | None

    @classmethod
    def of(cls, one: HopFacts) -> ShownRouteHop:
        """The hop as it is answered."""
        barred, last = one.demand.barred, one.last
        return cls(
            host=one.host,
            ip=one.ip,
            setting=one.tls,
            demand=one.demand.mode,
            enforced=one.demand.binding,
            demand_reason=one.demand.reason,
            barred="" if barred is None else barred.because,
            last=None if last is None else last.level,
            last_protocol="" if last is None else last.protocol,
            last_reason="" if last is None else last.reason,
            last_since=None if last is None else last.since,
        )


class ShownRouteWay(Shown):
    """The way that it would take, and how much may go there now."""

    site: str
    source: str
    smart_host: Annotated[str, Field(description="Id of the organisation's own smart host.")]
    condition: Condition
    connections_used: int
    connections_allowed: int
    connections_most: int
    messages_per_connection: int
    rate: Annotated[float, Field(description="Messages a minute; 0: no limit.")]
    paused_until: datetime | None
    because: str


class ShownRoutePolicy(Shown):
    """The MTA-STS policy that is kept of the destination."""

    mode: str
    mx: tuple[str, ...]
    fetched_at: datetime
    expires_at: datetime


class ShownRouteSuspension(Shown):
    """What holds such mail."""

    scope: str
    name: str
    since: datetime
    reason: str


class ShownRouteQuota(Shown):
    """What is left of the day's quota."""

    kind: QuotaKind
    limit: int
    used: int
    left: int
    resets_at: datetime


class ShownRoute(Shown):
    """What would happen to a mail now: `sentence` says it, the rest says why."""

    address: str
    sender: str | None
    user: str | None
    job: str
    at: datetime
    outcome: Outcome
    sentence: str
    route: Route
    hosts: tuple[ShownRouteHost, ...]
    hops: tuple[ShownRouteHop, ...]
    way: ShownRouteWay
    policy: ShownRoutePolicy | None
    suspension: ShownRouteSuspension | None
    suppression: ShownSuppression | None
    absence: ShownAbsence | None
    quota: ShownRouteQuota | None
    waiting: Annotated[int, Field(description="Deliveries that wait for the destination, counted up to 10,000.")]
    waiting_complete: Annotated[bool, Field(description="Whether there are no more.")]
    next_due: datetime | None
    parked_until: datetime | None
    parked_because: str


@router.get("/route")
async def show(
    app: App,
    caller: Reader,
    address: Annotated[str, Query(max_length=320, description="The recipient.")],
    sender: Annotated[
        str, Query(alias="from", max_length=320, description="The author: a user's id or an address.")
    ] = "",
    job: Annotated[str, Query(max_length=LONGEST_JOB, description="The job that it would be part of.")] = "",
) -> ShownRoute:
    """What would happen to a mail to an address now, and why.

    Where it would go, over what, and what stands in its way. It asks DNS and policy hosts as an attempt would, and changes nothing.
    Without `from` nothing is said of what depends on the author: their domain's suspension, their own smart host, their source.
    """
    recipient = given_address(address)
    author, user = await app.store.read(_author, caller.org, sender) if sender else (None, None)
    asked = Asked(
        org=caller.org,
        address=recipient,
        sender=author,
        author=user,
        job=checked_job(job, "job") if job else "",
    )
    return _shown(await app.explainer.explain(asked), app.config.delivery.route)


def _author(tx: Tx, org: OrgId, given: str) -> tuple[MailAddress, UserId | None]:
    if "@" in given:
        return sender_of(tx, org, given_address(given))
    return sender_of_user(tx, org, UserId(given))


def _shown(one: Explained, installation: Route) -> ShownRoute:
    facts, pace = one.facts, one.pace
    return ShownRoute(
        address=format_address(one.asked.address),
        sender=None if one.asked.sender is None else format_address(one.asked.sender),
        user=one.asked.author,
        job=one.asked.job,
        at=one.now,
        outcome=one.forecast.outcome,
        sentence=one.forecast.sentence,
        route=Route.SMART_HOST if one.own_host is not None else installation,
        hosts=_all(ShownRouteHost, one.hosts),
        hops=tuple(ShownRouteHop.of(hop) for hop in facts.hops),
        way=ShownRouteWay(
            site=one.way.site,
            source=one.way.source,
            smart_host=one.way.smart_host,
            condition=pace.condition,
            connections_used=pace.used,
            connections_allowed=pace.allowed,
            connections_most=pace.connections,
            messages_per_connection=pace.messages,
            rate=pace.rate,
            paused_until=pace.paused_until,
            because=pace.because,
        ),
        policy=None
        if one.sts is None
        else ShownRoutePolicy(
            mode=one.sts.policy.mode,
            mx=one.sts.policy.mx,
            fetched_at=one.sts.fetched_at,
            expires_at=one.sts.expires_at,
        ),
        suspension=None
        if facts.suspension is None
        else ShownRouteSuspension(
            scope=facts.suspension.sending.scope,
            name=facts.suspension.sending.name,
            since=facts.suspension.since,
            reason=facts.suspension.reason,
        ),
        suppression=None if facts.suppression is None else ShownSuppression.model_validate(facts.suppression),
        absence=None if facts.absence is None else ShownAbsence.model_validate(facts.absence),
        quota=None if facts.quota is None else ShownRouteQuota.model_validate(facts.quota),
        waiting=one.queue.deliveries,
        waiting_complete=one.queue.complete,
        next_due=one.queue.next_due,
        parked_until=facts.parked_until,
        parked_because=facts.parked_because,
    )


def _all(model: type[ShownRouteHost], found: Sequence[object]) -> tuple[ShownRouteHost, ...]:
    return tuple(model.model_validate(one) for one in found)
