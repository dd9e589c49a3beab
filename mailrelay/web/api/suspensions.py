"""Jobs, sending domains, destinations and sources whose mail is held: listed with why, suspended by hand, resumed (O11, O17, O18).

An administrator stops the mail of the organisation, the operator that of the whole installation; sources are the operator's alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field, StringConstraints

from mailrelay import log
from mailrelay.errors import Conflict, Invalid, NotPermitted, Unknown
from mailrelay.ids import OrgId
from mailrelay.model.sending import EVERYBODY, UNNAMED, Scope, Sending, Suspension
from mailrelay.outbound.job import checked_job
from mailrelay.smtp.address import BadAddress, parse_domain
from mailrelay.store import organisations, people, suspensions
from mailrelay.store.base import Tx
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import OPERATOR, Administrator, Caller, Reader, the_operator
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Given, Limit, Page, Paged, Shown, page_of, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["suspensions"])
_FOR_THE_OPERATOR = [Depends(the_operator)]
_OF_EVERYBODY = "*"
_logger = log.get()
_BY_HAND = "by hand"
_SHOWN = 20
_Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


class GivenSuspension(Given):
    """What to hold, and why."""

    scope: Scope
    name: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    reason: _Reason = _BY_HAND


class ShownSuspension(Shown):
    """What holds mail: `reason` is the sentence, `by` the user, delivery or arrival that did it."""

    scope: Scope
    name: str
    installation: Annotated[bool, Field(description="It holds the mail of all organisations; the operator resumes it.")]
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
            installation=one.org == EVERYBODY,
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
    """What is suspended now, with why and how much waits for it.

    The organisation's own comes first, then what the operator stopped for all.
    """
    found = await app.store.read(_list, caller.org, after, limit)
    return paged(found, limit=limit, cursor=_cursor)


@router.post("/suspensions", status_code=201)
async def suspend(
    app: App,
    caller: Administrator,
    given: GivenSuspension,
    once: Annotated[Once, making("/suspensions/{scope}/{name}", etag=False)],
) -> ShownSuspension:
    """Hold all mail of a job or a sending domain, or all that goes to a destination, until it is resumed.

    A sending domain is one of the organisation's or its users'. A destination is a recipient's domain, or an MX site: the
    registrable domain of MX hosts, such as `google.com` for all whose mail Google takes.
    """
    sending = _own(given.scope, given.name)
    return await once.write(app.store, _suspend, app, caller, sending, given.reason)


@router.get("/suspensions/{scope}/{name:path}", response_model=Page[ShownSuspension])
async def history(
    app: App, caller: Reader, scope: Scope, name: str, after: After = "", limit: Limit = 100
) -> Paged[ShownSuspension]:
    """All that ever held it, oldest first."""
    return await app.store.read(_page, caller.org, _named(scope, name), after, limit)


@router.post("/suspensions/{scope}/{name:path}/resume")
async def resume(
    app: App,
    caller: Administrator,
    scope: Scope,
    name: str,
    seen: IfMatch,
) -> ShownSuspension:
    """Let the mail go again when it is due; the time that it waited is not counted towards its expiry.

    What was counted until now is not held against it again.
    """
    sending = _own(scope, name)
    return await app.store.write(_resume, caller.org, sending, caller.by, app.clock.now(), seen)


@router.get("/installation/suspensions", response_model=Page[ShownSuspension], dependencies=_FOR_THE_OPERATOR)
async def list_everywhere(app: App, after: After = "", limit: Limit = 100) -> Paged[ShownSuspension]:
    """The destinations and sources that are suspended for all organisations; for the operator."""
    last = sending_of(after.removeprefix(_OF_EVERYBODY))
    found = await app.store.read(_standing, EVERYBODY, EVERYBODY, last, limit)
    return paged(found, limit=limit, cursor=_cursor)


@router.post("/installation/suspensions", status_code=201, dependencies=_FOR_THE_OPERATOR)
async def suspend_everywhere(
    app: App,
    given: GivenSuspension,
    once: Annotated[Once, making("/installation/suspensions/{scope}/{name}", etag=False)],
) -> ShownSuspension:
    """Hold all that goes to a destination, or leaves by a source, of all organisations; for the operator.

    What goes by the other sources that serve its sender does so. `default` is the source without a name: the system's own address.
    """
    sending = _everybodys(app, given.scope, given.name)
    made = await once.write(app.store, _begin, EVERYBODY, sending, given.reason, OPERATOR, app.clock.now())
    _logger.warning("sending.suspended", org="", scope=str(sending.scope), name=sending.name, reason=given.reason)
    return made


@router.get(
    "/installation/suspensions/{scope}/{name:path}",
    response_model=Page[ShownSuspension],
    dependencies=_FOR_THE_OPERATOR,
)
async def history_everywhere(
    app: App, scope: Scope, name: str, after: After = "", limit: Limit = 100
) -> Paged[ShownSuspension]:
    """All that ever held it for all organisations, oldest first; for the operator."""
    return await app.store.read(_page, EVERYBODY, _named(scope, name), after, limit)


@router.post("/installation/suspensions/{scope}/{name:path}/resume", dependencies=_FOR_THE_OPERATOR)
async def resume_everywhere(app: App, scope: Scope, name: str, seen: IfMatch) -> ShownSuspension:
    """Let the mail of all organisations go again, unless one of them holds its own; for the operator."""
    sending = _named(scope, name)
    resumed = await app.store.write(_resume, EVERYBODY, sending, OPERATOR, app.clock.now(), seen)
    _logger.info("sending.resumed", org="", scope=str(sending.scope), name=sending.name)
    return resumed


def sending_of(after: str) -> Sending | None:
    """The cursor of a page of jobs and domains. Raises Invalid."""
    if not after:
        return None
    scope, _, name = after.partition(":")
    if scope not in tuple(Scope) or not name:
        raise Invalid("after", "is not the `next` of a page")
    return Sending(Scope(scope), name)


def _cursor(one: ShownSuspension) -> str:
    return f"{_OF_EVERYBODY if one.installation else ''}{one.scope}:{one.name}"


def _named(scope: Scope, name: str) -> Sending:
    if scope is Scope.JOB:
        return Sending(scope, checked_job(name, "name"))
    if scope is Scope.SOURCE:
        return Sending(scope, name)
    try:
        return Sending(scope, parse_domain(name))
    except BadAddress as error:
        raise Invalid("name", str(error)) from None


def _own(scope: Scope, name: str) -> Sending:
    """What an organisation may stop. Raises NotPermitted and Invalid."""
    if scope is Scope.SOURCE:
        raise NotPermitted(
            "Sources carry the mail of all organisations; the operator of the installation suspends them"
        )
    return _named(scope, name)


def _everybodys(app: Application, scope: Scope, name: str) -> Sending:
    """What the operator may stop for all. Raises Invalid, or Unknown for a source that there is not."""
    if scope not in (Scope.DESTINATION, Scope.SOURCE):
        raise Invalid("scope", "must be destination or source; jobs and domains belong to one organisation")
    sending = _named(scope, name)
    sources = (UNNAMED, *(one.name for one in app.config.delivery.sources))
    if scope is Scope.SOURCE and name not in sources:
        raise Unknown(f"There is no source of this name; there are {', '.join(sources)}")
    return sending


def _list(tx: Tx, org: OrgId, after: str, limit: int) -> list[ShownSuspension]:
    found: list[ShownSuspension] = []
    if not after.startswith(_OF_EVERYBODY):
        found += _standing(tx, org, org, sending_of(after), limit)
        after = ""
    if len(found) < limit:
        found += _standing(tx, EVERYBODY, org, sending_of(after.removeprefix(_OF_EVERYBODY)), limit - len(found))
    return found


def _standing(tx: Tx, org: OrgId, whose: OrgId, after: Sending | None, limit: int) -> list[ShownSuspension]:
    """What `org` has suspended, with how much of `whose` mail waits for it."""
    return [
        ShownSuspension.of(one, suspensions.count_held(tx, whose, one.sending))
        for one in suspensions.list_standing(tx, org, after=after, limit=limit)
    ]


def _history(tx: Tx, org: OrgId, sending: Sending) -> list[ShownSuspension]:
    found = [*suspensions.history(tx, org, sending), *(suspensions.history(tx, EVERYBODY, sending) if org else ())]
    if not found:
        raise Unknown(f"The {sending.scope} {sending.name} was never suspended")
    held = suspensions.count_held(tx, org, sending)
    return [ShownSuspension.of(one, 0 if one.resumed_at else held) for one in sorted(found, key=lambda one: one.since)]


def _page(tx: Tx, org: OrgId, sending: Sending, after: str = "", limit: int = 100) -> Paged[ShownSuspension]:
    found = _history(tx, org, sending)
    return page_of(found, after=after, limit=limit, cursor=lambda one: f"{one.since.isoformat()} {one.installation}")


def _suspend(tx: Tx, app: Application, caller: Caller, sending: Sending, reason: str) -> ShownSuspension:
    if sending.scope is Scope.DOMAIN:
        _sends_for(tx, app, caller, sending.name)
    return _begin(tx, caller.org, sending, reason, caller.by, app.clock.now())


def _begin(tx: Tx, org: OrgId, sending: Sending, reason: str, by: str, at: datetime) -> ShownSuspension:
    made = suspensions.suspend(tx, org=org, sending=sending, reason=reason, evidence=_BY_HAND, by=by, at=at)
    if made is None:
        raise Conflict(f"The {sending.scope} {sending.name} is suspended already")
    return ShownSuspension.of(made, suspensions.count_held(tx, org, sending))


def _resume(tx: Tx, org: OrgId, sending: Sending, by: str, at: datetime, seen: Seen) -> ShownSuspension:
    seen.check(tx, lambda: Page[ShownSuspension].model_validate(_page(tx, org, sending)))
    return ShownSuspension.of(suspensions.resume(tx, org, sending, by=by, at=at), 0)


def _sends_for(tx: Tx, app: Application, caller: Caller, domain: str) -> None:
    """Raises Unknown for a domain that no mail of the organisation can come from: holding it would hold nothing."""
    known = {*organisations.get(tx, caller.org).domains, *people.domains(tx, caller.org)}
    if domain in known or (caller.installation and domain == (app.config.dkim.domain or app.config.inbound.domains[0])):
        return
    shown = ", ".join(sorted(known)[:_SHOWN])
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    raise Unknown(f"The organisation sends no mail for {domain}; its domains are {shown or 'none yet'}{more}")
