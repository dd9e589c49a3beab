"""Who makes a request, and what they may do: bearer tokens, and the local operator on the Unix socket.

A secret is compared by looking up its SHA-256, so that no comparison's time says anything; it is never logged (W10).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from mailrelay import log
from mailrelay.errors import Invalid, NotAuthenticated, NotPermitted, Unavailable, Unknown
from mailrelay.ids import OrgId, UserId, hash_secret
from mailrelay.model.organisation import ApiToken, Organisation, Right, Role
from mailrelay.model.sending import EVERYBODY
from mailrelay.store import organisations, people, tokens
from mailrelay.store.base import Tx
from mailrelay.store.visibility import Viewer
from mailrelay.web.application import application
from mailrelay.web.strict import before_body, check_query

LOCAL = "mailrelay.local"
"""Key of the ASGI scope that only our own Unix listener sets: no header can."""
ORGANISATION_HEADER = "X-Mailrelay-Organisation"
USER_HEADER = "X-Mailrelay-User"
"""On whose behalf a token without a user, or the operator, asks: a user's id or address (I16)."""
OPERATOR = "operator"
"""Who the local operator is, where a token's user would stand."""
_LONGEST_SECRET = 200
_USE_NOTED_FOR = timedelta(hours=1)
"""A use of a token this soon after the one that was noted is not written down again."""
_CALLER = "mailrelay.caller"
"""Key of the ASGI scope with the caller, who is known before the body is read: a stranger's is not."""

