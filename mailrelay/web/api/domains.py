"""The organisation's mail domains: their keys, the lines to publish, and whether they have proved themselves (O2, O8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from mailrelay.dns.resolver import ask
from mailrelay.errors import Invalid, NotPermitted, Unknown
from mailrelay.ids import OrgId
from mailrelay.mail.dkim import KeyAlgorithm
from mailrelay.model.event import EventType
from mailrelay.outbound import proof
from mailrelay.smtp.address import BadAddress, parse_domain
from mailrelay.store import dkim_keys, domains, events, organisations
from mailrelay.store.base import Tx
from mailrelay.upkeep import signing
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, IfMatchOrNew, Seen
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Limit, Page, Paged, Shown, Span, page_of, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["domains"])
_OWN = "the installation's own"
_PUBLISHING = timedelta(days=2)
"""How long a new key of a rotation waits before it signs, so that its line can be published."""


def _name(domain: Annotated[str, Path(max_length=255)]) -> str:
    try:
        return parse_domain(domain)
    except BadAddress as error:
        raise Invalid("domain", str(error)) from None


DomainName = Annotated[str, Depends(_name)]


class ShownKey(Shown):
    """A DKIM key without its private half; `dns_line` is what the domain's zone must hold."""

    selector: str
    algorithm: KeyAlgorithm
    created_at: datetime
    active_from: datetime
    retired_at: datetime | None
    dns_name: str
    dns_text: str
    dns_line: str
    public: str


class ShownDomain(Shown):
    """A domain: `proved_at` null until DNS proved it; until then mail leaves as the installation's own domain."""

    domain: str
    proved_at: datetime | None
    proof: str
    keys: tuple[ShownKey, ...]


class ShownCheck(Shown):
    """One thing looked up."""

    what: str
    name: str
    passed: bool
    explanation: str


class ShownProof(Shown):
    """What DNS says of a domain now; `proved` null when it gave no answer."""

    domain: str
    proved: bool | None
    checks: tuple[ShownCheck, ...]


