"""Smart hosts of users and sender domains: added with credentials that are never shown again, tried out, removed (O11, W03)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from mailrelay import log
from mailrelay.config import form
from mailrelay.dns.resolver import ask
from mailrelay.errors import Invalid, NotPermitted, Unknown
from mailrelay.ids import SmartHostId, UserId
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Right
from mailrelay.model.reach import Reach
from mailrelay.model.smart_host import HostAuth, HostScope, HostTls, Secrets, SmartHost
from mailrelay.outbound.oauth import bad_endpoint
from mailrelay.outbound.policy import route
from mailrelay.outbound.reach import of_users_hosts
from mailrelay.smtp.address import BadAddress, parse_domain
from mailrelay.store import events, organisations, people, smart_hosts
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import Caller, Reader
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Given, Limit, Page, Paged, Shown, in_field, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["smart hosts"])
_PORTS = (25, 465, 587, 2465, 2525, 2587)
_logger = log.get()

_Line = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Secret = Annotated[str, StringConstraints(max_length=8000, pattern=r"^[^\x00-\x1f\x7f]*$"), Field(repr=False)]


class GivenSmartHost(Given):
    """Where the mail of a user or a domain goes, and what it lets us in by. Credentials go over verified TLS only."""

    scope: HostScope
    name: Annotated[str, StringConstraints(min_length=1, max_length=320)] = Field(
        description="The user, by id or address; or the domain of envelope senders."
    )
    host: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: HostTls = HostTls.REQUIRED
    auth: HostAuth = HostAuth.PASSWORD
    username: _Line = ""
    password: _Secret = ""
    token_url: _Line = Field(
        "", description="Of OAuth 2: the https URL that changes a refresh token into an access token."
    )
    client_id: _Line = ""
    client_secret: _Secret = ""
    refresh_token: _Secret = ""
    token_scope: _Line = ""


class ShownSmartHost(Shown):
    """A smart host; its secrets are shown to nobody. `trouble` says why it refuses us, "" while it takes mail."""

    id: str
    scope: HostScope
    name: str
    host: str
    port: int
    tls: HostTls
    auth: HostAuth
    username: str
    token_url: str
    client_id: str
    token_scope: str
    created_at: datetime
    created_by: str
    trouble: str
    trouble_since: datetime | None


class TriedSmartHost(Shown):
    """Whether it lets us in, at which address, over what; `because` is why not."""

    works: bool
    host: str
    tls: str
    because: str


@router.get("/smart-hosts", response_model=Page[ShownSmartHost])
async def list_all(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[SmartHost]:
    """The organisation's smart hosts, oldest first; of a user who is no administrator, only their own."""
    mine = None if caller.may(Right.ADMIN) or caller.user is None else caller.user
    found = await app.store.read(smart_hosts.list_hosts, caller.org, user=mine, after=after, limit=limit)
    return paged(found, limit=limit, cursor=lambda one: one.id)


@router.post("/smart-hosts", response_model=ShownSmartHost, status_code=201)
async def add(
    app: App, caller: Reader, given: GivenSmartHost, once: Annotated[Once, making("/smart-hosts/{id}")]
) -> SmartHost:
    """Send all mail of a user, or of a sender domain, through a server of theirs.

    A user may do so for themselves, an administrator for anybody; a user's goes before a domain's. Mail that waits goes there too.
    """
    await once.replay(app.store)  # DNS may say otherwise by now
    new = _checked(app, caller, given, whose=await app.store.read(_whose, caller, given))
    await _reachable(app, new.host)
    made = await once.write(app.store, _add, new)
    _logger.info("smart-host.added", org=made.org, smart_host=made.id, of=made.whose, host=made.host, by=caller.by)
    return made


@router.get("/smart-hosts/{smart_host}", response_model=ShownSmartHost)
async def show(app: App, caller: Reader, smart_host: str) -> SmartHost:
    """One smart host, without its secrets."""
    return await app.store.read(_get, caller, smart_host)


@router.post("/smart-hosts/{smart_host}/test", response_model=TriedSmartHost)
async def test(app: App, caller: Reader, smart_host: str) -> TriedSmartHost:
    """Connect to it now and log in; nothing is sent."""
    host = await app.store.read(_mine, caller, smart_host)
    tried = await app.router.test(host)
    return TriedSmartHost(works=not tried.because, host=tried.host, tls=tried.tls, because=tried.because)


@router.delete("/smart-hosts/{smart_host}", status_code=204)
async def remove(app: App, caller: Reader, smart_host: str, seen: IfMatch) -> None:
    """Use it no more, and forget its credentials.

    Mail that waits for it goes the way that it would have gone without.
    """
    host = await app.store.write(_remove, caller, smart_host, seen, app.clock.now())
    _logger.info("smart-host.removed", org=host.org, smart_host=host.id, of=host.whose, by=caller.by)


def _get(tx: Tx, caller: Caller, id_: str) -> SmartHost:
    """Raises Unknown, also for what is another user's."""
    found = smart_hosts.get(tx, caller.org, SmartHostId(id_))
    own = found.scope is HostScope.USER and found.name == caller.user
    if not own and caller.user is not None and not caller.may(Right.ADMIN):
        raise Unknown("There is no such smart host")
    return found


