"""Jobs and sending domains whose mail is held: listed with why, suspended by hand, resumed (O17, O18)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from mailrelay.errors import Conflict, Invalid, Unknown
from mailrelay.ids import OrgId
from mailrelay.model.sending import Scope, Sending, Suspension
from mailrelay.outbound.job import checked_job
from mailrelay.smtp.address import BadAddress, parse_domain
from mailrelay.store import deliveries, organisations, people, suspensions
from mailrelay.store.base import Tx
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import After, Given, Limit, Page, Paged, Shown, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["suspensions"])
_BY_HAND = "by hand"
_SHOWN = 20
_Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


class GivenSuspension(Given):
    """A job or a sending domain to hold, and why."""

    scope: Scope
    name: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    reason: _Reason = _BY_HAND


class ShownSuspension(Shown):
    """What holds the mail of a job or domain: `reason` is the sentence, `by` the user, delivery or arrival that did it."""

    scope: Scope
    name: str
    since: datetime
    reason: str
    evidence: str
    by: str
    held: Annotated[int, Field(description="Deliveries that wait for it to be resumed.")]
    resumed_at: datetime | None
    resumed_by: str

    @classmethod
    def of(cls, one: Suspension, held: int) -> ShownSuspension:
        """The suspension as it is answered."""
        return cls(
            scope=one.sending.scope,
            name=one.sending.name,
            since=one.since,
            reason=one.reason,
            evidence=one.evidence,
            by=one.by,
            held=held,
            resumed_at=one.resumed_at,
            resumed_by=one.resumed_by,
        )


@router.get("/suspensions", response_model=Page[ShownSuspension])
async def list_all(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[ShownSuspension]:
    """What is suspended now, with why and how much waits for it."""
    found = await app.store.read(_list, caller.org, sending_of(after), limit)
    return paged(found, limit=limit, cursor=lambda one: f"{one.scope}:{one.name}")


@router.post("/suspensions", status_code=201)
async def suspend(app: App, caller: Administrator, given: GivenSuspension) -> ShownSuspension:
    """Hold all mail of a job or a sending domain until it is resumed. A domain is one of the organisation's or its users'."""
    sending = _named(given.scope, given.name)
    return await app.store.write(_suspend, app, caller, sending, given.reason)


@router.get("/suspensions/{scope}/{name:path}", response_model=tuple[ShownSuspension, ...])
async def history(app: App, caller: Reader, scope: Scope, name: str) -> Sequence[ShownSuspension]:
    """All that ever held a job or domain, oldest first."""
    return await app.store.read(_history, caller.org, _named(scope, name))


@router.post("/suspensions/{scope}/{name:path}/resume")
async def resume(
    app: App,
    caller: Administrator,
    scope: Scope,
    name: str,
) -> ShownSuspension:
    """Let the mail go again; what waited is due at once. What was counted until now is not held against it again."""
    sending = _named(scope, name)
    resumed = await app.store.write(suspensions.resume, caller.org, sending, by=caller.by, at=app.clock.now())
    return ShownSuspension.of(resumed, 0)


def sending_of(after: str) -> Sending | None:
    """The cursor of a page of jobs and domains. Raises Invalid."""
    if not after:
        return None
    scope, _, name = after.partition(":")
    if scope not in tuple(Scope) or not name:
        raise Invalid("after", "is not the `next` of a page")
    return Sending(Scope(scope), name)


def _named(scope: Scope, name: str) -> Sending:
    if scope is Scope.JOB:
        return Sending(scope, checked_job(name, "name"))
    try:
        return Sending(scope, parse_domain(name))
    except BadAddress as error:
        raise Invalid("name", str(error)) from None


def _list(tx: Tx, org: OrgId, after: Sending | None, limit: int) -> list[ShownSuspension]:
    return [
        ShownSuspension.of(one, deliveries.count_held(tx, org, one.sending))
        for one in suspensions.list_standing(tx, org, after=after, limit=limit)
    ]


def _history(tx: Tx, org: OrgId, sending: Sending) -> list[ShownSuspension]:
    found = suspensions.history(tx, org, sending)
    if not found:
        raise Unknown(f"The {sending.scope} {sending.name} was never suspended")
    held = deliveries.count_held(tx, org, sending)
    return [ShownSuspension.of(one, 0 if one.resumed_at else held) for one in found]


def _suspend(tx: Tx, app: Application, caller: Caller, sending: Sending, reason: str) -> ShownSuspension:
    if sending.scope is Scope.DOMAIN:
        _sends_for(tx, app, caller, sending.name)
    made = suspensions.suspend(
        tx, org=caller.org, sending=sending, reason=reason, evidence=_BY_HAND, by=caller.by, at=app.clock.now()
    )
    if made is None:
        raise Conflict(f"The {sending.scope} {sending.name} is suspended already")
    return ShownSuspension.of(made, deliveries.count_held(tx, caller.org, sending))


def _sends_for(tx: Tx, app: Application, caller: Caller, domain: str) -> None:
    """Raises Unknown for a domain that no mail of the organisation can come from: holding it would hold nothing."""
    known = {*organisations.get(tx, caller.org).domains, *people.domains(tx, caller.org)}
    if domain in known or (caller.installation and domain == (app.config.dkim.domain or app.config.inbound.domains[0])):
        return
    shown = ", ".join(sorted(known)[:_SHOWN])
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    raise Unknown(f"The organisation sends no mail for {domain}; its domains are {shown or 'none yet'}{more}")