@router.get("/domains", response_model=Page[ShownDomain])
async def list_all(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[ShownDomain]:
    """The domains with their keys, by name; for the operator the installation's own too."""
    return await app.store.read(_list, app, caller, after, limit)


@router.get("/domains/{domain}")
async def show(app: App, caller: Reader, domain: DomainName) -> ShownDomain:
    """One domain."""
    return await app.store.read(_show, app, caller, domain)


@router.put("/domains/{domain}")
async def add(app: App, caller: Administrator, domain: DomainName, seen: IfMatchOrNew) -> ShownDomain:
    """Add a domain of the organisation, with its first keys; one that is there already is well."""
    if not caller.installation and domain in _reserved(app):
        # O2: with it came the keys that sign for every organisation that has not proved itself.
        raise NotPermitted(f"{domain} is the installation's own; only its operator can give it to an organisation")
    known = await app.store.write(_add, app, caller, domain, seen)
    if not known:
        now = app.clock.now()
        await signing.make_keys(app.store, domain, now=now, active_from=now, prefix=app.config.dkim.selector_prefix)
    return await app.store.read(_show, app, caller, domain)


@router.delete("/domains/{domain}", status_code=204)
async def remove(app: App, caller: Administrator, domain: DomainName, seen: IfMatch) -> None:
    """Take a domain from the organisation; its keys are kept for mail under way."""
    await app.store.write(_remove, app, caller, domain, seen)


@router.get("/domains/{domain}/keys", response_model=Page[ShownKey])
async def list_keys(
    app: App, caller: Reader, domain: DomainName, after: After = "", limit: Limit = 100
) -> Paged[ShownKey]:
    """The keys of a domain, by selector, retired ones too."""
    shown = await app.store.read(_show, app, caller, domain)
    return page_of(shown.keys, after=after, limit=limit, cursor=lambda one: one.selector)


@router.get("/domains/{domain}/keys/{selector}")
async def show_key(app: App, caller: Reader, domain: DomainName, selector: str) -> ShownKey:
    """One key of a domain, with the line that its zone must hold."""
    return await app.store.read(_key, app, caller, domain, selector)


@router.post("/domains/{domain}/keys", status_code=201)
async def make_keys(
    app: App,
    caller: Administrator,
    domain: DomainName,
    once: Annotated[Once, making("/domains/{domain}/keys", etag=False)],
    active_in: Annotated[
        Span | None, Query(description="When they begin to sign; by default 2d, or at once for the first.")
    ] = None,
) -> tuple[ShownKey, ...]:
    """Make this month's keys, RSA and Ed25519; the old ones sign until the new ones do."""
    await app.store.read(_show, app, caller, domain)
    now = app.clock.now()
    standing = await app.store.read(dkim_keys.active, domain, now=now)
    if active_in is None:
        active_in = _PUBLISHING if standing else timedelta()
    made = await signing.generate(
        domain, day=now.date(), now=now, active_from=now + active_in, prefix=app.config.dkim.selector_prefix
    )
    return await once.write(app.store, _keep, made, app, caller, domain)


@router.delete("/domains/{domain}/keys/{selector}", status_code=204)
async def retire(app: App, caller: Administrator, domain: DomainName, selector: str, seen: IfMatch) -> None:
    """Let a key sign no more; leave its line in DNS for a week, for mail under way."""
    await app.store.write(_retire, app, caller, domain, selector, seen)


@router.post("/domains/{domain}/proof", response_model=ShownProof)
async def prove(app: App, caller: Administrator, domain: DomainName) -> proof.Proof:
    """Look the domain up in DNS now, and keep the verdict."""
    shown = await app.store.read(_show, app, caller, domain)
    now = app.clock.now()
    signing = {
        key.selector: key.public
        for key in shown.keys
        if key.active_from <= now and (key.retired_at is None or key.retired_at > now)
    }
    found = await ask(proof.prove(domain, signing), app.resolver)
    if found.proved is not None and not _is_installations(app, domain):
        await app.store.write(
            _note_proof,
            app,
            caller,
            domain,
            proved_at=now if found.proved else None,
            proof=found.explanation,
        )
    return found


def _installation_domain(app: Application) -> str:
    return app.config.dkim.domain or app.config.inbound.domains[0]


def _reserved(app: Application) -> frozenset[str]:
    inbound = app.config.inbound
    return frozenset((_installation_domain(app), *inbound.domains, inbound.bounce_domain))


def _is_installations(app: Application, domain: str) -> bool:
    return domain == _installation_domain(app)


def _list(tx: Tx, app: Application, caller: Caller, after: str, limit: int) -> Paged[ShownDomain]:
    states = list(domains.list_domains(tx, caller.org, after=after, limit=limit))
    own = _installation_domain(app)
    if caller.installation and own > after and organisations.by_domain(tx, own) != caller.org:
        states.append(_of_the_installation(own, caller.org))
        states = sorted(states, key=lambda one: one.domain)[:limit]
    return paged([_described(tx, state) for state in states], limit=limit, cursor=lambda one: one.domain)


def _show(tx: Tx, app: Application, caller: Caller, domain: str) -> ShownDomain:
    state = domains.get(tx, caller.org, domain)
    if state is None and caller.installation and _is_installations(app, domain):
        state = _of_the_installation(domain, caller.org)
    if state is None:
        raise Unknown(f"The organisation has no domain {domain}")
    return _described(tx, state)


def _of_the_installation(domain: str, org: OrgId) -> domains.DomainState:
    return domains.DomainState(domain=domain, org=org, proved_at=None, proof=_OWN)


def _described(tx: Tx, state: domains.DomainState) -> ShownDomain:
    return ShownDomain(
        domain=state.domain,
        proved_at=state.proved_at,
        proof=state.proof,
        keys=tuple(_shown(key) for key in dkim_keys.list_keys(tx, state.domain)),
    )


def _key(tx: Tx, app: Application, caller: Caller, domain: str, selector: str) -> ShownKey:
    for key in _show(tx, app, caller, domain).keys:
        if key.selector == selector:
            return key
    raise Unknown(f"{domain} has no key with the selector {selector}")


def _add(tx: Tx, app: Application, caller: Caller, domain: str, seen: Seen) -> bool:
    """Whether there are keys already."""
    seen.check(tx, lambda: _show(tx, app, caller, domain))
    old = organisations.get(tx, caller.org)
    if domain not in old.domains:
        organisations.update_organisation(tx, replace(old, domains=(*old.domains, domain)))
        _tell(tx, app, caller, domain, "added")
    return bool(dkim_keys.list_keys(tx, domain))


def _remove(tx: Tx, app: Application, caller: Caller, domain: str, seen: Seen) -> None:
    seen.check(tx, lambda: _show(tx, app, caller, domain))
    old = organisations.get(tx, caller.org)
    if domain not in old.domains:
        raise Unknown(f"The organisation has no domain {domain}")
    kept = tuple(one for one in old.domains if one != domain)
    organisations.update_organisation(tx, replace(old, domains=kept))
    _tell(tx, app, caller, domain, "removed")


def _note_proof(
    tx: Tx, app: Application, caller: Caller, domain: str, *, proved_at: datetime | None, proof: str
) -> None:
    before = domains.get(tx, caller.org, domain)
    domains.note_proof(tx, caller.org, domain, proved_at=proved_at, proof=proof)
    if before is not None and (before.proved_at is None) != (proved_at is None):
        _tell(tx, app, caller, domain, "proved" if proved_at else "disproved", because=proof)


def _tell(tx: Tx, app: Application, caller: Caller, domain: str, change: str, **more: str) -> None:
    data = {"domain": domain, "change": change, **more, "by": caller.by}
    events.append(tx, org=caller.org, at=app.clock.now(), type=EventType.DOMAIN_CHANGED, data=data)


def _keep(
    tx: Tx, made: Sequence[dkim_keys.DkimKey], app: Application, caller: Caller, domain: str
) -> tuple[ShownKey, ...]:
    signing.keep(tx, made)
    _tell(tx, app, caller, domain, "keys_made", selectors=" ".join(key.key.selector for key in made))
    return tuple(_shown(key) for key in made)


def _retire(tx: Tx, app: Application, caller: Caller, domain: str, selector: str, seen: Seen) -> None:
    seen.check(tx, lambda: _key(tx, app, caller, domain, selector))
    _key(tx, app, caller, domain, selector)
    dkim_keys.retire(tx, domain, selector, at=app.clock.now())
    _tell(tx, app, caller, domain, "key_retired", selector=selector)


def _shown(key: dkim_keys.DkimKey) -> ShownKey:
    pair = signing.pair(key)
    return ShownKey(
        selector=key.key.selector,
        algorithm=key.key.algorithm,
        created_at=key.created_at,
        active_from=key.active_from,
        retired_at=key.retired_at,
        dns_name=pair.dns_name,
        dns_text=pair.dns_text,
        dns_line=pair.dns_line,
        public=pair.public,
    )
