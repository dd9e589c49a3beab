"""Addresses that must not be sent to: listed, added by hand, lifted (O10, I11)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import StringConstraints

from mailrelay.errors import Invalid, NotPermitted, Unknown
from mailrelay.ids import OrgId
from mailrelay.model.address import Address
from mailrelay.model.mailing_list import LONGEST_NAME
from mailrelay.model.suppression import Suppression, SuppressionReason
from mailrelay.outbound.job import LONGEST_JOB, checked_job
from mailrelay.outbound.unsubscribe import unsubscribe
from mailrelay.smtp.address import BadAddress, parse_address
from mailrelay.store import mailing_lists, suppressions
from mailrelay.store.base import Tx
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Given, Limit, MailAddress, Page, Paged, Shown, moment, page_of, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["suppressions"])
_BY_HAND = "by hand"

Search = Annotated[str, Query(max_length=320, description="Part of an address.")]
OfReason = Annotated[SuppressionReason | None, Query(description="Only of this reason.")]
OfList = Annotated[str, Query(max_length=LONGEST_NAME, description="Only of this mailing list.")]
Lifted = Annotated[bool, Query(description="Those that were lifted too.")]


class GivenSuppression(Given):
    """An address to suppress, and why. `job` and `list` say what somebody unsubscribed from, which counts against the job (O18).

    Where `list` is one of the mailing lists, they have left that one only; any other name is kept as evidence, and they get no more mail.
    """

    address: MailAddress
    reason: SuppressionReason = SuppressionReason.BY_HAND
    evidence: Annotated[str, StringConstraints(max_length=1000)] = _BY_HAND
    job: Annotated[str, StringConstraints(max_length=LONGEST_JOB)] = ""
    list: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


class ShownSuppression(Shown):
    """A suppression; `key` is the address as it is compared. `by` is who or what did it: a user, a delivery, a mail, or the person.

    With a `list` it is about mass mail of that list only. Of somebody who was `erased` it is kept under a hash, which is the key in
    lists.
    """

    key: str
    reason: SuppressionReason
    since: datetime
    evidence: str
    by: str
    lifted_at: datetime | None
    lifted_by: str | None
    note: str
    list: str
    erased: bool


@router.get("/suppressions", response_model=Page[ShownSuppression])
async def list_all(
    app: App,
    caller: Reader,
    search: Search = "",
    reason: OfReason = None,
    lifted: Lifted = False,
    list: OfList = "",  # noqa: A002 (the parameter's name)
    after: After = "",
    limit: Limit = 100,
) -> Paged[Suppression]:
    """What holds now, by address."""
    found = await app.store.read(
        suppressions.list_suppressions,
        caller.org,
        after=_cursor(after),
        search=search,
        reason=reason,
        lifted=lifted,
        list_=list,
        limit=limit,
    )
    return paged(found, limit=limit, cursor=lambda one: f"{one.key} {one.since.isoformat()}")


@router.post("/suppressions", response_model=tuple[ShownSuppression, ...], status_code=201)
async def add(
    app: App,
    caller: Administrator,
    given: GivenSuppression,
    once: Annotated[Once, making("/suppressions/{key}", etag=False)],
) -> Sequence[Suppression]:
    """Suppress an address; answers all that now stands against it."""
    return await once.write(app.store, _add, app, caller, given)


@router.get("/suppressions/{address}", response_model=Page[ShownSuppression])
async def history(app: App, caller: Reader, address: str, after: After = "", limit: Limit = 100) -> Paged[Suppression]:
    """All that ever stood against an address, lifted or not, oldest first."""
    return await app.store.read(_history, caller.org, given_address(address).key, after, limit)


@router.delete("/suppressions/{address}", response_model=tuple[ShownSuppression, ...])
async def lift(
    app: App,
    caller: Administrator,
    address: str,
    seen: IfMatch,
    reason: Annotated[SuppressionReason | None, Query(description="Only from this reason; without, from all.")] = None,
    note: Annotated[str, Query(max_length=500, description="Why it is lifted.")] = "",
    list: Annotated[  # noqa: A002 (the parameter's name)
        str, Query(max_length=LONGEST_NAME, description="Of mass mail of this mailing list only, in place of all mail.")
    ] = "",
) -> Sequence[Suppression]:
    """Let an address be sent to again, from every reason or from one; answers what was lifted.

    Who unsubscribed by a link or mail of theirs comes back by themselves only (O15): that is refused. An unsubscription that was
    entered for somebody can be taken back with a `note` that says why.
    """
    key, now = given_address(address).key, app.clock.now()

    def lift_it(tx: Tx) -> Sequence[Suppression]:
        seen.check(tx, lambda: Page[ShownSuppression].model_validate(_history(tx, caller.org, key)))
        for one in suppressions.holding(tx, caller.org, [key], lists={list}):
            if one.list == list and reason in (None, one.reason):
                _check_lift(one, address, note)
        return suppressions.lift(tx, caller.org, key, by=caller.by, now=now, reason=reason, note=note, lists={list})

    lifted = await app.store.write(lift_it)
    if not lifted:
        raise Unknown(f"{address} is not suppressed" + (f" ({reason.replace('_', ' ')})" if reason else ""))
    return lifted


def _check_lift(one: Suppression, address: str, note: str) -> None:
    """Raises NotPermitted for what a person said, Invalid for what somebody said for them and is taken back without a word."""
    from_what = f"the list {one.list}" if one.list else "all mail"
    if one.is_own_word:
        raise NotPermitted(
            f"{address} unsubscribed from {from_what}: only its owner can subscribe again, by the link in a mail that they got. "
            "Other reasons can be lifted one by one, with reason="
        )
    if one.reason is SuppressionReason.UNSUBSCRIBED and not note.strip():
        raise Invalid(
            "note",
            f"must say why: somebody wrote down that {address} unsubscribed from {from_what}, and only a mistake is undone",
        )


def _history(tx: Tx, org: OrgId, key: str, after: str = "", limit: int = 100) -> Paged[Suppression]:
    found = suppressions.history(tx, org, key)
    return page_of(found, after=after, limit=limit, cursor=lambda one: f"{one.since.isoformat()} {one.reason}")


def given_address(text: str) -> Address:
    """The address in a path. Raises Invalid."""
    try:
        return parse_address(text)
    except BadAddress as error:
        raise Invalid("address", str(error)) from None


def _add(tx: Tx, app: Application, caller: Caller, given: GivenSuppression) -> Sequence[Suppression]:
    key, now = given.address.key, app.clock.now()
    if given.reason is SuppressionReason.UNSUBSCRIBED:
        unsubscribe(
            tx,
            org=caller.org,
            address=given.address,
            job=checked_job(given.job, "job") if given.job else "",
            evidence=_left(given),
            list_=given.list if given.list in mailing_lists.named(tx, caller.org, [given.list]) else "",
            by=caller.by,
            at=now,
            brakes=app.config.brakes,
        )
    elif given.job or given.list:
        raise Invalid("job" if given.job else "list", "belongs to the reason unsubscribed")
    else:
        suppressions.suppress(
            tx, org=caller.org, key=key, reason=given.reason, evidence=given.evidence, now=now, by=caller.by
        )
    return suppressions.holding(tx, caller.org, [key], lists={given.list})


def _left(given: GivenSuppression) -> str:
    """`unsubscribed from the list news of the job spring: clicked the link`, as much of it as is known."""
    said = "unsubscribed"
    if given.list:
        said += f" from the list {given.list}"
    if given.job:
        said += f" of the job {given.job}" if given.list else f" from the job {given.job}"
    return said if given.evidence == _BY_HAND else f"{said}: {given.evidence}"


def _cursor(after: str) -> tuple[str, datetime] | None:
    if not after:
        return None
    key, _, since = after.rpartition(" ")
    return key, moment(since)