_Credentials = HTTPAuthorizationCredentials | None
_scheme = HTTPBearer(auto_error=False, description="A token of `mailrelay token make`, or POST /api/v1/tokens.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. `user` is on whose behalf, None for the whole organisation; `installation` for the local operator."""

    org: OrgId
    rights: frozenset[Right]
    user: UserId | None
    by: str
    """Whose doing it is, for what is written down: a user's id, a token's, or `operator`."""
    installation: bool
    token: str
    """The id of the token that they show, "" for the operator."""

    @property
    def viewer(self) -> Viewer:
        """Whose mail the caller sees (I16): the user's, or all as the CRM's own machine account or the operator."""
        return Viewer(org=self.org, user=self.user, all=self.user is None and Right.ADMIN in self.rights)

    def may(self, right: Right) -> bool:
        """Whether the caller has this right; an administrator has all."""
        return right in self.rights or Right.ADMIN in self.rights


async def _whoever(request: Request) -> Caller:
    """The caller of a request. Raises NotAuthenticated; on the Unix socket Invalid when the organisation is not clear."""
    app = application(request)
    store = app.store
    credentials = await _scheme(request)
    whose = request.headers.get(USER_HEADER, "")
    if request.scope.get(LOCAL):
        return await store.read(_operator, request.headers.get(ORGANISATION_HEADER, ""), whose)
    if credentials is None:
        raise NotAuthenticated("A bearer token is needed: `Authorization: Bearer mr_…`")
    secret = credentials.credentials
    now = app.clock.now()
    known = await store.read(_by_token, hash_secret(secret), whose, now) if len(secret) <= _LONGEST_SECRET else None
    if known is None:
        peer = request.client.host if request.client else ""
        app.flood.wrong(peer, app.clock.monotonic())
        # Whose it might have been nobody can say, and the token itself is never written down (W10).
        log.get().warning("authentication.refused", door="api", peer=peer)
        raise NotAuthenticated("The token is not known, was revoked, or is over")
    token, caller = known
    if token.used_at is None or now - token.used_at >= _USE_NOTED_FOR:
        with suppress(Unavailable):
            await store.write(tokens.note_use, token.id, now=now)
    return caller


def _operator(tx: Tx, wanted: str, whose: str) -> Caller:
    everyone = _called(tx, wanted)
    if not everyone:
        raise Unknown("There is no organisation yet; make one with `mailrelay organisation add`")
    if len(everyone) > 1:
        names = ", ".join(f"{one.name} ({one.id})" for one in everyone[:10])
        raise Invalid(ORGANISATION_HEADER, f"say which organisation: {names}")
    caller = Caller(org=everyone[0].id, rights=frozenset(Right), user=None, by=OPERATOR, installation=True, token="")
    return _on_behalf(tx, caller, whose)


def _on_behalf(tx: Tx, caller: Caller, whose: str) -> Caller:
    """The caller as the user that is named, with no more rights than both have. Raises Invalid, NotPermitted."""
    if not whose:
        return caller
    try:
        named = people.find(tx, caller.org, whose)
    except Unknown:
        raise Invalid(USER_HEADER, "there is no such user") from None
    if caller.user is not None:
        if named.id == caller.user:
            return caller
        raise NotPermitted("This token is a user's own, and acts on behalf of nobody else")
    if not named.active:
        raise NotPermitted(f"{named.name} is deactivated: nobody acts on their behalf")
    rights = caller.rights
    if named.role is not Role.ADMINISTRATOR:
        # Who may do everything may do what this user may.
        rights = (frozenset(Right) if Right.ADMIN in rights else rights) - {Right.ADMIN}
    return replace(caller, user=named.id, by=named.id, rights=rights, installation=False)


def _called(tx: Tx, wanted: str) -> Sequence[Organisation]:
    """Those of this id or name, all without one. Raises Unknown."""
    everyone = organisations.list_organisations(tx)
    if wanted:
        everyone = tuple(one for one in everyone if wanted in (one.id, one.name))
        if not everyone:
            raise Unknown("There is no such organisation")
    return everyone


def _only(tx: Tx, wanted: str) -> OrgId:
    found = _called(tx, wanted)
    return found[0].id if len(found) == 1 else EVERYBODY


def _by_token(tx: Tx, secret_sha256: str, whose: str, now: datetime) -> tuple[ApiToken, Caller] | None:
    token = tokens.by_secret(tx, secret_sha256, now=now)
    if token is None:
        return None
    rights = token.rights
    if token.user is not None:
        of_whom = people.get(tx, token.org, token.user)
        if not of_whom.active:
            return None  # nor its user's time here
        if of_whom.role is not Role.ADMINISTRATOR:
            rights -= {Right.ADMIN}  # a token never outlives its user's role
    caller = Caller(
        org=token.org,
        rights=rights,
        user=token.user,
        by=token.user or token.id,
        installation=False,
        token=token.id,
    )
    return token, _on_behalf(tx, caller, whose)


def _needs(right: Right) -> Callable[[Request, _Credentials], Awaitable[Caller]]:
    async def admit(request: Request) -> None:
        caller = await _whoever(request)
        if not caller.may(right):
            raise NotPermitted(f"This needs a token with the right to {right}")
        request.scope[_CALLER] = caller

    @before_body(admit)
    async def check(request: Request, _: Annotated[_Credentials, Depends(_scheme)]) -> Caller:
        check_query(request)
        caller: Caller = request.scope[_CALLER]
        return caller

    return check


async def once_more(request: Request) -> Caller:
    """Who asks, as it is now: for an answer that goes on for long. Raises as at the beginning, and NotPermitted without reading."""
    caller = await _whoever(request)
    if not caller.may(Right.READ):
        raise NotPermitted(f"This needs a token with the right to {Right.READ}")
    return caller


def caller_of(request: Request) -> Caller | None:
    """Who asks, once they are admitted; None for the operator where no organisation is needed."""
    caller: Caller | None = request.scope.get(_CALLER)
    return caller


async def _admit_operator(request: Request) -> None:
    if not request.scope.get(LOCAL):
        raise NotPermitted("This is for the operator of the installation, on its own machine")


@before_body(_admit_operator)
async def the_operator(request: Request) -> None:
    """Only the local operator: what concerns the installation, not one organisation. Raises NotPermitted."""
    check_query(request)


async def organisation_if_any(request: Request) -> OrgId:
    """The organisation that the operator named, or the only one that there is; else EVERYBODY. Raises Unknown.

    Only behind `the_operator`, for what needs none.
    """
    return await application(request).store.read(_only, request.headers.get(ORGANISATION_HEADER, ""))


Reader = Annotated[Caller, Depends(_needs(Right.READ))]
Sender = Annotated[Caller, Depends(_needs(Right.SEND))]
Administrator = Annotated[Caller, Depends(_needs(Right.ADMIN))]