def _add(tx: Tx, new: SmartHost) -> SmartHost:
    smart_hosts.add(tx, new)
    _tell(tx, new, EventType.SMART_HOST_ADDED, at=new.created_at, by=new.created_by)
    return smart_hosts.get(tx, new.org, new.id)


def _remove(tx: Tx, caller: Caller, id_: str, seen: Seen, at: datetime) -> SmartHost:
    seen.check(tx, lambda: ShownSmartHost.model_validate(_get(tx, caller, id_)))
    host = _mine(tx, caller, id_)
    smart_hosts.remove(tx, caller.org, host.id, at=at)
    _tell(tx, host, EventType.SMART_HOST_REMOVED, at=at, by=caller.by)
    return host


def _tell(tx: Tx, host: SmartHost, type_: EventType, *, at: datetime, by: str) -> None:
    data = {"smart_host": host.id, "scope": host.scope, "name": host.name, "host": host.host, "by": by}
    events.append(tx, org=host.org, at=at, type=type_, data=data)


def _mine(tx: Tx, caller: Caller, id_: str) -> SmartHost:
    """One that the caller may change. Raises Unknown, NotPermitted."""
    found = _get(tx, caller, id_)
    _may(caller, found.scope, found.name)
    return found


def _may(caller: Caller, scope: HostScope, name: str) -> None:
    if caller.may(Right.ADMIN) or (scope is HostScope.USER and name == caller.user and caller.may(Right.SEND)):
        return
    raise NotPermitted("A user manages their own smart host, with the right to send; all others are an administrator's")


def _whose(tx: Tx, caller: Caller, given: GivenSmartHost) -> str:
    """The user's id or the domain. Raises Unknown, NotPermitted, Invalid."""
    if given.scope is HostScope.USER:
        with in_field("name"):
            user = find(tx, caller.org, given.name)
        _may(caller, given.scope, user.id)
        return user.id
    _may(caller, given.scope, given.name)
    try:
        domain = parse_domain(given.name)
    except BadAddress as error:
        raise Invalid("name", str(error)) from None
    if domain not in {*organisations.get(tx, caller.org).domains, *people.domains(tx, caller.org)}:
        raise Unknown(f"The organisation sends no mail for {domain}; add it with `mailrelay domain add {domain}`")
    return domain


def _checked(app: Application, caller: Caller, given: GivenSmartHost, *, whose: str) -> SmartHost:
    """The smart host that is asked for, its secrets sealed. Raises Invalid."""
    private = app.config.delivery.allow_private
    try:
        host = form.host(given.host)
    except ValueError as error:
        raise Invalid("host", str(error)) from None
    if given.port not in _PORTS and not private:
        raise Invalid("port", f"must be one at which mail is taken: {', '.join(map(str, _PORTS))}")
    _check_credentials(given, reach=of_users_hosts(app.config.delivery))
    id_ = app.ids.smart_host()
    secrets = Secrets(password=given.password, client_secret=given.client_secret, refresh_token=given.refresh_token)
    return SmartHost(
        id=id_,
        org=caller.org,
        scope=given.scope,
        name=UserId(whose),
        host=host,
        port=given.port,
        tls=given.tls,
        auth=given.auth,
        username=given.username,
        token_url=given.token_url,
        client_id=given.client_id,
        token_scope=given.token_scope,
        secret=app.vault.seal(secrets, id_),
        created_at=app.clock.now(),
        created_by=caller.by,
    )


_FIELDS = {
    HostAuth.NONE: frozenset[str](),
    HostAuth.PASSWORD: frozenset({"username", "password"}),
    HostAuth.OAUTH2: frozenset({"username", "token_url", "client_id", "client_secret", "refresh_token", "token_scope"}),
}
_NEEDED = {
    HostAuth.NONE: (),
    HostAuth.PASSWORD: ("username", "password"),
    HostAuth.OAUTH2: ("username", "token_url", "client_id", "refresh_token"),
}


def _check_credentials(given: GivenSmartHost, *, reach: Reach) -> None:
    """Credentials are whole, and only for a verified host. Raises Invalid."""
    for name in _NEEDED[given.auth]:
        if not getattr(given, name):
            raise Invalid(name, f"is needed for auth {given.auth}")
    for name in sorted(frozenset().union(*_FIELDS.values()) - _FIELDS[given.auth]):
        if getattr(given, name):
            raise Invalid(name, f"is not used by auth {given.auth}")
    if given.auth is not HostAuth.NONE and given.tls not in (HostTls.REQUIRED, HostTls.IMPLICIT):
        raise Invalid("tls", "must be required or implicit: credentials are never sent without verified TLS")
    if given.token_url and (because := bad_endpoint(given.token_url, reach)) is not None:
        raise Invalid("token_url", because)


async def _reachable(app: Application, host: str) -> None:
    """Raises Invalid for a host that has no address now, or only private ones (W03)."""
    found = await ask(route.to_host(host), app.resolver)
    if isinstance(found, route.NoRoute):
        raise Invalid("host", found.reply.text)
    reach = of_users_hosts(app.config.delivery)
    if not any(reach.allows(target.ip) for target in found):
        raise Invalid("host", "is at a private address, which is not allowed here")
